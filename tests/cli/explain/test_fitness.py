"""`explain.fitness`: experiments have rows in the shipped table; other models are measured, kept, read or refused."""

import json
import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hdt_fm.cli.compose import Config, compose_config
from hdt_fm.cli.config_files import config_root, group_names
from hdt_fm.cli.explain import _told, fitness
from hdt_fm.cli.explain.fitness import own_table, planned_table
from hdt_fm.cli.explain.mapping import NO_ENCODER, by_encoder, chosen
from hdt_fm.cli.explain.told import Told
from hdt_fm.cli.main import EXIT_OK, EXIT_USER_ERROR, main
from hdt_fm.cli.run import Run
from hdt_fm.explain.fitness.architecture import architecture_of
from hdt_fm.explain.fitness.measure import Asked, Plot
from hdt_fm.explain.fitness.score import RANDOM_MAP, Found
from hdt_fm.explain.fitness.table import TABLE, read_table, write_table
from hdt_fm.explain.fitness.verdict import judge
from hdt_fm.explain.targets.forecast import SeriesTarget
from hdt_fm.explain.targets.plan import PlanTarget
from hdt_fm.explain.targets.told import Telling
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.manifest import ModelConfig, Part
from hdt_fm.schema.series import ForecastTask
from hdt_fm.schema.shard import ModalityColumn

KNOWN = {
    "patch_transformer, depth 1",
    "patch_transformer, depth 1, slow spectrum",
    "patch_transformer, depth 1, slow spectrum, rhythms",
    "recurrent, depth 1, end not read",
}
# Two blocks: an architecture that no experiment has, and so no row.
TINY = ["experiment=demo", "debug=tiny", "encoder.depth=2", "cohort.hours=0.1", "cohort.missing_modality=0.0"]
SHORT = ["preparation.window_s=4", "preparation.hop_s=4", "cohort.subjects=10", "cohort.modalities=[ppg,acc]"]
QUICK = ["explain.windows=1", "explain.sections=[]", "explain.alternative=null", "explain.head=similarity"]
MODEL = ["explain.to_window=1", "explain.scope=window", "explain.methods=[occlusion]"]
OTHER = "patch_transformer, depth 2"


@lru_cache
def composed(experiment: str) -> Config:
    return compose_config("pretrain", [f"experiment={experiment}"])


def modalities_of(experiment: str) -> list[str]:
    """What its shards hold; of several cohorts, what theirs do."""
    config = composed(experiment)
    cohorts = [Path(one).parts[1] for one in config.value("cohorts") or ()]
    return sorted({name for one in cohorts for name in modalities_of(one)}) or list(
        config.value("preparation.modalities")
    )


def architecture(experiment: str) -> str:
    part = composed(experiment).part("encoder")
    args = dict(part.args)
    names = modalities_of(experiment)
    return architecture_of(
        ModelConfig(
            modalities=tuple(
                ModalityColumn(name=name, unit="au", channels=1, sampling_rate_hz=1.0, samples=9, encoding="f32")
                for name in names
            ),
            per_modality=args.pop("per_modality", {}),
            encoder=Part(name=part.name, args=args),
            projection=Part(name="projection", args={"dim": 8}),
            statistics=dict.fromkeys(names, (0.0, 1.0)),
            window_s=9.0,
        )
    )


def test_every_experiment_makes_models_that_the_shipped_table_knows() -> None:
    experiments = group_names("experiment")
    assert len(experiments) == len(list((config_root() / "experiment").glob("*.yaml"))) >= 14
    found = {name: architecture(name) for name in experiments}
    assert set(found.values()) == KNOWN
    assert set(read_table()) > KNOWN
    assert found["bidmc"] == "patch_transformer, depth 1, slow spectrum, rhythms"
    assert found["wrist_s"] == "patch_transformer, depth 1"


def explain(root: Path, *arguments: str) -> int:
    return main(["explain", *TINY, *SHORT, *QUICK, *MODEL, f"root={root}", pretrained(root), *arguments])


def pretrained(root: Path) -> str:
    return f"explain.checkpoint={root}/pretrain/checkpoint"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder of a few steps, asked for likeness: no head is needed."""
    root = tmp_path_factory.mktemp("fitness") / "run"
    for verb in ("shard", "pretrain"):
        assert main([verb, *TINY, *SHORT, f"root={root}"]) == EXIT_OK, verb
    return root


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two models of one kind of event, each taught for two batches: nothing is learned."""
    monkeypatch.setattr(fitness, "ASKED", Asked(kinds=("level",), seeds=(0, 1), windows=2, steps=2, points=2, draws=1))


@pytest.fixture
def told(root: Path) -> Told:
    return _told(compose_config("explain", [*TINY, *SHORT, *QUICK, *MODEL, f"root={root}", pretrained(root)]))


def asking(told: Told, **settings: object) -> Told:
    return replace(told, settings=told.settings.model_copy(update=settings))


def judged(verdict: str, auprc: float) -> list[Plot]:
    """As three models of a kind would have it, in which occlusion finds so much."""
    two = np.ones(2)
    found = Found(auprc * two, 0.1 * two, 0.9 * two, np.array([2, 2]), 0.9 * two, np.array([2, 2]), two, 0.0)
    scores = {"occlusion": found, RANDOM_MAP: replace(found, auprc=0.1 * two)}
    plots = [Plot(OTHER, "level", seed, "ppg", 0.99, 100, scores) for seed in range(3)]
    fitness = judge(plots, "occlusion").fitness
    assert fitness is not None
    assert fitness.verdict == verdict
    return plots


def test_models_that_learn_nothing_are_measured_and_told_of(
    told: Told, root: Path, few: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of = asking(told, fitness="measure", methods=("occlusion", "integrated_gradients"))
    own, plan = planned_table(of)
    assert own is None
    assert plan.pop("seconds to measure them, at most") >= 0
    assert plan == {"methods to measure": "occlusion, integrated_gradients"}
    own = own_table(of, Run("explain", told.config, tmp_path))
    assert own == tmp_path / "fitness.json"
    said = capsys.readouterr().err
    words = ("measuring the fitness of occlusion, integrated_gradients on 2 models: at most about", "fitness 0/2")
    places = [said.index(word) for word in (*words, f"fitness -> {own}; explain.fitness={own}")]
    assert places == sorted(places)
    measured = read_table(own)
    assert set(measured) == {OTHER}
    assert set(measured[OTHER].methods) == {"occlusion", "integrated_gradients"}
    record = json.loads(own.read_text())
    assert record["command"].startswith("hdt-fm explain experiment=demo")
    settings = {"kinds": ["level"], "seeds": [0, 1], "windows": 2, "steps": 2, "points": 2, "draws": 1}
    assert record["settings"] == settings
    unknown = chosen(of, own).unknown
    assert set(unknown) == {"occlusion", "integrated_gradients"}
    assert all("reached an AUROC of 0.95" in reason for reason in unknown.values())


def test_an_unknown_kind_of_model_is_measured_once_and_judged_by_that_ever_after(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fitness, "most_seconds", lambda *_, **__: 1.0)
    monkeypatch.setattr(fitness, "measure", lambda *_, **__: judged("pass", 0.81))
    assert explain(root, "explain.fitness=measure") == EXIT_OK
    said = capsys.readouterr().err
    assert said.index("measuring the fitness of occlusion") < said.index("fitness ->") < said.index("explaining 1")
    assert "not judged" not in said
    found = json.loads((root / "explain" / "explanation.json").read_text())
    check = next(one for one in found["reliability"]["checks"] if one["name"] == "planted signal")
    assert (check["verdict"], check["value"]) == ("pass", pytest.approx(0.81))
    # An own table alone decides, of a leading method that is unfit before any work.
    own = root / "explain" / "fitness.json"
    write_table(judged("fail", 0.2), own)
    assert explain(root, f"explain.fitness={own}") == EXIT_USER_ERROR
    said = capsys.readouterr().err
    assert "The method occlusion does not find planted signals" in said
    assert "explaining" not in said
    assert "measuring" not in said


def test_what_no_table_knows_is_said_with_the_command_that_measures_it(told: Told) -> None:
    unknown = chosen(told).unknown
    assert unknown == {"occlusion": f"Never measured on models of the kind '{OTHER}'; explain.fitness=measure does it"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "FileNotFoundError"),
        ("{", "JSONDecodeError"),
        ('{"version": 2}', "version 2"),
        ('{"version": 1, "verb": "explain"}', "command: Field required"),
        ("shipped", f"of models of another kind\\n.*explain.fitness\\n.*expected: {OTHER}\\n.*got: .*resnet, depth 3"),
    ],
)
def test_a_file_that_says_nothing_of_these_models_is_refused_before_any_work(
    root: Path, tmp_path: Path, content: str | None, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = TABLE if content == "shipped" else tmp_path / "fitness.json"
    if content not in (None, "shipped"):
        path.write_text(str(content))
    assert explain(root, f"explain.fitness={path}") == EXIT_USER_ERROR
    said = capsys.readouterr().err
    assert re.search(words, said), said
    assert "explain.fitness=measure" in said
    assert "about" not in said


def test_what_was_measured_already_is_not_measured_again(
    told: Told, root: Path, few: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known = told.model.config.model_copy(update={"encoder": Part(name="patch_transformer", args={"depth": 1})})
    monkeypatch.setattr(told.model, "config", known)
    asked = asking(told, fitness="measure")
    assert planned_table(asked) == (None, {})
    assert own_table(asked, Run("explain", told.config, root / "explain")) is None
    assert "nothing to measure" in capsys.readouterr().err


def task(windows: int) -> ForecastTask:
    return ForecastTask("glucose", "mg/dL", 900.0, 3600.0, (3600.0,), 1800.0, windows, 3600.0)


def answers_without_an_encoder() -> list[nn.Module]:
    telling = Telling(task(0), 0.0, 0.0, 900.0, (3600.0,), (1,), (3600.0,), 900.0, (3600.0,))
    plan = PlanTarget(torch.ones(1, 6).double(), (0,), share=0.5, minutes=(60,), against=torch.zeros(2, 12))
    return [SeriesTarget(nn.Identity(), nn.Identity(), telling), plan]


@pytest.mark.parametrize("which", [0, 1])
def test_an_answer_that_no_encoder_makes_is_not_judged_by_encoders(told: Told, root: Path, which: int) -> None:
    """As the effect of a plan, or a head of a signal that is told no windows (series.windows=0)."""
    function = answers_without_an_encoder()[which]
    without = replace(told, answer=replace(told.answer, function=function))
    assert by_encoder(told)
    assert not by_encoder(without)
    for asked in ("measure", str(TABLE)):
        of = asking(without, fitness=asked)
        with pytest.raises(ConfigError, match="No fitness can be measured for this answer") as error:
            own_table(of, Run("explain", told.config, root / "explain"))
        assert error.value.fix == "explain.fitness=table"
        with pytest.raises(ConfigError, match="without one"):
            planned_table(of)


def test_windows_that_the_encoder_reads_are_its_answer(told: Told) -> None:
    telling = Telling(task(3), 7200.0, 0.0, 900.0, (3600.0,), (1,), (3600.0,), 900.0, (3600.0,))
    function = SeriesTarget(nn.Identity(), nn.Identity(), telling)
    assert by_encoder(replace(told, answer=replace(told.answer, function=function)))


def test_unfit_for_encoders_is_not_unfit_for_an_answer_without_one(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saliency is unfit for every encoder of the table; of what is made without one nothing is known."""
    known = told.model.config.model_copy(update={"encoder": Part(name="patch_transformer", args={"depth": 1})})
    monkeypatch.setattr(told.model, "config", known)
    asked = asking(told, methods=("saliency",))
    with pytest.raises(ConfigError, match="does not find planted signals"):
        chosen(asked)
    monkeypatch.setattr("hdt_fm.cli.explain.mapping.by_encoder", lambda _: False)
    assert chosen(asked).unknown == {"saliency": NO_ENCODER}

"""Differential privacy by the command line: what is promised, what is told, and that nothing else of people gets in."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from data_pipelines.build import build_shards
from hdt_fm.audit.controls import PREPARATION, SignatureCohort
from hdt_fm.checkpoint import load, load_preprocess
from hdt_fm.cli.cohorts import NOBODY, Cohorts, People
from hdt_fm.cli.compose import compose_config
from hdt_fm.cli.main import EXIT_OK, EXIT_USER_ERROR, main
from hdt_fm.cli.private import NOT_COVERED, known_of
from hdt_fm.cli.workflow import model_over, new_loss, start_over, train_over
from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.errors import HdtError
from hdt_fm.schema.usual_scale import usual_scale

TINY = [
    "debug=tiny",
    "near_s=4.0",
    "encoder.slots=4",
    "training=private",
    "training.private.people_per_step=3",
    "training.private.windows_per_person=8",
    "training.steps=6",
    "training.val_every=3",
    "training.checkpoint_every=3",
    "split.test=0.3",
]
PRIVATE = "training.private"
PLAIN = ("training=standard", "training.start=random")


@pytest.fixture(scope="module")
def folders(repo: Path, tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("private")
    spec = importlib.util.spec_from_file_location("tiny_cohort", repo / "tests" / "tiny_cohort.py")
    tiny = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tiny)
    found = {"tiny": root / "tiny"}
    tiny.build(root / "tiny", encoding="f32")
    made = {"preparation": PREPARATION, "block_windows": 64, "shard_mb": 1.0, "seed": 0}
    for name, encoding, seed in (("people", "f32", 0), ("public", "f32", 1), ("stepped", "i16", 0)):
        cohort = SignatureCohort(12, signature=2.0, seconds=48, seed=seed)
        build_shards(cohort, folder=root / name, name=name, encoding=encoding, **made)
        found[name] = root / name
    return found


def settings(folders: dict[str, Path], root: Path, *more: str, shards: str = "people") -> list[str]:
    return [*TINY, f"shards={folders[shards]}", f"root={root}", *more]


@pytest.fixture(scope="module")
def run(folders: dict[str, Path], tmp_path_factory) -> Path:
    """A private run from its first step to its last."""
    root = tmp_path_factory.mktemp("run")
    assert main(["pretrain", *settings(folders, root)]) == EXIT_OK
    return root


def test_a_run_says_what_it_promises_and_what_it_does_not(run: Path) -> None:
    from opacus.accountants import PRVAccountant

    record = json.loads((run / "pretrain" / "result.json").read_text())
    told = record["provenance"]["private"]
    people = record["summary"]["people in training"]
    assert told["units"] == people
    assert told["sampling_rate"] == pytest.approx(3 / people)
    assert told["delta"] == pytest.approx(people**-1.1)
    account = PRVAccountant()
    account.history = [(told["noise_multiplier"], told["sampling_rate"], told["steps"])]
    assert account.get_epsilon(told["delta"]) == pytest.approx(told["epsilon"], abs=0.01)
    assert 7.9 < told["epsilon"] <= 8.0
    assert (told["steps"], told["clip"], told["accountant"]) == (6, 1.0, "opacus prv")
    assert told["not_covered"] == list(NOT_COVERED)
    assert record["summary"]["privacy"].startswith(f"epsilon {told['epsilon']:.2f} at delta")
    assert "train/loss" not in record["summary"]


def test_neither_key_nor_numbers_of_the_people_stay(run: Path) -> None:
    assert not list(run.rglob("*.key"))
    metrics = (run / "pretrain" / "metrics.csv").read_text()
    assert "train/loss" not in metrics
    assert "val/loss" in metrics
    assert load_preprocess(run / "pretrain" / "checkpoint").typical == {}
    model = load(run / "pretrain" / "checkpoint")
    assert model.config.statistics == {name: usual_scale(name) for name in ("ppg", "acc")}
    assert all(column.lsb == 1.0 and column.offset == 0.0 for column in model.config.modalities)


def test_a_dry_run_says_what_would_be_promised(folders: dict[str, Path], tmp_path: Path, capsys) -> None:
    assert main(["pretrain", *settings(folders, tmp_path), "--dry-run", "--json"]) == EXIT_OK
    plan = json.loads(capsys.readouterr().out)
    assert plan["privacy"].startswith("epsilon")
    assert plan["noise, in clips"] > 0
    assert 0 < plan["share of people at a step"] < 1
    assert plan["steps"] == 6
    assert not [name for name in plan if "loss" in name]


def test_what_a_model_begins_with_does_not_hang_on_the_training_people(folders: dict[str, Path]) -> None:
    """Weights, scales, calibrated buffers and a decoder's scale are the same for other people; not so without."""
    folder = ShardFolder.open(folders["people"])
    halves = [Cohorts.one(folder, People(rows, NOBODY, NOBODY)) for rows in (np.arange(6), np.arange(6, 12))]

    def begun(*more: str) -> list[dict[str, torch.Tensor]]:
        own = [one for one in TINY if "private" not in one or more != PLAIN]
        config = compose_config("pretrain", [*own, f"shards={folders['people']}", "loss=mix", *more])
        states = []
        for cohorts in halves:
            model = model_over(config, cohorts)
            begin = start_over(config, model, cohorts)
            if begin is not None:
                begin()
            loss = new_loss(config, model, lambda own=cohorts: known_of(config, own).typical(64)[0])
            states.append({**model.state_dict(), **{f"loss.{name}": part for name, part in loss.state_dict().items()}})
        return states

    for more in ((), (f"{PRIVATE}.public={folders['public']}", "training.start=closed_form")):
        one, other = begun(*more)
        assert all(torch.equal(one[name], other[name]) for name in one)
    one, other = begun(*PLAIN)
    assert {name.split(".")[0] for name in one if not torch.equal(one[name], other[name])} == {"encoder", "loss"}


@pytest.mark.parametrize(
    ("more", "shards", "where"),
    [
        ((), "stepped", "shards"),
        (("training.start=closed_form",), "people", "training.start"),
        (("covariates=[sex]",), "tiny", "covariates"),
        (("training.piece=4",), "people", "training"),
        (("training.compile=true",), "people", "training"),
        (("training.sharded=true",), "people", "training"),
        (("training.precision=bf16-mixed",), "people", "training.precision"),
        (("training.private.people_per_step=40",), "people", "people_per_step"),
        (("training.private.noise=1.0",), "people", "training.private"),
        (("training.private.clip=null",), "people", "training.private.clip"),
        (("near_s=inf",), "people", "near_s"),
        (("loss=near_in_time",), "people", "loss.negatives"),
        (("training.private.public=PEOPLE",), "people", "training.private.public"),
        (("training.private.public=PEOPLE",), "tiny", "training.private.public"),
    ],
)
def test_what_would_let_people_past_the_noise_is_refused_with_a_way_out(
    folders: dict[str, Path], tmp_path: Path, more: tuple[str, ...], shards: str, where: str
) -> None:
    more = tuple(one.replace("PEOPLE", str(folders["people"])) for one in more)
    config = compose_config("pretrain", settings(folders, tmp_path, *more, shards=shards))
    folder = ShardFolder.open(folders[shards])
    rows = np.unique(folder.subject_rows).astype(np.int64)
    cohorts = Cohorts.one(folder, People(rows[:-2], rows[-2:], NOBODY))
    with pytest.raises(HdtError) as caught:
        train_over(config, cohorts, tmp_path / "run", progress=lambda *_: None, say=lambda _: None)
    assert where in str(caught.value.where)
    assert caught.value.fix
    assert not (tmp_path / "run" / "checkpoint").exists()


def test_two_cohorts_of_other_signals_train_under_one_promise(folders: dict[str, Path], tmp_path: Path) -> None:
    both = f"cohorts=[{folders['people']},{folders['tiny']}]"
    assert main(["pretrain", *settings(folders, tmp_path, both, "split.test=0.2", "split.validation=0.2")]) == EXIT_OK
    record = json.loads((tmp_path / "pretrain" / "result.json").read_text())
    told = record["provenance"]["private"]
    # A group of two counts as one.
    assert told["units"] <= record["summary"]["people in training"]
    assert told["sampling_rate"] == pytest.approx(3 / told["units"], abs=1e-6)


def test_public_people_give_scales_and_a_start(folders: dict[str, Path], tmp_path: Path) -> None:
    more = (f"{PRIVATE}.public={folders['public']}", "training.start=closed_form")
    assert main(["pretrain", *settings(folders, tmp_path, *more)]) == EXIT_OK
    record = json.loads((tmp_path / "pretrain" / "result.json").read_text())
    assert "public" in record["provenance"]["private"]["inputs"]
    model = load(tmp_path / "pretrain" / "checkpoint")
    assert model.config.statistics["acc"] != usual_scale("acc")
    typical = load_preprocess(tmp_path / "pretrain" / "checkpoint").typical
    assert typical["acc"].people == 12


def test_no_noise_is_told_as_no_promise(folders: dict[str, Path], tmp_path: Path) -> None:
    more = (f"{PRIVATE}.epsilon=null", f"{PRIVATE}.noise=0.0", f"{PRIVATE}.clip=null")
    assert main(["pretrain", *settings(folders, tmp_path, *more)]) == EXIT_OK
    record = json.loads((tmp_path / "pretrain" / "result.json").read_text())
    assert record["provenance"]["private"]["epsilon"] is None
    assert record["summary"]["privacy"].startswith("no promise")


def test_an_audit_trains_its_references_to_the_same_promise(run: Path, folders: dict[str, Path]) -> None:
    own = settings(folders, run, "audit.references=2", "audit.draws=20")
    assert main(["audit", "privacy", *own]) == EXIT_OK
    told = json.loads((run / "audit" / "privacy" / "privacy_audit.json").read_text())
    assert {row["model"] for row in told["rows"]} >= {"threshold", "LiRA-lite", "RMIA"}
    assert not list(run.rglob("*.key"))


def test_the_command_line_says_how_to_go_on(folders: dict[str, Path], tmp_path: Path, capsys) -> None:
    assert main(["pretrain", *settings(folders, tmp_path, shards="stepped")]) == EXIT_USER_ERROR
    assert "shard.encoding=f32" in capsys.readouterr().err

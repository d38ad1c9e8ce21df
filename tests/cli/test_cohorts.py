"""Two cohorts with other modalities, rates and window lengths under one model, by the command line."""

import csv
import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import hdt_fm
from hdt_fm.checkpoint import load_preprocess
from hdt_fm.cli import contract
from hdt_fm.cli.cohorts import joined
from hdt_fm.cli.compose import compose_config
from hdt_fm.cli.main import EXIT_OK, EXIT_USER_ERROR, main
from hdt_fm.cli.workflow import TYPICAL_WINDOWS, model_over, open_cohorts, start_over
from hdt_fm.data.embeddings import load_table
from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.errors import ConfigError, LeakError
from hdt_fm.schema.preparation import ModalityPreparation, Preparation

SHORT = Preparation(
    window_s=2,
    hop_s=1,
    modalities={
        "acc": ModalityPreparation(sampling_rate_hz=12.0, channels=3),
        "temp": ModalityPreparation(sampling_rate_hz=5.0),
    },
)
TINY = ["debug=tiny", "training.steps=12", "training.batch_size=8", "training.val_every=6", "encoder.slots=4"]
TINY += ["split.validation=0.3", "near_s=4.0"]
UNION = ("ppg", "acc", "temp")


def tiny_module(repo: Path):
    spec = importlib.util.spec_from_file_location("tiny_cohort", repo / "tests" / "tiny_cohort.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folders(repo: Path, tmp_path_factory) -> dict[str, Path]:
    tiny, root = tiny_module(repo), tmp_path_factory.mktemp("cohorts")

    class Other(tiny.TinyCohort):
        name = "other"

        def visits(self):
            for person in range(10, 10 + 2 * self.people, 2):  # even ones: all have temperature
                yield self.visit(person)

    tiny.build(root / "tiny")
    tiny.build(root / "other", Other(8), name="other", preparation=SHORT)
    # The same people again, under another cohort's name.
    again = type("Again", (tiny.TinyCohort,), {"name": "again"})(5)
    tiny.build(root / "again", again, name="again", preparation=SHORT)
    return {path.name: path for path in root.iterdir()}


def listed(*paths: Path) -> str:
    return f"cohorts=[{','.join(map(str, paths))}]"


@pytest.fixture(scope="module")
def pretrained(folders, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("run") / "both"
    both = listed(folders["tiny"], folders["other"])
    assert main(["pretrain", f"root={root}", both, *TINY]) == EXIT_OK
    return root


def metrics(path: Path) -> dict[str, float]:
    with path.open() as file:
        return {row["metric"]: float(row["value"]) for row in csv.DictReader(file)}


def test_each_cohort_is_judged_by_itself(pretrained: Path) -> None:
    found = metrics(pretrained / "pretrain" / "metrics.csv")
    assert {"val/loss", "val/tiny/loss", "val/other/loss"} <= set(found)
    assert {"val/tiny/r1/ppg-acc", "val/tiny/effective_rank/ppg", "val/other/r1/acc-temp"} <= set(found)
    assert not [name for name in found if name.startswith("val/other/") and "ppg" in name]
    assert not [name for name in found if name.startswith("val/r1/")], "windows of two cohorts share no pool"
    assert all(math.isfinite(value) for value in found.values())


def test_the_checkpoint_knows_all_modalities_and_each_contract(pretrained: Path, folders) -> None:
    checkpoint = pretrained / "pretrain" / "checkpoint"
    model, preprocess = hdt_fm.load(checkpoint), load_preprocess(checkpoint)
    assert model.modalities == UNION
    assert set(preprocess.cohorts) == {"tiny", "other"}
    assert preprocess.cohorts["other"].preparation.window_s == 2
    assert preprocess.prepared("acc").sampling_rate_hz == 8.0, "as in the first cohort that has it"
    people = json.loads((pretrained / "pretrain" / "people.json").read_text())
    everyone = [name for part in people.values() for name in part]
    known = [row.subject for name in ("tiny", "other") for row in ShardFolder.open(folders[name]).manifest.subjects]
    assert sorted(everyone) == sorted(known)


@pytest.mark.parametrize(("cohort", "modalities"), [("tiny", UNION), ("other", ("acc", "temp"))])
def test_each_cohort_is_embedded_and_gets_a_head_alone(pretrained, folders, tmp_path, cohort, modalities) -> None:
    checkpoint = pretrained / "pretrain" / "checkpoint"
    settings = [f"root={tmp_path}", f"shards={folders[cohort]}", f"checkpoint={checkpoint}", *TINY]
    assert main(["embed", *settings]) == EXIT_OK
    table = load_table(tmp_path / "embed" / "table")
    assert table.modalities == modalities
    assert len(table) == ShardFolder.open(folders[cohort]).windows
    lengths = np.linalg.norm(table.projections, axis=2)
    assert np.allclose(lengths[table.present], 1, atol=1e-5)
    assert not lengths[~table.present].any()
    assert main(["finetune", *settings, "finetune.label=stress"]) == EXIT_OK
    model = hdt_fm.load(tmp_path / "finetune" / "checkpoint")
    batch = ShardFolder.open(folders[cohort]).gather(np.arange(3))
    embedded = model.embed(batch)
    wide = table.over(model.modalities)
    rows = [table.window_id.tolist().index(int(one)) for one in batch.window_id]
    assert np.allclose(wide.embeddings[rows], embedded.values.detach().numpy(), atol=1e-5)
    assert np.array_equal(wide.present[rows], embedded.present.numpy())


def test_what_cohorts_share_starts_from_the_windows_of_both(folders) -> None:
    config = compose_config("pretrain", [listed(folders["tiny"], folders["other"]), *TINY])
    cohorts = open_cohorts(config)
    model = model_over(config, cohorts)
    # Calibration: the mean over cohorts of what each says by itself.
    alone = []
    for batch in cohorts.typical(TYPICAL_WINDOWS, 0, each=True):
        one = model_over(config, cohorts)
        one.calibrate(batch)
        alone.append(one.encoder.encoders["acc"].embed.spectra.standardise.center)
    assert torch.allclose(model.encoder.encoders["acc"].embed.spectra.standardise.center, (alone[0] + alone[1]) / 2)
    before = model.encoder.encoders["acc"].readout.weight.clone()
    begin = start_over(config, model, cohorts)
    assert begin is not None
    begin()
    assert not torch.equal(before, model.encoder.encoders["acc"].readout.weight)
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


def test_a_dry_run_names_the_cohorts(folders, tmp_path, capsys) -> None:
    both = listed(folders["tiny"], folders["other"])
    assert main(["pretrain", f"root={tmp_path}", both, *TINY, "--dry-run"]) == EXIT_OK
    printed = capsys.readouterr().out
    assert "tiny" in printed
    assert "other" in printed


def test_cohorts_that_cannot_be_joined_are_refused(folders, tmp_path, capsys) -> None:
    opened = {name: ShardFolder.open(path) for name, path in folders.items()}
    with pytest.raises(ConfigError, match="no cohort"):
        joined([], [], 0.5)
    with pytest.raises(ConfigError, match="comes twice"):
        joined([opened["tiny"], opened["tiny"]], [], 0.5)
    with pytest.raises(LeakError, match="in two cohorts"):
        joined([opened["tiny"], opened["again"]], [], 0.5)
    for wrong, words in (
        ("cohorts=[]", "no cohort"),
        (f"cohorts={folders['tiny']}", "must be a list"),
        (listed(folders["tiny"], folders["tiny"]), "comes twice"),
        (listed(folders["tiny"], tmp_path / "none"), "not a shard folder"),
    ):
        assert main(["pretrain", f"root={tmp_path / 'run'}", wrong, *TINY]) == EXIT_USER_ERROR
        assert words in capsys.readouterr().err
    both = listed(folders["tiny"], folders["other"])
    arguments = ["pretrain", f"root={tmp_path / 'masked'}", both, *TINY, "loss=masked_patches"]
    assert main(arguments) == EXIT_USER_ERROR
    assert "several cohorts" in capsys.readouterr().err


QUICKLY = [
    "protocol.scratch_steps=2",
    "protocol.personal=[nothing]",
    "protocol.draws=20",
    "protocol.label=stress",
    *TINY,
]
SAID = ["publish.card=[house,demo]"]


def evaluated(root: Path, folders: dict[str, Path], cohort: str, *more: str) -> int:
    return main(["evaluate", f"root={root}", f"shards={folders[cohort]}", *QUICKLY, *more])


def test_a_model_of_two_cohorts_is_published_with_an_evaluation_on_each(pretrained, folders, tmp_path, capsys) -> None:
    checkpoint = f"checkpoint={pretrained / 'pretrain' / 'checkpoint'}"
    assert evaluated(pretrained, folders, "tiny") == EXIT_OK
    assert evaluated(tmp_path / "other", folders, "other", checkpoint) == EXIT_OK
    both = listed(folders["tiny"], folders["other"])
    arguments = ["publish", f"root={pretrained}", both, f"shards={folders['tiny']}", *TINY, *SAID]
    assert main([*arguments, f"publish.evaluations=[{tmp_path / 'none'}]"]) == EXIT_USER_ERROR
    assert "no record of an evaluation" in capsys.readouterr().err
    assert main([*arguments, f"publish.evaluations=[{tmp_path / 'other' / 'evaluate'}]"]) == EXIT_OK
    folder = pretrained / "publish" / "model"
    card = (folder / "README.md").read_text()
    for words in ("### tiny", "### other", "classification of stress (tiny)", "classification of stress (other)"):
        assert words in card, words
    # By its published folder the encoder's cohorts are known, its people are not.
    for cohort, status in (("tiny", EXIT_USER_ERROR), ("other", EXIT_USER_ERROR)):
        assert (
            evaluated(tmp_path / "again", folders, cohort, f"checkpoint={folder}", "protocol.people=unseen") == status
        )
        assert "pretrained on people of this cohort" in capsys.readouterr().err


def test_an_encoder_is_tried_on_a_cohort_that_it_never_saw(folders, tmp_path, capsys, monkeypatch) -> None:
    assert main(["pretrain", f"root={tmp_path / 'here'}", f"shards={folders['tiny']}", *TINY]) == EXIT_OK
    checkpoint = tmp_path / "here" / "pretrain" / "checkpoint"
    unseen = [f"checkpoint={checkpoint}", "protocol.people=unseen", "protocol.folds=2"]
    real = contract.look
    spoilt = lambda name, values, *more: real(name, values * (1000 if name == "acc" else 1), *more)
    with monkeypatch.context() as patch:  # a number asked of recordings in another unit is told so
        patch.setattr(contract, "look", spoilt)
        assert evaluated(tmp_path / "there", folders, "other", *unseen) == EXIT_OK
    summary = json.loads((tmp_path / "there" / "evaluate" / "result.json").read_text())["summary"]
    assert "as large as in training" in summary["unlike training"]
    rows = json.loads((tmp_path / "there" / "evaluate" / "rows.json").read_text())
    models = {row["model"] for row in rows if row["what"] == "stress"}
    assert {"encoder + logistic regression", "random encoder + logistic regression"} <= models, sorted(models)
    assert not [name for name in models if "closed-form" in name], "nothing of this cohort shapes the encoder"
    capsys.readouterr()
    assert evaluated(tmp_path / "home", folders, "tiny", *unseen) == EXIT_USER_ERROR
    assert "pretrained on people of this cohort" in capsys.readouterr().err
    # The same people in other shards: their pseudonyms tell.
    assert evaluated(tmp_path / "again", folders, "again", *unseen) == EXIT_USER_ERROR
    (checkpoint.parent / "people.json").unlink()
    assert evaluated(tmp_path / "who", folders, "other", *unseen) == EXIT_USER_ERROR
    assert "not known whom" in capsys.readouterr().err


def test_folds_of_one_cohort_are_pretrained_with_everyone_of_the_others(folders, tmp_path, capsys) -> None:
    both, one = listed(folders["tiny"], folders["other"]), ["protocol.people=per_fold", "protocol.folds=2"]
    assert evaluated(tmp_path / "run", folders, "tiny", both, *one) == EXIT_OK
    result = json.loads((tmp_path / "run" / "evaluate" / "result.json").read_text())["results"][0]
    assert result["protocol"]["cohort"] == "tiny"
    assert result["protocol"]["audit"]["pretraining"] == "test people left out"
    for fold in (1, 2):
        model = hdt_fm.load(tmp_path / "run" / "evaluate" / "folds" / str(fold) / "checkpoint")
        assert set(model.modalities) == set(UNION)
    capsys.readouterr()
    assert evaluated(tmp_path / "run2", folders, "again", both, *one) == EXIT_USER_ERROR
    assert "not among the cohorts" in capsys.readouterr().err

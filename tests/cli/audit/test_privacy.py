"""`hdt-fm audit privacy` as a user types it, at the smallest size: what it leaves, and what it refuses."""

import json
import shutil
from pathlib import Path

import pytest

from data_pipelines.build import build_shards
from hdt_fm.audit.controls import PREPARATION, SignatureCohort
from hdt_fm.checkpoint import load, model_digest
from hdt_fm.cli.main import EXIT_OK, EXIT_USER_ERROR, main
from hdt_fm.data.shards import ShardFolder
from hdt_fm.report.evidence import read_audit
from hdt_fm.schema.result import RunRecord

TINY = [
    "debug=tiny",
    "near_s=4.0",
    "encoder.slots=4",
    "training.start=random",
    "training.people_per_pool=null",
    "training.val_every=1000",
    "training.checkpoint_every=1000",
    "split.test=0.4",
    "audit.draws=20",
]
OVERFITTED = [
    "training.steps=80",
    "training.batch_size=64",
    "training.learning_rate=5.0e-3",
    "training.weight_decay=0.0",
    "training.modality_dropout=0.0",
    "training.augment.amplitude=0.0",
]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Shards of people with a loud signature, and an encoder that learned some of them by heart."""
    root = tmp_path_factory.mktemp("audit")
    cohort = SignatureCohort(12, signature=3.0, seconds=48)
    build_shards(
        cohort,
        name=cohort.name,
        folder=root / "shard" / "windows",
        preparation=PREPARATION,
        block_windows=64,
        shard_mb=1.0,
        seed=0,
    )
    assert main(["pretrain", *TINY, *OVERFITTED, f"root={root}"]) == EXIT_OK
    return root


def audit(root: Path, *more: str) -> int:
    return main(["audit", "privacy", *TINY, f"root={root}", *more])


@pytest.fixture(scope="module")
def audited(root: Path) -> Path:
    """Audited with two references of a few steps; its folder."""
    assert audit(root, "audit.references=2", "audit.reference_steps=3") == EXIT_OK
    return root / "audit" / "privacy"


def test_it_leaves_rows_words_and_a_record_of_this_model(root: Path, audited: Path) -> None:
    told = json.loads((audited / "privacy_audit.json").read_text())
    assert told["model"] == model_digest(load(root / "pretrain" / "checkpoint"))
    assert told["shards"] == [ShardFolder.open(root / "shard" / "windows").digest]
    assert {row["result"] for row in told["rows"]} == {"membership inference", "re-identification from embeddings"}
    assert {row["value"] for row in told["rows"] if row["metric"] == "caught at 0.1% false alarms"} == {
        "not resolvable"
    }
    assert told["protocol"]["reference steps"] == 3
    page = (audited / "privacy_audit.md").read_text()
    assert all(sentence in page for sentence in told["found"])
    record = RunRecord.model_validate_json((audited / "result.json").read_text())
    assert len(record.results) == 2
    assert not any("audit.what" in command for command in record.next)
    # The card of a published model reads the same file.
    assert read_audit(audited).model == told["model"]


def test_no_file_that_is_handed_on_names_a_person(root: Path, audited: Path) -> None:
    people = ShardFolder.open(root / "shard" / "windows").manifest.subjects
    for name in ("privacy_audit.json", "privacy_audit.md", "result.json"):
        text = (audited / name).read_text()
        assert not [row for row in people if row.subject in text], name


def test_a_planted_signature_is_linked_and_an_overfitted_encoder_gives_its_people_away(audited: Path) -> None:
    rows = json.loads((audited / "privacy_audit.json").read_text())["rows"]

    def value(model: str, metric: str, what: str) -> float:
        return next(row["value"] for row in rows if (row["model"], row["metric"], row["what"]) == (model, metric, what))

    assert value("threshold", "auroc", "this model") > 0.8
    what = "signatures, people of pretraining, all modalities, all windows"
    assert value("encoder, trained", "rank-1", what) > 2 * value("chance", "rank-1", what)


def test_the_same_command_trains_no_reference_again(root: Path, audited: Path, capsys) -> None:
    before = {path: path.read_bytes() for path in audited.glob("references/*/checkpoint/model.safetensors")}
    assert len(before) == 2
    assert audit(root, "audit.references=2", "audit.reference_steps=3", "--json") == EXIT_OK
    assert {path: path.read_bytes() for path in before} == before
    assert json.loads(capsys.readouterr().out)["verb"] == "audit"


def test_a_dry_run_says_what_references_cost(root: Path, capsys) -> None:
    assert audit(root, "--dry-run", "--json") == EXIT_OK
    plan = json.loads(capsys.readouterr().out)
    assert plan["references"] == 8
    assert plan["estimated minutes of references"] >= 0
    assert plan["people (taught, watched, kept out)"].count(",") == 2


def test_help_of_the_word(capsys) -> None:
    assert main(["audit", "privacy", "--help"]) == EXIT_OK
    said = capsys.readouterr().out
    assert "usage: hdt-fm audit privacy" in said
    assert "references: 8" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["audit.attacks=[guess]"], "audit.attacks"),
        (["audit.reference=2"], "did you mean 'audit.references'?"),
        (["audit.gamma=0.5"], "audit.gamma"),
        (["audit.false_shares=[0.0]"], "audit.false_shares"),
        (["audit.checkpoint=no-such-model"], "There is no model of this name"),
    ],
)
def test_a_mistake_is_named(root: Path, change: list[str], said: str, capsys) -> None:
    assert audit(root, "audit.references=0", *change) == EXIT_USER_ERROR
    assert said in capsys.readouterr().err


def test_which_audit_must_be_said(root: Path, capsys) -> None:
    assert main(["audit", *TINY, f"root={root}"]) == EXIT_USER_ERROR
    assert "hdt-fm audit privacy" in capsys.readouterr().err


def test_an_encoder_of_unknown_history_is_refused(root: Path, tmp_path: Path, capsys) -> None:
    shutil.copytree(root / "pretrain" / "checkpoint", tmp_path / "checkpoint")
    assert audit(root, f"audit.checkpoint={tmp_path / 'checkpoint'}") == EXIT_USER_ERROR
    assert "not known whom this encoder saw" in capsys.readouterr().err


def test_a_published_model_of_other_files_is_refused(root: Path, capsys) -> None:
    assert audit(root, "audit.checkpoint=hdt-fm-wrist-s") == EXIT_USER_ERROR
    said = capsys.readouterr().err
    assert "files that the shards come from" in said
    assert "Traceback" not in said


def test_another_model_beside_the_list_of_people_is_refused(root: Path, tmp_path: Path, capsys) -> None:
    for name in ("people.json", "result.json"):
        shutil.copy(root / "pretrain" / name, tmp_path / name)
    shutil.copytree(root / "pretrain" / "checkpoint", tmp_path / "checkpoint")
    record = json.loads((tmp_path / "result.json").read_text())
    record["provenance"]["model"] = "0" * 64
    (tmp_path / "result.json").write_text(json.dumps(record))
    assert audit(root, f"audit.checkpoint={tmp_path / 'checkpoint'}") == EXIT_USER_ERROR
    assert "of another model" in capsys.readouterr().err

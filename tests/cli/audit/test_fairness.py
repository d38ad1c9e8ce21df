"""`hdt-fm audit fairness` as a user types it, at the smallest size: what it leaves, and what it refuses."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_pipelines.build import build_shards
from hdt_fm.audit.controls import PREPARATION, SignatureCohort
from hdt_fm.audit.fairness.record import FairnessAudit
from hdt_fm.checkpoint import load, model_digest
from hdt_fm.cli.audit.fairness_models import facts_of
from hdt_fm.cli.main import EXIT_OK, EXIT_USER_ERROR, main
from hdt_fm.data.shards import ShardFolder
from hdt_fm.report.evidence import read_fairness
from hdt_fm.schema.embedding import EmbeddingTable
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Visit
from hdt_fm.schema.result import RunRecord

TINY = [
    "debug=tiny",
    "near_s=4.0",
    "encoder.slots=4",
    "training.start=random",
    "training.people_per_pool=null",
    "training.val_every=1000",
    "training.checkpoint_every=1000",
    "audit.draws=50",
    "audit.permutations=100",
    "audit.fine_tune_steps=12",
]
SECONDS, PART_S = 80, 8


class UnlikeCohort(SignatureCohort):
    """Women whose movement doubles under stress and men whose body shows nothing of it; one of each has no device."""

    name = "unlike"

    def visits(self) -> Iterator[Visit]:
        for number, visit in enumerate(super().visits()):
            start = min(one.start_ns for one in visit.recordings.values())
            starts = start + np.arange(0, SECONDS, PART_S) * NS_PER_S
            classes = (np.arange(len(starts)) % 2).astype(np.float64)
            track = LabelTrack("stress", "class", starts, starts + PART_S * NS_PER_S, classes, ("rest", "stress"))
            rate = LabelTrack("rate", "value", starts, starts + PART_S * NS_PER_S, 60.0 + 9.0 * classes, unit="bpm")
            sex = "F" if number % 2 else "M"
            facts = {"sex": sex, **({"device": "one"} if number > 1 else {})}
            yield replace(
                visit,
                recordings={name: self._shown(one, sex) for name, one in visit.recordings.items()},
                labels={"stress": track, "rate": rate},
                covariates=facts,
            )

    def _shown(self, recording, sex):
        part = (np.arange(recording.values.shape[1]) / recording.sampling_rate_hz // PART_S) % 2
        louder = 1.0 + 3.0 * part if sex == "F" else np.ones_like(part)
        return replace(recording, values=(recording.values * louder).astype(np.float32))


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Shards of fourteen people, and an encoder that was kept from a quarter of them."""
    root = tmp_path_factory.mktemp("fairness")
    cohort = UnlikeCohort(14, signature=0.0, visits=1, seconds=SECONDS)
    folder = root / "shard" / "windows"
    build_shards(
        cohort, name=cohort.name, folder=folder, preparation=PREPARATION, block_windows=64, shard_mb=1.0, seed=0
    )
    assert main(["pretrain", *TINY, f"root={root}"]) == EXIT_OK
    return root


def audit(root: Path, *more: str) -> int:
    return main(["audit", "fairness", *TINY, f"root={root}", "protocol.people=per_fold", *more])


@pytest.fixture(scope="module")
def audited(root: Path) -> Path:
    assert audit(root) == EXIT_OK
    return root / "audit" / "fairness"


def test_it_leaves_rows_words_and_a_record_of_this_model(root: Path, audited: Path) -> None:
    told = FairnessAudit.model_validate_json((audited / "fairness_audit.json").read_text())
    assert told.model == model_digest(load(root / "pretrain" / "checkpoint"))
    assert told.shards == (ShardFolder.open(root / "shard" / "windows").digest,)
    assert told.protocol["columns"] == {"sex": ["F", "M"]}
    assert "pretrained anew" in told.protocol["encoders"]
    assert set(told.protocol["left out"]) == {"device", "device+sex"}
    assert {row["when"] for row in told.rows} == {"floor", "before", "after"}
    models = {row["model"] for row in told.rows}
    assert len(models) == 3 + 3 + 3
    assert "fine-tuned encoder, group DRO by sex" in models
    page = (audited / "fairness.md").read_text()
    assert all(sentence in page for sentence in told.found)
    # The card of a published model reads the same file.
    assert read_fairness(audited).columns == ("sex",)
    record = RunRecord.model_validate_json((audited / "result.json").read_text())
    assert len(record.results) == 1
    assert not any("audit." in command for command in record.next)


def test_what_shows_in_one_sex_alone_is_found(audited: Path) -> None:
    told = FairnessAudit.model_validate_json((audited / "fairness_audit.json").read_text())
    gap = next(
        row
        for row in told.rows
        if (row["model"], row["metric"]) == ("hand features + linear probe", "balanced_accuracy gap")
    )
    assert gap["worst"] == "M"
    assert gap["value"] > 0.25
    assert gap["p_of_columns"] < 0.05
    assert "hand features + linear probe" in told.found[0]
    assert "more than chance" in told.found[0]


def test_no_file_that_is_handed_on_names_a_person_or_counts_too_few(root: Path, audited: Path) -> None:
    people = ShardFolder.open(root / "shard" / "windows").manifest.subjects
    told = json.loads((audited / "fairness_audit.json").read_text())
    assert min(row["n"] for row in told["rows"]) >= 5
    for name in ("fairness_audit.json", "fairness.md", "result.json"):
        text = (audited / name).read_text()
        assert not [row for row in people if row.subject in text], name


def test_values_have_error_bias_and_coverage(root: Path) -> None:
    more = ["protocol=regression", "protocol.label=rate", "audit.by=[sex]", "audit.remedies=[]"]
    assert audit(root, "protocol.people=per_fold", *more) == EXIT_OK
    told = FairnessAudit.model_validate_json((root / "audit" / "fairness" / "fairness_audit.json").read_text())
    assert {row["metric"] for row in told.rows} >= {"mae", "bias", "coverage_of_80", "mae gap"}
    assert {row["unit"] for row in told.rows if row["metric"] == "mae"} == {"bpm"}


def test_without_fine_tuning_there_is_no_after(root: Path) -> None:
    assert audit(root, "audit.fine_tune=false", "audit.remedies=[]") == EXIT_OK
    told = FairnessAudit.model_validate_json((root / "audit" / "fairness" / "fairness_audit.json").read_text())
    assert {row["when"] for row in told.rows} == {"floor", "before"}


def test_a_dry_run_says_what_fine_tunings_cost(root: Path, capsys) -> None:
    assert audit(root, "--dry-run", "--json") == EXIT_OK
    plan = json.loads(capsys.readouterr().out)
    assert plan["people"] == 14
    assert plan["fine-tunings of each fold"] == 5
    assert plan["estimated minutes"] >= 0


def test_help_of_the_word(capsys) -> None:
    assert main(["audit", "fairness", "--help"]) == EXIT_OK
    said = capsys.readouterr().out
    assert "usage: hdt-fm audit fairness" in said
    assert "min_people: 5" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["audit.by=[sec]"], "did you mean 'sex'?"),
        (["audit.min_people=1"], "audit.min_people"),
        (["audit.min_people=8"], "No column parts the scored people"),
        (["audit.remedies=[prayer]"], "audit.remedies"),
        (["protocol.people=held_out", "audit.checkpoint=nowhere"], "not known whom this encoder saw"),
    ],
)
def test_a_mistake_is_named(root: Path, change: list[str], said: str, capsys) -> None:
    assert audit(root, "audit.fine_tune=false", *change) == EXIT_USER_ERROR
    assert said in capsys.readouterr().err


def test_held_out_people_may_be_too_few_and_that_is_said(root: Path, capsys) -> None:
    assert audit(root, "protocol.people=held_out", "audit.fine_tune=false") == EXIT_USER_ERROR
    assert "protocol.people=per_fold scores everyone" in capsys.readouterr().err


def test_what_was_not_worn_is_a_fact_of_a_person() -> None:
    empty = np.zeros((4, 2, 3), dtype=np.float32)
    table = EmbeddingTable(
        modalities=("ppg", "acc"),
        embeddings=empty,
        projections=empty,
        present=np.array([[True, True], [True, False], [True, False], [True, False]]),
        subject=np.array([0, 0, 1, 1]),
        group=np.array([7, 7, 8, 8]),
        time_s=np.arange(4.0),
        window_id=np.arange(4),
        labels={},
        label_columns=(),
        subjects=("s1", "s2"),
        window_s=4.0,
        hop_s=4.0,
        model_digest="m",
        data_digest="d",
    )
    found = facts_of(table, [{"sex": "F", "published_split": "train"}, {"sex": "M"}], "published_split")
    assert found == {7: {"sex": "F", "modalities": "all"}, 8: {"sex": "M", "modalities": "without acc"}}

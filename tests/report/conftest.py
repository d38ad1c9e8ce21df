"""A tiny saved model and the records of a run that led to it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hdt_fm.checkpoint import build_model, model_digest, save_model
from hdt_fm.report.card import CardFacts, DataFacts, data_facts
from hdt_fm.schema.manifest import ModelConfig, Part, Preprocess
from hdt_fm.schema.preparation import ModalityPreparation, Preparation
from hdt_fm.schema.result import Result, Row, RunRecord
from hdt_fm.schema.shard import Counts, LabelColumn, ModalityColumn, ShardEntry, ShardHeader, ShardManifest, SubjectRow
from hdt_fm.schema.subject import SubjectKey

PREPARATION = Preparation(
    window_s=10,
    hop_s=5,
    modalities={
        "ppg": ModalityPreparation(sampling_rate_hz=16, highpass_hz=0.5, lowpass_hz=6, invert=True),
        "eda": ModalityPreparation(sampling_rate_hz=4, channels=2),
    },
)
COLUMNS = (
    ModalityColumn(name="ppg", unit="au", channels=1, sampling_rate_hz=16, samples=160, encoding="f32"),
    ModalityColumn(name="eda", unit="uS", channels=2, sampling_rate_hz=4, samples=40, encoding="f32"),
)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder as `save_model` writes it."""
    config = ModelConfig(
        modalities=COLUMNS,
        encoder=Part(name="patch_transformer", args={"width": 8, "depth": 1, "heads": 2, "patch_points": 4}),
        projection=Part(name="projection", args={"dim": 4}),
        heads={"stress": Part(name="probe", args={"in_features": 18, "out_features": 2})},
        statistics={"ppg": (0.0, 3.0), "eda": (2.0, 1.5)},
        window_s=10,
    )
    folder = tmp_path_factory.mktemp("run") / "checkpoint"
    save_model(build_model(config), folder, preprocess=Preprocess(preparation=PREPARATION, modalities=COLUMNS))
    return folder


@pytest.fixture(scope="session")
def digest(checkpoint: Path) -> str:
    from hdt_fm.checkpoint import load

    return model_digest(load(checkpoint))


@pytest.fixture
def manifest() -> ShardManifest:
    """14 people, one of them the only one of a site."""
    people = tuple(
        SubjectRow(
            subject=SubjectKey.public().pseudonym("study", str(k)),
            group=str(k),
            windows=10 + k,
            hours=0.25,
            covariates={"sex": "f" if k < 8 else "m", "site": "b" if k == 0 else "a"},
        )
        for k in range(14)
    )
    return ShardManifest(
        cohort="stress study",
        licence="CC-BY-4.0",
        source="https://example.org/stress",
        preparation=PREPARATION,
        header=ShardHeader(
            modalities=COLUMNS, labels=(LabelColumn(name="stress", kind="class"),), window_s=10, hop_s=5
        ),
        splits={"all": (ShardEntry(path="all/x-00000.tar", bytes=1, sha256="0" * 64, windows=231, blocks=1),)},
        subjects=people,
        counts=Counts(visits=15, recordings=30, windows_possible=300, windows_kept=231, windows_dropped_coverage=69),
        config_digest="c" * 64,
        input_digest="d" * 64,
        code_version="0.1.0",
    )


@pytest.fixture
def data(manifest: ShardManifest) -> DataFacts:
    return data_facts(manifest)


@pytest.fixture
def card_facts() -> CardFacts:
    return CardFacts(
        name="Wrist stress 1",
        summary="A small encoder of wrist signals.",
        licence="cc-by-4.0",
        intended_use="Research on stress at rest.",
        out_of_scope="Diagnosis; people under 18.",
        limits=("Trained on 14 people of one laboratory.",),
        tags=("stress",),
    )


@pytest.fixture
def result(digest: str) -> Result:
    row = lambda model, role, value, **more: Row(
        what="stress",
        model=model,
        metric="auroc",
        value=value,
        low=value - 0.1,
        high=value + 0.1,
        n=14,
        role=role,
        **more,
    )
    rows = (
        row("linear probe", "ours", 0.7654321),
        row("k-NN", "ours", 0.7211111),
        row("dummy", "baseline", 0.5),
        row("hand features", "baseline", 0.7291234),
    )
    protocol = {"split": "5 folds", "seed": 3, "model_digest": digest, "better": {"auroc": "higher"}}
    return Result(name="stress", protocol=protocol, rows=rows, required_baselines=("dummy", "hand features"))


@pytest.fixture
def records(result: Result) -> tuple[RunRecord, ...]:
    return (
        RunRecord(
            verb="pretrain",
            name="stress_predict",
            outputs={"checkpoint": "checkpoint"},
            seconds=1834.25,
            summary={"loss": 2.25, "steps": 400},
            provenance={"hdt_fm": "0.1.0", "seed": 3, "device": {"name": "cpu", "threads": 2}},
        ),
        RunRecord(
            verb="evaluate",
            name="stress_predict",
            outputs={},
            next=("hdt-fm explain",),
            seconds=65.75,
            provenance={"torch": "2.13.0"},
            results=(result,),
        ),
    )


@pytest.fixture
def publish_inputs(
    records: tuple[RunRecord, ...], data: DataFacts, card_facts: CardFacts
) -> Callable[..., dict[str, Any]]:
    """Keyword arguments of `assemble`, some of them replaced."""
    return lambda **changes: {"records": records, "data": (data,), "card_facts": card_facts, **changes}

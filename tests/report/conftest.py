"""A tiny saved model and the records of a run that led to it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hdt_fm.checkpoint import build_model, model_digest, save_model
from hdt_fm.report.card_facts import CardFacts
from hdt_fm.report.data_facts import DataFacts, data_facts
from hdt_fm.report.facts import Facts, digest_of, read_facts
from hdt_fm.report.publish import assemble
from hdt_fm.report.software import Distribution
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


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def data(manifest: ShardManifest) -> DataFacts:
    return data_facts(manifest)


@pytest.fixture(scope="session")
def card_facts() -> CardFacts:
    return CardFacts(
        name="Wrist stress 1",
        summary="A small encoder of wrist signals.",
        licence="cc-by-4.0",
        intended_use="Research on stress at rest.",
        out_of_scope="Diagnosis; people under 18.",
        limits=("Trained on 14 people of one laboratory.",),
        tags=("stress",),
        workflow="Embeddings of windows, for studies.",
        users=("Researchers",),
        target_population="Adults at rest.",
        risks=("Its answers may be believed too readily.",),
        biases=("People whose skin was not among those measured.",),
        bias_mitigation="Nothing.",
        clinical_risk="Research only.",
        authors="A laboratory; Another one",
        contact="https://example.org/contact",
        stage="research",
        released="2026-11-20",
        release="1.0",
        availability="Open to everyone.",
        maintenance="Faults are looked at once a month.",
        funding="Paid by nobody.",
        interests="Nothing to declare.",
        stakeholders="Nobody.",
        ethics="Approved by the laboratory's board.",
        disclosure="Written consent to research and open data.",
        privacy_audit="none",
        privacy_audit_reason="Too few people were kept from training.",
        subgroups="none",
        subgroups_reason="Nothing is known of the people but sex and site.",
    )


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def publish_inputs(
    records: tuple[RunRecord, ...], data: DataFacts, card_facts: CardFacts
) -> Callable[..., dict[str, Any]]:
    """Keyword arguments of `assemble`, some of them replaced."""
    software = (
        Distribution(name="hdt-fm", version="0.1.0", licence="Apache-2.0", needs=("numpy",)),
        Distribution(name="numpy", version="2.4.6"),
    )
    return lambda **changes: {
        "records": records,
        "data": (data,),
        "card_facts": card_facts,
        "software": software,
        **changes,
    }


@pytest.fixture(scope="session")
def assembled(
    checkpoint: Path, publish_inputs: Callable[..., dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A published folder without evidence, made once."""
    return assemble(
        checkpoint, **publish_inputs(), folder=tmp_path_factory.mktemp("assembled") / "model", reload=reload
    )


@pytest.fixture
def published(assembled: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may spoil."""
    return Path(shutil.copytree(assembled, tmp_path / "out" / "model"))


@pytest.fixture(scope="session")
def facts(assembled: Path) -> Facts:
    return read_facts(assembled)


def reload(folder: Path) -> set[str]:
    """As the command line lends it."""
    from hdt_fm.checkpoint import load

    return {model_digest(load(folder))}


AUDIT = {
    "version": 1,
    "model": "m" * 64,
    "encoder": "e" * 64,
    "shards": ["0" * 64],
    "config": "c" * 64,
    "protocol": {"draws": 100},
    "rows": [{"result": "membership", "what": "stress study", "metric": "auroc", "value": 0.52, "n": 14}],
    "found": ["Membership, stress study, rmia: AUROC 0.520 [0.400, 0.640] (chance .500): not told from chance."],
}
EXPLANATION = {
    "version": 2,
    "title": "Attribution: log-odds of stress",
    "scope": "cohort",
    "reliability": {"verdict": "warn", "checks": []},
    "provenance": {"checkpoint": "m" * 16},
    "summary": ["PPG leads."],
    "windows": [{"events": {}, "channels": [{"segments": [0.1, 0.2]}]}],
}
PAGE = "<html><p>Waveforms and event marks are withheld from this copy.</p></html>"


@pytest.fixture
def evidence(tmp_path: Path, digest: str) -> Callable[..., dict[str, Path]]:
    """Files that other verbs leave, of this model: `audit` and `explanation` of `assemble`."""

    def made(*, audit: dict[str, Any] | None = None, told: dict[str, Any] | None = None, page: str = PAGE):
        audits, explained = tmp_path / "audit", tmp_path / "explain"
        audits.mkdir(exist_ok=True)
        explained.mkdir(exist_ok=True)
        path = audits / "privacy_audit.json"
        path.write_text(json.dumps({**AUDIT, "encoder": digest, **(audit or {})}))
        of_this = {"provenance": {"checkpoint": digest[:16]}}
        (explained / "explanation.json").write_text(json.dumps({**EXPLANATION, **of_this, **(told or {})}))
        (explained / "explanation.html").write_text(page)
        return {"audit": path, "explanation": explained}

    return made


def resummed(folder: Path) -> Path:
    """Digests made anew, as by someone who edits a file and covers it up."""
    names = sorted(path.name for path in folder.iterdir() if path.name not in ("SHA256SUMS", "model.sig"))
    (folder / "SHA256SUMS").write_text("".join(f"{digest_of(folder / name)}  {name}\n" for name in names))
    return folder


@pytest.fixture
def resum() -> Callable[[Path], Path]:
    return resummed

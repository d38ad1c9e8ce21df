"""A payload that leaves marks, a room to work in, and the question after every test: did anything happen?"""

import builtins
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from hdt_fm.checkpoint import build_model, save_model
from hdt_fm.schema.manifest import ModelConfig, Part, Preprocess
from hdt_fm.schema.preparation import ModalityPreparation, Preparation
from hdt_fm.schema.shard import ModalityColumn

MARK = "hostile_payload_ran"
CANARY = Path(tempfile.gettempdir()) / f"{MARK}_{os.getpid()}"
# Leaves a file, a variable and an attribute, whatever process or folder it runs in.
CODE = (
    "import builtins, os, tempfile\n"
    f"builtins.{MARK} = True\n"
    f"os.environ[{MARK!r}] = '1'\n"
    f"open({str(CANARY)!r}, 'w').close()"
)


class Payload:
    """Runs `CODE` when it is unpickled by anything that runs what a pickle says."""

    def __reduce__(self) -> tuple:
        return exec, (CODE,)


def marks() -> list[str]:
    """What a payload that ran left behind."""
    found = {"a file": CANARY.exists(), "a variable": MARK in os.environ, "an attribute": hasattr(builtins, MARK)}
    return [name for name, there in found.items() if there]


def wipe() -> None:
    """Take the marks away."""
    CANARY.unlink(missing_ok=True)
    os.environ.pop(MARK, None)
    if hasattr(builtins, MARK):
        delattr(builtins, MARK)


@pytest.fixture(autouse=True)
def nothing_happened(room: Path, tmp_path: Path) -> Iterator[None]:
    """No mark, and no file outside of the room, whatever the test did."""
    wipe()
    before = sorted(path for path in tmp_path.rglob("*") if not path.is_relative_to(room))
    yield
    found = marks()
    wipe()
    assert not found, f"the payload ran and left {', '.join(found)}"
    after = sorted(path for path in tmp_path.rglob("*") if not path.is_relative_to(room))
    assert after == before, "something was written outside of the room"


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a test works; two levels down, so that `../../evil` would lie in the test's own folder."""
    room = tmp_path / "house" / "room"
    room.mkdir(parents=True)
    monkeypatch.chdir(room)
    return room


@pytest.fixture
def payload() -> Payload:
    return Payload()


@pytest.fixture
def fires() -> Callable[[], list[str]]:
    """The marks that are there now, which are taken away: for tests that want the payload to run."""

    def asked() -> list[str]:
        found = marks()
        wipe()
        return found

    return asked


@pytest.fixture(scope="session")
def honest_shards(made: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good shard folder, to be copied and spoilt."""
    folder = tmp_path_factory.mktemp("honest") / "shards"
    made.write_folder(folder)
    return folder


@pytest.fixture
def shards(honest_shards: Path, room: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(honest_shards, room / "shards"))


@pytest.fixture(scope="session")
def tiny_model() -> tuple[ModelConfig, Preprocess]:
    """What rebuilds a model of two modalities and a head, and how its recordings are prepared."""
    columns = (
        ModalityColumn(name="acc", unit="g", channels=3, sampling_rate_hz=16, samples=64, encoding="f32"),
        ModalityColumn(name="eda", unit="uS", channels=1, sampling_rate_hz=4, samples=16, encoding="f32"),
    )
    config = ModelConfig(
        modalities=columns,
        encoder=Part(name="patch_transformer", args={"width": 16, "depth": 1, "heads": 2, "patch_points": 8}),
        per_modality={"eda": {"patch_s": 2.0}},
        projection=Part(name="projection", args={"dim": 6}),
        heads={"second": Part(name="projection", args={"modalities": 2, "width": 16, "dim": 5})},
        statistics={"acc": (0.1, 0.5), "eda": (2.0, 1.5)},
        window_s=4.0,
    )
    prepared = {
        "acc": ModalityPreparation(sampling_rate_hz=16, channels=3),
        "eda": ModalityPreparation(sampling_rate_hz=4),
    }
    preparation = Preparation(window_s=4, hop_s=2, modalities=prepared)
    return config, Preprocess(preparation=preparation, modalities=columns)


@pytest.fixture(scope="session")
def honest_checkpoint(tiny_model: tuple[ModelConfig, Preprocess], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good checkpoint folder, to be copied and spoilt."""
    config, preprocess = tiny_model
    folder = tmp_path_factory.mktemp("honest") / "checkpoint"
    save_model(build_model(config, seed=3), folder, preprocess=preprocess)
    return folder


@pytest.fixture
def checkpoint(honest_checkpoint: Path, room: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(honest_checkpoint, room / "checkpoint"))

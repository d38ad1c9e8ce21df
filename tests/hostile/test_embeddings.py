"""Tables of embeddings whose two files are of one hand, so that their digests agree."""

import hashlib
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from hdt_fm.data.embeddings import ARRAYS_NAME, TABLE_NAME, load_table, save_table
from hdt_fm.data.series_embeddings import load_series_embeddings
from hdt_fm.schema.embedding import EmbeddingTable
from hdt_fm.schema.errors import CorruptShardError, HdtError, ShardError
from hdt_fm.schema.shard import LabelColumn

SURFACE = "embedding table"
ROWS = 5


@pytest.fixture(scope="module")
def honest_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    row = np.arange(ROWS)
    table = EmbeddingTable(
        modalities=("acc", "eda"),
        embeddings=np.zeros((ROWS, 2, 3), np.float32),
        projections=np.zeros((ROWS, 2, 4), np.float32),
        present=np.ones((ROWS, 2), np.bool_),
        subject=row,
        group=row,
        time_s=row.astype(np.float64),
        window_id=row,
        labels={"stress": np.zeros(ROWS, np.float32)},
        label_columns=(LabelColumn(name="stress", kind="class", classes=("rest", "stress")),),
        subjects=("s0", "s1", "s2", "s3", "s4"),
        window_s=4.0,
        hop_s=2.0,
        model_digest="0" * 64,
        data_digest="1" * 64,
    )
    folder = tmp_path_factory.mktemp("honest") / "table"
    save_table(table, folder)
    return folder


def arrays(change: Callable[[bytes, object], bytes]) -> Callable[[Path, object], None]:
    """Other arrays, and a table that gives their digest."""

    def edit(folder: Path, payload: object) -> None:
        data = change((folder / ARRAYS_NAME).read_bytes(), payload)
        (folder / ARRAYS_NAME).write_bytes(data)
        facts = json.loads((folder / TABLE_NAME).read_text()) | {"sha256": hashlib.sha256(data).hexdigest()}
        (folder / TABLE_NAME).write_text(json.dumps(facts))

    return edit


def facts(change: Callable[[dict], object]) -> Callable[[Path, object], None]:
    def edit(folder: Path, payload: object) -> None:
        record = json.loads((folder / TABLE_NAME).read_text())
        change(record)
        (folder / TABLE_NAME).write_text(json.dumps(record))

    return edit


def _longer(data: bytes, payload: object) -> bytes:
    held = load(data)
    return save(held | {"label.stress": np.zeros(ROWS + 9, np.float32)})


SPOILT: dict[str, tuple[Callable, type[Exception], str]] = {
    "a pickle by the name embeddings.safetensors": (
        arrays(lambda data, payload: pickle.dumps(payload)),
        CorruptShardError,
        "hold no table",
    ),
    "arrays of several lengths": (arrays(_longer), CorruptShardError, "hold no table"),
    "arrays without one that must be there": (
        arrays(lambda data, payload: save({"embeddings": np.zeros((ROWS, 2, 3), np.float32)})),
        CorruptShardError,
        "hold no table",
    ),
    "a class list that is code": (
        facts(lambda record: record.update(label_columns=[{"_target_": "os.system"}])),
        CorruptShardError,
        "hold no table",
    ),
    "a table that is a pickle": (
        lambda folder, payload: (folder / TABLE_NAME).write_bytes(pickle.dumps(payload)),
        ShardError,
        "no embedding table that can be read",
    ),
    "a table that is a list": (
        lambda folder, payload: (folder / TABLE_NAME).write_text("[1]"),
        ShardError,
        "another version",
    ),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_table_is_refused(case: str, honest_table: Path, room: Path, payload: object) -> None:
    folder = Path(shutil.copytree(honest_table, room / "table"))
    assert len(load_table(folder)) == ROWS
    change, error, words = SPOILT[case]
    change(folder, payload)
    with pytest.raises(error, match=words):
        load_table(folder)


def test_kept_embeddings_of_series_that_are_a_pickle(room: Path, payload: object) -> None:
    (room / "series.safetensors").write_bytes(pickle.dumps(payload))
    with pytest.raises(CorruptShardError, match="cannot be read"):
        load_series_embeddings(room / "series.safetensors", ("model", "series"))


GOT = {"a pickle in place of kept embeddings of series": ("CorruptShardError", "cannot be read")}


def test_every_error_is_one_for_users() -> None:
    assert all(issubclass(error, HdtError) for _, error, _ in SPOILT.values())

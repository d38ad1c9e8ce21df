"""Nothing that a run leaves or says names a person or holds a key, and what goes out does not name the machine.

Every file is read: those of the run, of the current folder, of the home and of the folder for temporary files, and
what is packed in them. That the search can find something is tested too.
"""

import gzip
import importlib.util
import io
import sys
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hdt_fm.cli.main import EXIT_OK, EXIT_USER_ERROR

pytest.importorskip("pyrage", reason="pyrage (extra sealed) is not installed")
HERE = Path(__file__).parent
# Of a run's folder, what is meant to be shown or handed on; `config.yaml` and `result.json` name places of a machine.
LEAVES = (
    "*/wandb/**/*",
    "*/tensorboard/*",
    "*/metrics.csv",
    "*/checkpoint/*",
    "publish/model/*",
    "explain/explanation*",
)
LEAVES += (
    "*/cost.json",
    "audit/privacy/privacy_audit.*",
    "*/table.md",
    "*/rows.json",
    "*/*/table.md",
    "*/*/rows.json",
    "embed/table/*",
)


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.fixture(scope="module")
def traces() -> ModuleType:
    return module("traces")


@pytest.fixture(scope="module")
def ward() -> ModuleType:
    return module("left_behind")


@pytest.fixture(scope="module")
def left(ward: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """All that is left when every verb has run over the ward, and has failed over it."""
    place, keys = tmp_path_factory.mktemp("left"), ward.keys()
    ward.write_ward(place / "input" / "ward")
    ward.write_faults(place / "input" / "faults")
    with ward.strangers_machine(place, keys):
        status = {" ".join(words): ward.run(words, place) for words in ward.WALK}
        status |= {" ".join(words): ward.run(words, place) for words in ward.FAILING}
    return SimpleNamespace(place=place, keys=keys, status=status, said=(place / "said.txt").read_text())


def test_every_verb_ran_and_then_failed(left: SimpleNamespace, ward: ModuleType) -> None:
    assert [left.status[" ".join(words)] for words in ward.WALK] == [EXIT_OK] * len(ward.WALK), left.said[-3000:]
    assert [left.status[" ".join(words)] for words in ward.FAILING] == [EXIT_USER_ERROR] * len(ward.FAILING)
    assert left.said.count("error: ") >= len(ward.FAILING)
    assert {words[0] for words in ward.WALK} == {words[0] for words in ward.FAILING}


def test_nothing_that_is_left_names_a_person(left: SimpleNamespace, ward: ModuleType, traces: ModuleType) -> None:
    paths = [*outputs(left, traces)]
    assert len(paths) > 60
    assert {"run", "home", "temporary", "here"} >= {path.relative_to(left.place).parts[0] for path in paths[:-1]}
    assert traces.found_in(paths, ward.words_of_people(), below=left.place) == []


def test_nothing_that_is_left_holds_a_key(left: SimpleNamespace, traces: ModuleType) -> None:
    assert len(left.keys) == 11
    words = {form: name for name, key in left.keys.items() for form in traces.encodings_of_key(key)}
    assert traces.found_in(outputs(left, traces), words, below=left.place) == []


def test_what_goes_out_does_not_name_the_machine(left: SimpleNamespace, ward: ModuleType, traces: ModuleType) -> None:
    paths = sorted({path for pattern in LEAVES for path in (left.place / "run").glob(pattern) if path.is_file()})
    rooms = {pattern: any((left.place / "run").glob(pattern)) for pattern in LEAVES}
    assert all(rooms.values()), rooms
    machine = {str(left.place): "a path", str(HERE.parent): "a path", sys.prefix: "a path", sys.executable: "a path"}
    machine |= {ward.USER: "a user", ward.HOST: "a host", "test_no_traces": "a program"}
    assert traces.found_in(paths, machine, below=left.place) == []


@pytest.mark.parametrize("place", ["run/pretrain/checkpoint", "run/shard/windows", "home", "temporary", "here"])
def test_one_word_in_one_file_would_be_found(
    left: SimpleNamespace, ward: ModuleType, traces: ModuleType, place: str
) -> None:
    secret = left.keys["HDT_FM_SUBJECT_KEY"]
    path = left.place / place / "planted.bin"
    path.write_bytes(packed("zip", f"as {ward.PEOPLE[5].raw} wrote, {secret.encode().hex()}".encode()))
    words = ward.words_of_people() | dict.fromkeys(traces.encodings_of_key(secret), "key")
    try:
        assert path in outputs(left, traces)
        found = traces.found_in([path], words, below=left.place)
    finally:
        path.unlink()
    assert sorted(one.split(":")[0] for one in found) == ["key", "raw id"]
    assert all(f"{place}/planted.bin!inner" in one for one in found)


def outputs(left: SimpleNamespace, traces: ModuleType) -> list[Path]:
    """Every file but those that the run was given; last what it said."""
    folders = [left.place / name for name in ("run", "home", "temporary", "here")]
    return [*traces.files_below(*folders), left.place / "said.txt"]


PLANTED = "Ottilie Zwackelmann"


def packed(kind: str, data: bytes) -> bytes:
    """The data as a file of this kind holds it."""
    out = io.BytesIO()
    if kind == "tar":
        with tarfile.open(fileobj=out, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("plain.txt"))
            info = tarfile.TarInfo("inner.gz")
            info.size = len(gzip.compress(data))
            archive.addfile(info, io.BytesIO(gzip.compress(data)))
    elif kind == "zip":
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("inner", data)
    elif kind == "npz":
        np.savez_compressed(out, who=np.frombuffer(data, np.uint8))
    elif kind == "parquet":
        pq.write_table(pa.table({"who": [data.decode(errors="replace")] * 3}), out, compression="zstd")
    elif kind == "wandb":
        # A record that begins so near the end of a block that the word is cut in two.
        fill, cut = bytes(32768 - 7 - 7 - 7 - 15), 15
        for content, of_kind in ((fill, 1), (data[:cut], 2), (data[cut:], 4)):
            out.write(b"" if out.tell() else b":W&B\x95\xe1\x00")
            out.write(bytes(4) + len(content).to_bytes(2, "little") + bytes([of_kind]) + content)
    else:
        out.write(gzip.compress(data) if kind == "gz" else data)
    return out.getvalue()


KINDS = ("plain", "gz", "tar", "zip", "npz", "wandb")
CODES = ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le")


# A table of texts has no encoding that we choose.
@pytest.mark.parametrize(("kind", "code"), [(kind, code) for kind in KINDS for code in CODES] + [("parquet", "utf-8")])
def test_a_word_that_is_planted_is_found(
    ward: ModuleType, traces: ModuleType, tmp_path: Path, kind: str, code: str
) -> None:
    (tmp_path / "deep").mkdir()
    path = tmp_path / "deep" / "weights.bin"
    path.write_bytes(packed(kind, b"\0\1nothing " + "nobody".encode(code)))
    assert traces.found_in([path], ward.words_of_people(), below=tmp_path) == []
    path.write_bytes(packed(kind, b"\0\1before " + PLANTED.upper().encode(code) + b" after"))
    found = traces.found_in([path], ward.words_of_people(), below=tmp_path)
    assert {one.split(":")[0] for one in found} == {"first name", "last name"}

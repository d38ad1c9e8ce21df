"""Spoilt files of recorders and loggers: each is read, or refused with an error of ours; never another, never a hang.

`HDT_FM_FUZZ=700 pytest tests/data_pipelines/readers/test_fuzz_a.py` takes that many inputs a format.
"""

import importlib.util
import os
import signal
import struct
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import wfdb

from data_pipelines.readers import _hdf5
from data_pipelines.readers.biosppy_text import BiosppyText
from data_pipelines.readers.edf import Edf
from data_pipelines.readers.fit import Fit
from data_pipelines.readers.ishne import Ishne
from data_pipelines.readers.muse import Muse
from data_pipelines.readers.opensignals import Opensignals
from data_pipelines.readers.table import Table
from data_pipelines.readers.wfdb_record import WfdbRecord
from data_pipelines.readers.xdf import Xdf
from hdt_fm.schema.errors import HdtError
from hdt_fm.schema.recording import Visit

SUBJECT = "s" + "7" * 32
INPUTS = int(os.environ.get("HDT_FM_FUZZ", "60"))
# Far above what any of these tiny files takes.
LIMIT_S = 20


def _fabricate():
    spec = importlib.util.spec_from_file_location("fabricate_signals", Path(__file__).with_name("fabricate_signals.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


made = _fabricate()


@contextmanager
def bounded():
    """A hang fails, where signals can be had."""

    def late(*_):
        raise AssertionError(f"reading took longer than {LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def spoilt(data: bytes, generator: np.random.Generator) -> bytes:
    """Cut off, some bytes changed, two stretches swapped, one doubled or left out, or numbers made huge."""
    kind = generator.integers(7)
    raw = bytearray(data)
    at = sorted(generator.integers(0, len(raw) + 1, 4).tolist())
    if kind == 0:
        return bytes(raw[: at[1]])
    if kind == 1:
        for place in generator.integers(0, len(raw), generator.integers(1, 9)).tolist():
            raw[place] ^= 1 << int(generator.integers(8))
        return bytes(raw)
    if kind == 2:
        return bytes(raw[: at[0]] + raw[at[2] : at[3]] + raw[at[1] : at[2]] + raw[at[0] : at[1]] + raw[at[3] :])
    if kind == 3:
        return bytes(raw[: at[1]] + raw[at[0] :])
    if kind == 4:
        return bytes(raw[: at[0]] + raw[at[1] :])
    if kind == 5:
        place = int(generator.integers(0, len(raw)))
        raw[place : place + 4] = bytes(generator.choice([0x00, 0x7F, 0xFF, 0x39], 4).astype(np.uint8))
        return bytes(raw)
    # Among the first bytes lies the header, where most of what can go wrong is decided.
    for place in generator.integers(0, min(len(raw), 300), 3).tolist():
        raw[place] = int(generator.integers(256))
    return bytes(raw)


def check(reader, path: Path, files: dict[Path, bytes], *, repair: Callable[[bytes], bytes] | None = None) -> None:
    """Spoil one of the files at a time; each is read or refused with a reason."""
    read, reasons = 0, []
    for seed in range(INPUTS):
        generator = np.random.default_rng([2026, seed])
        victim = list(files)[seed % len(files)]
        data = spoilt(files[victim], generator)
        if repair is not None and seed % 2:
            data = repair(data)
        for file, whole in files.items():
            file.write_bytes(data if file == victim else whole)
        try:
            with bounded():
                read += isinstance(reader.read(path, subject=SUBJECT), Visit)
        except HdtError as error:
            reasons.append(error.problem)
    assert read + len(reasons) == INPUTS >= 60
    assert all(reasons)
    # Were none refused, nothing would have been spoilt.
    assert reasons


def alone(reader, tmp_path, name: str, data: bytes | str, **more) -> None:
    path = made.write(tmp_path / name, data)
    whole = path.read_bytes()
    assert isinstance(reader.read(path, subject=SUBJECT), Visit)
    check(reader, path, {path: whole}, **more)


def test_fit(tmp_path):
    writer = made.fit_ride(30)
    writer.define(2, 132, [(253, "u4"), (0, "u2"), (9, "u4"), (6, "u1")])
    writer.message(2, 1_000_000_000, 0, 5_000, 70)
    writer.define(3, 132, [(6, "u1", 8), (10, "bytes", 12)])
    writer.message(3, [70] * 8, bytes(range(12)))
    writer.define(4, 55, [(26, "u2"), (3, "u4"), (5, "enum"), (27, "u1")])
    for minute in range(4):
        writer.message(4, (1_000_000_000 + 60 * minute) & 0xFFFF, 100 * minute, 6, 70)
    writer.define(5, 78, [(0, "u2", 5)])
    writer.message(5, [800, 810, 820, 830, 840])
    alone(Fit(), tmp_path, "a.fit", writer.bytes(), repair=made.with_checksum)


def test_xdf(tmp_path):
    pytest.importorskip("pyxdf")
    times = 100 + np.arange(200) / 100
    data = made.xdf(
        made.xdf_header(1, kind="ECG", rate=100, channels=[("II", "ECG", "mV")]),
        made.xdf_header(2, kind="Markers", rate=0, form="string", count=1),
        *(made.xdf_samples(1, times[k : k + 50], np.zeros((50, 1))) for k in range(0, 200, 50)),
        *(made.xdf_offset(1, 100.0 + k, 5.0) for k in range(4)),
        made.xdf_samples(2, [100.5, 101.0], ["go", "stop"]),
    )
    alone(Xdf(), tmp_path, "a.xdf", data)


def test_wfdb(fabricate, tmp_path):
    header = fabricate.wfdb_record(tmp_path)
    wfdb.wrann(
        "rec",
        "atr",
        np.array([50, 300, 500]),
        symbol=["N", "+", "V"],
        aux_note=["", "(N", ""],
        fs=250,
        write_dir=str(tmp_path),
    )
    files = {header.with_suffix(suffix): header.with_suffix(suffix).read_bytes() for suffix in (".hea", ".dat", ".atr")}
    check(WfdbRecord(), header, files)


def test_wfdb_of_many_segments_and_formats(tmp_path):
    samples = np.arange(600).reshape(200, 3) - 300
    (tmp_path / "a.dat").write_bytes(samples.astype("<i2").tobytes())
    (tmp_path / "b.dat").write_bytes(bytes(range(256)) * 4)
    (tmp_path / "a.hea").write_text(
        "a 3 100 200\n" + "".join(f"a.dat 16 200 12 0 0 0 0 {n}\n" for n in ("II", "V", "RESP"))
    )
    (tmp_path / "b.hea").write_text(
        "b 2 100 200\nb.dat 212x2:3 200/mV 12 0 0 0 0 II\nb.dat 212 1/NU 12 0 0 0 0 PLETH\n"
    )
    (tmp_path / "m.hea").write_text("m/3 3 100 450 10:00:00 05/03/2026\na 200\n~ 50\nb 200\n".replace("b 200", "a 200"))
    for name in ("m", "b"):
        files = {path: path.read_bytes() for path in (tmp_path / f"{name}.hea", tmp_path / "a.hea", tmp_path / "b.dat")}
        check(WfdbRecord(), tmp_path / f"{name}.hea", files)


@pytest.mark.parametrize("discontinuous", [False, True])
def test_edf(fabricate, tmp_path, discontinuous):
    path = fabricate.edf(tmp_path / "a.edf", discontinuous=discontinuous)
    check(Edf(), path, {path: path.read_bytes()})


def test_opensignals(tmp_path):
    rows = [(k % 16, 500 + k, 300, 20) for k in range(60)]
    alone(Opensignals(), tmp_path, "a.txt", made.opensignals(rows))


def test_muse(tmp_path):
    alone(Muse(), tmp_path, "a.csv", made.muse(1_600_000_000 + np.arange(100) / 256))


def test_biosppy_text(tmp_path):
    rows = [f"{k}.5\t{k}" for k in range(60)]
    alone(BiosppyText(), tmp_path, "a.txt", made.biosppy("PPG\tResp", rows, Date="2026-03-05T09:30:00"))


def test_ishne(tmp_path):
    path = made.write(tmp_path / "a.ecg", made.ishne(np.arange(512).reshape(256, 2)))
    beats = made.write(tmp_path / "a.txt", "00000000\n0.25 X\n0.5 N\n1.25 V\n")
    # Without a checksum, so that a spoilt header is read.
    whole = path.read_bytes()[:8] + struct.pack("<H", 0) + path.read_bytes()[10:]
    check(Ishne(), path, {path: whole, beats: beats.read_bytes()})


MAPPING = """
time: {column: t, unit: %s}
signals:
  acc: {columns: [x, y], unit: g}
labels:
  state: {column: s, kind: class, classes: [sit, walk]}
"""


def test_table_with_its_mapping(tmp_path):
    rows = [f"05/03/2026 9:{k // 60:02d}:{k % 60:02d} PM,0.{k},1,{('sit', 'walk')[k % 2]}" for k in range(80)]
    table = made.write(tmp_path / "a.csv", "\n".join(["t,x,y,s", *rows]) + "\n")
    mapping = made.write(tmp_path / "a.yaml", MAPPING % "date, day_first: true")
    assert isinstance(Table().read(table, subject=SUBJECT), Visit)
    check(Table(), table, {table: table.read_bytes(), mapping: mapping.read_bytes()})


def test_parquet(tmp_path):
    pd = pytest.importorskip("pandas")
    table = tmp_path / "a.parquet"
    pd.DataFrame({"t": np.arange(80) / 10, "x": 0.5, "y": 0.1, "s": "sit"}).to_parquet(table)
    made.write(tmp_path / "a.yaml", MAPPING % "s")
    check(Table(), table, {table: table.read_bytes()})


def test_hdf5(tmp_path, monkeypatch):
    """One damaged file in some hundreds makes the HDF5 library run for ever; then its process is stopped."""
    h5py = pytest.importorskip("h5py")
    table = tmp_path / "a.h5"
    with h5py.File(table, "w") as file:
        file["t"] = np.arange(80) / 10
        file["x"], file["y"] = np.full(80, 0.5), np.full(80, 0.1)
        file.create_dataset("s", data=["sit"] * 80, dtype=h5py.string_dtype())
    made.write(tmp_path / "a.yaml", MAPPING % "s")
    assert isinstance(Table().read(table, subject=SUBJECT), Visit)
    # The first read starts the process; only the reading is short.
    monkeypatch.setattr(_hdf5, "LIMIT_S", 3.0)
    check(Table(), table, {table: table.read_bytes()})

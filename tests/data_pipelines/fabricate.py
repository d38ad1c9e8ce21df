"""Tiny files in vendors' layouts, with values that can be told by hand."""

import gzip
import io
import zipfile
from pathlib import Path

import edfio
import numpy as np
import wfdb

E4_START = 1_700_000_000


def e4_files(seconds: int = 20, start: int = E4_START, seed: int = 0) -> dict[str, str]:
    """Name -> text of an Empatica E4 session."""
    generator = np.random.default_rng(seed)
    acc = [f"{x},{y},{z}" for x, y, z in generator.integers(-60, 60, size=(32 * seconds, 3))]
    bvp = ["-0.00"] * 11 + [f"{x:.2f}" for x in generator.normal(0, 40, 64 * seconds - 11)]
    eda = ["0.000000"] + [f"{x:.6f}" for x in generator.uniform(0.3, 2, 4 * seconds - 1)]
    temp = [f"{x:.2f}" for x in generator.uniform(33, 35, 4 * seconds)]
    heart = [f"{70 + k % 7}.00" for k in range(max(seconds - 10, 1))]
    return {
        "ACC.csv": _lines([f"{start}.000000, " * 2 + f"{start}.000000", "32.000000, 32.000000, 32.000000", *acc]),
        "BVP.csv": _lines([f"{start}.00", "64.000000", *bvp]),
        "EDA.csv": _lines([f"{start}.000000", "4.000000", *eda]),
        "TEMP.csv": _lines([str(start), "4.000000", *temp]),
        "HR.csv": _lines([f"{start + 10}.000000", "1.000000", *heart]),
        "IBI.csv": _lines([f"{start}.000000, IBI", "2.5,0.8125", "3.3125,0.796875", "9.0,1.0"]),
        "tags_S01.csv": _lines([f"{start + 5}.30", f"{start + 15}"]),
        "info.txt": "free text",
    }


def e4_folder(folder: Path, files: dict[str, str] | None = None) -> Path:
    """A session as a folder."""
    folder.mkdir(parents=True)
    for name, text in (files if files is not None else e4_files()).items():
        (folder / name).write_text(text)
    return folder


def e4_zip(path: Path, files: dict[str, str] | None = None, prefix: str = "") -> Path:
    """A session as a zip."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in (files if files is not None else e4_files()).items():
            archive.writestr(prefix + name, text)
    return path


def bidmc(
    folder: Path,
    number: int = 7,
    *,
    patient: str = "s00001",
    columns: str = "PLETH, RESP, II, V, AVR",
    samples: int = 2500,
) -> Path:
    """One recording of the BIDMC CSV release: PLETH counts up by 0.001, the k-th column adds k."""
    folder.mkdir(parents=True, exist_ok=True)
    names = columns.split(", ")
    # As in the release: five digits, so that late times are rounded to 10 ms.
    rows = [
        ",".join([f"{i / 125:.5g}", *(f"{k + 0.001 * (i % 500):.5f}" for k in range(len(names)))])
        for i in range(samples)
    ]
    stem = folder / f"bidmc_{number:02d}"
    signals = Path(f"{stem}_Signals.csv.gz")
    signals.write_bytes(gzip.compress(_lines(["Time [s], " + columns, *rows]).encode()))
    Path(f"{stem}_Numerics.csv").write_text(
        _lines(["Time [s], HR, PULSE, RESP, SpO2", "0,94,93,25,97", "1,NaN,93,0,97", "2,95,93,26,-1"])
    )
    header = "breaths ann1 [signal sample no], breaths ann2 [signal sample no]"
    Path(f"{stem}_Breaths.csv").write_text(_lines([header, "125,130", "500,510", "1000,"]))
    Path(f"{stem}_Fix.txt").write_text(
        f"bidmc_{number:02d}\nAge: 90+\nGender: F\n"
        f"MIMIC II matched wdb ID: {patient}\nMIMIC II data segment: 3491-10-08\n"
    )
    return signals


def wfdb_record(folder: Path, name: str = "rec", **changes: object) -> Path:
    """A record of ECG (two leads) and PLETH at 250 Hz, 1250 samples."""
    folder.mkdir(parents=True, exist_ok=True)
    time = np.arange(1250) / 250
    values = np.stack([np.sin(time), np.cos(time), 0.5 + 0.2 * np.sin(2 * time)], axis=1)
    values[100:150, 2] = np.nan
    arguments = {
        "fs": 250,
        "units": ["mV", "mV", "NU"],
        "sig_name": ["II", "V", "PLETH"],
        "p_signal": values,
        "fmt": ["16", "16", "16"],
        "write_dir": str(folder),
        **changes,
    }
    wfdb.wrsamp(name, **arguments)
    return folder / f"{name}.hea"


def edf(path: Path, *, discontinuous: bool = False) -> Path:
    """Ten one-second records: ECG 100 Hz (a ramp) and Temp 4 Hz; EDF+D has 5 s of pause before record 4."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ecg = edfio.EdfSignal(
        np.linspace(-1, 1, 1000), 100, label="ECG II", physical_dimension="mV", physical_range=(-2, 2)
    )
    temp = edfio.EdfSignal(np.full(40, 33.0), 4, label="Temp skin", physical_dimension="degC", physical_range=(0, 50))
    other = edfio.EdfSignal(np.zeros(20), 2, label="Marker", physical_dimension="", physical_range=(-1, 1))
    file = edfio.Edf([ecg, temp, other], annotations=[edfio.EdfAnnotation(0, None, "start")], data_record_duration=1)
    file.write(path)
    if discontinuous:
        data = bytearray(path.read_bytes())
        data[192:197] = b"EDF+D"
        for record in range(9, 2, -1):
            old, new = f"+{record}\x14\x14".encode(), f"+{record + 5}\x14\x14".encode()
            place = data.find(old)
            data[place : place + len(new)] = new
            if len(new) > len(old):
                assert data[place + len(new)] == 0, "there is room for the longer onset"
        path.write_bytes(bytes(data))
    return path


def table(folder: Path, mapping: str, text: str, name: str = "walk") -> Path:
    """A CSV with its mapping beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(mapping)
    (folder / f"{name}.csv").write_text(text)
    return folder / f"{name}.csv"


def csv_text(header: str, rows: np.ndarray) -> str:
    """Rows of numbers under a header."""
    out = io.StringIO()
    np.savetxt(out, rows, delimiter=",", fmt="%.10g")
    return header + "\n" + out.getvalue()


def _lines(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"

"""Files of devices, exports and published sets: what is foreign by nature."""

import importlib.util
import json
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import pytest

from data_pipelines.cohorts._tables import sheet
from data_pipelines.fetch.archives import unpack
from data_pipelines.readers import choose
from data_pipelines.unpickle import converted
from hdt_fm.schema.errors import FetchError, HdtError, ReaderError

SURFACE = "foreign recording"
MAKERS = Path(__file__).resolve().parents[1] / "data_pipelines"
MAPPING = "signals: {ppg: {columns: [ppg], unit: au}}\ntime: {column: clock, unit: s}\n"


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make = _module(MAKERS / "fabricate.py")
exports = _module(MAKERS / "readers" / "fabricate_exports.py")
signals = _module(MAKERS / "readers" / "fabricate_signals.py")


def read(path: Path) -> object:
    return choose(path)[1].read(path, subject="s1")


def _apple(body: str) -> Callable[[Path], Path]:
    def made(room: Path) -> Path:
        record = exports.record("HKQuantityTypeIdentifierHeartRate", 0, 0, "&b;")
        return exports.apple(room / "export.xml", [record], dtd=f"<!DOCTYPE HealthData [{body}]>\n")

    return made


def _apple_bomb(room: Path) -> Path:
    with zipfile.ZipFile(room / "export.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("apple_health_export/export.xml", "<HealthData >" + " " * (1 << 27))
    return room / "export.zip"


def _slip(name: str) -> Callable[[Path], Path]:
    def made(room: Path) -> Path:
        path = make.e4_zip(room / "a.zip")
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(name, "evil")
        return path

    return made


def _edf(place: int, text: bytes) -> Callable[[Path], Path]:
    def made(room: Path) -> Path:
        path = make.edf(room / "a.edf")
        data = bytearray(path.read_bytes())
        # 16 + 80 + 5 * 8 + 80 bytes of each signal stand before the numbers of samples.
        at = place if place < 256 else 256 + int(data[252:256]) * 216
        data[at : at + len(text)] = text
        path.write_bytes(data)
        return path

    return made


def _wfdb(old: str, new: str) -> Callable[[Path], Path]:
    def made(room: Path) -> Path:
        (room / "w").mkdir()
        make.wfdb_record(room / "w")
        head = room / "w" / "rec.hea"
        head.write_text(head.read_text().replace(old, new, 1))
        return head

    return made


def _fit(room: Path) -> Path:
    data = bytearray(signals.fit_ride(20).bytes())
    data[4:8] = struct.pack("<I", 2**32 - 1)
    return signals.write(room / "a.fit", bytes(data))


def _xdf(room: Path) -> Path:
    head = signals.xdf_header(1, kind="ECG", rate=100, channels=[("II", "ECG", "mV")])
    return signals.write(room / "a.xdf", signals.xdf(head, b"\x08" + struct.pack("<Q", 2**60) + b"\x03\x00"))


def _xdf_entities(room: Path) -> Path:
    bomb = '<?xml version="1.0"?><!DOCTYPE info [<!ENTITY a "x"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    head = signals.xdf_chunk(2, struct.pack("<I", 1) + f"{bomb}<info><name>&b;</name><type>ECG</type></info>".encode())
    return signals.write(room / "a.xdf", signals.xdf(head))


def _ishne(room: Path) -> Path:
    stored = np.arange(512).reshape(256, 2)
    return signals.write(room / "a.ecg", signals.ishne(stored, samples=2**31 - 1))


def _hdf5(change: Callable) -> Callable[[Path], Path]:
    def made(room: Path) -> Path:
        with h5py.File(room / "a.h5", "w") as file:
            file["ppg"] = np.zeros(50)
            change(file)
        (room / "a.yaml").write_text(MAPPING)
        return room / "a.h5"

    return made


def _fitbit(room: Path) -> Path:
    (room / "fitbit").mkdir()
    (room / "fitbit" / "heart_rate-2026-03-05.json").write_text("[" * 200_000)
    return room / "fitbit"


def _fhir(room: Path) -> Path:
    text = json.dumps({"resourceType": "Bundle", "type": "collection", "entry": 1})
    (room / "a.json").write_text(text.replace("1}", '{"a": ' * 100_000 + "1" + "}" * 100_000 + "}"))
    return room / "a.json"


RECORDINGS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "Apple Health: a billion laughs": (
        _apple('<!ENTITY a "70"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">'),
        "undefined entity",
    ),
    "Apple Health: an entity that is /etc/passwd": (
        _apple('<!ENTITY b SYSTEM "file:///etc/passwd">'),
        "undefined entity",
    ),
    "Apple Health: a zip of 128 KB that makes 128 MB": (_apple_bomb, "unpacks to more"),
    "Empatica: a zip with ../../evil": (_slip("../../evil.csv"), "points outside of it"),
    "Empatica: a zip with /abs/evil": (_slip("/tmp/evil.csv"), "points outside of it"),
    "Empatica: a zip with ..\\..\\evil": (_slip("..\\..\\evil.csv"), "points outside of it"),
    "EDF: 10^8 records in the header": (_edf(236, b"99999999"), "does not comply with its standard"),
    "EDF: 10^8 samples in a record": (_edf(256, b"99999999"), "does not comply with its standard"),
    "WFDB: a signal file ../../etc/passwd": (_wfdb("rec.dat", "../../../etc/passwd"), "outside its folder"),
    "WFDB: 10^12 samples in the header": (_wfdb(" 1250", f" {10**12}"), "promises more samples"),
    "FIT: 4 GB in the header": (_fit, "truncated or damaged"),
    "XDF: a chunk of 2^60 bytes": (_xdf, "truncated or damaged"),
    "XDF: a billion laughs in a header": (_xdf_entities, "not to be trusted"),
    "ISHNE: 2^31 samples in the header": (_ishne, "truncated or damaged"),
    "HDF5: a link into another file": (
        _hdf5(lambda file: file.__setitem__("clock", h5py.ExternalLink("/etc/passwd", "/clock"))),
        "points to something else",
    ),
    "HDF5: a dataset kept in another file": (
        _hdf5(lambda file: file.create_dataset("clock", (50,), "f8", external=[("/etc/passwd", 0, 400)])),
        "in other files",
    ),
    "HDF5: 2^40 numbers in a small file": (
        _hdf5(lambda file: file.create_dataset("clock", (1 << 40,), "f8", chunks=(1 << 16,))),
        "too large",
    ),
    "Fitbit: JSON nested 200,000 deep": (_fitbit, "No reader recognises"),
    "FHIR: JSON nested 100,000 deep": (_fhir, "not whole JSON"),
}


@pytest.mark.parametrize("case", RECORDINGS)
def test_a_recording_is_refused(case: str, room: Path) -> None:
    made, words = RECORDINGS[case]
    path = made(room)
    with pytest.raises(ReaderError, match=words) as caught:
        read(path)
    assert "root:" not in str(caught.value)


def test_a_recording_that_is_a_pickle(room: Path, payload: object) -> None:
    """Some public sets are pickles; they are read by a process that cannot run anything."""
    (room / "S2.pkl").write_bytes(pickle.dumps({"signal": payload}))
    with pytest.raises(ReaderError, match="nothing of it was run") as caught:
        converted(room / "S2.pkl")
    assert "exec" in str(caught.value)


def test_a_workbook_that_unpacks_to_300_mb(room: Path) -> None:
    with zipfile.ZipFile(room / "bomb.xlsx", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", bytes((1 << 28) + 1))
    with pytest.raises(ReaderError, match="unpacks to more than a table holds"):
        sheet(room / "bomb.xlsx", where="a sheet")


def _tar(**fields: object) -> Callable[[Path], Path]:
    def made(room: Path) -> Path:
        with tarfile.open(room / "set.tar", "w") as out:
            info = tarfile.TarInfo(str(fields.get("name", "a.csv")))
            data = b"" if "linkname" in fields else b"evil"
            info.size = len(data)
            for key, value in fields.items():
                setattr(info, key, value)
            out.addfile(info, BytesIO(data))
        return room / "set.tar"

    return made


def _zip_link(room: Path) -> Path:
    with zipfile.ZipFile(room / "set.zip", "w") as archive:
        info = zipfile.ZipInfo("a.csv")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    return room / "set.zip"


def _zip_bomb(room: Path) -> Path:
    with zipfile.ZipFile(room / "set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", bytes(1 << 26))
    return room / "set.zip"


ARCHIVES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a fetched tar with ../../evil": (_tar(name="../../evil"), "not safe to unpack"),
    "a fetched tar with a symbolic link": (_tar(type=tarfile.SYMTYPE, linkname="/etc"), "not safe to unpack"),
    "a fetched tar with a hard link": (_tar(type=tarfile.LNKTYPE, linkname="/etc/passwd"), "not safe to unpack"),
    "a fetched zip with a link": (_zip_link, "not safe to unpack"),
    "a fetched zip of 64 KB that makes 64 MB": (_zip_bomb, "unpacks to far more"),
}


@pytest.mark.parametrize("case", ARCHIVES)
def test_an_archive_is_not_unpacked(case: str, room: Path) -> None:
    made, words = ARCHIVES[case]
    with pytest.raises(FetchError, match=words):
        unpack(made(room), room / "out")
    assert not [path for path in (room / "out").rglob("*") if path.is_file()]


GOT = {
    **{case: ("ReaderError", words) for case, (_, words) in RECORDINGS.items()},
    **{case: ("FetchError", words) for case, (_, words) in ARCHIVES.items()},
    "WESAD: a pickle that runs code": (
        "ReaderError",
        "nothing of it was run (read by a sealed process)",
    ),
    "a workbook (.xlsx) that unpacks to 300 MB": ("ReaderError", "unpacks to more than a table holds"),
}


def test_every_error_is_one_for_users() -> None:
    assert issubclass(ReaderError, HdtError)
    assert issubclass(FetchError, HdtError)

"""Tiny files of recorders and devices, written from their formats' descriptions, with values to be told by hand."""

import binascii
import gzip
import json
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

FIT_EPOCH = 631_065_600
_WIDTHS = {"u1": "B", "i1": "b", "u2": "H", "i2": "h", "u4": "I", "i4": "i", "f4": "f", "bytes": "s"}
_BASES = {"u1": 0x02, "i1": 0x01, "u2": 0x84, "i2": 0x83, "u4": 0x86, "i4": 0x85, "f4": 0x88, "bytes": 0x0D, "enum": 0}


def slow_crc(data: bytes) -> int:
    """CRC-16/ARC, a bit at a time."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0xA001 if crc & 1 else 0)
    return crc


class FitWriter:
    """FIT messages one after the other; `bytes` puts header and checksum around them."""

    def __init__(self) -> None:
        self.body = b""
        self._forms: dict[int, tuple[str, list[tuple[int, str, int]]]] = {}

    def define(
        self,
        local: int,
        message: int,
        fields: Sequence[tuple[int, str] | tuple[int, str, int]],
        *,
        big_endian: bool = False,
        developer_bytes: int = 0,
    ) -> None:
        """Fields are (number, form) or (number, form, how many)."""
        order = ">" if big_endian else "<"
        full = [(number, form, rest[0] if rest else 1) for number, form, *rest in fields]
        self._forms[local] = order, full
        head = 0x40 | local | (0x20 if developer_bytes else 0)
        self.body += struct.pack("<BBB", head, 0, big_endian) + struct.pack(order + "H", message) + bytes([len(full)])
        for number, form, count in full:
            size = struct.calcsize(order + _WIDTHS.get(form, "B")) * count
            self.body += bytes([number, size, _BASES[form]])
        if developer_bytes:
            self.body += bytes([1, 0, developer_bytes, 0])

    def message(self, local: int, *values: object, extra: bytes = b"", seconds: int | None = None) -> None:
        """With `seconds` the header is compressed and holds their low five bits."""
        order, fields = self._forms[local]
        head = local if seconds is None else 0x80 | local << 5 | seconds & 0x1F
        self.body += bytes([head])
        for (_, form, count), value in zip(fields, values, strict=True):
            if form == "bytes":
                self.body += bytes(value)
            else:
                many = value if count > 1 else [value]
                self.body += struct.pack(f"{order}{count}{_WIDTHS.get(form, 'B')}", *many)
        self.body += extra

    def bytes(self) -> bytes:
        """The whole file."""
        head = struct.pack("<BBHI4s", 14, 0x20, 2100, len(self.body), b".FIT")
        data = head + struct.pack("<H", slow_crc(head)) + self.body
        return data + struct.pack("<H", slow_crc(data))


def with_checksum(data: bytes) -> bytes:
    """A spoilt FIT file whose sizes and checksum fit again, so that what is spoilt is not found by them."""
    body = data[14:-2]
    head = struct.pack("<BBHI4s", 14, 0x20, 2100, len(body), b".FIT") + b"\0\0"
    return head + body + struct.pack("<H", slow_crc(head + body))


def fit_ride(seconds: int = 40, start: int = 1_000_000_000) -> FitWriter:
    """A record each second: heart rate 100 + k, cadence 80.5, power 200, speed 5 m/s, altitude 100 m, 20 degrees."""
    writer = FitWriter()
    writer.define(0, 0, [(0, "enum"), (1, "u2"), (3, "u4")])
    writer.message(0, 4, 1, 123_456_789)
    fields = [(253, "u4"), (0, "i4"), (1, "i4"), (3, "u1"), (4, "u1"), (53, "u1"), (7, "u2"), (6, "u2"), (2, "u2")]
    writer.define(1, 20, [*fields, (13, "i1")])
    for k in range(seconds):
        writer.message(1, start + k, 7, 8, 100 + k % 50, 80, 64, 200, 5000, 3000, 20)
    return writer


def xdf_chunk(tag: int, content: bytes, *, length: int | None = None) -> bytes:
    """One chunk; `length` lets its size lie."""
    size = len(content) + 2 if length is None else length
    return b"\x04" + struct.pack("<IH", size, tag) + content


def xdf_header(
    number: int,
    *,
    kind: str,
    rate: float,
    form: str = "float32",
    channels: Sequence[tuple[str, str, str]] = (),
    count=0,
) -> bytes:
    """Header of a stream; channels are (label, type, unit)."""
    listed = "".join(f"<channel><label>{a}</label><type>{b}</type><unit>{c}</unit></channel>" for a, b, c in channels)
    desc = f"<desc><channels>{listed}</channels></desc>" if channels else "<desc />"
    text = (
        f'<?xml version="1.0"?><info><name>n{number}</name><type>{kind}</type>'
        f"<channel_count>{count or len(channels)}</channel_count><nominal_srate>{rate}</nominal_srate>"
        f"<channel_format>{form}</channel_format>{desc}</info>"
    )
    return xdf_chunk(2, struct.pack("<I", number) + text.encode())


def xdf_samples(
    number: int, times: Sequence[float], values: np.ndarray | Sequence[str], *, claim: int | None = None
) -> bytes:
    """Samples of a stream, float32 or text."""
    body = struct.pack("<I", number) + b"\x04" + struct.pack("<I", len(times) if claim is None else claim)
    for time, row in zip(times, values, strict=True):
        body += b"\x08" + struct.pack("<d", time)
        if isinstance(row, str):
            body += b"\x01" + bytes([len(row)]) + row.encode()
        else:
            body += np.asarray(row, dtype="<f4").tobytes()
    return xdf_chunk(3, body)


def xdf_offset(number: int, time: float, offset: float) -> bytes:
    """What a stream's clock lacks at a time of it."""
    return xdf_chunk(4, struct.pack("<Idd", number, time, offset))


def xdf(*chunks: bytes, started: str | None = "2026-03-05T09:30:00+01:00") -> bytes:
    """A whole file."""
    date = f"<datetime>{started}</datetime>" if started else ""
    head = xdf_chunk(1, f'<?xml version="1.0"?><info><version>1.0</version>{date}</info>'.encode())
    return b"XDF:" + head + b"".join(chunks)


def opensignals(
    rows: Sequence[Sequence[int]],
    *,
    device: str = "bitalino_rev",
    sensors: Sequence[str] = ("ECG", "EDA", "RESP"),
    resolution: Sequence[int] = (4, 10, 10, 6),
    rate: int = 100,
    **changes: object,
) -> str:
    """Columns nSeq, A1, A2, ... of one board."""
    labels = [f"A{k + 1}" for k in range(len(sensors))]
    board = {
        "sensor": list(sensors),
        "device name": "20:16:02:26:60:88",
        "column": ["nSeq", *labels],
        "time": "7:3:47.29",
        "date": "2026-6-1",
        "sampling rate": rate,
        "label": labels,
        "resolution": list(resolution),
        "device": device,
        **changes,
    }
    lines = ["# OpenSignals Text File Format", "# " + json.dumps({"20:16:02:26:60:88": board}), "# EndOfHeader"]
    return "\n".join([*lines, *("\t".join(map(str, row)) + "\t" for row in rows)]) + "\n"


def muse(times: Sequence[float], names: str = "TP9,AF7,AF8,TP10,Right AUX") -> str:
    """Channel c of sample i is 10 c + i % 7."""
    width = len(names.split(","))
    rows = [f"{t:.6f}," + ",".join(str(10 * c + i % 7) for c in range(width)) for i, t in enumerate(times)]
    return "\n".join(["timestamps," + names, *rows]) + "\n"


def biosppy(labels: str = "PPG", rows: Sequence[str] = ("1.0", "2.0", "4.0"), rate: str = "100.00", **more: str) -> str:
    """A text file of BioSPPy's storage."""
    fields = {"Sampling Rate (Hz)": rate, "Resolution": "12", **more, "Labels": labels}
    return "\n".join(["# Simple Text Format", *(f"# {k}:= {v}" for k, v in fields.items()), *rows]) + "\n"


def ishne(
    values: np.ndarray,
    *,
    rate: int = 128,
    steps: Sequence[int] = (2000, 1000),
    codes: Sequence[int] = (6, 12),
    **changes,
) -> bytes:
    """Stored numbers (sample, lead) with nanovolts a step, leads II and V2, 2026-03-05 10:05:07."""
    samples, leads = values.shape
    pad = lambda numbers: struct.pack("<12h", *numbers, *([-9] * (12 - len(numbers))))
    body = struct.pack("<iiiih", 0, changes.get("samples", samples), 522, 522, 1)
    body += b"Ann".ljust(40, b"\0") + b"Nobody".ljust(40, b"\0") + b"secret-id".ljust(20, b"\0")
    body += (
        struct.pack("<hh", 2, 0) + struct.pack("<9h", 1, 1, 1970, 5, 3, 2026, 6, 3, 2026) + struct.pack("<3h", 10, 5, 7)
    )
    body += struct.pack("<h", changes.get("leads", leads)) + pad(codes) + pad([0] * leads) + pad(steps)
    body += struct.pack("<h", 0) + b"tester".ljust(40, b"\0") + struct.pack("<h", rate)
    body = body.ljust(512, b"\0")
    crc = binascii.crc_hqx(body, 0xFFFF)
    return b"ISHNE1.0" + struct.pack("<H", crc) + body + values.astype("<i2").tobytes()


def write(path: Path, data: bytes | str) -> Path:
    """Put it at the path, packed where the name ends in .gz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = data.encode() if isinstance(data, str) else data
    path.write_bytes(gzip.compress(raw, mtime=0) if path.suffix == ".gz" else raw)
    return path


def examples(folder: Path) -> dict[str, Path]:
    """One small file of each format of this module, by its reader's name."""
    times = 100 + np.arange(200) / 100
    ecg = xdf_header(1, kind="ECG", rate=100, channels=[("II", "ECG", "mV")])
    return {
        "fit": write(folder / "ride.fit", fit_ride(20).bytes()),
        "xdf": write(folder / "lab.xdf", xdf(ecg, xdf_samples(1, times, np.zeros((200, 1))))),
        "opensignals": write(folder / "opensignals.txt", opensignals([(k % 16, 512, 256, 33) for k in range(40)])),
        "muse": write(folder / "muse.csv.gz", muse(1_600_000_000 + np.arange(100) / 256)),
        "biosppy_text": write(folder / "biosppy.txt", biosppy()),
        "ishne": write(folder / "holter.ecg", ishne(np.arange(512).reshape(256, 2))),
    }

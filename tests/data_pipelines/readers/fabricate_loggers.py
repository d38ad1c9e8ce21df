"""Tiny files of movement loggers, light loggers and sleep mats in their vendors' layouts, told by hand."""

import csv
import gzip
import io
import struct
import zipfile
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

START = datetime(2026, 3, 5, 9, 30, tzinfo=UTC)
START_S = int(START.timestamp())


def steps(count: int, first: int = 0) -> np.ndarray:
    """(sample, x y z) of an accelerometer at 256 steps a g: gravity on z, small ramps on x and y."""
    number = np.arange(first, first + count)
    return np.stack([number % 40 - 20, 3 * (number % 11) - 15, 250 + number % 7], axis=1)


def packed_cwa(values: np.ndarray) -> bytes:
    """Three numbers of 11 bits at most as 10 bits each with a common exponent."""
    words = []
    for row in values.tolist():
        exponent = next(e for e in range(4) if all(-512 <= (v >> e) <= 511 for v in row))
        x, y, z = ((v >> exponent) & 0x3FF for v in row)
        words.append(exponent << 30 | z << 20 | y << 10 | x)
    return np.array(words, dtype="<u4").tobytes()


def cwa(
    path: Path,
    *,
    blocks: int = 20,
    axes: int = 3,
    packed: bool = True,
    true_rate_hz: float = 98.9,
    pause_after: dict[int, float] | None = None,
    last_count: int | None = None,
) -> Path:
    """A recording at nominal 100 Hz whose device in truth samples at another rate; pauses in seconds after a block."""
    per_block = 120 if packed else 480 // (2 * axes)
    header = bytearray(1024)
    header[:4] = b"MD\xfc\x03"
    header[4] = 0x64 if axes > 3 else 0
    out, moment, number = [bytes(header)], float(START_S), 0
    for i in range(blocks):
        count = last_count if last_count and i == blocks - 1 else per_block
        acc = steps(count, number)
        if packed:
            data = packed_cwa(acc)
        else:
            rest = np.stack([acc * 0 + column for column in (7, 9)], axis=0)
            order = {3: [acc], 6: [rest[0], acc * 8], 9: [rest[0], acc * 8, rest[1]]}[axes]
            data = np.concatenate(order, axis=1).astype("<i2").tobytes()
        anchor = (37 * i) % count
        stamp = moment + anchor / true_rate_hz
        ticks = int((stamp - int(stamp)) * 32768) << 1
        scale = (3 << 3 | 2 if axes > 3 else 0) << 10
        block = struct.pack("<HHHIII", 0x5841, 508, 0x8000 | ticks >> 1, 1, i, cwa_stamp(int(stamp)))
        block += struct.pack(
            "<HHBBBBhH",
            scale | (20 if axes > 3 else 200) + i % 3,
            260 + i % 2,
            0,
            100,
            0x4A,
            axes << 4 | (0 if packed else 2),
            anchor - (ticks * 100 >> 16),
            count,
        )
        block += data.ljust(480, b"\0")
        out.append(block + struct.pack("<H", -int(np.frombuffer(block, "<u2").sum()) & 0xFFFF))
        number += count
        moment += count / true_rate_hz + (pause_after or {}).get(i, 0.0)
    path.write_bytes(b"".join(out))
    return path


def cwa_stamp(seconds: int) -> int:
    """Bits of a time: year since 2000, month, day, hour, minute, second."""
    t = datetime.fromtimestamp(seconds, UTC)
    return (t.year - 2000) << 26 | t.month << 22 | t.day << 17 | t.hour << 12 | t.minute << 6 | t.second


def geneactiv(
    path: Path, *, pages: int = 6, pause_after: dict[int, float] | None = None, zone: str = "GMT +02:00"
) -> Path:
    """At 100 Hz: x, y, z = steps (256 a g, no offset), light counts up, the button is held in the second page."""
    lines = [
        "Device Identity",
        "Device Unique Serial Code:000001",
        "Device Type:GENEActiv",
        "Measurement Frequency:100.0 Hz",
    ]
    lines += [f"Time Zone:{zone}", "Device Location Code:left wrist", "Calibration Data"]
    lines += [f"{axis} {kind}:{value}" for axis in "xyz" for kind, value in (("gain", 25600), ("offset", 100))]
    lines += ["Volts:300", "Lux:600", "", "Memory Status", f"Number of Pages:{pages}", ""]
    moment = START + timedelta(hours=2)
    for page in range(pages):
        stamp = f"{moment:%Y-%m-%d %H:%M:%S}:{moment.microsecond // 1000:03d}"
        lines += ["Recorded Data", "Device Unique Serial Code:000001", f"Sequence Number:{page}", f"Page Time:{stamp}"]
        lines += ["Unassigned:", f"Temperature:{25 + page / 10}", "Battery voltage:4.1", "Device Status:Recording"]
        lines += ["Measurement Frequency:100.0"]
        words = []
        for i, (x, y, z) in enumerate(steps(300, 300 * page).tolist()):
            held = 2 if page == 1 and i < 10 else 0
            words.append(f"{x + 1 & 0xFFF:03X}{y + 1 & 0xFFF:03X}{z + 1 & 0xFFF:03X}{(i % 100) << 2 | held:03X}")
        lines += ["".join(words)]
        moment += timedelta(seconds=3 + (pause_after or {}).get(page, 0.0))
    path.write_bytes("\r\n".join([*lines, ""]).encode())
    return path


def matrix(path: Path, *, packets: int = 8, gyro: bool = False, pause_after: dict[int, int] | None = None) -> Path:
    """At 25.6 Hz (set to 25), packets of 60 s, range 8 g: acc = steps / 256 g; two temperatures, a heart rate each."""
    out = [b"\0" * 512, struct.pack("<4sIHH", b"MDTC", packets, 8, 2000)]
    begin = START_S
    for i in range(packets):
        acc = (steps(1536) * 16).astype("<i2").tobytes()
        turn = np.full((768, 3), 100 + i, "<i2").tobytes() if gyro else b""
        body = acc + turn + np.array([[310 + i, 250], [311 + i, 251]], "<i2").tobytes() + struct.pack("<hh", 5, 70 + i)
        head = struct.pack("<6I", begin, begin + 60, 1536, 768 if gyro else 0, 2, 1)
        out.append(b"MDTCPACK" + struct.pack("<I", zlib.crc32(head + body)) + head + body)
        begin += 60 + (pause_after or {}).get(i, 0)
    path.write_bytes(b"".join(out))
    return path


def actigraph_csv(
    path: Path,
    *,
    mode: int = 61,
    date_format: str = "M/d/yyyy",
    start: str = "8/15/2016",
    download: str = "8/24/2016",
    rows: int = 30,
    names: str = "",
) -> Path:
    """Epochs of 10 s; axis1 counts up, axis2 is 100 and axis3 200, one step each, lux 50, ten seconds standing."""
    width = {1: ["1"], 4: ["100"], 8: ["200"], 16: ["50"], 32: ["0", "10", "0", "0"]}
    tail = [cell for bit in (4, 8, 1, 16, 32) if mode & bit for cell in width[bit]]
    said = f" date format {date_format}" if date_format else ""
    lines = [f"------------ Data File Created By ActiGraph GT3X+ ActiLife v6.13.3{said} Filter Normal -----------"]
    lines += ["Serial Number: X", "Start Time 21:35:00", f"Start Date {start}", "Epoch Period (hh:mm:ss) 00:00:10"]
    lines += ["Download Time 18:59:15", f"Download Date {download}", "Current Memory Address: 0"]
    lines += [f"Current Battery Voltage: 4.03     Mode = {mode}", "-" * 50, *([names] if names else [])]
    lines += [",".join([str(i), *tail]) for i in range(rows)]
    path.write_text("\r\n".join([*lines, ""]))
    return path


def gt3x_record(kind: int, stamp: int, payload: bytes) -> bytes:
    """One record with its checksum."""
    data = struct.pack("<BBIH", 0x1E, kind, stamp, len(payload)) + payload
    folded = 0
    for byte in data:
        folded ^= byte
    return data + bytes([~folded & 0xFF])


def gt3x_packed(values: np.ndarray) -> bytes:
    """Numbers of 12 bits one after the other, highest bits first."""
    digits = "".join(f"{v & 0xFFF:03X}" for v in values.ravel().tolist())
    return bytes.fromhex(digits + "0" * (len(digits) % 2))


def gt3x_log(seconds: int = 20, *, rate: int = 30, kind: int = 0, without: tuple[int, ...] = ()) -> bytes:
    """Seconds of steps (y x z in the oldest kind), light 100 + i each ten seconds, wear each ten seconds."""
    out = [gt3x_record(6, START_S, b"{}")]
    for second in range(seconds):
        if second in without:
            continue
        values = steps(rate, rate * second)
        if kind == 26:
            payload = values.astype("<i2").tobytes()
        else:
            payload = gt3x_packed(values[:, [1, 0, 2]] if kind == 0 else values)
        out.append(gt3x_record(kind, START_S + second, payload))
        if second % 10 == 0:
            out.append(gt3x_record(5, START_S + second, struct.pack("<H", 100 + second)))
            out.append(gt3x_record(13, START_S + second, struct.pack("<HHBB", 9, 9, second == 0, 1)))
    return b"".join(out)


def gt3x(
    path: Path, log: bytes | None = None, *, rate: int = 30, zone: str = "TimeZone: -04:00:00", **extra: str
) -> Path:
    """The zip with its information file; `extra` are more members by name."""
    info = ["Serial Number: MOS2X", f"Sample Rate: {rate}", "Start Date: 0", "Acceleration Scale: 256.0", zone]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("info.txt", "\r\n".join(info))
        archive.writestr("log.bin", gt3x_log(rate=rate) if log is None else log)
        for name, text in extra.items():
            archive.writestr(name.replace("_json", ".json"), text)
    return path


def actiware(
    path: Path, *, language: str = "en", first: str = "23/11/2019", rows: int = 12, packed: bool = False
) -> Path:
    """Epochs of 15 s from 23:58 on: off the wrist in the first two, one press, sleep in the last four."""
    english = language == "en"
    words = ["Actiware Export File (version 06.00)", "Time Zone Offset:,+01:00,hours:minutes"]
    names = "Line,Date,Time,Off-Wrist Status,Activity,Marker,White Light,Sleep/Wake,Interval Status"
    states = ("ACTIVE", "REST-S", "EXCLUDED")
    if not english:
        words = ["Actiware-exportbestand (versie 05.00)", "Tijdzone-offset:,+01:00,uren:minuten"]
        names = "Lijn,Datum,Tijd,Status niet-om-pols,Activiteit,Markering,"
        names += "Wit licht,Slapen/waken,Intervalstatus"  # codespell:ignore wit
        states = ("ACTIEF", "SLAAP", "UITGEZONDERD")
    a, b, year = (int(part) for part in first.split("/"))
    day = datetime(year, b, a) if b <= 12 else datetime(year, a, b)
    lines = [*words, "Subject name:,Nobody", names, ""]
    for i in range(rows):
        moment = day + timedelta(hours=23, minutes=58, seconds=15 * i)
        date = f"{moment:%d/%m/%Y}" if b <= 12 else f"{moment.month}/{moment.day}/{moment.year}"
        if i < 2:
            still = "0" if i else "NaN"
            cells = ["1", still, still, still, "NaN", states[2]]
        else:
            cells = ["0", str(10 * i), str(int(i == 5)), f"{i}.5", str(int(i < 8)), states[int(i >= 8)]]
        if not english:
            cells = [f'"{cell.replace(".", ",")}"' if "." in cell else cell for cell in cells]
        lines.append(",".join([str(i + 1), date, f"{moment:%H:%M:%S}", *cells]))
    data = ("﻿" + "\r\n".join([*lines, ""])).encode()
    path.write_bytes(gzip.compress(data) if packed else data)
    return path


def ibutton(
    path: Path, *, rows: int = 30, zone: str = "SGT", day: datetime = datetime(2024, 2, 28, 22), unit: str = "C"
) -> Path:
    """One sample each 300 s, counting up by a sixteenth of a degree."""
    lines = [
        "1-Wire/iButton Part Number: DS1922L",
        "1-Wire/iButton Registration Number: 00",
        "Sample Rate:  Every 300 second(s)",
    ]
    lines += [
        f"First Sample Timestamp:  {day:%a %b} {day.day} {day:%H:%M:%S} {zone} {day.year}",
        "",
        "Date/Time,Unit,Value",
    ]
    for i in range(rows):
        t = day + timedelta(seconds=300 * i)
        half = "AM" if t.hour < 12 else "PM"
        lines.append(f"{t.month}/{t.day}/{t:%y} {t.hour % 12 or 12}:{t:%M:%S} {half},{unit},{30 + i / 16:.4f}")
    path.write_text("\r\n".join([*lines, ""]))
    return path


def withings(folder: Path) -> Path:
    """Four raw tables, the later hour first, and one night."""
    folder.mkdir(parents=True, exist_ok=True)
    cells = {"hr": ([60, 61, 62], [58]), "respiratory-rate": ([14, 15, 16], [13])}
    cells |= {"sleep-state": ([1, 2, 3], [0]), "snoring": ([0, 0, 100], [0])}
    for kind, (late, early) in cells.items():
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(["start", "duration", "value"])
        writer.writerow(["2020-10-24T23:05:00+02:00", "[60,60,60]", str(late).replace(" ", "")])
        writer.writerow(["2020-10-24T23:00:00+02:00", "[60]", str(early)])
        (folder / f"raw_sleep-monitor_{kind}.csv").write_text(out.getvalue())
    names = 'von,bis,"leicht (s)","tief (s)","rem (s)","wach (s)",Aufwachen,"Average heart rate"'
    (folder / "sleep.csv").write_text(
        f"{names}\n2020-10-24T23:00:00+02:00,2020-10-25T06:30:00+01:00,15000,6000,4000,500,2,58\n"
    )
    return folder


def garmin(folder: Path) -> Path:
    """Ten seconds: acceleration at 25 Hz with one sample stamped early and two lost, a stream of numbers."""
    folder.mkdir(parents=True, exist_ok=True)

    def stamp(seconds: float) -> str:
        moment = START + timedelta(hours=2, seconds=seconds)
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}+02:00"

    acc = []
    for i in range(250):
        if i not in (100, 101):
            acc.append(f"{stamp((i - 1 if i == 50 else i) / 25)};{i};0;-1000")
    (folder / "acc.csv").write_text("\n".join([*acc, ""]))
    stream = [f"{stamp(0)};STEPS;100.0"]
    for i in range(10):
        stream.append(f"{stamp(i + 0.1)};HEART_RATE;{-1 if i == 3 else 70 + i}.0")
        stream.append(f"{stamp(i + 0.5)};HEART_RATE_VARIABILITY;{800 + i}.0")
    stream += [
        f"{stamp(9.6)};STRESS;-2.0",
        f"{stamp(9.7)};CALORIES;9.0",
        f"{stamp(9.8)};STRESS;25.0",
        f"{stamp(30)};STEPS;130.0",
    ]
    (folder / "data.csv.gz").write_bytes(gzip.compress("\n".join([*stream, ""]).encode()))
    return folder

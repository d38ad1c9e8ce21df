"""Parmay Matrix wrist loggers (.BIN)."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_pipelines.readers._beginning import first_bytes
from data_pipelines.readers._blocks import Clock, Grid, lay, spread
from data_pipelines.readers._files import read_bytes
from data_pipelines.readers._grid import place
from data_pipelines.readers._recordings import make_recording, seconds_to_ns
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Recording, Visit

_MAGIC = b"MDTC"
_PACKET_MAGIC = b"MDTCPACK"
_REMARKS_BYTES = 512
_HEADER = struct.Struct("<4sIHH")
_PACKET = struct.Struct("<8s7I")
_RATES_HZ = (12.5, 25.0, 50.0, 100.0)
_LARGEST_RATE_ERROR = 0.1
# Packets carry whole seconds, and one may begin a second after the one before ended without a gap.
_RESOLUTION_S = 1.0
_TOLERANCE_S = 1.5


class ParmayMatrix:
    """Reads one recording of a logger.

    Format: Parmay Matrix .BIN (parmaytech.com/devices/en-matrix): 512 bytes of remarks, a header with the ranges,
        packets of accelerometer, gyroscope, temperature and heart rate with begin and end in whole seconds.
    Units: acc g and gyro deg/s, full range of the header over 16 bits; temp (body surface) and device_temp (ambient)
        0.1 celsius; heart_rate bpm, as values from one to the next.
    Lossy: Packets with a wrong checksum (they become gaps, and are counted in the log), remarks, raw heart rate,
        heart rates of 0. Samples lie on the grid of the rate that the packets show (within 1.5 s of their stamps, no
        closer as those are whole seconds); `clock` reports it. Times are taken as UTC.
    """

    @staticmethod
    def detect(path: Path) -> bool:
        """Whether the file has the header of a Matrix."""
        return first_bytes(path, _REMARKS_BYTES + len(_MAGIC))[_REMARKS_BYTES:] == _MAGIC

    def read(self, path: Path, *, subject: str) -> Visit:
        """Read the whole recording.

        Raises:
            ReaderError: If it is no Matrix file, no packet is whole, or the packets' times go back.
            UnitError: If values are impossible.
        """
        file = _load(path)
        recordings: list[Recording] = []
        for name, column, scale, unit in (("acc", 0, file.acc_range, "g"), ("gyro", 1, file.gyro_range, "deg/s")):
            grid = _grid(file, column, name)
            if grid is not None:
                recordings.append(_fast(file, grid, column, name, scale, unit, subject))
        recordings += _temperatures(file, subject)
        if not recordings:
            raise ReaderError("The file holds no samples", expected="accelerometer, gyroscope or temperature")
        return Visit(
            subject=subject,
            recordings={recording.modality: recording for recording in recordings},
            labels=_heart_rate(file),
            source="parmay_matrix",
        )

    @staticmethod
    def clock(path: Path) -> Clock:
        """What the packets say of the accelerometer's clock.

        Raises:
            ReaderError: As `read`, or if there is no accelerometer.
        """
        grid = _grid(_load(path), 0, "acc")
        if grid is None:
            raise ReaderError("The file holds no accelerometer samples")
        return grid.clock


@dataclass(frozen=True)
class _Packet:
    begin_s: int
    end_s: int
    parts: tuple[NDArray[np.int16], ...]


@dataclass(frozen=True)
class _File:
    acc_range: int
    gyro_range: int
    packets: tuple[_Packet, ...]
    lost: int


def _load(path: Path) -> _File:
    data = read_bytes(path)
    if len(data) < _REMARKS_BYTES + _HEADER.size or data[_REMARKS_BYTES : _REMARKS_BYTES + 4] != _MAGIC:
        raise ReaderError("This is no Parmay Matrix file", expected="MDTC after 512 bytes of remarks")
    _, promised, acc_range, gyro_range = _HEADER.unpack_from(data, _REMARKS_BYTES)
    packets = tuple(_packets(data))
    there = data.count(_PACKET_MAGIC, _REMARKS_BYTES + _HEADER.size)
    if not packets:
        raise ReaderError(
            "The file holds no whole packet",
            expected="packets with a right checksum",
            got=f"{there} damaged",
            fix="copy the file from the device again",
        )
    return _File(acc_range, gyro_range, packets, lost=max(there, promised) - len(packets))


def _packets(data: bytes) -> Iterator[_Packet]:
    position = data.find(_PACKET_MAGIC, _REMARKS_BYTES + _HEADER.size)
    while 0 <= position <= len(data) - _PACKET.size:
        _, checksum, begin, end, *counts = _PACKET.unpack_from(data, position)
        sizes = [count * width for count, width in zip(counts, (6, 6, 4, 4), strict=True)]
        stop = position + _PACKET.size + sum(sizes)
        if stop <= len(data) and zlib.crc32(memoryview(data)[position + 12 : stop]) == checksum and end >= begin:
            edges = position + _PACKET.size + np.cumsum([0, *sizes])
            yield _Packet(
                begin,
                end,
                tuple(
                    np.frombuffer(data, "<i2", size // 2, edge).reshape(-1, 3 if width == 6 else 2)
                    for size, edge, width in zip(sizes, edges.tolist(), (6, 6, 4, 4), strict=False)
                ),
            )
        else:
            stop = position + len(_PACKET_MAGIC)
        position = data.find(_PACKET_MAGIC, stop)


def _grid(file: _File, column: int, name: str) -> Grid | None:
    used = [packet for packet in file.packets if len(packet.parts[column])]
    if not used:
        return None
    counts = np.array([len(packet.parts[column]) for packet in used], dtype=np.int64)
    seconds = np.array([packet.end_s - packet.begin_s for packet in used])
    seen = float(counts.sum() / max(seconds.sum(), 1))
    nominal = min(_RATES_HZ, key=lambda rate: abs(rate - seen))
    if abs(seen / nominal - 1) > _LARGEST_RATE_ERROR and seconds.sum() >= 10:
        raise ReaderError(
            "The packets do not fit a sampling rate of the device",
            where=name,
            expected=f"{', '.join(f'{rate:g}' for rate in _RATES_HZ)} Hz",
            got=f"{seen:.4g} Hz",
        )
    return lay(
        counts,
        np.array([packet.begin_s for packet in used], dtype=np.float64),
        nominal_rate_hz=nominal,
        resolution_s=_RESOLUTION_S,
        tolerance_s=_TOLERANCE_S,
        lost_blocks=file.lost,
        where=f"Matrix packets, {name}",
    )


def _fast(file: _File, grid: Grid, column: int, name: str, full_range: int, unit: str, subject: str) -> Recording:
    steps = np.concatenate([packet.parts[column] for packet in file.packets]).T.astype(np.float32)
    # Both ends of a 16-bit number stand for the full range.
    values = steps * np.where(steps < 0, np.float32(full_range / 32768), np.float32(full_range / 32767))
    return _recording(name, spread(values, grid), grid.clock.measured_rate_hz, grid.start_s, unit, subject)


def _temperatures(file: _File, subject: str) -> list[Recording]:
    times, rows = _slow(file, 2)
    if len(times) < 2:
        return []
    # A period as short as the shortest step puts no two values at one place.
    period = float(np.diff(times).min())
    if period <= 0:
        raise ReaderError("The packets are not in order of time", where="temperature", expected="times that rise")
    placed = place(times, rows / 10, 1 / period, where="temperature")
    return [
        _recording(name, placed[:, [i]].T, 1 / period, float(times[0]), "celsius", subject)
        for i, name in enumerate(("temp", "device_temp"))
    ]


def _heart_rate(file: _File) -> dict[str, LabelTrack]:
    times, rows = _slow(file, 3)
    known = rows[:, 1] > 0
    if not known.any():
        return {}
    ends = np.array([packet.end_s for packet in file.packets for _ in packet.parts[3]], dtype=np.float64)
    stops = np.minimum(np.append(times[1:], np.inf), ends)[known]
    begins = times[known]
    return {
        "heart_rate": LabelTrack(
            "heart_rate",
            "value",
            np.rint(begins * NS_PER_S).astype(np.int64),
            np.rint(np.maximum(stops, begins) * NS_PER_S).astype(np.int64),
            rows[known, 1].astype(np.float64),
            unit="bpm",
        )
    }


def _slow(file: _File, column: int) -> tuple[NDArray[np.float64], NDArray[np.int16]]:
    """Times and values of what a packet holds one or two of: spread evenly over it, as the vendor does."""
    times = [
        packet.begin_s
        + np.arange(len(packet.parts[column])) * (packet.end_s - packet.begin_s) / len(packet.parts[column])
        for packet in file.packets
        if len(packet.parts[column])
    ]
    values = np.concatenate([packet.parts[column] for packet in file.packets])
    return (np.concatenate(times) if times else np.empty(0)), values


def _recording(
    name: str, values: NDArray[np.floating], rate: float, start_s: float, unit: str, subject: str
) -> Recording:
    return make_recording(
        values,
        modality=name,
        unit=unit,
        channels=("x", "y", "z") if len(values) == 3 else (name,),
        sampling_rate_hz=rate,
        start_ns=seconds_to_ns(start_s, where="first packet"),
        subject=subject,
        device="parmay_matrix",
        where=name,
    )

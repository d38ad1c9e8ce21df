"""Axivity AX3 and AX6 loggers: continuous wave accelerometry (.cwa)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_pipelines.readers._beginning import first_bytes
from data_pipelines.readers._blocks import Clock, Grid, lay, once_a_block, spread
from data_pipelines.readers._files import read_bytes
from data_pipelines.readers._recordings import make_recording, seconds_to_ns
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import Recording, Visit

_MAGIC = b"MD\xfc\x03"
_HEADER_BYTES = 1024
_AX6 = 0x64
_BLOCK = np.dtype(
    {
        "names": ["magic", "fraction", "stamp", "light", "temp", "rate", "axes", "anchor", "count", "data", "all"],
        "formats": ["<u4", "<u2", "<u4", "<u2", "<u2", "u1", "u1", "<i2", "<u2", "V480", ("<u2", 256)],
        "offsets": [0, 4, 14, 18, 20, 24, 25, 26, 28, 30, 0],
        "itemsize": 512,
    }
)
_BLOCK_MAGIC = int.from_bytes(b"AX\xfc\x01", "little")
# Low halves of the byte that says how samples are packed: three 10-bit numbers and an exponent, or 16-bit numbers.
_PACKED, _WORDS = 0, 2
_RESOLUTION_S = 0.01
_TOLERANCE_S = 0.25
# Beyond sunlight it is no light that was measured.
_MOST_LUX = 200_000.0
# Of a block of 40 samples that is as still as this, |acc| is gravity.
_STILL_G = 0.02


class AxivityCwa:
    """Reads one recording of a logger, calibrated as the device was, not by the data.

    Format: CWA of AX3 and AX6 (github.com/openmovementproject/openmovement, Docs/ax3/cwa.h): packed and unpacked
        samples, fractional time stamps, accelerometer alone or with gyroscope (and magnetometer).
    Units: acc g; gyro deg/s; mag uT; device_temp celsius; light lux, by the sensor's logarithmic law through the
        case: good for more and less, and never below 1.
    Lossy: Blocks whose checksum or header is wrong (they become gaps, and are counted in the log), battery, events,
        notes, serial number. Samples stay as stored, on the grid of the rate that the time stamps show (0.25 s from
        its stamp at most; 1 % from nominal is common); `clock` reports it. Where gyroscope and accelerometer were
        stored in each other's place (a still sensor without gravity), both are unobserved. The device's local time
        is taken as UTC.
    """

    @staticmethod
    def detect(path: Path) -> bool:
        """Whether the file begins with the header of a CWA file."""
        return first_bytes(path, len(_MAGIC)) == _MAGIC

    def read(self, path: Path, *, subject: str) -> Visit:
        """Read the whole recording.

        Raises:
            ReaderError: If it is no CWA file, holds no whole block, mixes settings, or its clock went back.
            UnitError: If values are impossible.
        """
        blocks = _blocks(path)
        grid = _grid(blocks)
        signals = {name: spread(values, grid) for name, values in _samples(blocks).items()}
        if "gyro" in signals:
            _hide_swapped(signals)
        rate = grid.clock.measured_rate_hz
        recordings = [_recording(name, values, rate, grid, subject) for name, values in signals.items()]
        for name, values in (("device_temp", _celsius(blocks)), ("light", _lux(blocks))):
            placed, slow = once_a_block(values, grid)
            recordings.append(_recording(name, placed, slow, grid, subject))
        return Visit(
            subject=subject,
            recordings={recording.modality: recording for recording in recordings},
            source="axivity_cwa",
        )

    @staticmethod
    def clock(path: Path) -> Clock:
        """What the time stamps say of the device's clock.

        Raises:
            ReaderError: As `read`.
        """
        return _grid(_blocks(path)).clock


@dataclass(frozen=True)
class _Blocks:
    """The blocks that can be believed, and their one setting."""

    rows: NDArray[np.void]
    stamps_s: NDArray[np.float64]
    lost: int
    axes: int
    packing: int
    rate_hz: float
    is_ax6: bool

    @property
    def counts(self) -> NDArray[np.int64]:
        return self.rows["count"].astype(np.int64)


def _blocks(path: Path) -> _Blocks:
    data = read_bytes(path)
    if data[:4] != _MAGIC or len(data) < _HEADER_BYTES:
        raise ReaderError("This is no CWA file", expected="a header of 1024 bytes that begins with MD")
    whole = (len(data) - _HEADER_BYTES) // _BLOCK.itemsize
    rows = np.frombuffer(data, _BLOCK, count=whole, offset=_HEADER_BYTES)
    used = rows["magic"] != 0xFFFFFFFF
    stamps, valid = _stamps(rows["stamp"])
    good = valid & (rows["magic"] == _BLOCK_MAGIC) & (rows["all"].sum(axis=1, dtype=np.uint16) == 0)
    good &= rows["count"] > 0
    cut = int((len(data) - _HEADER_BYTES) % _BLOCK.itemsize > 0)
    lost = int((used & ~good).sum()) + cut
    if not good.any():
        raise ReaderError(
            "The file holds no whole block of samples",
            expected="blocks of 512 bytes with a right checksum",
            got=f"{lost} damaged",
            fix="copy the file from the device again",
        )
    rows, stamps = rows[good], stamps[good]
    if len({*zip(rows["rate"].tolist(), rows["axes"].tolist(), (rows["light"] >> 10).tolist(), strict=True)}) > 1:
        raise ReaderError(
            "The settings of the device change within the file",
            expected="one rate, range and number of axes",
            fix="split the file where they change",
        )
    axes, packing = divmod(int(rows["axes"][0]), 16)
    per_block = 120 if packing == _PACKED else 480 // (2 * axes or 1)
    if (axes, packing) not in {(3, _PACKED), (3, _WORDS), (6, _WORDS), (9, _WORDS)} or rows["count"].max() > per_block:
        raise ReaderError(
            "The samples are stored in a way that is not known",
            expected="3 axes packed, or 3, 6 or 9 axes of 16 bits",
            got=f"{axes} axes, packing {packing}",
        )
    code = int(rows["rate"][0])
    # The oldest firmware has no code and keeps the rate where later ones keep the sample of the time stamp.
    rate = 3200 / (1 << (15 - (code & 15))) if code else float(rows["anchor"][0])
    return _Blocks(rows, stamps, lost, axes, packing, rate, data[4] == _AX6)


def _stamps(packed: NDArray[np.uint32]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Whole seconds since 1970 from fields of 6, 4, 5, 5, 6 and 6 bits, and which are times at all."""
    field = packed.astype(np.int64)
    month, day = (field >> 22) & 15, (field >> 17) & 31
    hour, minute, second = (field >> 12) & 31, (field >> 6) & 63, field & 63
    valid = (month >= 1) & (month <= 12) & (day >= 1) & (hour < 24) & (minute < 60) & (second < 60)
    months = ((field >> 26) + 30) * 12 + month - 1
    days = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) + day - 1
    return (days * 86_400 + hour * 3600 + minute * 60 + second).astype(np.float64), valid


def _grid(blocks: _Blocks) -> Grid:
    rows = blocks.rows
    if rows["rate"][0] == 0:
        anchors, fraction = np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows))
    else:
        # With the top bit set there is a fraction of a second, and the anchor was moved for readers that ignore it.
        has = (rows["fraction"] & 0x8000) > 0
        ticks = np.where(has, (rows["fraction"].astype(np.int64) & 0x7FFF) << 1, 0)
        anchors = rows["anchor"].astype(np.int64) + ((ticks * int(blocks.rate_hz)) >> 16)
        fraction = ticks / 65536
    return lay(
        blocks.counts,
        blocks.stamps_s + fraction,
        anchors,
        nominal_rate_hz=blocks.rate_hz,
        resolution_s=_RESOLUTION_S,
        tolerance_s=_TOLERANCE_S,
        lost_blocks=blocks.lost,
        where="CWA blocks",
    )


def _samples(blocks: _Blocks) -> dict[str, NDArray[np.floating]]:
    """Modality -> (channel, sample) in its unit."""
    scales = int(blocks.rows["light"][0]) >> 10
    g = np.float32(1 / (1 << (8 + (scales >> 3))))
    if blocks.packing == _PACKED:
        return {"acc": _unpacked(blocks, g)}
    per_block = 480 // (2 * blocks.axes)
    # Of nine axes 26 samples fit, and twelve bytes stay empty.
    stored = np.ascontiguousarray(blocks.rows["data"]).view("<i2").reshape(-1, 240)
    words = stored[:, : per_block * blocks.axes].reshape(-1, per_block, blocks.axes)
    keep = _kept(blocks, per_block)
    flat = words.reshape(-1, blocks.axes) if keep is None else words[keep]
    dps = np.float32(8000 / (1 << (scales & 7 or 2)) / 32768)
    order = {3: ("acc",), 6: ("gyro", "acc"), 9: ("gyro", "acc", "mag")}[blocks.axes]
    scale = {"acc": g, "gyro": dps, "mag": np.float32(1 / 16)}
    return {name: flat[:, 3 * i : 3 * i + 3].T * scale[name] for i, name in enumerate(order)}


def _unpacked(blocks: _Blocks, scale: np.float32) -> NDArray[np.float32]:
    packed = np.ascontiguousarray(blocks.rows["data"]).view("<u4").reshape(-1, 120)
    keep = _kept(blocks, 120)
    packed = packed.ravel() if keep is None else packed[keep]
    exponent = (packed >> 30).view(np.int32)
    values = np.empty((3, len(packed)), dtype=np.float32)
    for axis, shift in enumerate((22, 12, 2)):
        # Up to the sign bit and down again copies the sign of a 10-bit number into all higher bits.
        number = (packed << np.uint32(shift)).view(np.int32)
        number >>= 22
        number <<= exponent
        np.multiply(number, scale, out=values[axis], casting="unsafe")
    return values


def _kept(blocks: _Blocks, per_block: int) -> NDArray[np.bool_] | None:
    """Which slots are filled, or None when all are."""
    counts = blocks.counts
    return None if counts.min() == per_block else np.arange(per_block) < counts[:, None]


def _hide_swapped(signals: dict[str, NDArray[np.floating]]) -> None:
    acc = signals["acc"]
    whole = acc.shape[1] // 40 * 40
    pieces = acc[:, :whole].reshape(3, -1, 40)
    size = np.linalg.norm(pieces.mean(axis=2), axis=0)
    wrong = (pieces.std(axis=2) < _STILL_G).all(axis=0) & (np.abs(size - 1) > 0.5)
    hidden = np.zeros(acc.shape[1], dtype=np.bool_)
    hidden[:whole] = np.repeat(wrong, 40)
    for values in signals.values():
        values[:, hidden] = np.nan


def _celsius(blocks: _Blocks) -> NDArray[np.float64]:
    return (blocks.rows["temp"] & 0x3FF).astype(np.float64) * (75 / 256) - 50


def _lux(blocks: _Blocks) -> NDArray[np.float64]:
    """Ten microampere a decade through the load resistor of the device (100 kOhm, AX6: 10 kOhm), 3 V at 1024."""
    lux = 10.0 ** ((blocks.rows["light"] & 0x3FF).astype(np.float64) * ((30 if blocks.is_ax6 else 3) / 1024))
    return np.where(lux <= _MOST_LUX, lux, np.nan)


def _recording(name: str, values: NDArray[np.floating], rate: float, grid: Grid, subject: str) -> Recording:
    unit = {"acc": "g", "gyro": "deg/s", "mag": "uT", "device_temp": "celsius", "light": "lux"}[name]
    return make_recording(
        values,
        modality=name,
        unit=unit,
        channels=("x", "y", "z") if len(values) == 3 else (name,),
        sampling_rate_hz=rate,
        start_ns=seconds_to_ns(grid.start_s, where="first block"),
        subject=subject,
        device="axivity",
        where=name,
    )

"""GENEActiv wrist loggers: text header, then pages of hexadecimal samples (.bin)."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_pipelines.readers._beginning import first_bytes
from data_pipelines.readers._blocks import Clock, Grid, lay, once_a_block, spread
from data_pipelines.readers._files import read_bytes
from data_pipelines.readers._recordings import make_recording, seconds_to_ns
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.modalities import PLACES
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Recording, Visit

_MAGIC = b"Device Identity"
_LONGEST_HEADER = 1 << 16
_SAMPLES_PER_PAGE = 300
# A sample is 6 bytes: three signed 12-bit numbers, 10 bits of light, the button, one bit that is not used.
_BYTES_PER_SAMPLE = 6
_PAGE = re.compile(
    rb"Page Time:(\d{4}-[01]\d-[0-3]\d [0-2]\d:[0-5]\d:[0-5]\d:\d{3})[^\n]{0,9}\n"
    rb"[^\n]{0,99}\nTemperature:(-?[\d.,]{1,8})[^\n]{0,9}\n"
    rb"[^\n]{0,99}\n[^\n]{0,99}\nMeasurement Frequency:([\d.,]{1,8})[^\n]{0,9}\n"
    rb"([0-9A-Fa-f]*)"
)
_ZONE = re.compile(rb"GMT ?([+-])(\d\d):(\d\d)")
_RESOLUTION_S = 0.001
_TOLERANCE_S = 0.25


class GeneactivBin:
    """Reads one recording of a logger, with the calibration of its header.

    Format: GENEActiv .bin, pages of 300 samples (activinsights.com, "GENEActiv instructions for use", decoding of
        .bin files).
    Units: acc g by the header's gain and offset; light lux by its scale, at the rate of acc; device_temp celsius,
        once a page.
    Lossy: Pages that are cut off, or whose text is damaged (they become gaps; those and pages that the header
        promises and the file lacks are counted in the log), battery, names and notes. Presses of the button are
        events `button`. Samples lie on the grid of the rate that the page times show; `clock` reports it. Without
        a time zone in the header, local time is taken as UTC.
    """

    @staticmethod
    def detect(path: Path) -> bool:
        """Whether the file begins as a GENEActiv file does."""
        head = first_bytes(path, 256)
        return head.startswith(_MAGIC) and b"GENEActiv" in head

    def read(self, path: Path, *, subject: str) -> Visit:
        """Read the whole recording.

        Raises:
            ReaderError: If the header lacks the calibration, no page is whole, or the page times go back.
            UnitError: If values are impossible.
        """
        file = _load(path)
        words = _words(file.hex_text)
        grid = file.grid
        light = spread((words[3] >> 2)[None].astype(np.float32) * np.float32(file.lux_per_step), grid)
        acc = spread((words[:3].astype(np.float64) * 100 - file.offsets[:, None]) / file.gains[:, None], grid)
        celsius, slow = once_a_block(file.celsius, grid)
        recordings = [
            _recording("acc", acc, grid.clock.measured_rate_hz, file, subject),
            _recording("light", light, grid.clock.measured_rate_hz, file, subject),
            _recording("device_temp", celsius, slow, file, subject),
        ]
        return Visit(
            subject=subject,
            recordings={recording.modality: recording for recording in recordings},
            labels=_presses(words[3], file),
            source="geneactiv_bin",
        )

    @staticmethod
    def clock(path: Path) -> Clock:
        """What the page times say of the device's clock.

        Raises:
            ReaderError: As `read`.
        """
        return _load(path).grid.clock


@dataclass(frozen=True)
class _File:
    gains: NDArray[np.float64]
    offsets: NDArray[np.float64]
    lux_per_step: float
    utc_offset_s: int | None
    body_site: str
    celsius: NDArray[np.float64]
    hex_text: bytes
    grid: Grid

    @property
    def start_ns(self) -> int:
        return seconds_to_ns(self.grid.start_s - (self.utc_offset_s or 0), where="first page")


def _load(path: Path) -> _File:
    data = read_bytes(path)
    end = data.find(b"Recorded Data", 0, _LONGEST_HEADER)
    if not data.startswith(_MAGIC) or end < 0:
        raise ReaderError(
            "This is no GENEActiv file", expected="a text header, then pages that begin with Recorded Data"
        )
    header = data[:end]
    gains = np.array([_number(header, f"{axis} gain") for axis in "xyz"])
    volts = _number(header, "Volts")
    if (gains == 0).any() or volts == 0:
        raise ReaderError("The calibration in the header divides by zero", where="Calibration Data")
    pages = [page for page in _PAGE.finditer(data, end) if len(page[4]) == 2 * _BYTES_PER_SAMPLE * _SAMPLES_PER_PAGE]
    stamps = _seconds([page[1] for page in pages])
    there = data.count(b"Recorded Data", end)
    promised = int(_number(header, "Number of Pages"))
    rates = {page[3] for page in pages}
    if len(rates) > 1:
        raise ReaderError("The sampling rate changes within the file", expected="one rate", got=f"{len(rates)}")
    zone = _ZONE.search(header)
    return _File(
        gains=gains,
        offsets=np.array([_number(header, f"{axis} offset") for axis in "xyz"]),
        lux_per_step=_number(header, "Lux") / volts,
        utc_offset_s=None if zone is None else int(f"{zone[1].decode()}1") * (int(zone[2]) * 3600 + int(zone[3]) * 60),
        body_site=_site(header),
        celsius=np.array([_decimal(page[2]) for page in pages]),
        hex_text=b"".join([page[4] for page in pages]),
        grid=lay(
            np.full(len(pages), _SAMPLES_PER_PAGE, dtype=np.int64),
            stamps,
            nominal_rate_hz=_decimal(rates.pop()) if rates else _number(header, "Measurement Frequency"),
            resolution_s=_RESOLUTION_S,
            tolerance_s=_TOLERANCE_S,
            lost_blocks=max(there, promised) - len(pages),
            where="GENEActiv pages",
        ),
    )


def _number(header: bytes, name: str) -> float:
    found = re.search(rb"^%b:\s{0,9}(-?[\d.,]{1,12})" % name.encode(), header, re.MULTILINE)
    if found is None:
        raise ReaderError(
            "The header lacks a number",
            where=name,
            expected="the header as the device writes it",
            fix="export the recording again with the vendor's software",
        )
    return _decimal(found[1])


def _decimal(text: bytes) -> float:
    try:
        return float(text.replace(b",", b"."))
    except ValueError:
        raise ReaderError("A number of the header or of a page is damaged", expected="such as 85.7") from None


def _site(header: bytes) -> str:
    """Where it was worn, if the header says so in a word that we know; anything else may be a name."""
    found = re.search(rb"^Device Location Code:([a-zA-Z _]{0,40})", header, re.MULTILINE)
    text = found[1].decode().strip().lower().replace(" ", "_") if found else ""
    return text.replace("_", " ") if text in PLACES else ""


def _seconds(texts: list[bytes]) -> NDArray[np.float64]:
    """Such as 2013-05-30 10:12:54:500, all at once."""
    try:
        moments = np.array([text[:19].decode().replace(" ", "T") for text in texts], dtype="datetime64[s]")
    except ValueError:
        raise ReaderError(
            "A page time is no time", where="Page Time", expected="year-month-day hour:minute:second"
        ) from None
    return moments.astype(np.int64) + np.array([int(text[20:]) for text in texts], dtype=np.float64) / 1000


def _words(hex_text: bytes) -> NDArray[np.int16]:
    """x, y, z with sign and the fourth 12-bit number without, as (4, sample)."""
    raw = np.frombuffer(bytes.fromhex(hex_text.decode("ascii")), np.uint8).reshape(-1, _BYTES_PER_SAMPLE).T
    wide = raw.astype(np.int16)
    words = np.empty((4, wide.shape[1]), dtype=np.int16)
    for pair in (0, 1):
        high, middle, low = wide[3 * pair], wide[3 * pair + 1], wide[3 * pair + 2]
        words[2 * pair] = (high << 4) | (middle >> 4)
        words[2 * pair + 1] = ((middle & 15) << 8) | low
    words[:3] = (words[:3] << 4) >> 4
    return words


def _presses(word: NDArray[np.int16], file: _File) -> dict[str, LabelTrack]:
    down = spread((word & 2)[None].astype(np.float32), file.grid)[0] > 0
    places = np.flatnonzero(down & ~np.concatenate([[False], down[:-1]]))
    if not len(places):
        return {}
    times = file.start_ns + np.rint(places * (NS_PER_S / file.grid.clock.measured_rate_hz)).astype(np.int64)
    return {"button": LabelTrack("button", "event", times, times, np.zeros(len(times)))}


def _recording(name: str, values: NDArray[np.floating], rate: float, file: _File, subject: str) -> Recording:
    return make_recording(
        values,
        modality=name,
        unit={"acc": "g", "light": "lux", "device_temp": "celsius"}[name],
        channels=("x", "y", "z") if name == "acc" else (name,),
        sampling_rate_hz=rate,
        start_ns=file.start_ns,
        subject=subject,
        device="geneactiv",
        body_site=file.body_site,
        utc_offset_s=file.utc_offset_s,
        where=name,
    )

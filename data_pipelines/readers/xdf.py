"""Extensible Data Format: what LabRecorder writes of the streams of a Lab Streaming Layer network."""

import io
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_pipelines.readers._beginning import first_bytes
from data_pipelines.readers._channels import RawSignal, modality_of, to_recordings
from data_pipelines.readers._files import read_bytes
from data_pipelines.readers._grid import place
from data_pipelines.readers._recordings import datetime_to_ns
from data_pipelines.readers._xdf_chunks import MAGIC, check_chunks
from hdt_fm.schema.errors import ConfigError, ReaderError
from hdt_fm.schema.modalities import ARBITRARY
from hdt_fm.schema.modalities import modality as look_up_modality
from hdt_fm.schema.recording import LabelTrack, Recording, Visit

# A clock that is this close to its nominal rate is taken by its word; beyond it the measured rate is the rate.
_TOLERANCE = 50e-6
_MAX_KINDS_OF_MARKS = 64
_LONGEST_MARK = 64
# Clocks of this network count seconds since the computer was started, or since 1970.
_LATEST_S = 4e9
_NO_SIGNAL = ("trig", "status", "marker", "counter", "aux", "misc")


class Xdf:
    """Reads the streams of one file.

    Format: XDF 1.0 (github.com/sccn/xdf/wiki/Specifications), through pyxdf: clocks of all streams brought to the
        recorder's, resets of a clock found, jitter of time stamps removed.
    Units: From each channel's metadata. Where a stream has none: as `units` says, else arbitrary where the modality
        allows it, else the file is refused, as a guess would scale a signal by a thousand.
    Lossy: Streams and channels that stand for no modality; of two streams of one modality the second; numbers that
        come at no fixed rate; what marks say, where that is more than 64 different things or longer than 64 letters.
        Samples are moved to the nearest place of a uniform grid. The header's date tells the start to about a second;
        without one it is 1970.

    A stream's clock that was reset or lost samples leaves a gap. Labels tell the clock: `clock_resets_<modality>`, and
    `clock_drift_<modality>`, by how many parts in a million the samples come faster than the stream says.

    Args:
        units: Modality -> unit, for streams that do not say.
    """

    def __init__(self, *, units: Mapping[str, str] | None = None) -> None:
        self._units = dict(units or {})
        for modality, unit in self._units.items():
            look_up_modality(modality).conversion(unit)

    @staticmethod
    def detect(path: Path) -> bool:
        """Whether the file begins with the word of XDF."""
        return first_bytes(path, len(MAGIC)) == MAGIC

    def read(self, path: Path, *, subject: str) -> Visit:
        """Read every stream that stands for a modality, and all marks.

        Raises:
            ConfigError: If pyxdf is not installed.
            ReaderError: If the file is truncated or damaged, says no unit, or holds nothing that is known.
            UnitError: If a unit is unknown for its modality, or most values cannot be in it.
        """
        if not self.detect(path):
            raise ReaderError("This is no XDF file", expected="a file that begins with XDF:")
        streams, header = _load(read_bytes(path))
        numbers = [s for s in streams if _text(s, "channel_format") != "string" and len(s["time_stamps"]) > 1]
        marks = [s for s in streams if _text(s, "channel_format") == "string" and len(s["time_stamps"])]
        if not numbers:
            raise ReaderError("The XDF file holds no stream of numbers with samples", fix="leave it out")
        first_s = min(float(stream["time_stamps"][0]) for stream in numbers)
        origin_ns = _started(header)
        recordings: dict[str, Recording] = {}
        labels: dict[str, LabelTrack] = {}
        for stream in numbers:
            found = self._recordings(stream, first_s=first_s, origin_ns=origin_ns, subject=subject)
            new = {name: recording for name, recording in found.items() if name not in recordings}
            recordings |= new
            for name in new:
                labels |= _clock(stream, name, first_s=first_s, origin_ns=origin_ns)
        if not recordings:
            raise ReaderError(
                "None of the streams stands for a modality",
                expected="a stream's type or channels such as EEG, ECG, PPG, EDA, GSR, RESP, ACC",
                got=", ".join(sorted({_text(stream, "type") or "no type" for stream in numbers})),
            )
        labels |= {track.name: track for track in (_marks(marks, first_s=first_s, origin_ns=origin_ns),) if track}
        return Visit(subject=subject, recordings=recordings, labels=labels, source="xdf")

    def _recordings(
        self, stream: Mapping[str, Any], *, first_s: float, origin_ns: int, subject: str
    ) -> dict[str, Recording]:
        described = self._described(stream)
        rate = _rate(stream)
        if not described or rate is None:
            return {}
        times = np.asarray(stream["time_stamps"], dtype=np.float64)
        values = np.asarray(stream["time_series"], dtype=np.float64)
        if (np.diff(times) < 0).any():
            raise ReaderError(
                "The times of a stream of the XDF file go back",
                expected="samples in order of time once the clocks are brought together",
                fix="split the recording where a clock was set anew",
            )
        placed = place(times, values[:, list(described)], rate, where="an XDF stream")
        signals = [
            RawSignal(name, unit, rate, placed[:, column], modality)
            for column, (name, unit, modality) in enumerate(described.values())
        ]
        start_ns = origin_ns + int(_since_ns(times[:1], first_s)[0])
        return to_recordings(signals, start_ns=start_ns, subject=subject, device="lsl", where="an XDF stream")

    def _described(self, stream: Mapping[str, Any]) -> dict[int, tuple[str, str, str]]:
        """Channel -> name, unit, modality, of those that are known."""
        kind, count = _text(stream, "type"), int(_text(stream, "channel_count"))
        channels = _channels(stream)
        if len(channels) != count:
            channels = [{} for _ in range(count)]
        found = {}
        for index, channel in enumerate(channels):
            label, own = channel.get("label", ""), channel.get("type", "")
            name = label or f"{kind} {index + 1}"
            if (own or label).lower().startswith(_NO_SIGNAL):
                continue
            rate = float(_text(stream, "nominal_srate") or 0)
            modality = modality_of(own, rate) if own else modality_of(kind, rate) or modality_of(label, rate)
            if modality is not None:
                found[index] = name, self._unit(channel.get("unit", ""), modality), modality
        return found

    def _unit(self, told: str, modality: str) -> str:
        unit = told or self._units.get(modality, "")
        if unit:
            return unit
        if look_up_modality(modality).unit == ARBITRARY:
            return ARBITRARY
        raise ReaderError(
            "A stream does not say its unit",
            where=f"the {modality} stream of the XDF file",
            expected="desc/channels/channel/unit in the stream's metadata",
            fix=f"if you know it, name it: Xdf(units={{{modality!r}: '{look_up_modality(modality).unit}'}})",
        )


def _load(data: bytes) -> tuple[list[dict[str, Any]], Mapping[str, Any]]:
    try:
        import pyxdf
    except ImportError:
        raise ConfigError(
            "Reading XDF needs a package that is not installed", expected="pyxdf", fix="pip install 'hdt-fm[readers]'"
        ) from None
    promised = check_chunks(data)
    try:
        with np.errstate(all="ignore"):
            streams, header = pyxdf.load_xdf(io.BytesIO(data), verbose=False)
        whole = all(len(s["time_stamps"]) >= promised[s["info"]["stream_id"]].samples for s in streams)
    # Whatever the library trips over in a damaged file, it is the file's fault.
    except Exception as error:
        raise ReaderError(
            "The XDF file cannot be read",
            expected="a whole file, closed by its recorder",
            got=type(error).__name__,
            fix="copy it again",
        ) from None
    if not whole:
        raise ReaderError("The XDF file is damaged", got="samples that cannot be decoded", fix="copy it again")
    for stream in streams:
        times = np.asarray(stream["time_stamps"], dtype=np.float64)
        if not (np.abs(times) < _LATEST_S).all():
            raise ReaderError("A stream of the XDF file has times that cannot be", fix="record it again")
    return streams, header


def _text(stream: Mapping[str, Any], key: str) -> str:
    """A text of the stream's header; empty where there is none."""
    value = stream["info"].get(key) or [""]
    return value[0].strip() if isinstance(value[0], str) else ""


def _channels(stream: Mapping[str, Any]) -> list[dict[str, str]]:
    """Label, type and unit of each channel, as far as the metadata tell."""
    try:
        listed = stream["info"]["desc"][0]["channels"][0]["channel"]
        return [
            {
                key: (one.get(key) or [""])[0].strip()
                for key in ("label", "type", "unit")
                if isinstance((one.get(key) or [""])[0], str)
            }
            for one in listed
        ]
    except (KeyError, IndexError, TypeError, AttributeError):
        return []


def _pieces(stream: Mapping[str, Any]) -> list[tuple[int, int]]:
    """First and last sample of each stretch without a break."""
    return [(int(first), int(last)) for first, last in stream["info"]["segments"]]


def _measured_rate(stream: Mapping[str, Any]) -> float:
    times = stream["time_stamps"]
    steps = sum(last - first for first, last in _pieces(stream))
    duration = sum(float(times[last] - times[first]) for first, last in _pieces(stream))
    return steps / duration if duration > 0 else 0.0


def _rate(stream: Mapping[str, Any]) -> float | None:
    """The nominal rate where the clock keeps it, else the measured one; None for a stream at no fixed rate."""
    try:
        nominal = float(_text(stream, "nominal_srate") or 0)
    except ValueError:
        return None
    if nominal <= 0:
        return None
    measured = _measured_rate(stream)
    # A recording of few samples cannot tell a smaller drift than one sample in all.
    tolerance = max(_TOLERANCE, 1 / len(stream["time_stamps"]))
    return nominal if abs(measured / nominal - 1) <= tolerance else measured


def _started(header: Mapping[str, Any]) -> int:
    """The date of the file's header in UTC nanoseconds; 0 where it has none."""
    try:
        return datetime_to_ns(datetime.fromisoformat(header["info"]["datetime"][0]))
    except (KeyError, IndexError, TypeError, ValueError):
        return 0


def _clock(stream: Mapping[str, Any], modality: str, *, first_s: float, origin_ns: int) -> dict[str, LabelTrack]:
    """Where the stream's clock was set anew, and how fast it ran."""
    times, pieces = stream["time_stamps"], _pieces(stream)
    at = lambda index: origin_ns + _since_ns(times[index], first_s)
    drift = (_measured_rate(stream) / float(_text(stream, "nominal_srate")) - 1) * 1e6
    begins, ends = at([pieces[0][0]]), at([pieces[-1][1]])
    name = f"clock_drift_{modality}"
    found = {name: LabelTrack(name, "value", begins, ends, np.array([drift]), unit="ppm")}
    resets = [int(first) for first, _ in stream["info"]["clock_segments"][1:]]
    if resets:
        name = f"clock_resets_{modality}"
        found[name] = LabelTrack(name, "event", at(resets), at(resets), np.zeros(len(resets)))
    return found


def _since_ns(times: NDArray[np.float64], first_s: float) -> NDArray[np.int64]:
    """Exact to the microsecond that a float holds."""
    return np.rint((times - first_s) * 1e6).astype(np.int64) * 1000


def _marks(streams: list[dict[str, Any]], *, first_s: float, origin_ns: int) -> LabelTrack | None:
    if not streams:
        return None
    times = np.concatenate([np.asarray(stream["time_stamps"], dtype=np.float64) for stream in streams])
    said = [str(row[0]) if len(row) else "" for stream in streams for row in stream["time_series"]]
    kinds = tuple(sorted(set(said)))
    named = len(kinds) <= _MAX_KINDS_OF_MARKS and max(map(len, kinds)) <= _LONGEST_MARK
    values: NDArray[np.float64] = np.array([kinds.index(one) if named else 0 for one in said], dtype=np.float64)
    order = np.argsort(times, kind="stable")
    begins = origin_ns + _since_ns(times[order], first_s)
    return LabelTrack("marks", "event", begins, begins, values[order], classes=kinds if named else ())

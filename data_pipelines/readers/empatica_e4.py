"""Empatica E4 exports: a folder or a zip of CSV files."""

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_pipelines.readers._files import members
from data_pipelines.readers._numbers import header_numbers, read_numbers
from data_pipelines.readers._recordings import check_rate, make_recording, seconds_to_ns
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Recording, Visit

# file -> modality, unit in the file, channels
SIGNALS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "ACC.csv": ("acc", "1/64 g", ("x", "y", "z")),
    "BVP.csv": ("ppg", "nW", ("bvp",)),
    "EDA.csv": ("eda", "uS", ("eda",)),
    "TEMP.csv": ("temp", "celsius", ("temp",)),
}
# Both begin with zeros before the sensor's own filter has settled.
_STARTS_WITH_ZEROS = ("BVP.csv", "EDA.csv")


class EmpaticaE4:
    """Reads one session of the wrist device.

    Format: E4 connect export (support.empatica.com, "Data export and formatting from E4 connect"): ACC, BVP, EDA,
        TEMP, HR, IBI and tags CSV; line 1 the UTC start, line 2 the rate in hertz, then samples.
    Units: acc 1/64 g -> g; bvp nW, kept as arbitrary; eda uS; temp celsius; heart_rate bpm.
    Lossy: Zeros that begin BVP and EDA within the first second become unobserved; text of info.txt is not read.
        EDA that is exactly 0 later (electrodes without skin contact) is kept as measured. Any subset of files will
        do, one signal at least. The device's clock is UTC; the local offset is not in the export.
    """

    @staticmethod
    def detect(path: Path) -> bool:
        """Whether the path is a folder or zip that holds an E4 signal file."""
        if path.is_dir():
            return any((path / name).is_file() for name in SIGNALS)
        if path.suffix.lower() != ".zip" or not path.is_file():
            return False
        try:
            with zipfile.ZipFile(path) as archive:
                return any(Path(name).name in SIGNALS for name in archive.namelist())
        except zipfile.BadZipFile:
            # The only zip that we know: take it, so that `read` can say that it is damaged.
            return True

    def read(self, path: Path, *, subject: str) -> Visit:
        """Read every file that is there.

        Raises:
            ReaderError: If nothing is there, or a file is empty, truncated or malformed.
            UnitError: If values cannot be in the export's unit.
        """
        files = members(path)
        recordings = [_signal(files[name](), name, subject) for name in SIGNALS if name in files]
        if not recordings:
            raise ReaderError(
                "This is no Empatica E4 export",
                expected=f"at least one of {', '.join(SIGNALS)}",
                got=f"{len(files)} other file(s)",
                fix="name another reader, or check the folder",
            )
        return Visit(
            subject=subject,
            recordings={recording.modality: recording for recording in recordings},
            labels=_labels(files),
            source="empatica_e4",
        )


def _signal(data: bytes, name: str, subject: str) -> Recording:
    modality, unit, channels = SIGNALS[name]
    start_ns, rate = _header(data, name, len(channels))
    values = read_numbers(data, columns=len(channels), skip=2, where=name).T
    missing = None
    if name in _STARTS_WITH_ZEROS:
        missing = _leading_zeros(values, first=max(1, round(rate)))
    return make_recording(
        values,
        modality=modality,
        unit=unit,
        channels=channels,
        sampling_rate_hz=rate,
        start_ns=start_ns,
        subject=subject,
        device="empatica_e4",
        body_site="wrist",
        where=name,
        missing=missing,
    )


def _header(data: bytes, name: str, columns: int) -> tuple[int, float]:
    if not data.strip():
        raise ReaderError("The file is empty", where=name, fix="remove it, or export the session again")
    starts, rates = header_numbers(data, 0, where=name), header_numbers(data, 1, where=name)
    if len(starts) != columns or len(rates) != columns:
        raise ReaderError(
            "The header has the wrong number of columns",
            where=name,
            expected=f"{columns}",
            got=f"{len(starts)} in line 1, {len(rates)} in line 2",
        )
    if len(set(starts)) > 1 or len(set(rates)) > 1:
        raise ReaderError("The axes of one sensor have different clocks", where=name, expected="one start, one rate")
    check_rate(rates[0], where=f"{name}, line 2")
    return seconds_to_ns(starts[0], where=f"{name}, line 1"), rates[0]


def _leading_zeros(values: NDArray[np.float64], first: int) -> NDArray[np.bool_]:
    missing = np.zeros(values.shape[1], dtype=np.bool_)
    missing[:first] = np.logical_and.accumulate((values[:, :first] == 0).all(axis=0))
    return missing


def _labels(files: Mapping[str, Callable[[], bytes]]) -> dict[str, LabelTrack]:
    tracks = []
    if "HR.csv" in files and (data := files["HR.csv"]()).strip():
        tracks.append(_heart_rate(data))
    if "IBI.csv" in files and (data := files["IBI.csv"]()).strip():
        tracks.append(_beats(data))
    tags = [name for name in files if name.startswith("tags") and name.endswith(".csv")]
    if tags and (data := files[tags[0]]()).strip():
        times = read_numbers(data, columns=1, skip=0, where="tags.csv")[:, 0]
        tracks.append(_events("tags", times, np.zeros(len(times)), ""))
    return {track.name: track for track in tracks if len(track.values)}


def _heart_rate(data: bytes) -> LabelTrack:
    start_ns, rate = _header(data, "HR.csv", 1)
    values = read_numbers(data, columns=1, skip=2, where="HR.csv")[:, 0]
    begins = start_ns + np.rint(np.arange(len(values)) * (NS_PER_S / rate)).astype(np.int64)
    # 0 is what the device writes before its first estimate.
    known = np.isfinite(values) & (values > 0)
    ends = begins + round(NS_PER_S / rate)
    return LabelTrack("heart_rate", "value", begins[known], ends[known], values[known], unit="bpm")


def _beats(data: bytes) -> LabelTrack:
    start = data.split(b"\n", 1)[0].split(b",")[0]
    origin = header_numbers(start, 0, where="IBI.csv")[0]
    rows = read_numbers(data, columns=2, skip=1, where="IBI.csv")
    return _events("beats", origin + rows[:, 0], rows[:, 1], "s")


def _events(name: str, times_s: NDArray[np.float64], values: NDArray[np.float64], unit: str) -> LabelTrack:
    known = np.isfinite(times_s) & np.isfinite(values)
    times = np.rint(times_s[known] * 1e6).astype(np.int64) * 1000
    return LabelTrack(name, "event", times, times, values[known], unit=unit)

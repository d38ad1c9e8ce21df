"""CSV files that muselsl records of a Muse headband."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_pipelines.readers._beginning import first_bytes
from data_pipelines.readers._channels import RawSignal, to_recordings
from data_pipelines.readers._files import read_bytes
from data_pipelines.readers._grid import place
from data_pipelines.readers._mapping import mapped_tables
from data_pipelines.readers._numbers import parse_csv
from data_pipelines.readers._recordings import seconds_to_ns
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import Visit

_BOM = b"\xef\xbb\xbf"
# First columns of the two kinds of file -> modality, unit, nominal rate.
_KINDS: dict[tuple[str, ...], tuple[str, str, float]] = {
    ("timestamps", "TP9", "AF7", "AF8", "TP10"): ("eeg", "uV", 256.0),
    ("timestamps", "PPG1", "PPG2", "PPG3"): ("ppg", "au", 64.0),
}
# A pause; shorter ones are jitter of the wireless link.
_PAUSE_S = 1.0
_TOLERANCE = 50e-6
_MAX_DRIFT = 0.02


class Muse:
    """Reads one file.

    Format: CSV of muselsl (github.com/alexandrebarachant/muse-lsl, `muselsl record`): UNIX seconds, then TP9, AF7,
        AF8, TP10 at 256 Hz, or PPG1 to PPG3 at 64 Hz; .csv or .csv.gz.
    Units: eeg uV; ppg arbitrary.
    Lossy: The auxiliary electrode. Samples are moved to the nearest place of a uniform grid; where the clock runs more
        than 50 ppm off the nominal rate, the measured rate is the rate. Acceleration and rotation are two files of the
        same header, which cannot be told apart: they need a mapping.
    """

    @staticmethod
    def detect(path: Path) -> bool:
        """Whether the header line is one of muselsl, and no mapping says what the columns are."""
        return _kind(first_bytes(path, 256)) is not None and not mapped_tables(path)

    def read(self, path: Path, *, subject: str) -> Visit:
        """Read the file.

        Raises:
            ReaderError: If the header is another, a line is malformed, or the times do not rise at the nominal rate.
        """
        kind = _kind(first_bytes(path, 256))
        if kind is None:
            raise ReaderError("This is no Muse file", expected="a header line such as timestamps,TP9,AF7,AF8,TP10")
        modality, unit, nominal = _KINDS[kind]
        types = dict.fromkeys(kind, pa.float64())
        table = parse_csv(read_bytes(path).removeprefix(_BOM), where="file", types=types)
        if table.num_rows < 2:
            raise ReaderError("The Muse file holds no sample", fix="leave it out, or record it again")
        times, *channels = (table.column(name).to_numpy() for name in kind)
        rate = _rate(times, nominal)
        placed = place(times, np.stack(channels, axis=1), rate, where="timestamps")
        signals = [RawSignal(name, unit, rate, one, modality) for name, one in zip(kind[1:], placed.T, strict=True)]
        start_ns = seconds_to_ns(float(times[0]), where="timestamps")
        recordings = to_recordings(signals, start_ns=start_ns, subject=subject, device="muse", where="file")
        return Visit(subject=subject, recordings=recordings, source="muse")


def _kind(head: bytes) -> tuple[str, ...] | None:
    line = head.removeprefix(_BOM).split(b"\n", 1)[0].decode("ascii", "replace")
    names = tuple(name.strip() for name in line.split(","))
    return next((kind for kind in _KINDS if names[: len(kind)] == kind), None)


def _rate(times: NDArray[np.float64], nominal: float) -> float:
    """The nominal rate where the time stamps keep it, else the measured one."""
    steps = np.diff(times)
    if not np.isfinite(times).all() or (steps < 0).any():
        raise ReaderError(
            "The time stamps do not rise",
            expected="UNIX seconds in order in every line",
            fix="if the clock was set back, split the file there",
        )
    steady = steps[steps < _PAUSE_S]
    measured = len(steady) / steady.sum() if len(steady) and steady.sum() > 0 else 0.0
    if abs(measured / nominal - 1) > _MAX_DRIFT:
        raise ReaderError(
            "The time stamps do not fit the headband's rate",
            expected=f"about {nominal:g} samples a second",
            fix="if samples were lost all along, use a mapping with the rate that you know",
        )
    # A recording of few samples cannot tell a smaller drift than one sample in all.
    return nominal if abs(measured / nominal - 1) <= max(_TOLERANCE, 1 / len(times)) else measured

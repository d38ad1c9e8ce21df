"""The CSV form of the BIDMC PPG and respiration recordings."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_pipelines.readers._files import read_bytes
from data_pipelines.readers._numbers import header_words, parse_csv
from data_pipelines.readers._recordings import make_recording
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Recording, Visit

RATE_HZ = 125.0
_FILE = re.compile(r"bidmc_(\d+)_Signals\.csv(\.gz)?")
# modality -> columns in order of preference, unit. The first that a file has is the one channel.
SIGNALS: dict[str, tuple[tuple[str, ...], str]] = {
    "ecg": (("II", "I", "III", "V", "AVR", "AVL", "AVF", "MCL"), "mV"),
    "ppg": (("PLETH",), "NU"),
    "resp": (("RESP",), "pm"),
    "abp": (("ABP", "ART"), "mmHg"),
    "cvp": (("CVP",), "mmHg"),
}
_NUMERICS = {"HR": ("heart_rate", "bpm"), "RESP": ("respiratory_rate_monitor", "1/min"), "SpO2": ("spo2", "%")}


class BidmcCsv:
    """Reads one 8-minute recording: `bidmc_NN_Signals.csv[.gz]` with its Numerics and Breaths beside it.

    Format: BIDMC PPG and Respiration Dataset 1.0.0, CSV (physionet.org/content/bidmc): a time column in seconds, one
        column a signal with spaces in the header; numerics at 1 Hz; breaths as sample numbers of two annotators.
    Units: ecg mV, ppg and resp arbitrary, abp and cvp mmHg; rates per minute, spo2 %.
    Lossy: One ECG lead is kept, II where there is one, else the first of I, III, V, AVR, AVL, AVF, MCL; the channel's
        name says which. PULSE (a second heart rate) is dropped. The files hold no date: the clock starts at
        `start_ns`, so times between recordings mean nothing unless the cohort gives them a meaning.
    """

    def __init__(self, start_ns: int = 0) -> None:
        self.start_ns = start_ns

    @staticmethod
    def detect(path: Path) -> bool:
        """Whether the name is that of a signals file."""
        return path.is_file() and _FILE.fullmatch(path.name) is not None

    def read(self, path: Path, *, subject: str) -> Visit:
        """Read signals, numerics and breaths.

        Raises:
            ReaderError: If a column is missing, the time is not uniform at 125 Hz, or a file is damaged.
            UnitError: If values cannot be in the release's unit.
        """
        match = _FILE.fullmatch(path.name)
        if match is None:
            raise ReaderError("This is no BIDMC signals file", expected="a name like bidmc_01_Signals.csv.gz")
        table = _table(path, "Signals")
        _check_time(_column(table, "Time [s]"))
        recordings = [self._recording(table, modality, subject) for modality in SIGNALS if _lead(table, modality)]
        if not recordings:
            raise ReaderError(
                "The file has none of the known signals",
                where="Signals",
                expected=", ".join(name for names, _ in SIGNALS.values() for name in names),
                got=header_words(table.column_names),
            )
        labels = self._numerics(_beside(path, match[1], "Numerics")) | self._breaths(_beside(path, match[1], "Breaths"))
        return Visit(
            subject=subject,
            recordings={recording.modality: recording for recording in recordings},
            labels=labels,
            source="bidmc_csv",
        )

    def _recording(self, table: pa.Table, modality: str, subject: str) -> Recording:
        lead = _lead(table, modality)
        assert lead is not None
        return make_recording(
            _column(table, lead)[None],
            modality=modality,
            unit=SIGNALS[modality][1],
            channels=(lead,),
            sampling_rate_hz=RATE_HZ,
            start_ns=self.start_ns,
            subject=subject,
            device="bedside_monitor",
            body_site={"ppg": "finger", "ecg": "chest", "resp": "chest"}.get(modality, ""),
            where=f"Signals, column {lead}",
        )

    def _numerics(self, path: Path | None) -> dict[str, LabelTrack]:
        if path is None:
            return {}
        table = _table(path, "Numerics")
        begins = self.start_ns + np.rint(_column(table, "Time [s]") * NS_PER_S).astype(np.int64)
        tracks = {}
        for column, (name, unit) in _NUMERICS.items():
            if column not in table.column_names:
                continue
            values = _column(table, column)
            # The monitor writes NaN, 0 or a negative number when it has no estimate.
            known = np.isfinite(values) & (values > 0)
            starts = begins[known]
            tracks[name] = LabelTrack(name, "value", starts, starts + NS_PER_S, values[known], unit=unit)
        return tracks

    def _breaths(self, path: Path | None) -> dict[str, LabelTrack]:
        if path is None:
            return {}
        table = _table(path, "Breaths")
        tracks = {}
        for name, column in zip(("breaths", "breaths_2"), table.column_names[:2], strict=False):
            marks = _column(table, column)
            marks = marks[np.isfinite(marks)]
            times = self.start_ns + np.rint(marks / RATE_HZ * NS_PER_S).astype(np.int64)
            tracks[name] = LabelTrack(name, "event", times, times, np.zeros(len(times)), unit="1/min")
        return tracks


def _table(path: Path, where: str) -> pa.Table:
    """The header has spaces after its commas (and commas only between names), so it is read by itself."""
    data = read_bytes(path)
    head, _, body = data.partition(b"\n")
    names = [name.strip() for name in head.decode("utf-8", errors="replace").split(",")]
    if len(set(names)) != len(names) or len(names) < 2 or not body.strip():
        raise ReaderError(
            "The table has no usable header or no rows",
            where=where,
            expected="a line of distinct column names, then numbers",
            fix="download the file again",
        )
    return parse_csv(body, where=where, names=names, types=dict.fromkeys(names, pa.float64()), first_line=2)


def _column(table: pa.Table, name: str) -> NDArray[np.float64]:
    if name not in table.column_names:
        raise ReaderError("A column is missing", expected=name, got=header_words(table.column_names))
    return table.column(name).to_numpy()


def _lead(table: pa.Table, modality: str) -> str | None:
    return next((name for name in SIGNALS[modality][0] if name in table.column_names), None)


def _check_time(times_s: NDArray[np.float64]) -> None:
    # The files write five digits, so that a late time is rounded to 10 ms and neighbours can be equal.
    grid = times_s[0] + np.arange(len(times_s)) / RATE_HZ
    if not np.all(np.abs(times_s - grid) < 0.01):
        raise ReaderError(
            "The time column is not uniform",
            where="Signals, column Time [s]",
            expected=f"rising steps of {1 / RATE_HZ} s, each time within 10 ms of its place",
            fix="the file was cut or edited; download it again",
        )


def _beside(path: Path, number: str, kind: str) -> Path | None:
    names = (f"bidmc_{number}_{kind}.csv", f"bidmc_{number}_{kind}.csv.gz")
    return next((path.with_name(name) for name in names if path.with_name(name).is_file()), None)

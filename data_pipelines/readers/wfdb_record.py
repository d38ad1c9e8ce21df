"""PhysioNet WFDB records."""

import re
from pathlib import Path

import numpy as np

from data_pipelines.readers._channels import RawSignal, to_recordings
from data_pipelines.readers._recordings import check_rate, datetime_to_ns
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Visit

_FIRST_LINE = re.compile(r"\S+ +\d+( +\S+)*\s*")
_BEATS = set("NLRBAaJSVrFejnE/fQ?")


class WfdbRecord:
    """Reads one record by its header file.

    Format: WFDB header, signal and annotation files (physionet.org/physiotools/wag/header-5.htm), single and
        multi-segment, several rates in one record.
    Units: From the header; names become modalities by the table in `_channels.py`. Leads become channels.
    Lossy: Unknown signals; signals of a modality at another rate or in another unit than its first; numbers kept
        under a wave's name; every annotation but the heart beats of `.atr`. A header without a date starts at 1970;
        one with a date is taken as UTC, years past 2200 moved back by whole 400-year cycles.
    """

    @staticmethod
    def detect(path: Path) -> bool:
        """Whether this is a header file."""
        if path.suffix != ".hea" or not path.is_file():
            return False
        lines = [line for line in _lines(path) if line.strip() and not line.startswith("#")]
        return bool(lines) and _FIRST_LINE.fullmatch(lines[0]) is not None

    @staticmethod
    def segments(path: Path) -> set[str]:
        """Names of the records that this header is made of; empty for a single-segment record."""
        lines = [line for line in _lines(path) if line.strip() and not line.startswith("#")]
        if not lines or "/" not in lines[0].split()[0]:
            return set()
        return {line.split()[0] for line in lines[1:]} - {"~"}

    def read(self, path: Path, *, subject: str) -> Visit:
        """Read the record.

        Raises:
            ReaderError: If a file is missing, truncated or malformed, or no signal is known.
            UnitError: If values cannot be in the header's unit.
        """
        if not self.detect(path):
            raise ReaderError("This is no WFDB header", expected="a .hea file that begins with a record line")
        _refuse_other_folders(path)
        # wfdb loads pandas and a web client, which `detect` does without.
        import wfdb

        try:
            record = wfdb.rdrecord(str(path.with_suffix("")), smooth_frames=False)
            signals = [
                RawSignal(name, unit, float(record.fs) * frame, values)
                for name, unit, frame, values in zip(
                    record.sig_name, record.units, record.samps_per_frame, record.e_p_signal, strict=True
                )
            ]
        # Whatever the library trips over in a damaged file, it is the file's fault.
        except Exception as error:
            raise ReaderError(
                "The WFDB record cannot be read",
                expected="a whole header with its signal files beside it",
                got=type(error).__name__,
                fix="check that every file named in the .hea is there and complete",
            ) from None
        check_rate(float(record.fs), where="header")
        start_ns = datetime_to_ns(record.base_datetime)
        return Visit(
            subject=subject,
            recordings=to_recordings(signals, start_ns=start_ns, subject=subject, device="wfdb", where="header"),
            labels=_beats(path, start_ns, float(record.fs)),
            source="wfdb_record",
        )


def _lines(path: Path) -> list[str]:
    with path.open("rb") as handle:
        return handle.read(1 << 20).decode("utf-8", errors="replace").splitlines()


def _refuse_other_folders(path: Path) -> None:
    """A header names its signal files; one that names a file elsewhere is not to be followed."""
    lines = [line for line in _lines(path) if line.strip() and not line.startswith("#")]
    for line in lines[1:]:
        name = line.split()[0]
        if "/" in name or "\\" in name or ":" in name or name.startswith("."):
            raise ReaderError(
                "The header points to a file outside its folder",
                where="header",
                expected="plain file names",
                fix="put all files of the record in one folder, and do not trust this header",
            )


def _beats(path: Path, start_ns: int, frame_rate_hz: float) -> dict[str, LabelTrack]:
    if not path.with_suffix(".atr").is_file():
        return {}
    import wfdb

    try:
        marks = wfdb.rdann(str(path.with_suffix("")), "atr")
    except Exception as error:
        raise ReaderError("The annotations cannot be read", where=".atr", got=type(error).__name__) from None
    samples = np.array([s for s, symbol in zip(marks.sample, marks.symbol, strict=True) if symbol in _BEATS])
    times = start_ns + np.rint(samples / (marks.fs or frame_rate_hz) * NS_PER_S).astype(np.int64)
    return {"beats": LabelTrack("beats", "event", times, times, np.zeros(len(times)))} if len(times) else {}

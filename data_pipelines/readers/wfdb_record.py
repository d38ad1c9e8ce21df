"""PhysioNet WFDB records."""

from pathlib import Path

from data_pipelines.readers._channels import to_recordings
from data_pipelines.readers._recordings import check_rate, datetime_to_ns
from data_pipelines.readers._wfdb_annotations import LONGEST_S, read_annotations
from data_pipelines.readers._wfdb_header import RECORD_LINE, header_lines, read_header
from data_pipelines.readers._wfdb_signals import read_signals
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import NS_PER_S, Visit


class WfdbRecord:
    """Reads one record by its header file.

    Format: WFDB header, signal and annotation files (physionet.org/physiotools/wag/header-5.htm), single and
        multi-segment, several rates in one record.
    Units: From the header; names become modalities by the table in `_channels.py`. Leads become channels.
    Lossy: Unknown signals; signals of a modality at another rate or in another unit than its first; numbers kept
        under a wave's name; annotations other than the heart beats and rhythms of `.atr`. A header without a date
        starts at 1970; one with a date is taken as UTC, years past 2200 moved back by whole 400-year cycles.

    Labels: `beats` (event) and `rhythm` (class, from each rhythm mark of `.atr` to the next).
    """

    @staticmethod
    def detect(path: Path) -> bool:
        """Whether this is a header file."""
        if path.suffix != ".hea":
            return False
        lines = header_lines(path)
        return bool(lines) and RECORD_LINE.fullmatch(lines[0].strip()) is not None

    @staticmethod
    def segments(path: Path) -> set[str]:
        """Names of the records that this header is made of; empty for a single-segment record."""
        lines = header_lines(path)
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
        header = read_header(path)
        check_rate(header.rate_hz, where="header")
        signals, frames = read_signals(path, header)
        if frames / header.rate_hz > LONGEST_S:
            raise ReaderError("The record would last for centuries", where="header", fix="correct its sampling rate")
        start_ns = datetime_to_ns(header.start)
        end_ns = start_ns + round(frames / header.rate_hz * NS_PER_S)
        return Visit(
            subject=subject,
            recordings=to_recordings(signals, start_ns=start_ns, subject=subject, device="wfdb", where="header"),
            labels=read_annotations(path, start_ns=start_ns, end_ns=end_ns, frame_rate_hz=header.rate_hz),
            source="wfdb_record",
        )

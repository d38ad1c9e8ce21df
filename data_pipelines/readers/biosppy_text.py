"""Text files in which BioSPPy stores signals."""

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from data_pipelines.readers._beginning import first_bytes
from data_pipelines.readers._channels import RawSignal, modality_of, to_recordings
from data_pipelines.readers._files import read_bytes
from data_pipelines.readers._numbers import parse_csv
from data_pipelines.readers._recordings import check_rate, datetime_to_ns
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.modalities import ARBITRARY
from hdt_fm.schema.modalities import modality as look_up_modality
from hdt_fm.schema.recording import Visit

_MAGIC = b"# Simple Text Format"
_FIELD = re.compile(r"# ([\w ()]+):= *(.*?)\s*")


class BiosppyText:
    """Reads one file.

    Format: The simple text format of BioSPPy's `storage` (biosppy.readthedocs.io): comments with rate, resolution and
        labels, then one line a sample, a column a label.
    Units: The format has none: numbers are mostly those of a converter. ppg and resp are arbitrary; any other needs
        `units`, and is refused without it.
    Lossy: Unknown labels; the resolution. A file without a date starts at 1970.

    Args:
        units: Modality -> unit of its numbers, for those who know it.
    """

    def __init__(self, *, units: Mapping[str, str] | None = None) -> None:
        self._units = dict(units or {})
        for modality, unit in self._units.items():
            look_up_modality(modality).conversion(unit)

    @staticmethod
    def detect(path: Path) -> bool:
        """Whether the file begins with the words of the format."""
        return first_bytes(path, len(_MAGIC)) == _MAGIC

    def read(self, path: Path, *, subject: str) -> Visit:
        """Read every known label.

        Raises:
            ReaderError: If the header is malformed, a line is, no label is known, or a unit is missing.
            UnitError: If most values cannot be in the unit.
        """
        if not self.detect(path):
            raise ReaderError("This is no BioSPPy text file", expected="a file that begins with # Simple Text Format")
        fields, body, lines = _split(read_bytes(path))
        labels = [label.strip() for label in fields.get("Labels", "").split("\t") if label.strip()]
        try:
            rate = float(fields["Sampling Rate (Hz)"])
        except (KeyError, ValueError):
            rate = 0.0
        check_rate(rate, where="header, Sampling Rate (Hz)")
        if not labels:
            raise ReaderError("The header names no column", where="header, Labels", expected="a label for each column")
        names = [str(index) for index in range(len(labels))]
        types = dict.fromkeys(names, pa.float64())
        table = parse_csv(body, where="samples", names=names, types=types, delimiter="\t", first_line=lines + 1)
        signals = [
            RawSignal(label, self._unit(modality_of(label, rate)), rate, table.column(name).to_numpy())
            for label, name in zip(labels, names, strict=True)
        ]
        start_ns = datetime_to_ns(_date(fields.get("Date", "")))
        recordings = to_recordings(signals, start_ns=start_ns, subject=subject, device="biosppy", where="file")
        return Visit(subject=subject, recordings=recordings, source="biosppy_text")

    def _unit(self, modality: str | None) -> str:
        if modality is None or look_up_modality(modality).unit == ARBITRARY:
            return ARBITRARY
        if modality in self._units:
            return self._units[modality]
        unit = look_up_modality(modality).unit
        raise ReaderError(
            "The file does not say the unit of its numbers",
            where=f"column of {modality}",
            expected="a format with units: these are mostly raw numbers of a converter",
            fix=f"convert them, then name the unit: BiosppyText(units={{{modality!r}: {unit!r}}})",
        )


def _split(data: bytes) -> tuple[dict[str, str], bytes, int]:
    """Fields of the header, samples, and how many lines the header has."""
    fields: dict[str, str] = {}
    position = lines = 0
    while data[position : position + 1] == b"#":
        end = data.find(b"\n", position)
        end = len(data) if end < 0 else end
        found = _FIELD.fullmatch(data[position : min(end, position + 4096)].decode("utf-8", "replace").rstrip("\r"))
        if found:
            fields[found[1]] = found[2]
        position, lines = end + 1, lines + 1
    return fields, data[position:], lines


def _date(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None

"""BIDMC: eight minutes of ECG, PPG and respiration from intensive-care monitors, with breath marks."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from data_pipelines.cohorts._people import age_band
from data_pipelines.cohorts._visits import Visits
from data_pipelines.readers._files import read_bytes
from data_pipelines.readers._recordings import datetime_to_ns
from data_pipelines.readers.bidmc_csv import BidmcCsv
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import Visit
from hdt_fm.schema.subject import SubjectKey

_NUMBER = re.compile(r"bidmc_(\d+)_Signals")
_FACT = re.compile(r"^\s*([^:]+?)\s*:\s*(.*?)\s*$")
_FIRST_DAY = datetime(2000, 1, 1)


class Bidmc:
    """One visit a recording; the subject is the patient (MIMIC II matched waveform id), who may have several.

    The files hold no time of recording, and the segment dates beside them are shifted by centuries and are those of
    the segment, not of the eight minutes. So recording NN begins at midnight NN days after 2000-01-01: recordings of
    one patient never overlap, and the distance between two of them means nothing.

    Args:
        path: Folder with bidmc_NN_Signals.csv[.gz], _Numerics.csv, _Breaths.csv and _Fix.txt.
        subject_key: See `SubjectKey.find`; `public` gives the same pseudonyms everywhere.
        limit: Only the first recordings, for a quick look; None is all.
    """

    name = "bidmc"
    licence = "PhysioNet open access"
    source = "Pimentel et al. 2017, doi:10.1109/TBME.2016.2613124; Goldberger et al. 2000; doi:10.13026/C2208R"

    def __init__(self, *, path: str, subject_key: str = "auto", limit: int | None = None) -> None:
        self._folder = Path(path)
        self._key = subject_key
        self._limit = limit

    def inputs(self) -> list[Path]:
        """Every file of every recording."""
        return sorted(path for path in self._folder.glob("bidmc_*") if path.is_file())

    def visits(self) -> Iterator[Visit]:
        """Each recording in order of its number; see `Visits` for what happens after an error."""
        key = SubjectKey.find(self._key)
        signals = sorted(path for path in self.inputs() if BidmcCsv.detect(path))[: self._limit]
        if not signals:
            raise ReaderError(
                "The cohort's folder holds no recording",
                where=str(self._folder),
                expected="bidmc_NN_Signals.csv.gz",
                fix="point cohort.path to the bidmc folder",
            )
        return Visits([partial(self._read, path, key) for path in signals])

    def _read(self, path: Path, key: SubjectKey) -> Visit:
        match = _NUMBER.match(path.name)
        assert match is not None
        number = match[1]
        facts = _facts(path.with_name(f"bidmc_{number}_Fix.txt"))
        patient = facts.get("MIMIC II matched wdb ID")
        if not patient:
            raise ReaderError(
                "A recording does not say whose it is",
                where="_Fix.txt",
                expected="a line 'MIMIC II matched wdb ID: ...'",
                fix="put the _Fix.txt files beside the signals, or one patient could be on both sides of a split",
            )
        start_ns = datetime_to_ns(_FIRST_DAY + timedelta(days=int(number)))
        visit = BidmcCsv(start_ns=start_ns).read(path, subject=key.pseudonym(self.name, patient))
        return replace(visit, covariates=_covariates(facts), source="bidmc")


def _facts(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    lines = read_bytes(path).decode("utf-8", errors="replace").splitlines()
    return {match[1]: match[2] for line in lines if (match := _FACT.match(line))}


def _covariates(facts: dict[str, str]) -> dict[str, str]:
    """Sex and a ten-year age band, where known."""
    covariates = {}
    if facts.get("Gender") in ("F", "M"):
        covariates["sex"] = facts["Gender"]
    if age := re.match(r"\d+", facts.get("Age", "")):
        covariates["age_band"] = age_band(int(age[0]))
    return covariates

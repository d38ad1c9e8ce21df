"""Any folder of recordings: one child, one visit."""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd

from data_pipelines.cohorts._twice import Seen, one_person_two_ids
from data_pipelines.cohorts._visits import OneVisit, Visits
from data_pipelines.readers import choose, detect
from data_pipelines.readers.wfdb_record import WfdbRecord
from hdt_fm.schema import registry
from hdt_fm.schema.covariates import as_number
from hdt_fm.schema.errors import ConfigError, ReaderError
from hdt_fm.schema.recording import Visit
from hdt_fm.schema.subject import SubjectKey

SUBJECTS_NAME = "subjects.csv"
_COVARIATES = ("sex", "age_band")
_NAMES_OF_PEOPLE = frozenset({"file", "subject", "group"})
_OLDEST = 90
# Files that should be recordings: one of them that no reader takes is an error, not something to pass over. Others are
# recordings if a reader takes them.
_SUFFIXES = (".csv.gz", ".tsv.gz", ".csv", ".tsv", ".parquet", ".zip", ".edf", ".bdf", ".rec", ".hea")
_COMPANION = re.compile(r".*_(Numerics|Breaths)\.csv(\.gz)?")
_TWO_IDS = f"remove one of them, or give both one group in {SUBJECTS_NAME}"
_ONE_ID = (
    f"give each person an id of their own (name up to the first '_', or {SUBJECTS_NAME}); "
    "if one person wore two devices, keep one"
)


@dataclass(frozen=True)
class _Child:
    """One recording of the folder: whose it is and who must stay with them, as raw ids."""

    path: Path
    subject: str
    group: str
    covariates: dict[str, str]


class Folder:
    """A folder whose children (folders, zips, EDF, WFDB headers, mapped tables) are visits.

    The raw id of a child is its name up to the first `_` (`P07_morning.zip` is of `P07`), unless `subjects.csv` lies in
    the folder: columns `file` (the child's name) and `subject`, and if wanted `group` (people who must stay on one
    side of every split), `sex`, `age_band` and what `covariates` names. Raw ids become pseudonyms here and go no
    further.

    Refused: the same content under two ids that no group ties; and two recordings of one modality that overlap in
    time under one id, since one body does not record the same thing twice (recordings without a clock are let pass).

    Args:
        path: The folder.
        subject_key: See `SubjectKey.find`.
        reader: A reader's name, then only children that it recognises are read; `auto` lets each be recognised.
        covariates: Columns of `subjects.csv` that go into the shards with each person; no other does.
        study: Part of the pseudonyms; the folder's name by default. Two studies may use the same raw ids.
        licence: Under which the recordings may be used.
        source: Where they come from.
    """

    def __init__(
        self,
        *,
        path: str,
        subject_key: str = "auto",
        reader: str = "auto",
        covariates: Sequence[str] = _COVARIATES,
        study: str | None = None,
        licence: str = "not stated",
        source: str = "local folder",
    ) -> None:
        self._folder = Path(path)
        self._key = subject_key
        self._reader = reader
        self._covariates = tuple(covariates)
        if not _NAMES_OF_PEOPLE.isdisjoint(self._covariates):
            raise ConfigError(
                "A column that says whose a recording is cannot be a covariate",
                where="cohort.covariates",
                expected=f"columns of {SUBJECTS_NAME} other than {', '.join(sorted(_NAMES_OF_PEOPLE))}",
                fix="leave it out: raw ids never enter the shards",
            )
        self.name = study or self._folder.resolve().name
        self.licence = licence
        self.source = source

    def inputs(self) -> list[Path]:
        """Every file of the folder, hidden ones apart."""
        self._require_folder()
        found = (path for path in self._folder.rglob("*") if path.is_file())
        return sorted(p for p in found if not any(part.startswith(".") for part in p.relative_to(self._folder).parts))

    def visits(self, allows: Callable[[str], bool] | None = None) -> Iterator[Visit]:
        """Each child in order of name; see `Visits` for what happens after an error.

        Args:
            allows: Says of a pseudonym if that person agreed: nothing of anyone else is opened here. None is everyone.

        Raises:
            ReaderError: If the folder is missing or empty, `subjects.csv` does not fit, or two ids share a file.
        """
        children, key = self._children(), SubjectKey.find(self._key)
        names = [(key.pseudonym(self.name, child.subject), key.pseudonym(self.name, child.group)) for child in children]
        agreed = zip(children, names, strict=True)
        _refuse_shared_files([child for child, (subject, _) in agreed if allows is None or allows(subject)])
        reads = [
            OneVisit(partial(_read, child.path, self._reader, subject, group, child.covariates), subject, _files(child))
            for child, (subject, group) in zip(children, names, strict=True)
        ]
        return Visits(reads, seen=partial(Seen, (_TWO_IDS, _ONE_ID)))

    def _require_folder(self) -> None:
        if not self._folder.is_dir():
            raise ReaderError("There is no such folder", where=str(self._folder), fix="correct cohort.path")

    def _children(self) -> list[_Child]:
        self._require_folder()
        paths = [path for path in sorted(self._folder.iterdir()) if not path.name.startswith(".")]
        headers = [path for path in paths if path.suffix == ".hea"]
        segments = {name for header in headers for name in WfdbRecord.segments(header)}
        recordings = [path for path in paths if self._is_recording(path) and path.stem not in segments]
        if not recordings:
            own = detect(self._folder) if paths else None
            raise ReaderError(
                "The folder holds no recording" if paths else "The folder is empty",
                where=str(self._folder),
                expected="one recording a child: a folder, zip, EDF, WFDB header or mapped table",
                got=f"a single {own} recording" if own else None,
                fix="point cohort.path to the folder above" if own else "check the path, or name the reader",
            )
        return _with_subjects(recordings, self._folder / SUBJECTS_NAME, self._covariates)

    def _is_recording(self, path: Path) -> bool:
        if path.name == SUBJECTS_NAME:
            return False
        if self._reader != "auto":
            return bool(registry.find("readers", self._reader).detect(path))  # type: ignore[attr-defined]
        if _COMPANION.fullmatch(path.name):
            return False
        return path.is_dir() or path.name.lower().endswith(_SUFFIXES) or detect(path) is not None


def _read(path: Path, chosen: str, subject: str, group: str, covariates: dict[str, str]) -> Visit:
    name, reader = choose(path, chosen)
    return replace(reader.read(path, subject=subject), group=group, covariates=covariates, source=name)


def _files(child: _Child) -> tuple[Path, ...]:
    # A WFDB header alone says little: records of one study often have equal ones.
    if child.path.suffix == ".hea":
        return tuple(sorted(child.path.parent.glob(f"{child.path.stem}.*")))
    return (child.path,)


def _with_subjects(recordings: list[Path], table: Path, covariates: tuple[str, ...]) -> list[_Child]:
    if not table.is_file():
        ids = [_stem(path).split("_")[0] for path in recordings]
        return [_Child(path, raw, raw, {}) for path, raw in zip(recordings, ids, strict=True)]
    rows = _subject_rows(table)
    unlisted = sum(path.name not in rows for path in recordings)
    lost = len(rows) - (len(recordings) - unlisted)
    if unlisted or lost:
        raise ReaderError(
            "The subject table does not fit the folder",
            where=SUBJECTS_NAME,
            expected="one row a recording, `file` being the name of the child",
            got=f"{unlisted} recording(s) without a row, {lost} row(s) without a recording",
            fix="add or remove rows",
        )
    further = [name for name in covariates if name not in _COVARIATES and name not in next(iter(rows.values()))]
    if further:
        raise ReaderError(
            "The subject table lacks a covariate",
            where=SUBJECTS_NAME,
            expected=f"columns {', '.join(further)}",
            fix="add them, or leave them out of cohort.covariates",
        )
    return [_child(path, rows[path.name], covariates) for path in recordings]


def _subject_rows(table: Path) -> dict[str, dict[str, str]]:
    try:
        frame = pd.read_csv(table, dtype=str, keep_default_na=False, skipinitialspace=True)
    except (ValueError, UnicodeDecodeError) as error:
        raise ReaderError("The subject table cannot be read", where=SUBJECTS_NAME, got=type(error).__name__) from None
    if not {"file", "subject"} <= set(frame.columns) or (frame[["file", "subject"]] == "").any(axis=None):
        raise ReaderError(
            "The subject table lacks a column or a value",
            where=SUBJECTS_NAME,
            expected="columns file, subject, and if wanted group, sex, age_band",
        )
    if frame["file"].duplicated().any():
        raise ReaderError(
            "The subject table gives one recording to two people",
            where=SUBJECTS_NAME,
            got=f"{int(frame['file'].duplicated().sum())} file(s) listed twice",
            fix="leave one row a file",
        )
    return {row["file"]: {str(k): v for k, v in row.items()} for row in frame.to_dict("records")}


def _child(path: Path, row: dict[str, str], names: tuple[str, ...]) -> _Child:
    covariates = {name: row[name] for name in names if row.get(name)}
    age = as_number("age", covariates.get("age", ""))
    if age is not None and age > _OLDEST:
        raise ReaderError(
            f"The subject table holds an exact age above {_OLDEST}",
            where=f"{SUBJECTS_NAME}, column age",
            expected=f"{_OLDEST} for everyone of {_OLDEST} and more",
            fix=f"write {_OLDEST}: so few people are older that the age would name them",
        )
    if covariates.get("age_band", "").isdigit():
        raise ReaderError(
            "The subject table holds an exact age",
            where=f"{SUBJECTS_NAME}, column age_band",
            expected="a band such as 30-39 or 90+",
            fix="write bands: an exact age helps to recognise a person",
        )
    return _Child(path, row["subject"], row.get("group") or row["subject"], covariates)


def _stem(path: Path) -> str:
    return next((path.name[: -len(end)] for end in _SUFFIXES if path.name.lower().endswith(end)), path.name)


def _refuse_shared_files(children: list[_Child]) -> None:
    owners: dict[str, str] = {}
    for child in children:
        files = [file for path in _files(child) for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
        digest = hashlib.sha256()
        for file in filter(Path.is_file, files):
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        if owners.setdefault(digest.hexdigest(), child.group) != child.group:
            raise one_person_two_ids(_TWO_IDS)

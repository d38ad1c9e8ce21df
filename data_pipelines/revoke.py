"""Take people out of a shard folder: from the next opening none of their windows is read; `compact` erases them."""

import csv
import io
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.finished import changing, finished, recipients_for, tar_of, write_manifest
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.shard_manifest import entries_of
from hdt_fm.schema.subject import is_pseudonym

MAX_LIST_BYTES = 64 << 20


@dataclass(frozen=True)
class Revoked:
    """What was done.

    Attributes:
        people: Of the list, in this folder.
        not_here: Of the list, not in this folder.
        windows: Of them that are skipped from now on and were not before.
        revoked_windows: That the manifest skips in all.
    """

    people: int
    not_here: int
    windows: int
    revoked_windows: int

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def revoke(folder: Path, subjects: Path) -> Revoked:
    """Add the windows of people to those that the manifest says are not read.

    Args:
        subjects: One pseudonym a line, or a CSV with the column `subject`.

    Raises:
        ConfigError: If the list cannot be read, or holds anything but pseudonyms, or the folder is sealed and no key
            or no recipients are set; nothing is changed then.
        ShardError: If the folder is not a finished one, is damaged where it says who is who, or is being changed.
    """
    names = read_subjects(subjects)
    with changing(folder):
        whole = finished(folder)
        manifest, to = whole.manifest, recipients_for(whole)
        rows = [number for number, row in enumerate(manifest.subjects) if row.subject in names]
        before = np.array(manifest.revoked_windows, np.int64)
        found = [before]
        for entry in entries_of(manifest) if rows else ():
            tar = tar_of(whole, entry)
            found += [tar.array(block, "wid")[np.isin(tar.array(block, "subj"), rows)] for block in tar.blocks]
        gone = np.unique(np.concatenate(found))
        if len(gone) != len(before):
            write_manifest(folder, manifest.model_copy(update={"revoked_windows": tuple(gone.tolist())}), to=to)
    return Revoked(len(rows), len(names) - len(rows), len(gone) - len(before), len(gone))


def read_subjects(path: Path) -> set[str]:
    """Pseudonyms of a list.

    Raises:
        ConfigError: If it cannot be read, is empty, or a line of it is not a pseudonym; the line is not shown.
    """
    try:
        data = path.read_bytes()
        if len(data) > MAX_LIST_BYTES:
            raise ValueError("too large")
        lines = list(csv.reader(io.StringIO(data.decode("utf-8-sig"))))
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigError(
            "The list of people cannot be read", where=path.name, got=type(error).__name__, fix="see --help"
        ) from None
    head = [cell.strip().lower() for cell in lines[0]] if lines else []
    place = head.index("subject") if "subject" in head else 0
    names = set()
    for number, cells in enumerate(lines[1 if "subject" in head else 0 :], 2 if "subject" in head else 1):
        name = cells[place].strip() if len(cells) > place else ""
        if not any(cell.strip() for cell in cells):
            continue
        if not is_pseudonym(name):
            # It may be a raw id.
            raise ConfigError(
                "The list of people holds something that is not a pseudonym",
                where=f"{path.name}: line {number}",
                expected="'s' and 32 hexadecimal digits, as in the manifest's table of people",
                fix="make pseudonyms of raw ids with the cohort's key; nothing was changed",
            )
        names.add(name)
    if not names:
        raise ConfigError("The list of people is empty", where=path.name, fix="see --help")
    return names

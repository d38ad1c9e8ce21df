"""What is written of a visit that could not be used: enough to find and repair it, nothing that names a person."""

import re
from collections.abc import Sequence
from pathlib import Path

from data_pipelines.cutting import Found
from data_pipelines.engine.task import Done, EngineError
from data_pipelines.work import digest_of, file_digest
from hdt_fm.schema.errors import HdtError
from hdt_fm.schema.preparation import Plain
from hdt_fm.schema.subject import SubjectKey

# Places in a file that errors name; a number behind any other word may be a value or an id.
_POSITION = re.compile(r"\b(?:byte|offset|line|row|record|frame|message|page|block|sample)s?\s+\d+\b")
_LOST = {
    "time": ("Reading and cutting it took too long; its process was ended", "engine.timeout_s"),
    "memory": ("Reading and cutting it needed too much memory", "engine.memory_gb"),
    "ended": ("It ended the process that read it, each time", None),
}


class Lost(Plain):
    """One row of the quarantine.

    Attributes:
        visit: Digest of what was read; of the place alone if that was nothing.
        subject: Pseudonym, or `unknown`.
        file: Keyed hash of the file's name (`file_reference`), of this study alone, which only the lab can make again.
        digest: sha256 of the file, to know it again.
        offset: Where in the file, if the reader knows.
    """

    visit: str
    subject: str
    file: str
    digest: str
    offset: str
    error: str
    reason: str


def file_reference(key: SubjectKey, study: str, path: Path) -> str:
    """What stands for a file's name in a report of a study. A name is often a person's id."""
    return key.reference("file", study, path.name)


def lost_row(found: Found, files: Sequence[Path], key: SubjectKey, study: str) -> Lost:
    """`where` stays out of the reason: a file's name is often a person's id."""
    error = found.error
    assert error is not None
    parts = [("expected", error.expected), ("got", error.got), ("what to do", error.fix)]
    said = [error.problem, *(f"{label}: {text}" for label, text in parts if text)]
    position = _POSITION.search(" ".join(text for text in (error.where, error.got) if text))
    there = [path for path in files if path.exists()]
    return Lost(
        visit=found.digest,
        subject=found.subject or "unknown",
        file=file_reference(key, study, there[0]) if there else "unknown",
        digest=_digest(there),
        offset=position[0] if position else "unknown",
        error=type(error).__name__,
        reason="; ".join(said) + "".join(f" ({note})" for note in getattr(error, "__notes__", [])),
    )


def lost_error(done: Done) -> HdtError:
    """In the place of an error, of a task that ended without one."""
    assert done.lost is not None
    problem, limit = _LOST[done.lost]
    return EngineError(problem, fix=f"raise {limit} if the file is as large as that" if limit else "leave it out")


def _digest(files: Sequence[Path]) -> str:
    try:
        digests = [file_digest(path) for path in files]
    except OSError:
        return "unknown"
    if not digests:
        return "unknown"
    return "sha256:" + (digests[0] if len(digests) == 1 else digest_of(sorted(digests)))

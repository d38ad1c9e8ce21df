"""The digest over what a data set was made from."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from data_pipelines.consent import EVERYONE, Consent
from data_pipelines.engine.task import Engine, Task
from data_pipelines.engine.wait import rows_of
from data_pipelines.first_pass import Passed
from data_pipelines.work import digest_of, file_digest

# Of the files that one task reads.
BYTES_A_TASK = 1 << 28


def input_digest(cohort: Any, passed: Passed, allowed: Consent, engine: Engine) -> str:
    """Root over the cohort's files and what was read from them: a reader's settings count as input.

    With a consent table, files of people who did not agree are not opened, as far as the cohort says whose they are.
    """
    files = cohort.inputs() if allowed.version == EVERYONE or passed.files is None else sorted(set(passed.files))
    for share in _shares([Path(path) for path in files]):
        engine.submit(Task(digest_of([str(path) for path in share]), partial(digests, share)))
    found = [digest for row in rows_of(engine, "reading the inputs for their digest") for digest in row]
    return digest_of([sorted(found), passed.digests])


def digests(files: Sequence[Path]) -> list[str]:
    """The task."""
    return [file_digest(path) for path in files]


def _shares(files: Sequence[Path]) -> list[list[Path]]:
    shares: list[list[Path]] = []
    room = 0
    for path in files:
        size = path.stat().st_size if path.is_file() else BYTES_A_TASK
        if not shares or size > room:
            shares.append([])
            room = BYTES_A_TASK
        shares[-1].append(path)
        room -= size
    return shares

"""`cost.json` of a run folder: what each start of a verb spent, so that an interrupted run loses none of it.

Written whole or not at all, every half minute and at every end. A process that is killed outright loses what it spent
since the last time; a machine that goes down may lose a session that was never written.
"""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from hdt_fm.schema.cost import Cost
from hdt_fm.schema.preparation import Plain

NAME = "cost.json"
UNREADABLE = f"sessions before this one: {NAME} could not be read"
NOT_KEPT = "sessions before this one, which kept no cost"


class Session(Plain):
    """One start of a verb.

    Attributes:
        config: Digest of the `config.yaml` that it ran by.
        finished: Whether it came to its record, and was not stopped.
    """

    config: str
    finished: bool
    cost: Cost


class Sessions(Plain):
    """All of them that may still count, oldest first."""

    version: int = 1
    sessions: tuple[Session, ...] = ()


def read_sessions(folder: Path) -> tuple[tuple[Session, ...], str]:
    """The sessions of a run folder, and what is missing of them in words."""
    path = folder / NAME
    if not path.is_file():
        return (), ""
    try:
        return Sessions.model_validate_json(path.read_bytes()).sessions, ""
    except (OSError, ValidationError):
        return (), UNREADABLE


def counting(earlier: Sequence[Session], config: str, *, resumed: bool) -> tuple[Session, ...]:
    """Those earlier sessions that this one's record is the end of: all of them where it went on from a checkpoint;
    else those right before it by the same settings that came to nothing, since they were spent all the same."""
    if resumed:
        return tuple(earlier)
    found: list[Session] = []
    for one in reversed(earlier):
        if one.finished or one.config != config:
            break
        found.append(one)
    return tuple(reversed(found))

"""Errors that a user can act on: what was expected, what came, where, and what to do.

A message never holds a person's values, times or raw id: name files by their name inside the
cohort's folder only where that name is not an id, and subjects by pseudonym.
"""

from collections.abc import Iterable
from difflib import get_close_matches

# A message that lists two hundred names helps nobody; past this, only the nearest are shown.
MAX_NAMES = 20


class HdtError(Exception):
    """Base of every error raised for a user.

    Args:
        problem: One sentence without a full stop.
        expected: What a good input looks like.
        got: What came instead (a type, a shape, a name; never a person's value).
        where: File, member, field or config key.
        fix: What the user can do next.
    """

    def __init__(
        self,
        problem: str,
        *,
        expected: str | None = None,
        got: str | None = None,
        where: str | None = None,
        fix: str | None = None,
    ) -> None:
        self.problem, self.expected, self.got, self.where, self.fix = problem, expected, got, where, fix
        parts = [("where", where), ("expected", expected), ("got", got), ("what to do", fix)]
        lines = [f"  {label}: {text}" for label, text in parts if text]
        super().__init__("\n".join([problem, *lines]))


class RecordingError(HdtError):
    """A recording, visit or label track breaks its contract."""


class UnitError(RecordingError):
    """A unit is unknown for its modality, or the values cannot be in it."""


class ReaderError(HdtError):
    """A device file or folder cannot be read."""


class ShardError(HdtError):
    """A shard folder is missing, half-written, or of another version."""


class CorruptShardError(ShardError):
    """Bytes of a shard differ from what its index or manifest promises."""


class ShapeError(HdtError):
    """A tensor or array has the wrong shape, type or device."""


class SplitError(HdtError):
    """A split by subject cannot be made as asked."""


class LeakError(HdtError):
    """Something of a test subject would reach training."""


class CheckpointError(HdtError):
    """A checkpoint does not match its manifest or the model it should fill."""


class ConfigError(HdtError):
    """A setting is missing, misspelt or of the wrong kind."""


class ExplainError(HdtError):
    """A window or a model cannot be explained as it stands."""


class PublishError(HdtError):
    """A run cannot be published as it stands."""


class FetchError(HdtError):
    """A public data set cannot be downloaded, checked or unpacked."""


class UnknownNameError(ConfigError):
    """A name is not in its table."""


def unknown_name(kind: str, name: str, known: Iterable[str], *, where: str | None = None) -> UnknownNameError:
    """Build the error for a name that is not in its table, with the nearest known one first."""
    names = sorted(set(known))
    near = get_close_matches(name, names, n=MAX_NAMES, cutoff=0.5)
    fix = f"did you mean {near[0]!r}?" if near else "use one of the known names"
    shown = names if len(names) <= MAX_NAMES else near
    more = f"{', ' if shown else ''}... ({len(names)} in all)" if len(shown) < len(names) else ""
    return UnknownNameError(
        f"Unknown {kind} {name!r}",
        expected=f"one of: {', '.join(shown)}{more}" if names else "(none is known)",
        where=where,
        fix=fix,
    )

"""What stands between a folder and its publication: every reason why it may not go out, in words."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from hdt_fm.report.facts import PROVENANCE_NAME, Provenance, digest_of
from hdt_fm.report.rules import RULES
from hdt_fm.report.rules.files import verify_sums
from hdt_fm.report.rules.folder import Folder

__all__ = ["PROVENANCE_NAME", "Provenance", "by_rule", "check", "digest_of", "verify_sums"]


def check(
    folder: Path, *, forbidden: Iterable[str] = (), withdrawn: Callable[[], Sequence[str]] | None = None
) -> list[str]:
    """Every problem that a published folder has; empty when it may go out.

    Args:
        forbidden: Words that must not stand in any text, such as the raw ids of a cohort.
        withdrawn: Gives reasons, with counts and no name, why people of this model's lineage who left are still in it.
    """
    return [
        problem for found in by_rule(folder, forbidden=forbidden, withdrawn=withdrawn).values() for problem in found
    ]


def by_rule(
    folder: Path, *, forbidden: Iterable[str] = (), withdrawn: Callable[[], Sequence[str]] | None = None
) -> dict[str, list[str]]:
    """The problems of each rule, by its words; a folder without its first files is asked nothing more."""
    seen = Folder(Path(folder), tuple(forbidden), withdrawn)
    found = {name: list(rule(seen)) for name, rule in list(RULES.items())[:1]}
    if any(found.values()):
        return found
    return {name: list(rule(seen)) for name, rule in RULES.items()}

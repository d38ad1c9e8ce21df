"""What follows from a register: what each person permits on a day."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from hdt_fm.consent.duo import DISEASE_SPECIFIC, TERMS, Scope
from hdt_fm.consent.entry import Entry

State = Literal["permits", "other uses only", "not yet", "ended", "withdrawn"]


@dataclass
class Standing:
    """One person.

    Attributes:
        given: What was given and not taken back, the oldest first.
        taken_back: Numbers of entries that were given and taken back later -> number of the entry that did so.
        withdrawn: Number of the newest entry by which the person took something back; None where nothing was.
    """

    subject: str
    given: list[Entry] = field(default_factory=list)
    taken_back: dict[int, int] = field(default_factory=dict)
    withdrawn: int | None = None

    @property
    def left(self) -> bool:
        """Whether the person withdrew and nothing that was given stands."""
        return self.withdrawn is not None and not self.given

    def state(self, use: Scope | None, day: date) -> State:
        """What the person says of a use on a day; None asks for any use."""
        if not self.given:
            return "withdrawn"
        now = [one for one in self.given if _within(one, day)]
        if any(use is None or one.agreed.permits(use) for one in now):
            return "permits"
        if now:
            return "other uses only"
        return "not yet" if any(one.valid_from > day.isoformat() for one in self.given) else "ended"

    def scope_texts(self, day: date) -> list[str]:
        """What is permitted on a day, in words."""
        return [str(one.agreed) for one in self.given if _within(one, day)]


def standings(entries: Sequence[Entry]) -> dict[str, Standing]:
    """By pseudonym, of everybody in the register.

    What is withdrawn ends all that was given before it and permits any of it: all, where no scope is named. So who
    takes back research on one disease also takes back the general permission that held it, until they give it anew.
    """
    found: dict[str, Standing] = {}
    for entry in entries:
        if entry.kind not in ("given", "withdrawn"):
            continue
        one = found.setdefault(entry.subject, Standing(entry.subject))
        if entry.kind == "given":
            one.given.append(entry)
            continue
        one.withdrawn = entry.number
        gone = [old for old in one.given if not entry.scope or _touches(old.agreed, entry.agreed)]
        one.given = [old for old in one.given if old not in gone]
        one.taken_back |= {old.number: entry.number for old in gone}
    return found


def left(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Pseudonyms of those who withdrew and gave nothing anew, sorted."""
    return tuple(sorted(one.subject for one in standings(entries).values() if one.left))


def _within(entry: Entry, day: date) -> bool:
    today = day.isoformat()
    return (not entry.valid_from or entry.valid_from <= today) and (not entry.valid_to or today <= entry.valid_to)


def _touches(given: Scope, back: Scope) -> bool:
    return any(given.permits(one) for one in _each(back))


def _each(scope: Scope) -> Iterable[Scope]:
    """Every permission by itself, by a use that keeps to every modifier, so that modifiers hide nothing."""
    every = tuple(code for code, term in TERMS.items() if term.modifier)
    for code in scope.permissions:
        yield Scope((code, *every), scope.diseases if code == DISEASE_SPECIFIC else ())

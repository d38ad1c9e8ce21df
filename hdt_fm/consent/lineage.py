"""Person -> artefacts: which of them the person touched, and what is to be done about each.

What an artefact holds is read from it; what it was made from is followed by digest: shards -> encoder -> table, head,
report, publication. A digest that was once found is kept in the register (`traced`), so that what was made of a folder
is known after the folder was mended. Nothing here says that a model forgot: weights that learned from a person are
trained again without them, or stay weights that learned from them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from hdt_fm.consent.artefact import WORK, Artefact
from hdt_fm.consent.entry import Said
from hdt_fm.consent.lines_and_twins import TAUGHT

Remedy = Literal["none needed", "delete and rebuild", "retrain", "withdraw from publication", "cannot be undone"]
SUBJECTS = "SUBJECTS"
# In the order in which they are mended, so that each is made of what is mended already.
_ORDER = (
    "shards",
    "encoder",
    "update line",
    "embedding table",
    "head",
    "evaluation",
    "attribution report",
    "publication",
    "twin",
    "export",
    "file",
)


@dataclass(frozen=True)
class Touched:
    """An artefact that a person touched.

    Attributes:
        kind, place: Of the artefact.
        remedy: Its class; `none needed` is told too, so that a reader sees that it was looked at.
        why: In words, without a pseudonym.
        commands: In turn; SUBJECTS stands for a file with the pseudonym.
        digest: Of a publication, for `hdt-fm consent settle`.
        settled: What was told of copies that left; empty while nothing was.
    """

    kind: str
    place: str
    remedy: Remedy
    why: str
    commands: tuple[str, ...] = ()
    digest: str = ""
    settled: str = ""

    @property
    def open(self) -> bool:
        """Whether something is still to be done; of what cannot be undone: whether nobody was told."""
        return self.remedy != "none needed" and not self.settled

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {**asdict(self), "commands": list(self.commands), "open": self.open}


@dataclass(frozen=True)
class Traced:
    """What is known by digest of a person's windows: found now, or written down in the register before."""

    shards: frozenset[str]
    models: frozenset[str]
    published: frozenset[str] = frozenset()

    @classmethod
    def of(cls, subject: str, artefacts: Iterable[Artefact], entries: Iterable[Said]) -> "Traced":
        """By what lies there and what was traced."""
        said = [one for one in entries if one.kind == "traced" and one.subject == subject]
        shards = {digest for one in said for digest in one.shards}
        models = {digest for one in said for digest in one.models}
        for one in artefacts:
            if one.kind == "shards" and subject in one.holds:
                shards.add(one.makes)
            if one.kind == "encoder" and subject in one.taught:
                models.add(one.makes)
                shards |= set(one.shards)
        published = frozenset(digest for one in said for digest in one.published)
        return cls(frozenset(shards - {""}), frozenset(models - {""}), published)

    def windows_in(self, shards: Iterable[str]) -> bool:
        """Whether one of these digests, or the beginning of one, is of shards that held the person."""
        return any(known.startswith(one) for one in shards if len(one) >= 16 for known in self.shards)


def trace(subject: str, artefacts: Sequence[Artefact], entries: Sequence[Said]) -> tuple[Touched, ...]:
    """Everything that the person touched, in the order in which it is mended."""
    known = Traced.of(subject, artefacts, entries)
    told = {digest: one.told for one in entries if one.kind == "settled" for digest in one.published}
    found = [one for artefact in artefacts for one in _touched(subject, artefact, known, artefacts)]
    found += _copies(found, known, told)
    return tuple(sorted(found, key=lambda one: (_ORDER.index(one.kind), one.place, one.remedy == "cannot be undone")))


def _touched(subject: str, one: Artefact, known: Traced, others: Sequence[Artefact]) -> Iterable[Touched]:
    """At most one remedy for an artefact; see the README for the reasons."""
    if one.kind == "shards" and subject in one.holds:
        count = one.facts[subject]
        fix = (f"hdt-fm shard revoke {one.place} --subjects {SUBJECTS}", f"hdt-fm shard compact {one.place}")
        yield _of(one, "delete and rebuild", f"holds {count} windows of the person{_also(one.note)}", fix)
    elif one.kind == "embedding table":
        fix = (f"rm -r {one.place}", one.again)
        if subject in one.holds:
            yield _of(one, "delete and rebuild", f"holds {one.facts[subject]} rows of the person", fix)
        elif known.models & set(one.models):
            yield _of(one, "delete and rebuild", "made by weights that learned from the person", fix)
        elif subject in one.lists:
            yield _of(one, "none needed", "names the pseudonym in its list of people, holds no row of it")
    elif one.kind == "encoder":
        if subject in one.taught:
            fix = (f"rm -r {one.place}", one.again)
            yield _of(one, "retrain", "its weights learned from the person, or were chosen by them", fix)
        elif subject in one.asked:
            yield _of(one, "none needed", "was kept from the person, who is in its list of test people")
    elif one.kind == "head":
        yield from _head(subject, one, known, others)
    elif one.kind == "update line":
        yield from _line(subject, one, known)
    elif one.kind == "evaluation" and (known.models & set(one.models) or known.windows_in(one.shards)):
        why = "numbers over many people, in which the person is counted; they are made anew with the next encoder"
        yield _of(one, "none needed", why)
    elif one.kind == "attribution report" and known.windows_in(one.shards):
        fix = (f"rm -r {one.place}", one.again)
        yield _of(one, "delete and rebuild", "may show windows of the person", fix)
    elif one.kind == "publication":
        yield from _publication(subject, one, known, others)
    elif one.kind == "twin" and subject in one.holds:
        yield _of(one, "delete and rebuild", "is a twin of the person", (one.again,))
    elif one.kind == "export" and subject in one.holds:
        yield _of(one, "delete and rebuild", "is an export of the person's data", (f"rm -r {one.place}",))
    elif one.kind == "file" and subject in one.holds:
        unfinished = one.place.name == WORK
        why = "an unfinished build that holds the person" if unfinished else "a file that names the pseudonym"
        yield _of(one, "delete and rebuild", why, (f"rm -r {one.place}" if unfinished else f"rm {one.place}",))


def _head(subject: str, one: Artefact, known: Traced, others: Sequence[Artefact]) -> Iterable[Touched]:
    fix = (f"rm -r {one.place}", one.again)
    if known.models & set(one.models):
        yield _of(one, "retrain", "learned from the person, on an encoder that did", fix)
        return
    encoders = _encoders(one, others)
    if any(subject in other.asked for other in encoders):
        yield _of(one, "none needed", "was only tested on the person, who is counted in its numbers")
    elif not encoders and known.windows_in(one.shards):
        yield _of(one, "retrain", "learned from shards that held the person, on an encoder that is gone", fix)


def _publication(subject: str, one: Artefact, known: Traced, others: Sequence[Artefact]) -> Iterable[Touched]:
    fix = (f"rm -r {one.place}", one.again)
    if known.models & set(one.models):
        yield _of(one, "withdraw from publication", "its weights learned from the person", fix, digest=one.makes)
        return
    if not known.windows_in(one.shards):
        return
    encoders = _encoders(one, others)
    if encoders and all(subject not in other.taught for other in encoders):
        yield _of(one, "none needed", "its weights were kept from the person, who is counted in its numbers")
    else:
        why = "was made of shards that held the person, by an encoder that is gone"
        yield _of(one, "withdraw from publication", why, fix, digest=one.makes)


def _line(subject: str, one: Artefact, known: Traced) -> Iterable[Touched]:
    leave = f"hdt-fm update withdraw {one.place} --subjects {SUBJECTS}"
    anew = f"rm -r {one.place}", f"begin it anew: hdt-fm update update.line={one.place} with shards without the person"
    if subject in one.taught:
        yield _of(one, "retrain", "the head was taught with the person", (leave, *anew))
    elif subject in one.asked or subject in one.holds:
        yield _of(one, "delete and rebuild", "keeps what the person gave, and asks them", (leave,))
    elif one.facts.get(TAUGHT) and known.windows_in(one.shards):
        yield _of(one, "retrain", "people who withdrew had taught the head, of shards that held the person", anew)


def _encoders(one: Artefact, others: Sequence[Artefact]) -> list[Artefact]:
    return [other for other in others if other.kind == "encoder" and other.makes and other.makes in one.models]


def _copies(found: Iterable[Touched], known: Traced, told: dict[str, str]) -> list[Touched]:
    """Of each publication that may have left: open until it is told who was told, be the folder there or not."""
    here = {one.digest: one.place for one in found if one.remedy == "withdraw from publication"}
    return [
        Touched(
            "publication",
            here.get(digest, f"published {digest[:16]}"),
            "cannot be undone",
            "copies that left the lab cannot be called back, and what was learned from the person stays in them",
            (f'hdt-fm consent settle REGISTER published={digest} told="WHO WAS TOLD"',),
            digest,
            told.get(digest, ""),
        )
        for digest in sorted({*here, *known.published})
    ]


def _also(note: str) -> str:
    return f"; {note}" if note else ""


def _of(one: Artefact, remedy: Remedy, why: str, commands: Sequence[str] = (), *, digest: str = "") -> Touched:
    return Touched(one.kind, str(one.place), remedy, why, tuple(word for word in commands if word), digest)

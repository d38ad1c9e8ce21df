"""What an update forgot: errors on people of earlier domains who were never taught, or on what is rehearsed of them.

Forgetting is told since a domain was learned, so that it cannot add up unseen: of its own people by what they scored
then; of what is rehearsed by the sum of what each update lost on the same rows.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hdt_fm.cli.update.heads import Teaching
from hdt_fm.cli.update.line import Domain, State
from hdt_fm.cli.update.people import People
from hdt_fm.cli.update.score import Judged, Score
from hdt_fm.cli.update.settings import UpdateVerbSettings
from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.errors import ConfigError
from hdt_fm.training.updating.memory import Memory
from hdt_fm.training.updating.rows import read

# Rows that are drawn of an earlier domain where its own people are not at hand.
DRAWN = 4096
Shards = dict[str, tuple[ShardFolder, str | None]]


def earlier_shards(before: State, settings: UpdateVerbSettings) -> Shards:
    """Shards of earlier domains that were named, by domain, each with those of what was given beside.

    Raises:
        ConfigError: If a folder is of no domain of the line.
    """
    found: Shards = {}
    treatments = settings.earlier_treatments or (None,) * len(settings.earlier)
    if len(treatments) != len(settings.earlier):
        raise ConfigError(
            "Earlier shards and what was given beside do not go together",
            where="update.earlier_treatments",
            expected=f"{len(settings.earlier)}, one for each of update.earlier (null where none)",
            got=f"{len(treatments)}",
        )
    for place, beside in zip(settings.earlier, treatments, strict=True):
        folder = ShardFolder.open(Path(place))
        domain = _domain_of(folder, before, place)
        if domain.treatments and beside is None:
            raise ConfigError(
                "A domain was learned with what was given to its people, and is judged without",
                where="update.earlier_treatments",
                expected=f"the shards of treatments of {domain.name}",
                fix="name them, in the order of update.earlier",
            )
        found[domain.name] = folder, beside
    return found


def _domain_of(folder: ShardFolder, before: State, place: str) -> Domain:
    """By digest; by those who are asked where people have left the folder since."""
    domains, subjects = before.domains.domains, {row.subject for row in folder.manifest.subjects}
    found = [one for one in domains if one.shards == folder.digest]
    found = found or [one for one in domains if subjects & set(one.asked)]
    if len(found) != 1:
        raise ConfigError(
            "A folder is not of a domain that the line has learned",
            where="update.earlier",
            expected="the shards that were learned, or what is left of them",
            got=place,
            fix="leave it out, or name the shards of: " + ", ".join(one.name for one in domains),
        )
    return found[0]


@dataclass(frozen=True)
class Found:
    """What earlier domains lost.

    Attributes:
        scores: For the ledger.
        lost: Domain -> how much worse it got since it was learned, all updates together.
        how: Domain -> "", or that it was judged by what is rehearsed of it.
        unknown: Domains of which neither people nor memory are at hand.
    """

    scores: dict[str, float]
    lost: dict[str, float]
    how: dict[str, str]
    unknown: tuple[str, ...]

    @property
    def shown(self) -> dict[str, Any]:
        """For whoever ran the update."""
        words = {f"forgotten of {name}{self.how[name]}": f"{value:+.3g}" for name, value in self.lost.items()}
        return {**words, **({"not judged": ", ".join(self.unknown)} if self.unknown else {})}

    def onto(self, domain: Domain) -> Domain:
        """A domain as the line keeps it after this update."""
        if domain.name in self.unknown:
            return domain.model_copy(update={"unjudged": domain.unjudged + 1})
        return domain.model_copy(update={"lost": self.lost.get(domain.name, domain.lost)})


class Forgetting:
    """Scores on earlier domains: of their own people where their shards are named, else of rows drawn of the memory.

    Args:
        way: Of the head that is about to learn, with which both scores are taken.
        memory: Of earlier domains, as it was before.
    """

    def __init__(self, before: State, way: Teaching, memory: Memory | None, earlier: Shards, seed: int) -> None:
        self.way, self.memory, self.seed = way, memory, seed
        self.people = {name: way.people(*one) for name, one in earlier.items()}
        self.domains = {one.name: one for one in before.domains.domains}
        self.was = {name: self._judged(name) for name in self.domains}

    def after(self) -> Found:
        """Once the head has learned."""
        scores: dict[str, float] = {}
        lost, how, unknown, measure = {}, {}, [], self.way.score.measure
        for name, domain in self.domains.items():
            was, now = self.was[name], self._judged(name)
            if was is None or now is None:
                unknown.append(name)
                continue
            own, here = name in self.people, self.way.score.worse(now.value, was.value)
            how[name] = "" if own else " as rehearsed"
            words = f"{name}{how[name]}"
            lost[name] = domain.lost + here
            # Shards may lack somebody who was asked and has not left the line: that score would be of other people.
            if own and domain.score is not None and self.people[name].has(domain.asked):
                lost[name] = self.way.score.worse(now.value, domain.score)
            scores |= scores_of(self.way.score, words, now)
            scores[f"forgetting of {words}, {measure}"] = lost[name]
            scores[f"forgetting of {words}, in this update, {measure}"] = here
            if own:
                scores |= _worst(self.way.score, name, now, was)
        return Found(scores, lost, how, tuple(unknown))

    def _judged(self, name: str) -> Judged | None:
        if name in self.people:
            here = self.people[name]
            rows = here.rows(self.domains[name].asked)
            return _sayable(judged_on(self.way, here, rows)) if len(rows) else None
        if self.memory is None or name not in self.memory.domains:
            return None
        inputs, target = self.memory.draw(DRAWN, np.random.default_rng([self.seed, 11]), domain=name)
        said = self.way.said(read(self.memory.layout, torch.from_numpy(inputs)))
        return _sayable(self.way.judge(said, self.way.came(target), np.zeros(len(target), dtype=np.int64)))


def judged_on(way: Teaching, here: People, rows: NDArray[np.int64]) -> Judged:
    """A head's score on people's own rows."""
    return way.judge(way.answers(here, rows), here.came[rows], here.name[rows])


def judged_asked(way: Teaching, here: People, people: Collection[str]) -> Judged:
    """The same of those who are asked.

    Raises:
        ConfigError: If it does not exist, such as where they are all of one class.
    """
    found = judged_on(way, here, here.rows(people))
    if not np.isfinite(found.value):
        raise ConfigError(
            f"The {way.score.name} of those who are asked does not exist",
            where="shards",
            expected="people with two classes or more, or with one event of a kind, and finite answers",
            got=f"{len(people)} people",
            fix="take a larger cohort, or another seed or split.test",
        )
    return found


def _sayable(judged: Judged) -> Judged | None:
    return judged if np.isfinite(judged.value) else None


def scores_of(score: Score, whose: str, judged: Judged) -> dict[str, float]:
    """A score and what stands beside it, as the ledger names them."""
    beside = {f"{name}, {whose}": value for name, value in judged.beside.items()}
    return {score.of(whose): judged.value, **beside}


def _worst(score: Score, name: str, now: Judged, was: Judged) -> dict[str, float]:
    """Who lost most in this update, of those of whom it can be said."""
    each = [score.worse(one, other) for one, other in zip(now.each, was.each, strict=True)]
    known = [one for one in each if np.isfinite(one)]
    return {f"worst person of {name}, {score.measure}": max(known)} if known else {}


def most_forgotten(score: Score, settings: UpdateVerbSettings) -> float:
    """The bound in the score's own unit: the config's, or the kind's."""
    return score.most_forgotten if settings.most_forgotten is None else settings.most_forgotten


def refuse(found: Found, settings: UpdateVerbSettings, score: Score) -> bool:
    """Whether a refusal was overruled.

    Raises:
        ConfigError: If too much is forgotten, or nobody can say, and it was not accepted.
    """
    bound = most_forgotten(score, settings)
    too_much = {name: lost for name, lost in found.lost.items() if not lost <= bound}
    if not too_much and not found.unknown:
        return False
    if settings.accept:
        return True
    if too_much:
        raise ConfigError(
            "The update forgets too much and was not kept; the line is as it was",
            where="update.most_forgotten",
            expected=f"at most {bound:g} {score.measure} on each earlier domain since it was learned",
            got=", ".join(f"{name} {lost:+.3g}" for name, lost in too_much.items()),
            fix="begin a new line with another update.strategy (prototypes, rows), or accept it: update.accept=true, "
            "or a higher update.most_forgotten",
        )
    raise ConfigError(
        "Nobody can say what the update forgets, so it was not kept; the line is as it was",
        where="update.earlier",
        expected="shards of earlier domains, or a strategy that rehearses",
        got=", ".join(found.unknown),
        fix="name their shards: update.earlier=[FOLDER], or accept it unseen: update.accept=true",
    )


def shown_scores(scores: Mapping[str, float]) -> dict[str, float]:
    """Rounded for the screen; shares need more places than milligrams."""
    return {name: round(value, 4 if abs(value) < 1 else 2) for name, value in scores.items()}

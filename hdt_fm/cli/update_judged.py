"""What an update forgot: errors on people of earlier domains who were never taught, or on what is rehearsed of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hdt_fm.cli.settings import UpdateVerbSettings
from hdt_fm.cli.update_line import Domain, State
from hdt_fm.cli.update_people import People
from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.protocols import HeadInput
from hdt_fm.schema.series import ForecastTask
from hdt_fm.training.updating.rows import read

# Rows that are drawn of an earlier domain where its own people are not at hand.
DRAWN = 4096


def earlier_shards(before: State, settings: UpdateVerbSettings) -> dict[str, tuple[ShardFolder, str | None]]:
    """Shards of earlier domains that were named, by domain.

    Raises:
        ConfigError: If a folder is of no domain of the line.
    """
    found: dict[str, tuple[ShardFolder, str | None]] = {}
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
    """What earlier domains lost, each from when it was learned and in this update.

    Attributes:
        scores: For the ledger.
        lost: Domain -> error now less error when it was learned; less error before this update where that is not known.
        how: Domain -> "", or that it was judged by what is rehearsed of it.
        unknown: Domains of which neither people nor memory are at hand.
    """

    scores: dict[str, float]
    lost: dict[str, float]
    how: dict[str, str]
    unknown: tuple[str, ...]

    @property
    def shown(self) -> dict[str, Any]:
        words = {f"forgotten of {name}{self.how[name]}": f"{value:+.2f}" for name, value in self.lost.items()}
        return {**words, **({"not judged": ", ".join(self.unknown)} if self.unknown else {})}


class Forgetting:
    """Errors on earlier domains: of their own people where their shards are named, else of rows drawn of the memory."""

    def __init__(
        self, before: State, after: State, earlier: dict[str, tuple[ShardFolder, str | None]], seed: int
    ) -> None:
        self.state, self.seed = after, seed
        self.people = {name: People.of(after.model, after.head, *one) for name, one in earlier.items()}
        self.domains = {one.name: one for one in before.domains.domains}
        self.was = {name: self._errors(name) for name in self.domains}

    def after(self) -> Found:
        """Once the head has learned."""
        scores, lost, how, unknown = {}, {}, {}, []
        for name, domain in self.domains.items():
            was, now = self.was[name], self._errors(name)
            if was is None or now is None:
                unknown.append(name)
                continue
            own = name in self.people
            how[name] = "" if own else " as rehearsed, in this update"
            words = f"{name}{how[name]}"
            began = domain.score if own and domain.score is not None else float(was.mean())
            scores[score_name(self.state.head, words)] = float(now.mean())
            lost[name] = float(now.mean()) - began
            scores[f"forgetting of {words}, {unit_of(self.state.head)}"] = lost[name]
            if own:
                scores[f"worst person of {name}, {unit_of(self.state.head)}"] = float((now - was).max())
        return Found(scores, lost, how, tuple(unknown))

    def _errors(self, name: str) -> NDArray[np.float64] | None:
        if name in self.people:
            found = self.people[name].errors(self.state.head, self.domains[name].asked)
            return found if len(found) else None
        memory = self.state.memory
        if memory is None or name not in memory.domains:
            return None
        head = self.state.head
        inputs, target = memory.draw(DRAWN, np.random.default_rng([self.seed, 11]), domain=name)
        said = said_of_rows(head, read(memory.layout, torch.from_numpy(inputs)))
        middle = target.shape[1] // 2
        error = float(np.sqrt(np.nanmean((said[:, middle, 0] - target[:, middle]) ** 2))) * float(head.spread)
        return np.array([error])


@torch.no_grad()
def said_of_rows(head: Any, inputs: HeadInput) -> NDArray[np.float32]:
    """The members' mean on rows that are scaled already, in spreads."""
    return torch.stack([member(inputs) for member in head.members]).mean(0).numpy()


def refuse(found: Found, settings: UpdateVerbSettings, unit: str) -> bool:
    """Whether a refusal was overruled.

    Raises:
        ConfigError: If too much is forgotten, or nobody can say, and it was not accepted.
    """
    too_much = {name: lost for name, lost in found.lost.items() if not lost <= settings.most_forgotten}
    if not too_much and not found.unknown:
        return False
    if settings.accept:
        return True
    if too_much:
        raise ConfigError(
            "The update forgets too much and was not kept; the line is as it was",
            where="update.most_forgotten",
            expected=f"at most {settings.most_forgotten:g} {unit} on each earlier domain",
            got=", ".join(f"{name} {lost:+.2f}" for name, lost in too_much.items()),
            fix="begin a new line with another update.strategy (prototypes, rows), or accept it: update.accept=true",
        )
    raise ConfigError(
        "Nobody can say what the update forgets, so it was not kept; the line is as it was",
        where="update.earlier",
        expected="shards of earlier domains, or a strategy that rehearses",
        got=", ".join(found.unknown),
        fix="name their shards: update.earlier=[FOLDER], or accept it unseen: update.accept=true",
    )


def unit_of(head: Any) -> str:
    return ForecastTask.of(head.asked).unit


def score_name(head: Any, whose: str) -> str:
    task = ForecastTask.of(head.asked)
    return f"RMSE in {task.horizons_s[len(task.horizons_s) // 2] / 60:g} min, {whose}, {task.unit}"

"""What speaks for a learned law and against it: placebos, folds of people, and the verdict that is kept with it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.cli.exposure.doses import accumulated
from hdt_fm.evaluation.evolve import dose, dose_folds
from hdt_fm.evaluation.evolve.dose import DoseModel, Told
from hdt_fm.evaluation.evolve.exposure_doses import DailyRecords
from hdt_fm.evaluation.evolve.exposure_rows import Protocol
from hdt_fm.evaluation.evolve.real_exposure import FOUND, LEVEL, NOTHING, TOO_LITTLE, real_exposure
from hdt_fm.heads.exposure_dose import WRONG, ExposureDose, Followed
from hdt_fm.schema.errors import HdtError
from hdt_fm.schema.result import Result, Row

NOT_ITS_OWN = "no reliable effect of its own beside the other exposures"
FOLDS = 5

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class People:
    """Days of people, all of them on one grid.

    Attributes:
        names: Of exposures.
        outcome: NaN where not known.
        day: Of the calendar, since 1970.
        group: People who must stay on one side of every split.
        next_day: Whether the outcome of a day is that of the day after.
    """

    names: tuple[str, ...]
    exposures: Float[np.ndarray, "person exposure step"]
    outcome: Float[np.ndarray, "person step"]
    day: Float[np.ndarray, "person step"]
    group: Int[np.ndarray, " person"]
    next_day: bool

    @property
    def followed(self) -> Followed:
        """As the head is taught: the outcome that comes at the end of each step's doses."""
        outcome = self.outcome
        if self.next_day:
            outcome = np.concatenate([outcome[:, 1:], np.full((len(outcome), 1), np.nan)], axis=1)
        return Followed(self.exposures, outcome, self.day)

    def records(self, outcome: str) -> DailyRecords:
        """As the protocol of placebos has them, whose outcome is that of the next day."""
        nothing = np.full((len(self.outcome), 1), np.nan)
        exposures, known = self.exposures, self.outcome
        if not self.next_day:
            known = np.concatenate([nothing, known], axis=1)
            exposures = np.concatenate(
                [exposures, np.broadcast_to(nothing[:, None], (*exposures.shape[:2], 1))], axis=2
            )
        named = {name: exposures[:, place] for place, name in enumerate(self.names)}
        return DailyRecords(self.group, self.day[:, 0].astype(np.int64), named, {outcome: known})


def placebos(people: People, outcome: str, *, draws: int, seed: int, progress: Progress | None = None) -> Result:
    """Every exposure against two placebos and the days after, by the accumulators of heads."""
    protocol = Protocol(draws=draws, seed=seed, accumulate=accumulated)
    return real_exposure("exposure learn", people.records(outcome), protocol, progress=progress)[0]


def folds(
    people: People, outcome: str, learn: Callable[[Followed], ExposureDose], *, seed: int
) -> tuple[Result | None, str]:
    """What the law explains in people never taught, floors beside where the record is long enough; a note."""

    def fit(train: dose.Followed) -> Told:
        head = learn(Followed(train.exposures, train.outcome, train.day))
        return Told(lambda exposures, day: head.effect(exposures)[0].value, head.law.numbers)

    told = people.followed
    asked = dose.Followed(told.exposures, told.outcome, told.day)
    try:
        found = dose_folds.explained(outcome, asked, DoseModel(fit, "ours"), group=people.group, folds=FOLDS, seed=seed)
    except HdtError as error:
        return None, f"what the law explains in people never taught is not known: {error.problem.lower()}"
    alone = "" if found.required_baselines else f"no floors beside: too few days after the first {dose.BURN_IN}"
    return found, alone


def verdicts(head: ExposureDose, tried: Result) -> dict[str, dict[str, Any]]:
    """Of each exposure: in words, and whether its effect is reliable.

    It must be beyond both placebos among all exposures of the table, tell nothing by the days after, and be telling in
    the law beside the other exposures: two that go together would else both be found for what one of them does.
    """
    rows = {row.model: row for row in tried.rows if row.role == "ours"}
    otherwise = NOT_ITS_OWN if len(rows) > 1 else NOTHING
    return {name: _verdict(rows[name], chance, otherwise) for name, chance in head.chance.items()}


def overall(kinds: Mapping[str, Mapping[str, Any]]) -> str:
    """Of the whole law: names what is reliable, or says that nothing is."""
    found = [name for name, one in kinds.items() if one["reliable"]]
    if found:
        return f"{FOUND}: {', '.join(found)}"
    return TOO_LITTLE if all(one["verdict"] == TOO_LITTLE for one in kinds.values()) else NOTHING


def numbers_of(head: ExposureDose, units: Sequence[str], outcome_unit: str) -> list[dict[str, Any]]:
    """All numbers of the law with their 95 % intervals and units."""
    law = head.law
    of = dict(zip(law.exposures, units, strict=True))
    found = []
    for name, number in head.numbers().items():
        sides = (number.value, number.low, number.high)
        told = dict(zip(("value", "low", "high"), (_known(side) for side in sides), strict=True))
        found.append({"name": name, **told, "unit": _unit(name, of, outcome_unit)})
    return found


def called_wrong(misfit: float) -> bool:
    """Whether the form is."""
    return misfit < WRONG


def _verdict(row: Row, chance: float, otherwise: str) -> dict[str, Any]:
    said = str(row.columns["verdict"])
    if said == FOUND and not chance < LEVEL:
        said = otherwise
    named = {name: row.columns.get(name) for name in ("p", "p_in_table", "p_days_after", "days")}
    return {"verdict": said, "reliable": said == FOUND, "chance": _known(chance), "people": row.n, **named}


def _unit(name: str, units: Mapping[str, str], outcome_unit: str) -> str:
    if name.startswith("time constant of "):
        return "d"
    for kind, unit in units.items():
        if name.endswith(f"knot of {kind}"):
            return unit
    many = [unit for kind, unit in units.items() if kind in name.split(" with ") or name.startswith(f"{kind} ")]
    return " per ".join([outcome_unit, " x ".join(many)])


def _known(value: float) -> float | None:
    return float(f"{value:.6g}") if np.isfinite(value) else None

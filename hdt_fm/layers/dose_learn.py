"""From what people were exposed to and what came of it to a law of doses: which days count, the search, the check."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float

from hdt_fm.layers.accumulators import Held, leaky, leaky_by_step
from hdt_fm.layers.dose_fit import Fitted, candidates, chance_of_none, refine, search
from hdt_fm.layers.dose_law import DoseLaw, Form, three
from hdt_fm.layers.within_people import Season, WithinPeople
from hdt_fm.schema.errors import ConfigError

# Time constants that are tried, in steps.
SHORTEST, LONGEST, TRIED = 0.5, 120.0, 18
# Checks look at each third of these: neighbours tell nearly the same.
EVERY_TESTED = 3
FEWEST_PEOPLE = 5
# Share of a dose's weights that fall on days since a person's first known one.
BURNT_IN = 0.9
# Burn-in takes no more of a recording, however long a time constant may be: one that does nothing can have any.
MOST_BURN_IN = 1 / 3
# What is unseen is learned where all was seen, by forgetting what came before some days.
FORGET_EVERY, LOOK_STEPS = 40, 40
SAME = 1e-9

Exposures = Float[np.ndarray, "person exposure step"]


@dataclass(frozen=True)
class Learned:
    """What people have in common.

    Attributes:
        fitted: Numbers of the law.
        people: That taught.
        middle: Dose of half of their days.
        unseen: SD of what a dose misses for each share of its mass that was not seen, in units of the exposure.
        chance: How often each exposure would look as telling if it did nothing.
        misfit: How often as much of other doses, bends and products would be left over if the law were right.
    """

    fitted: Fitted
    people: int
    middle: Float[np.ndarray, " exposure"]
    unseen: Float[np.ndarray, " exposure"]
    chance: Float[np.ndarray, " exposure"]
    misfit: float


def held_of(exposures: Exposures, taus: Float[np.ndarray, "exposure tau"], *, start: Held) -> tuple[Held, Held]:
    """Each exposure under its own time constants, in steps: (person, exposure, step, tau), and after the last step."""
    one = torch.ones(1, dtype=torch.float64)
    found = []
    for place, tau in enumerate(taus):
        before = Held(start.total[:, place], start.mass[:, place])
        values = torch.from_numpy(np.ascontiguousarray(exposures[:, place], dtype=np.float64))
        found.append(leaky(values, one.expand(values.shape), torch.from_numpy(np.ascontiguousarray(tau)), start=before))
    along, last = zip(*found, strict=True)
    return _stacked(along), _stacked(last)


def held_from_nothing(exposures: Exposures, taus: Float[np.ndarray, "exposure tau"]) -> Held:
    """As `held_of` from the first step on, but for rounding, and ten times as fast."""
    return _stacked(tuple(leaky_by_step(exposures[:, place], tau) for place, tau in enumerate(taus)))


def _stacked(held: tuple[Held, ...]) -> Held:
    return Held(torch.stack([one.total for one in held], dim=1), torch.stack([one.mass for one in held], dim=1))


def doses_at(
    exposures: Exposures, taus: Float[np.ndarray, "_ tau"], rows: Bool[np.ndarray, "person step"]
) -> Float[np.ndarray, "tau row _"]:
    """Of the rows alone: (tau, row, exposure)."""
    return _of_rows(held_from_nothing(exposures, taus), rows)


def _of_rows(held: Held, rows: Bool[np.ndarray, "person step"]) -> Float[np.ndarray, "tau row _"]:
    out: np.ndarray = held.dose.numpy().transpose(3, 0, 2, 1)[:, rows]
    return out


def rows_that_count(
    exposures: Exposures, outcome: Float[np.ndarray, "person step"], taus: Float[np.ndarray, "_ _"], enough: float
) -> Bool[np.ndarray, "person step"]:
    """Days with an outcome, enough seen of every dose and burn-in over, of people with more than a day of these.

    A dose that still guesses its past is off, and what is off looks as if it did less: slopes and time constants both
    came out 5 % too small where days of burn-in taught.

    Raises:
        ConfigError: If these are too few people for an interval.
    """
    longest = MOST_BURN_IN * outcome.shape[1] / -np.log(1 - BURNT_IN)
    begun = np.where(np.isfinite(exposures).cumsum(axis=2) > 0, 0.0, np.nan)
    both = (begun, taus.clip(max=longest)), (exposures, taus)
    burnt, mass = (held_from_nothing(values, some).mass[..., 0].numpy() for values, some in both)
    rows: np.ndarray = np.isfinite(outcome) & (mass >= enough).all(axis=1) & (burnt >= BURNT_IN - SAME).all(axis=1)
    rows &= (rows.sum(axis=1) > 1)[:, None]
    people = int(rows.any(axis=1).sum())
    if people < FEWEST_PEOPLE:
        raise ConfigError(
            "Too few people have days to learn from",
            where="ExposureDose.learn",
            expected=f"{FEWEST_PEOPLE} people with outcomes known after burn-in, when exposures were known too",
            got=str(people),
        )
    return rows


def learn_doses(
    law: DoseLaw,
    exposures: Exposures,
    outcome: Float[np.ndarray, "person step"],
    day: Float[np.ndarray, "person step"],
    *,
    season: Season,
    enough: float,
    rng: np.random.Generator,
) -> Learned:
    """All of it.

    Raises:
        ConfigError: If too few people have days to learn from, or an exposure never varies within them.
    """
    tried = np.geomspace(SHORTEST, LONGEST, TRIED)
    every = held_from_nothing(exposures, np.tile(tried, (len(law.forms), 1)))
    middle = np.full((len(law.forms), 1), tried[TRIED // 2])
    rows = rows_that_count(exposures, outcome, middle, enough)
    within = _within(rows, day, season)
    _refuse_constants(law, within, _of_rows(every, rows)[TRIED // 2])
    start = search(law, within, outcome[rows], _of_rows(every, rows), tried)
    # Which days count goes by the time constants that were found, and is then kept.
    rows = rows_that_count(exposures, outcome, np.exp(start.log_tau)[:, None], enough)
    within, known = _within(rows, day, season), outcome[rows]
    fitted = refine(law, within, known, lambda taus: doses_at(exposures, taus, rows), start)
    near = doses_at(exposures, three(np.exp(fitted.log_tau)), rows)
    dose, columns = near[1], law.columns(near[1], fitted.knots)
    wide = _of_rows(every, rows)[::EVERY_TESTED]
    chance = []
    for place in range(len(law.forms)):
        tested = candidates(law, place, wide[:, :, place])[0]
        others = [np.delete(columns, law.slopes_of(place), axis=1)]
        chance.append(chance_of_none(within, known, tested, others if others[0].size else [], rng))
    # What the numbers' own doubt could be is no misfit.
    law_too = [columns, law.bends(near, fitted.knots, fitted.slopes)]
    misfit = chance_of_none(within, known, _other_columns(law, wide, dose), law_too, rng)
    unseen = np.array([unseen_sd(exposures[:, place], tau) for place, tau in enumerate(np.exp(fitted.log_tau))])
    return Learned(fitted, within.people, np.median(dose, axis=0), unseen, np.array(chance), misfit)


def _refuse_constants(law: DoseLaw, within: WithinPeople, dose: Float[np.ndarray, "row exposure"]) -> None:
    still = np.abs(within.left(dose)).max(axis=0) <= SAME * np.abs(dose).max(axis=0)
    if still.any():
        raise ConfigError(
            "An exposure never varies within people",
            where="ExposureDose.learn",
            expected="days that differ, beyond the season",
            got=", ".join(name for name, one in zip(law.exposures, still, strict=True) if one),
            fix="leave it out",
        )


def _other_columns(law: DoseLaw, wide: np.ndarray, dose: np.ndarray) -> list[np.ndarray]:
    """Hinges of doses of many time constants, and products of two doses."""
    places = range(len(law.forms))
    hinges: list[Form] = ["hinge"] * len(law.forms)
    bent = DoseLaw(law.exposures, tuple(hinges))
    found = [column for place in places for column in candidates(bent, place, wide[:, :, place])[0]]
    off = dose - dose.mean(axis=0)
    return found + [(off[:, one] * off[:, other])[:, None] for one in places for other in places if one < other]


def _within(rows: Bool[np.ndarray, "person step"], day: np.ndarray, season: Season) -> WithinPeople:
    return WithinPeople(np.nonzero(rows)[0], day[rows], season=season)


def unseen_sd(values: Float[np.ndarray, "person step"], tau: float) -> float:
    """What doses miss for each share of their mass that was not seen: the past of people is hidden, and dosed again."""
    taus = np.array([[tau]])
    whole = held_from_nothing(values[:, None], taus)
    missed, share = 0.0, 0.0
    for first in range(FORGET_EVERY, values.shape[1], FORGET_EVERY):
        some = slice(first, first + LOOK_STEPS)
        cut = held_from_nothing(values[:, None, some], taus)
        off = (cut.dose - whole.dose[:, :, some]).numpy()
        known = np.isfinite(off)
        missed += float(np.square(off[known]).sum())
        share += float(np.square((1 - cut.mass / whole.mass[:, :, some]).numpy()[known]).sum())
    return float(np.sqrt(missed / share)) if share else float("nan")

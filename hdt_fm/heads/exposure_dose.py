"""What exposures of weeks do to an outcome: how long each is kept, from which dose on it counts, and how much.

Learned from many people on one grid of steps (days); each person is compared with themselves alone, and what goes with
the season is put down to the season. Then a person's doses follow from exposures as they come, and what these doses do
follows for people whose outcome was never seen. An effect here is what goes with a dose within people at the same time
of the year. It is no proof that the one makes the other: what varies with an exposure and was not given may do it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student

from hdt_fm.layers.accumulators import nothing_held
from hdt_fm.layers.dose_law import STEP, DoseLaw, Form, three
from hdt_fm.layers.dose_learn import Learned, held_of, learn_doses
from hdt_fm.layers.dose_plain import KeptLaw, from_plain, plain_of
from hdt_fm.layers.dose_told import Dosed, DoseState, Effects, Followed, Number
from hdt_fm.layers.within_people import Season
from hdt_fm.schema.errors import CheckpointError, ConfigError, ShapeError

__all__ = ["DoseState", "Dosed", "Effects", "ExposureDose", "Followed", "Number", "first_that_fits"]

LEVEL, WRONG = 0.95, 0.05


class ExposureDose:
    """Learned by `learn`; then doses and effects of anybody.

    Args:
        exposures: Names, in the order of `Followed.exposures`.
        forms: What each does; "hinge" for all if left out. Where `misfit` is small, try "ramp".
        pairs: Names of two exposures that matter together.
        season: "shared": one for all people; "own": each person's; "none" only where nothing has a season.
        enough: Share of what counts that must be seen for a dose; the start of a recording and long gaps have less.

    Raises:
        ConfigError: If a form or a pair is not possible, or `enough` is no share.
    """

    def __init__(
        self,
        *,
        exposures: Sequence[str],
        forms: Sequence[Form] | None = None,
        pairs: Sequence[tuple[str, str]] = (),
        season: Season = "shared",
        enough: float = 0.2,
    ) -> None:
        names = tuple(exposures)
        unknown = {name for pair in pairs for name in pair} - set(names)
        if unknown or not 0 < enough < 1 or season not in ("shared", "own", "none"):
            raise ConfigError(
                "The dose head cannot be built",
                where="ExposureDose",
                expected="pairs of its exposures; a share between 0 and 1; a season that is shared, own or none",
                got=f"pairs {list(pairs)}, enough {enough:g}, season {season!r}",
            )
        places = tuple((names.index(one), names.index(other)) for one, other in pairs)
        hinges: list[Form] = ["hinge"] * len(names)
        self.law = DoseLaw(names, tuple(forms or hinges), places)
        self.season, self.enough = season, enough
        self._learned: Learned | None = None

    @property
    def learned(self) -> Learned:
        """What was learned.

        Raises:
            ConfigError: If there was nobody to learn from yet.
        """
        if self._learned is None:
            raise ConfigError("Nothing was learned yet", where="ExposureDose", fix="call `learn` with training people")
        return self._learned

    @property
    def taus(self) -> Float[np.ndarray, " exposure"]:
        """Time constants, in steps."""
        out: np.ndarray = np.exp(self.learned.fitted.log_tau)
        return out

    @property
    def chance(self) -> dict[str, float]:
        """Of each exposure, how often it would look as telling if it did nothing: above .05, no reliable effect."""
        return dict(zip(self.law.exposures, map(float, self.learned.chance), strict=True))

    @property
    def misfit(self) -> float:
        """How often as much would be left over if the law were right: below .05, try other forms or pairs, or do not
        trust it."""
        return self.learned.misfit

    def learn(self, followed: Followed, *, seed: int = 0) -> None:
        """Learn from training people.

        Args:
            seed: Of the signs behind `chance`.

        Raises:
            ShapeError: If there are other exposures than were named.
            ConfigError: If too few people have days to learn from, or an exposure never varies within them.
        """
        self._check(followed.exposures)
        self._learned = learn_doses(
            self.law,
            followed.exposures,
            followed.outcome,
            followed.day,
            season=self.season,
            enough=self.enough,
            rng=np.random.default_rng(seed),
        )

    def numbers(self) -> dict[str, Number]:
        """All that was learned, by name: time constants in steps, knots in units of the exposure, slopes."""
        fitted = self.learned.fitted
        taus = len(fitted.log_tau)
        values = np.concatenate([fitted.log_tau, fitted.knots, fitted.slopes])
        reach = np.where(fitted.held, np.nan, self._reach() * np.sqrt(np.diag(fitted.spread)))
        sides = np.stack([values, values - reach, values + reach])
        with np.errstate(over="ignore"):
            sides[:, :taus] = np.exp(sides[:, :taus])
        names = (*self.law.bent_names, *self.law.slope_names)
        return {name: Number(*map(float, side)) for name, side in zip(names, sides.T, strict=True)}

    def begin(self, people: int = 1) -> DoseState:
        """The state of people of whom nothing was seen."""
        return DoseState(nothing_held(people, len(self.law.exposures), 3), self.taus)

    def dose(
        self, exposures: Float[np.ndarray, "person exposure step"], state: DoseState | None = None
    ) -> tuple[Dosed, DoseState]:
        """Doses of each step, by exposures up to it, and the state to go on from; pieces give the same as one pass.

        Raises:
            ShapeError: If there are other exposures than were named, or other people in the state.
            CheckpointError: If the state was kept for other time constants.
        """
        doses, seen, after = self._doses(exposures, state)
        held = np.where((seen >= self.enough)[None], doses, np.nan)
        learned = self.learned
        sd = np.sqrt(np.diag(learned.fitted.spread))[: len(self.taus), None]
        slope = (held[2] - held[0]) / (2 * STEP)
        reach = self._reach() * np.hypot(sd * slope, learned.unseen[:, None] * (1 - seen))
        return Dosed(held[1], held[1] - reach, held[1] + reach, seen), after

    def effect(
        self, exposures: Float[np.ndarray, "person exposure step"], state: DoseState | None = None
    ) -> tuple[Effects, DoseState]:
        """What doses do to the outcome, and the state to go on from.

        Raises:
            As `dose`.
        """
        doses, seen, after = self._doses(exposures, state)
        people, places, steps = exposures.shape
        rows = doses.transpose(0, 1, 3, 2).reshape(3, -1, places)
        learned, fitted, taus = self.learned, self.learned.fitted, len(self.taus)
        middle = learned.middle[None]
        columns = self.law.columns(rows[1], fitted.knots) - self.law.columns(middle, fitted.knots)
        bends = self.law.bends(rows, fitted.knots, fitted.slopes)
        # The middle dose is what people were exposed to: no time constant moves it.
        still = self.law.bends(np.stack([middle] * 3), fitted.knots, fitted.slopes)
        bends[:, taus:] -= still[:, taus:]
        moves = np.concatenate([bends, columns], axis=1)
        by_dose = self.law.bends(_beside(rows[1]), fitted.knots, fitted.slopes)[:, :taus]
        guessed = (learned.unseen[:, None] * (1 - seen)).transpose(0, 2, 1).reshape(-1, places) * by_dose
        spread = np.einsum("ri,ij,rj->r", moves, fitted.spread, moves) + np.square(guessed).sum(axis=1)
        reach = (self._reach() * np.sqrt(spread.clip(min=0.0))).reshape(people, steps)
        known = (seen >= self.enough).all(axis=1)
        value = np.where(known, (columns @ fitted.slopes).reshape(people, steps), np.nan)
        return Effects(value, value - reach, value + reach), after

    def plain(self) -> dict[str, Any]:
        """All that it is, as lists, numbers and words, of which `of` makes it again."""
        return plain_of(KeptLaw(self.law, self.season, self.enough, self.learned))

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "ExposureDose":
        """The same as the one whose `plain` this is; it may come from others.

        Raises:
            CheckpointError: If it is of another format, or cannot be.
        """
        kept = from_plain(plain)
        names = kept.law.exposures
        pairs = [(names[one], names[other]) for one, other in kept.law.pairs]
        made = cls(exposures=names, forms=kept.law.forms, pairs=pairs, season=kept.season, enough=kept.enough)
        made._learned = kept.learned
        return made

    def _reach(self) -> float:
        return float(student.ppf(0.5 + LEVEL / 2, self.learned.people - 1))

    def _doses(
        self, exposures: Float[np.ndarray, "person exposure step"], state: DoseState | None
    ) -> tuple[Float[np.ndarray, "tau person exposure step"], Float[np.ndarray, "person exposure step"], DoseState]:
        """At three time constants each, what was seen, and the state after."""
        self._check(exposures)
        state = self.begin(len(exposures)) if state is None else state
        if len(state.held.total) != len(exposures) or state.held.total.shape[1] != len(self.taus):
            raise ShapeError("A state is not of these people", where="ExposureDose", expected="a row for each person")
        if not np.array_equal(state.taus, self.taus):
            raise CheckpointError(
                "Doses were kept for other time constants",
                where="ExposureDose",
                fix="dose the exposures anew from their first day on: `begin`, then all of them",
            )
        along, last = held_of(exposures, three(self.taus), start=state.held)
        doses = np.moveaxis(along.dose.numpy(), 3, 0)
        return doses, along.mass[..., 1].numpy(), DoseState(last, state.taus)

    def _check(self, exposures: np.ndarray) -> None:
        if exposures.shape[1] != len(self.law.exposures):
            raise ShapeError(
                "Exposures are not those that were named",
                where="ExposureDose",
                expected=f"(person, {len(self.law.exposures)}, step): {', '.join(self.law.exposures)}",
                got=str(exposures.shape),
            )


def first_that_fits(
    followed: Followed,
    *,
    exposures: Sequence[str],
    tried: Sequence[Form] = ("hinge", "ramp"),
    pairs: Sequence[tuple[str, str]] = (),
    season: Season = "shared",
    seed: int = 0,
) -> ExposureDose:
    """Learn one form for all exposures after the other until one is not called wrong; the last one if all are.

    Raises:
        ConfigError: If no form is tried; else as `ExposureDose` and its `learn`.
    """
    if not tried:
        raise ConfigError("No form is tried", where="first_that_fits", expected="one or more")
    for form in tried:
        made = ExposureDose(exposures=exposures, forms=(form,) * len(exposures), pairs=pairs, season=season)
        made.learn(followed, seed=seed)
        if made.misfit >= WRONG:
            break
    return made


def _beside(doses: Float[np.ndarray, "row exposure"]) -> Float[np.ndarray, "side row exposure"]:
    """A little less, as they are, and a little more."""
    return np.stack([doses - STEP, doses, doses + STEP])

"""What exposures of weeks do to an outcome: how long each is kept, from which dose on it counts, and how much.

Learned from many people on one grid of steps (days); each person is compared with themselves alone, and what goes with
the season is put down to the season. Then a person's doses follow from exposures as they come, and what these doses do
follows for people whose outcome was never seen. An effect here is what goes with a dose within people at the same time
of the year. It is no proof that the one makes the other: what varies with an exposure and was not given may do it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student

from hdt_fm.layers.accumulators import Held, nothing_held
from hdt_fm.layers.dose_fit import Fitted
from hdt_fm.layers.dose_law import STEP, DoseLaw, Form, three
from hdt_fm.layers.dose_learn import Learned, held_of, learn_doses
from hdt_fm.layers.within_people import Season
from hdt_fm.schema.errors import CheckpointError, ConfigError, ShapeError

FORMAT = 1
LEVEL, WRONG = 0.95, 0.05
_ARRAYS = {"fitted": ("log_tau", "knots", "slopes", "spread", "held"), "learned": ("middle", "unseen", "chance")}


@dataclass(frozen=True)
class Followed:
    """People on one grid; a person a row, recordings of one person in one row with NaN between.

    Attributes:
        exposures: In their units; NaN where not known.
        outcome: NaN where not known.
        day: Of the calendar, for the season; the same calendar for all.

    Raises:
        ShapeError: If these do not fit, or a day is not known.
    """

    exposures: Float[np.ndarray, "person exposure step"]
    outcome: Float[np.ndarray, "_ _"]
    day: Float[np.ndarray, "_ _"]

    def __post_init__(self) -> None:
        people, _, steps = self.exposures.shape
        if not self.outcome.shape == self.day.shape == (people, steps) or not np.isfinite(self.day).all():
            raise ShapeError(
                "What was followed does not hold together",
                where="Followed",
                expected="exposures (person, exposure, step), outcome and finite day (person, step)",
                got=", ".join(str(one.shape) for one in (self.exposures, self.outcome, self.day)),
            )


@dataclass(frozen=True)
class Number:
    """A learned number and its 95 % interval over people; NaN bounds where it met a limit: the data did not say."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Dosed:
    """Doses at the end of each step, in units of the exposure.

    Attributes:
        value: NaN where too little of what counts was seen.
        low, high: 95 % by what the time constant and the unseen leave open; not how people differ.
        seen: Share of all that counts that was seen.
    """

    value: Float[np.ndarray, "person exposure step"]
    low: Float[np.ndarray, "person exposure step"]
    high: Float[np.ndarray, "person exposure step"]
    seen: Float[np.ndarray, "person exposure step"]


@dataclass(frozen=True)
class Effects:
    """What doses do, in the outcome's unit, against the middle dose of training people.

    Attributes:
        value: NaN where too little of what counts was seen of an exposure.
        low, high: 95 % by what training people and what was not seen leave open; not how people differ.
    """

    value: Float[np.ndarray, "person step"]
    low: Float[np.ndarray, "person step"]
    high: Float[np.ndarray, "person step"]


@dataclass(frozen=True)
class DoseState:
    """All that is kept of people's exposures: six numbers for each exposure, and for which time constants.

    Attributes:
        held: (person, exposure, 3): a step below the time constant, at it, a step above.
        taus: In steps.
    """

    held: Held
    taus: Float[np.ndarray, " exposure"]

    def arrays(self) -> dict[str, Float[np.ndarray, "..."]]:
        """Plain copies, of which `of` makes it again."""
        return {**self.held.arrays(), "taus": self.taus.copy()}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "DoseState":
        """The same as the one whose `arrays` these are.

        Raises:
            ShapeError: If they are no state.
        """
        held, taus = Held.of(arrays), np.asarray(arrays.get("taus", np.zeros(0)), dtype=np.float64)
        if held.total.ndim != 3 or held.total.shape[1:] != (*taus.shape, 3):
            raise ShapeError("A dose's state does not hold together", expected="(person, exposure, 3), a tau for each")
        return cls(held, taus.copy())


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
        learned, names = self.learned, self.law.exposures
        parts = {"fitted": learned.fitted, "learned": learned}
        arrays = {name: getattr(parts[of], name).tolist() for of, some in _ARRAYS.items() for name in some}
        return {
            "format": FORMAT,
            "exposures": list(names),
            "forms": list(self.law.forms),
            "pairs": [[names[one], names[other]] for one, other in self.law.pairs],
            "season": self.season,
            "enough": self.enough,
            "people": learned.people,
            "noise": learned.fitted.noise,
            "misfit": learned.misfit,
            **arrays,
        }

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "ExposureDose":
        """The same as the one whose `plain` this is.

        Raises:
            CheckpointError: If it is of another format, or its numbers do not fit its law.
        """
        if plain.get("format") != FORMAT:
            got = str(plain.get("format"))
            raise CheckpointError(
                "A dose head is of another format", expected=str(FORMAT), got=got, fix="learn it anew"
            )
        made = cls(
            exposures=plain["exposures"],
            forms=plain["forms"],
            pairs=[(one, other) for one, other in plain["pairs"]],
            season=plain["season"],
            enough=float(plain["enough"]),
        )
        arrays = {name: np.array(plain[name], dtype=np.float64) for some in _ARRAYS.values() for name in some}
        law, all_numbers = made.law, made.law.numbers
        wanted = {"log_tau": len(law.forms), "knots": len(law.bending), "slopes": len(law.slope_names)}
        fits = all(arrays[name].shape == (count,) for name, count in wanted.items())
        if not fits or arrays["spread"].shape != (all_numbers, all_numbers) or arrays["held"].shape != (all_numbers,):
            raise CheckpointError("A dose head's numbers do not fit its law", expected=f"{all_numbers} numbers")
        fitted = Fitted(
            log_tau=arrays["log_tau"],
            knots=arrays["knots"],
            slopes=arrays["slopes"],
            spread=arrays["spread"],
            held=arrays["held"].astype(np.bool_),
            noise=float(plain["noise"]),
        )
        made._learned = Learned(
            fitted=fitted,
            people=int(plain["people"]),
            middle=arrays["middle"],
            unseen=arrays["unseen"],
            chance=arrays["chance"],
            misfit=float(plain["misfit"]),
        )
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

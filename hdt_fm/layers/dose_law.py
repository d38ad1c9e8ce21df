"""What doses do together: for each exposure one form of its leaky dose, and products of two of them.

outcome = own mean + calendar + sum over columns of slope column(dose, knot) + noise

Numbers of the law: a time constant for each exposure, a knot for each form that has one, a slope for each column.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from hdt_fm.schema.errors import ConfigError

# hinge: nothing below the knot; below: nothing above it; bent: two slopes; ramp: nothing below one knot, no more above
# another.
Form = Literal["line", "hinge", "below", "bent", "ramp"]
_SLOPES: dict[str, tuple[str, ...]] = {
    "line": ("per unit",),
    "hinge": ("above the knot",),
    "below": ("below the knot",),
    "bent": ("per unit", "bend at the knot"),
    "ramp": ("between the knots",),
}
_KNOTS: dict[str, tuple[str, ...]] = {
    "line": (),
    "hinge": ("knot",),
    "below": ("knot",),
    "bent": ("knot",),
    "ramp": ("lower knot", "upper knot"),
}
STEP = 1e-4


@dataclass(frozen=True)
class DoseLaw:
    """Which columns there are.

    Attributes:
        exposures: Their names.
        forms: Of each.
        pairs: Places of two exposures whose last columns are multiplied.

    Raises:
        ConfigError: If a form is none, or a pair is not of two different exposures.
    """

    exposures: tuple[str, ...]
    forms: tuple[Form, ...]
    pairs: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        known = len(self.forms) == len(self.exposures) > 0 and all(form in _SLOPES for form in self.forms)
        if not known or len(set(self.exposures)) < len(self.exposures):
            raise ConfigError(
                "The law of doses cannot be built",
                where="DoseLaw",
                expected=f"a form for each exposure, each exposure once; forms are {', '.join(_SLOPES)}",
                got=f"{len(self.exposures)} exposures, {len(self.forms)} forms",
            )
        whole = range(len(self.exposures))
        if not all(first in whole and second in whole and first != second for first, second in self.pairs):
            raise ConfigError("A pair is not of two exposures", where="DoseLaw", expected="places of two of them")

    @property
    def bending(self) -> tuple[int, ...]:
        """Of each knot the place of its exposure."""
        return tuple(place for place, form in enumerate(self.forms) for _ in _KNOTS[form])

    @property
    def bent_names(self) -> tuple[str, ...]:
        """Of the numbers that columns bend with: time constants, then knots."""
        taus = [f"time constant of {name}" for name in self.exposures]
        forms = zip(self.exposures, self.forms, strict=True)
        return (*taus, *(f"{word} of {name}" for name, form in forms for word in _KNOTS[form]))

    @property
    def slope_names(self) -> tuple[str, ...]:
        own = [
            f"{name} {word}" for name, form in zip(self.exposures, self.forms, strict=True) for word in _SLOPES[form]
        ]
        return (*own, *(f"{self.exposures[one]} with {self.exposures[other]}" for one, other in self.pairs))

    @property
    def numbers(self) -> int:
        """How many are learned, means and calendar apart."""
        return len(self.bent_names) + len(self.slope_names)

    def slopes_of(self, place: int) -> list[int]:
        """Columns in which an exposure has a part."""
        many = [len(_SLOPES[form]) for form in self.forms]
        first = sum(many[:place])
        pairs = [sum(many) + at for at, pair in enumerate(self.pairs) if place in pair]
        return [*range(first, first + many[place]), *pairs]

    def own_columns(
        self, place: int, dose: Float[np.ndarray, " row"], knots: Float[np.ndarray, " _"]
    ) -> Float[np.ndarray, "row column"]:
        """Of one exposure, by its own knots."""
        above = (dose[:, None] - knots).clip(min=0.0)
        match self.forms[place]:
            case "line":
                return dose[:, None]
            case "hinge":
                return above
            case "below":
                out: np.ndarray = (knots - dose[:, None]).clip(min=0.0)
                return out
            case "bent":
                return np.concatenate([dose[:, None], above], axis=1)
            case "ramp":
                return above[:, :1] - above[:, 1:]

    def columns(
        self, doses: Float[np.ndarray, "row exposure"], knots: Float[np.ndarray, " knot"]
    ) -> Float[np.ndarray, "row column"]:
        """All: of each exposure, then of pairs."""
        own = self._own(doses, knots)
        pairs = [(own[one][:, -1] * own[other][:, -1])[:, None] for one, other in self.pairs]
        return np.concatenate([*own, *pairs], axis=1)

    def parts(
        self,
        doses: Float[np.ndarray, "row exposure"],
        middle: Float[np.ndarray, " exposure"],
        knots: Float[np.ndarray, " knot"],
        slopes: Float[np.ndarray, " column"],
    ) -> Float[np.ndarray, "row part"]:
        """What the effect against middle doses is made of: each exposure, then each pair; they add up to it.

        An exposure's part is what it does while all others are at their middle dose, a pair's what its two do beyond
        their own parts. So what is at its middle dose has none, and parts are the same in every unit of a dose; with a
        plain product of two columns they would hang on where a unit has its zero.
        """
        still = middle[None]
        whole, last = self.columns(still, knots), self._last(doses, knots) - self._last(still, knots)
        found = []
        for place in range(len(self.forms)):
            moved = np.repeat(still, len(doses), axis=0)
            moved[:, place] = doses[:, place]
            found.append((self.columns(moved, knots) - whole) @ slopes)
        of_pairs = slopes[len(slopes) - len(self.pairs) :]
        both = zip(of_pairs, self.pairs, strict=True)
        found += [slope * last[:, one] * last[:, other] for slope, (one, other) in both]
        return np.stack(found, axis=1)

    def bends(
        self,
        doses: Float[np.ndarray, "tau row exposure"],
        knots: Float[np.ndarray, " knot"],
        slopes: Float[np.ndarray, " column"],
    ) -> Float[np.ndarray, "row bent"]:
        """How the effect moves with the log of each time constant and with each knot.

        Args:
            doses: At each time constant times exp(-STEP), at itself, and times exp(STEP).
        """
        out = []
        for place in range(len(self.forms)):
            sides = []
            for side in (0, 2):
                moved = doses[1].copy()
                moved[:, place] = doses[side][:, place]
                sides.append(self.columns(moved, knots) @ slopes)
            out.append((sides[1] - sides[0]) / (2 * STEP))
        for at in range(len(knots)):
            step = STEP * np.eye(len(knots))[at] * max(abs(float(knots[at])), 1.0)
            up, down = (self.columns(doses[1], knots + sign * step) @ slopes for sign in (1, -1))
            out.append((up - down) / (2 * step[at]))
        return np.stack(out, axis=1)

    def _own(
        self, doses: Float[np.ndarray, "row exposure"], knots: Float[np.ndarray, " knot"]
    ) -> list[Float[np.ndarray, "row _"]]:
        of = np.array(self.bending, dtype=np.int64)
        return [self.own_columns(place, doses[:, place], knots[of == place]) for place in range(len(self.forms))]

    def _last(
        self, doses: Float[np.ndarray, "row exposure"], knots: Float[np.ndarray, " knot"]
    ) -> Float[np.ndarray, "row exposure"]:
        """Of each exposure the column that pairs multiply."""
        return np.stack([one[:, -1] for one in self._own(doses, knots)], axis=1)


def three(taus: Sequence[float] | Float[np.ndarray, " exposure"]) -> Float[np.ndarray, "exposure tau"]:
    """Each time constant, a step less and a step more, as `DoseLaw.bends` wants doses."""
    out: np.ndarray = np.asarray(taus)[:, None] * np.exp(STEP * np.array([-1.0, 0.0, 1.0]))
    return out

"""A learned law of doses as plain words and numbers, and back; what comes from others is looked at before it is used.

Contract, version 1. Words MUST be those of a law. Numbers MUST be finite, but for what an exposure misses unseen, which
is null where recordings were too short to tell. Time constants MUST lie where learning looks for them, shares between 0
and 1, and the covariance MUST be one.
"""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from hdt_fm.layers.dose_fit import Fitted
from hdt_fm.layers.dose_law import DoseLaw, Form
from hdt_fm.layers.dose_learn import LONGEST, SHORTEST, Learned
from hdt_fm.layers.within_people import Season
from hdt_fm.schema.errors import CheckpointError, ConfigError

FORMAT = 1
# Past these, squares and products would no longer be numbers, and a law no longer one that people can read.
LARGEST, MOST_EXPOSURES = 1e12, 100
# By rounding: of the largest variance, and of logs and shares.
SAME = 1e-9
_ANEW = "learn it anew, or copy it again from where it was learned"


@dataclass(frozen=True)
class KeptLaw:
    """All that a dose head is.

    Attributes:
        law: Exposures, forms and pairs.
        season, enough: As the head was told them.
        learned: From training people.
    """

    law: DoseLaw
    season: Season
    enough: float
    learned: Learned


def plain_of(kept: KeptLaw) -> dict[str, Any]:
    """As lists, numbers and words, of which `from_plain` makes it again."""
    learned, fitted, names = kept.learned, kept.learned.fitted, kept.law.exposures
    return {
        "format": FORMAT,
        "exposures": list(names),
        "forms": list(kept.law.forms),
        "pairs": [[names[one], names[other]] for one, other in kept.law.pairs],
        "season": kept.season,
        "enough": kept.enough,
        "people": learned.people,
        "noise": fitted.noise,
        "misfit": learned.misfit,
        **{name: getattr(fitted, name).tolist() for name in ("log_tau", "knots", "slopes", "spread", "held")},
        **{name: getattr(learned, name).tolist() for name in ("middle", "chance")},
        "unseen": [one if math.isfinite(one) else None for one in learned.unseen.tolist()],
    }


def from_plain(plain: Mapping[str, Any]) -> KeptLaw:
    """The same as the one whose `plain_of` this is.

    Raises:
        CheckpointError: If it is of another format, its words are not those of a law, or its numbers do not fit it or
            cannot be.
    """
    number = plain.get("format")
    if number != FORMAT:
        got = f"format {number}" if isinstance(number, int) else "no number"
        raise CheckpointError("A dose head is of another format", expected=f"format {FORMAT}", got=got, fix=_ANEW)
    law, season = _words(plain)
    places, every, share = (len(law.forms),), law.numbers, (0.0, 1.0)
    unseen: Any = plain.get("unseen")
    blank = [one is None for one in unseen] if isinstance(unseen, list) else []
    told = _Numbers({**plain, "unseen": [0.0 if one is None else one for one in unseen] if blank else None})
    fitted = Fitted(
        log_tau=told.of("log_tau", places, (math.log(SHORTEST) - SAME, math.log(LONGEST) + SAME)),
        knots=told.of("knots", (len(law.bending),)),
        slopes=told.of("slopes", (len(law.slope_names),)),
        spread=_covariance(told.of("spread", (every, every), (-(LARGEST**2), LARGEST**2))),
        held=told.of("held", (every,), share).astype(np.bool_),
        noise=told.one("noise", (0.0, LARGEST)),
    )
    missed = told.of("unseen", places, (0.0, LARGEST))
    learned = Learned(
        fitted=fitted,
        people=int(told.one("people", (2.0, LARGEST))),
        middle=told.of("middle", places),
        unseen=np.where(blank, np.nan, missed),
        chance=told.of("chance", places, share),
        misfit=told.one("misfit", share),
    )
    return KeptLaw(law, season, told.one("enough", (SAME, 1 - SAME)), learned)


@dataclass(frozen=True)
class _Numbers:
    """Looked at by name."""

    plain: Mapping[str, Any]

    def of(self, name: str, shape: tuple[int, ...], limits: tuple[float, float] = (-LARGEST, LARGEST)) -> np.ndarray:
        """Of so many.

        Raises:
            CheckpointError: If they are no numbers, not so many, or beyond the limits.
        """
        try:
            found = np.array(self.plain.get(name))
        except (ValueError, OverflowError):
            found = np.array(None)
        if found.shape != shape or (found.size and found.dtype.kind not in "bif"):
            expected = f"{math.prod(shape)} numbers, as {shape}" if shape else "a number"
            raise CheckpointError("A dose head's numbers do not fit its law", where=name, expected=expected, fix=_ANEW)
        low, high = limits
        # NaN is on neither side.
        if not ((found >= low) & (found <= high)).all():
            expected = f"finite, between {low:.3g} and {high:.3g}"
            raise CheckpointError("A dose head's numbers cannot be", where=name, expected=expected, fix=_ANEW)
        return found.astype(np.float64)

    def one(self, name: str, limits: tuple[float, float]) -> float:
        """Of one.

        Raises:
            CheckpointError: As `of`.
        """
        return float(self.of(name, (), limits))


def _covariance(spread: np.ndarray) -> np.ndarray:
    size = np.sqrt(np.diag(spread).clip(min=0.0))
    size = np.where(size > 0, size, 1.0)
    unit = spread / size / size[:, None]
    # One number below 0 on the diagonal is a direction below 0.
    if np.abs(unit - unit.T).max() > SAME or np.linalg.eigvalsh(unit).min() < -SAME:
        raise CheckpointError(
            "A dose head's numbers cannot be",
            where="spread",
            expected="a covariance: alike on both sides of its diagonal, and no variance below 0 in any direction",
            fix=_ANEW,
        )
    return spread


def _words(plain: Mapping[str, Any]) -> tuple[DoseLaw, Season]:
    told: tuple[Any, ...] = tuple(plain.get(name) for name in ("exposures", "forms", "pairs", "season"))
    names, forms, pairs, season = told
    words = all(isinstance(one, list) for one in (names, forms, pairs)) and season in get_args(Season)
    words = words and len(names) <= MOST_EXPOSURES and all(isinstance(one, str) for one in names)
    words = words and all(one in get_args(Form) for one in forms)
    if words and all(isinstance(pair, list) and len(pair) == 2 and all(one in names for one in pair) for pair in pairs):
        places = tuple((names.index(one), names.index(other)) for one, other in pairs)
        with suppress(ConfigError):
            return DoseLaw(tuple(names), tuple(forms), places), season
    raise CheckpointError(
        "A dose head's words are not those of a law",
        where="exposures, forms, pairs, season",
        expected=f"names, each once; forms of {', '.join(get_args(Form))}; pairs of two names; a season",
        fix=_ANEW,
    )

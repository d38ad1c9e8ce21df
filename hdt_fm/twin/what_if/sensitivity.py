"""How strong something unseen had to be to bring what a person's record shows to nothing (Cinelli and Hazlett 2020).

A common cause that nobody wrote down (stress, sport, an illness) moves the slope by an amount that follows from two
numbers alone: which part it explains of what is left of the doses, and which of what is left of the outcome, when all
that was seen is held fixed. The robustness value is the part that it must explain of both for the slope to be 0. Beside
it stands how much of both the strongest thing that was seen explains.
"""

from dataclasses import dataclass, replace

import numpy as np

from hdt_fm.schema.what_if import Evidence
from hdt_fm.twin.what_if.evidence import HEADLINE_MINUTE, Slopes, Table, half_width, slopes, table_of

NEARLY_ALL = 0.999


@dataclass(frozen=True, kw_only=True)
class Strength:
    """Of a cause, as parts of what is left when the rest is held fixed (partial R2), 0 to 1.

    Attributes:
        with_taken: Of what was taken, by its effect in the law.
        with_outcome: Of what came, with what was taken held fixed as well.
    """

    with_taken: float
    with_outcome: float


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """NaN where the record is too short.

    Attributes:
        to_zero: Part of both that something unseen had to explain to bring the share to 0.
        to_doubt: The same to bring 0 into its 90 % interval; 0 where it is in already.
        strongest: Of what was seen of the moment, what moves the share most; None if nothing was seen.
    """

    to_zero: float
    to_doubt: float
    strongest: Strength | None


def sensitivity_of(evidence: Evidence, *, minute: int = HEADLINE_MINUTE) -> Sensitivity:
    """Of the share of the law's effect in a person's record."""
    table = table_of(evidence, minute)
    found = slopes(table, table.total)
    if not np.isfinite(found.slope[0]):
        return Sensitivity(to_zero=np.nan, to_doubt=np.nan, strongest=None)
    t = float(found.slope[0] / found.plain_error[0])
    # What actions of one day share widens the interval; it is taken to do so whatever is unseen.
    critical = float(half_width(found)[0] / found.plain_error[0])
    return Sensitivity(
        to_zero=robustness_value(t, found.freedom),
        to_doubt=robustness_value(t, found.freedom, critical=critical),
        strongest=strongest_seen(table),
    )


def robustness_value(t: float, freedom: int, *, critical: float = 0.0) -> float:
    """Part of what is left of both treatment and outcome that must be explained to bring t down to a critical one.

    Args:
        t: Of the slope, with the plain error; partial R2 do not know of days.
        freedom: Actions less numbers fitted.
        critical: t that still counts; 0 brings the slope itself to 0.

    Source: Cinelli and Hazlett 2020, their robustness value; where that asks for more than all of the outcome, the part
        of the treatment alone, as in their package.
    """
    strength, least = abs(t) / np.sqrt(freedom), critical / np.sqrt(freedom - 1)
    beyond = strength - least
    if beyond <= 0:
        return 0.0
    if strength * least > 1:
        return float((strength**2 - least**2) / (1 + strength**2))
    return float((np.sqrt(beyond**4 + 4 * beyond**2) - beyond**2) / 2)


def bias_of(strength: Strength, *, plain_error: float, freedom: int) -> float:
    """By how much something unseen of this strength moves a slope, in its unit and either way.

    Source: Cinelli and Hazlett 2020, omitted variable bias in terms of partial R2.
    """
    of_both = strength.with_outcome * strength.with_taken / (1 - strength.with_taken)
    return float(plain_error * np.sqrt(freedom * of_both))


def as_strong_as(seen: Strength) -> Strength:
    """Something unseen that explains as much as this did, of what is left when this is held fixed too.

    Source: Cinelli and Hazlett 2020, their bounds by what was seen, once as strong; more than nearly all is nearly all.
    """
    taken, outcome = (part / (1 - part) for part in (seen.with_taken, seen.with_outcome))
    if taken >= 1:
        return Strength(with_taken=NEARLY_ALL, with_outcome=NEARLY_ALL)
    by_what_was_taken = np.square(1 + taken) / (1 - taken**2)
    return Strength(with_taken=min(taken, NEARLY_ALL), with_outcome=min(float(by_what_was_taken * outcome), NEARLY_ALL))


def strongest_seen(table: Table) -> Strength | None:
    """Of the columns of the moment, the one whose like, were it unseen, would move the share most."""
    found = [strength_of(table, column) for column in range(1, table.moment.shape[1])]
    finite = [one for one in found if one.with_outcome < 1 and one.with_taken < 1]
    return max(finite, key=lambda one: one.with_outcome * one.with_taken / (1 - one.with_taken), default=None)


def strength_of(table: Table, column: int) -> Strength:
    """Of one column of the moment, the others held fixed."""
    one = table.moment[:, [column]]
    others = replace(table, moment=np.delete(table.moment, column, axis=1))
    of_outcome = slopes(others, one, beside=table.total)
    of_taken = slopes(replace(others, beyond=table.total[:, 0]), one)
    return Strength(with_taken=_part(of_taken), with_outcome=_part(of_outcome))


def _part(found: Slopes) -> float:
    squared = float(np.square(found.slope[0] / found.plain_error[0]))
    return squared / (squared + found.freedom)

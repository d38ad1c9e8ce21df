"""What a person's own record says of the law: the share of its effects that came, and how sure that is.

What came beyond the expected is laid on a line over what the law says of the doses and meals that were taken, with
what was known of the moment held fixed. A slope of 1 is the law, one half is half of it, 0 is nothing. It is an
association: it says what a plan would do only if nothing unseen moved both what was taken and what came.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import stdtrit

from hdt_fm.schema.what_if import Evidence

# Two hours after, most of a dose and of a meal has come, and few people have eaten again.
HEADLINE_MINUTE = 120
# With fewer, neither a slope nor its error means much.
LEAST_ACTIONS, LEAST_DAYS = 10, 4
# Actions left over beyond the numbers that are fitted; with fewer nearly any line goes through.
LEAST_LEFT = 5
INTERVAL = 0.9
# Part of a column's own spread below which the others tell it, so that nothing can be learned from what is left.
TOLD_BY_OTHERS = 1e-3


@dataclass(frozen=True, kw_only=True)
class Table:
    """What is known at one minute: rows whose outcome and effects are finite.

    Attributes:
        beyond: As in `Evidence`.
        effect: Of each treatment.
        moment: A one, then features at mean 0 and SD 1; where some are unknown, the mean and a column that says so.
    """

    beyond: Float[np.ndarray, " action"]
    effect: Float[np.ndarray, "action treatment"]
    moment: Float[np.ndarray, "action column"]
    day: Int[np.ndarray, " action"]

    @property
    def total(self) -> Float[np.ndarray, "action _"]:
        """Of all treatments together, as one column."""
        return self.effect.sum(axis=1, keepdims=True)

    @property
    def days(self) -> int:
        return len(np.unique(self.day))


@dataclass(frozen=True, kw_only=True)
class Slopes:
    """A line through one person's actions; NaN throughout where the record is too short or the columns tell each other.

    Attributes:
        slope: Of each column that was asked.
        error: Its standard error where actions of a day share what is missed (CR2).
        plain_error: The same as if actions were independent.
        freedom: Actions less numbers fitted; 0 where too short.
        days: That teach.
    """

    slope: Float[np.ndarray, " asked"]
    error: Float[np.ndarray, " asked"]
    plain_error: Float[np.ndarray, " asked"]
    freedom: int
    days: int


@dataclass(frozen=True, kw_only=True)
class OwnShare:
    """The share of the law's effect that a person's record shows; NaN where the record is too short.

    Attributes:
        low, high: 90 % interval.
        error: Standard error.
        actions, days: That it rests on.
        minute: After the action.
    """

    share: float
    low: float
    high: float
    error: float
    actions: int
    days: int
    minute: int


def headline(minutes: tuple[int, ...], asked: int = HEADLINE_MINUTE) -> int:
    """The nearest minute that there is; of two as near, the earlier."""
    return min(minutes, key=lambda minute: (abs(minute - asked), minute))


def table_of(evidence: Evidence, minute: int = HEADLINE_MINUTE) -> Table:
    """What is known at the minute nearest to this one."""
    column = evidence.minutes.index(headline(evidence.minutes, minute))
    beyond, effect = evidence.beyond[:, column], evidence.effect[:, :, column]
    rows = np.flatnonzero(np.isfinite(beyond) & np.isfinite(effect).all(axis=1))
    return Table(beyond=beyond[rows], effect=effect[rows], moment=_known(evidence.moment[rows]), day=evidence.day[rows])


def rows_of_days(day: Int[np.ndarray, " action"]) -> list[Int[np.ndarray, " own"]]:
    """Of each day in order, its rows as they stand."""
    order = np.argsort(day, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(day[order])) + 1)


def own_share(evidence: Evidence, *, minute: int = HEADLINE_MINUTE) -> OwnShare:
    """Of the effect of all that was taken together."""
    table = table_of(evidence, minute)
    found = slopes(table, table.total)
    share, wide = float(found.slope[0]), float(half_width(found)[0])
    return OwnShare(
        share=share,
        low=share - wide,
        high=share + wide,
        error=float(found.error[0]),
        actions=len(table.beyond),
        days=found.days,
        minute=headline(evidence.minutes, minute),
    )


def slopes(
    table: Table,
    asked: Float[np.ndarray, "action asked"],
    *,
    beside: Float[np.ndarray, "action other"] | None = None,
) -> Slopes:
    """Least squares of what came beyond the expected on some columns, the moment held fixed.

    Args:
        asked: Whose slopes are wanted.
        beside: Further columns to hold fixed.

    Source: Frisch, Waugh and Lovell for the columns held fixed; Bell and McCaffrey 2002 for errors that are shared
        within days (CR2), which are less short than CR1 where days are few.
    """
    nothing = np.full(asked.shape[1], np.nan)
    too_short = Slopes(slope=nothing, error=nothing, plain_error=nothing, freedom=0, days=table.days)
    if len(table.beyond) < LEAST_ACTIONS or table.days < LEAST_DAYS:
        return too_short
    line = _line(table, asked, beside)
    freedom = len(table.beyond) - line.span.shape[1]
    if freedom < LEAST_LEFT or not np.isfinite(line.slope).all():
        return too_short
    inverse = np.linalg.inv(line.left.T @ line.left)
    of_days = _days_pull(line, table.day)
    spread = inverse @ of_days.T @ of_days @ inverse
    plain = inverse * (line.missed @ line.missed / freedom)
    return Slopes(
        slope=line.slope,
        error=np.sqrt(np.diagonal(spread)),
        plain_error=np.sqrt(np.diagonal(plain)),
        freedom=freedom,
        days=table.days,
    )


def slope_alone(
    table: Table, asked: Float[np.ndarray, "action asked"], *, beside: Float[np.ndarray, "action other"] | None = None
) -> Float[np.ndarray, " asked"]:
    """As `slopes`, without errors and however short the record; NaN where columns tell each other."""
    return _line(table, asked, beside).slope


def half_width(found: Slopes) -> Float[np.ndarray, " asked"]:
    """Of the 90 % interval: Student's t with a degree of freedom a day, less one."""
    return float(stdtrit(max(found.days - 1, 1), (1 + INTERVAL) / 2)) * found.error


def _known(moment: Float[np.ndarray, "action feature"]) -> Float[np.ndarray, "action column"]:
    """A one, the features at mean 0 and SD 1 with the mean where unknown, and which were unknown."""
    known = np.isfinite(moment)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, moment, 0.0).sum(axis=0) / count
    off = np.where(known, moment - mean, 0.0)
    spread = np.sqrt(np.square(off).sum(axis=0) / count)
    # What never varies is told by the one; a feature in a small unit must not pass for one.
    varies = spread > 1e-9 * np.maximum(np.abs(mean), 1e-300)
    scaled = off[:, varies] / spread[varies]
    gaps = ~known[:, known.any(axis=0) & ~known.all(axis=0)]
    return np.concatenate([np.ones((len(moment), 1)), scaled, gaps.astype(np.float64)], axis=1)


def _basis(columns: Float[np.ndarray, "action column"]) -> Float[np.ndarray, "action rank"]:
    """Orthonormal columns that span these, however they tell each other."""
    if not len(columns):
        return columns[:, :0]
    left, size, _ = np.linalg.svd(columns, full_matrices=False)
    basis: np.ndarray = left[:, size > 1e-9 * size[0]]
    return basis


@dataclass(frozen=True, kw_only=True)
class _Line:
    """Of asked columns: what the fixed ones leave of them, their slopes, what is missed, and a basis of all columns."""

    left: Float[np.ndarray, "action asked"]
    slope: Float[np.ndarray, " asked"]
    missed: Float[np.ndarray, " action"]
    span: Float[np.ndarray, "action rank"]


def _line(
    table: Table, asked: Float[np.ndarray, "action asked"], beside: Float[np.ndarray, "action other"] | None
) -> _Line:
    fixed = table.moment if beside is None else np.concatenate([table.moment, beside], axis=1)
    basis = _basis(fixed)
    left, outcome = asked - basis @ (basis.T @ asked), table.beyond - basis @ (basis.T @ table.beyond)
    span = np.concatenate([basis, _basis(left)], axis=1)
    if _told_by_others(asked, left):
        return _Line(left=left, slope=np.full(asked.shape[1], np.nan), missed=outcome, span=span)
    slope = np.linalg.solve(left.T @ left, left.T @ outcome)
    return _Line(left=left, slope=slope, missed=outcome - left @ slope, span=span)


def _days_pull(line: _Line, day: Int[np.ndarray, " action"]) -> Float[np.ndarray, "day asked"]:
    """How far each day pulls at the slopes, as if the line had not been drawn towards it.

    A line goes nearer to a day the more weight the day has; what is missed is set back by the inverse root of the share
    that the line left it.
    """
    pulls = []
    for rows in rows_of_days(day):
        kept, along = np.linalg.eigh(np.eye(len(rows)) - line.span[rows] @ line.span[rows].T)
        # A direction that the line follows whole is missed by nothing, and tells nothing.
        back = np.where(kept > 1e-9, 1 / np.sqrt(np.maximum(kept, 1e-9)), 0.0)
        pulls.append(line.left[rows].T @ (along @ (back * (along.T @ line.missed[rows]))))
    return np.stack(pulls)


def _told_by_others(asked: Float[np.ndarray, "action asked"], left: Float[np.ndarray, "action asked"]) -> bool:
    """Whether the fixed columns, or the asked ones among themselves, leave nothing to learn from."""
    size = np.sqrt(np.square(left).sum(axis=0))
    spread = np.sqrt(np.square(asked - asked.mean(axis=0)).sum(axis=0))
    if not (size > TOLD_BY_OTHERS * spread).all() or not (spread > 0).all():
        return True
    return bool(np.linalg.svd(left / size, compute_uv=False)[-1] < TOLD_BY_OTHERS)

"""What a twin keeps of one exposure: the day that is open, a year of days before it, and what accumulators hold.

Spans of any length are laid on the person's local days. A day is open while it is the newest of which anything is
known: what comes later may add to it, or tell it anew from its beginning, as an export of the same morning does. Once
a later day is known it is closed, for good: its value (NaN where too little of it was seen), and those of the days
between of which nothing was, are handed to whoever accumulates, each once. So the state is the same however a record
is cut, and of one size however long it is. What comes for days that are closed is compared with them and left.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from hdt_fm.schema.errors import CheckpointError
from hdt_fm.schema.exposure import Exposure, exposure_kind
from hdt_fm.schema.series import DAY_S
from hdt_fm.signal.exposures import on_grid
from hdt_fm.twin.state.tracks import ALIKE, Counts

# Closed days that are kept: to tell what is known already, and for a law that comes later.
KEPT_DAYS = 365
# Of a day; with less of it seen it is unknown. Amounts are what was seen, and not scaled up.
LEAST_SEEN = 0.8
# Absorbs the rounding of times, which are large numbers.
_NEAR_S = 1e-3
_DAY_S = float(DAY_S)
_OPEN = ("day", "total", "seen_s", "since_s", "until_s")


@dataclass(frozen=True)
class Exposed:
    """One kind of exposure.

    Attributes:
        kind: Of `EXPOSURES`.
        day: The open one, counted from 1970.
        total: Of an amount what of it was seen; of a level that times seconds.
        seen_s: Seconds of the open day that are known.
        since_s, until_s: When what is known of the open day begins and ends, on the person's calendar.
        days: Values of the last closed days, up to the one before `day`; NaN is not known.
        held: What accumulators hold after them, as they wrote it.
    """

    kind: str
    day: int
    total: float
    seen_s: float
    since_s: float
    until_s: float
    days: Float[np.ndarray, " day"] = field(default_factory=lambda: np.zeros(0))
    held: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """Of the open day, as far as it was told; NaN where that is too little."""
        return _value(self.kind, self.total, self.seen_s)

    def arrays(self) -> dict[str, np.ndarray]:
        """Plain copies, of which `of` makes it again."""
        facts = np.array([float(getattr(self, name)) for name in _OPEN])
        return {"open": facts, "days": self.days.copy(), **{f"held_{name}": one for name, one in self.held.items()}}

    @classmethod
    def of(cls, kind: str, arrays: Mapping[str, np.ndarray]) -> "Exposed":
        """The same as the one whose `arrays` these are.

        Raises:
            CheckpointError: If they are none.
        """
        facts, days = arrays.get("open", np.zeros(0)), arrays.get("days", np.zeros(0))
        if facts.shape != (len(_OPEN),) or not np.isfinite(facts).all() or days.ndim != 1 or len(days) > KEPT_DAYS:
            raise CheckpointError(
                "What the twin keeps of an exposure does not hold together",
                where=f"exposures/{kind}",
                expected=f"an open day and at most {KEPT_DAYS} days before it",
                fix="go back to an earlier version, or copy the whole folder again",
            )
        held = {name.removeprefix("held_"): one for name, one in arrays.items() if name.startswith("held_")}
        day, total, seen_s, since_s, until_s = facts.tolist()
        return cls(kind, int(day), total, seen_s, since_s, until_s, days.astype(np.float64), held)


@dataclass(frozen=True)
class Taken:
    """What became of an exposure that came in.

    Attributes:
        after: The state, of which accumulators have not been told; None if nothing was ever known.
        closed: Days that were closed by it, in order; to be accumulated.
        counts: Days by what became of them.
    """

    after: Exposed | None
    closed: Float[np.ndarray, " closed"]
    counts: Counts


def take(kept: Exposed | None, came: Exposure) -> Taken:
    """Lay what is new on days, and close those that are over."""
    told = _known(came)
    if not len(told):
        return Taken(kept, np.zeros(0), Counts())
    first = int(told.start_s[0] // _DAY_S)
    before = Exposed(came.kind, first, 0.0, 0.0, np.inf, first * _DAY_S) if kept is None else kept
    base = _opened_anew(before) if _tells_anew(before, told) else before
    fresh = _since(told, base.until_s)
    if not len(fresh):
        return Taken(kept, np.zeros(0), _compared(before, told) + Counts(known=int(_on(told, before.day))))
    after, closed = _laid(base, fresh)
    same = _same(before, after, closed)
    newer = _days_of(fresh, base.day + 1)
    here = _on(fresh, base.day)
    counts = Counts(new=newer + int(here and not same), known=int(here and same))
    return Taken(after, closed, _compared(before, told) + counts)


def _same(before: Exposed, after: Exposed, closed: np.ndarray) -> bool:
    """Whether the day that was open is told as it was."""
    if len(closed):
        return bool(_alike(closed[:1], np.array([before.value])).all())
    now, then = (np.array([one.total, one.seen_s]) for one in (after, before))
    return bool(_alike(now, then).all())


def _value(kind: str, total: float, seen_s: float) -> float:
    if seen_s < LEAST_SEEN * _DAY_S - _NEAR_S:
        return float("nan")
    return total if exposure_kind(kind).amount else total / seen_s


def _known(came: Exposure) -> Exposure:
    rows = np.isfinite(came.values)
    return _spans(came, came.start_s[rows], came.length_s[rows], came.values[rows])


def _since(told: Exposure, from_s: float) -> Exposure:
    """What of it lies after a moment; of an amount the share of each span that does."""
    start, end = np.maximum(told.start_s, from_s), told.start_s + told.length_s
    rows = end - start > _NEAR_S
    length = (end - start)[rows]
    share = length / told.length_s[rows] if exposure_kind(told.kind).amount else 1.0
    return _spans(told, start[rows], length, told.values[rows] * share)


def _spans(of: Exposure, start_s: np.ndarray, length_s: np.ndarray, values: np.ndarray) -> Exposure:
    return Exposure(of.kind, start_s, length_s, values, of.subject, of.group)


def _days_of(told: Exposure, first: int) -> int:
    """How many days, from one on, of which anything is known."""
    begin = np.maximum(np.floor((told.start_s + _NEAR_S) / _DAY_S), first).astype(np.int64)
    end = np.ceil((told.start_s + told.length_s - _NEAR_S) / _DAY_S).astype(np.int64)
    # Spans rise: a day that two of them share is the last of one and the first of the next.
    begin[1:] = np.maximum(begin[1:], end[:-1])
    return int((end - begin).clip(min=0).sum())


def _on(told: Exposure, day: int) -> bool:
    """Whether it tells anything of a day."""
    end_s = told.start_s + told.length_s
    return bool(((told.start_s < (day + 1) * _DAY_S - _NEAR_S) & (end_s > day * _DAY_S + _NEAR_S)).any())


def _tells_anew(kept: Exposed, told: Exposure) -> bool:
    """Whether it tells the open day from where that began to be known, and no less of it than is known."""
    inside = _since(told, kept.day * _DAY_S)
    if not len(inside) or inside.start_s[0] > kept.since_s + _NEAR_S:
        return False
    end = np.minimum(inside.start_s + inside.length_s, kept.until_s)
    return float((end - inside.start_s).clip(min=0.0).sum()) >= kept.seen_s - _NEAR_S


def _opened_anew(kept: Exposed) -> Exposed:
    return replace(kept, total=0.0, seen_s=0.0, since_s=np.inf, until_s=kept.day * _DAY_S)


def _laid(kept: Exposed, fresh: Exposure) -> tuple[Exposed, np.ndarray]:
    """With what is new, and the days that are closed by it."""
    end_s = float(fresh.start_s[-1] + fresh.length_s[-1])
    newest = int(np.ceil((end_s - _NEAR_S) / _DAY_S)) - 1
    totals, seen_s = _totals(fresh, kept.day, newest)
    totals[0], seen_s[0] = totals[0] + kept.total, seen_s[0] + kept.seen_s
    closed = np.array([_value(kept.kind, *pair) for pair in zip(totals[:-1].tolist(), seen_s[:-1], strict=True)])
    begun = float(_since(fresh, newest * _DAY_S).start_s[0])
    return replace(
        kept,
        day=newest,
        total=float(totals[-1]),
        seen_s=float(seen_s[-1]),
        since_s=min(begun, kept.since_s) if newest == kept.day else begun,
        until_s=end_s,
        days=np.concatenate([kept.days, closed])[-KEPT_DAYS:],
    ), closed


def _totals(told: Exposure, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each day, as `Exposed` has them of the open one: totals, and seconds seen."""
    grid = on_grid(told, start_s=first * _DAY_S, step_s=_DAY_S, steps=last - first + 1)
    seen_s = grid.covered * _DAY_S
    part = grid.covered if exposure_kind(told.kind).amount else seen_s
    return np.where(seen_s > 0, np.nan_to_num(grid.values) * part, 0.0), seen_s


def _compared(kept: Exposed, told: Exposure) -> Counts:
    """Of the closed days that are told again, whether they are told alike."""
    first, oldest = int(told.start_s[0] // _DAY_S), kept.day - len(kept.days)
    if first >= kept.day:
        return Counts()
    totals, seen_s = _totals(told, first, kept.day - 1)
    values = np.array([_value(kept.kind, *pair) for pair in zip(totals.tolist(), seen_s.tolist(), strict=True)])
    here = np.flatnonzero(np.isfinite(values))
    inside = here[here + first >= oldest]
    own = kept.days[inside + first - oldest]
    # A file that begins in the middle of a day tells another value of it, and no other days.
    part = seen_s[inside] < _DAY_S - _NEAR_S
    same, there = part | _alike(values[inside], own), np.isfinite(own)
    return Counts(
        known=int((same & there).sum()),
        differing=int((~same & there).sum()),
        late=int((~there).sum()),
        before=len(here) - len(inside),
    )


def _alike(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    out: np.ndarray = np.abs(one - two) <= ALIKE * np.abs(two) + 1e-9
    return out

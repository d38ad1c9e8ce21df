"""Attempts to show that a share of the law's effect is not what a person's record says.

Two set effects beside the real ones that cannot have done anything: their share must be near 0. Three change the record
in ways that must not matter: the share must stay. One asks what a cause that nobody wrote down would do. Passing all of
them is no proof; failing one is a reason not to trust the share. What each sees and does not see is in the README.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int
from scipy.special import stdtrit

from hdt_fm.schema.what_if import Evidence, Refuter
from hdt_fm.twin.what_if.evidence import (
    HEADLINE_MINUTE,
    Slopes,
    Table,
    half_width,
    rows_of_days,
    slope_alone,
    slopes,
    table_of,
)
from hdt_fm.twin.what_if.sensitivity import as_strong_as, bias_of, strongest_seen

PLACEBOS, CAUSES, SUBSETS, BOOTSTRAPS = 20, 20, 20, 100
# Fewer, drawn anew, are too often nearly the same day over and over.
BOOTSTRAP_DAYS = 10
# Of days, that a subset keeps.
KEPT = 0.8
# A true 0 stays this near in 99 of 100 records, by the error of what is found.
SURE = 0.99
# A tenth of the law's effect moves nobody's plan: less than that never fails, however long the record.
NEVER_MATTERS = 0.1
# Where chance alone may move a share by half of the law's effect, the record is too short to say.
SAYS_NOTHING = 0.5
INTERVAL = (0.05, 0.95)


def refute(evidence: Evidence, *, seed: int, minute: int = HEADLINE_MINUTE) -> tuple[Refuter, ...]:
    """All attempts at one person's record; rows of a day stand in order of time.

    Args:
        seed: The same gives the same draws.
        minute: The nearest there is.
    """
    table = table_of(evidence, minute)
    found = slopes(table, table.total)
    ways: tuple[Callable[[Table, Slopes, np.random.Generator], Refuter], ...] = (
        _law_itself,
        _placebo,
        _shuffled_time,
        _random_cause,
        _subset,
        _bootstrap,
        _unseen_cause,
    )
    generators = np.random.default_rng(seed).spawn(len(ways))
    return tuple(way(table, found, generator) for way, generator in zip(ways, generators, strict=True))


def _law_itself(table: Table, found: Slopes, _: np.random.Generator) -> Refuter:
    """The share itself: the law's effect is what is told, and a record that surely shows another speaks against it."""
    name, words = (
        "size of the effect",
        "What the record shows of the law's effect is held beside the whole of it, which is what is told.",
    )
    return _judged(name, words, float(found.slope[0]), 1.0, _sure(found.days) * float(found.error[0]))


def _placebo(table: Table, found: Slopes, generator: np.random.Generator) -> Refuter:
    """Effects of the same place in another day, drawn anew so many times; mean share and middle error."""
    name, words = (
        "placebo treatment",
        "Doses and meals of other days are set beside those of the day, to which they did nothing.",
    )
    if not np.isfinite(found.slope[0]):
        return _too_short(name, words, 0.0)
    drawn = [slopes(table, _of_other_days(table, generator), beside=table.total) for _ in range(PLACEBOS)]
    share, error = (np.array([getattr(one, key)[0] for one in drawn]) for key in ("slope", "error"))
    return _near_nothing(name, words, float(share.mean()), float(np.median(error)), found.days)


def _shuffled_time(table: Table, found: Slopes, _: np.random.Generator) -> Refuter:
    """Effects of the action before, of the same day or the last."""
    name, words = (
        "shuffled time",
        "What was taken just before is set beside what was taken then; what it still does is expected already.",
    )
    order = np.argsort(table.day, kind="stable")
    follows = np.flatnonzero(np.diff(table.day[order]) <= 1)
    then = _rows(table, order[follows + 1])
    before = slopes(then, table.total[order[follows]], beside=then.total)
    return _near_nothing(name, words, float(before.slope[0]), float(before.error[0]), before.days)


def _random_cause(table: Table, found: Slopes, generator: np.random.Generator) -> Refuter:
    """A random column; of so many draws the one that moves the share farthest."""
    name, words = (
        "random common cause",
        "Random numbers are held fixed beside what is known of the moment, and must not matter.",
    )
    share = float(found.slope[0])
    if not np.isfinite(share):
        return _too_short(name, words, share)
    shares = []
    for _ in range(CAUSES):
        chance = generator.normal(size=table.total.shape)
        shares.append(float(slope_alone(table, table.total, beside=chance)[0]))
    return _stays(name, words, shares, share, float(half_width(found)[0]))


def _subset(table: Table, found: Slopes, generator: np.random.Generator) -> Refuter:
    """Four days of five; of so many draws the one that moves the share farthest, within the interval of 99 %."""
    name, words = (
        "subset of days",
        "A fifth of the days is left out; of some such draws the share farthest off is told.",
    )
    share, rows = float(found.slope[0]), rows_of_days(table.day)
    if not np.isfinite(share):
        return _too_short(name, words, share)
    keep = round(KEPT * len(rows))
    shares = [_share_of(table, [rows[day] for day in generator.permutation(len(rows))[:keep]]) for _ in range(SUBSETS)]
    return _stays(name, words, shares, share, _sure(found.days) * float(found.error[0]))


def _bootstrap(table: Table, found: Slopes, generator: np.random.Generator) -> Refuter:
    """Days drawn with replacement; the end of nine in ten shares that lies farthest from the interval's."""
    name, words = (
        "bootstrap of days",
        "Days are drawn anew, some twice and some not at all; the end of the interval farther off is told.",
    )
    share, rows = float(found.slope[0]), rows_of_days(table.day)
    if not np.isfinite(share) or len(rows) < BOOTSTRAP_DAYS:
        return _too_short(name, words, share)
    drawn = generator.integers(0, len(rows), size=(BOOTSTRAPS, len(rows)))
    shares = [_share_of(table, [rows[day] for day in days]) for days in drawn]
    half = float(half_width(found)[0])
    ends = np.nanquantile(shares, INTERVAL) if np.isfinite(shares).any() else np.full(2, np.nan)
    claimed = share + half * np.array([-1.0, 1.0])
    worst = int(np.argmax(np.abs(ends - claimed)))
    return _stays(name, words, [float(ends[worst])], float(claimed[worst]), float(found.error[0]))


def _unseen_cause(table: Table, found: Slopes, _: np.random.Generator) -> Refuter:
    """A cause that explains as much of what is left as the strongest seen does; the share must not change sign."""
    name, share = "unseen common cause", float(found.slope[0])
    strongest = strongest_seen(table) if np.isfinite(share) else None
    if strongest is None:
        return _too_short(name, "Nothing that was seen says how strong something unseen may be.", share)
    words = (
        f"Something unseen explains {100 * strongest.with_taken:.0f} % of what is left of doses and meals and "
        f"{100 * strongest.with_outcome:.0f} % of what is left of glucose, as the strongest seen does."
    )
    moved = bias_of(as_strong_as(strongest), plain_error=float(found.plain_error[0]), freedom=found.freedom)
    # A share whose interval holds 0 has no sign to lose.
    signed = abs(share) > float(half_width(found)[0])
    return Refuter(
        name=name,
        found=share - float(np.sign(share)) * moved,
        expected=share,
        allowed=abs(share),
        passed=moved < abs(share) if signed else None,
        words=words,
    )


def _of_other_days(table: Table, generator: np.random.Generator) -> Float[np.ndarray, "action _"]:
    """For each action the effect at the same place of another day, the day's last where that has fewer."""
    rows = rows_of_days(table.day)
    order = generator.permutation(len(rows))
    out = np.empty_like(table.total)
    # Each day gets the next in a random round, so that none is its own.
    for one, other in zip(order, np.roll(order, 1), strict=True):
        own, theirs = rows[one], rows[other]
        out[own] = table.total[theirs[np.minimum(np.arange(len(own)), len(theirs) - 1)]]
    return out


def _share_of(table: Table, rows: list[np.ndarray]) -> float:
    some = _rows(table, np.concatenate(rows))
    return float(slope_alone(some, some.total)[0])


def _rows(table: Table, rows: Int[np.ndarray, " row"]) -> Table:
    return Table(**{name: values[rows] for name, values in vars(table).items()})


def _sure(days: int) -> float:
    """Errors that a true value stays within, 99 times in 100."""
    return float(stdtrit(max(days - 1, 1), (1 + SURE) / 2))


def _near_nothing(name: str, words: str, share: float, error: float, days: int) -> Refuter:
    return _judged(name, words, share, 0.0, _sure(days) * error)


def _stays(name: str, words: str, shares: list[float], share: float, allowed: float) -> Refuter:
    """By the one that is farthest off, a draw that gives no number before all."""
    off = np.abs(np.array(shares) - share)
    return _judged(name, words, shares[int(np.argmax(np.where(np.isfinite(off), off, np.inf)))], share, allowed)


def _judged(name: str, words: str, found: float, expected: float, allowed: float) -> Refuter:
    if not np.isfinite([found, allowed]).all():
        return _too_short(name, words, expected)
    allowed = max(allowed, NEVER_MATTERS)
    passed = bool(abs(found - expected) <= allowed) if allowed <= SAYS_NOTHING else None
    return Refuter(name=name, found=found, expected=expected, allowed=allowed, passed=passed, words=words)


def _too_short(name: str, words: str, expected: float) -> Refuter:
    return Refuter(name=name, found=np.nan, expected=expected, allowed=np.nan, passed=None, words=words)

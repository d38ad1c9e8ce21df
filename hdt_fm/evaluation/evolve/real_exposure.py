"""Whether what people were exposed to tells their next day, beyond the calendar and beyond placebos.

For every exposure and outcome: doses of a day and the days before it, the next day's outcome, person means taken out of
both, the calendar (season, slow time, weekday) as a base, ridge by folds of people. The share of the outcome's squares
that doses explain beyond the base in people who taught nothing is held against two placebos (see `exposure_doses`), and
all exposures and outcomes of a table against the best that any of them does by placebo. A found one must also pass the
days after: doses of the time after the outcome may add nothing to those before.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from hdt_fm.evaluation.evolve.exposure_doses import PLACEBOS, DailyRecords, Placebo
from hdt_fm.evaluation.evolve.exposure_ridge import DoseRidge
from hdt_fm.evaluation.evolve.exposure_rows import (
    Asked,
    Protocol,
    asked_rows,
    calendar_at,
    doses_at,
    outcome_at,
)
from hdt_fm.evaluation.people import interval, people_draws, ratio_of_sums
from hdt_fm.schema.result import Result, Row

METRIC, UNIT = "variance from day to day explained", "%"
BASELINES = ("person mean", "season only")
TOO_LITTLE, NOTHING, FOUND = "too little record", "no reliable effect", "beyond placebo and season"
AFTER_AS_WELL = "no effect claimed: the days after tell it as well"
NOT_ASKED = "beyond placebo and season, but of the days after there is too little record"
LEVEL = 0.05
_BOOTSTRAPS = 1000


@dataclass(frozen=True)
class Tried:
    """One exposure and outcome.

    Attributes:
        gains: Of each placebo, shares of squares explained beyond the base; the first is the real one.
        p_after: Of the days after, the smaller of two placebos: one is enough to doubt. None where they are too few.
        season, full: Share explained against the person's mean, with its interval over people.
    """

    asked: Asked
    gains: Mapping[Placebo, Float64[np.ndarray, " draw"]]
    p_after: float | None
    season: tuple[float, float | None, float | None]
    full: tuple[float, float | None, float | None]


def p_value(gains: Float64[np.ndarray, " draw"]) -> float:
    """Share of worlds, the real one among them, that do as well as the real one, which comes first."""
    return float((gains >= gains[0]).mean())


def standard(gains: Float64[np.ndarray, " draw"]) -> Float64[np.ndarray, " draw"]:
    """Gains as distances from what placebos do, so that those of other outcomes compare."""
    return (gains - gains.mean()) / max(float(gains.std()), 1e-12)


def family_best(tried: Sequence[Tried], kind: Placebo) -> Float64[np.ndarray, " draw"]:
    """The best of a whole table in each placebo world."""
    return np.stack([standard(one.gains[kind]) for one in tried]).max(axis=0)[1:]


def family_p(gains: Float64[np.ndarray, " draw"], best: Float64[np.ndarray, " world"]) -> float:
    """As `p_value`, against the best that any exposure and outcome of the table does in each placebo world."""
    return float((1 + (best >= standard(gains)[0]).sum()) / (1 + len(best)))


def try_all(
    records: DailyRecords, protocol: Protocol, progress: Callable[[int, int, str], None] | None = None
) -> tuple[list[Tried], list[Asked]]:
    """Every exposure with every outcome: those that could be fitted, and those of which there is too little."""
    tried, few = [], []
    for number, exposure in enumerate(records.exposures):
        asked = [asked_rows(records, exposure, outcome, protocol) for outcome in records.outcomes]
        few += [one for one in asked if not one.enough(protocol)]
        enough = [one for one in asked if one.enough(protocol)]
        tried += _try(records, enough, protocol) if enough else []
        if progress is not None:
            progress(number + 1, len(records.exposures), exposure)
    return tried, few


def _try(records: DailyRecords, asked: Sequence[Asked], protocol: Protocol) -> list[Tried]:
    gains: list[dict[Placebo, np.ndarray]] = [{} for _ in asked]
    shares = []
    for kind in PLACEBOS:
        for place, doses in enumerate(doses_at(records, asked, kind, protocol)):
            ridge = DoseRidge(calendar_at(records, asked[place]), doses, asked[place].fold(protocol))
            outcome = outcome_at(records, asked[place])
            gains[place][kind] = ridge.explained(outcome)[:, 0]
            if kind == PLACEBOS[0]:
                shares.append(_shares(asked[place].group, outcome[:, 0], ridge.fitted(outcome[:, 0]), protocol))
    after = _after(records, asked, protocol)
    return [Tried(asked[place], gains[place], after[place], *shares[place]) for place in range(len(asked))]


def _after(records: DailyRecords, asked: Sequence[Asked], protocol: Protocol) -> list[float | None]:
    """p of doses of the days after the outcome, beside those before it, which no effect of the exposure can make."""
    values = records.exposures[asked[0].exposure]
    rows = []
    for one in asked:
        later = np.minimum(one.day + 2, values.shape[1] - 1)
        keep = (one.day + 2 < values.shape[1]) & ~np.isnan(values[one.person, later])
        rows.append(Asked(one.exposure, one.outcome, one.person[keep], one.day[keep], one.group[keep]))
    enough = [one for one in rows if one.enough(protocol)]
    smallest: dict[str, float] = {}
    for kind in PLACEBOS if enough else ():
        before = doses_at(records, enough, kind, replace(protocol, draws=0))
        for one, past, doses in zip(enough, before, doses_at(records, enough, kind, protocol, after=True), strict=True):
            base = np.concatenate([calendar_at(records, one), past[0]], axis=1)
            gains = DoseRidge(base, doses, one.fold(protocol)).explained(outcome_at(records, one))[:, 0]
            smallest[one.outcome] = min(smallest.get(one.outcome, 1.0), p_value(gains))
    return [smallest.get(one.outcome) for one in asked]


def _shares(
    group: np.ndarray, outcome: np.ndarray, fitted: tuple[np.ndarray, np.ndarray], protocol: Protocol
) -> list[tuple[float, float | None, float | None]]:
    _, codes = np.unique(group, return_inverse=True)
    draws = people_draws(int(codes.max()) + 1, draws=_BOOTSTRAPS, seed=protocol.seed)
    total = np.bincount(codes, weights=outcome**2)
    found = []
    for answers in fitted:
        values = ratio_of_sums(total - np.bincount(codes, weights=(outcome - answers) ** 2), total).over(draws) * 100
        found.append((float(values[0]), *interval(values)))
    return found


def verdict(one: Tried, family: Mapping[Placebo, float]) -> str:
    """In words; both placebos must be beaten, among all that was tried, and the days after must add nothing."""
    if max(family.values()) >= LEVEL or min(gains[0] for gains in one.gains.values()) <= 0:
        return NOTHING
    if one.p_after is None:
        return NOT_ASKED
    return AFTER_AS_WELL if one.p_after < LEVEL else FOUND


def real_exposure(
    name: str,
    records: DailyRecords,
    protocol: Protocol,
    *,
    progress: Callable[[int, int, str], None] | None = None,
) -> tuple[Result, list[Tried]]:
    """The table of one set of people, and what was tried in it, for `exposure_power`."""
    tried, few = try_all(records, protocol, progress)
    best = {kind: family_best(tried, kind) for kind in PLACEBOS} if tried else {}
    rows: list[Row] = []
    for outcome in records.outcomes:
        own = [one for one in tried if one.asked.outcome == outcome]
        short = [one for one in few if one.outcome == outcome]
        rows += _baselines(f"{name}: {outcome}, next day", own, short)
        rows += [_row(f"{name}: {outcome}, next day", one, best) for one in own]
        rows += [_too_little(f"{name}: {outcome}, next day", one) for one in short]
    result = Result(
        name=f"{name}: exposure and the next day",
        protocol={
            "tried": len(tried),
            "draws": protocol.draws,
            "folds": protocol.folds,
            "seed": protocol.seed,
            "verdict": f"p < {LEVEL:g} in the table under both placebos, and not on the days after",
        },
        rows=tuple(rows),
        required_baselines=BASELINES,
    )
    return result, tried


def _baselines(what: str, own: Sequence[Tried], short: Sequence[Asked]) -> list[Row]:
    """The person's mean explains nothing by definition; season, of the exposure with most rows."""
    asked = max([*(one.asked for one in own), *short], key=lambda one: len(one.person))
    people = asked.people
    widest = max(own, key=lambda one: len(one.asked.person), default=None)
    value, low, high = widest.season if widest is not None else (float("nan"), None, None)
    return [
        Row(what=what, model="person mean", metric=METRIC, value=0.0, unit=UNIT, n=people, role="baseline"),
        Row(
            what=what,
            model="season only",
            metric=METRIC,
            value=value,
            low=low,
            high=high,
            unit=UNIT,
            n=people,
            role="baseline",
        ),
    ]


def _row(what: str, one: Tried, best: Mapping[Placebo, np.ndarray]) -> Row:
    family = {kind: family_p(one.gains[kind], best[kind]) for kind in PLACEBOS}
    value, low, high = one.full
    placebos = {kind: gains[1:] for kind, gains in one.gains.items()}
    return Row(
        what=what,
        model=one.asked.exposure,
        metric=METRIC,
        value=value,
        low=low,
        high=high,
        unit=UNIT,
        n=one.asked.people,
        columns={
            "verdict": verdict(one, family),
            "beyond_season_percent": 100 * float(one.gains[PLACEBOS[0]][0]),
            **{f"placebo_{kind}_95_percent": 100 * float(np.quantile(own, 0.95)) for kind, own in placebos.items()},
            "p": max(p_value(one.gains[kind]) for kind in PLACEBOS),
            "p_in_table": max(family.values()),
            "p_days_after": one.p_after,
            "days": len(one.asked.person),
        },
    )


def _too_little(what: str, asked: Asked) -> Row:
    return Row(
        what=what,
        model=asked.exposure,
        metric=METRIC,
        value=float("nan"),
        unit=UNIT,
        n=asked.people,
        columns={"verdict": TOO_LITTLE, "days": len(asked.person)},
    )

"""Scores of forecasts over people, by the names of GluonTS and fev. Units are the series'."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.evaluation import people
from hdt_fm.evaluation.contenders import Metric
from hdt_fm.metrics.classification import ece
from hdt_fm.metrics.error_grid import ZONES, clarke_zones
from hdt_fm.metrics.events import Event, risk_of
from hdt_fm.metrics.quantiles import pinball_each
from hdt_fm.schema.series import DAY_S

# Of a scored forecast, beside the point and the levels: 80 % intervals after conformal steps.
SPLIT_LOW, SPLIT_HIGH, ONLINE_LOW, ONLINE_HIGH = range(4)
EXTRA = 4
# Then for each event its risk after the split by people, and after the online step.
RISKS = 2
# A person has hundreds of origins, most of small risk: fifteen bins, as for classes, would be mostly empty.
RISK_BINS = 10


@dataclass(frozen=True)
class Asked:
    """What forecasts of one horizon are scored against.

    Attributes:
        truth, now: Measured then, and last read.
        person: Codes 0 .. people - 1.
        scale: Mean error of the seasonal naive forecast among training people, for MASE.
        every_s: Between origins.
    """

    truth: Float[np.ndarray, " origin"]
    now: Float[np.ndarray, " origin"]
    person: Int[np.ndarray, " origin"]
    scale: Float[np.ndarray, "origin seed"]
    levels: tuple[float, ...]
    every_s: float
    unit: str
    events: tuple[Event, ...]


def metrics_of(asked: Asked, *, plain: bool = False) -> list[Metric]:
    """Scores of arrays (origin, seed, point + levels + extra + calibrated risks of each event).

    Args:
        plain: Only those that need a point and levels, and few origins of a person.
    """
    mean, unit = people.mean_of_people, asked.unit

    def error(forecast: np.ndarray) -> np.ndarray:
        return forecast[..., 0] - asked.truth[:, None]

    def each_pinball(forecast: np.ndarray) -> np.ndarray:
        quantiles = forecast[..., 1 : 1 + len(asked.levels)]
        truth = np.repeat(asked.truth[:, None], forecast.shape[1], axis=1)
        return 2 * pinball_each(quantiles, truth, asked.levels).mean(axis=-1)

    def wql(forecast: np.ndarray) -> people.Score:
        top, bottom = each_pinball(forecast).mean(axis=1), np.abs(asked.truth)
        return people.ratio_of_sums(_sum(asked, top), _sum(asked, bottom))

    found = [
        Metric("RMSE", lambda f: mean(np.sqrt(_own(asked, error(f) ** 2)).mean(axis=1)), "lower", unit),
        Metric("MAE", lambda f: mean(_own(asked, np.abs(error(f))).mean(axis=1)), "lower", unit),
        Metric("MASE", lambda f: mean(_own(asked, np.abs(error(f)) / asked.scale).mean(axis=1)), "lower"),
        Metric("WQL", wql, "lower"),
        Metric("CRPS", lambda f: mean(_own(asked, each_pinball(f)).mean(axis=1)), "lower", unit),
    ]
    if unit == "mg/dL":
        found += [
            Metric("Clarke zone A", lambda f: mean(_in_zones(asked, f, "A")), "higher"),
            Metric("Clarke zones A and B", lambda f: mean(_in_zones(asked, f, "AB")), "higher"),
        ]
    raw, *moved = (_interval_metrics(asked, *one) for one in _intervals(len(asked.levels)))
    if plain:
        return found + [metric for metric in raw if "worst" not in metric.name]
    found += raw + [metric for one in moved for metric in one]
    for place, event in enumerate(asked.events):
        found.append(Metric(f"{event.name}: recall at 1 false alarm a day", partial(_recall, asked, event), "higher"))
        found += _risk_metrics(asked, event, 1 + len(asked.levels) + EXTRA + RISKS * place)
    return found


def _in_zones(asked: Asked, forecast: np.ndarray, zones: str) -> Float[np.ndarray, " person"]:
    wanted = [ZONES.index(zone) for zone in zones]
    found = [np.isin(clarke_zones(point, asked.truth), wanted) for point in forecast[..., 0].T]
    return _own(asked, np.stack(found, axis=1).astype(np.float64)).mean(axis=1)


def _risk_metrics(asked: Asked, event: Event, first: int) -> list[Metric]:
    """Brier score and expected calibration error (ten bins) of each person, among origins where the event is not yet.

    Of the risk by the quantiles, of the one that calibration people moved (column `first`), and of the one that the
    person's own truths moved further (the next).
    """

    def raw(forecast: np.ndarray, seed: int) -> np.ndarray:
        return risk_of(forecast[:, seed, 1 : 1 + len(asked.levels)], asked.levels, event)

    def kept(column: int) -> Callable[[np.ndarray, int], np.ndarray]:
        return lambda forecast, seed: forecast[:, seed, column]

    kinds = {"raw": raw, "calibrated": kept(first), "online": kept(first + 1)}
    scores: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
        "Brier score": _brier,
        "expected calibration error": partial(ece, bins=RISK_BINS),
    }
    return [
        Metric(f"{event.name}: {score}, {kind}", partial(_of_risk, asked, event, risk, of), "lower")
        for score, of in scores.items()
        for kind, risk in kinds.items()
    ]


def _brier(risk: np.ndarray, happened: np.ndarray) -> float:
    return float(((risk - happened) ** 2).mean())


def _of_risk(
    asked: Asked,
    event: Event,
    risk: Callable[[np.ndarray, int], np.ndarray],
    of: Callable[[np.ndarray, np.ndarray], float],
    forecast: np.ndarray,
) -> people.Score:
    """A score of each person's risks, NaN for a person without an origin that could have the event."""
    open_now, happened = ~event.of(asked.now), event.of(asked.truth)
    own = np.full((int(asked.person.max()) + 1, forecast.shape[1]), np.nan)
    for seed in range(forecast.shape[1]):
        said = risk(forecast, seed)
        for person in np.unique(asked.person[open_now]):
            rows = np.flatnonzero(open_now & (asked.person == person))
            own[person, seed] = of(said[rows], happened[rows].astype(np.float64))
    return people.mean_of_people(own.mean(axis=1))


def _interval_metrics(asked: Asked, name: str, low: int, high: int) -> list[Metric]:
    def covered(forecast: np.ndarray) -> Float[np.ndarray, " person"]:
        truth = asked.truth[:, None]
        inside = (truth >= forecast[..., low]) & (truth <= forecast[..., high])
        return _own(asked, inside.astype(np.float64)).mean(axis=1)

    def width(forecast: np.ndarray) -> people.Score:
        return people.mean_of_people(_own(asked, forecast[..., high] - forecast[..., low]).mean(axis=1))

    of = f"coverage of 80 %, {name}"
    return [
        Metric(of, lambda forecast: people.mean_of_people(covered(forecast)), None),
        Metric(f"{of}, worst person", lambda forecast: _worst(covered(forecast), 1), "higher"),
        Metric(f"{of}, worst tenth", lambda forecast: _worst(covered(forecast), 10), "higher"),
        Metric(f"width of 80 %, {name}", width, "lower", asked.unit),
    ]


def _intervals(levels: int) -> list[tuple[str, int, int]]:
    first = 1 + levels
    return [
        ("raw", 1, levels),
        ("split conformal", first + SPLIT_LOW, first + SPLIT_HIGH),
        ("online", first + ONLINE_LOW, first + ONLINE_HIGH),
    ]


def _sum(asked: Asked, values: Float[np.ndarray, " origin"]) -> Float[np.ndarray, " person"]:
    return np.bincount(asked.person, values, minlength=int(asked.person.max()) + 1)


def _own(asked: Asked, values: Float[np.ndarray, "origin seed"]) -> Float[np.ndarray, "person seed"]:
    """Each person's mean."""
    size = np.bincount(asked.person)
    return np.stack([_sum(asked, column) / size for column in values.T], axis=1)


def _worst(of_person: Float[np.ndarray, " person"], parts: int) -> people.Score:
    """The lowest person (1), or the mean of the lowest tenth (10), of those who are drawn."""
    order = np.argsort(of_person)

    def over(counts: np.ndarray) -> np.ndarray:
        found = []
        for drawn in counts[:, order]:
            here = np.repeat(of_person[order], drawn.astype(np.int64))
            take = 1 if parts == 1 else max(1, round(len(here) / parts))
            found.append(here[:take].mean() if len(here) else np.nan)
        return np.array(found)

    return people.Score(over, len(of_person))


def _recall(asked: Asked, event: Event, forecast: np.ndarray) -> people.Score:
    """Events caught when alarms are raised so seldom that one a person-day is false; one threshold for all people.

    Only origins where the event is not there already are asked. The threshold is that of these very people, for every
    model alike: it compares rankings of risk.
    """
    open_now = ~event.of(asked.now)
    happened = event.of(asked.truth) & open_now
    days = len(asked.truth) * asked.every_s / DAY_S
    hits = np.zeros(int(asked.person.max()) + 1)
    for seed in range(forecast.shape[1]):
        risk = risk_of(forecast[:, seed, 1 : 1 + len(asked.levels)], asked.levels, event)
        quiet = np.sort(risk[open_now & ~happened])[::-1]
        allowed = min(int(days), len(quiet) - 1)
        threshold = quiet[allowed] if len(quiet) else np.inf
        hits += _sum(asked, (happened & (risk > threshold)).astype(np.float64)) / forecast.shape[1]
    return people.ratio_of_sums(hits, _sum(asked, happened.astype(np.float64)))

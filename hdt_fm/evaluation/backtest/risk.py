"""The backtest of risks: every model asked the same, people held out, several seeds, one table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from jaxtyping import Float

from hdt_fm.evaluation.backtest.probability_calibration import fitted, online
from hdt_fm.evaluation.backtest.risk_floors import RiskFit, Told
from hdt_fm.evaluation.backtest.risk_scores import KINDS, Waited, risk_metrics, says_how_often
from hdt_fm.evaluation.backtest.run import parted
from hdt_fm.evaluation.contenders import Contender, Metric, Role, directions, rows_of
from hdt_fm.evaluation.folds import Fold, grouped_folds
from hdt_fm.evaluation.people import people_draws
from hdt_fm.metrics.events import Event
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.result import Result, Row, Scalar
from hdt_fm.schema.series import Series
from hdt_fm.signal.moments import Moments
from hdt_fm.signal.within import happened_within, next_places

OWED = ("base rate", "last value and slope", "LightGBM, at the horizon", "LightGBM, told the same")


@dataclass(frozen=True)
class RiskModel:
    """A contender. See `risk_floors.RiskFit` for what `fit` is given and gives."""

    fit: RiskFit
    role: Role


def risk_backtest(
    name: str,
    series: Sequence[Series],
    moments: Moments,
    models: Mapping[str, RiskModel],
    *,
    events: Sequence[Event],
    headline: str,
    folds: int | Sequence[Fold] = 5,
    seeds: Sequence[int] = (0, 1, 2),
    owed: Sequence[str] = OWED,
    draws: int = 1000,
    progress: Callable[[int, int, str], None] | None = None,
) -> Result:
    """Out-of-fold scores of the risk of each event within each horizon, by people and parted as `run.backtest` does.

    Args:
        folds: How many are made by people, anew for each seed; or the folds of origins themselves. Of those who are
            tested in none nothing is scored.
        headline: The model whose paired differences from the others are told.
        progress: Called as (done, total, what) after each fold.

    Raises:
        ConfigError: If the headline is no model, or there is no event.
        ShapeError: If a model gives something else than probabilities (asked, horizon, event).
    """
    if headline not in models or not events:
        raise ConfigError(
            "The backtest of risks cannot be run",
            expected="a headline among the models, and an event",
            got=f"{headline!r}, {len(events)} events",
        )
    happened = happened_within(moments, series, [event.of for event in events])
    out = {
        model: np.full((len(moments), len(seeds), *happened.shape[1:], len(KINDS)), np.nan, dtype=np.float32)
        for model in models
    }
    for number, seed in enumerate(seeds):
        every = grouped_folds(moments.group, folds, seed) if isinstance(folds, int) else folds
        for place, fold in enumerate(every):
            train, calibration = parted(moments, fold.train, seed)
            asked = np.concatenate([calibration, fold.test])
            for model, one in models.items():
                got = _asked(one, Told(moments, happened, series, tuple(events)), train, asked)
                out[model][fold.test, number] = three_ways(moments, happened, got, calibration, fold.test)
            if progress:
                progress(number * len(every) + place + 1, len(seeds) * len(every), "folds")
    rows: list[Row] = []
    for column, event in product(range(len(moments.horizons_s)), range(len(events))):
        waited, watched = _waited(moments, series, happened, out[headline], events[event], column, event)
        contenders = [
            Contender(model, one.role, out[model][watched, :, column, event].astype(np.float64))
            for model, one in models.items()
        ]
        what = f"{events[event].name} within {moments.horizons_s[column] / 60:g} min"
        rows += _rows(what, waited, contenders, headline, draws)
    return Result(
        name=name,
        protocol=_protocol(moments, out[headline], events, headline, folds, seeds, draws),
        rows=tuple(rows),
        required_baselines=tuple(owed),
    )


def _asked(model: RiskModel, told: Told, train: np.ndarray, asked: np.ndarray) -> Float[np.ndarray, "a horizon event"]:
    """Of targets and truths the model sees those of training people alone."""
    target, happened = np.full_like(told.moments.target, np.nan), np.full_like(told.happened, np.nan)
    target[train], happened[train] = told.moments.target[train], told.happened[train]
    given = replace(told, moments=replace(told.moments, target=target), happened=happened)
    got = np.asarray(model.fit(given, train, asked), dtype=np.float64)
    wanted = (len(asked), *happened.shape[1:])
    if got.shape != wanted or not ((got >= 0) & (got <= 1)).all():
        raise ShapeError("A model's risks do not fit", expected=f"probabilities, {wanted}", got=str(got.shape))
    return got


def three_ways(
    moments: Moments, happened: np.ndarray, got: np.ndarray, calibration: np.ndarray, test: np.ndarray
) -> Float[np.ndarray, "asked horizon event kind"]:
    """Risks of `test`, which follow those of `calibration`: raw, moved by these people, and by the person's own truths.

    Lines differ by horizon, so afterwards a longer span is given no less than a shorter one.
    """
    apart, asked = got[: len(calibration)], got[len(calibration) :]
    out = np.repeat(asked[..., None], len(KINDS), axis=-1)
    for column, event in product(range(got.shape[1]), range(got.shape[2])):
        truth = happened[calibration, column, event]
        told = np.isfinite(truth)
        move = fitted(apart[told, column, event], truth[told] == 1, moments.group[calibration][told])
        moved = move(asked[:, column, event])
        out[:, column, event, 1] = moved
        for subject in np.unique(moments.subject[test]):
            own = np.flatnonzero(moments.subject[test] == subject)
            own = own[np.argsort(moments.time_s[test[own]], kind="stable")]
            came = happened[test[own], column, event]
            horizon_s = moments.horizons_s[column]
            out[own, column, event, 2] = online(moments.time_s[test[own]], moved[own], came, horizon_s=horizon_s)
    out[..., 1:] = np.maximum.accumulate(out[..., 1:], axis=1)
    return out


def _waited(
    moments: Moments,
    series: Sequence[Series],
    happened: np.ndarray,
    answers: np.ndarray,
    event: Event,
    column: int,
    place: int,
) -> tuple[Waited, np.ndarray]:
    """What is scored, and the origins of it: those that were tested, and whose answer is known or there already."""
    tested = np.isfinite(answers[:, :, column, place, 0]).all(axis=1)
    truth = happened[:, column, place]
    watched = np.flatnonzero(tested & (np.isfinite(truth) | event.of(moments.last)))
    coming = next_places(moments, series, event.of, longest_s=moments.horizons_s[column])
    longest = max(len(one) for one in series) + 1
    _, person = np.unique(moments.group[watched], return_inverse=True)
    episode = moments.series[watched] * longest + coming[watched]
    return Waited(truth[watched], episode, person, moments.every_s), watched


def _rows(what: str, waited: Waited, contenders: Sequence[Contender], headline: str, draws: int) -> list[Row]:
    counts = people_draws(int(waited.person.max()) + 1, draws=draws, seed=0)
    ranks: list[Metric] = []
    often: list[Metric] = []
    for metric in risk_metrics(waited):
        (often if says_how_often(metric.name) else ranks).append(metric)
    found = rows_of(what, contenders, ranks, counts=counts, headline=headline)
    return found + rows_of(f"{what}: how often", contenders, often, counts=counts, headline=headline)


def _protocol(
    moments: Moments,
    answers: np.ndarray,
    events: Sequence[Event],
    headline: str,
    folds: int | Sequence[Fold],
    seeds: Sequence[int],
    draws: int,
) -> dict[str, Scalar | list[float] | list[int] | dict[str, str]]:
    nobody = Waited(np.zeros(1), np.zeros(1, np.int64), np.zeros(1, np.int64), moments.every_s)
    return {
        "task": "backtest of risks",
        "people": len(np.unique(moments.group[np.isfinite(answers[:, 0, 0, 0, 0])])),
        "origins": len(moments),
        "events": ", ".join(event.name for event in events),
        "every_s": moments.every_s,
        "step_s": moments.step_s,
        "horizons_s": list(moments.horizons_s),
        "folds": folds if isinstance(folds, int) else len(folds),
        "seeds": list(seeds),
        "draws": draws,
        "headline": headline,
        "better": directions(risk_metrics(nobody)),
    }

"""`hdt-fm finetune head=plan_response`: what glucose does under a plan of doses and meals, on a frozen encoder."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray

from hdt_fm.cli.compose import Config
from hdt_fm.cli.finetune_series import taught as taught_forecast
from hdt_fm.cli.plans import HEAD, plans_name
from hdt_fm.cli.run import Run
from hdt_fm.cli.series import HEAD as FORECAST
from hdt_fm.cli.series import plain, usual
from hdt_fm.cli.series_teaching import Ground, ground
from hdt_fm.cli.series_teaching import plan as plan_of
from hdt_fm.cli.settings import FinetuneSettings, SeriesSettings
from hdt_fm.evaluation.backtest import floors
from hdt_fm.evaluation.backtest.run import Model as Contender
from hdt_fm.evaluation.backtest.run import backtest
from hdt_fm.evaluation.folds import Fold
from hdt_fm.heads.plan_response import LEVELS, PlanResponse, beside_law, quantiles
from hdt_fm.layers.meal_courses import within_range
from hdt_fm.metrics.conformal import split_shift
from hdt_fm.schema import registry
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.lives import STEP_MINUTES, Lives
from hdt_fm.schema.manifest import Part
from hdt_fm.schema.result import Result, RunRecord
from hdt_fm.schema.what_if import PLANNED_MIN
from hdt_fm.signal.lives import lives_of
from hdt_fm.signal.moments import Moments
from hdt_fm.training.forecasts import ask, fit_forecast
from hdt_fm.training.heads import take
from hdt_fm.training.plans import done_as_they_came, done_with_the_other_half, in_two
from hdt_fm.twin.what_if.actions import actions_of
from hdt_fm.twin.what_if.habits import learn_habits

OURS = "law + decoder on frozen states, told what was taken soon"
LAW = "law alone, told what was taken soon"
FORECAST_ALONE = "forecast head on frozen states, no plan"
# Of the quantiles those that the backtest scores; the two beyond are of the 90 % interval.
SCORED = floors.LEVELS
COVERAGE = 0.9


@dataclass(frozen=True)
class _Told:
    """Origins of which a life is known, and where in it they lie."""

    on: Ground
    lives: Lives
    life: Int[np.ndarray, " origin"]
    time: Int[np.ndarray, " origin"]


def run(run: Run) -> RunRecord:
    """Learn the law, train the decoder, score both on the people kept out beside the floors, and save the head."""
    part = run.config.part("head")
    minutes = tuple(int(minute) for minute in part.args["minutes"])
    name = plans_name(str(run.config.section("series", SeriesSettings).modality))
    told = _told(ground(run, name, horizons_s=tuple(60.0 * minute for minute in minutes)))
    on = told.on
    inputs = on.inputs
    assert inputs.known is not None
    made: dict[str, Any] = {"known": inputs.known.shape[1], "in_features": inputs.context.shape[-1]}
    part = Part(name=HEAD, args={"levels": list(LEVELS), **part.args, **made, "asked": plain(on.task)})
    kept: dict[str, Any] = {}

    def fit(hidden: Moments, _: Any, train: NDArray[np.int64], asked: NDArray[np.int64]) -> NDArray[np.float64]:
        kept.update(head=_taught(part, told, hidden, train), train=train)
        return _answers(kept["head"], told, asked)

    def law(hidden: Moments, _: Any, train: NDArray[np.int64], asked: NDArray[np.int64]) -> NDArray[np.float64]:
        # The one that was learned just before.
        found = done_as_they_came(kept["head"].law, told.lives, told.life[asked], told.time[asked])
        return np.repeat(within_range(found.course)[..., None], 1 + len(SCORED), axis=2)

    def forecast(hidden: Moments, _: Any, train: NDArray[np.int64], asked: NDArray[np.int64]) -> NDArray[np.float64]:
        alone = Part(name=FORECAST, args={**made, "levels": list(SCORED), "horizons": len(minutes)})
        return ask(taught_forecast(alone, on, hidden, train), take(inputs, torch.from_numpy(asked)))

    result = backtest(
        f"{on.task.modality} after doses and meals",
        on.series,
        on.moments,
        {
            "last value": Contender(floors.last_value(), "baseline"),
            "ridge": Contender(floors.ridge(), "baseline"),
            FORECAST_ALONE: Contender(forecast, "ours"),
            OURS: Contender(fit, "ours"),
            LAW: Contender(law, "ours"),
        },
        headline=OURS,
        folds=[on.fold],
        seeds=[on.seed],
        levels=SCORED,
        unit=on.task.unit,
        owed=("last value", "ridge"),
        counted=_soon(told),
        progress=run.progress("finetune"),
    )
    head = kept["head"]
    _calibrate(head, told, on.apart(kept["train"]))
    groups = sorted({int(one) for one in on.moments.group[kept["train"]]})
    head.decoder.usual.copy_(torch.from_numpy(usual(on.series, groups)))
    habits = learn_habits(actions_of(_of(told.lives, on.moments.group[on.fold.train])))
    head.habits = {name: value.tolist() for name, value in habits.arrays().items()}
    table = on.keep(name, Part(name=HEAD, args={**part.args, "habits": head.habits}), head, result)
    frozen = sum(value.numel() for value in on.base.encoder.parameters())
    share = head.trainable / (head.trainable + frozen)
    following = f'hdt-fm twin what-if PATH checkpoint={on.target} plan="bolus 4 U"'
    shown = {"trained": f"{100 * share:.0f} % of {head.trainable + frozen} numbers; the encoder is frozen"}
    return on.finish(name, table, result, following, {**shown, **_shown(result)})


def plan(config: Config) -> dict[str, Any]:
    """Read the series and say how much there is to learn from."""
    return plan_of(config, plans_name(str(config.section("series", SeriesSettings).modality)))


def _told(on: Ground) -> _Told:
    """Origins at which a reading and what was taken are known."""
    if not {"bolus", "carbs"} <= set(on.given):
        raise ConfigError(
            "A head that answers plans must be told what was taken",
            where="series.treatments",
            expected="shards of the same people with bolus and carbs",
            got=", ".join(on.given) or "none",
            fix="hdt-fm shard ... preparation=treatments_5min name=NAME, then series.treatments=FOLDER",
        )
    lives = lives_of(on.series, on.given)
    life = on.moments.series
    time = np.round(on.moments.place * on.moments.step_s / (60 * STEP_MINUTES)).astype(np.int64)
    rows = np.flatnonzero(np.isfinite(lives.glucose_mg_dl[life, time]))
    if not len(rows):
        raise ConfigError(
            "Nobody's doses and meals are known",
            where="series.treatments",
            expected="people with entries of both, over days",
            fix="look at the shards: hdt-fm shard verify FOLDER",
        )
    train, test = (np.flatnonzero(np.isin(rows, some)) for some in (on.fold.train, on.fold.test))
    fold = Fold(train, test, len(rows), frozenset(int(group) for group in on.moments.group[rows[test]]))
    inputs = take(on.inputs, torch.from_numpy(rows))
    on = replace(on, moments=on.moments.rows(rows), inputs=inputs, fold=fold)
    return _Told(on, lives, life[rows], time[rows])


def _taught(part: Part, told: _Told, hidden: Moments, train: NDArray[np.int64]) -> PlanResponse:
    """A head that learned from some people; of the targets those of their origins alone are read."""
    on = told.on
    torch.manual_seed(on.seed)
    head = registry.build("heads", part.name, part.args)
    assert isinstance(head, PlanResponse)
    groups = hidden.group[train]
    halves = in_two(_of(told.lives, groups))
    head.learn_law(halves.first, halves.second)
    row = np.full(len(told.lives), -1)
    row[np.isin(told.lives.person, groups)] = np.arange(len(halves.middle))
    done = done_with_the_other_half(head.law, halves, row[told.life[train]], told.time[train])
    settings = on.run.config.section("finetune", FinetuneSettings)
    fit_forecast(
        head.decoder,
        beside_law(take(on.inputs, torch.from_numpy(train)), done.nothing),
        hidden.target[train] - hidden.last[train, None] - done.effect,
        groups,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        seed=on.seed,
    )
    return head


def _answers(head: PlanResponse, told: _Told, asked: NDArray[np.int64]) -> Float[np.ndarray, "origin minute _"]:
    """Mean and the quantiles that are scored, under what was taken soon."""
    found = within_range(_quantiles(head, told, asked))
    return found[..., [0, *(1 + head.levels.index(level) for level in SCORED)]]


def _quantiles(
    head: PlanResponse, told: _Told, asked: NDArray[np.int64]
) -> Float[np.ndarray, "origin minute mean_and_level"]:
    """Numbers of a person come from the readings before, or from nobody's."""
    done = done_as_they_came(head.law, told.lives, told.life[asked], told.time[asked])
    said = ask(head.decoder, beside_law(take(told.on.inputs, torch.from_numpy(asked)), done.nothing))
    return quantiles(done.effect[:, None], said)[:, 0]


def _calibrate(head: PlanResponse, told: _Told, apart: NDArray[np.int64]) -> None:
    """Let people kept apart say how far the ends of the 90 % interval move."""
    said, target = within_range(_quantiles(head, told, apart)), told.on.moments.target[apart]
    group = told.on.moments.group[apart]
    for column in range(said.shape[1]):
        low, high = said[:, column, 1], said[:, column, -1]
        head.decoder.shift[column] = split_shift(low, high, target[:, column], group, COVERAGE)


def _soon(told: _Told) -> NDArray[np.bool_]:
    """Origins after which something is taken soon."""
    taken = (told.lives.bolus_units > 0) | (told.lives.carbs_g > 0)
    ahead = told.time[:, None] + np.arange(PLANNED_MIN // STEP_MINUTES)
    out: NDArray[np.bool_] = taken[told.life[:, None], ahead.clip(max=taken.shape[1] - 1)].any(axis=1)
    return out


def _of(lives: Lives, groups: Int[np.ndarray, " row"]) -> Lives:
    return lives.take(np.flatnonzero(np.isin(lives.person, groups)))


def _shown(result: Result) -> dict[str, str]:
    """The errors two hours after."""
    return {
        f"RMSE in 120 min, {row.model}": f"{row.value:.1f} mg/dL"
        for row in result.rows
        if (row.what, row.metric) == ("in 120 min", "RMSE")
    }

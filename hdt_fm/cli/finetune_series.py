"""`hdt-fm finetune head=forecast` where `series.modality` names a slow signal: forecasts of it by a frozen encoder."""

from contextlib import suppress
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hdt_fm.cli.compose import Config
from hdt_fm.cli.run import Run
from hdt_fm.cli.series import COVERAGE, HEAD, corrections, head_name, plain, usual
from hdt_fm.cli.series_teaching import Ground, ground
from hdt_fm.cli.series_teaching import plan as plan_of
from hdt_fm.cli.settings import FinetuneSettings, SeriesSettings
from hdt_fm.evaluation.backtest import floors
from hdt_fm.evaluation.backtest.run import Model as Contender
from hdt_fm.evaluation.backtest.run import backtest
from hdt_fm.metrics.conformal import scores_of, split_shift
from hdt_fm.metrics.events import EVENTS
from hdt_fm.schema import registry
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.manifest import Part
from hdt_fm.schema.protocols import HeadInput
from hdt_fm.schema.result import Result, RunRecord
from hdt_fm.schema.series import ForecastTask
from hdt_fm.signal.moments import Moments
from hdt_fm.training.forecasts import ask, fit_forecast
from hdt_fm.training.heads import take

OURS = "encoder + forecast head"
FOLLOWED = "encoder + forecast head, last layer following the person"
# Arguments of `head=forecast` that mean the same for a signal.
ALIKE = ("kind", "width")


def run(run: Run) -> RunRecord:
    """Train the head, score it on the people kept out beside the floors, and save it with the encoder."""
    config = run.config
    name = head_name(str(config.section("series", SeriesSettings).modality))
    on = ground(run, name)
    task, moments, inputs = on.task, on.moments, on.inputs
    part = _part(config, task, inputs)
    made: dict[str, Any] = {}

    def fit(hidden: Moments, _: Any, train: NDArray[np.int64], asked: NDArray[np.int64]) -> NDArray[np.float64]:
        made.update(head=taught(part, on, hidden, train), train=train)
        return ask(made["head"], take(inputs, torch.from_numpy(asked)))

    def follow(hidden: Moments, _: Any, train: NDArray[np.int64], asked: NDArray[np.int64]) -> NDArray[np.float64]:
        # The head that was trained just before; each truth is used once its day has passed.
        own = moments.rows(asked)
        some = take(inputs, torch.from_numpy(asked))
        said = ask(made["head"], some)
        return said + corrections(made["head"], own, some, said)[..., None]

    result = backtest(
        f"forecast of {task.modality}",
        on.series,
        moments,
        {**_floors(), OURS: Contender(fit, "ours"), FOLLOWED: Contender(follow, "ours")},
        headline=FOLLOWED,
        folds=[on.fold],
        seeds=[on.seed],
        levels=part.args["levels"],
        events=EVENTS.get(task.modality, ()),
        unit=task.unit,
        owed=("last value", "ridge"),
        progress=run.progress("finetune"),
    )
    head = made["head"]
    _calibrate(head, moments, inputs, on.apart(made["train"]))
    head.usual.copy_(torch.from_numpy(usual(on.series, sorted({int(one) for one in moments.group[on.fold.train]}))))
    table = on.keep(name, part, head, result)
    return on.finish(name, table, result, f"hdt-fm twin forecast PATH checkpoint={on.target}", _shown(result, task))


def plan(config: Config) -> dict[str, Any]:
    """Read the series and say how much there is to learn from."""
    return plan_of(config, head_name(str(config.section("series", SeriesSettings).modality)))


def taught(part: Part, on: Ground, hidden: Moments, train: NDArray[np.int64]) -> Any:
    """A forecast head that learned from some origins.

    Args:
        hidden: The ground's moments; of their targets those of `train` alone are read.
    """
    torch.manual_seed(on.seed)
    head = registry.build("heads", part.name, part.args)
    change = hidden.target[train] - hidden.last[train, None]
    settings = on.run.config.section("finetune", FinetuneSettings)
    fit_forecast(
        head,
        take(on.inputs, torch.from_numpy(train)),
        change,
        hidden.group[train],
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        seed=on.seed,
    )
    return head


def _part(config: Config, task: ForecastTask, inputs: HeadInput) -> Part:
    """The head, by what it is told; of `head=forecast` only what means the same here."""
    given = config.part("head")
    args: dict[str, Any] = {"levels": list(floors.LEVELS)}
    args |= given.args if given.name == HEAD else {key: given.args[key] for key in ALIKE if key in given.args}
    assert inputs.known is not None
    made = {
        "known": inputs.known.shape[1],
        "in_features": inputs.context.shape[-1],
        "horizons": len(task.horizons_s),
        "asked": plain(task),
    }
    return Part(name=HEAD, args={**args, **made})


def _floors() -> dict[str, Contender]:
    found = {
        "last value": floors.last_value(),
        "damped trend": floors.damped_trend(),
        "seasonal naive, a day": floors.seasonal_naive(),
        "ridge": floors.ridge(),
    }
    with suppress(ConfigError):  # an extra; the table says what stands in it
        found["LightGBM"] = floors.lightgbm_quantiles()
    return {name: Contender(fit, "baseline") for name, fit in found.items()}


def _calibrate(head: Any, moments: Moments, inputs: HeadInput, apart: NDArray[np.int64]) -> None:
    """Let people kept apart say how far the ends of the interval move, and how far scores lie from each other."""
    said = ask(head, take(inputs, torch.from_numpy(apart)))
    for column in range(said.shape[1]):
        low, high, truth = said[:, column, 1], said[:, column, -1], moments.target[apart, column]
        known = np.isfinite(truth)
        head.shift[column] = split_shift(low, high, truth, moments.group[apart], COVERAGE)
        head.score_spread[column] = float(np.std(scores_of(low, high, truth)[known])) if known.any() else 1.0


def _shown(result: Result, task: ForecastTask) -> dict[str, str]:
    """The errors at the middle horizon."""
    middle = f"in {task.horizons_s[len(task.horizons_s) // 2] / 60:g} min"
    return {
        f"RMSE {middle}, {row.model}": f"{row.value:.1f} {task.unit}"
        for row in result.rows
        if (row.what, row.metric) == (middle, "RMSE")
    }

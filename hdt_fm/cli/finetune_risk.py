"""`hdt-fm finetune head=event_risk`: how likely a slow signal passes a threshold within horizons, by a frozen encoder.

The head stands in the checkpoint beside the one that forecasts the signal (`finetune_series.py`) and is told the same,
and the person's own events beside.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import product
from typing import Any

import numpy as np
import torch

from hdt_fm.cli.compose import Config
from hdt_fm.cli.finetune_series import taught
from hdt_fm.cli.run import Run
from hdt_fm.cli.series import RISK, head_name, heads_of, plain, risk_name, with_own_events
from hdt_fm.cli.series_teaching import Ground, ground
from hdt_fm.cli.series_teaching import plan as plan_of
from hdt_fm.cli.settings import FinetuneSettings, SeriesSettings
from hdt_fm.evaluation.backtest import floors, risk_floors
from hdt_fm.evaluation.backtest.probability_calibration import fitted
from hdt_fm.evaluation.backtest.risk import RiskModel, risk_backtest
from hdt_fm.evaluation.backtest.risk_floors import RiskFit, Told
from hdt_fm.metrics.events import EVENTS, Event
from hdt_fm.schema import registry
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.manifest import Part
from hdt_fm.schema.protocols import HeadInput
from hdt_fm.schema.result import Result, RunRecord
from hdt_fm.schema.series import ForecastTask
from hdt_fm.signal.moments import Moments
from hdt_fm.signal.within import happened_within
from hdt_fm.training.forecasts import ask
from hdt_fm.training.heads import take
from hdt_fm.training.risks import ask_risk, fit_risk

OURS = "encoder + risk head"
SHOWN = "recall at 1 false alarm a day"
# Learned beside and not answered: a moment that came near teaches too, of events that are rare.
TEACHING: Mapping[str, tuple[Event, ...]] = {
    "glucose": tuple(
        [Event(f"below {level:g} mg/dL", level, below=True) for level in (60.0, 80.0, 95.0, 120.0)]
        + [Event(f"above {level:g} mg/dL", level, below=False) for level in (140.0, 160.0, 200.0, 240.0)]
    )
}


def run(run: Run) -> RunRecord:
    """Train the head, score it on the people kept out beside the floors, and save it with the encoder."""
    name, events = _asked_of(run.config)
    on = ground(run, name)
    ours = _RiskHead(on, with_own_events(on.inputs, on.moments, on.series, events), run.config.part("head").args)
    result = risk_backtest(
        f"risk of {on.task.modality} events",
        on.series,
        on.moments,
        {**_floors(on, ours.inputs), OURS: RiskModel(ours, "ours")},
        events=events,
        headline=OURS,
        folds=[on.fold],
        seeds=[on.seed],
        owed=("base rate", "last value and slope"),
        progress=run.progress("finetune"),
    )
    _calibrate(ours.head, on, ours.inputs, on.apart(ours.train), events)
    table = on.keep(name, ours.part, ours.head, result)
    following = f"hdt-fm twin forecast PATH checkpoint={on.target}"
    if head_name(on.task.modality) not in on.base.heads:
        following = f"hdt-fm finetune {run.config.chosen} head=series_forecast"
    return on.finish(name, table, result, following, _shown(result, on.task))


def plan(config: Config) -> dict[str, Any]:
    """Read the series and say how much there is to learn from."""
    return plan_of(config, _asked_of(config)[0])


def _asked_of(config: Config) -> tuple[str, tuple[Event, ...]]:
    """The head's name in the checkpoint, and the events of the signal."""
    modality = str(config.section("series", SeriesSettings).modality)
    if modality not in EVENTS:
        raise ConfigError(
            f"No events of {modality} are known",
            where="series.modality",
            expected=" or ".join(EVENTS),
            got=modality,
            fix="head=series_forecast forecasts any signal",
        )
    return risk_name(modality), EVENTS[modality]


@dataclass
class _RiskHead:
    """A contender of the backtest; keeps the head that it taught last, its part and whom it learned from."""

    on: Ground
    inputs: HeadInput
    args: Mapping[str, Any]
    head: Any = None
    part: Part = field(default_factory=lambda: Part(name=RISK))
    train: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def __call__(self, told: Told, train: floors.Rows, asked: floors.Rows) -> risk_floors.Risks:
        on, own = self.on, told.moments.rows(train)
        happened = np.concatenate([told.happened[train], _beside(own, told, on.task.modality)], axis=-1)
        self.part, self.train = self._part(told, happened), train
        torch.manual_seed(on.seed)
        self.head = registry.build("heads", self.part.name, self.part.args)
        settings, some = on.run.config.section("finetune", FinetuneSettings), take(self.inputs, torch.from_numpy(train))
        sizes = {"epochs": settings.epochs, "batch_size": settings.batch_size}
        fit_risk(self.head, some, happened, own.group, **sizes, seed=on.seed)
        return ask_risk(self.head, take(self.inputs, torch.from_numpy(asked)))

    def _part(self, told: Told, happened: np.ndarray) -> Part:
        assert self.inputs.known is not None
        made = {
            "known": self.inputs.known.shape[1],
            "in_features": self.inputs.context.shape[-1],
            "horizons": happened.shape[1],
            "events": len(told.events),
            "teaching": happened.shape[2] - len(told.events),
            "asked": plain(self.on.task),
            "described": [asdict(event) for event in told.events],
        }
        return Part(name=RISK, args={**self.args, **made})


def _beside(own: Moments, told: Told, modality: str) -> np.ndarray:
    """Events that only teach, of training people; one that came to nobody within a horizon, or to all, is left out."""
    happened = happened_within(own, told.series, [event.of for event in TEACHING[modality]])
    both = (happened == 0).any(axis=0) & (happened == 1).any(axis=0)
    return happened[..., both.all(axis=0)]


def _floors(on: Ground, inputs: HeadInput) -> dict[str, RiskModel]:
    assert inputs.known is not None
    found: dict[str, RiskFit] = {
        "base rate": risk_floors.base_rate(),
        "last value and slope": risk_floors.last_and_slope(),
    }
    name = head_name(on.task.modality)
    if name in heads_of(on.base, on.task.modality):
        part = on.base.config.heads[name]
        found["forecast head, at the horizon"] = risk_floors.at_horizon(_forecast(part, on), part.args["levels"])
    with suppress(ConfigError):  # an extra; the table says what stands in it
        found["LightGBM, at the horizon"] = risk_floors.at_horizon(floors.lightgbm_quantiles())
        found["LightGBM, told the same"] = risk_floors.lightgbm_classes(inputs.known.numpy())
    return {name: RiskModel(fit, "baseline") for name, fit in found.items()}


def _forecast(part: Part, on: Ground) -> floors.Fit:
    """The checkpoint's forecast head taught anew: whom the one that lies there learned from, it does not say."""

    def fit(hidden: Moments, _: Any, train: floors.Rows, asked: floors.Rows) -> np.ndarray:
        return ask(taught(part, on, hidden, train), take(on.inputs, torch.from_numpy(asked)))

    return fit


def _calibrate(head: Any, on: Ground, inputs: HeadInput, apart: floors.Rows, events: tuple[Event, ...]) -> None:
    """Let people kept apart say how often what is said comes true: a line through log-odds, as in the backtest."""
    own = on.moments.rows(apart)
    happened = happened_within(own, on.series, [event.of for event in events])
    said = ask_risk(head, take(inputs, torch.from_numpy(apart)))
    for column, event in product(range(said.shape[1]), range(said.shape[2])):
        known = np.isfinite(happened[:, column, event])
        came = happened[known, column, event] == 1
        head.slope[column, event], head.start[column, event] = _line(
            fitted(said[known, column, event], came, own.group[known])
        )


def _line(move: Callable[[np.ndarray], np.ndarray]) -> tuple[float, float]:
    """Slope and start in log-odds, by where even odds and odds of e to one go."""
    moved = move(np.array([0.5, 1 / (1 + np.exp(-1.0))]))
    start, one = (float(odds) for odds in np.log(moved / (1 - moved)))
    return one - start, start


def _shown(result: Result, task: ForecastTask) -> dict[str, str]:
    """How many events are seen coming at the middle horizon."""
    within = f"within {task.horizons_s[len(task.horizons_s) // 2] / 60:g} min"
    rows = [row for row in result.rows if row.what.endswith(within) and row.metric == SHOWN]
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row.model, []).append(f"{row.what.removesuffix(f' {within}')} {row.value:.3f}")
    return {f"{SHOWN} {within}, {model}": ", ".join(said) for model, said in found.items()}

"""The risk of glucose below 70 or above 180 mg/dL within the next 30, 60 and 120 minutes, by people never seen.

python scripts/reproduce_glucose_risk.py [--quick] [--json FILE] [--sets azt1d,shanghai_diabetes] [--seeds N]

Series, origins, folds, encoders and what is told are those of `reproduce_glucose.py`; asked are origins where the event
is not there now, and it counts at any reading up to the horizon. Beside the head: how often it happens, a logistic of
the newest reading and its slope, forecasts by quantiles that are asked at the horizon alone, and boosted trees for each
horizon and event that are told the same.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
from reproduce_glucose import SETS, Asked, Context, asked_of, head  # noqa: E402

from hdt_fm.cli.progress import reporter  # noqa: E402
from hdt_fm.evaluation.backtest import floors, risk_floors  # noqa: E402
from hdt_fm.evaluation.backtest.risk import RiskModel, risk_backtest  # noqa: E402
from hdt_fm.evaluation.backtest.risk_floors import RiskFit, Told  # noqa: E402
from hdt_fm.heads.event_risk import EventRisk  # noqa: E402
from hdt_fm.metrics.events import EVENTS, Event  # noqa: E402
from hdt_fm.report.tables import flat_rows, markdown  # noqa: E402
from hdt_fm.schema.result import Result  # noqa: E402
from hdt_fm.signal.own_events import own_events  # noqa: E402
from hdt_fm.signal.within import happened_within  # noqa: E402
from hdt_fm.training.forecasts import inputs_of  # noqa: E402
from hdt_fm.training.heads import take  # noqa: E402
from hdt_fm.training.risks import ask_risk, fit_risk  # noqa: E402

OURS = "risk head, frozen encoder of other cohorts"
BOTH = "the same and LightGBM, told the same, averaged"
EVENTS_ASKED = EVENTS["glucose"]
# Not asked: a moment that came near teaches too, of events that are rare.
TEACHING = tuple(
    [Event(f"below {level:g} mg/dL", level, below=True) for level in (60.0, 80.0, 95.0, 120.0)]
    + [Event(f"above {level:g} mg/dL", level, below=False) for level in (140.0, 160.0, 200.0, 240.0)]
)


@dataclass
class RiskHead:
    """Members on what is known of a moment, and embeddings of the windows before it; fitted anew in each fold."""

    known: np.ndarray
    context: Context
    epochs: int
    teaching: Sequence[Event] = TEACHING

    def __call__(self, told: Told, train: floors.Rows, asked: floors.Rows) -> np.ndarray:
        # Another split, other weights.
        seed = int(train.sum()) % 100_003
        torch.manual_seed(seed)
        net = EventRisk(
            known=self.known.shape[1],
            in_features=0 if self.context is None else self.context.shape[-1],
            horizons=len(told.moments.horizons_s),
            events=len(told.events),
            teaching=len(self.teaching),
        )
        inputs = inputs_of(self.known, told.moments.last, self.context)
        some = take(inputs, torch.from_numpy(train))
        own = told.moments.rows(train)
        beside = happened_within(own, told.series, [event.of for event in self.teaching])
        happened = np.concatenate([told.happened[train], beside], axis=-1)
        fit_risk(net, some, happened, own.group, epochs=self.epochs, seed=seed)
        return ask_risk(net, take(inputs, torch.from_numpy(asked)))


@dataclass
class KeptRisks:
    """A fit whose last answers are kept for a model that goes on from them."""

    fit: RiskFit
    last: np.ndarray | None = None

    def __call__(self, told: Told, train: floors.Rows, asked: floors.Rows) -> np.ndarray:
        self.last = self.fit(told, train, asked)
        return self.last.copy()


def averaged(first: KeptRisks, second: KeptRisks) -> RiskFit:
    """The mean in log-odds of two models that were asked just before."""

    def fit(told: Told, train: floors.Rows, asked: floors.Rows) -> np.ndarray:
        both = np.stack([one.last for one in (first, second) if one.last is not None]).clip(1e-6, 1 - 1e-6)
        assert both.shape[:2] == (2, len(asked)), "the two models of this fold were not asked just before"
        return np.asarray(1 / (1 + np.exp(-np.log(both / (1 - both)).mean(axis=0))))

    return fit


def table(asked: Asked, *, quick: bool) -> dict[str, RiskModel]:
    """What must be beaten, what we had, and ours."""
    trees, epochs = (20, 2) if quick else (300, 12)
    happenings = [event.of for event in EVENTS_ASKED]
    known = np.concatenate([asked.all, own_events(asked.moments, asked.series, happenings)], axis=1)
    embeddings = asked.embed(asked.encoder)
    boosted = KeptRisks(risk_floors.lightgbm_classes(known, trees=trees))
    ours = KeptRisks(RiskHead(known, embeddings, epochs))
    fits: dict[str, RiskFit] = {
        "base rate": risk_floors.base_rate(),
        "last value and slope": risk_floors.last_and_slope(),
        "LightGBM, at the horizon": risk_floors.at_horizon(floors.lightgbm_quantiles(trees=trees)),
        "forecast head, at the horizon": risk_floors.at_horizon(head(asked.all, embeddings, quick=quick)),
        "LightGBM, told the same": boosted,
        "risk head without encoder": RiskHead(known, None, epochs),
    }
    found = {name: RiskModel(fit, "baseline") for name, fit in fits.items()}
    return {**found, OURS: RiskModel(ours, "ours"), BOTH: RiskModel(averaged(ours, boosted), "ours")}


def run(name: str, options: argparse.Namespace) -> Result:
    """The table of one cohort."""
    asked = asked_of(name, quick=options.quick)
    return risk_backtest(
        f"risk of glucose events of {name}",
        asked.series,
        asked.moments,
        table(asked, quick=options.quick),
        events=EVENTS_ASKED,
        headline=OURS,
        folds=3 if options.quick else 5,
        seeds=range(options.seeds),
        progress=reporter(name),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="six people a set, one seed: numbers mean nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as a flat list")
    parser.add_argument("--sets", default=",".join(SETS), help="cohorts, by commas")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.quick:
        options.seeds = 1
    results = [run(name, options) for name in options.sets.split(",")]
    for result in results:
        print(markdown(result), end="\n\n")
    if options.json:
        options.json.write_text(json.dumps(flat_rows(results), indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Glucose in 30, 60 and 120 minutes by people never seen: every model at the same origins, floors beside.

python scripts/reproduce_glucose.py [--quick] [--json FILE] [--sets azt1d,shanghai_diabetes,t1d_uom] [--seeds N]

Recordings are those of HDT_FM_REAL_DATA. Each cohort is sharded (runs/NAME/shard), its series are read back from the
windows, and models are fitted on training people of 5 folds, N times: a seed is another split, and nothing else of a
model. Scores are means over people, intervals over people; what was measured is scored, never what was filled in.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from hdt_fm.cli.compose import compose_config  # noqa: E402
from hdt_fm.cli.run import call  # noqa: E402
from hdt_fm.data.series import series_of  # noqa: E402
from hdt_fm.data.shards import ShardFolder  # noqa: E402
from hdt_fm.evaluation.backtest import floors  # noqa: E402
from hdt_fm.evaluation.backtest.features import own_past, recent  # noqa: E402
from hdt_fm.evaluation.backtest.moments import Moments, moments_of  # noqa: E402
from hdt_fm.evaluation.backtest.run import Model, backtest  # noqa: E402
from hdt_fm.evaluation.backtest.scores import Event  # noqa: E402
from hdt_fm.layers.quantiles import QuantileNetwork  # noqa: E402
from hdt_fm.report.tables import flat_rows, markdown  # noqa: E402
from hdt_fm.schema.result import Result  # noqa: E402
from hdt_fm.schema.series import Series  # noqa: E402
from hdt_fm.training.forecasts import fit_forecast  # noqa: E402

SETS = ("azt1d", "shanghai_diabetes", "t1d_uom")
HORIZONS_S = (1800.0, 3600.0, 7200.0)
OURS = "network, own week beside"
CONTEXT_S = 3 * 3600.0
# ATTD consensus (Danne et al. 2017), mg/dL.
EVENTS = (Event("below 70 mg/dL", 70.0, below=True), Event("above 180 mg/dL", 180.0, below=False))


def models(*, quick: bool) -> dict[str, Model]:
    """By name."""
    trees, epochs = (20, 2) if quick else (300, 25)
    return {
        "last value": Model(floors.last_value(), "baseline"),
        "damped trend": Model(floors.damped_trend(), "baseline"),
        "seasonal naive, a day": Model(floors.seasonal_naive(), "baseline"),
        "ridge": Model(floors.ridge(), "baseline"),
        "LightGBM": Model(floors.lightgbm_quantiles(trees=trees), "baseline"),
        "LightGBM, own week beside": Model(floors.lightgbm_quantiles(trees=trees, own_week=True), "baseline"),
        "network on readings": Model(network(own_week=False, epochs=epochs), "ours"),
        OURS: Model(network(own_week=True, epochs=epochs), "ours"),
    }


def network(*, own_week: bool, epochs: int) -> floors.Fit:
    """Quantile networks on the last three hours, and if asked on the person's own week up to now."""

    def fit(moments: Moments, series: Sequence[Series], train: floors.Rows, asked: floors.Rows) -> np.ndarray:
        features = recent(moments)
        if own_week:
            features = np.concatenate([features, own_past(moments, series)], axis=1)
        change = moments.target[train] - moments.last[train, None]
        predict = fit_forecast(
            lambda inputs, horizons: QuantileNetwork(in_features=inputs, horizons=horizons, levels=floors.LEVELS),
            features[train],
            change,
            moments.group[train],
            levels=floors.LEVELS,
            epochs=epochs,
        )
        return moments.last[asked, None, None] + predict(features[asked])

    return fit


def run(name: str, options: argparse.Namespace) -> Result:
    """The table of one cohort."""
    quick = ["cohort.limit=6", f"name={name}_quick"] if options.quick else []
    config = compose_config("shard", [f"experiment={name}", *quick])
    call("shard", config)
    series = series_of(ShardFolder.open(config.value("shards")), "glucose")
    moments = moments_of(series, context_s=CONTEXT_S, horizons_s=HORIZONS_S)
    return backtest(
        f"glucose of {name}",
        series,
        moments,
        models(quick=options.quick),
        headline=OURS,
        folds=3 if options.quick else 5,
        seeds=range(options.seeds),
        events=EVENTS,
        unit="mg/dL",
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="six people, one seed: numbers mean nothing")
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

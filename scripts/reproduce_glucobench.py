"""GlucoBench's published rows beside ours by its own protocol, on the files that a user brings.

python scripts/reproduce_glucobench.py --path FOLDER [--quick] [--json FILE] [--sets Broll,...] [--seeds N]

FOLDER holds the CSV files of the benchmark's raw_data folder, or some of them: iglu.csv (Broll), colas.csv,
dubosson.csv, hall.csv, weinstock.csv, with the columns id, time and gl. Where to get them, and what is odd about the
protocol: hdt_fm/evaluation/README.md. Sets whose file is not there are left out. Without --sets all are tried.

The benchmark's RMSE is the root of the median over windows of a window's squared error; it is named so here, and the
usual RMSE stands beside. Its ARIMA is run too where statsforecast is installed (extra arima). Published rows are
recomputed from the logs in its repository (output/, state of 2024-08).
"""

import argparse
import json
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from hdt_fm.evaluation.backtest import floors  # noqa: E402
from hdt_fm.evaluation.backtest.glucobench import EVERY, SEEDS, SETS, Entrant, Rules, arima, bridge, linear, segments_of  # noqa: E402
from hdt_fm.heads.series_forecast import SeriesForecast  # noqa: E402
from hdt_fm.report.tables import flat_rows, markdown  # noqa: E402
from hdt_fm.schema.errors import ReaderError, unknown_name  # noqa: E402
from hdt_fm.schema.series import Series  # noqa: E402
from hdt_fm.signal.moments import Moments  # noqa: E402
from hdt_fm.signal.own_past import recent  # noqa: E402
from hdt_fm.training.forecasts import ask, fit_forecast, inputs_of  # noqa: E402
from hdt_fm.training.heads import take  # noqa: E402

# Of people seen, then unseen: root median window MSE, median window MAE, RMSE, MAE over windows; mg/dL, no covariates.
PUBLISHED: dict[str, dict[str, tuple[float, ...]]] = {
    "Broll": {
        "ARIMA": (10.53, 8.67, 20.38, 12.83, 11.75, 9.71, 23.15, 14.18),
        "Linear": (11.68, 9.71, 19.43, 12.92, 11.98, 9.83, 21.19, 13.39),
        "XGBoost": (12.80, 11.50, 20.53, 14.48, 9.76, 8.72, 22.41, 13.86),
        "Gluformer": (14.19, 12.55, 22.21, 16.10, 16.70, 14.82, 24.90, 18.14),
        "Latent ODE": (14.37, 12.32, 23.26, 16.15, 14.96, 13.05, 25.01, 16.91),
        "NHiTS": (13.79, 12.07, 22.03, 15.40, 14.64, 12.77, 23.67, 16.39),
        "TFT": (13.73, 11.07, 24.35, 15.58, 12.43, 10.23, 21.40, 13.70),
        "Transformer": (15.12, 13.20, 21.78, 15.98, 14.04, 12.28, 21.33, 14.97),
    },
    "Colas": {
        "ARIMA": (5.80, 4.80, 10.87, 6.59, 5.91, 4.87, 11.85, 6.96),
        "Linear": (5.26, 4.35, 9.74, 5.95, 5.33, 4.41, 9.48, 5.88),
        "XGBoost": (6.42, 5.49, 12.15, 7.75, 6.18, 5.32, 11.49, 7.44),
        "Gluformer": (8.17, 7.12, 12.53, 8.81, 6.94, 6.03, 11.25, 7.78),
        "Latent ODE": (6.28, 5.37, 11.36, 7.34, 5.64, 4.84, 10.18, 6.60),
        "NHiTS": (5.93, 5.04, 11.07, 7.07, 5.68, 4.83, 10.35, 6.66),
        "TFT": (5.62, 4.54, 10.37, 6.33, 5.51, 4.47, 9.82, 6.16),
        "Transformer": (6.47, 5.65, 11.63, 7.76, 5.97, 5.24, 10.80, 7.26),
    },
    "Dubosson": {
        "ARIMA": (13.53, 11.06, 35.16, 17.75, 18.75, 14.58, 33.95, 19.71),
        "Linear": (12.07, 9.97, 24.72, 14.16, 15.69, 11.90, 26.15, 15.85),
        "XGBoost": (21.18, 19.09, 37.79, 25.50, 17.57, 15.42, 27.14, 19.33),
        "Gluformer": (21.74, 19.40, 39.67, 26.92, 23.48, 20.70, 32.00, 24.77),
        "Latent ODE": (20.14, 17.88, 35.47, 24.25, 17.38, 15.12, 26.36, 18.98),
        "NHiTS": (17.45, 14.79, 31.50, 20.83, 18.20, 15.59, 26.71, 18.72),
        "TFT": (18.37, 15.49, 32.25, 21.24, 17.50, 14.53, 25.18, 17.70),
        "Transformer": (16.62, 14.04, 31.35, 19.93, 15.71, 12.98, 24.02, 16.51),
    },
    "Hall": {
        "ARIMA": (8.63, 7.34, 18.14, 10.73, 8.22, 6.97, 15.64, 9.86),
        "Linear": (7.38, 6.33, 14.10, 8.84, 7.86, 6.62, 14.08, 8.87),
        "XGBoost": (7.58, 6.55, 15.74, 9.65, 7.49, 6.52, 14.06, 9.10),
        "Gluformer": (7.74, 6.69, 13.91, 9.10, 8.17, 7.04, 13.73, 9.35),
        "Latent ODE": (7.13, 6.11, 13.79, 8.66, 7.71, 6.61, 13.04, 8.73),
        "NHiTS": (7.68, 6.57, 14.89, 9.30, 7.74, 6.62, 13.05, 8.73),
        "TFT": (7.92, 6.61, 14.28, 9.17, 8.12, 6.76, 13.71, 9.07),
        "Transformer": (7.89, 6.78, 14.61, 9.30, 8.18, 7.07, 12.84, 8.88),
    },
    "Weinstock": {
        "ARIMA": (13.40, 11.25, 27.14, 16.47, 15.87, 13.34, 30.19, 18.83),
        "Linear": (13.60, 11.46, 24.95, 15.81, 15.58, 13.09, 27.23, 17.62),
        "XGBoost": (13.63, 11.61, 26.48, 16.61, 15.36, 13.04, 28.84, 18.24),
        "Gluformer": (14.07, 12.09, 24.91, 16.33, 15.94, 13.65, 27.29, 18.02),
        "Latent ODE": (13.54, 11.45, 24.76, 15.81, 15.06, 12.72, 26.75, 17.24),
        "NHiTS": (13.29, 11.21, 24.85, 15.69, 14.52, 12.24, 26.72, 16.92),
        "TFT": (14.32, 11.76, 25.51, 16.33, 15.25, 12.50, 27.14, 17.32),
        "Transformer": (13.22, 11.22, 24.47, 15.55, 14.15, 11.91, 25.85, 16.42),
    },
}
LEVELS = (0.1, 0.5, 0.9)
# Three hours for ours, as in reproduce_glucose.py.
BACK = 36
OWED = ("last value", "damped trend", "ridge, 3 h", "LightGBM, 3 h")


def entrants(rules: Rules, *, quick: bool) -> dict[str, Entrant]:
    """By name; each gives points alone, so no quantiles are fitted where they can be spared."""
    trees, epochs = (20, 2) if quick else (300, 25)
    theirs = {}
    if find_spec("statsforecast"):
        theirs["AutoARIMA, as they fit it"] = Entrant(arima(), "baseline", rules.context, later=EVERY)
    return theirs | {
        "linear, as they fit it (with the person's number)": Entrant(
            linear(persons_number=True), "baseline", rules.lags
        ),
        "linear, readings alone": Entrant(linear(persons_number=False), "baseline", rules.lags),
        "linear, 1 h": Entrant(linear(persons_number=False), "baseline", 12),
        "last value": Entrant(floors.last_value(()), "baseline", BACK),
        "damped trend": Entrant(floors.damped_trend(()), "baseline", BACK),
        "ridge, 3 h": Entrant(floors.ridge(()), "baseline", BACK),
        "LightGBM, 3 h": Entrant(floors.lightgbm_quantiles((), trees=trees), "baseline", BACK),
        "network on readings, 3 h": Entrant(network(epochs=epochs), "ours", BACK),
    }


def network(*, epochs: int) -> floors.Fit:
    """The head of reproduce_glucose.py without an encoder, on readings; its mean is the point."""

    def fit(moments: Moments, series: Sequence[Series], train: floors.Rows, asked: floors.Rows) -> np.ndarray:
        seed = int(train.sum()) % 100_003
        torch.manual_seed(seed)
        known = recent(moments)
        net = SeriesForecast(known=known.shape[1], horizons=len(moments.horizons_s), levels=LEVELS)
        inputs = inputs_of(known, moments.last, None)
        change = moments.target[train] - moments.last[train, None]
        some = take(inputs, torch.from_numpy(train))
        fit_forecast(net, some, change, moments.group[train], epochs=epochs, seed=seed)
        return ask(net, take(inputs, torch.from_numpy(asked)))

    return fit


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--path", type=Path, required=True, metavar="FOLDER", help="the benchmark's raw data")
    parser.add_argument("--quick", action="store_true", help="one split, short training: our numbers mean nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as a flat list")
    parser.add_argument("--sets", default=",".join(SETS), help="by commas")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="how many of the splits")
    options = parser.parse_args()
    torch.set_num_threads(1)
    named = options.sets.split(",")
    for name in named:
        if name not in SETS:
            raise unknown_name("set", name, SETS, where="--sets")
    there = [name for name in named if (options.path / SETS[name].file).is_file()]
    if not there:
        raise ReaderError(
            "No file of the benchmark is there",
            expected=f"one of {', '.join(rules.file for rules in SETS.values())}",
            where="--path",
            fix="see hdt_fm/evaluation/README.md, 'The bridge to GlucoBench'",
        )
    results = []
    for name in there:
        rules = SETS[name]
        segments = segments_of(options.path / rules.file, rules)
        seeds = SEEDS[: 1 if options.quick else options.seeds]
        models = entrants(rules, quick=options.quick)
        results.append(bridge(name, segments, rules, models, published=PUBLISHED[name], owed=OWED, seeds=seeds))
        print(markdown(results[-1]), end="\n\n", flush=True)
    if options.json:
        options.json.write_text(json.dumps(flat_rows(results), indent=1) + "\n")


if __name__ == "__main__":
    main()

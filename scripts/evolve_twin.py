"""A window of new readings absorbed into a person's twin: milliseconds and bytes, beside asking of the whole again.

python scripts/evolve_twin.py [--quick] [--json FILE] [--seeds 1]

The small encoder (recurrent, width 96, seven windows of a day) and a head of three members, on readings every five
minutes with doses, meals and a pump's rate. Weights are fresh: what is measured does not hang on them. Times are of
this process on one thread: CPU, and by the clock beside, which counts the waiting for the disk.
"""

import argparse
import copy
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from hdt_fm.checkpoint import build_model  # noqa: E402
from hdt_fm.checkpoint.versions import Versions  # noqa: E402
from hdt_fm.cli.progress import Report, reporter  # noqa: E402
from hdt_fm.cli.series import corrections, told  # noqa: E402
from hdt_fm.cli.twin.asked import AskedHead  # noqa: E402
from hdt_fm.evaluation.backtest.floors import LEVELS  # noqa: E402
from hdt_fm.metrics.events import EVENTS  # noqa: E402
from hdt_fm.report.tables import flat_rows, markdown  # noqa: E402
from hdt_fm.schema.ledger import Told  # noqa: E402
from hdt_fm.schema.manifest import ModelConfig, Part  # noqa: E402
from hdt_fm.schema.result import Result, Row  # noqa: E402
from hdt_fm.schema.series import DAY_S, ForecastTask  # noqa: E402
from hdt_fm.schema.shard import ModalityColumn  # noqa: E402
from hdt_fm.training.forecasts import ask  # noqa: E402
from hdt_fm.twin.forecast.outlook import Outlook, outlook  # noqa: E402
from hdt_fm.twin.state.answer import forecast, local  # noqa: E402
from hdt_fm.twin.state.state import Reference, TwinState, bytes_kept, needed_s, save_state  # noqa: E402
from hdt_fm.twin.state.stream import Window, absorb  # noqa: E402
from hdt_fm.twin.state.tracks import Events, Stretch  # noqa: E402
from hdt_fm.twin.state.watched import watch_for  # noqa: E402

TWIN, AGAIN = "twin", "the whole export again"
WINDOWS_S = {"5 min": 300.0, "30 min": 1800.0, "2 h": 7200.0}
MEASURED, QUICK_MEASURED, WHOLE_DAYS = 200, 12, 28.0
MIDNIGHTS, QUICK_MIDNIGHTS = 20, 1
WEEKS, QUICK_WEEKS = (1, 4, 12), (1, 2)
STEP_S, WINDOW_S = 300.0, 93_600.0
TASK = ForecastTask(
    modality="glucose",
    unit="mg/dL",
    step_s=STEP_S,
    context_s=10_800.0,
    horizons_s=(1800.0, 3600.0, 5400.0, 7200.0),
    every_s=1800.0,
    windows=7,
    apart_s=float(DAY_S),
    treatments=("bolus", "carbs", "insulin_rate"),
)
# Context with last reading, share and time of day; own past; six columns of each treatment.
KNOWN = (35 + 4) + (12 + 3 * 5) + 6 * 3


def asked_head(seed: int) -> AskedHead:
    """As `hdt-fm finetune experiment=t1d_uom` sizes it."""
    rate = 1 / STEP_S
    column = ModalityColumn(
        name="glucose", unit="mg/dL", channels=1, sampling_rate_hz=rate, samples=round(WINDOW_S * rate), encoding="f32"
    )
    part = {"levels": list(LEVELS), "known": KNOWN, "in_features": 96, "horizons": len(TASK.horizons_s)}
    config = ModelConfig(
        modalities=(column,),
        encoder=Part(name="recurrent", args={"width": 96, "patch_s": 3600.0, "points": 4, "ahead_s": 7200.0}),
        projection=Part(name="projection", args={"dim": 32}),
        heads={"forecast_glucose": Part(name="series_forecast", args=part)},
        statistics={"glucose": (140.0, 40.0)},
        window_s=WINDOW_S,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build_model(config).eval()
    head = model.heads["forecast_glucose"]
    head.spread.fill_(20.0)
    head.score_spread.fill_(10.0)
    return AskedHead(model, head, TASK)


def life(days: float, seed: int) -> Window:
    """A daily wave with slow noise, four doses and meals a day, a pump's rate; begins at a midnight."""
    draws, begin_s = np.random.default_rng(seed), 20_000.0 * DAY_S
    count = round(days * DAY_S / STEP_S)
    times_s, noise = begin_s + STEP_S * np.arange(count), np.zeros(count)
    fresh = draws.normal(0, 4, count)
    for at in range(1, count):
        noise[at] = 0.95 * noise[at - 1] + fresh[at]
    values = (150 + 30 * np.sin(2 * np.pi * times_s / DAY_S) + noise).astype(np.float32)
    taken_s = begin_s + np.sort(draws.uniform(0, days * DAY_S, round(4 * days)))
    units, grams = (draws.uniform(*ends, len(taken_s)).astype(np.float32) for ends in ((1, 8), (10, 80)))
    return Window(
        readings=(Stretch(times_s, values, STEP_S),),
        recorded={"insulin_rate": (Stretch(times_s, np.full(count, 0.8, dtype=np.float32), STEP_S),)},
        events={"bolus": Events(taken_s, units), "carbs": Events(taken_s, grams)},
        clock="local",
        source="made up",
    )


def between(whole: Window, first_s: float, last_s: float) -> Window:
    """What is after the first moment, up to the last."""

    def some(one: Stretch) -> Stretch:
        rows = slice(*np.searchsorted(one.times_s, [first_s, last_s], side="right"))
        return replace(one, times_s=one.times_s[rows], values=one.values[rows])

    def given(one: Events) -> Events:
        rows = slice(*np.searchsorted(one.times_s, [first_s, last_s], side="right"))
        return Events(one.times_s[rows], one.amounts[rows])

    return replace(
        whole,
        readings=tuple(some(one) for one in whole.readings),
        recorded={name: tuple(some(one) for one in each) for name, each in whole.recorded.items()},
        events={name: given(one) for name, one in whole.events.items()},
    )


def new_state(asked: AskedHead, kept_s: float | None = None) -> TwinState:
    """Of somebody of whom nothing was read."""
    needed = needed_s(TASK, WINDOW_S)
    reference = Reference("fresh", "nowhere", TASK, "newest", needed, kept_s or needed)
    return TwinState(reference=reference, learned=asked.new_person(), salt="", watch=watch_for(TASK))


def of_the_whole(asked: AskedHead, state: TwinState) -> Outlook:
    """What `hdt-fm twin forecast PATH` does once the export is read."""
    series, given = local(state, TASK)
    moments, inputs = told(asked.model, series, TASK, given=given, now=True)
    said = ask(asked.head, inputs)
    added = corrections(asked.head, moments, inputs, said)
    events = EVENTS[TASK.modality]
    people = asked.new_person().people
    return outlook(moments, said + added[..., None], people, readings_s=WHOLE_DAYS * DAY_S, events=events)


def measured(work: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds of the processor, and by the clock."""
    cpu, clock = time.process_time(), time.perf_counter()
    work()
    return 1e3 * (time.process_time() - cpu), 1e3 * (time.perf_counter() - clock)


def one_by_one(
    asked: AskedHead, state: TwinState, whole: Window, window_s: float, several: int, folder: Path | None
) -> np.ndarray:
    """Milliseconds of each window, (window, CPU and clock): absorbed alone, or with a version for each."""
    state, out = copy.deepcopy(state), np.zeros((several, 2))
    versions = None if folder is None else Versions.create(folder, lambda place: save_state(state, place), Told())

    def work(came: Window) -> None:
        found = absorb(state, came, asked)
        if versions is not None:
            versions.append(lambda place: save_state(state, place), Told(scores=found.came))

    for row in range(several):
        first_s = state.newest_s
        came = between(whole, first_s, first_s + window_s)
        out[row] = measured(lambda came=came: work(came))
    return out


def at_midnights(asked: AskedHead, state: TwinState, whole: Window, several: int) -> np.ndarray:
    """Milliseconds of windows of 5 minutes that bring a midnight: a day for the watch, and a solve of the own layer."""
    state, out = copy.deepcopy(state), np.zeros((several, 2))
    for row in range(several):
        midnight_s = float(np.floor(state.newest_s / DAY_S) + 1) * DAY_S
        absorb(state, between(whole, state.newest_s, midnight_s - STEP_S), asked)
        came = between(whole, state.newest_s, midnight_s)
        out[row] = measured(lambda came=came: absorb(state, came, asked))
    return out


def times(asked: AskedHead, whole: Window, several: int, progress: Report) -> list[Row]:
    """Of each size of window; the floor is the same for all."""
    rows: list[Row] = []
    begin_s = float(whole.readings[0].times_s[0])
    everything, state = new_state(asked, WHOLE_DAYS * DAY_S), new_state(asked)
    upto = between(whole, -np.inf, begin_s + WHOLE_DAYS * DAY_S)
    absorb(state, upto, asked)
    everything.readings = replace(everything.readings, **vars_of(upto.readings[0]))
    everything.recorded = {"insulin_rate": replace(state.readings, **vars_of(upto.recorded["insulin_rate"][0]))}
    everything.events = dict(upto.events)
    again = np.array([measured(lambda: of_the_whole(asked, everything)) for _ in range(3)])
    for place, (name, window_s) in enumerate(WINDOWS_S.items()):
        progress(place, len(WINDOWS_S) + 1, f"windows of {name}")
        with tempfile.TemporaryDirectory() as scratch:
            for what, folder in (("absorbed", None), ("absorbed and committed", Path(scratch) / "twin")):
                found = one_by_one(asked, state, whole, window_s, several, folder)
                for model, some, role in ((TWIN, found, "ours"), (AGAIN, again, "baseline")):
                    rows.append(_time(f"{what}, window of {name}", model, some, role))
    nightly = at_midnights(asked, state, whole, QUICK_MIDNIGHTS if several == QUICK_MEASURED else MIDNIGHTS)
    for model, some, role in ((TWIN, nightly, "ours"), (AGAIN, again, "baseline")):
        rows.append(_time("absorbed, 5 min that bring a midnight", model, some, role))
    # A forecast itself, once a window is absorbed.
    asks = np.array([measured(lambda: forecast(state, asked)) for _ in range(max(3, several // 10))])
    rows += [_time("asked", TWIN, asks, "ours"), _time("asked", AGAIN, again, "baseline")]
    return rows


def vars_of(one: Stretch) -> dict[str, np.ndarray]:
    """Of a stretch, as a track has them."""
    return {"times_s": one.times_s, "values": one.values}


def sizes(asked: AskedHead, whole: Window, weeks: tuple[int, ...], progress: Report) -> list[Row]:
    """Bytes of the state, and of the readings and treatments that an export so long holds."""
    state, rows = new_state(asked), []
    begin_s = float(whole.readings[0].times_s[0])
    for week in weeks:
        progress(len(WINDOWS_S), len(WINDOWS_S) + 1, f"{week} weeks")
        upto = between(whole, state.newest_s, begin_s + week * 7.0 * DAY_S)
        absorb(state, upto, asked)
        all_of_it = between(whole, -np.inf, begin_s + week * 7.0 * DAY_S)
        samples = [*all_of_it.readings, *(one for each in all_of_it.recorded.values() for one in each)]
        held = sum(one.times_s.nbytes + one.values.nbytes for one in samples)
        held += sum(one.times_s.nbytes + one.amounts.nbytes for one in all_of_it.events.values())
        for model, size, role in ((TWIN, bytes_kept(state), "ours"), (AGAIN, held, "baseline")):
            kept = {"readings kept": len(state.readings)} if role == "ours" else {}
            rows.append(
                Row(
                    what=f"after {week} weeks",
                    model=model,
                    metric="kept",
                    value=size / 1e6,
                    unit="MB",
                    n=1,
                    role=role,
                    columns=kept,
                )
            )
    return rows


def _time(what: str, model: str, some: np.ndarray, role: str) -> Row:
    """Median and the middle 95 % of windows, of one made-up person."""
    low, middle, high = np.quantile(some[:, 0], [0.025, 0.5, 0.975])
    clock = {"by the clock": round(float(np.median(some[:, 1])), 2), "windows": len(some)}
    return Row(
        what=what,
        model=model,
        metric="CPU",
        value=float(middle),
        low=float(low),
        high=float(high),
        unit="ms",
        n=1,
        role=role,
        columns=clock,
    )


def table(*, quick: bool, seeds: int, progress: Report) -> Result:
    """Times of windows and bytes of the state; ends are those of the middle 95 % of windows, not of people."""
    weeks, several = (QUICK_WEEKS, QUICK_MEASURED) if quick else (WEEKS, MEASURED)
    # The longest windows need as many days as there are of them.
    days = max(7.0 * weeks[-1], WHOLE_DAYS + several * WINDOWS_S["2 h"] / DAY_S) + 1
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        asked, whole = asked_head(seeds), life(days, seeds)
        rows = [*times(asked, whole, several, progress), *sizes(asked, whole, weeks, progress)]
    finally:
        torch.set_num_threads(threads)
    progress(len(WINDOWS_S) + 1, len(WINDOWS_S) + 1, "")
    return Result(
        name="a window absorbed into a twin",
        protocol={"better": {"CPU": "lower", "kept": "lower"}, "headline": TWIN, "windows": several},
        rows=tuple(rows),
        required_baselines=(AGAIN,),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_MEASURED} windows of each size")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as a flat list")
    parser.add_argument("--seeds", type=int, default=1, help="of the made-up person and the weights")
    options = parser.parse_args()
    result = table(quick=options.quick, seeds=options.seeds, progress=reporter("twin"))
    print(markdown(result))
    print(f"{time.process_time():.1f} CPU-s")
    if options.json:
        options.json.write_text(json.dumps(flat_rows([result]), indent=1) + "\n")


if __name__ == "__main__":
    main()

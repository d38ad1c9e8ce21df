"""What noise cancelling and artefact masks are worth: heart rate from a moving wrist, before and after, and their cost.

python scripts/bench_artefacts.py [--quick] [--json FILE] [--trials N] [--data FOLDER] [--people N]

Synthetic: two minutes of a pulse at 64 Hz with steps mixed in at a known SNR. "linear" mixes by a short filter of each
axis, which is what the method assumes; "changing" lets the filters drift and adds squares of the axes. "apart": cadence
and its multiples are 12 bpm or more from the heart rate and its double; "close": the cadence is the heart rate within
5 bpm, so that nothing tells them apart. Error: mean over windows of 16 s, 8 s apart, past the first 24 s. "moving,
untouched" adds no artefact though the reference moves; "at rest" does not move.

Real: stress_predict (FOLDER or $HDT_FM_REAL_DATA), an E4 at 64 Hz, by the code that makes shards. Right: within 5 bpm
of HR.csv, which the device itself worked out from the same pulse, smoothed and late. How late is looked up on the
stillest third of the windows, before anything is cancelled; without a delay the rows are in the file as well.
Intervals: bootstrap over trials or people. CPU times are of this process alone, the contenders taking turns.
"""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from data_pipelines.cohorts.stress_predict import StressPredict  # noqa: E402
from hdt_fm.schema.modalities import PLACES  # noqa: E402
from hdt_fm.schema.preparation import (  # noqa: E402
    ArtefactSettings,
    ModalityPreparation,
    NoiseCancelling,
    Preparation,
)
from hdt_fm.schema.recording import NS_PER_S, Visit  # noqa: E402
from hdt_fm.signal.adaptive_noise import Canceller  # noqa: E402
from hdt_fm.signal.filters import band_filter  # noqa: E402
from hdt_fm.signal.labels import window_labels  # noqa: E402
from hdt_fm.signal.pulse import heart_rate  # noqa: E402
from hdt_fm.signal.windows import cut  # noqa: E402

RATE = 64.0
BAND: dict[str, Any] = {"highpass_hz": 0.4, "lowpass_hz": 8.0, "order": 4}
SECONDS, SETTLED_S = 120, 24
WINDOW_S, HOP_S = 16, 8
SNRS_DB = (-10, -5, 0, 5, 10)
RIGHT_BPM = 5.0
DELAYS_S = range(0, 61, 5)
DRAWS = 1000
CONTENDERS: dict[str, NoiseCancelling | None] = {
    "off": None,
    **{method: NoiseCancelling(method=method, gated=False) for method in ("nlms", "rls", "ridge")},
    **{f"{method}, gated": NoiseCancelling(method=method) for method in ("nlms", "rls", "ridge")},
}


class Trial(NamedTuple):
    """A pulse, what moves beside it and what the movement does to it, all through one filter."""

    pulse: np.ndarray
    artefact: np.ndarray
    reference: np.ndarray
    bpm: np.ndarray  # of each sample


def filtered(rows: np.ndarray) -> np.ndarray:
    """As `prepare` filters both sides."""
    rows = np.atleast_2d(rows).astype(np.float32)
    return band_filter(rows, np.ones(rows.shape[1], dtype=np.bool_), sampling_rate_hz=RATE, **BAND)[0]


def wandering(hz: float, share: float, generator: np.random.Generator) -> np.ndarray:
    """A frequency over time that breathes and drifts."""
    time_s = np.arange(round(SECONDS * RATE)) / RATE
    drift = np.cumsum(generator.normal(size=len(time_s))) / math.sqrt(len(time_s))
    return hz * (1 + share * np.sin(2 * np.pi * 0.1 * time_s + generator.uniform(0, 6)) + share / 2 * drift)


def trial(seed: int, mixture: str, rates: str) -> Trial:
    """One person walking; SNR is set later."""
    generator = np.random.default_rng(seed)
    bpm, cadence = draw_rates(rates, generator)
    beats = wandering(bpm / 60, 0.03, generator)
    phase = 2 * np.pi * np.cumsum(beats) / RATE
    pulse = np.sin(phase) + 0.4 * np.sin(2 * phase + 1) + 0.15 * np.sin(3 * phase + 2)
    steps = 2 * np.pi * np.cumsum(wandering(cadence, 0.02, generator)) / RATE
    axes = np.array([one_axis(steps, generator) for _ in range(3)])
    return Trial(
        pulse=filtered(pulse + generator.normal(0, 0.02, len(pulse)))[0],
        artefact=filtered(mixed(axes, mixture, generator))[0],
        reference=filtered(axes),
        bpm=60 * beats,
    )


def draw_rates(rates: str, generator: np.random.Generator) -> tuple[float, float]:
    """Heart rate in bpm and cadence in Hz."""
    while True:
        bpm, cadence = generator.uniform(60, 140), generator.uniform(1.2, 2.4)
        if rates == "close":
            return 60 * cadence + generator.uniform(-5, 5), cadence
        far = min(abs(60 * cadence * times - bpm * beats) for times in (0.5, 1, 2) for beats in (1, 2))
        if far >= 12:
            return bpm, cadence


def one_axis(steps: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """In g: a swing, its double, and what is not rhythm."""
    swing = generator.uniform(0.1, 0.4) * np.sin(steps + generator.uniform(0, 6))
    return (
        swing
        + generator.uniform(0.05, 0.2) * np.sin(2 * steps + generator.uniform(0, 6))
        + generator.normal(0, 0.08, len(steps))
    )


def mixed(axes: np.ndarray, mixture: str, generator: np.random.Generator) -> np.ndarray:
    """What the axes do to the pulse, at any scale."""

    def path() -> np.ndarray:
        kernels = generator.normal(size=(3, 6)) * np.exp(-np.arange(6) / 3)
        parts = [np.convolve(axis, kernel)[: axes.shape[1]] for axis, kernel in zip(axes, kernels, strict=True)]
        heard: np.ndarray = np.sum(parts, axis=0)
        return heard / heard.std()

    if mixture == "linear":
        return path()
    turn = np.sin(2 * np.pi * np.arange(axes.shape[1]) / RATE / generator.uniform(20, 40)) / 2 + 0.5
    squares = (axes**2).sum(axis=0)
    return turn * path() + (1 - turn) * path() + 0.7 * (squares - squares.mean()) / squares.std()


def clean_by(noise: NoiseCancelling | None, signal: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The signal after one contender."""
    if noise is None:
        return signal
    return Canceller(noise, sampling_rate_hz=RATE, axes=len(reference)).block(signal, reference).values


def snr_db(pulse: np.ndarray, signal: np.ndarray) -> float:
    """Of the settled part."""
    inner = slice(round(SETTLED_S * RATE), None)
    left = float(((signal - pulse)[inner].astype(np.float64) ** 2).mean())
    return 10 * math.log10(float((pulse[inner].astype(np.float64) ** 2).mean()) / left) if left else math.inf


def bpm_error(signal: np.ndarray, bpm: np.ndarray) -> float:
    """Mean absolute error over windows of the settled part."""
    starts = range(round(SETTLED_S * RATE), len(signal) - round(WINDOW_S * RATE) + 1, round(HOP_S * RATE))
    windows = np.array([signal[start : start + round(WINDOW_S * RATE)] for start in starts], dtype=np.float64)
    truth = np.array([bpm[start : start + round(WINDOW_S * RATE)].mean() for start in starts])
    return float(np.abs(heart_rate(windows, RATE).bpm - truth).mean())


def interval(values: Sequence[float] | np.ndarray) -> tuple[float, float, float]:
    """Mean and its 95 % bootstrap interval over the units that were drawn."""
    found = np.asarray(values, dtype=np.float64)
    found = found[np.isfinite(found)]
    if not len(found):
        return math.nan, math.nan, math.nan
    draws = np.random.default_rng(0).integers(0, len(found), (DRAWS, len(found)))
    low, high = np.quantile(found[draws].mean(axis=1), (0.025, 0.975))
    return float(found.mean()), float(low), float(high)


def row(what: str, model: str, metric: str, values: tuple[float, float, float], unit: str, n: int, **more: Any) -> dict:
    """One flat row of the result."""
    value, low, high = values
    return {
        "what": what,
        "model": model,
        "metric": metric,
        "value": value,
        "low": low,
        "high": high,
        "unit": unit,
        "n": n,
        **more,
    }


def synthetic(mixture: str, rates: str, snr: float, trials: int) -> list[dict]:
    """Every contender on the same trials."""
    errors: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    gains: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for seed in range(trials):
        one = trial(seed, mixture, rates)
        inner = slice(round(SETTLED_S * RATE), None)
        scale = one.pulse[inner].std() / one.artefact[inner].std() * 10 ** (-snr / 20)
        signal = (one.pulse + scale * one.artefact).astype(np.float32)
        before = snr_db(one.pulse, signal)
        for name, noise in CONTENDERS.items():
            cleaned = clean_by(noise, signal, one.reference)
            errors[name].append(bpm_error(cleaned, one.bpm))
            gains[name].append(snr_db(one.pulse, cleaned) - before)
    what, about = f"{mixture}, {rates}, {snr:+g} dB", {"mixture": mixture, "rates": rates, "snr_db": snr}
    rows = [row(what, name, "heart-rate error", interval(errors[name]), "bpm", trials, **about) for name in CONTENDERS]
    return rows + [row(what, name, "SNR gain", interval(gains[name]), "dB", trials, **about) for name in CONTENDERS]


def harm(trials: int) -> list[dict]:
    """What is done to a pulse that nothing disturbs."""
    rows = []
    for what, rates, still in (
        ("at rest", "apart", True),
        ("moving, untouched, apart", "apart", False),
        ("moving, untouched, close", "close", False),
    ):
        about = {"mixture": "none", "rates": rates}
        changed: dict[str, list[float]] = {name: [] for name in CONTENDERS}
        errors: dict[str, list[float]] = {name: [] for name in CONTENDERS}
        ratios: dict[str, list[float]] = {name: [] for name in CONTENDERS}
        for seed in range(trials):
            one = trial(seed, "linear", rates)
            quiet = filtered(np.random.default_rng(seed).normal(0, 0.004, one.reference.shape))
            reference = quiet if still else one.reference
            for name, noise in CONTENDERS.items():
                cleaned = clean_by(noise, one.pulse, reference)
                changed[name].append(100 * float((cleaned != one.pulse).mean()))
                errors[name].append(bpm_error(cleaned, one.bpm))
                ratios[name].append(snr_db(one.pulse, cleaned))
        for name in CONTENDERS:
            rows.append(row(what, name, "heart-rate error", interval(errors[name]), "bpm", trials, **about))
            rows.append(row(what, name, "samples changed", interval(changed[name]), "%", trials, **about))
            rows.append(row(what, name, "SNR left", interval(ratios[name]), "dB", trials, **about))
    return rows


def cost(rounds: int) -> list[dict]:
    """CPU per sample, as one call and sample by sample, and how much of the future an answer waits for."""
    one = trial(0, "linear", "apart")
    signal = (one.pulse + one.artefact).astype(np.float32)
    times: dict[tuple[str, str], list[float]] = {}
    asked = {name: noise for name, noise in CONTENDERS.items() if noise is not None}
    few = round(20 * RATE)
    for _ in range(rounds):
        for name, noise in asked.items():
            begun = time.process_time()
            clean_by(noise, signal, one.reference)
            times.setdefault((name, "CPU per sample"), []).append(1e6 * (time.process_time() - begun) / len(signal))
            canceller = Canceller(noise, sampling_rate_hz=RATE)
            begun = time.process_time()
            for at in range(few):
                canceller.step(float(signal[at]), one.reference[:, at])
            times.setdefault((name, "CPU per step"), []).append(1e6 * (time.process_time() - begun) / few)
    rows = [
        row("cost", name, metric, (float(np.median(found)), min(found), max(found)), "us", rounds)
        for (name, metric), found in times.items()
    ]
    for name, noise in asked.items():
        waited = float(future_needed(noise, signal, one.reference))
        rows.append(row("cost", name, "samples of the future", (waited,) * 3, "samples", 1))
    return rows


def future_needed(noise: NoiseCancelling, signal: np.ndarray, reference: np.ndarray) -> int:
    """By how many samples what comes later reaches back: found by changing all that comes after a sample."""
    at, changed, moved = len(signal) // 2, signal.copy(), reference.copy()
    changed[at:], moved[:, at:] = 7.0, -3.0
    before, after = clean_by(noise, signal, reference), clean_by(noise, changed, moved)
    differ = np.flatnonzero(before[:at] != after[:at])
    return at - int(differ[0]) if len(differ) else 0


class Person(NamedTuple):
    """Windows of one session.

    Movement is in g; heart rates are before, after, and as the device says at each delay.
    """

    moved: np.ndarray
    gain: np.ndarray
    before: np.ndarray
    after: np.ndarray
    device: np.ndarray
    motion: np.ndarray


def session(visit: Visit) -> dict[str, Person]:
    """Of each contender, by the code that makes shards: one recording, prepared once for each.

    Windows know modalities by name, so each contender's is given out as a place; they all lie on one wrist.
    """
    places = {
        f"ppg_{place}": name
        for place, name in zip(PLACES, [name for name in CONTENDERS if CONTENDERS[name]], strict=False)
    }
    modalities = {
        "ppg": ModalityPreparation(sampling_rate_hz=RATE, **BAND, artefacts=ArtefactSettings()),
        "acc": ModalityPreparation(sampling_rate_hz=RATE, **BAND, channels=3),
        **{
            place: ModalityPreparation(sampling_rate_hz=RATE, **BAND, source="ppg", cancel_noise=CONTENDERS[name])
            for place, name in places.items()
        },
    }
    windows = cut(visit, Preparation(window_s=WINDOW_S, hop_s=HOP_S, modalities=modalities))
    whole = windows.present.all(axis=1)
    starts = windows.starts_ns[whole]
    device = [
        window_labels(visit.labels["heart_rate"], starts + delay * NS_PER_S, WINDOW_S * NS_PER_S) for delay in DELAYS_S
    ]
    bpm = {name: heart_rate(windows.signals[name][whole, 0].astype(np.float64), RATE).bpm for name in ("ppg", *places)}
    return {
        name: Person(
            moved=np.sqrt((windows.signals["acc"][whole] ** 2).mean(axis=2)).max(axis=1),
            gain=windows.cancelled[place][whole],
            before=bpm["ppg"],
            after=bpm[place],
            device=np.array(device),
            motion=windows.artefacts["ppg"]["motion"][whole],
        )
        for place, name in places.items()
    }


def real(folder: Path, people: int | None) -> Iterator[dict]:
    """Windows that are right before and after, by how much the wrist moved."""
    visits = StressPredict(path=str(folder), subject_key="public", limit=people).visits()
    sessions = [session(visit) for visit in visits if "heart_rate" in visit.labels]
    if not sessions:
        raise SystemExit("No session of stress_predict holds the device's own heart rate.")
    for number, name in enumerate(sessions[0]):
        if number == 0:
            yield from by_masks([one[name] for one in sessions])
        yield from rescued(name, [one[name] for one in sessions])


def delay_of(sessions: Sequence[Person]) -> int:
    """Of the device's heart rate: that at which most of the stillest third agrees with the untouched signal."""
    edge = np.quantile(np.concatenate([one.moved for one in sessions]), 1 / 3)
    agree = np.concatenate([(np.abs(one.before - one.device) <= RIGHT_BPM)[:, one.moved < edge] for one in sessions], 1)
    return int(agree.mean(axis=1).argmax())


def rescued(name: str, sessions: Sequence[Person]) -> Iterator[dict]:
    """Rows of one contender."""
    edges = np.quantile(np.concatenate([one.moved for one in sessions]), (1 / 3, 2 / 3))
    best = delay_of(sessions)
    for delay in dict.fromkeys((best, 0)):
        for third, (low, high) in {
            "all": (0.0, math.inf),
            "stillest third": (0.0, edges[0]),
            "middle third": (edges[0], edges[1]),
            "most moved third": (edges[1], math.inf),
        }.items():
            what = f"real, {third}, delay {DELAYS_S[delay]} s"
            about = {"third": third, "delay_s": DELAYS_S[delay], "people": len(sessions)}
            shares = [of_person(one, delay, low, high) for one in sessions]
            windows = int(sum(one["windows"] for one in shares))
            for metric in ("right before", "right after", "difference", "rescued", "harmed", "gate open"):
                values = interval([one[metric] for one in shares])
                yield row(what, name, metric, values, "% of windows", windows, **about)


def of_person(one: Person, delay: int, low: float, high: float) -> dict[str, float]:
    """Shares of one person's windows in which the device says a rate, in percent."""
    asked = (one.moved >= low) & (one.moved < high) & np.isfinite(one.device[delay])
    count = int(asked.sum())
    before = (np.abs(one.before - one.device[delay]) <= RIGHT_BPM)[asked]
    after = (np.abs(one.after - one.device[delay]) <= RIGHT_BPM)[asked]

    def share(found: np.ndarray) -> float:
        return 100 * float(found.mean()) if count else math.nan

    return {
        "windows": count,
        "right before": share(before),
        "right after": share(after),
        "difference": share(after) - share(before),
        "rescued": share(after & ~before),
        "harmed": share(before & ~after),
        "gate open": share(one.gain[asked] > 0),
    }


def by_masks(sessions: Sequence[Person]) -> Iterator[dict]:
    """Whether windows that hold much motion, as the mask says, are those that are wrong."""
    delay = delay_of(sessions)
    for what, low, high in (("under 5 %", -1.0, 0.05), ("5 to 50 %", 0.05, 0.5), ("over 50 %", 0.5, 2.0)):
        shares = [
            of_person(one._replace(moved=np.where((one.motion > low) & (one.motion <= high), 1.0, -1.0)), delay, 0, 9)
            for one in sessions
        ]
        windows = int(sum(one["windows"] for one in shares))
        values = interval([one["right before"] for one in shares])
        about = {"delay_s": DELAYS_S[delay], "people": len(sessions)}
        yield row(f"real, motion mask on {what} of the window", "off", "right before", values, "%", windows, **about)


def table(rows: Sequence[dict], metrics: Sequence[str]) -> str:
    """Markdown: a line for each case, a column for each contender; an interval behind each number."""
    models = list(dict.fromkeys(one["model"] for one in rows))
    lines = ["| | | " + " | ".join(models) + " |", "|---|---|" + "---|" * len(models)]
    for what in dict.fromkeys(one["what"] for one in rows):
        for metric in metrics:
            found = {one["model"]: one for one in rows if one["what"] == what and one["metric"] == metric}
            cells = [cell(found.get(model)) for model in models]
            if found:
                lines.append(f"| {what} | {metric}, {next(iter(found.values()))['unit']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(one: dict | None) -> str:
    """A number and its interval; a dash where there is none, as the SNR of what was not changed."""
    if one is None or not math.isfinite(one["value"]):
        return "" if one is None else "-"
    spread = "" if one["low"] == one["high"] == one["value"] else f" [{one['low']:.2f}, {one['high']:.2f}]"
    return f"{one['value']:.2f}{spread}"


def say(title: str, rows: list[dict], *metrics: str) -> list[dict]:
    """Print one table."""
    print(f"{title}\n\n{table(rows, metrics)}\n", flush=True)
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one SNR, two trials, one person")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as a flat list")
    parser.add_argument("--trials", type=int, default=12, help="simulated people in each case")
    parser.add_argument("--data", type=Path, help="holds stress_predict; $HDT_FM_REAL_DATA when not given")
    parser.add_argument("--people", type=int, help="only the first sessions")
    parser.add_argument("--only", choices=["synthetic", "real"], help="one half of it")
    options = parser.parse_args()
    if options.trials < 1 or (options.people is not None and options.people < 1):
        parser.error("--trials and --people must be 1 or more")
    snrs: Sequence[int] = SNRS_DB
    if options.quick:
        snrs, options.trials, options.people = (-5,), 2, 1
    trials = options.trials
    every: list[dict] = []
    if options.only != "real":
        for mixture in ("linear", "changing"):
            for rates in ("apart", "close"):
                found = [one for snr in snrs for one in synthetic(mixture, rates, snr, trials)]
                every += say(f"Steps mixed in ({mixture}), rates {rates}", found, "heart-rate error", "SNR gain")
        every += say("Nothing mixed in", harm(trials), "heart-rate error", "samples changed", "SNR left")
        every += say("Cost", cost(2 if options.quick else 5), "CPU per sample", "CPU per step", "samples of the future")
    root = options.data or (Path(os.environ["HDT_FM_REAL_DATA"]) if "HDT_FM_REAL_DATA" in os.environ else None)
    if options.only == "synthetic":
        pass
    elif root is None or not (root / "stress_predict").is_dir():
        print("No real recordings: give --data FOLDER, which holds stress_predict, or set HDT_FM_REAL_DATA.")
    else:
        metrics = ("right before", "right after", "difference", "rescued", "harmed", "gate open")
        found = list(real(root / "stress_predict", options.people))
        say("Real", [one for one in found if one["delay_s"] or not any(o["delay_s"] for o in found)], *metrics)
        every += found
    if options.json:
        write(options.json, every)


def write(path: Path, rows: Sequence[dict]) -> None:
    """By a temporary name; a number that is none is null."""
    fresh = path.with_suffix(".new")
    plain: Callable[[Any], Any] = lambda value: None if isinstance(value, float) and not math.isfinite(value) else value
    fresh.write_text(json.dumps([{key: plain(value) for key, value in one.items()} for one in rows], indent=1) + "\n")
    fresh.replace(path)


if __name__ == "__main__":
    main()

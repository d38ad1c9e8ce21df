"""Label tracks of a simulated visit: what an experimenter, or a reference device, would have written down."""

import numpy as np

from hdt_fm.data.synthetic.body import RATE_HZ, Truth
from hdt_fm.data.synthetic.processes import Array
from hdt_fm.schema.recording import NS_PER_S, LabelTrack

GLUCOSE_STEP_S = 300.0
LIGHT_STEP_S = 60.0


def label_tracks(truth: Truth) -> dict[str, LabelTrack]:
    """All tracks by name: stress, activity, heart_rate, respiratory_rate, glucose_mg_dl, light, light_dose, events."""
    plan, start_ns = truth.plan, truth.start_ns
    states, grid = truth.times_s, truth.times_s[-1]
    tracks = [
        _episodes("stress", plan.stress_s, ("rest", "stress"), grid, start_ns),
        _episodes("activity", plan.walks_s, ("rest", "walk"), grid, start_ns),
        _values("heart_rate", _means(truth.hr_bpm, 1.0), 1.0, "bpm", start_ns),
        _values("respiratory_rate", _means(truth.respiration_per_min, 1.0), 1.0, "1/min", start_ns),
        _values("light", _means(truth.light_lux, LIGHT_STEP_S), LIGHT_STEP_S, "lux", start_ns),
        _values("light_dose", _means(truth.light_dose, LIGHT_STEP_S), LIGHT_STEP_S, "log10(lux/200)", start_ns),
        _values("glucose_mg_dl", _glucose(truth), GLUCOSE_STEP_S, "mg/dL", start_ns),
        _events("meal", plan.meals[:, 0], plan.meals[:, 1], "g", start_ns),
        _events("insulin", plan.insulin[:, 0], plan.insulin[:, 1], "U", start_ns),
        _events("beats", _inside(truth.beat_times_s, states), None, "", start_ns),
        _events("breaths", _inside(truth.breath_times_s, states), None, "", start_ns),
    ]
    return {track.name: track for track in tracks}


def _glucose(truth: Truth) -> Array:
    """Plasma glucose at the start of each whole 5 min: the sample that a window's forecast is scored on."""
    count = max(1, int(truth.times_s[-1] / GLUCOSE_STEP_S))
    return np.interp(np.arange(count) * GLUCOSE_STEP_S, truth.glucose_times_s, truth.glucose_mg_dl)


def _means(states: Array, step_s: float) -> Array:
    """Mean of a state over each whole step (step,)."""
    width = int(step_s * RATE_HZ)
    count = (len(states) - 1) // width
    return states[: count * width].reshape(count, width).mean(axis=1)


def _inside(times_s: Array, states: Array) -> Array:
    return times_s[times_s < states[-1]]


def _episodes(name: str, episodes: Array, classes: tuple[str, str], end_s: float, start_ns: int) -> LabelTrack:
    """A class track that covers the whole visit: class 1 within the episodes, class 0 between them."""
    borders = np.unique(np.concatenate([[0.0, end_s], episodes.ravel()]))
    middles = (borders[1:] + borders[:-1]) / 2
    inside = ((middles[:, None] >= episodes[:, 0]) & (middles[:, None] < episodes[:, 1])).any(axis=1)
    starts, ends = _clock(borders[:-1], start_ns), _clock(borders[1:], start_ns)
    return LabelTrack(name, "class", starts, ends, inside.astype(np.float64), classes)


def _values(name: str, values: Array, step_s: float, unit: str, start_ns: int) -> LabelTrack:
    borders = _clock(np.arange(len(values) + 1, dtype=np.float64) * step_s, start_ns)
    return LabelTrack(name, "value", borders[:-1], borders[1:], values, unit=unit)


def _events(name: str, times_s: Array, values: Array | None, unit: str, start_ns: int) -> LabelTrack:
    clock = _clock(times_s, start_ns)
    return LabelTrack(name, "event", clock, clock, np.ones(len(times_s)) if values is None else values, unit=unit)


def _clock(times_s: Array, start_ns: int) -> np.ndarray:
    return np.round(times_s * NS_PER_S).astype(np.int64) + start_ns

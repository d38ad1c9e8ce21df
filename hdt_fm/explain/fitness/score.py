"""How well a map finds what was planted: place, channel, and the largest credit."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdt_fm.explain.explanation import Explanation
from hdt_fm.explain.fitness.planted import Planted
from hdt_fm.metrics.classification import average_precision

# Of the window: over how much of it the sizes of credit are averaged before places are judged.
RECOMMENDED_WIDTH = 0.08
WIDTHS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12)
RANDOM_MAP = "random map"


@dataclass(frozen=True)
class Found:
    """Scores of one map, a number a window; NaN in windows whose event was not observed at all.

    Attributes:
        auprc: Of the planted samples among all observed ones of the planted modality, by smoothed |credit|.
        prevalence: Their share, which a random map scores.
        channel: Share of |credit| on the planted channel, of all channels of all modalities present.
        channels: How many those are; a random map of equal channels gives one part in so many.
        modality: Share of |credit| on the planted modality. `modalities`: how many are present.
        pointing: Whether the largest smoothed |credit| of the planted modality lies on a planted sample.
        spill: The largest |credit| where nothing was observed or the modality is absent.
    """

    auprc: NDArray[np.float64]
    prevalence: NDArray[np.float64]
    channel: NDArray[np.float64]
    channels: NDArray[np.int64]
    modality: NDArray[np.float64]
    modalities: NDArray[np.int64]
    pointing: NDArray[np.float64]
    spill: float


def smoothed(
    credit: NDArray[np.floating], observed: NDArray[np.bool_], width: float = RECOMMENDED_WIDTH
) -> NDArray[np.float64]:
    """Mean of |credit| over the observed samples around each sample.

    Args:
        credit: (window, channel, time). `observed`: (window, time).
        width: Over how much of the window; less than two samples leaves it as it is.
    """
    size = np.abs(credit, dtype=np.float64)
    reach = round(width * credit.shape[-1]) // 2
    if reach < 1:
        return size
    seen = observed[:, None].astype(np.float64)
    total, count = _box(size * seen, reach), _box(seen, reach)
    return np.divide(total, count, out=np.zeros_like(total), where=count > 0.5)


def _box(values: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """Sum over `reach` places to either side; fewer at the ends."""
    padded = np.pad(values.cumsum(-1), [(0, 0)] * (values.ndim - 1) + [(1, 0)])
    place = np.arange(values.shape[-1])
    high, low = np.minimum(place + reach + 1, len(place)), np.maximum(place - reach, 0)
    return padded[..., high] - padded[..., low]


def score(planted: Planted, credits: Mapping[str, NDArray[np.floating]], *, width: float = RECOMMENDED_WIDTH) -> Found:
    """Compare a map with the truth.

    Args:
        credits: Per modality (window, channel, time); a modality that is not named got none.
        width: As in `smoothed`.
    """
    truth, signal = planted.truth.numpy(), planted.batch.signals[planted.modality]
    observed = signal.observed.numpy()
    own = credits.get(planted.modality, np.zeros(truth.shape))
    sizes = smoothed(own, observed, width)
    windows = range(len(truth))
    there = [np.broadcast_to(observed[k], truth[k].shape) for k in windows]
    auprc = [average_precision(sizes[k][there[k]], truth[k][there[k]]) for k in windows]
    pointing = [_pointing(sizes[k][there[k]], truth[k][there[k]]) for k in windows]
    prevalence = [float(truth[k][there[k]].mean()) for k in windows]
    totals = {name: np.abs(one, dtype=np.float64).sum(2) for name, one in credits.items()}
    whole = np.sum([one.sum(1) for one in totals.values()], axis=0)
    mine = totals.get(planted.modality, np.zeros(truth.shape[:2]))
    there_in = _channels_present(planted)
    return Found(
        np.array(auprc),
        np.array(prevalence),
        _part(mine[np.arange(len(truth)), planted.channel.numpy()], whole),
        there_in.sum(1),
        _part(mine.sum(1), whole),
        (there_in > 0).sum(1),
        np.array(pointing),
        _spill(planted, credits),
    )


def _pointing(size: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    """Ties count by their share, so that a flat map gets the prevalence."""
    return float(truth[size == size.max()].mean()) if truth.any() else float("nan")


def _part(some: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(some, whole, out=np.zeros_like(whole), where=whole > 0)


def _channels_present(planted: Planted) -> NDArray[np.int64]:
    """(window, modality) channels that could get credit."""
    batch = planted.batch
    count = np.array([batch.signals[name].values.shape[1] for name in batch.modalities])
    return np.where(batch.present.numpy(), count, 0)


def _spill(planted: Planted, credits: Mapping[str, NDArray[np.floating]]) -> float:
    out = 0.0
    for name, one in credits.items():
        hidden = ~(planted.batch.signals[name].observed & planted.batch.column(name)[:, None]).numpy()
        out = max(out, float(np.abs(np.where(hidden[:, None], one, 0.0)).max(initial=0.0)))
    return out


def random_map(planted: Planted, seed: int) -> dict[str, NDArray[np.float64]]:
    """A map that knows nothing: noise of one size in every second of every channel, where something was observed."""
    generator = np.random.default_rng(seed)
    found = {}
    for name, signal in planted.batch.signals.items():
        noise = generator.standard_normal(tuple(signal.values.shape)) / signal.sampling_rate_hz
        found[name] = np.where(signal.observed.numpy()[:, None], noise, 0.0)
    return found


def scores_of(planted: Planted, explanation: Explanation, *, width: float = RECOMMENDED_WIDTH) -> dict[str, Found]:
    """Every map of an explanation of the planted windows, and the random one."""
    found = {one.method: score(planted, one.values, width=width) for one in explanation.maps}
    return {**found, RANDOM_MAP: score(planted, random_map(planted, int(explanation.settings["seed"])), width=width)}

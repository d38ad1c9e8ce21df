"""Credit of the frequency bands of the input: complete, since the bands of a signal add up to the signal."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from hdt_fm.explain.aggregate.band_table import Band, bands_of
from hdt_fm.explain.attribution import bound
from hdt_fm.explain.binding import REFERENCES, Run, explaining, refuse_unexplainable, signals_of
from hdt_fm.explain.methods import Plan, integrated_gradients
from hdt_fm.explain.others import Others
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import unknown_name

Array = NDArray[np.float64]


@dataclass(frozen=True)
class BandCredit:
    """Signed credit of every band of every channel, for some windows.

    Attributes:
        bands: Of each modality, slowest first.
        credit: Per modality (window, channel, band), in the unit of the output; 0 for absent modalities.
        present: (window, modality).
        person: (window,) whose it is, numbered from 0; in no file.
        change: (window,) output less the reference's.
        delta: (window,) how far all bands together miss that change.
    """

    target: str
    reference: str
    modalities: tuple[str, ...]
    bands: Mapping[str, tuple[Band, ...]]
    credit: Mapping[str, Array]
    present: NDArray[np.bool_]
    person: NDArray[np.int64]
    change: Array
    delta: Array

    def shares(self, name: str) -> Array:
        """(window, band) share of each band in the modality's sum of |credit| over bands and channels.

        NaN for windows that lack the modality or give it no credit.
        """
        size = np.abs(self.credit[name]).sum(1)
        whole = size.sum(1, keepdims=True)
        there = (whole > 0) & self.present[:, [self.modalities.index(name)]]
        return np.divide(size, whole, out=np.full(size.shape, np.nan), where=there)

    def totals(self, name: str) -> Array:
        """(window, band) signed credit over all channels; NaN for windows that lack the modality."""
        held = self.present[:, [self.modalities.index(name)]]
        return np.where(held, self.credit[name].sum(1), np.nan)


def band_credit(
    fn_model: Callable[[Batch], Tensor],
    batch: Batch,
    *,
    target: int,
    target_name: str = "",
    reference: str | Others = "window_mean",
    steps: int = 32,
    batch_rows: int = 64,
    path: int | None = None,
) -> BandCredit:
    """Integrated gradients of one output with the frequency bands of the input as features.

    The line from the reference to the window is a sum over bands of lines, so a band's credit is the sum over samples
    of its part of the way times the output's mean slope along the line. This is no spectrum of a map: a slow wave may
    get its credit at single fast samples.

    Args:
        fn_model, target, target_name, reference, steps, batch_rows, path: As `attribute`. Against windows of other
            people the bands are of the difference to each of them.

    Raises:
        ExplainError, UnknownNameError: As `attribute`.

    Numerics: slopes in the model's precision, bands and sums in float64.
    """
    named = "others" if isinstance(reference, Others) else reference
    if named not in REFERENCES:
        raise unknown_name("reference", named, REFERENCES)
    refuse_unexplainable(batch)
    plan = Plan(steps=steps, batch_rows=batch_rows, path=path)
    shown = batch.over(signals_of(batch))
    bands = {
        name: bands_of(name, signal.sampling_rate_hz, signal.values.shape[-1]) for name, signal in shown.signals.items()
    }
    credit = {
        name: np.zeros((len(batch), signal.values.shape[1], len(bands[name]))) for name, signal in shown.signals.items()
    }
    change, delta = np.zeros(len(batch)), np.zeros(len(batch))
    with explaining(fn_model) as model:
        for rows in torch.arange(len(batch)).split(batch_rows):
            piece, index = batch.select(rows), rows.numpy()
            runs = bound(model, piece, target, reference)
            for run in runs:
                missed = run.change().cpu().numpy()
                change[index] += missed / len(runs)
                for name, found in _of_run(run, piece, bands, plan).items():
                    credit[name][index] += found / len(runs)
                    missed = missed - found.sum((1, 2))
                # Gaps of several references are averaged by size, so that they cannot cancel.
                delta[index] += np.abs(missed) / len(runs)
    return BandCredit(
        target=target_name or f"output {target}",
        reference=named,
        modalities=shown.modalities,
        bands=bands,
        credit=credit,
        present=shown.present.cpu().numpy(),
        person=np.unique(batch.subject.cpu().numpy(), return_inverse=True)[1].astype(np.int64),
        change=change,
        delta=delta,
    )


def _of_run(run: Run, batch: Batch, bands: Mapping[str, tuple[Band, ...]], plan: Plan) -> dict[str, Array]:
    slopes = mean_slopes(run, plan)
    out = {}
    for name, one, level, seen, slope in zip(run.names, run.inputs, run.references, run.observed, slopes, strict=True):
        way = (one.double() - level.double()).detach().cpu().numpy()
        parts = components(way, seen.cpu().numpy(), batch.signals[name].sampling_rate_hz, bands[name])
        out[name] = np.einsum("kbct,bct->bck", parts, slope.cpu().numpy())
    return out


def mean_slopes(run: Run, plan: Plan) -> list[Tensor]:
    """The output's mean gradient along the line from the reference, per sample and in float64.

    Read as finely as the map of integrated gradients is: times the way, it is that map. Where way is 0 the map tells
    no slope, so a slope cannot be had from it.
    """
    best: list[Tensor] = []
    least = float("inf")
    for number in range(len(integrated_gradients.PATHS)) if plan.path is None else [plan.path]:
        slopes = integrated_gradients.along(run, integrated_gradients.PATHS[number], plan, multiply=False)
        credits = [s * (one - ref) for s, one, ref in zip(slopes, run.inputs, run.references, strict=True)]
        delta = run.map("integrated_gradients", credits, sums=True).delta
        assert delta is not None
        if not best or delta.max() < least:
            best, least = slopes, float(delta.max())
        if (delta <= integrated_gradients.FINE_PATH_ABOVE * run.change().abs().cpu().numpy()).all():
            break
    return best


def components(
    way: Float[np.ndarray, "window channel time"],
    seen: Bool[np.ndarray, "window channel time"],
    sampling_rate_hz: float,
    bands: Sequence[Band],
) -> Float[np.ndarray, "band window channel time"]:
    """Parts of a signal by frequency, which add up to it exactly at every observed sample and are 0 at the others.

    A gap is bridged by a straight line before the transform: with what stands there as it lies, its edges would be
    fast. The window is followed by its mirror image, since a transform takes it for periodic: a slow drift would jump
    at the seam.
    """
    size = way.shape[-1]
    bridged = _bridged(way, seen)
    mirrored = np.concatenate([bridged, bridged[..., ::-1]], axis=-1)
    spectrum = np.fft.rfft(mirrored)
    hz = np.fft.rfftfreq(2 * size, 1 / sampling_rate_hz)
    band = np.searchsorted([one.low_hz for one in bands[1:]], hz, side="right")
    out = np.empty((len(bands), *way.shape))
    for k in range(len(bands)):
        out[k] = np.fft.irfft(np.where(band == k, spectrum, 0.0), 2 * size)[..., :size]
    return np.where(seen, out, 0.0)


def _bridged(way: Array, seen: NDArray[np.bool_]) -> Array:
    out = np.where(seen, way, 0.0)
    grid = np.arange(way.shape[-1])
    partly = np.argwhere(seen.any(-1) & ~seen.all(-1))
    for row, channel in partly:
        here = seen[row, channel]
        out[row, channel] = np.interp(grid, grid[here], way[row, channel, here])
    return out

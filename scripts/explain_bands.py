"""Planted bands: how much of the credit lies on the band that a model reads, by band credit and by what looks like it.

A model's output is the energy of one band of a PPG window, by a transform of its own, so the band is known. Windows
hold a wave in each of three bands; the one that is read is the quietest. `table` is a part of
scripts/reproduce_explain.py.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hdt_fm.explain.aggregate.band_table import Band, bands_of
from hdt_fm.explain.aggregate.bands import band_credit, components
from hdt_fm.explain.aggregate.over_people import mean_over
from hdt_fm.explain.attribution import attribute
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.result import Result, Row

RATE_HZ, SECONDS, WINDOWS = 16.0, 30, 8
WAVES_HZ, READ = (0.27, 1.13, 4.6), {"breathing": (0.1, 0.5), "pulse rate": (0.5, 3.0), "beat shape": (3.0, 8.0)}
LOUD = 3.0
OURS, SPECTRUM, RANDOM = "credit of bands", "spectrum of the map", "spectrum of a random map"
Progress = Callable[[int, int, str], None]


class BandEnergy(nn.Module):
    """Energy of one band, saturated: log(1 + energy)."""

    def __init__(self, low_hz: float, high_hz: float) -> None:
        super().__init__()
        self.low_hz, self.high_hz = low_hz, high_hz

    def forward(self, batch: Batch) -> Tensor:
        values = batch.signals["ppg"].values.double()
        spectrum = torch.fft.rfft(values - values.mean(-1, keepdim=True))
        hz = torch.fft.rfftfreq(values.shape[-1], 1 / RATE_HZ)
        inside = (hz >= self.low_hz) & (hz < self.high_hz)
        return torch.log1p(spectrum[..., inside].abs().square().sum((1, 2)) / values.shape[-1])[:, None]


def windows(quiet: int, rng: np.random.Generator) -> Batch:
    """Three waves of random phase and rate near their own, and noise; the wave number `quiet` is the smallest."""
    time = np.arange(int(RATE_HZ * SECONDS)) / RATE_HZ
    values = 0.1 * rng.normal(size=(WINDOWS, len(time)))
    for number, hz in enumerate(WAVES_HZ):
        rate = hz * rng.uniform(0.9, 1.1, (WINDOWS, 1))
        size = 1.0 if number == quiet else LOUD
        values += size * np.sin(2 * np.pi * rate * time + rng.uniform(0, 2 * np.pi, (WINDOWS, 1)))
    signal = Signal(torch.from_numpy(values)[:, None], torch.ones(values.shape, dtype=torch.bool), RATE_HZ)
    row = torch.arange(WINDOWS)
    return Batch(("ppg",), {"ppg": signal}, torch.ones(WINDOWS, 1, dtype=torch.bool), row, row.double(), row)


def spectral_share(map_: NDArray[np.floating], bands: tuple[Band, ...], band: int) -> float:
    """Mean share of a map's own energy that lies in a band."""
    energy = (components(map_.astype(np.float64), np.ones(map_.shape, dtype=bool), RATE_HZ, bands) ** 2).sum((2, 3))
    return float((energy[band] / energy.sum(0)).mean())


def table(*, quick: bool, seeds: int, progress: Progress) -> Result:
    """Share on the true band, over seeds; 95 % intervals over seeds."""
    seeds = min(seeds, 3) if quick else seeds
    shares: dict[tuple[str, str], list[float]] = {}
    for seed in range(seeds):
        progress(seed, seeds, "planted bands")
        for quiet, (name, edges) in enumerate(READ.items()):
            rng = np.random.default_rng([seed, quiet])
            batch, model = windows(quiet, rng), BandEnergy(*edges)
            bands = bands_of("ppg", RATE_HZ, int(RATE_HZ * SECONDS))
            band = [one.name for one in bands].index(name)
            found = band_credit(model, batch, target=0)
            made = attribute(model, batch, target=0, methods=("integrated_gradients",)).find("integrated_gradients")
            credit = made.values["ppg"]
            for kind, share in (
                (OURS, float(found.shares("ppg")[:, band].mean())),
                (SPECTRUM, spectral_share(credit, bands, band)),
                (RANDOM, spectral_share(rng.normal(size=credit.shape), bands, band)),
            ):
                shares.setdefault((name, kind), []).append(share)
    progress(seeds, seeds, "")
    rows = []
    for (name, kind), some in shares.items():
        mean = mean_over(np.array(some))
        rows.append(
            Row(
                what=name,
                model=kind,
                metric="share of credit on the band that is read",
                value=float(mean.value),
                low=float(mean.low),
                high=float(mean.high),
                n=seeds,
                role="ours" if kind == OURS else "baseline",
            )
        )
    return Result(
        name="bands",
        protocol={"windows": WINDOWS, "seeds": seeds, "seconds": SECONDS, "loudness of other bands": LOUD},
        rows=tuple(rows),
        required_baselines=(SPECTRUM, RANDOM),
    )

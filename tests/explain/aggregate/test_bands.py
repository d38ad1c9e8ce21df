"""Credit of bands against closed forms: bands add up to the signal, credits to the change of the output."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hdt_fm.explain.aggregate.band_table import BANDS, Band, bands_of
from hdt_fm.explain.aggregate.bands import band_credit, components
from hdt_fm.explain.attribution import attribute
from hdt_fm.explain.others import Others
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.errors import ExplainError, UnknownNameError
from hdt_fm.schema.modalities import MODALITIES

RATE, SAMPLES = 16.0, 16 * 30


def ppg_batch(values: np.ndarray, observed: np.ndarray | None = None) -> Batch:
    seen = np.ones(values.shape, dtype=bool) if observed is None else observed
    row = torch.arange(len(values))
    signal = Signal(torch.from_numpy(values[:, None].astype(np.float32)), torch.from_numpy(seen), RATE)
    return Batch(("ppg",), {"ppg": signal}, torch.ones(len(values), 1, dtype=torch.bool), row, row.float(), row)


@pytest.mark.parametrize(("rate", "samples"), [(64.0, 640), (4.0, 240), (1 / 300, 288), (1 / 60, 2), (256.0, 64)])
def test_bands_of_every_modality_cover_all_frequencies_once(rate: float, samples: int) -> None:
    for name in (*MODALITIES, "acc_pocket"):
        bands = bands_of(name, rate, samples)
        assert bands[0].low_hz == 0.0
        assert bands[-1].high_hz == rate / 2
        for below, above in pairwise(bands):
            assert below.high_hz == above.low_hz
        assert all(one.low_hz < one.high_hz and one.high_hz >= min(rate / samples, rate / 2) * 0.999 for one in bands)
    assert set(BANDS) <= set(MODALITIES)
    assert all(rows[-1][0] == float("inf") for rows in BANDS.values())


def test_bands_end_at_what_a_window_can_tell() -> None:
    names = [one.name for one in bands_of("ppg", 32.0, 32 * 60)]
    assert names == ["slow change", "breathing", "pulse rate", "beat shape", "faster than a pulse"]
    short = bands_of("ppg", 16.0, 16 * 5)  # five seconds tell nothing of breathing
    assert short[0] == Band("breathing and slower", 0.0, 0.5)
    assert short[-1] == Band("beat shape", 3.0, 8.0)
    assert [one.words for one in bands_of("glucose", 1 / 300, 288)] == [
        "slower than 4 h",
        "1 h to 4 h",
        "10 min to 1 h",
    ]
    assert [one.words for one in bands_of("eda", 4.0, 240)] == ["under 0.05 Hz", "0.05 to 1 Hz", "1 to 2 Hz"]


def test_components_add_up_to_the_signal_where_it_was_observed() -> None:
    rng = np.random.default_rng(0)
    way = rng.normal(size=(3, 2, 101))
    seen = np.broadcast_to(rng.random((3, 1, 101)) > 0.3, way.shape)
    bands = bands_of("ppg", 16.0, 101)
    parts = components(way, seen, 16.0, bands)
    np.testing.assert_allclose(parts.sum(0), np.where(seen, way, 0.0), atol=1e-12)
    assert not parts[:, ~seen].any()
    assert not components(way, np.zeros_like(seen), 16.0, bands).any()


def test_a_wave_lies_in_its_band_and_neither_gap_nor_drift_leaks() -> None:
    time = np.arange(SAMPLES) / RATE
    bands = bands_of("ppg", RATE, SAMPLES)
    ways = [np.sin(2 * np.pi * 0.25 * time), 90 + 5 * time / 30, np.sin(2 * np.pi * 1.3 * time + 1), time - 15]
    way = np.stack(ways)[:, None]
    seen = np.ones(way.shape, dtype=bool)
    seen[:2, :, 100:130] = False
    energy = (components(way, seen, RATE, bands) ** 2).sum((2, 3))
    share = energy / energy.sum(0)
    assert share[1, 0] > 0.95
    assert share[0, 1] > 0.9999  # a level and a drift with a gap stay slow
    assert share[2, 2] > 0.99
    assert share[0, 3] > 0.99  # a transform of the window alone would see a jump at its end, and 0.76


@pytest.mark.parametrize("reference", ["window_mean", "zero"])
def test_bands_of_a_linear_model_are_weights_times_components(batch: Batch, linear: nn.Module, reference: str) -> None:
    found = band_credit(linear, batch, target=1, reference=reference, steps=8, batch_rows=3)
    for name, signal in batch.signals.items():
        values = signal.values.double().numpy()
        way = values - values.mean(-1, keepdims=True) if reference == "window_mean" else values
        parts = components(way, np.ones(way.shape, dtype=bool), signal.sampling_rate_hz, found.bands[name])
        want = np.einsum("kbct,ct->bck", parts, linear.weights[name][1].detach().double().numpy())
        np.testing.assert_allclose(found.credit[name], want, atol=1e-4)
    assert found.delta.max() < 1e-3


class Curved(nn.Module):
    """Products of modalities and a saturation: no band acts alone."""

    def __init__(self, batch: Batch) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.parts = nn.ModuleDict(
            {name: nn.Conv1d(one.values.shape[1], 4, 3, padding=1) for name, one in batch.signals.items()}
        )
        self.out = nn.Linear(4, 2)

    def forward(self, batch: Batch) -> Tensor:
        pooled = [torch.tanh(self.parts[name](one.values)).mean(-1) for name, one in batch.signals.items()]
        return self.out(torch.stack(pooled).prod(0)).double()


def test_bands_add_up_to_the_map_of_integrated_gradients(batch: Batch) -> None:
    """To 1e-5 of the change, with gaps, an absent modality and pieces of the batch."""
    observed = batch.signals["ppg"].observed.clone()
    observed[1:, 10:17] = False
    ppg = replace(batch.signals["ppg"], observed=observed)
    keep = batch.present.clone()
    keep[1, 1] = False
    apart = replace(batch, signals={**batch.signals, "ppg": ppg}).without(keep)
    model = Curved(batch).double()
    doubled = {n: replace(one, values=one.values.double()) for n, one in apart.signals.items()}
    apart = replace(apart, signals=doubled)
    found = band_credit(model, apart, target=0, batch_rows=3)
    made = attribute(model, apart, target=0, methods=("integrated_gradients",), batch_rows=3)
    credit = made.find("integrated_gradients").values
    for name in apart.modalities:
        np.testing.assert_allclose(found.credit[name].sum(-1), credit[name].sum(-1, dtype=np.float64), atol=1e-7)
    assert not found.credit["acc"][1].any()
    assert np.isnan(found.shares("acc")[1]).all()
    assert np.isnan(found.totals("acc")[1]).all()
    np.testing.assert_allclose(found.shares("acc")[[0, 2, 3]].sum(1), 1.0)
    np.testing.assert_allclose(found.change, made.output - made.reference_output)
    assert (found.delta / np.abs(found.change)).max() < 1e-4


def test_against_other_windows_bands_add_up_to_that_map(
    new_batch: Callable[..., Batch], new_linear: Callable[..., nn.Module]
) -> None:
    batch, others = new_batch(5), Others(new_batch(7, seed=3), draws=3)
    model = new_linear(batch)
    found = band_credit(model, batch, target=0, reference=others, steps=8)
    made = attribute(model, batch, target=0, methods=("integrated_gradients",), reference=others, steps=8)
    credit = made.find("integrated_gradients").values
    for name in batch.modalities:
        np.testing.assert_allclose(found.credit[name].sum(-1), credit[name].sum(-1), atol=2e-3)
    assert found.reference == "others"
    np.testing.assert_allclose(found.change, made.output - made.reference_output, rtol=1e-5)
    assert found.delta.max() < 1e-3


class Standardising(nn.Module):
    """Turns fast where the input leaves the reference, so that one plain reading of the line misses the change."""

    def forward(self, batch: Batch) -> Tensor:
        values = batch.signals["ppg"].values
        centred = values - values.mean(-1, keepdim=True)
        spread = (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        return (centred / spread * torch.linspace(-1, 2, values.shape[-1])).sum((1, 2))[:, None]


def test_the_line_is_read_as_finely_as_the_map_needs() -> None:
    drawn = ppg_batch(np.random.default_rng(1).normal(size=(2, SAMPLES)))
    found = band_credit(Standardising(), drawn, target=0)
    assert (found.delta / np.abs(found.change)).max() < 0.03
    plain = band_credit(Standardising(), drawn, target=0, path=0)
    assert (plain.delta / np.abs(plain.change)).min() > 0.1


class BandEnergy(nn.Module):
    """Reads the energy of one band of the spectrum, by its own transform."""

    def __init__(self, low_hz: float, high_hz: float) -> None:
        super().__init__()
        self.low_hz, self.high_hz = low_hz, high_hz

    def forward(self, batch: Batch) -> Tensor:
        values = batch.signals["ppg"].values
        spectrum = torch.fft.rfft(values - values.mean(-1, keepdim=True))
        hz = torch.fft.rfftfreq(values.shape[-1], 1 / RATE)
        inside = (hz >= self.low_hz) & (hz < self.high_hz)
        return spectrum[..., inside].abs().square().sum((1, 2))[:, None] / values.shape[-1]


@pytest.mark.parametrize(("band", "low_hz", "high_hz"), [(1, 0.1, 0.5), (2, 0.5, 3.0), (3, 3.0, 8.0)])
def test_a_planted_band_is_found_whatever_else_is_loud(band: int, low_hz: float, high_hz: float) -> None:
    rng = np.random.default_rng(2)
    time = np.arange(SAMPLES) / RATE
    waves = [np.sin(2 * np.pi * hz * time + rng.uniform(0, 6, (6, 1))) for hz in (0.27, 1.13, 4.6)]
    loud = [3.0] * 3
    loud[band - 1] = 1.0  # the band that counts is the quietest
    values = sum(size * wave for size, wave in zip(loud, waves, strict=True)) + 0.1 * rng.normal(size=(6, SAMPLES))
    found = band_credit(BandEnergy(low_hz, high_hz), ppg_batch(values), target=0)
    share = found.shares("ppg").mean(0)
    assert share[band] > 0.85
    assert found.totals("ppg")[:, band].min() > 0


def test_bad_requests_are_named(new_batch: Callable[..., Batch], new_linear: Callable[..., nn.Module]) -> None:
    batch = new_batch(2)
    with pytest.raises(UnknownNameError, match="window_mean"):
        band_credit(new_linear(batch), batch, target=0, reference="mean")
    with pytest.raises(ExplainError, match="0 to 1"):
        band_credit(new_linear(batch), batch, target=7)

"""Maps against closed forms: a linear model's credit is its weight times the distance from the reference."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hdt_fm.explain.attribution import attribute
from hdt_fm.explain.gate.perturb import noisy
from hdt_fm.explain.methods import METHODS, integrated_gradients
from hdt_fm.explain.methods.features import feature_ids
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.errors import ExplainError, UnknownNameError

# Methods of a layer are refused for a model without one; what they promise is tested in methods/test_layers.py.
OF_SAMPLES = [name for name, method in METHODS.items() if method.grain != "layer"]


def with_signal(batch: Batch, name: str, **changes: torch.Tensor) -> Batch:
    return replace(batch, signals={**batch.signals, name: replace(batch.signals[name], **changes)})


@pytest.mark.parametrize("reference", ["window_mean", "zero"])
def test_integrated_gradients_of_a_linear_model(batch: Batch, linear: nn.Module, reference: str) -> None:
    found = attribute(linear, batch, target=1, methods=("integrated_gradients",), reference=reference, steps=5)
    for name, signal in batch.signals.items():
        level = signal.values.mean(-1, keepdim=True) if reference == "window_mean" else 0.0
        want = (signal.values - level) * linear.weights[name][1]
        np.testing.assert_allclose(found.find("integrated_gradients").values[name], want.detach(), atol=1e-4)
    assert found.find("integrated_gradients").delta.max() < 1e-3
    np.testing.assert_allclose(found.output, linear(batch)[:, 1].detach(), rtol=1e-5)


def test_saliency_is_the_gradient_in_standard_deviations(batch: Batch, linear: nn.Module) -> None:
    found = attribute(linear, batch, target=0, methods=("saliency",)).find("saliency")
    for name, signal in batch.signals.items():
        want = linear.weights[name][0] * signal.values.std(-1, keepdim=True, correction=0)
        np.testing.assert_allclose(found.values[name], want.detach(), rtol=1e-4, atol=1e-5)


def test_gradients_agree_with_finite_differences() -> None:
    def curved(batch: Batch) -> torch.Tensor:
        return batch.signals["ppg"].values.double().sin().prod(-1)

    values = torch.tensor([[[0.3, 1.1, 2.0]]], dtype=torch.float64)
    one = torch.zeros(1, dtype=torch.int64)
    signal = Signal(values, torch.ones(1, 3, dtype=torch.bool), 1.0)
    batch = Batch(("ppg",), {"ppg": signal}, torch.ones(1, 1, dtype=torch.bool), one, one.float(), one)
    found = attribute(curved, batch, target=0, methods=("saliency", "integrated_gradients"), steps=64)
    moved = [values.clone() for _ in range(3)]
    for k, other in enumerate(moved):
        other[..., k] += 1e-6
    slope = [(float(other.sin().prod()) - float(values.sin().prod())) / 1e-6 for other in moved]
    want = np.array(slope) * float(values.std(correction=0))
    np.testing.assert_allclose(found.find("saliency").values["ppg"][0, 0], want, rtol=1e-4)
    assert found.find("integrated_gradients").delta.max() < 1e-8


def test_feature_ids_are_unique_over_modalities() -> None:
    ids = feature_ids([(1, 40), (3, 20), (2, 5)], 7, device="cpu")
    kinds = [set(one.flatten().tolist()) for one in ids]
    assert [len(kind) for kind in kinds] == [7, 21, 10]
    assert set().union(*kinds) == set(range(38))
    assert all(one.is_contiguous() for one in ids)


@pytest.mark.parametrize("method", OF_SAMPLES)
def test_an_absent_modality_gets_exactly_nothing(batch: Batch, linear: nn.Module, method: str) -> None:
    keep = batch.present.clone()
    keep[1, 1] = False  # acc is absent from one window
    keep[:, 2] = False  # temp from all
    found = attribute(linear, batch.without(keep), target=0, methods=(method,), draws=2)
    one = found.find(method)
    assert "temp" not in one.values
    assert not one.values["acc"][1].any()
    assert one.values["acc"][0].any()
    shares = found.shares(method)
    assert shares[1, 1] == 0.0
    assert not shares[:, 2].any()
    np.testing.assert_allclose(shares.sum(1), 1.0)
    assert found.mean_shares(method)["acc"][1] == 3
    assert np.isnan(found.mean_shares(method)["temp"][0])


@pytest.mark.parametrize("method", OF_SAMPLES)
def test_unobserved_samples_earn_nothing_even_when_the_model_reads_them(
    batch: Batch, linear: nn.Module, method: str
) -> None:
    observed = batch.signals["ppg"].observed.clone()
    observed[:, 10:17] = False
    values = batch.signals["ppg"].values.clone()
    values[:, :, 10:17] = torch.nan
    found = attribute(
        linear, with_signal(batch, "ppg", values=values, observed=observed), target=0, methods=(method,), draws=2
    )
    one = found.find(method)
    assert not one.values["ppg"][:, :, 10:17].any()
    assert one.values["ppg"][:, :, :10].any()
    if method == "integrated_gradients":
        assert one.delta.max() < 1e-3


class Standardising(nn.Module):
    """Divides by the window's own spread: the output turns fast where the input leaves the reference."""

    def __init__(self, *, floor: float) -> None:
        super().__init__()
        self.floor, self.weight = floor, nn.Parameter(torch.linspace(-1, 2, 40))

    def forward(self, batch: Batch) -> torch.Tensor:
        values = batch.signals["ppg"].values
        centred = values - values.mean(-1, keepdim=True)
        spread = (centred.square().mean(-1, keepdim=True) + self.floor**2).sqrt()
        return (centred / spread * self.weight).sum((1, 2))[:, None]


@pytest.mark.parametrize("floor", [0.05, 1e-3, 1e-5])
def test_a_model_that_standardises_its_window_is_read_finely_enough(
    new_batch: Callable[..., Batch], monkeypatch: pytest.MonkeyPatch, floor: float
) -> None:
    batch = new_batch(3, names=("ppg",))

    def gap() -> float:
        found = attribute(Standardising(floor=floor), batch, target=0, methods=("integrated_gradients",), steps=16)
        return float((found.find("integrated_gradients").delta / np.abs(found.output - found.reference_output)).max())

    assert gap() < 0.03
    monkeypatch.setattr(integrated_gradients, "PATHS", integrated_gradients.PATHS[:1])
    if floor < 0.01:
        assert gap() > 0.3  # what one plain reading of the path misses


def test_pieces_give_what_the_whole_gives(batch: Batch, linear: nn.Module) -> None:
    keep = batch.present.clone()
    keep[:2, 1] = False  # the first piece lacks acc altogether
    apart = batch.without(keep)
    whole, pieces = (
        attribute(linear, apart, target=0, methods=OF_SAMPLES, steps=8, segments=3, draws=2, batch_rows=rows)
        for rows in (64, 2)
    )
    for method in OF_SAMPLES:
        for name in apart.modalities:
            np.testing.assert_allclose(whole.find(method).values[name], pieces.find(method).values[name], atol=1e-4)


def test_works_inside_inference_mode_and_leaves_the_model_as_it_was(batch: Batch) -> None:
    class Dropped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop, self.out = nn.Dropout(0.5), nn.Linear(40, 2)

        def forward(self, batch: Batch) -> torch.Tensor:
            return self.out(self.drop(batch.signals["ppg"].values[:, 0]))

    model = Dropped().train()
    with torch.inference_mode():
        found = attribute(model, batch, target=0, methods=("integrated_gradients",))
    assert found.find("integrated_gradients").delta.max() < 1e-4
    assert model.training
    assert model.drop.training
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_a_compiled_module_is_explained_as_the_module_it_was(batch: Batch, linear: nn.Module) -> None:
    class Compiled(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self._orig_mod = inner

        def forward(self, batch: Batch) -> torch.Tensor:
            raise AssertionError("the compiled form must not be called")

    assert attribute(Compiled(linear), batch, target=0, methods=("saliency",)).maps


def test_nan_is_refused(batch: Batch, linear: nn.Module) -> None:
    values = batch.signals["acc"].values.clone()
    values[2, 1, 3] = torch.nan
    with pytest.raises(ExplainError, match="modality acc"):
        attribute(linear, with_signal(batch, "acc", values=values), target=0)


def test_a_window_without_any_sample_is_refused(batch: Batch, linear: nn.Module) -> None:
    keep = batch.present.clone()
    keep[3] = False
    with pytest.raises(ExplainError, match=r"1 of 4 windows"):
        attribute(linear, batch.without(keep), target=0)
    with pytest.raises(ExplainError, match="no window"):
        attribute(linear, batch.select(torch.arange(0)), target=0)


def test_bad_requests_are_named(batch: Batch, linear: nn.Module) -> None:
    with pytest.raises(UnknownNameError, match="saliency"):
        attribute(linear, batch, target=0, methods=("salincy",))
    with pytest.raises(UnknownNameError, match="window_mean"):
        attribute(linear, batch, target=0, reference="windowmean")
    with pytest.raises(ExplainError, match="0 to 1"):
        attribute(linear, batch, target=2)
    with pytest.raises(ExplainError, match="not finite"):
        attribute(lambda b: linear(b) * torch.nan, batch, target=0)
    with pytest.raises(ExplainError, match="cannot be explained"):
        attribute(lambda b: linear(b)[:, 0], batch, target=0)


def test_facts_about_a_person_are_seen_by_the_model_and_never_in_the_explanation(batch: Batch) -> None:
    """Output: each window's sum of ppg, times the person's number. The map is that number; the number gets none."""
    facts = torch.tensor([[[3.0]], [[-2.0]], [[0.5]], [[7.0]]])
    signals = {**batch.signals, "static": Signal(facts, torch.ones(4, 1, dtype=torch.bool), 0.2)}
    present = torch.ones(4, 4, dtype=torch.bool)
    told = replace(batch, modalities=(*batch.modalities, "static"), signals=signals, present=present)

    def model(one: Batch) -> Tensor:
        return (one.signals["ppg"].values.sum((1, 2)) * one.signals["static"].values[:, 0, 0])[:, None]

    found = attribute(model, told, target=0, methods=("integrated_gradients", "occlusion"), reference="zero")
    assert found.modalities == batch.modalities
    assert set(found.signals) == set(batch.signals)
    values = found.find("integrated_gradients").values
    assert set(values) == set(batch.signals)
    expected = batch.signals["ppg"].values * facts
    np.testing.assert_allclose(values["ppg"], expected.numpy(), rtol=1e-4, atol=1e-5)
    assert found.present.shape == (4, 3)
    shaken = noisy(told, share=0.5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(shaken.signals["static"].values, facts)
    assert not torch.equal(shaken.signals["ppg"].values, batch.signals["ppg"].values)

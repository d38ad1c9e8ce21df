"""What every method promises: nothing for what was not there, the same again for the same seed, nothing left behind."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from hdt_fm.explain.attribution import attribute
from hdt_fm.explain.explanation import MethodMap
from hdt_fm.explain.methods import METHODS
from hdt_fm.schema.batch import Batch

ModelFor = Callable[[str], nn.Module]
RANDOM = [name for name, method in METHODS.items() if method.random]


def test_the_table_holds_what_the_report_names() -> None:
    assert list(METHODS) == [
        "integrated_gradients",
        "smooth_integrated_gradients",
        "gradient_shap",
        "saliency",
        "deep_lift",
        "occlusion",
        "feature_ablation",
        "shapley_sampling",
        "kernel_shap",
        "lime",
        "grad_cam",
        "layer_activation",
    ]
    assert RANDOM == ["smooth_integrated_gradients", "gradient_shap", "shapley_sampling", "kernel_shap", "lime"]
    assert [name for name, method in METHODS.items() if not method.of_output] == ["layer_activation"]
    assert "not about the output" in METHODS["layer_activation"].title


@pytest.mark.parametrize("method", METHODS)
def test_what_was_absent_or_not_observed_gets_exactly_nothing(batch: Batch, model_for: ModelFor, method: str) -> None:
    keep = batch.present.clone()
    keep[1, 1] = False  # acc is absent from one window
    apart = batch.without(keep)
    observed = apart.signals["ppg"].observed.clone()
    observed[2, 7:23] = False
    values = apart.signals["ppg"].values.clone()
    values[2, :, 7:23] = 30.0  # finite, so that a model that reads it still answers
    apart = replace(
        apart, signals={**apart.signals, "ppg": replace(apart.signals["ppg"], values=values, observed=observed)}
    )
    found = attribute(model_for(method), apart, target=0, methods=(method,), segments=8, draws=3).find(method)
    assert not found.values["acc"][1].any()
    assert not found.values["ppg"][2, :, 7:23].any()
    assert found.values["acc"][0].any()
    assert found.values["ppg"][0].any()


@pytest.mark.parametrize("method", METHODS)
def test_a_windows_map_does_not_depend_on_its_neighbours(batch: Batch, model_for: ModelFor, method: str) -> None:
    keep = batch.present.clone()
    keep[0, 0] = False
    apart, model = batch.without(keep), model_for(method)

    def made(windows: Batch, batch_rows: int) -> MethodMap:
        found = attribute(
            model, windows, target=0, methods=(method,), steps=8, segments=4, draws=2, seed=5, batch_rows=batch_rows
        )
        return found.find(method)

    many, few, last = made(apart, 64), made(apart, 1), made(apart.select(torch.tensor([3])), 64)
    for name in batch.modalities:
        np.testing.assert_allclose(many.values[name], few.values[name], atol=2e-5)
        np.testing.assert_allclose(many.values[name][3:], last.values[name], atol=2e-5)
    assert (many.delta is None) == (few.delta is None)


@pytest.mark.parametrize("method", RANDOM)
def test_two_windows_get_draws_of_their_own(batch: Batch, model_for: ModelFor, method: str) -> None:
    """One window twice, under two ids: what differs is the draw, so that its error averages out over a cohort."""
    twice = batch.select(torch.tensor([2, 2, 2]))
    named = replace(twice, window_id=torch.tensor([7, 8, 7]))
    found = attribute(model_for(method), named, target=0, methods=(method,), segments=8, draws=2).find(method)
    assert all(np.allclose(values[0], values[2], atol=1e-5) for values in found.values.values())
    assert any(not np.allclose(values[0], values[1], atol=1e-4) for values in found.values.values())


@pytest.mark.parametrize("method", RANDOM)
def test_the_seed_decides(batch: Batch, model_for: ModelFor, method: str) -> None:
    one, same, other = (
        attribute(model_for(method), batch, target=0, methods=(method,), segments=8, draws=2, seed=seed).find(method)
        for seed in (1, 1, 2)
    )
    assert all(np.array_equal(one.values[name], same.values[name]) for name in batch.modalities)
    assert any(not np.allclose(one.values[name], other.values[name], atol=1e-4) for name in batch.modalities)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_left_behind(batch: Batch, model_for: ModelFor, method: str) -> None:
    model = model_for(method).train()
    before = {name: signal.values.clone() for name, signal in batch.signals.items()}
    attributes = {name: set(vars(part)) for name, part in model.named_modules()}
    torch.manual_seed(11)
    np.random.seed(11)  # noqa: NPY002 - the global generator is what must be left alone
    wanted = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    attribute(model, batch, target=0, methods=(method,), segments=8, draws=2)
    assert torch.equal(torch.get_rng_state(), wanted[0])
    assert np.random.get_state()[1].tolist() == wanted[1]  # noqa: NPY002
    assert all(torch.equal(batch.signals[name].values, values) for name, values in before.items())
    assert not any(signal.values.requires_grad for signal in batch.signals.values())
    assert model.training
    assert all(weight.requires_grad and weight.grad is None for weight in model.parameters())
    for name, part in model.named_modules():
        assert set(vars(part)) == attributes[name], name
        assert not part._forward_hooks
        assert not part._forward_pre_hooks
        assert not part._backward_hooks


# A regression on random sets leaves some noise for those who did nothing; its closed form is tested elsewhere.
@pytest.mark.parametrize(
    "method", [name for name in METHODS if name not in ("kernel_shap", "lime", "layer_activation")]
)
def test_an_output_that_ignores_a_modality_gives_it_nothing(batch: Batch, model_for: ModelFor, method: str) -> None:
    whole = model_for(method)

    class Deaf(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = whole

        def forward(self, told: Batch) -> torch.Tensor:
            quiet = replace(told.signals["acc"], values=0.0 * told.signals["acc"].values.detach())
            return self.inner(replace(told, signals={**told.signals, "acc": quiet}))

    found = attribute(Deaf(), batch, target=0, methods=(method,), segments=4, draws=2).find(method)
    assert np.abs(found.values["acc"]).max() < 1e-6
    assert np.abs(found.values["ppg"]).max() > 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_one_window_of_one_modality_in_double_precision(
    new_batch: Callable[..., Batch], model_of: Callable[[str, Batch], nn.Module], method: str
) -> None:
    """The same map as in single precision, and nothing falls over for want of neighbours or of a second modality."""
    single = new_batch(1, names=("acc",))
    acc = single.signals["acc"]
    double = replace(single, signals={"acc": replace(acc, values=acc.values.double())})
    maps = [
        attribute(model, windows, target=0, methods=(method,), steps=64, segments=4, draws=2).find(method)
        for model, windows in ((model_of(method, single), single), (model_of(method, single).double(), double))
    ]
    assert maps[0].values["acc"].any()
    np.testing.assert_allclose(maps[0].values["acc"], maps[1].values["acc"], atol=2e-4)

"""Other windows as the reference, against the closed form of a linear model."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from hdt_fm.explain.attribution import attribute
from hdt_fm.explain.binding import Run
from hdt_fm.explain.methods import METHODS
from hdt_fm.explain.others import Others
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ExplainError


def test_credit_is_the_weight_times_the_distance_from_the_others(
    batch: Batch, linear: nn.Module, new_batch: Callable[..., Batch]
) -> None:
    others = Others(new_batch(6, seed=5), draws=3, seed=2)
    found = attribute(linear, batch, target=1, methods=("integrated_gradients",), reference=others, steps=8)
    drawn = list(others.aligned(batch))
    assert len(drawn) == 3
    for name, signal in batch.signals.items():
        mean = torch.stack([one.signals[name].values for one in drawn]).mean(0)
        want = ((signal.values - mean) * linear.weights[name][1]).detach()
        np.testing.assert_allclose(found.find("integrated_gradients").values[name], want, atol=2e-4)
    wanted = torch.stack([linear(one)[:, 1] for one in drawn]).mean(0).detach()
    np.testing.assert_allclose(found.reference_output, wanted, rtol=1e-4)
    assert found.find("integrated_gradients").delta.max() < 1e-2
    assert found.reference == "others"


def test_draws_differ_and_repeat_with_the_seed(batch: Batch, new_batch: Callable[..., Batch]) -> None:
    windows = new_batch(6, seed=5)
    first, second = ([one.window_id for one in Others(windows, draws=6, seed=s).aligned(batch)] for s in (0, 0))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    drawn = torch.stack(first)
    # One of the six is of the same person, and another is drawn again in its place.
    for k, person in enumerate(batch.subject.tolist()):
        assert set(drawn[:, k].tolist()) == set(windows.window_id[windows.subject != person].tolist())
    assert not torch.equal(drawn[:, 0], drawn[:, 1])


def test_a_window_is_held_against_the_same_others_beside_any_neighbours(
    batch: Batch, linear: nn.Module, new_batch: Callable[..., Batch]
) -> None:
    others = Others(new_batch(9, seed=5), draws=2)

    def made(windows: Batch, batch_rows: int) -> np.ndarray:
        settings = {"methods": ("integrated_gradients",), "reference": others, "steps": 8, "batch_rows": batch_rows}
        return attribute(linear, windows, target=1, **settings).find("integrated_gradients").values["acc"]

    whole = made(batch, 64)
    np.testing.assert_allclose(made(batch, 3), whole, atol=1e-5)
    np.testing.assert_allclose(made(batch.select(torch.tensor([3, 1])), 64), whole[[3, 1]], atol=1e-5)


def test_a_window_is_never_held_against_its_own_person(batch: Batch, new_batch: Callable[..., Batch]) -> None:
    windows = replace(new_batch(6, seed=5), subject=torch.tensor([0, 0, 0, 0, 0, 1]))
    for drawn in Others(windows, draws=9).aligned(batch):
        assert (drawn.subject != batch.subject).all()
    alone = replace(windows, subject=torch.full((6,), int(batch.subject[2])))
    with pytest.raises(ExplainError, match="no window of another person"):
        list(Others(alone).aligned(batch))


def test_a_model_is_not_bound_to_nobody(batch: Batch, linear: nn.Module) -> None:
    with pytest.raises(ExplainError, match="Nobody says which"):
        Run.of(linear, batch, target=0, reference="others")


def test_windows_that_hold_what_is_asked_come_first(batch: Batch, new_batch: Callable[..., Batch]) -> None:
    windows = new_batch(6, seed=5)
    keep = windows.present.clone()
    keep[:4, 0] = False
    for one in Others(windows.without(keep), draws=2).aligned(batch):
        assert set(one.window_id.tolist()) <= {4, 5}


@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion"])
def test_what_the_other_has_not_is_held_against_the_own_level(
    batch: Batch, linear: nn.Module, new_batch: Callable[..., Batch], method: str
) -> None:
    windows = new_batch(3, seed=5)
    keep = windows.present.clone()
    keep[:, 0] = False
    found = attribute(
        linear, batch, target=0, methods=(method,), reference=Others(windows.without(keep), draws=2), segments=40
    )
    signal = batch.signals["ppg"]
    want = (signal.values - signal.values.mean(-1, keepdim=True)) * linear.weights["ppg"][0]
    np.testing.assert_allclose(found.find(method).values["ppg"].sum(-1), want.detach().sum(-1), atol=2e-3)


def test_unobserved_and_absent_stay_exactly_nothing(
    batch: Batch, linear: nn.Module, new_batch: Callable[..., Batch]
) -> None:
    observed = batch.signals["acc"].observed.clone()
    observed[:, 5:9] = False
    gappy = replace(batch, signals={**batch.signals, "acc": replace(batch.signals["acc"], observed=observed)})
    keep = gappy.present.clone()
    keep[1, 2] = False
    for method in METHODS:
        try:
            found = attribute(linear, gappy.without(keep), target=0, methods=(method,), reference=Others(new_batch(3)))
        except ExplainError:
            continue  # a method that this model has no layer for
        assert not found.find(method).values["acc"][..., 5:9].any()
        assert not found.find(method).values["temp"][1].any()
        assert found.find(method).values["acc"].any()


def test_misfits_are_named(batch: Batch, linear: nn.Module, new_batch: Callable[..., Batch]) -> None:
    with pytest.raises(ExplainError, match="no other window"):
        attribute(linear, batch, target=0, reference=Others(batch.select(torch.arange(0))))
    short = new_batch(2)
    signal = short.signals["ppg"]
    cut = replace(signal, values=signal.values[..., :9], observed=signal.observed[..., :9])
    with pytest.raises(ExplainError, match=r"(?s)another shape.*ppg"):
        attribute(linear, batch, target=0, reference=Others(replace(short, signals={**short.signals, "ppg": cut})))
    with pytest.raises(ExplainError, match="Nobody says which"):
        attribute(linear, batch, target=0, reference="others")

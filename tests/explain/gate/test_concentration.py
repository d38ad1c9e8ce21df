"""A leaked label must be obvious, and sound channels must not be taken for one."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from hdt_fm.explain.attribution import attribute
from hdt_fm.explain.explanation import Check
from hdt_fm.explain.gate import concentration
from hdt_fm.explain.gate.exam import Exam
from hdt_fm.schema.batch import Batch, Signal

WINDOWS = 12
Model = Callable[[Batch], Tensor]


def with_channel(batch: Batch, values: Tensor) -> Batch:
    """The batch and one more modality."""
    signals = {**batch.signals, "temp": Signal(values, torch.ones(len(batch), values.shape[-1], dtype=torch.bool), 1.0)}
    return replace(
        batch, modalities=tuple(signals), signals=signals, present=torch.ones(len(batch), 3, dtype=torch.bool)
    )


def level(batch: Batch) -> Tensor:
    """Reads the further modality almost alone."""
    return (
        8 * batch.signals["temp"].values.mean((1, 2))[:, None] + 1e-3 * batch.signals["ppg"].values.sum((1, 2))[:, None]
    )


def judged(
    model: Model,
    batch: Batch,
    labels: np.ndarray | None = None,
    method: str = "integrated_gradients",
    reference: str = "window_mean",
) -> Check:
    made = attribute(model, batch, target=0, methods=(method,), segments=8, reference=reference)
    return concentration.check(Exam.of(model, batch, made, labels=labels))


def test_a_leaked_label_is_named(new_planted: Callable[..., tuple[Batch, Tensor, Tensor]]) -> None:
    batch, label, _ = new_planted(WINDOWS)
    leaked = with_channel(batch, label[:, None, None].expand(WINDOWS, 1, 8) * 3 + 30)
    check = judged(level, leaked, label.numpy())
    assert check.verdict == "fail"
    assert "THE LABEL IS AMONG THE INPUTS" in check.meaning
    assert "Temperature" in check.meaning or "temperature" in check.meaning
    assert check.detail["copy of the label"] == pytest.approx(1.0)


def test_a_leak_without_labels_is_seen_though_the_map_gives_it_no_credit(
    new_planted: Callable[..., tuple[Batch, Tensor, Tensor]],
) -> None:
    """Constant in each window, so that its window mean is itself: no map against that reference can show it."""
    batch, label, _ = new_planted(WINDOWS)
    leaked = with_channel(batch, label[:, None, None].expand(WINDOWS, 1, 8) * 3 + 30)
    made = attribute(level, leaked, target=0, methods=("integrated_gradients",), segments=8)
    assert not np.abs(made.maps[0].values["temp"]).any()
    check = concentration.check(Exam.of(level, leaked, made))
    assert check.verdict == "fail"
    assert "Is it the label?" in check.meaning
    assert check.value > 0.95


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_a_noisy_copy_is_still_the_label(
    new_planted: Callable[..., tuple[Batch, Tensor, Tensor]], noise: float
) -> None:
    batch, label, _ = new_planted(WINDOWS)
    hiss = noise * torch.randn(WINDOWS, 1, 8, generator=torch.Generator().manual_seed(0))
    assert judged(level, with_channel(batch, label[:, None, None] + hiss), label.numpy()).verdict == "fail"


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("samples", [1, 8])
def test_a_blurred_copy_is_still_the_label(
    new_planted: Callable[..., tuple[Batch, Tensor, Tensor]], seed: int, samples: int
) -> None:
    """With noise of a tenth, in each window or in each sample."""
    batch, label, _ = new_planted(24)
    hiss = 0.1 * torch.randn(24, 1, samples, generator=torch.Generator().manual_seed(seed))
    blurred = with_channel(batch, (label[:, None, None] + hiss).expand(24, 1, 8).clone())
    made = attribute(level, blurred, target=0, methods=("saliency",), segments=8)
    check = concentration.check(Exam.of(level, blurred, made, labels=label.numpy()))
    assert check.verdict == "fail"
    assert "THE LABEL IS AMONG THE INPUTS" in check.meaning
    assert concentration.check(Exam.of(level, blurred, made)).verdict != "pass"  # nobody says what the label is


def test_a_code_of_classes_is_the_label_whatever_their_order(
    new_planted: Callable[..., tuple[Batch, Tensor, Tensor]],
) -> None:
    batch, *_ = new_planted(18)
    label = torch.arange(18) % 3
    code = torch.tensor([5.0, 1.0, 3.0])[label][:, None, None]
    hiss = 0.02 * torch.randn(18, 1, 8, generator=torch.Generator().manual_seed(0))
    check = judged(level, with_channel(batch, code + hiss), label.double().numpy(), method="saliency")
    assert check.verdict == "fail"
    assert check.detail["copy of the label"] > 0.99
    assert "emperature" in check.meaning


def test_a_donor_with_gaps_gives_its_level_there(new_batch: Callable[..., Batch]) -> None:
    """Zeros that stand where nothing was measured are no values that a channel could have had."""
    batch = new_batch(2, names=("ppg", "temp"))
    signals = {name: replace(one, values=torch.full_like(one.values, 50.0)) for name, one in batch.signals.items()}
    observed = torch.ones(2, 40, dtype=torch.bool)
    observed[1, 10:] = False
    values = signals["ppg"].values.masked_fill(~observed[:, None], 0.0)
    signals["ppg"] = replace(signals["ppg"], values=values, observed=observed)
    signals["temp"].values[1] += 1.0
    gappy = replace(batch, signals=signals)

    def means(one: Batch) -> Tensor:
        ppg = one.signals["ppg"]
        level = (ppg.values[:, 0] * ppg.observed).sum(1) / ppg.observed.sum(1)
        return (level + one.signals["temp"].values[:, 0].mean(1))[:, None]

    made = attribute(means, gappy, target=0, methods=("saliency",), segments=4)
    swaps = [one.swap for one in concentration.channels(Exam.of(means, gappy, made))]
    assert swaps == pytest.approx([0.0, 1.0, 0.0], abs=1e-5)


def test_a_channel_that_goes_on_into_its_own_forecast_is_a_warning(
    new_planted: Callable[..., tuple[Batch, Tensor, Tensor]],
) -> None:
    """A signal foretells its own next value: a leak for some tasks, the task itself for others."""
    batch, _, _ = new_planted(WINDOWS)
    walk = torch.randn(WINDOWS, 1, 32, generator=torch.Generator().manual_seed(0)).cumsum(-1)
    check = judged(level, with_channel(batch, walk), walk[:, 0, -1].numpy() + 0.01)
    assert check.verdict == "warn"
    assert "foretells" in check.meaning


def test_a_level_that_the_map_does_not_show_is_a_warning(
    new_planted: Callable[..., tuple[Batch, Tensor, Tensor]],
) -> None:
    batch, _, _ = new_planted(WINDOWS)
    generator = torch.Generator().manual_seed(0)
    drift = torch.randn(WINDOWS, 1, 1, generator=generator) + 0.05 * torch.linspace(0, 6, 8).sin()
    wave = with_channel(batch, drift)

    def mean(one: Batch) -> Tensor:
        size = one.signals["ppg"].values[:, 0].square().mean(1, keepdim=True)
        return 8 * one.signals["temp"].values.mean((1, 2))[:, None] + 5 * size

    assert judged(mean, wave).verdict == "warn"
    assert judged(mean, wave, method="integrated_gradients", reference="zero").verdict == "pass"


def test_a_sound_channel_that_carries_all_is_no_alarm(
    new_planted: Callable[..., tuple[Batch, Tensor, Tensor]], finder: Model
) -> None:
    batch, label, _ = new_planted(WINDOWS)
    check = judged(finder, batch, label.numpy())
    assert (check.verdict, round(check.value, 2)) == ("pass", 1.0)
    assert "PPG" in check.meaning


def test_swapped_channels_share_out_what_a_linear_model_changes(new_batch: Callable[..., Batch]) -> None:
    batch = new_batch(2, names=("ppg", "temp"))

    def sums(one: Batch) -> Tensor:
        return (one.signals["ppg"].values.sum((1, 2)) + 2 * one.signals["temp"].values[:, 1].sum(1))[:, None]

    made = attribute(sums, batch, target=0, methods=("saliency",), segments=4)
    found = {one.name: one.swap for one in concentration.channels(Exam.of(sums, batch, made))}
    ppg = abs(float(batch.signals["ppg"].values.sum((1, 2)).diff()))
    temp = 2 * abs(float(batch.signals["temp"].values[:, 1].sum(1).diff()))
    assert list(found.values()) == pytest.approx([ppg / (ppg + temp), 0.0, temp / (ppg + temp)], abs=1e-5)


def test_one_window_is_judged_by_credit_alone(new_batch: Callable[..., Batch]) -> None:
    batch = new_batch(1)
    check = judged(lambda one: one.signals["acc"].values[:, 1].sum(1, keepdim=True), batch, method="saliency")
    assert (check.verdict, check.value) == ("pass", 1.0)


def test_a_label_that_is_the_same_everywhere_says_nothing(new_batch: Callable[..., Batch]) -> None:
    batch = new_batch(10)
    check = judged(lambda one: one.signals["ppg"].values.sum((1, 2))[:, None], batch, np.ones(10), method="saliency")
    assert check.verdict == "pass"

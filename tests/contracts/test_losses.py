"""What every loss of the table promises."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.protocols import Embeddings, Encoded, Objective, Scaled, Shaped
from hdt_fm.schema.registry import build, names
from hdt_fm.schema.shard import ModalityColumn

LOSSES = names("losses")
RECONSTRUCT = {"masked_patches", "readings_ahead"}
ARGS = {
    "near_in_time": {"within_s": 25.0},
    # The windows are of 12 s, of which the encoder sees the first half.
    "readings_ahead": {"horizons_s": [2.0, 3.0, 6.0]},
    "mix": {"terms": {"info_nce": {"weight": 1.0}, "masked_patches": {"weight": 0.5}}},
}
COLUMNS = tuple(
    ModalityColumn(
        name=name, unit=unit, channels=channels, sampling_rate_hz=rate, samples=int(12 * rate), encoding="f32"
    )
    for name, unit, channels, rate in (
        ("ppg", "au", 1, 8),
        ("acc", "g", 3, 4),
        ("eda", "uS", 1, 2),
        ("temp", "celsius", 1, 1),
    )
)


def test_the_table_has_seven():
    assert LOSSES == (
        "info_nce",
        "leave_one_out",
        "masked_patches",
        "mix",
        "near_in_time",
        "readings_ahead",
        "sigmoid_pairs",
    )


def loss_of(name, modalities=4, width=5):
    loss = build("losses", name, ARGS.get(name, {}))
    if isinstance(loss, Shaped):
        loss.shape(COLUMNS[:modalities], width, 0)
    return loss


def windows(present, seed=0):
    """Windows of people of three windows each, ten seconds apart, with a few samples that were never measured."""
    rows, modalities = present.shape
    generator, index = torch.Generator().manual_seed(seed), torch.arange(rows)
    signals = {}
    for number, column in enumerate(COLUMNS[:modalities]):
        observed = (torch.rand(rows, column.samples, generator=generator) < 0.95) & present[:, number, None]
        values = torch.randn(rows, column.channels, column.samples, generator=generator)
        signals[column.name] = Signal(values * observed[:, None], observed, column.sampling_rate_hz)
    called = tuple(column.name for column in COLUMNS[:modalities])
    return Batch(called, signals, present, index // 3, (index % 3).double() * 10, index)


def half_hidden(batch):
    """The second half of every window is kept from the encoders."""
    signals = {}
    for name, signal in batch.signals.items():
        first = torch.arange(signal.observed.shape[1]) < signal.observed.shape[1] // 2
        signals[name] = replace(signal, observed=signal.observed & first, values=signal.values * first)
    return replace(batch, signals=signals)


def encoded(values, whole, seen=None):
    seen = half_hidden(whole) if seen is None else seen
    return Encoded(Embeddings(values, whole.present), Embeddings(values, whole.present), seen, whole)


def case(present, seed=0):
    rows, modalities = present.shape
    values = normalize(torch.randn(rows, modalities, 5, generator=torch.Generator().manual_seed(seed)), dim=-1)
    return (values * present[..., None]).requires_grad_(), windows(present, seed)


@pytest.mark.parametrize("name", LOSSES)
def test_any_subset_of_modalities_gives_a_finite_loss_that_teaches(name):
    loss = loss_of(name)
    assert isinstance(loss, Objective)
    generator = torch.Generator().manual_seed(1)
    for share in (0.3, 0.7, 1.0):
        values, batch = case(torch.rand(30, 4, generator=generator) < share)
        report = loss(encoded(values, batch))
        report.value.backward()
        assert torch.isfinite(report.value)
        assert report.value > 0
        assert (values.grad[~batch.present] == 0).all()
        assert values.grad.abs().sum() > 0
        assert all(torch.isfinite(part).all() for part in (*report.parts.values(), *report.counts.values()))
        assert not any(part.requires_grad for part in (*report.parts.values(), *report.counts.values()))
        assert set(report.counts) <= set(report.parts)


@pytest.mark.parametrize("name", LOSSES)
def test_absent_rows_and_unmeasured_samples_are_not_read_not_even_nan(name):
    loss = loss_of(name)
    present = torch.rand(30, 4, generator=torch.Generator().manual_seed(3)) < 0.6
    present[0], present[1], present[2] = False, torch.tensor([True, False, False, False]), True
    assert present.any(0).all()
    values, batch = case(present)
    clean = loss(encoded(values, batch))
    clean.value.backward()
    want = values.grad.clone()
    weights = [weight.grad.clone() for weight in loss.parameters()]

    signals = {
        key: replace(signal, values=signal.values.masked_fill(~signal.observed[:, None], torch.nan))
        for key, signal in batch.signals.items()
    }
    spoilt = replace(batch, signals=signals)
    rows = values.detach().masked_fill(~present[..., None], torch.nan).requires_grad_()
    loss.zero_grad()
    dirty = loss(encoded(rows, spoilt, half_hidden(batch)))
    dirty.value.backward()
    assert torch.equal(dirty.value, clean.value)
    assert (rows.grad[~present] == 0).all()
    assert torch.equal(rows.grad, want)
    assert all(torch.equal(weight.grad, before) for weight, before in zip(loss.parameters(), weights, strict=True))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("rows", [0, 1, 3])
def test_nothing_to_compare_is_zero_with_zero_gradient(name, rows):
    loss = loss_of(name, modalities=2)
    present = torch.zeros(rows, 2, dtype=torch.bool)
    present[:1] = True
    values, batch = case(present)
    report = loss(encoded(values, batch, batch))
    report.value.backward()
    assert report.value.item() == 0
    assert (values.grad == 0).all()
    assert all((weight.grad == 0).all() for weight in loss.parameters())
    assert all(float(count) <= 1 for count in report.counts.values())


@pytest.mark.parametrize("name", LOSSES)
def test_windows_of_one_modality_are_no_trouble(name):
    loss = loss_of(name)
    present = torch.nn.functional.one_hot(torch.arange(30) // 3 % 4, 4).bool()
    values, batch = case(present)
    report = loss(encoded(values, batch))
    report.value.backward()
    assert torch.isfinite(report.value)
    assert torch.isfinite(values.grad).all()
    # Only what compares over time, or tells again what was hidden, can learn from them.
    assert (report.value > 0) == (name in {"mix", "near_in_time", *RECONSTRUCT})


@pytest.mark.parametrize("name", LOSSES)
def test_the_order_of_windows_means_nothing(name):
    loss = loss_of(name)
    values, batch = case(torch.rand(30, 4, generator=torch.Generator().manual_seed(5)) < 0.7)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(6))
    one, other = loss(encoded(values, batch)), loss(encoded(values[order], batch.select(order)))
    torch.testing.assert_close(one.value, other.value)
    assert {key: int(count) for key, count in one.counts.items()} == {k: int(v) for k, v in other.counts.items()}


@pytest.mark.parametrize("name", sorted(set(LOSSES) - RECONSTRUCT))
def test_partners_that_agree_are_better_than_strangers(name):
    loss = loss_of(name, modalities=2, width=8).eval()
    batch = windows(torch.ones(30, 2, dtype=torch.bool))
    generator = torch.Generator().manual_seed(2)
    # A direction for each person, a smaller one for each window, the same in both modalities.
    person, window = torch.randn(10, 8, generator=generator), torch.randn(30, 8, generator=generator)
    one = normalize(person[batch.subject] + 0.3 * window, dim=-1)
    order, another = (torch.randperm(30, generator=generator) for _ in range(2))
    agree = loss(encoded(torch.stack((one, one), 1), batch)).value
    strangers = loss(encoded(torch.stack((one[order], one[another]), 1), batch)).value
    assert agree < strangers


@pytest.mark.parametrize("name", LOSSES)
def test_weights_follow_from_the_arguments_alone(name):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    one = loss_of(name)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(8)
    other = loss_of(name)
    if isinstance(other, Shaped):
        other.shape(COLUMNS, 5, 1)
        other.shape(COLUMNS, 5, 0)
    assert one.state_dict().keys() == other.state_dict().keys()
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items())


@pytest.mark.parametrize("name", [name for name in LOSSES if name in {"mix", *RECONSTRUCT}])
def test_the_scale_of_targets_is_buffers_and_no_weight_moves(name):
    loss = loss_of(name)
    assert isinstance(loss, Scaled)
    weights = {key: value.clone() for key, value in loss.named_parameters()}
    buffers = {key: value.clone() for key, value in loss.named_buffers()}
    loss.learn_scale(windows(torch.ones(30, 4, dtype=torch.bool)))
    assert all(torch.equal(value, weights[key]) for key, value in loss.named_parameters())
    moved = [key for key, value in loss.named_buffers() if not torch.equal(value, buffers[key])]
    assert moved
    assert set(moved) <= set(loss.state_dict())

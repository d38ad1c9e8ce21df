"""Reconstruction: what counts, what is compared with what, and that it can be learned."""

import math
from dataclasses import replace

import pytest
import torch

from hdt_fm.losses.masked_patches import ENERGY_FLOOR, LARGEST, MaskedPatches
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.protocols import Embeddings, Encoded
from hdt_fm.schema.shard import ModalityColumn

WIDTH, ROWS = 6, 5
COLUMNS = (
    ModalityColumn(name="acc", unit="g", channels=3, sampling_rate_hz=8, samples=64, encoding="f32"),
    ModalityColumn(name="temp", unit="celsius", channels=1, sampling_rate_hz=2, samples=16, encoding="f32"),
)


def windows(rows=ROWS, present=None, seed=0):
    generator, index = torch.Generator().manual_seed(seed), torch.arange(rows)
    present = torch.ones(rows, 2, dtype=torch.bool) if present is None else present
    signals = {}
    for number, column in enumerate(COLUMNS):
        values = torch.randn(rows, column.channels, column.samples, generator=generator)
        observed = present[:, number, None].repeat(1, column.samples)
        signals[column.name] = Signal(values * observed[:, None], observed, column.sampling_rate_hz)
    return Batch(("acc", "temp"), signals, present, index, index.double(), index)


def unobserved(batch, name, row, start_s, stop_s):
    """Seconds of one window that are gone."""
    signal = batch.signals[name]
    clock = torch.arange(signal.observed.shape[1]) / signal.sampling_rate_hz
    observed = signal.observed.clone()
    observed[row] &= ~((clock >= start_s) & (clock < stop_s))
    values = signal.values.masked_fill(~observed[:, None], 0.0)
    return replace(batch, signals={**batch.signals, name: replace(signal, values=values, observed=observed)})


def encoded(seen, whole, seed=1):
    values = torch.randn(len(seen), 2, WIDTH, generator=torch.Generator().manual_seed(seed))
    embeddings = Embeddings((values * seen.present[..., None]).requires_grad_(), seen.present)
    return Encoded(embeddings, embeddings, seen, whole)


def shaped(seed=0, **settings):
    loss = MaskedPatches(**settings)
    loss.shape(COLUMNS, WIDTH, seed)
    return loss


def test_one_hidden_patch_by_hand():
    loss, whole = shaped(), windows(seed=2)
    seen = unobserved(whole, "temp", 2, 4.0, 6.0)
    view = encoded(seen, whole)
    report = loss(view)
    # What it should be, from the definition: mean and log power of four samples at 2 Hz, two lines in two bands.
    cut = whole.signals["temp"].values[2, 0, 8:12].double()
    lines = torch.fft.fft(cut)[1:3].abs() ** 2 / 16
    target = torch.cat((cut.mean()[None], torch.log(lines + ENERGY_FLOOR)))
    assert target.abs().max() < LARGEST
    decoder = loss.parts["temp"]
    rows = view.embeddings.values[2]
    context = (loss.parts["acc"].read(rows[0]) + decoder.read(rows[1])) / 2
    said = decoder.answer(loss.mixer(context + decoder.query[2]))
    assert report.value.item() == pytest.approx(((said.double() - target) ** 2).mean().item(), rel=1e-5)
    assert {name: int(count) for name, count in report.counts.items()} == {"acc": 0, "temp": 1}
    # Only that window's embeddings, and nothing of another patch's query, is taught.
    report.value.backward()
    grad = view.embeddings.values.grad
    assert (grad[2].abs().sum(-1) > 0).all()
    assert (grad[[0, 1, 3, 4]] == 0).all()
    assert decoder.query.grad.abs().sum(1).nonzero().squeeze(1).tolist() == [2]
    assert (loss.parts["acc"].answer.weight.grad == 0).all()


def test_a_hidden_modality_is_told_from_the_others():
    loss, whole = shaped(), windows()
    keep = torch.ones(ROWS, 2, dtype=torch.bool)
    keep[3, 0] = False
    view = encoded(whole.without(keep), whole)
    report = loss(view)
    report.value.backward()
    assert {name: int(count) for name, count in report.counts.items()} == {"acc": 4, "temp": 0}
    assert view.embeddings.values.grad[3, 1].abs().sum() > 0
    assert (view.embeddings.values.grad[3, 0] == 0).all()
    assert (loss.parts["acc"].read.weight.grad == 0).all()


def test_a_window_of_which_nothing_was_seen_takes_no_part():
    loss, whole = shaped(), windows()
    keep = torch.ones(ROWS, 2, dtype=torch.bool)
    keep[1] = False
    report = loss(encoded(whole.without(keep), whole))
    assert report.value.item() == 0
    # Present, but not one sample of it was seen: its embedding says nothing, and the other tells of it.
    blind = unobserved(whole, "acc", 1, 0, 99)
    view = encoded(blind, whole)
    loss(view).value.backward()
    assert (view.embeddings.values.grad[1, 0] == 0).all()
    assert view.embeddings.values.grad[1, 1].abs().sum() > 0


def test_what_was_never_measured_has_no_say():
    loss, whole = shaped(), windows()
    gap = unobserved(whole, "acc", 0, 2.5, 2.7)
    seen = unobserved(unobserved(gap, "acc", 0, 0, 6.0), "temp", 0, 2.0, 4.0)
    report = loss(encoded(seen, gap))
    # Patches 0 and 2 of acc: patch 1 was not measured whole. One of temp.
    assert {name: int(count) for name, count in report.counts.items()} == {"acc": 2, "temp": 1}
    signals = {
        name: replace(signal, values=signal.values.masked_fill(~signal.observed[:, None], torch.nan))
        for name, signal in gap.signals.items()
    }
    spoilt = loss(encoded(seen, replace(gap, signals=signals)))
    assert torch.equal(spoilt.value, report.value)
    # What is only partly hidden is not asked for: its ends would tell.
    assert int(loss(encoded(unobserved(whole, "acc", 0, 1.0, 3.0), whole)).counts["acc"]) == 0


def test_modalities_count_equally_whatever_their_patches():
    loss, whole = shaped(), windows()
    seen = unobserved(whole, "temp", 0, 0, 2.0)
    for row in range(ROWS):
        seen = unobserved(seen, "acc", row, 2.0, 8.0)
    report = loss(encoded(seen, whole))
    assert [int(count) for count in report.counts.values()] == [15, 1]
    assert report.value.item() == pytest.approx((report.parts["acc"] + report.parts["temp"]).item() / 2)


def test_the_order_of_modalities_means_nothing():
    loss, whole = shaped(), windows()
    seen = unobserved(whole, "acc", 0, 0, 2.0)
    one = loss(encoded(seen, whole)).value
    other_way = MaskedPatches()
    other_way.shape(COLUMNS[::-1], WIDTH, 0)
    other_way.load_state_dict(loss.state_dict())
    view = encoded(seen, whole)
    turned = {
        "seen": replace(seen, modalities=("temp", "acc"), present=seen.present.flip(1)),
        "whole": replace(whole, modalities=("temp", "acc"), present=whole.present.flip(1)),
    }
    embeddings = Embeddings(view.embeddings.values.flip(1), view.embeddings.present.flip(1))
    torch.testing.assert_close(other_way(Encoded(embeddings, embeddings, **turned)).value, one)


def test_numeric_gradients():
    loss, whole = shaped(bands=2, hidden_width=5).double(), windows()
    seen = unobserved(unobserved(whole, "acc", 0, 0, 4.0), "temp", 1, 2.0, 8.0)

    def value(rows):
        embeddings = Embeddings(rows, seen.present)
        return loss(Encoded(embeddings, embeddings, seen, whole)).value

    assert torch.autograd.gradcheck(value, encoded(seen, whole).embeddings.values.detach().double().requires_grad_())


def test_targets_of_training_people_have_mean_zero_and_spread_one():
    loss, batch = shaped(), windows(rows=200)
    louder = {name: replace(signal, values=30 + 5 * signal.values) for name, signal in batch.signals.items()}
    batch = replace(batch, signals=louder)
    loss.learn_scale(batch)
    for name, part in loss.parts.items():
        target = part.target.standardised(part.target.measure(batch.signals[name])).flatten(0, 1)
        assert target.mean(0).abs().max() < 0.05
        assert (target.std(0) - 1).abs().max() < 0.1
        assert part.target.size == COLUMNS[("acc", "temp").index(name)].channels + min(6, part.target.points // 2)
    # A signal that never changes must not blow up rounding, and an artefact must not outweigh all.
    flat = replace(batch.signals["temp"], values=torch.full_like(batch.signals["temp"].values, 33.3))
    target = loss.parts["temp"].target
    target.learn(flat)
    assert torch.isfinite(target.standardised(target.measure(flat))).all()
    wild = replace(flat, values=flat.values * 1e6)
    assert target.standardised(target.measure(wild)).abs().max() <= LARGEST


def test_bfloat16_embeddings_are_judged_in_float32():
    loss, whole = shaped(), windows()
    view = encoded(unobserved(whole, "acc", 0, 0, 2.0), whole)
    half = Embeddings(view.embeddings.values.bfloat16(), view.embeddings.present)
    with torch.autocast("cpu", torch.bfloat16):
        report = loss(replace(view, embeddings=half))
    assert report.value.dtype == torch.float32
    assert report.value.item() == pytest.approx(loss(view).value.item(), rel=0.02)


def test_a_short_training_beats_the_mean_and_only_where_the_signal_can_be_known():
    """A hidden level drives both modalities: the embedding that knows it tells the hidden patches, noise does not."""
    generator = torch.Generator().manual_seed(0)

    def draw(rows):
        level = torch.randn(rows, generator=generator)
        batch = windows(rows, seed=int(torch.randint(1 << 30, (), generator=generator)))
        signals = {
            name: replace(s, values=0.2 * s.values * torch.exp(level)[:, None, None] + level[:, None, None])
            for name, s in batch.signals.items()
        }
        whole = replace(batch, signals=signals)
        keep = torch.ones(rows, 2, dtype=torch.bool)
        keep[torch.arange(rows), torch.arange(rows) % 2] = False
        return level, whole.without(keep), whole

    def view(told, seen, whole):
        rows = torch.zeros(len(told), 2, WIDTH)
        rows[:, :, 0] = told[:, None]
        embeddings = Embeddings(rows * seen.present[..., None], seen.present)
        return Encoded(embeddings, embeddings, seen, whole)

    scores = {}
    for knows in (True, False):
        loss = shaped(hidden_width=16)
        loss.learn_scale(draw(400)[2])
        optimizer = torch.optim.Adam(loss.parameters(), lr=1e-2)
        for _ in range(120):
            level, seen, whole = draw(64)
            optimizer.zero_grad()
            loss(view(level if knows else torch.randn(64, generator=generator), seen, whole)).value.backward()
            optimizer.step()
        level, seen, whole = draw(400)
        with torch.no_grad():
            scores[knows] = loss(view(level if knows else torch.randn(400, generator=generator), seen, whole)).value
    # The training people's mean gets 1.
    assert scores[True] < 0.4
    assert scores[False] > 0.9


def test_it_says_what_is_missing():
    whole = windows()
    with pytest.raises(ConfigError, match="does not know the model yet"):
        MaskedPatches()(encoded(whole, whole))
    with pytest.raises(ConfigError, match="cannot be built"):
        MaskedPatches(patch_s=0.0)
    loss = shaped()
    with pytest.raises(ShapeError, match="came without its signal"):
        loss(encoded(whole, replace(whole, signals={})))
    one = Embeddings(torch.zeros(ROWS, 1, WIDTH), whole.present[:, :1])
    with pytest.raises(ShapeError, match="do not fit the decoder"):
        loss(Encoded(one, one, whole, whole))
    short = replace(whole.signals["temp"], values=torch.zeros(ROWS, 1, 12), observed=torch.ones(ROWS, 12).bool())
    with pytest.raises(ShapeError, match="does not fit the decoder"):
        loss(encoded(whole, replace(whole, signals={**whole.signals, "temp": short})))
    assert math.isfinite(loss(encoded(whole, whole)).value.item())

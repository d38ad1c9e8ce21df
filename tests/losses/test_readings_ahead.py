"""Readings ahead: what counts, by hand, and that nothing shown is asked for."""

import dataclasses

import pytest
import torch

from hdt_fm.losses.readings_ahead import ReadingsAhead
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.protocols import Embeddings, Encoded
from hdt_fm.schema.shard import ModalityColumn

STEP_S = 900.0
SAMPLES = 104  # 26 h


def column(step_s=STEP_S, samples=SAMPLES):
    return ModalityColumn(
        name="glucose", unit="mg/dL", channels=1, sampling_rate_hz=1 / step_s, samples=samples, encoding="f32"
    )


def loss_of(width=5, **more):
    loss = ReadingsAhead(**more)
    loss.shape([column()], width, 0)
    return loss


def batch_of(values, observed=None, step_s=STEP_S):
    rows = len(values)
    seen = torch.ones(rows, values.shape[-1], dtype=torch.bool) if observed is None else observed
    signal = Signal(values[:, None], seen, 1 / step_s)
    index = torch.arange(rows)
    return Batch(("glucose",), {"glucose": signal}, torch.ones(rows, 1, dtype=torch.bool), index, index.double(), index)


def end_hidden(batch, end_s=7200.0):
    signal = batch.signals["glucose"]
    kept = signal.values.shape[-1] - round(end_s * signal.sampling_rate_hz)
    seen = signal.observed & (torch.arange(signal.values.shape[-1]) < kept)
    return dataclasses.replace(batch, signals={"glucose": dataclasses.replace(signal, observed=seen)})


def encoded(batch, seen, width=5):
    values = torch.randn(len(batch), 1, width, generator=torch.Generator().manual_seed(0)).requires_grad_()
    embeddings = Embeddings(values, batch.present)
    return Encoded(embeddings, embeddings, seen, batch)


def test_the_change_is_from_the_last_seen_reading_to_those_at_the_horizons():
    batch = batch_of(torch.arange(SAMPLES).float().repeat(2, 1) * 10)
    change = loss_of()._change(end_hidden(batch).signals["glucose"], batch.signals["glucose"])
    # Half an hour is two steps of ten, an hour four, two hours eight.
    assert change[:, 0].tolist() == [[20.0, 40.0, 80.0]] * 2


def test_an_older_reading_stands_for_now_up_to_half_the_nearest_horizon():
    values = torch.arange(SAMPLES).float().repeat(3, 1)
    observed = torch.ones(3, SAMPLES, dtype=torch.bool)
    now = SAMPLES - 8 - 1
    observed[1, now] = False  # 15 min old: taken
    observed[2, now - 1 : now + 1] = False  # 30 min old: not
    batch = batch_of(values, observed)
    change = loss_of()._change(end_hidden(batch).signals["glucose"], batch.signals["glucose"])
    assert change[:, 0, 0].tolist()[:2] == [2.0, 3.0]
    assert change[2].isnan().all()


def test_what_the_encoder_was_shown_does_not_count():
    batch = batch_of(torch.randn(4, SAMPLES))
    loss = loss_of()
    shown = loss(encoded(batch, batch))
    assert shown.value.item() == 0
    assert int(shown.counts["glucose"]) == 0
    # With the last hour hidden, the readings half an hour and an hour ahead were shown; that two hours ahead was not.
    assert int(loss(encoded(batch, end_hidden(batch, 3600.0))).counts["glucose"]) == 4
    assert int(loss(encoded(batch, end_hidden(batch))).counts["glucose"]) == 4 * 3


def test_rates_and_lengths_may_differ_from_window_to_window():
    """The same course, read every 5 and every 15 minutes, asks for the same changes."""
    coarse = torch.arange(SAMPLES).float()[None] * 3
    fine = torch.arange(3 * SAMPLES).float()[None]
    loss = loss_of()
    changes = []
    for values, step_s in ((coarse, 900.0), (fine, 300.0)):
        batch = batch_of(values, step_s=step_s)
        changes.append(loss._change(end_hidden(batch).signals["glucose"], batch.signals["glucose"]))
    assert changes[0].tolist() == changes[1].tolist()


def test_the_spread_of_changes_is_the_unit():
    generator = torch.Generator().manual_seed(1)
    batch = batch_of(torch.randn(400, SAMPLES, generator=generator) * 25)
    loss = loss_of()
    loss.learn_scale(batch)
    # A difference of two independent readings of SD 25.
    assert float(loss.parts["glucose"].spread) == pytest.approx(25 * 2**0.5, rel=0.05)


def test_an_embedding_that_holds_what_comes_learns_it():
    generator = torch.Generator().manual_seed(2)
    values = torch.randn(256, SAMPLES, generator=generator) * 25
    batch, loss = batch_of(values), loss_of(width=3)
    loss.learn_scale(batch)
    now = SAMPLES - 8 - 1
    truth = torch.stack([values[:, now + step] - values[:, now] for step in (2, 4, 8)], dim=-1) / 35
    held = Embeddings(truth[:, None], batch.present)
    optimiser = torch.optim.Adam(loss.parameters(), 1e-2)
    first = None
    for _ in range(150):
        report = loss(Encoded(held, held, end_hidden(batch), batch))
        first = first or report.value.item()
        optimiser.zero_grad()
        report.value.backward()
        optimiser.step()
    assert report.value.item() < 0.1 * first


def test_what_cannot_be_asked_is_refused():
    with pytest.raises(ConfigError, match="rise"):
        ReadingsAhead(horizons_s=[3600.0, 1800.0])
    with pytest.raises(ConfigError, match="shape"):
        ReadingsAhead()(encoded(batch_of(torch.randn(2, SAMPLES)), batch_of(torch.randn(2, SAMPLES))))
    short = batch_of(torch.randn(2, 8))
    with pytest.raises(ShapeError, match="more than 7200 s"):
        loss_of()(encoded(short, short))

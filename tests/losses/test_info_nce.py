"""The loss module: its parameter, its settings, and what it reports."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

from hdt_fm.losses.info_nce import InfoNce
from hdt_fm.losses.leave_one_out import LeaveOneOut
from hdt_fm.losses.sigmoid_pairs import SigmoidPairs
from hdt_fm.ops.contrastive import contrastive_loss
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ConfigError, ShapeError, UnknownNameError
from hdt_fm.schema.protocols import Embeddings, Encoded


def case(rows=10, modalities=3):
    present = torch.rand(rows, modalities, generator=torch.Generator().manual_seed(0)) < 0.8
    names = ("ppg", "acc", "eda")[:modalities]
    index = torch.arange(rows)
    batch = Batch(names, {}, present, index // 4, index.double() * 30, index)
    values = normalize(torch.randn(rows, modalities, 6, generator=torch.Generator().manual_seed(1)), dim=-1)
    return encoded_of(values * present[..., None], batch)


def encoded_of(values, batch):
    projections = Embeddings(values, batch.present)
    return Encoded(projections, projections, batch, batch)


def test_it_is_the_op_with_its_scale_and_settings():
    encoded = case()
    projections, batch = encoded.projections, encoded.seen
    report = InfoNce(init_temperature=0.2, exclude_within_s=45.0)(encoded)
    expected = contrastive_loss(
        projections.values.transpose(0, 1),
        projections.present,
        logit_scale=torch.tensor(5.0),
        subject=batch.subject,
        time_s=batch.time_s,
        exclude_within_s=45.0,
    )
    torch.testing.assert_close(report.value, expected.loss)
    off = InfoNce(init_temperature=0.2, exclude_within_s=None)(encoded)
    assert off.value > report.value


def test_parts_and_counts_are_named_by_modality():
    encoded = case()
    batch = encoded.seen
    report = InfoNce()(encoded)
    assert list(report.counts) == ["ppg-acc", "ppg-eda", "acc-eda"]
    assert report.counts["ppg-eda"] == (batch.present[:, 0] & batch.present[:, 2]).sum()
    assert set(report.parts) == {*report.counts, "logit_scale"}
    assert not any(part.requires_grad for part in report.parts.values())


def test_the_scale_starts_at_one_over_temperature_and_stays_in_its_range():
    loss = InfoNce(init_temperature=0.1, max_logit_scale=50.0)
    assert loss.logit_scale().item() == pytest.approx(10)
    for start, end in ((9.0, 50.0), (-3.0, 1.0)):
        with torch.no_grad():
            loss.log_logit_scale.fill_(start)
        assert loss.logit_scale().item() == pytest.approx(end)
        assert loss.log_logit_scale.item() == pytest.approx(math.log(end))


def test_at_the_edge_the_scale_still_learns():
    loss = InfoNce(max_logit_scale=100.0)
    with torch.no_grad():
        loss.log_logit_scale.fill_(20.0)
    loss(case()).value.backward()
    # Random projections want a smaller scale.
    assert loss.log_logit_scale.grad > 0


def test_evaluating_changes_nothing():
    loss = InfoNce().eval()
    with torch.no_grad():
        loss.log_logit_scale.fill_(20.0)
    assert loss(case()).parts["logit_scale"].item() == pytest.approx(100)
    assert loss.log_logit_scale.item() == 20


@pytest.mark.parametrize("loss", [InfoNce, LeaveOneOut, SigmoidPairs])
@pytest.mark.parametrize("impl", ["reference", "chunked"])
def test_products_that_may_round_are_a_little_off_and_only_then(loss, impl):
    exact = float(loss(impl=impl)(case()).value.detach())
    rounded = float(loss(impl=impl, products="bf16")(case()).value.detach())
    assert exact == pytest.approx(float(loss()(case()).value.detach()), rel=1e-5)
    assert 0 < abs(rounded / exact - 1) < 0.02


def test_bad_settings_speak():
    with pytest.raises(ConfigError, match="init_temperature is out of range"):
        InfoNce(init_temperature=0.001)
    with pytest.raises(UnknownNameError, match="did you mean 'chunked'"):
        InfoNce(impl="chunks")
    for loss in (InfoNce, LeaveOneOut, SigmoidPairs):
        with pytest.raises(UnknownNameError, match="bf16"):
            loss(products="bf61")
    with pytest.raises(ShapeError, match="Projections do not fit"):
        InfoNce()(replace(case(), projections=case(modalities=2).projections))

"""A mix is the weighted sum of its terms, and refuses what it cannot be."""

import pytest
import torch
from torch.nn.functional import normalize

from hdt_fm.losses.info_nce import InfoNce
from hdt_fm.losses.leave_one_out import LeaveOneOut
from hdt_fm.losses.mix import Mix
from hdt_fm.losses.near_in_time import NearInTime
from hdt_fm.losses.sigmoid_pairs import SigmoidPairs
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ConfigError, UnknownNameError
from hdt_fm.schema.protocols import Embeddings, Encoded, Spreads


def case(rows=12, modalities=3):
    present = torch.rand(rows, modalities, generator=torch.Generator().manual_seed(0)) < 0.8
    index = torch.arange(rows)
    batch = Batch(("ppg", "acc", "eda")[:modalities], {}, present, index // 4, index.double() * 30, index)
    values = normalize(torch.randn(rows, modalities, 6, generator=torch.Generator().manual_seed(1)), dim=-1)
    projections = Embeddings((values * present[..., None]).requires_grad_(), present)
    return Encoded(projections, projections, batch, batch)


def test_value_and_gradient_are_the_weighted_sums():
    mix = Mix(terms={"info_nce": {"weight": 2.0, "exclude_within_s": None}, "near_in_time": {"within_s": 60.0}})
    together = case()
    report = mix(together)
    report.value.backward()
    apart = case()
    one, other = InfoNce(exclude_within_s=None)(apart), NearInTime(within_s=60.0)(apart)
    (2 * one.value + other.value).backward()
    torch.testing.assert_close(report.value, 2 * one.value + other.value)
    torch.testing.assert_close(together.projections.values.grad, apart.projections.values.grad)
    assert report.parts["info_nce"] == one.value
    assert report.parts["info_nce/ppg-acc"] == one.parts["ppg-acc"]
    assert report.counts["near_in_time/eda"] == other.counts["eda"]
    assert int(report.counts["info_nce"]) == 12
    names = {name for name, _ in mix.named_parameters()}
    assert names == {"terms.info_nce.log_logit_scale", "terms.near_in_time.log_logit_scale"}


def test_one_loss_may_stand_twice_under_its_own_words():
    mix = Mix(
        terms={
            "minutes": {"name": "near_in_time", "within_s": 60.0, "weight": 0.5},
            "person": {"name": "near_in_time", "within_s": float("inf")},
        }
    )
    report = mix(case())
    assert "minutes/ppg" in report.parts
    assert "person/ppg" in report.counts
    torch.testing.assert_close(report.value, 0.5 * report.parts["minutes"] + report.parts["person"])


def test_parts_of_the_new_losses_are_named_by_modality():
    encoded = case()
    assert set(LeaveOneOut()(encoded).parts) == {"ppg", "acc", "eda", "logit_scale"}
    report = SigmoidPairs()(encoded)
    assert set(report.parts) == {"ppg-acc", "ppg-eda", "acc-eda", "logit_scale", "logit_bias"}
    assert report.parts["logit_scale"].item() == pytest.approx(10)
    assert report.parts["logit_bias"].item() == -10
    across = NearInTime(across=True)(encoded)
    assert {"ppg", "ppg->acc", "acc->ppg"} < set(across.counts)


@pytest.mark.parametrize("weight", [0, -1.0, float("inf"), float("nan"), True, "much"])
def test_a_weight_that_cannot_be_used_is_refused(weight):
    with pytest.raises(ConfigError, match="weight of a term cannot be used") as caught:
        Mix(terms={"info_nce": {"weight": weight}})
    assert "loss.terms.info_nce.weight" in str(caught.value)


def test_what_a_mix_cannot_be():
    with pytest.raises(ConfigError, match="A mix needs a term"):
        Mix(terms={})
    with pytest.raises(ConfigError, match="A mix cannot hold a mix"):
        Mix(terms={"mix": {"terms": {"info_nce": {}}}})
    with pytest.raises(ConfigError, match="A mix cannot hold a mix"):
        Mix(terms={"inner": {"name": "mix", "terms": {"info_nce": {}}}})
    with pytest.raises(UnknownNameError, match="Unknown loss 'infonce'") as caught:
        Mix(terms={"infonce": {}})
    assert "did you mean 'info_nce'" in str(caught.value)
    with pytest.raises(ConfigError, match="must be a mapping"):
        Mix(terms={"info_nce": 1.0})
    with pytest.raises(ConfigError, match="word of a term"):
        Mix(terms={"a/b": {"name": "info_nce"}})
    with pytest.raises(ConfigError, match="Unknown setting 'exclude_within'"):
        Mix(terms={"info_nce": {"exclude_within": 3.0}})


@pytest.mark.parametrize("build", [LeaveOneOut, SigmoidPairs, NearInTime])
def test_scales_out_of_range_are_refused_by_each(build):
    with pytest.raises(ConfigError, match="init_temperature is out of range"):
        build(init_temperature=0.001)


def test_bad_settings_of_near_in_time_and_leave_one_out_speak():
    with pytest.raises(ConfigError, match="within_s cannot be used"):
        NearInTime(within_s=0.0)
    with pytest.raises(UnknownNameError, match="choice of negatives 'other'"):
        NearInTime(negatives="other")
    with pytest.raises(UnknownNameError, match="did you mean 'chunked'"):
        LeaveOneOut(impl="chunks")


def test_a_mix_spreads_where_all_of_its_terms_do():
    """One term that must see all rows is reason enough to gather them."""
    assert isinstance(Mix(terms={"info_nce": {}, "sigmoid_pairs": {}}), Spreads)
    assert Mix(terms={"info_nce": {}, "sigmoid_pairs": {}, "leave_one_out": {}}).spreads
    assert not Mix(terms={"info_nce": {}, "near_in_time": {}}).spreads

"""What every encoder of the table promises.

`static` reads facts about a person, a place of the time axis for each column and one channel. So what is said of rates,
channels, length, course in time and one unit for all values says nothing of it: those tests run over encoders of
signals alone. `EVERY` are the tests that hold for both.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hdt_fm.schema.protocols import Encoder
from hdt_fm.schema.registry import build, names

SMALL = {
    "irregular": {"width": 16, "depth": 1, "heads": 2, "slots": 4},
    "patch_transformer": {"width": 16, "depth": 1, "heads": 2},
    "patch_transformer with slow rhythms": {
        "width": 16,
        "depth": 1,
        "heads": 2,
        "slow_s": 8.0,
        "slow_points": 16,
        "rhythms": {"sway": {"span_s": 8.0, "low_hz": 0.2, "high_hz": 2.0, "peak": 1.0}},
    },
    "recurrent": {"width": 16, "patch_s": 2.0, "points": 4},
    "resnet": {"width": 16, "depth": 2},
}
ENCODERS = tuple(SMALL)
FACTS = (
    {"name": "age_band", "center": 0.4, "scale": 1.5},
    {"name": "sex", "levels": ("F", "M")},
    {"name": "bmi", "center": -1.0, "scale": 0.5},
    {"name": "apoe", "levels": ("23", "33", "34")},
)
EVERY = (*ENCODERS, "static")


def small(name, **more):
    torch.manual_seed(0)
    args = {"columns": FACTS, "width": 16, "hidden": 8} if name == "static" else SMALL[name]
    return build("encoders", name.split()[0], {**args, **more}).eval()


def fit_for(name, values, observed):
    """Windows of a signal, or as many people's facts: numbers, and places of levels (0 to 2, of which sex has two)."""
    if name != "static":
        return values, observed
    facts = values[:, :1, : len(FACTS)].clone()
    facts[..., [1, 3]] = facts[..., [1, 3]].detach().abs().round().clamp(max=2)
    return facts, observed[:, : len(FACTS)]


def test_every_registered_encoder_is_among_the_cases():
    assert names("encoders") == ("irregular", "patch_transformer", "recurrent", "resnet", "static")
    assert {name.split()[0] for name in EVERY} == set(names("encoders"))
    assert all(isinstance(small(name), Encoder) for name in EVERY)


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize(
    ("rate_hz", "channels", "samples"), [(64.0, 1, 640), (32.0, 3, 100), (4.0, 2, 13), (0.2, 1, 2), (125.0, 12, 333)]
)
def test_any_rate_channel_count_and_length(name, rate_hz, channels, samples):
    encoder = small(name)
    assert isinstance(encoder, Encoder)
    out = encoder(torch.randn(5, channels, samples), torch.ones(5, samples, dtype=torch.bool), rate_hz)
    assert out.shape == (5, encoder.width)
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), share=st.floats(0, 1), rate_hz=st.sampled_from([4.0, 31.0, 64.0]))
def test_unobserved_values_have_no_influence_at_all(name, seed, share, rate_hz):
    generator = torch.Generator().manual_seed(seed)
    encoder = small(name)
    values = torch.randn(3, 2, 97, generator=generator)
    values, observed = fit_for(name, values, torch.rand(3, 97, generator=generator) < share)
    other = torch.where(observed[:, None], values, 1e6 * torch.randn(values.shape, generator=generator))
    worst = torch.where(observed[:, None], values, torch.nan)
    expected = encoder(values, observed, rate_hz)
    assert torch.isfinite(expected).all()
    assert torch.equal(encoder(other, observed, rate_hz), expected)
    assert torch.equal(encoder(worst, observed, rate_hz), expected)


@pytest.mark.parametrize("name", EVERY)
def test_a_window_without_observations_is_one_finite_vector(name):
    encoder = small(name)
    observed = torch.zeros(4, 60, dtype=torch.bool)
    observed[2] = True
    out = encoder(*fit_for(name, torch.randn(4, 3, 60), observed), 16.0)
    assert torch.isfinite(out).all()
    torch.testing.assert_close(out[0], out[1])
    torch.testing.assert_close(out[0], out[3])
    assert not torch.allclose(out[0], out[2], atol=1e-3)


@pytest.mark.parametrize("name", EVERY)
def test_rows_do_not_see_each_other(name):
    encoder = small(name).double()
    values = torch.randn(4, 2, 80).double()
    observed = torch.rand(4, 80) < 0.8
    observed[1] = True
    values, observed = fit_for(name, values, observed)
    together = encoder(values, observed, 16.0)
    for row in range(4):
        alone = encoder(values[row : row + 1], observed[row : row + 1], 16.0)
        torch.testing.assert_close(alone[0], together[row])


@pytest.mark.parametrize("name", ENCODERS)
def test_level_spread_axis_and_order_in_time_can_be_told(name):
    encoder = small(name)
    values = torch.randn(1, 3, 160, generator=torch.Generator().manual_seed(3)).cumsum(-1)
    observed = torch.ones(1, 160, dtype=torch.bool)
    base = encoder(values, observed, 16.0)
    changed = {
        "level": values + 3,
        "spread": (values - values.mean(-1, keepdim=True)) * 3 + values.mean(-1, keepdim=True),
        "axis": values[:, [2, 0, 1]],
        "time": values.flip(-1),
    }
    for what, other in changed.items():
        assert (encoder(other, observed, 16.0) - base).abs().max() > 1e-3, what


@pytest.mark.parametrize("name", ENCODERS)
def test_channels_move_with_their_table_rows(name):
    encoder = small(name).double()
    values, observed = torch.randn(2, 3, 96).double(), torch.ones(2, 96, dtype=torch.bool)
    order = torch.tensor([1, 2, 0])
    before = encoder(values, observed, 16.0)
    with torch.no_grad():
        for key, weight in encoder.named_parameters():
            if key.endswith("table.weight"):
                weight[:3] = weight[order].clone()
    torch.testing.assert_close(encoder(values[:, order], observed, 16.0), before)


@pytest.mark.parametrize("name", ENCODERS)
def test_the_same_signal_at_another_rate_lands_nearby(name):
    # A slow wave, twice sampled; the reading at fixed points should make rates nearly equal.
    encoder = small(name).double()

    def embed(rate_hz):
        time_s = (torch.arange(int(10 * rate_hz), dtype=torch.float64) + 0.5) / rate_hz
        wave = torch.sin(2 * torch.pi * torch.tensor([[0.5], [1.1]]) * time_s)[:, None]
        return encoder(wave, torch.ones(2, len(time_s), dtype=torch.bool), rate_hz)

    near, far = (embed(64.0) - embed(100.0)).norm(dim=1), (embed(64.0)[0] - embed(64.0)[1]).norm()
    assert (near < 0.1 * far).all()


@pytest.mark.parametrize("name", EVERY)
def test_every_weight_learns_and_every_input_gradient_is_finite(name):
    encoder = small(name).train()
    values = torch.randn(3, 2, 90, requires_grad=True)
    observed = torch.rand(3, 90) < 0.8
    observed[1] = False
    values, observed = fit_for(name, values, observed)
    values.retain_grad()
    out = encoder(values, observed, 16.0)
    (out * torch.randn_like(out)).sum().backward()
    assert torch.isfinite(values.grad).all()
    assert (values.grad.abs().sum((1, 2)) > 0).tolist() == [True, False, True]
    assert (values.grad.masked_select(~observed[:, None]) == 0).all()
    learned = [(key, weight) for key, weight in encoder.named_parameters() if weight.requires_grad]
    without = [key for key, weight in learned if weight.grad is None or not weight.grad.any()]
    assert without == []


@pytest.mark.parametrize("name", ENCODERS)
def test_center_and_scale_undo_the_unit(name):
    values, observed = torch.randn(2, 1, 64).double(), torch.ones(2, 64, dtype=torch.bool)
    plain = small(name, center=0.0, scale=1.0).double()(values, observed, 16.0)
    other = small(name, center=300.0, scale=40.0).double()(values * 40 + 300, observed, 16.0)
    torch.testing.assert_close(plain, other)

"""What the transformer does with patches that nobody saw, and with order in time."""

import pytest
import torch

from hdt_fm.encoders.patch_transformer import PatchTransformer
from hdt_fm.layers.rhythm import MOMENTS
from hdt_fm.schema.batch import Signal
from hdt_fm.schema.errors import ConfigError, UnknownNameError
from hdt_fm.schema.protocols import LinearReadout, Taught


def small(slots: int = 3):
    torch.manual_seed(0)
    return PatchTransformer(width=16, depth=2, heads=2, patch_s=1.0, patch_points=16, slots=slots).double().eval()


def test_an_unobserved_tail_is_as_if_it_was_never_there():
    # Whole patches at an equal rate: masked tokens must neither be attended to nor pooled.
    # One slot: with more, where the window ends is part of what the embedding says.
    encoder, values = small(slots=1), torch.randn(3, 2, 96).double()
    observed = torch.ones(3, 96, dtype=torch.bool)
    observed[:, 64:] = False
    expected = encoder(values[..., :64], observed[:, :64], 16.0)
    torch.testing.assert_close(encoder(values, observed, 16.0), expected)
    # The same rows beside one that was fully observed, and one that was not seen at all.
    observed[1], observed[2] = True, False
    torch.testing.assert_close(encoder(values, observed, 16.0)[0], expected[0])


def test_no_observed_patch_and_no_mask_agree():
    encoder, values = small(), torch.randn(2, 1, 64).double()
    empty = torch.zeros(2, 64, dtype=torch.bool)
    mixed = empty.clone()
    mixed[1] = True
    torch.testing.assert_close(encoder(values, empty, 16.0)[0], encoder(values, mixed, 16.0)[0])


def test_swapped_patches_are_another_window():
    encoder, values = small(), torch.randn(1, 1, 64).double()
    swapped = torch.cat((values[..., 32:], values[..., :32]), -1)
    observed = torch.ones(1, 64, dtype=torch.bool)
    assert (encoder(values, observed, 16.0) - encoder(swapped, observed, 16.0)).abs().max() > 1e-3


def test_heads_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="Heads do not fit"):
        PatchTransformer(width=20, heads=3)


def slow(window_s: float | None = 8.0) -> PatchTransformer:
    torch.manual_seed(0)
    args = {"width": 16, "depth": 1, "heads": 2, "patch_s": 1.0, "patch_points": 16, "slots": 2, "slot_width": 16}
    return PatchTransformer(**args, slow_s=window_s).eval()


def test_long_patches_tell_slow_rhythms_apart_that_short_ones_cannot():
    """Rates of .25 and .3125 Hz, random phases: the embeddings of an untrained encoder, spectra alone."""

    def gap(encoder: PatchTransformer) -> float:
        torch.nn.init.zeros_(encoder.embed.waveform.weight)
        phase = torch.rand(64, 1, generator=torch.Generator().manual_seed(0)) * 2 * torch.pi
        time = torch.arange(32 * 16) / 16
        first, second = (torch.sin(2 * torch.pi * rate * time + phase)[:, None] for rate in (0.25, 0.3125))
        seen = torch.ones(64, 32 * 16, dtype=torch.bool)
        a, b = (encoder(wave, seen, 16.0) for wave in (first, second))
        return float((a.mean(0) - b.mean(0)).norm() / (a.std(0) + b.std(0)).norm())

    plain = slow(None)
    with torch.no_grad():
        assert gap(slow(32.0)) > 3 * gap(plain)


def test_calibration_sets_every_spectrum_and_travels_with_the_weights():
    encoder, values = slow(), 3 + torch.randn(20, 2, 256)
    before = encoder(values, torch.ones(20, 256, dtype=torch.bool), 16.0)
    encoder.calibrate(values, torch.ones(20, 256, dtype=torch.bool), 16.0)
    state = encoder.state_dict()
    for name in ("embed.spectra.standardise.center", "slow.standardise.center"):
        assert state[name].abs().min() > 0
    after = encoder(values, torch.ones(20, 256, dtype=torch.bool), 16.0)
    assert not torch.equal(before, after)
    other = slow()
    other.load_state_dict(state)
    assert torch.equal(other(values, torch.ones(20, 256, dtype=torch.bool), 16.0), after)


BREATH = {"span_s": 32.0, "low_hz": 0.06, "high_hz": 0.62, "taught_by": "resp"}
PULSE = {"span_s": 32.0, "low_hz": 0.7, "high_hz": 3.0, "peak": 4.0}


def rhythmic(rhythms=None, **more) -> PatchTransformer:
    torch.manual_seed(0)
    args = {"width": 16, "depth": 1, "heads": 2, "patch_s": 1.0, "patch_points": 16, "slots": 2}
    return PatchTransformer(**{**args, "rhythms": {"breath": BREATH} if rhythms is None else rhythms, **more}).eval()


def breaths(windows: int, *, seed: int = 0, scale: float = 1.0, level: float = 0.0) -> Signal:
    """Noisy breathing of 32 s at rates spread over the band."""
    generator = torch.Generator().manual_seed(seed)
    hz = torch.linspace(0.12, 0.5, windows)[:, None]
    wave = torch.sin(2 * torch.pi * (hz * (torch.arange(256) + 0.5) / 8 + torch.rand(windows, 1, generator=generator)))
    noisy = wave + 0.2 * torch.randn(windows, 256, generator=generator)
    return Signal((level + scale * noisy)[:, None], torch.ones(windows, 256, dtype=torch.bool), 8.0)


def test_a_rhythm_ends_what_is_pooled_and_its_place_is_direct():
    encoder, signal = rhythmic(), breaths(5)
    assert isinstance(encoder, Taught)
    assert isinstance(encoder, LinearReadout)
    assert encoder.teachers == {"resp"}
    assert encoder.direct == MOMENTS
    blocks = encoder.pooled(signal.values, signal.observed, signal.sampling_rate_hz)
    waveform, _ = encoder.input_scale(signal.values, signal.observed)
    for block, expected in zip(blocks[-2:], encoder.rhythms["breath"](waveform, signal.observed, 8.0), strict=True):
        assert torch.equal(block, expected)
    assert sum(block.shape[1] for block in blocks) == encoder.readout.in_features
    assert blocks[-1].shape == (5, encoder.direct)
    # It stands beside the slow spectrum, and after it.
    both = rhythmic(slow_s=32.0, slow_points=16).pooled(signal.values, signal.observed, 8.0)
    assert [block.shape[1] for block in both[-3:]] == [9, encoder.rhythms["breath"].lines, MOMENTS]


def test_a_rhythm_is_told_by_its_name():
    encoder, signal = rhythmic({"breath": BREATH | {"peak": 4.0}}), breaths(5)
    found = encoder.find_rhythm("breath", signal.values, signal.observed, 8.0)
    torch.testing.assert_close(found.log_share.exp().sum(-1), torch.ones(5))
    torch.testing.assert_close(found.per_minute(), 60 * torch.linspace(0.12, 0.5, 5), atol=0.5, rtol=0)
    with pytest.raises(UnknownNameError, match="did you mean 'breath'"):
        encoder.find_rhythm("breth", signal.values, signal.observed, 8.0)


def test_places_of_several_rhythms_end_the_embedding_as_they_are():
    encoder, signal = rhythmic({"breath": BREATH, "pulse": PULSE}, width=32), breaths(5)
    assert encoder.direct == 2 * MOMENTS
    blocks = encoder.pooled(signal.values, signal.observed, 8.0)
    lines = [encoder.rhythms[name].lines for name in ("breath", "pulse")]
    assert [block.shape[1] for block in blocks[-4:]] == [*lines, MOMENTS, MOMENTS]
    with torch.no_grad():
        found = encoder(signal.values, signal.observed, 8.0)
    assert found.shape == (5, 32)
    assert torch.equal(found[:, -encoder.direct :], torch.cat(blocks[-2:], dim=1))
    # The rest is normalised as if they were not there.
    torch.testing.assert_close(found[:, : -encoder.direct].std(-1, correction=0), torch.ones(5), atol=1e-2, rtol=0)


def test_a_loss_does_not_move_a_rhythm_but_its_signal_is_credited():
    encoder, signal = rhythmic({"breath": {**BREATH, "peak": 2.0}, "pulse": PULSE}, width=32).train(), breaths(5)
    values = signal.values.clone().requires_grad_(True)
    encoder(values, signal.observed, 8.0)[:, -encoder.direct :].square().sum().backward()
    assert all(weight.grad is None for weight in encoder.rhythms.parameters())
    assert values.grad.abs().max() > 0
    encoder.learn_from("resp", breaths(2), breaths(2, seed=1), torch.arange(2))
    assert not any(weight.requires_grad for weight in encoder.rhythms.parameters())


def test_rhythms_that_leave_no_component_are_refused_and_so_is_a_setting_nobody_takes():
    with pytest.raises(ConfigError, match="width above 12") as error:
        rhythmic({"breath": BREATH, "pulse": PULSE}, width=12, heads=2)
    assert "fewer rhythms" in str(error.value)
    with pytest.raises(ConfigError, match="did you mean 'peak'"):
        rhythmic({"pulse": {**PULSE, "peek": 4.0}})
    with pytest.raises(ConfigError, match="span_s"):
        rhythmic({"pulse": {"low_hz": 0.7, "high_hz": 3.0}})


def test_without_a_rhythm_nobody_teaches_and_no_component_is_direct():
    for encoder in (rhythmic({}), small()):
        assert (len(encoder.rhythms), encoder.teachers, encoder.direct) == (0, frozenset(), 0)
        before = {name: weight.clone() for name, weight in encoder.state_dict().items()}
        encoder.learn_from("resp", breaths(5), breaths(5), torch.arange(5))
        assert all(torch.equal(before[name], weight) for name, weight in encoder.state_dict().items())
    untaught = rhythmic({"pulse": PULSE})
    assert untaught.teachers == frozenset()
    assert untaught.direct == MOMENTS


def test_learning_from_a_teacher_changes_the_rhythm_alone_and_no_unit_matters():
    own, person = breaths(12), torch.arange(12) // 3
    encoder, again, empty = (rhythmic(center=5.0, scale=2.0) for _ in range(3))
    before = {name: weight.clone() for name, weight in encoder.state_dict().items()}
    teacher, louder = breaths(12, seed=1), breaths(12, seed=1, scale=1e4, level=3e4)
    for signal in (teacher, louder):
        # Beside a gap, a level that is not taken away first would be a step.
        signal.observed[:, 100:130] = False
    encoder.learn_from("resp", own, teacher, person)
    changed = {
        name.split(".")[0] for name, weight in encoder.state_dict().items() if not torch.equal(before[name], weight)
    }
    assert changed == {"rhythms"}
    again.learn_from("resp", own, louder, person)
    with torch.no_grad():
        place, other = (one.pooled(own.values, own.observed, 8.0)[-1] for one in (encoder, again))
    # Rounding differs, and 600 steps carry it on.
    torch.testing.assert_close(other, place, atol=0.1, rtol=0)
    none = torch.zeros(0, dtype=torch.long)
    empty.learn_from("resp", breaths(0), breaths(0), none)
    assert all(torch.equal(before[name], weight) for name, weight in empty.state_dict().items())


def test_a_taught_place_follows_the_rate():
    encoder, own = rhythmic(), breaths(24)
    encoder.learn_from("resp", own, breaths(24, seed=1), torch.arange(24) // 4)
    with torch.no_grad():
        other = breaths(24, seed=2)
        place = encoder.pooled(other.values, other.observed, 8.0)[-1][:, 0]
    # It falls from 1 to -1 over the band.
    assert torch.corrcoef(torch.stack((place, torch.linspace(0.12, 0.5, 24))))[0, 1] < -0.95

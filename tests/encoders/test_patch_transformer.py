"""What the transformer does with patches that nobody saw, and with order in time."""

import pytest
import torch

from hdt_fm.encoders.patch_transformer import PatchTransformer
from hdt_fm.schema.errors import ConfigError


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

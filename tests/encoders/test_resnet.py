"""What the convolutional encoder does with rates and masks."""

import torch

from hdt_fm.encoders.resnet import Resnet


def test_samples_faster_than_its_rate_are_averaged_not_skipped():
    torch.manual_seed(0)
    encoder = Resnet(width=16, depth=2, rate_hz=8.0).double().eval()
    slow = torch.randn(2, 1, 80).double()
    observed = torch.ones(2, 80, dtype=torch.bool)
    # Noise that a hat four samples wide cancels: +1, -1, ... at 32 Hz.
    fast = slow.repeat_interleave(4, -1)
    noisy = fast + 3 * torch.tensor([1.0, -1.0]).double().repeat(160)
    seen = torch.ones(2, 320, dtype=torch.bool)
    clean, other = encoder(fast, seen, 32.0), encoder(noisy, seen, 32.0)
    assert (encoder(slow, observed, 8.0) - clean).norm() < (clean[0] - clean[1]).norm()
    # Only the spread may tell: with it undone, the rest is the same.
    wave, wave_noisy = (encoder.input_scale(v, seen)[0] for v in (fast, noisy))
    assert (wave - wave_noisy).abs().max() > 0.5
    assert torch.isfinite(other).all()


def test_a_gap_is_left_out_of_the_pool():
    torch.manual_seed(0)
    encoder = Resnet(width=16, depth=1, rate_hz=16.0).eval()
    values, observed = torch.randn(1, 1, 512), torch.zeros(1, 512, dtype=torch.bool)
    observed[:, :256] = True
    # Half a window of nothing must not pull the pool half way to what nothing looks like.
    half, whole = encoder(values, observed, 16.0), encoder(values[..., :256], observed[:, :256], 16.0)
    nothing = encoder(values, torch.zeros_like(observed), 16.0)
    assert (half - whole).norm() < 0.35 * (nothing - whole).norm()

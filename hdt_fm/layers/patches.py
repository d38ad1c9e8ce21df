"""Cut a window into patches of a fixed number of seconds, each of a fixed number of points."""

import math

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor


def points_of(
    values: Float[Tensor, "batch channel time"],
    observed: Bool[Tensor, "batch time"],
    sampling_rate_hz: float,
    rate_hz: float,
    count: int,
) -> tuple[Float[Tensor, "batch channel point"], Float[Tensor, "batch point"]]:
    """Read the signal at `count` points, `rate_hz` a second, point k in the middle of its interval.

    Upward this is linear interpolation; downward the interpolating hat is widened to the new spacing, so
    that it averages (a mild low-pass) and no sample is skipped. Only observed samples weigh in.

    Returns:
        Values (0 where nothing near was observed) and the share of each point's weight that was observed.
    """
    samples = values.shape[-1]
    if samples == count and math.isclose(sampling_rate_hz, rate_hz):
        return torch.where(observed[:, None, :], values, 0.0), observed.to(values.dtype)
    ratio = sampling_rate_hz / rate_hz
    reach = max(1.0, ratio)
    center = (torch.arange(count, device=values.device, dtype=torch.float64) + 0.5) * ratio - 0.5
    first = torch.floor(center - reach).long() + 1
    tap = first[:, None] + torch.arange(math.ceil(2 * reach), device=values.device)
    weight = (1 - (tap - center[:, None]).abs() / reach).clamp(min=0)
    weight = torch.where((tap >= 0) & (tap < samples), weight, 0.0).to(values.dtype)
    tap = tap.clamp(0, samples - 1)
    seen = observed[:, tap]
    seen_weight = torch.where(seen, weight, 0.0)
    total = seen_weight.sum(-1)
    taps = torch.where(seen[:, None], values[:, :, tap], 0.0)
    mean = (taps * seen_weight[:, None]).sum(-1) / torch.where(total > 0, total, 1.0)[:, None]
    full = weight.sum(-1)
    return mean, total / torch.where(full > 0, full, 1.0)


def patches(
    values: Float[Tensor, "batch channel time"],
    observed: Bool[Tensor, "batch time"],
    sampling_rate_hz: float,
    patch_s: float,
    points: int,
) -> tuple[Float[Tensor, "batch channel patch point"], Float[Tensor, "batch patch"]]:
    """Patches of `patch_s` seconds, each read at `points` points.

    The last patch may reach past the window; what lies past it counts as unobserved.

    Returns:
        Points, 0 where unobserved, and the observed share of each patch, 0 to 1.
    """
    # The small number keeps 3840 samples at 64 Hz from becoming 61 patches by rounding.
    count = max(1, math.ceil(values.shape[-1] / sampling_rate_hz / patch_s - 1e-6))
    flat, share = points_of(values, observed, sampling_rate_hz, points / patch_s, count * points)
    by_patch = rearrange(flat, "batch channel (patch point) -> batch channel patch point", point=points)
    return by_patch, rearrange(share, "batch (patch point) -> batch patch point", point=points).mean(-1)

"""What attention can say that no mean can."""

import torch

from hdt_fm.fusion.attention import Attention

WIDTH, ROWS = 8, 256


def windows(seed):
    """What `ppg` says holds where `acc` is still, and its opposite holds where it moves; `temp` knows nothing."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(ROWS, 3, WIDTH, generator=generator)
    still = torch.where(torch.rand(ROWS, generator=generator) < 0.5, 1.0, -1.0)
    values[:, 1, :2] = still[:, None] * 2
    return values, torch.ones(ROWS, 3, dtype=torch.bool), still[:, None] * values[:, 0]


def test_one_modality_can_say_how_another_is_to_be_read():
    torch.manual_seed(0)
    fusion = Attention(modalities=("ppg", "acc", "temp"), width=WIDTH, heads=2)
    optimizer = torch.optim.Adam(fusion.parameters(), lr=5e-3)
    for step in range(250):
        values, present, truth = windows(step)
        optimizer.zero_grad()
        (fusion(values, present) - truth).square().mean().backward()
        optimizer.step()
    values, present, truth = windows(10_000)
    with torch.no_grad():
        error = (fusion(values, present) - truth).square().mean()
    # Anything linear in the modalities explains nothing of it: the sign is even.
    linear = torch.linalg.lstsq(values.flatten(1), truth).solution
    assert (values.flatten(1) @ linear - truth).square().mean() > 0.85 * truth.square().mean()
    assert error < 0.65 * truth.square().mean()

"""Where readouts start: what is shared first, answers as they are next, what is a modality's own last."""

import pytest
import torch
from torch import nn

from hdt_fm.layers.readout import Pooled, start_readouts
from hdt_fm.schema.errors import ConfigError

ROWS, WIDTH, SHARED = 400, 12, 4


def part(seed, *, direct=3, width=WIDTH, rows=ROWS):
    """Blocks of 9 and 3 features; the first two of each part hold something that all parts share."""
    common = torch.randn(rows, 2, generator=torch.Generator().manual_seed(99))
    generator = torch.Generator().manual_seed(seed)
    wide = torch.randn(rows, 9, generator=generator)
    wide[:, :2] += 2 * common
    last = 7 + 3 * torch.randn(rows, 3, generator=generator)
    torch.manual_seed(seed)
    return Pooled(nn.Linear(12, width), [wide, last], torch.ones(rows, dtype=torch.bool), direct)


def read(one):
    with torch.no_grad():
        return one.readout.double()(torch.cat(list(one.blocks), dim=1).double())


def standardised(features):
    features = features.double()
    return (features - features.mean(0)) / features.std(0)


def test_direct_features_become_the_components_after_the_shared_ones():
    parts = {"a": part(1), "b": part(2), "c": part(3, direct=0)}
    start_readouts(parts, SHARED)
    for name in ("a", "b"):
        found = read(parts[name])[:, SHARED : SHARED + 3]
        torch.testing.assert_close(found, standardised(parts[name].blocks[-1]), atol=1e-4, rtol=1e-4)
        # Nothing else of the readout is read into them.
        weight = parts[name].readout.weight[SHARED : SHARED + 3]
        assert (weight != 0).sum() == 3


def test_the_other_components_are_of_unit_variance_and_leave_out_what_is_known():
    parts = {"a": part(1), "b": part(2)}
    start_readouts(parts, SHARED)
    found = read(parts["a"])
    torch.testing.assert_close(found.mean(0), torch.zeros(WIDTH).double(), atol=1e-4, rtol=0)
    assert found.std(0).min() > 0.3
    assert found.std(0).max() < 2
    both = torch.corrcoef(found.T)
    # Own directions hold nothing of the shared ones or of the direct ones.
    assert both[: SHARED + 3, SHARED + 3 :].abs().max() < 0.02


def test_what_is_shared_is_found_with_and_without_direct_features():
    with_direct, without = {"a": part(1), "b": part(2)}, {"a": part(1, direct=0), "b": part(2, direct=0)}
    for parts in (with_direct, without):
        start_readouts(parts, SHARED)
        first, second = read(parts["a"])[:, :2], read(parts["b"])[:, :2]
        for k in range(2):
            assert torch.corrcoef(torch.stack((first[:, k], second[:, k])))[0, 1] > 0.7


def test_a_narrow_readout_keeps_the_last_direct_features_that_fit():
    parts = {"a": part(1, width=SHARED + 2), "b": part(2, width=SHARED + 2)}
    start_readouts(parts, SHARED)
    found = read(parts["a"])
    torch.testing.assert_close(found[:, SHARED:], standardised(parts["a"].blocks[-1])[:, -2:], atol=1e-4, rtol=1e-4)
    full = {"a": part(1, width=SHARED), "b": part(2, width=SHARED)}
    start_readouts(full, SHARED)
    assert read(full["a"]).shape == (ROWS, SHARED)


def test_a_direct_feature_without_variance_is_a_component_of_zeros():
    parts = {"a": part(1), "b": part(2)}
    parts["a"].blocks[-1][:, 1] = 5.0
    start_readouts(parts, SHARED)
    found = read(parts["a"])[:, SHARED : SHARED + 3]
    assert torch.isfinite(found).all()
    assert not found[:, 1].any()
    assert found[:, [0, 2]].std(0).min() > 0.99


def test_windows_without_the_modality_are_not_among_its_rows():
    """Rows of a part are those of `here`; a part of half of the windows starts from them."""
    whole, half = part(1), part(2)
    here = torch.arange(ROWS) % 2 == 0
    some = Pooled(half.readout, [block[here] for block in half.blocks], here, half.direct)
    start_readouts({"a": whole, "b": some}, SHARED)
    found = read(some)
    assert len(found) == ROWS // 2
    torch.testing.assert_close(found[:, SHARED : SHARED + 3], standardised(some.blocks[-1]), atol=1e-4, rtol=1e-4)


def test_nothing_to_start_and_nothing_together():
    start_readouts({}, SHARED)
    a, b = part(1), part(2)
    some = torch.arange(ROWS) < ROWS // 2
    first, second = (
        Pooled(one.readout, [block[where] for block in one.blocks], where, 3) for one, where in ((a, some), (b, ~some))
    )
    with pytest.raises(ConfigError, match="No two modalities"):
        start_readouts({"a": first, "b": second}, SHARED)

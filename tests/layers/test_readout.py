"""Where readouts start: what is shared first, then what is a modality's own."""

import pytest
import torch
from torch import nn

from hdt_fm.layers.readout import Pooled, start_readouts
from hdt_fm.schema.errors import ConfigError

ROWS, WIDTH, SHARED = 400, 9, 4


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


def test_what_direct_features_tell_is_left_out_of_a_modalitys_own_components():
    parts, without = {"a": part(1), "b": part(2)}, {"a": part(1, direct=0), "b": part(2)}
    start_readouts(parts, SHARED)
    start_readouts(without, SHARED)
    direct = standardised(parts["a"].blocks[-1])

    def tells(some):
        own = read(some["a"])[:, SHARED:]
        return torch.corrcoef(torch.cat((own, direct), dim=1).T)[: own.shape[1], own.shape[1] :].abs().max()

    assert tells(parts) < 0.02
    assert tells(without) > 0.3


def test_the_other_components_are_of_unit_variance_and_leave_out_what_is_known():
    parts = {"a": part(1), "b": part(2)}
    start_readouts(parts, SHARED)
    found = read(parts["a"])
    torch.testing.assert_close(found.mean(0), torch.zeros(WIDTH).double(), atol=1e-4, rtol=0)
    assert found.std(0).min() > 0.3
    assert found.std(0).max() < 2
    both = torch.corrcoef(found.T)
    # Own directions hold nothing of the shared ones.
    assert both[:SHARED, SHARED:].abs().max() < 0.02


def test_what_is_shared_is_found_with_and_without_direct_features():
    with_direct, without = {"a": part(1), "b": part(2)}, {"a": part(1, direct=0), "b": part(2, direct=0)}
    for parts in (with_direct, without):
        start_readouts(parts, SHARED)
        first, second = read(parts["a"])[:, :2], read(parts["b"])[:, :2]
        for k in range(2):
            assert torch.corrcoef(torch.stack((first[:, k], second[:, k])))[0, 1] > 0.7


def test_a_readout_may_be_no_wider_than_what_is_shared():
    full = {"a": part(1, width=SHARED), "b": part(2, width=SHARED)}
    start_readouts(full, SHARED)
    assert read(full["a"]).shape == (ROWS, SHARED)


def test_a_direct_feature_without_variance_does_no_harm():
    parts = {"a": part(1), "b": part(2)}
    parts["a"].blocks[-1][:, 1] = 5.0
    start_readouts(parts, SHARED)
    assert torch.isfinite(read(parts["a"])).all()
    assert not parts["a"].readout.weight[:, 10].any()


def test_windows_without_the_modality_are_not_among_its_rows():
    """Rows of a part are those of `here`; a part of half of the windows starts from them."""
    whole, half = part(1), part(2)
    here = torch.arange(ROWS) % 2 == 0
    some = Pooled(half.readout, [block[here] for block in half.blocks], here, half.direct)
    start_readouts({"a": whole, "b": some}, SHARED)
    found = read(some)
    assert len(found) == ROWS // 2
    torch.testing.assert_close(found.mean(0), torch.zeros(WIDTH).double(), atol=1e-4, rtol=0)
    assert found.std(0).min() > 0.3


def test_nothing_to_start_and_nothing_together():
    start_readouts({}, SHARED)
    a, b = part(1), part(2)
    some = torch.arange(ROWS) < ROWS // 2
    first, second = (
        Pooled(one.readout, [block[where] for block in one.blocks], where, 3) for one, where in ((a, some), (b, ~some))
    )
    with pytest.raises(ConfigError, match="No two modalities"):
        start_readouts({"a": first, "b": second}, SHARED)


def of_two_cohorts(seed, strength, *, where):
    """A part whose windows of cohort 0 and of cohort 1 share something else with other parts, by `strength`."""
    generator = torch.Generator().manual_seed(seed)
    common = torch.randn(ROWS, 8, generator=torch.Generator().manual_seed(99))
    cohort = torch.arange(ROWS) % 2
    features = torch.randn(ROWS, 12, generator=generator)
    for number, strong in enumerate(strength):
        features[cohort == number, 4 * number : 4 * number + 4] += strong * common[cohort == number][:, :4]
    here = torch.isin(cohort, torch.tensor(where))
    torch.manual_seed(seed)
    return Pooled(nn.Linear(12, WIDTH), [features[here]], here, 0, cohort[here])


def test_each_cohort_gets_its_part_of_what_is_shared():
    """Four directions that agree much in one cohort leave two of four to the other, in which they agree little."""
    parts = {
        "both": of_two_cohorts(1, (3.0, 1.0), where=[0, 1]),
        "first": of_two_cohorts(2, (3.0, 0.0), where=[0]),
        "second": of_two_cohorts(3, (0.0, 1.0), where=[1]),
    }
    start_readouts(parts, SHARED)
    both = read(parts["both"])[:, :SHARED]
    cohort = parts["both"].cohort
    first, second = read(parts["first"])[:, :SHARED], read(parts["second"])[:, :SHARED]
    # What a modality's cohort has no part in is zero.
    assert first[:, :2].std(0).min() > 0.5
    assert not first[:, 2:].any()
    assert second[:, 2:].std(0).min() > 0.5
    assert not second[:, :2].any()
    for own, number, columns in ((first, 0, (0, 1)), (second, 1, (2, 3))):
        for k in columns:
            assert torch.corrcoef(torch.stack((own[:, k], both[cohort == number, k])))[0, 1] > 0.5


def test_a_cohort_without_two_modalities_leaves_its_part_to_the_others():
    parts = {
        "both": of_two_cohorts(1, (3.0, 1.0), where=[0, 1]),
        "first": of_two_cohorts(2, (3.0, 0.0), where=[0]),
    }
    start_readouts(parts, SHARED)
    assert read(parts["first"])[:, :SHARED].std(0).min() > 0.5


def test_devices_of_different_levels_do_not_set_the_windows_of_a_cohort_apart():
    """A level that differs by hundreds of spreads between cohorts leaves no trace in what a readout gives."""
    parts = {name: of_two_cohorts(seed, (2.0, 2.0), where=[0, 1]) for seed, name in enumerate(("a", "b", "c"), start=1)}
    generator = torch.Generator().manual_seed(7)
    for one in parts.values():
        one.blocks[0][one.cohort == 1] += 300 * torch.randn(12, generator=generator)
    start_readouts(parts, SHARED)
    for one in parts.values():
        found = read(one)
        means = torch.stack([found[one.cohort == number].mean(0) for number in (0, 1)])
        torch.testing.assert_close(means[0], means[1], atol=1e-2, rtol=0)
        assert found[:, :SHARED].std(0).min() > 0.5
    first, second = read(parts["a"]), read(parts["b"])
    for k, number in ((0, 0), (2, 1)):
        of = parts["a"].cohort == number
        assert torch.corrcoef(torch.stack((first[of, k], second[of, k])))[0, 1] > 0.5

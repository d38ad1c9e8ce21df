"""How far back a dose reaches: by hand, against sums over every day, and where much is not known."""

from itertools import pairwise

import numpy as np
import pytest

from hdt_fm.layers.accumulators import leaky_by_step
from hdt_fm.schema.exposure import Exposure
from hdt_fm.twin.state.exposures import Exposed, take
from hdt_fm.twin.state.exposures_parts import AGES, added_up, by_age, held_for

DAY = 86_400.0
BANK = (1.0, 7.0, 30.0, 90.0)


def kept_of(values: np.ndarray, tau: float, cuts: tuple[int, ...] = ()) -> Exposed:
    """A twin's, told in pieces; what accumulators hold is of its closed days."""
    kept = None
    for first, last in pairwise((0, *cuts, len(values))):
        part = values[first:last]
        came = Exposure("temperature", (first + np.arange(len(part))) * DAY, np.full(len(part), DAY), part, 0, 0)
        kept = take(kept, came).after
    assert kept is not None
    held = leaky_by_step(values[: kept.day], np.array([tau])).arrays()
    last = {f"bank_{name}": of[-1] if kept.day else np.zeros(1) for name, of in held.items()}
    return Exposed(**{**vars(kept), "held": last})


def ages_of(kept: Exposed, day: int, tau: float):
    return by_age(kept, day, tau, *held_for(kept, "bank", 0))


def plainly(values: np.ndarray, day: int, tau: float) -> tuple[np.ndarray, np.ndarray]:
    """Shares of the weight and of the dose, of every day there was."""
    age = day - np.arange(len(values))
    weights = np.where(np.isfinite(values), np.exp(-age / tau), 0.0)
    weights /= weights.sum()
    inside = [(age >= first) & (age < until) for first, until in ((0, 1), (1, 7), (7, np.inf))]
    return tuple(np.array([one[part].sum() for part in inside]) for one in (weights, weights * np.nan_to_num(values)))


def test_by_hand():
    """Ten days of 10, then 40: of a week's weight the last day has 1 - 1/e^(1/7) of what ten days and one can have."""
    kept = kept_of(np.array([10.0] * 10 + [40.0]), 7.0)
    found = ages_of(kept, 10, 7.0)
    last = (1 - np.exp(-1 / 7)) / (1 - np.exp(-11 / 7))
    np.testing.assert_allclose(found.value[0], 40 * last, rtol=1e-12)
    np.testing.assert_allclose(found.weight[:2], [last, last * np.exp(-np.arange(1, 7) / 7).sum()], rtol=1e-12)
    np.testing.assert_allclose([found.weight.sum(), found.value.sum()], [1, 10 + 30 * last], rtol=1e-12)
    assert AGES == ("last_day", "six_days_before", "older")


@pytest.mark.parametrize("tau", BANK)
@pytest.mark.parametrize("days", [1, 5, 8, 300, 900])
def test_it_is_the_sum_over_every_day_even_those_no_longer_kept(tau: float, days: int):
    rng = np.random.default_rng(days)
    values = np.where(rng.random(days) < 0.3, np.nan, rng.uniform(-40, 40, days))
    values[[0, -1]] = [-35.0, 12.0]
    kept = kept_of(values, tau, tuple(range(50, days, 50)))
    for later in (0, 3, 9):
        found = ages_of(kept, kept.day + later, tau)
        weight, value = plainly(values, kept.day + later, tau)
        np.testing.assert_allclose(found.weight, weight, atol=1e-12)
        np.testing.assert_allclose(found.value, value, atol=1e-10)


def test_with_every_day_known_the_weight_follows_from_the_time_constant():
    found = ages_of(kept_of(np.linspace(-5, 25, 2000), 14.0), 1999, 14.0)
    np.testing.assert_allclose(found.weight, [1 - np.exp(-1 / 14), np.exp(-1 / 14) - np.exp(-0.5), np.exp(-0.5)])


def test_nothing_known_is_no_share():
    kept = kept_of(np.array([5.0]), 7.0)
    found = by_age(Exposed(**{**vars(kept), "seen_s": 0.0}), 0, 7.0, 0.0, 0.0)
    assert np.isnan([found.weight, found.value]).all()
    assert held_for(Exposed(**{**vars(kept), "held": {}}), "bank", 2) == (0.0, 0.0)


def test_rounded_parts_add_up_and_the_largest_takes_what_is_over():
    parts = np.array([1 / 3, -2e3 / 7, 0.0, 1e-9 / 3])
    total = float(f"{parts.sum():.7g}")
    found = added_up(parts, total)
    assert sum(found) == pytest.approx(total, abs=1e-9)
    assert found[0] == 0.3333333
    np.testing.assert_allclose(found, parts, atol=1e-4)
    # Parts that are far larger than what they add up to.
    assert added_up(np.array([1e5 + 1e-4, -1e5]), 1e-4) == pytest.approx([1e5 + 1e-4, -1e5], abs=1e-9)
    assert str(added_up(np.array([-0.0, 1.0]), 1.0)[0]) == "0.0"

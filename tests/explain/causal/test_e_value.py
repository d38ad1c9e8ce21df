"""E-values beside published ones."""

from dataclasses import replace

import numpy as np
import pytest

from hdt_fm.explain.causal.e_value import e_value, e_value_of, e_values
from hdt_fm.explain.causal.effect import Effect
from hdt_fm.schema.errors import ExplainError

FOUND = Effect(
    value=1.0,
    low=0.0,
    high=2.0,
    naive=1.0,
    standardised=(0.5, 0.5 - 1.78 / 0.91 * 0.25, 0.5 + 1.78 / 0.91 * 0.25),
    risk_ratio=None,
    people=30,
    rows=600,
    method="",
)


@pytest.mark.parametrize(
    ("ratio", "low", "high", "estimate", "interval"),
    [
        (3.9, 1.8, 8.7, 7.26, 3.00),  # VanderWeele and Ding 2017: bottle-feeding and deaths by infections
        (0.5, 0.3, 0.8, 3.41, 1.81),  # by hand: 2 + sqrt(2), 1.25 + sqrt(1.25 x .25)
        (10.73, 8.02, 14.36, 20.94777, 15.52336),  # vignette of the R package EValue: smoking and lung cancer
        (3.8, 0.9, 16.0, 7.06, 1.0),  # an interval that holds 1
    ],
)
def test_published_ratios(ratio: float, low: float, high: float, estimate: float, interval: float) -> None:
    found = e_values(ratio, low, high, scale="risk ratio")
    assert found.estimate == pytest.approx(estimate, abs=0.005)
    assert found.interval == pytest.approx(interval, abs=0.005)


def test_a_standardised_difference_as_a_ratio() -> None:
    """d = .5 with a standard error of .25: exp(.455) = 1.576, and exp(.455 - 1.78 x .25) = 1.010 at the end."""
    found = e_value_of(FOUND)
    assert found.scale == "standardised difference"
    assert found.ratio == pytest.approx(1.5762, abs=1e-4)
    assert found.low == pytest.approx(np.exp(0.01), abs=1e-4)
    assert found.estimate == pytest.approx(1.5762 + np.sqrt(1.5762 * 0.5762), abs=1e-3)
    assert found.interval == pytest.approx(1.0101 + np.sqrt(1.0101 * 0.0101), abs=1e-3)


def test_a_risk_ratio_is_taken_where_there_is_one() -> None:
    assert e_value_of(replace(FOUND, risk_ratio=(3.9, 1.8, 8.7))).estimate == pytest.approx(7.263, abs=1e-3)


def test_symmetric_and_one_for_nothing() -> None:
    assert e_value(1.0) == 1.0
    assert e_value(0.25) == e_value(4.0)
    for ratio in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ExplainError, match="needs a risk ratio"):
            e_value(ratio)

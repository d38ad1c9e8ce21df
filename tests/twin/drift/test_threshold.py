"""Limits that a budget asks for, on heights made by hand."""

import numpy as np
import pytest

from hdt_fm.schema.errors import ConfigError
from hdt_fm.twin.drift.threshold import DAYS_PER_YEAR, limit_for, rate


def test_who_has_alarmed_is_watched_no_more():
    alarmed = np.zeros((2, 100), dtype=np.bool_)
    alarmed[0, 24:] = True
    assert rate(alarmed) == pytest.approx(1 / ((25 + 100) / DAYS_PER_YEAR))


def test_the_lowest_limit_within_the_budget():
    height = np.zeros((4, 366))
    for person, peak in enumerate((5.0, 4.0, 3.0, 2.0)):
        height[person, 365] = peak
    # Four years: at 3 the first two pass, half a time a year.
    assert limit_for(height, 0.5) == pytest.approx(3.0, abs=1e-9)
    assert limit_for(height, 0.25) == pytest.approx(4.0, abs=1e-9)


def test_too_few_days_speak():
    with pytest.raises(ConfigError, match=r"0\.3 years at 1 a year"):
        limit_for(np.zeros((2, 50)), 1.0)

"""Shares and their intervals: against hand numbers and the bootstrap of `hdt_fm.metrics`."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from hdt_fm.explain.explanation import Explanation, MethodMap
from hdt_fm.explain.page.shares import channel_shares, modality_shares
from hdt_fm.metrics.bootstrap import subject_bootstrap

LEAD = "integrated_gradients"


def test_one_person_counts_windows(fabricated: Callable[..., Explanation]) -> None:
    made = fabricated(windows=12)
    found = modality_shares(made, LEAD, "person")
    whole = made.shares(LEAD)
    for column, name in enumerate(made.modalities[:2]):
        value, low, high = subject_bootstrap(lambda v: float(v.mean()), np.arange(12), whole[:, column], draws=4000)
        assert found[name].mean == pytest.approx(value)
        assert (found[name].low, found[name].high) == pytest.approx((low, high), abs=0.1 * (high - low))
    assert found["temp"].windows == 0
    assert np.isnan(found["temp"].mean)


def test_a_cohort_counts_people_once(fabricated: Callable[..., Explanation]) -> None:
    made = fabricated(windows=14, people=6)
    person = np.array([0] * 9 + [1, 2, 3, 4, 5])  # one person has most windows
    found = modality_shares(replace(made, person=person), LEAD, "cohort")["ppg"]
    shares = made.shares(LEAD)[:, 0]
    units = np.array([shares[:9].mean(), *shares[9:]])
    assert found.mean == pytest.approx(units.mean())
    assert found.mean != pytest.approx(shares.mean(), abs=1e-4)
    assert found.people == 6
    _, low, high = subject_bootstrap(lambda v: float(v.mean()), np.arange(6), units, draws=4000)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.1 * (high - low))


@pytest.mark.parametrize(("windows", "scope"), [(4, "person"), (1, "window"), (12, None)])
def test_no_interval_where_none_can_be_said(
    fabricated: Callable[..., Explanation], windows: int, scope: str | None
) -> None:
    found = modality_shares(fabricated(windows=windows), LEAD, scope)["ppg"]
    assert np.isfinite(found.mean)
    assert np.isnan([found.low, found.high]).all()


def test_few_people_are_hidden(fabricated: Callable[..., Explanation]) -> None:
    made = fabricated(windows=12, people=6, absent=())
    present = made.present.copy()
    present[made.person >= 4, 1] = False
    found = modality_shares(replace(made, present=present), LEAD, "cohort")["acc"]
    assert found.hidden
    assert np.isnan(found.mean)


def test_channels_add_up_to_their_modality(fabricated: Callable[..., Explanation]) -> None:
    made = fabricated(windows=2)
    values = {"ppg": np.full((2, 1, 40), 0.1), "acc": np.zeros((2, 3, 20)), "temp": np.zeros((2, 2, 5))}
    values["acc"][:, 1] = -0.6  # |credit| 4 on ppg, 12 on the second axis
    values = {name: one.astype(np.float32) for name, one in values.items()}
    made = replace(made, maps=(MethodMap(LEAD, values),))
    found = channel_shares(made, LEAD, "person")
    assert found["ppg", 0].mean == pytest.approx(0.25)
    assert [found["acc", k].mean for k in range(3)] == pytest.approx([0.0, 0.75, 0.0])
    assert modality_shares(made, LEAD, "person")["acc"].mean == pytest.approx(0.75)

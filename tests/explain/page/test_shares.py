"""Shares and their intervals: against hand numbers and the bootstrap of `hdt_fm.metrics`."""

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from hdt_fm.explain.explanation import Check, Explanation, MethodMap, Reliability, Verdict
from hdt_fm.explain.page.document import html
from hdt_fm.explain.page.picture import sheets
from hdt_fm.explain.page.record import record_of
from hdt_fm.explain.page.report import Report
from hdt_fm.explain.page.shares import channel_shares, modality_shares
from hdt_fm.explain.page.summary import summary
from hdt_fm.metrics.bootstrap import subject_bootstrap
from hdt_fm.schema.errors import ExplainError

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


@pytest.fixture
def rare(fabricated: Callable[..., Explanation]) -> Explanation:
    """Twelve people; all wear two signals, and four of them a third one of two channels."""
    made = fabricated(windows=24, people=12, absent=())
    present = made.present.copy()
    present[made.person >= 4, 2] = False
    values = {name: one.copy() for name, one in made.find(LEAD).values.items()}
    values["temp"][made.person >= 4] = 0.0
    return replace(made, present=present, maps=(MethodMap(LEAD, values),))


def attacked(told: dict[str, dict[str, float | int | None]], people: int) -> float:
    """Sum over the holders of what is not told, by one who knows that the shares of a person add up to one."""
    return people - sum(one["people"] * one["mean"] for one in told.values() if one["mean"] is not None)


def test_arithmetic_does_not_tell_what_few_people_hold(rare: Explanation) -> None:
    # By person: windows k and k + 12 are of person k.
    units = rare.shares(LEAD).reshape(2, 12, 3).mean(0)
    naive = {name: {"people": 12, "mean": units[:, k].mean()} for k, name in enumerate(("ppg", "acc"))}
    assert attacked(naive, 12) == pytest.approx(units[:4, 2].sum())  # the attack works on a table with a gap
    told = record_of(Report(rare, scope="cohort"))["shares"][LEAD]
    assert [(name, one["people"]) for name, one in told.items()] == [("ppg and temp", 12), ("acc", 12)]
    assert attacked(told, 12) == pytest.approx(0, abs=1e-4)
    assert told["ppg and temp"]["mean"] == pytest.approx(units[:, [0, 2]].sum(1).mean(), abs=1e-5)


def test_channels_of_a_joined_signal_are_not_told(rare: Explanation) -> None:
    """Those of the next rarest either: they add up to its own share, and so to that of the few."""
    assert list(channel_shares(rare, LEAD, "cohort")) == [("acc", 0), ("acc", 1), ("acc", 2)]
    assert len(channel_shares(rare, LEAD, "person")) == 6


def test_no_file_tells_it(rare: Explanation) -> None:
    report = Report(rare, scope="cohort")
    label = "PPG and Skin temperature"
    assert f'<th scope="row">{label}</th>\n<td class="n">12</td>' in html(Report(rare, scope="cohort"))
    told = {text.get_text() for sheet in sheets(report) for text in sheet.figure.axes[0].texts}
    assert {label, "Acceleration"} <= told
    for sentence in summary(report).carries:
        assert not re.search(r"(PPG|on Skin temperature)( holds|:)", sentence)


def with_concentration(made: Explanation, verdict: Verdict, meaning: str) -> Report:
    check = Check("concentration", verdict, 0.4, "rule", meaning, {"Skin temperature, channel 1": 0.4})
    return Report(replace(made, reliability=Reliability((check,))), scope="cohort")


def test_the_gates_own_numbers_of_channels_are_not_told_either(
    rare: Explanation, fabricated: Callable[..., Explanation]
) -> None:
    words = "The channel that carries most is Skin temperature, channel 1, with 40%."
    told = record_of(with_concentration(rare, "pass", words))["reliability"]["checks"][0]
    assert told["value"] is None
    assert told["detail"] == {}
    assert "Skin" not in told["meaning"]
    assert not with_concentration(rare, "pass", "It is Acceleration, channel 1.").reliability.checks[0].detail
    # A leak of the label must be named, whoever holds it.
    assert "Skin" in with_concentration(rare, "fail", "THE LABEL: Skin temperature.").reliability.checks[0].meaning
    common = fabricated(windows=12, people=12, absent=())
    assert with_concentration(common, "pass", words).reliability.checks[0].detail


def test_another_reference_must_be_of_the_same_windows(rare: Explanation) -> None:
    """Else it would tell in its own columns what is joined here."""
    other = replace(rare, present=np.ones_like(rare.present))
    with pytest.raises(ExplainError, match="another explanation"):
        Report(rare, scope="cohort", alternative=other)


def test_all_are_joined_where_each_is_rare(fabricated: Callable[..., Explanation]) -> None:
    made = fabricated(windows=6, people=6, absent=())
    present = np.zeros_like(made.present)
    present[np.arange(6), np.arange(6) % 3] = True
    made = replace(made, present=present)
    assert [one.modalities for one in modality_shares(made, LEAD, "cohort").values()] == [("ppg", "acc", "temp")]
    assert channel_shares(made, LEAD, "cohort") == {}


def test_what_fewer_people_hold_at_all_is_hidden(fabricated: Callable[..., Explanation]) -> None:
    made = fabricated(windows=12, people=6, absent=("acc", "temp"))
    present = made.present.copy()
    present[made.person >= 4, 0] = False
    found = modality_shares(replace(made, present=present), LEAD, "cohort")["ppg"]
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

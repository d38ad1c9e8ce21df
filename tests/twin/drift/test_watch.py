"""A watch over days made by hand: what it proposes, when, and that it does nothing by itself."""

import json

import numpy as np
import pytest

from hdt_fm.schema.errors import ConfigError
from hdt_fm.twin.drift.cause import DIRECTIONS, JOINED, NOBODY
from hdt_fm.twin.drift.streams import STATE
from hdt_fm.twin.drift.watch import ALIKE_KEPT, DriftWatch

EFFECTS = {one.cause: np.array(one.effects) for one in DIRECTIONS}
LOGGED = {"insulin": 4, "meal": 3}


def days_of(seed: int, days: int, *, cause: str = "", onset: int = 0, times: float = 1.0) -> list[dict[str, float]]:
    """Days of streams that go together as in others; from the onset on a cause adds its typical effects so often."""
    values = np.random.default_rng([6, seed]).normal(size=(days, len(JOINED))) @ np.linalg.cholesky(NOBODY.together).T
    if cause:
        values[onset:] += times * EFFECTS[cause]
    return [dict(zip(JOINED, row, strict=True)) for row in values.tolist()]


def first_of(watch: DriftWatch, days: list[dict[str, float]]):
    for day in days:
        if (found := watch.day(day, LOGGED)) is not None:
            return found
    return None


def test_days_as_usual_seldom_raise_a_proposal():
    found = [first_of(DriftWatch(), days_of(seed, 120)) for seed in range(8)]
    # Two person-years at one a year.
    assert sum(one is not None for one in found) <= 2


@pytest.mark.parametrize(("cause", "action", "truth"), [("gain", "recalibrate", 1.15), ("sensitivity", "adapt", 0.7)])
def test_a_change_is_found_named_dated_and_sized(cause, action, truth):
    named, factors, onsets = [], [], []
    for seed in range(8):
        found = first_of(DriftWatch(), days_of(seed, 110, cause=cause, onset=50, times=1.6))
        assert found is not None
        assert 50 <= found.day < 85
        named.append(found.cause == cause)
        onsets.append(found.onset)
        if found.cause == cause:
            assert found.action == action
            factors.append(np.log(found.factor) / np.log(truth))
    assert sum(named) >= 7
    assert np.median(onsets) == pytest.approx(50, abs=4)
    assert np.median(factors) == pytest.approx(1.6, rel=0.4)


def test_the_other_way_round_is_the_inverse():
    found = first_of(DriftWatch(), days_of(0, 110, cause="gain", onset=50, times=-2.0))
    assert found.cause == "gain"
    assert found.factor < 0.9


def test_errors_that_grow_in_no_known_way_are_asked_about():
    found = first_of(DriftWatch(), days_of(1, 110, cause="unclear", onset=50, times=2.5))
    assert (found.cause, found.action, found.factor) == ("unclear", "ask", None)
    assert found.evidence[0][0] == "size of errors"


def test_records_that_stop_are_asked_about_and_named():
    watch = DriftWatch(modalities=("insulin", "meal"))
    for day in days_of(2, 40):
        assert watch.day(day, LOGGED) is None
    found = None
    while found is None:
        found = watch.day({}, {"insulin": 0, "meal": 3})
    assert (found.cause, found.action, found.about) == ("lost", "ask", "insulin")
    assert found.onset == 40
    assert found.day <= 44


def test_a_modality_of_which_nothing_is_said_is_not_silent():
    watch = DriftWatch(modalities=("insulin",))
    for day in days_of(3, 60):
        assert watch.day(day, {}) is None or watch.open
    assert watch.silence["insulin"].learned == 0


def test_another_device_is_asked_about_once():
    watch = DriftWatch()
    assert watch.wears("A") is None
    watch.day({})
    assert watch.wears("A") is None
    found = watch.wears("B")
    # From the day on that is not over yet; what it is called is told nowhere.
    assert (found.cause, found.action, found.about, found.onset) == ("device", "ask", "", 1)
    assert watch.wears("C") is None  # one is open
    watch.answered()
    assert watch.wears("B") is None
    assert watch.wears("") is None  # nothing is said of it
    assert watch.wears("D", today=9).onset == 9  # after days without readings


def worn(accepted: bool) -> DriftWatch:
    """Asked about on day 50, answered after 60 days."""
    watch = DriftWatch(modalities=("insulin", "meal"))
    watch.wears("A")
    for place, day in enumerate(days_of(7, 60)):
        assert watch.day(day, LOGGED) is None
        if place == 49:
            assert watch.wears("B").onset == 50
    whole = DriftWatch(modalities=("insulin", "meal"))
    whole.restore(json.loads(json.dumps(watch.state())))
    whole.answered(accepted=accepted)
    return whole


def test_another_device_is_learned_from_the_day_on_that_it_came():
    watch = worn(accepted=True)
    assert watch.usual.kept == 10
    assert watch.silence["meal"].learned == 28  # records are the person's, whatever is worn
    assert watch.wears("A") is not None


def test_two_names_of_one_device_change_nothing_and_are_not_asked_about_again():
    watch = worn(accepted=False)
    assert watch.usual.kept == 60
    for name in ("A", "B", "A"):
        assert watch.wears(name) is None
    assert watch.wears("C") is not None


def test_what_was_accepted_as_another_device_stays_apart_whatever_is_one_with_it():
    watch = worn(accepted=False)
    for name, accepted in (("C", True), ("D", False)):
        assert watch.wears(name) is not None
        watch.answered(accepted=accepted)
    again = DriftWatch(modalities=("insulin", "meal"))
    again.restore(json.loads(json.dumps(watch.state())))
    assert again.alike == watch.alike == (("A", "B"), ("C", "D"))
    assert again.wears("C") is None
    assert again.wears("A") is not None  # one with B, not with C or D
    again.answered()
    assert again.wears("B") is None


def test_groups_of_devices_that_are_one_are_joined_and_do_not_grow():
    watch = worn(accepted=False)
    for number in range(3 * ALIKE_KEPT):
        assert watch.wears(f"C{number}") is not None
        watch.answered(accepted=False)
    ((*group,),) = watch.alike
    assert len(group) == ALIKE_KEPT
    assert group[-1] == f"C{3 * ALIKE_KEPT - 1}"


def test_one_proposal_is_open_and_an_answer_begins_anew():
    days = days_of(4, 200, cause="sensitivity", onset=40, times=2.0)
    watch = DriftWatch()
    told = [watch.day(day) for day in days[:100]]
    assert sum(one is not None for one in told) == 1
    watch.answered()
    assert not watch.usual.learned
    assert [watch.day(day) for day in days[100:]].count(None) == 100  # what changed is now usual


def test_it_goes_on_from_its_state_whose_size_does_not_grow():
    days = days_of(5, 160)
    whole = DriftWatch(modalities=("insulin", "meal"), streams=(STATE,))
    cut = DriftWatch(modalities=("insulin", "meal"), streams=(STATE,))
    sizes = []
    for place, day in enumerate(days):
        whole.day(day, LOGGED)
        cut.day(day, LOGGED)
        if place % 40 == 39:
            text = json.dumps(cut.state(), allow_nan=False)
            sizes.append(len(text))
            cut = DriftWatch(modalities=("insulin", "meal"), streams=(STATE,))
            cut.restore(json.loads(text))
    assert cut.state() == whole.state()
    assert sizes[3] < sizes[2] * 1.05
    assert sizes[3] < 20_000


def test_a_file_of_before_amounts_were_known_goes_on():
    """Version 1 had five streams, the level not as a logarithm, and no devices that are one."""
    days, watch = days_of(8, 70), DriftWatch()
    for day in days[:60]:
        watch.day(day)
    kept, names = watch.state(), ["error at rest", "error after actions", "size of errors", "level of readings"]
    kept["usual"] = {"names": [*names, "swing of readings"], "days": [row[:5] for row in kept["usual"]["days"]]}
    kept |= {"version": 1, "recent": [row[:5] for row in kept["recent"]]}
    old = DriftWatch()
    old.restore(json.loads(json.dumps({name: kept[name] for name in kept if name not in ("alike", "asked")})))
    for day in days[60:]:
        watch.day(day)
        old.day(day)
        # Amounts are unknown on most days; what both know they judge alike.
        assert old.away["error at rest"] == watch.away["error at rest"]
        assert np.isnan(old.away["insulin of the day"])
    assert old.days == 70
    assert len(old.state()["recent"][0]) == len(JOINED)


def test_a_budget_must_be_one():
    with pytest.raises(ConfigError, match="budget of false alarms"):
        DriftWatch(per_year=0.0)


def test_a_state_of_another_watch_speaks():
    with pytest.raises(ConfigError, match=r"modalities \['meal'\]"):
        DriftWatch(modalities=("insulin",)).restore(DriftWatch(modalities=("meal",)).state())


@pytest.mark.parametrize("harm", [{"days": "many"}, {"recent": [["x"]]}, {"usual": {}}, {"cusum": {"gain": 1}}])
def test_a_harmed_state_speaks(harm):
    watch = DriftWatch()
    state = watch.state() | harm
    if "cusum" in harm:
        state["cusum"] = watch.state()["cusum"] | harm["cusum"]
    with pytest.raises(ConfigError, match="cannot be read"):
        DriftWatch().restore(state)

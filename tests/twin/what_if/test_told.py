"""What is told of two plans: numbers as they came, the verdict's rule case by case, sentences by hand."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdt_fm.schema.errors import RecordingError
from hdt_fm.schema.treatment import Plan
from hdt_fm.schema.what_if import Refuter, Support
from hdt_fm.twin.what_if import words
from hdt_fm.twin.what_if.told import (
    ASSUMPTIONS,
    FAILS,
    HOLDS,
    HOLDS_THINLY,
    NO_ADVICE,
    PARTLY,
    UNTESTED,
    verdict,
)

NAN = float("nan")


def test_numbers_are_those_of_the_answer(told, compared):
    answer, found = compared(), json.loads(json.dumps(told(), allow_nan=False))
    assert [one["min"] for one in found["ahead"]] == list(answer.minutes)
    two_hours = found["ahead"][7]
    assert two_hours["time"] == "2026-03-05T16:40"
    assert two_hours["plan"] == {"point": 120.0, "low": 100.0, "high": 150.0}
    assert two_hours["against"] == {"point": 180.0, "low": 160.0, "high": 210.0}
    assert two_hours["effect"] == {"point": -60.0, "low": -78.0, "high": -42.0}
    assert found["newest"] == {"time": "2026-03-05T14:40", "value": 180.0, "age_min": 0.0}
    assert found["kind"] == "interventional forecast under stated assumptions"
    assert (found["promised"], found["thresholds"], found["unit"]) == (0.9, [70.0, 180.0], "mg/dL")
    assert found["own"] == {"actions": 142, "share": 0.85, "low": 0.6, "high": 1.1, "sensitivity": 0.21}
    assert found["assumptions"] == list(ASSUMPTIONS)
    assert found["caution"] == NO_ADVICE


def test_only_the_last_twelve_hours_are_shown(told):
    minutes = [one["min"] for one in told()["readings"]]
    assert (minutes[0], minutes[-1], len(minutes)) == (-720.0, 0.0, 145)


def test_plans_can_be_typed_again_as_they_are_told(told):
    typed = "bolus 4 U; carbs 45 g in 10 min; insulin_rate 1.2 U/h for 60 min"
    found = told(plan=typed, against="bolus 2 U")["plans"]
    assert Plan.spoken(found["plan"]["words"]) == Plan.spoken(typed)
    assert found["against"]["words"] == "bolus 2 U"
    assert found["plan"]["interventions"][1] == {
        "kind": "carbs", "dose": 45.0, "unit": "g", "onset_min": 10.0, "duration_min": 0.0
    }  # fmt: skip
    assert told()["plans"]["against"] == {"words": "nothing", "interventions": []}


def test_a_curve_knows_what_the_plan_asks(told):
    bolus, carbs = told(plan="bolus 1 U; bolus 3 U in 30 min")["curves"]
    assert (bolus["asked"], carbs["asked"]) == (4.0, 0)
    assert (bolus["treatment"], bolus["unit"], bolus["min"]) == ("bolus", "U", 120)
    assert bolus["points"][3] == {"dose": 4.0, "point": -60.0, "low": -70.0, "high": -50.0, "supported": True}
    assert [one["supported"] for one in bolus["points"]] == [False, True, True, True, False]


def test_without_dates_no_time_is_told(told):
    found = told(settings={"dates": False})
    assert found["clock"] is None
    assert found["newest"]["time"] is None
    assert not [one for one in found["ahead"] if one["time"]]
    assert "2026" not in "\n".join(words.lines(found))
    assert "14:40" not in json.dumps(found)


def test_what_is_unknown_is_none(told, parts):
    _, refuter, _ = parts
    found = told(refuters=(refuter(found=NAN, passed=None),), own_share=(NAN, NAN, NAN), sensitivity=NAN)
    assert (found["refuters"][0]["found"], found["refuters"][0]["passed"]) == (None, None)
    assert found["own"] == {"actions": 142, "share": None, "low": None, "high": None, "sensitivity": None}
    own = " ".join(words.own(found))
    assert "too short to say" in own
    assert "142 of their own doses and meals" in own
    assert "cannot be said here" in own


@pytest.mark.parametrize("which", [0, 1])
def test_a_plan_outside_support_is_not_told(told, parts, which):
    support, _, _ = parts
    both = [support(), support()]
    both[which] = support("outside", density=0.0)
    with pytest.raises(RecordingError, match="nothing is known") as error:
        told(support=tuple(both))
    assert error.value.expected == "bolus 1.5 to 6.2 U"
    assert "dose in it" in error.value.fix


RULE = [
    ("pp", (1, 1), HOLDS, []),
    ("pp", (1, 0), HOLDS_THINLY, ["bolus"]),
    ("pp", (0, 0), HOLDS_THINLY, ["bolus"]),
    ("pf", (1, 1), FAILS, ["second"]),
    ("fn", (0, 1), FAILS, ["first"]),
    ("nn", (1, 1), UNTESTED, ["first", "second"]),
    ("nn", (0, 1), UNTESTED, ["first", "second"]),
    ("pn", (1, 1), PARTLY, ["second"]),
    ("np", (0, 1), PARTLY, ["first"]),
]


@pytest.mark.parametrize(("ends", "inside", "name", "reasons"), RULE)
def test_the_rule_of_the_verdict(parts, ends, inside, name, reasons):
    support, refuter, _ = parts
    passed = {"p": True, "f": False, "n": None}
    refuters = [refuter(n, passed=passed[end]) for n, end in zip(("first", "second"), ends, strict=True)]
    assert verdict(refuters, [support("inside" if one else "thin") for one in inside]) == (name, reasons)


def test_nobody_who_was_not_tested_holds_up(parts):
    support, _, _ = parts
    assert verdict([], [support(), support()]) == (UNTESTED, [])


@given(st.lists(st.sampled_from([True, False, None]), max_size=6), st.lists(st.booleans(), min_size=2, max_size=2))
def test_a_refuted_effect_never_holds_up(outcomes, thin):
    both = [Support("thin" if one else "inside", "bolus", 0.5, 9.0, 1.0, 6.0, 1.0) for one in thin]
    name, _ = verdict([Refuter(f"r{at}", 0.0, 0.0, 0.1, one, "Done.") for at, one in enumerate(outcomes)], both)
    assert (name == FAILS) == (False in outcomes)
    assert (name == HOLDS) == (bool(outcomes) and all(outcomes) and not any(thin))
    assert set(words.VERDICTS) >= {name}


def test_the_answer_comes_first(told):
    assert words.headline(told()) == (
        "With bolus 4 U instead of nothing glucose would be about 60 mg/dL lower in 2 h (9 times in 10 between 42 and "
        "78 lower), if the assumptions below hold."
    )
    found = told(plan="bolus 4 U; carbs 45 g in 10 min; carbs 5 g", against="bolus 2 U; carbs 5 g")
    start = "With bolus 4 U, carbs 45 g in 10 min and carbs 5 g instead of bolus 2 U and carbs 5 g glucose would be"
    assert words.headline(found).startswith(start)


def test_an_effect_that_may_go_either_way_says_so(told):
    found = words.headline(told(effect_low=np.full(16, -70.2), effect_high=np.full(16, 9.6)))
    assert "between 70 lower and 10 higher" in found
    assert found.endswith("Whether it would be lower or higher is not settled.")
    assert "settled" not in words.headline(told())


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [
        (-80.0, -30.0, "between 30 and 80 lower"),
        (30.0, 80.0, "between 30 and 80 higher"),
        (-12.0, 8.0, "between 12 lower and 8 higher"),
        (-10.0, 0.3, "between 0 and 10 lower"),
        (-0.3, 10.0, "between 0 and 10 higher"),
        (-0.2, 0.4, "the same within 1"),
    ],
)
def test_intervals_in_words(low, high, found):
    assert words.between(low, high) == found


@given(st.floats(-300, 300), st.floats(0, 200))
def test_an_interval_in_words_names_both_ends(low, width):
    found = words.between(low, low + width)
    numbers = [int(one) for one in found.split() if one.isdigit()]
    if found != "the same within 1":
        assert sorted(numbers) == sorted([abs(round(low)), abs(round(low + width))])
    assert ("lower" in found) == (round(low) < 0)
    assert "-" not in found


@pytest.mark.parametrize(
    ("value", "found"),
    [(-54.6, "about 55 mg/dL lower"), (1.2, "about 1 mg/dL higher"), (-0.4, "about the same")],
)
def test_effects_in_words(value, found):
    assert words.about(value, "mg/dL") == found


@pytest.mark.parametrize(("minute", "found"), [(30, "30 min"), (60, "1 h"), (90, "90 min"), (240, "4 h")])
def test_times_in_words(minute, found):
    assert words.after(minute) == found


@pytest.mark.parametrize(
    ("minutes", "told_of"),
    [
        (tuple(range(15, 241, 15)), [30, 60, 120, 180, 240]),
        ((60, 120), [60, 120]),
        ((45, 90), [45, 90]),
    ],
)
def test_which_times_are_told(told, compared, minutes, told_of):
    assert [one["min"] for one in words.shown(told(minutes=minutes, **_cut(compared(), len(minutes))))] == told_of


def _cut(answer, count):
    columns = ("level", "level_low", "level_high", "effect", "effect_low", "effect_high")
    return {name: getattr(answer, name)[..., :count] for name in columns}


def test_the_answer_is_of_the_time_nearest_two_hours(told, compared):
    found = told(minutes=(45, 90), **_cut(compared(), 2))
    assert "in 90 min (9 times in 10" in words.headline(found)


def test_a_line_for_each_time(told):
    assert words.sentence(told(), told()["ahead"][7]) == (
        "In 2 h (16:40): about 120 mg/dL with the plan (9 times in 10 between 100 and 150), about 180 mg/dL with the "
        "other (9 times in 10 between 160 and 210); about 60 mg/dL lower by the plan, 9 times in 10 between 42 and 78 "
        "lower."
    )


def test_support_in_words(told, parts):
    support, _, _ = parts
    thin = support("thin", "carbs", density=0.123, effective_size=4.0, low=10.0, high=80.0, widen=1.6)
    plan, other = words.overlap(told(support=(support(), thin)))
    assert plan == (
        "The plan: inside what people do at such a moment. Of those who then take rapid insulin, nine in ten take 1.5 "
        "to 6.2 U; what is asked of it is 0.8 times as likely as what is likeliest; 23.4 of the person's own doses and "
        "meals are like it (effective sample size)."
    )
    assert other.startswith("The other: thin support, few do so at such a moment. Of those who then take carbohydrates")
    assert "nine in ten take 10 to 80 g; what is asked of it is 0.12 times" in other
    assert other.endswith("The interval was made 1.6 times as wide.")


@pytest.mark.parametrize(
    ("share", "found"),
    [
        ((0.85, 0.6, 1.1), None),
        ((0.3, -0.1, 0.7), "does not show that there is any"),
        ((-0.4, -5.2, 4.3), "neither for the law nor against it"),
        ((0.5, 0.2, 0.9), "less than the law says"),
        ((1.8, 1.2, 2.4), "more than the law says"),
    ],
)
def test_the_own_share_in_words(told, share, found):
    first, second = words.own(told(own_share=share))
    assert f"shows {100 * share[0]:.0f} % of the law's effect (9 times in 10 between" in first
    known = (
        "neither for the law nor against it",
        "does not show that there is any",
        "less than the law says",
        "more than the law says",
    )
    assert [one for one in known if one in first] == ([found] if found else [])
    assert "account for 21 % of what is left" in second


def test_all_of_it_is_said(told, parts):
    _, refuter, _ = parts
    found = told(
        refuters=(refuter(passed=False), refuter("bootstrap of days", found=NAN, passed=None)),
        settings={"notes": ("a thing to know",), "age_s": 240.0},
    )
    text = words.lines(found)
    assert text[0] == words.headline(found)
    assert text[1].startswith("It does not hold up: the person's own record speaks against it (placebo treatment)")
    assert "read the effect as the law's alone" in text[1]
    assert "placebo treatment: failed. The placebo treatment was tried." in text
    assert "bootstrap of days: too little record. The bootstrap of days was tried." in text
    assert "the plan: bolus 4 U" in text
    assert "the other: nothing" in text
    assert "note: a thing to know" in text
    assert any("4 min old" in one and "both plans begin there" in one for one in text)
    assert text[-1] == NO_ADVICE
    whole = "\n".join(text).lower()
    assert "interventional forecast under stated assumptions" in whole
    assert "counterfactual" not in whole
    for assumption in ("nothing unseen", "all that was taken", "right form", "goes on as usual", "frozen encoder"):
        assert assumption in whole

"""Treatments and plans: kinds, units, times, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdt_fm.schema.errors import ConfigError, RecordingError, UnitError, UnknownNameError
from hdt_fm.schema.modalities import modality
from hdt_fm.schema.treatment import LEVELS, Plan, Treatment, treatment_kinds

KINDS = ("bolus", "carbs", "insulin_rate")


def test_every_kind_has_a_unit_a_range_and_a_usual_route():
    assert len(treatment_kinds()) == len(set(treatment_kinds())) == 12
    for kind in treatment_kinds():
        low, high = modality(kind).plausible
        one = Treatment(kind, high, duration_s=60.0 if kind in LEVELS else 0.0)
        assert (low, one.unit) == (0, modality(kind).unit)
        assert one.way in ("subcutaneous", "intravenous", "oral", "device", "other")


def test_a_drug_goes_by_its_name():
    one = Plan.spoken("drug_metformin 0.5 g").interventions[0]
    assert (one.kind, one.dose, one.unit, one.way) == ("drug_metformin", 500, "mg", "oral")
    assert modality("drug_metformin").label == "Metformin"
    with pytest.raises(UnknownNameError):
        modality("drug_")


def test_a_plan_is_read_as_it_is_spoken():
    plan = Plan.spoken(" bolus 4 U now; carbs 45 g in 10 min; insulin_rate 1.2 U/h in 5 min for 60 min;")
    assert plan.interventions == (
        Treatment("bolus", 4.0),
        Treatment("carbs", 45.0, onset_s=600.0),
        Treatment("insulin_rate", 1.2, onset_s=300.0, duration_s=3600.0),
    )
    assert Plan.spoken(plan.words) == plan
    assert Plan.spoken("nothing") == Plan()
    assert Plan().words == "nothing"
    assert Plan.spoken("bolus 4000 mU") == Plan.spoken("bolus 4 U")


@pytest.mark.parametrize(
    "text", ["", " ; ", "bolus", "bolus 4", "bolus four U", "bolus 4.1.2 U", "4 U bolus", "bolus 4 U later"]
)
def test_what_is_no_plan_is_refused(text):
    with pytest.raises(ConfigError, match="cannot be read"):
        Plan.spoken(text)


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("bolus 400 U", RecordingError, "0 to 100 U"),
        ("bolus -1 U", RecordingError, "0 to 100 U"),
        ("carbs 45 U", UnitError, "g"),
        ("bolus 4 mg", UnitError, "U"),
        ("bollus 4 U", UnknownNameError, "bolus"),
        ("glucose 4 g", UnknownNameError, "bolus"),
        ("insulin_rate 1 U/h", RecordingError, "for 60 min"),
        ("bolus 4 U in -10 min", ConfigError, "from now on"),
    ],
)
def test_slips_are_refused_with_what_was_expected(text, error, says):
    with pytest.raises(error) as caught:
        Plan.spoken(text)
    assert says in str(caught.value)


def test_times_that_make_no_sense():
    for wrong in ({"onset_s": np.inf}, {"duration_s": -1.0}, {"duration_s": np.inf}):
        with pytest.raises(RecordingError, match="no sense"):
            Treatment("bolus", 1.0, **wrong)
    with pytest.raises(RecordingError, match="nobody is given"):
        Treatment("bolus", float("nan"))


def test_a_plan_on_a_grid_by_hand():
    plan = Plan.spoken(
        "bolus 4 U; bolus 1 U in 5 min; carbs 30 g in 5 min for 10 min; insulin_rate 1.2 U/h in 2.5 min for 5 min"
    )
    found = plan.on_grid(KINDS, step_s=300.0, steps=4)
    assert found[:, 0].tolist() == [4, 1, 0, 0]
    assert found[:, 1].tolist() == [0, 15, 15, 0]
    assert np.allclose(found[:, 2], [0.6, 0.6, 0, 0])
    assert not Plan().on_grid(KINDS, step_s=300.0, steps=4).any()


def test_a_plan_that_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="fat") as caught:
        Plan.spoken("fat 5 g").on_grid(KINDS, step_s=300.0, steps=4)
    assert "bolus, carbs, insulin_rate within 20 min" in str(caught.value)
    with pytest.raises(ConfigError, match="bolus later"):
        Plan.spoken("bolus 5 U in 20 min").on_grid(KINDS, step_s=300.0, steps=4)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 3000), st.floats(0, 6000)), max_size=5))
def test_no_amount_is_lost_on_the_grid(given_):
    plan = Plan(tuple(Treatment("bolus", dose, onset, duration) for dose, onset, duration in given_))
    found = plan.on_grid(("bolus",), step_s=300.0, steps=40)
    assert found.sum() == pytest.approx(sum(dose for dose, _, _ in given_))

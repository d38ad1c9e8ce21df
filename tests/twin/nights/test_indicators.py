"""The table of indicators, and what illness adds to each."""

import pytest

from hdt_fm.schema.errors import ConfigError, UnknownNameError
from hdt_fm.schema.modalities import modality
from hdt_fm.twin.nights.from_visits import _MODALITIES
from hdt_fm.twin.nights.indicators import INDICATORS, WORDS, effects_of


def test_each_word_names_one_indicator():
    assert len(WORDS) == sum(1 + len(one.words) for one in INDICATORS.values())


def test_effects_come_from_the_table_unless_given():
    names = ("resting_heart_rate", "hrv", "component_3")
    assert effects_of(names).tolist() == [5.0, -8.0, 0.0]
    assert effects_of(names, {"hrv": 0.0, "component_3": 0.5}).tolist() == [5.0, 0.0, 0.5]
    with pytest.raises(UnknownNameError, match="step"):
        effects_of(names, {"step": 1.0})
    with pytest.raises(ConfigError, match="no number"):
        effects_of(names, {"hrv": float("nan")})


@pytest.mark.parametrize("name", list(INDICATORS))
def test_illness_moves_each_by_a_part_of_what_a_body_can_have(name):
    """A share where percent is meant would be a hundredth of the effect, and nobody would hear it."""
    one = INDICATORS[name]
    low, high = one.plausible
    assert 0.005 < abs(one.illness_adds) / (high - low) < 0.2


@pytest.mark.parametrize(("recorded", "name"), [*_MODALITIES.items()])
def test_units_are_those_in_which_it_is_recorded(recorded, name):
    assert modality(recorded).unit == INDICATORS[name].unit

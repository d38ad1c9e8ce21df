import numpy as np
import pytest

from hdt_fm.schema.errors import RecordingError, UnitError, UnknownNameError
from hdt_fm.schema.exposure import EXPOSURES, Exposure, exposure_kind


def exposure(kind="light", start=(0.0, 60.0), length=(60.0, 30.0), values=(1.0, np.nan)):
    return Exposure(kind, np.array(start), np.array(length), np.array(values), subject=0, group=0)


def test_an_exposure_keeps_what_is_not_known():
    found = exposure()
    assert len(found) == 2
    assert np.isnan(found.values[1])


@pytest.mark.parametrize("name", EXPOSURES)
def test_every_kind_has_a_unit_and_a_range(name):
    kind = exposure_kind(name)
    assert kind.unit
    assert kind.label
    assert kind.plausible[0] < kind.plausible[1]
    assert kind.conversion(kind.unit) == (1.0, 0.0)
    for unit in kind.units:
        scale, _ = kind.conversion(unit)
        assert scale > 0


def test_units_are_converted_as_tables_of_physics_say():
    scale, offset = exposure_kind("temperature").conversion("fahrenheit")
    assert 212 * scale + offset == pytest.approx(100)
    scale, offset = exposure_kind("diet_energy").conversion("kJ")
    assert 418.4 * scale + offset == pytest.approx(100)
    with pytest.raises(UnitError, match="celsius, fahrenheit, kelvin"):
        exposure_kind("temperature").conversion("lux")


def test_a_name_that_is_none_suggests_one():
    with pytest.raises(UnknownNameError, match="social_contact"):
        exposure(kind="social_contacts")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"length": (60.0,)}, "one length"),
        ({"length": (60.0, 0.0)}, "length_s above 0"),
        ({"start": (0.0, np.nan)}, "finite start_s"),
        ({"start": (0.0, 59.0)}, "overlap"),
        ({"start": (60.0, 0.0)}, "do not rise"),
        ({"values": (-1.0, 1.0)}, "0 to 200000 lux"),
        ({"values": (np.inf, 1.0)}, "1 of 2 outside"),
    ],
)
def test_what_does_not_hold_together_is_refused(changed, message):
    with pytest.raises(RecordingError, match=message):
        exposure(**changed)

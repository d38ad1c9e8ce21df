"""Parts of an effect: by hand, by differences of the whole, and alike in every unit of an exposure."""

import numpy as np
import pytest

from hdt_fm.layers.dose_law import DoseLaw

NAMES = ("sound", "light", "temp", "pressure", "altitude")
LAW = DoseLaw(NAMES, ("hinge", "line", "ramp", "bent", "below"), ((0, 2), (1, 3)))
KNOTS = np.array([0.2, -0.3, 0.6, 0.1, 0.0])
SLOPES = np.array([2.0, -1.0, 3.0, 0.5, 1.5, -2.5, 0.7, -0.4])
MIDDLE = np.array([0.5, 0.1, 0.2, 0.3, -0.1])


def doses(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1.5, (7, len(NAMES)))


def effect(law: DoseLaw, at: np.ndarray, middle: np.ndarray, knots: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    out: np.ndarray = (law.columns(at, knots) - law.columns(middle[None], knots)) @ slopes
    return out


def only(at: np.ndarray, *places: int) -> np.ndarray:
    """All others at their middle dose."""
    out = np.repeat(MIDDLE[None], len(at), axis=0)
    out[:, places] = at[:, places]
    return out


def test_two_exposures_and_their_product_by_hand():
    law = DoseLaw(("pm2_5", "temperature"), ("hinge", "line"), ((0, 1),))
    parts = law.parts(np.array([[25.0, 18.0]]), np.array([20.0, 12.0]), np.array([19.0]), np.array([-0.2, 0.1, 0.01]))
    # pm2_5: 6 above the knot, 1 at its middle dose, where the temperature is 12. temperature: 6 more, where pm2_5 is 1.
    np.testing.assert_allclose(parts, [[-0.2 * 5 + 0.01 * 5 * 12, 0.1 * 6 + 0.01 * 1 * 6, 0.01 * 5 * 6]], atol=1e-12)


def test_parts_add_up_to_the_effect():
    at = doses()
    found = LAW.parts(at, MIDDLE, KNOTS, SLOPES)
    assert found.shape == (7, 7)
    assert np.abs(found).max(axis=0).min() > 0.05
    np.testing.assert_allclose(found.sum(axis=1), effect(LAW, at, MIDDLE, KNOTS, SLOPES), atol=1e-9)


def test_a_part_is_what_the_exposure_does_alone_and_a_pair_what_two_do_beyond_that():
    at, asked = doses(), (MIDDLE, KNOTS, SLOPES)
    found = LAW.parts(at, *asked)
    for place in range(len(NAMES)):
        np.testing.assert_allclose(found[:, place], effect(LAW, only(at, place), *asked), atol=1e-9)
    for column, pair in enumerate(LAW.pairs, start=len(NAMES)):
        alone = sum(effect(LAW, only(at, place), *asked) for place in pair)
        np.testing.assert_allclose(found[:, column], effect(LAW, only(at, *pair), *asked) - alone, atol=1e-9)


def test_what_is_at_its_middle_dose_has_no_part():
    at = doses()
    at[:, [0, 3]] = MIDDLE[[0, 3]]
    found = LAW.parts(at, MIDDLE, KNOTS, SLOPES)
    assert not found[:, [0, 3, 5, 6]].any()


@pytest.mark.parametrize("zero", [273.15, -40.0])
def test_parts_do_not_hang_on_where_a_unit_has_its_zero(zero: float):
    """The same law in kelvin: a plain product of doses would give other parts, of pairs above all."""
    law = DoseLaw(("temperature", "humidity"), ("line", "line"), ((0, 1),))
    slopes = np.array([0.3, -0.2, 0.05])
    at, middle, no_knots = doses()[:, :2], MIDDLE[:2], np.zeros(0)
    moved, shift = slopes - np.array([0.0, 0.05 * zero, 0.0]), np.array([zero, 0.0])
    np.testing.assert_allclose(
        law.parts(at + shift, middle + shift, no_knots, moved), law.parts(at, middle, no_knots, slopes), atol=1e-9
    )

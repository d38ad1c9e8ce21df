"""A learned law as plain words and numbers: back as it was, and refused where it cannot be one."""

import json
import math
from typing import Any

import numpy as np
import pytest

from hdt_fm.heads.exposure_dose import ExposureDose
from hdt_fm.layers.dose_fit import Fitted
from hdt_fm.layers.dose_law import DoseLaw
from hdt_fm.layers.dose_learn import Learned
from hdt_fm.layers.dose_plain import KeptLaw, from_plain, plain_of
from hdt_fm.schema.errors import CheckpointError


@pytest.fixture(scope="module")
def kept() -> KeptLaw:
    """Two exposures, a hinge and a line, and their product: 2 time constants, a knot, 3 slopes."""
    half = np.random.default_rng(0).normal(size=(6, 6)) * np.array([0.1, 0.1, 2.0, 0.01, 0.01, 1e-3])
    held = np.array([False, False, True, False, False, False])
    half[:, held] = 0.0
    fitted = Fitted(np.log([21.0, 7.0]), np.array([19.0]), np.array([0.15, 0.13, 0.01]), half.T @ half, held, 2.5)
    middle, chance = np.array([30.0, 12.0]), np.array([0.001, 0.2])
    learned = Learned(fitted, 42, middle, np.array([9.0, math.nan]), chance, 0.4)
    return KeptLaw(DoseLaw(("pm2_5", "temperature"), ("hinge", "line"), ((0, 1),)), "shared", 0.2, learned)


def test_it_comes_back_through_strict_json(kept):
    words = json.dumps(plain_of(kept), allow_nan=False)
    back = from_plain(json.loads(words))
    assert (back.law, back.season, back.enough, back.learned.people) == (kept.law, "shared", 0.2, 42)
    for name in ("log_tau", "knots", "slopes", "spread", "held", "noise"):
        assert np.array_equal(getattr(back.learned.fitted, name), getattr(kept.learned.fitted, name)), name
    for name in ("middle", "unseen", "chance", "misfit"):
        assert np.array_equal(getattr(back.learned, name), getattr(kept.learned, name), equal_nan=True), name
    assert back.learned.fitted.held.dtype == np.bool_


def other(plain: dict[str, Any], name: str, place: int, value: object) -> dict[str, Any]:
    """A copy with one entry of a list exchanged."""
    changed = json.loads(json.dumps(plain))
    changed[name][place] = value
    return changed


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        *(
            (name, 0, value)
            for name in ("log_tau", "knots", "slopes", "middle")
            for value in (math.nan, math.inf, 1e300)
        ),
        *(("log_tau", 1, value) for value in (-3.0, 40.0)),
        *(("chance", 0, value) for value in (-0.1, 1.1, math.nan)),
        *(("unseen", 0, value) for value in (-1.0, math.nan, math.inf)),
        ("held", 2, 3),
    ],
)
def test_numbers_that_cannot_be_are_refused(kept, name, place, value):
    with pytest.raises(CheckpointError, match="cannot be") as refused:
        from_plain(other(plain_of(kept), name, place, value))
    assert name in str(refused.value)
    assert str(value) not in str(refused.value).splitlines()[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("misfit", math.nan),
        ("misfit", -1),
        ("noise", math.inf),
        ("noise", -1.0),
        ("people", 1),
        ("people", True),
        ("enough", 0.0),
        ("enough", 1.0),
        ("enough", math.nan),
    ],
)
def test_single_numbers_too(kept, name, value):
    with pytest.raises(CheckpointError, match="cannot be"):
        from_plain({**plain_of(kept), name: value})


def test_a_spread_that_is_no_covariance_is_refused(kept):
    spread = np.array(plain_of(kept)["spread"])
    lopsided, below, more_than_one = spread.copy(), spread.copy(), spread.copy()
    lopsided[0, 1] *= 1.1
    below[3, 3] = -below[3, 3]
    more_than_one[0, 1] = more_than_one[1, 0] = 1.1 * math.sqrt(spread[0, 0] * spread[1, 1])
    of_nothing = spread.copy()
    of_nothing[2, 0] = of_nothing[0, 2] = 1e-3
    for hostile in (lopsided, below, more_than_one, of_nothing):
        with pytest.raises(CheckpointError, match=r"(?s)cannot be.*covariance"):
            from_plain({**plain_of(kept), "spread": hostile.tolist()})
    spread[0, 0] = math.nan
    with pytest.raises(CheckpointError, match=r"(?s)cannot be.*finite"):
        from_plain({**plain_of(kept), "spread": spread.tolist()})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("knots", []),
        ("knots", None),
        ("slopes", ["0.1", "0.2", "0.3"]),
        ("slopes", [0.1, 0.2, "x"]),
        ("slopes", [[0.1], [0.2, 0.3], 0.4]),
        ("log_tau", {"0": 1.0}),
        ("middle", [10**400, 1]),
        ("spread", [[1.0]]),
        ("held", [[False]]),
        ("unseen", [1.0]),
        ("unseen", "12"),
        ("unseen", [None, [None]]),
        ("people", "42"),
        ("people", [42]),
        ("misfit", None),
    ],
)
def test_what_does_not_fit_the_law_is_refused(kept, name, value):
    with pytest.raises(CheckpointError, match=r"(?s)do not fit its law.*" + name):
        from_plain({**plain_of(kept), name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("exposures", ["pm2_5", "pm2_5"]),
        ("exposures", "pm2_5"),
        ("exposures", []),
        ("exposures", [1, 2]),
        ("exposures", [f"e{place}" for place in range(1000)]),
        ("forms", ["hinge", "wave"]),
        ("forms", ["hinge"]),
        ("forms", None),
        ("pairs", [["pm2_5", "noise"]]),
        ("pairs", [["pm2_5", "pm2_5"]]),
        ("pairs", [["pm2_5"]]),
        ("pairs", [[["pm2_5"], "temperature"]]),
        ("pairs", 3),
        ("season", "winter"),
        ("season", ["shared"]),
    ],
)
def test_words_of_no_law_are_refused(kept, name, value):
    with pytest.raises(CheckpointError, match="words are not those of a law"):
        from_plain({**plain_of(kept), name: value})


@pytest.mark.parametrize("missing", ["format", "exposures", "spread", "people", "unseen", "enough"])
def test_what_is_left_out_is_missed(kept, missing):
    plain = plain_of(kept)
    del plain[missing]
    with pytest.raises(CheckpointError, match="A dose head"):
        ExposureDose.of(plain)


def test_a_head_made_of_it_answers_with_an_interval_only_where_the_unseen_is_known(kept):
    head = ExposureDose.of(plain_of(kept))
    dosed, _ = head.dose(np.full((1, 2, 30), 40.0))
    assert np.isfinite(dosed.value[0, :, -1]).all()
    assert np.isfinite(dosed.low[0, :, -1]).tolist() == [True, False]
    with pytest.raises(CheckpointError, match="another format"):
        ExposureDose.of({**plain_of(kept), "format": "1; drop"})

"""Lines and curves: closed forms, what is missing, and that base and parts are the answer."""

from dataclasses import replace

import numpy as np
import pytest

from hdt_fm.explain.distil.basis import FAR, Basis
from hdt_fm.explain.distil.named import NamedFeatures
from hdt_fm.explain.distil.shapes import curves, effects, trend
from hdt_fm.explain.distil.terms import Terms, fit_terms


def _fit(named: NamedFeatures, output: np.ndarray, shape: str) -> Terms:
    return fit_terms(named.values, output, named.subject, shape=shape)


def test_a_line_is_found_in_its_own_unit(named: NamedFeatures) -> None:
    output = 3.0 + 0.05 * named.values[:, 0]
    student = _fit(named, output, "line")
    assert student.chosen == (0,)
    (effect,) = effects(student, named, output)
    sd = named.values[:, 0].std()
    assert effect.sd == pytest.approx(sd)
    assert effect.per_sd.value == pytest.approx(0.05 * sd, rel=3e-3)
    assert effect.per_sd.low <= effect.per_sd.value <= effect.per_sd.high
    assert effect.chosen_again == pytest.approx(1.0)
    assert effect.not_known is None


def test_a_line_stays_level_where_nobody_was(named: NamedFeatures) -> None:
    student = _fit(named, named.values[:, 0].copy(), "line")
    mean, sd = named.values[:, 0].mean(), named.values[:, 0].std()
    rows = np.tile(named.values[:1], (3, 1))
    rows[:, 0] = mean + sd * np.array([FAR - 1, FAR, 10 * FAR])
    said = student.predict(rows)
    assert said[1] == pytest.approx(said[2])
    assert said[1] - said[0] == pytest.approx(sd, rel=3e-3)


def test_a_curve_is_followed_and_told_in_words(named: NamedFeatures) -> None:
    at = ((named.values[:, 1] - 40) / 12).clip(-2, 2)  # the outer knots lie about there, and a curve is level beyond
    output = np.square(at)
    student = _fit(named, output, "curve")
    assert student.chosen == (1,)
    (curve,) = curves(student, named, output)
    assert curve.trend == "falls, then rises"
    true = np.square(((curve.at - 40) / 12).clip(-2, 2))
    assert np.abs(curve.adds - (true - output.mean())).max() < 0.2
    assert (curve.low <= curve.high).all()
    # No straight line follows a curve that is as high on either side.
    assert np.square(_fit(named, output, "line").predict(named.values) - output).mean() > 0.8 * output.var()


@pytest.mark.parametrize("shape", ["line", "curve"])
def test_base_and_parts_are_the_answer(named: NamedFeatures, shape: str) -> None:
    values = named.values.copy()
    values[::4, 2] = np.nan
    output = 0.1 * values[:, 0] + np.where(np.isnan(values[:, 2]), 2.0, 5 * values[:, 2])
    student = fit_terms(values, output, named.subject, shape=shape)
    parts = student.parts(values)
    np.testing.assert_allclose(student.base + parts.sum(1), student.predict(values), rtol=1e-10)
    assert set(np.flatnonzero(np.abs(parts).sum(0))) == set(student.chosen)
    np.testing.assert_allclose(parts.mean(0), 0.0, atol=1e-9)


@pytest.mark.parametrize("shape", ["line", "curve"])
def test_a_missing_feature_says_what_its_absence_said_in_training(named: NamedFeatures, shape: str) -> None:
    values = named.values.copy()
    gone = np.random.default_rng(3).random(len(values)) < 0.3
    values[gone, 3] = np.nan
    output = np.where(gone, 7.0, 1.0)
    student = fit_terms(values, output, named.subject, shape=shape)
    said = student.predict(values)
    assert said[gone].mean() - said[~gone].mean() == pytest.approx(6.0, rel=0.02)
    told = effects if shape == "line" else curves
    (term,) = told(student, replace(named, values=values), output)
    assert term.feature == 3
    assert term.not_known == pytest.approx(6.0, rel=0.02)


def test_where_hardly_anybody_lacks_a_feature_its_mean_stands_in_and_that_is_counted(named: NamedFeatures) -> None:
    values = named.values.copy()
    few = np.isin(named.subject, np.unique(named.subject)[:4]) & (np.arange(len(values)) % 3 == 0)
    values[few, 0] = np.nan
    student = fit_terms(values, named.values[:, 0].copy(), named.subject, shape="line")
    assert student.chosen == (0,)
    assert not student.basis.says_missing.any()
    np.testing.assert_allclose(student.parts(values)[few, 0], student.parts(values)[few, 0][0])
    assert student.basis.unforeseen(values, np.array([0])).tolist() == few.tolist()


@pytest.mark.parametrize("shape", ["line", "curve"])
def test_a_missing_feature_is_nothing_in_its_own_columns(named: NamedFeatures, shape: str) -> None:
    values = named.values.copy()
    values[::3, 1] = np.nan
    basis = Basis.fit(values, named.subject, shape)
    columns = basis.columns(values)
    *own, says = basis.blocks[1]
    assert not columns[::3][:, own].any()
    assert (columns[::3, says] > 0).all()
    assert not columns[1::3, says].any()
    np.testing.assert_allclose(columns[:, own].mean(0), 0.0, atol=1e-9)
    assert basis.blocks[0][-1] == -1


def test_a_feature_of_four_people_is_not_read(named: NamedFeatures) -> None:
    values = named.values.copy()
    own = np.isin(named.subject, np.unique(named.subject)[:4])
    values[~own, 0] = np.nan
    output = np.where(own, named.values[:, 0], 80.0)
    for shape in ("line", "curve"):
        assert 0 not in fit_terms(values, output, named.subject, shape=shape).chosen


def test_a_constant_and_a_two_valued_feature_break_nothing(named: NamedFeatures) -> None:
    values = named.values.copy()
    values[:, 0], values[:, 1] = 5.0, (values[:, 1] > 40).astype(float)
    values[:, 2] = np.nan
    output = 2 * values[:, 1]
    student = fit_terms(values, output, named.subject, shape="curve")
    assert student.chosen == (1,)
    np.testing.assert_allclose(student.predict(values), output, atol=0.02)


@pytest.mark.parametrize(
    ("adds", "words"),
    [
        ([0, 0, 0, 0], "level"),
        ([0, 1, 2, 3], "rises"),
        ([0, 0.05, 0, 3], "rises"),
        ([3, 2, 1, 0.2], "falls"),
        ([0, 2, 1, 0], "rises, then falls"),
        ([2, 0, 0.1, 2], "falls, then rises"),
        ([0, 2, 0, 2], "turns more than once"),
        ([0, 0.05, -3, -3], "falls"),
    ],
)
def test_trends_in_words(adds: list[float], words: str) -> None:
    assert trend(np.array(adds, dtype=float)) == words


def test_the_range_of_a_curve_is_nobodys_value(named: NamedFeatures) -> None:
    values = named.values.copy()
    values[5, 0] = 4_000.0  # one window of one person
    output = values[:, 0].clip(0, 150)
    student = fit_terms(values, output, named.subject, shape="curve")
    curve = next(one for one in curves(student, replace(named, values=values), output) if one.feature == 0)
    assert curve.at.max() < 120
    people = [values[named.subject == one, 0] for one in np.unique(named.subject)]
    assert sum((one < curve.at[0]).any() for one in people) >= 5
    assert sum((one > curve.at[-1]).any() for one in people) >= 5
    assert not set(np.round(curve.ticks, 9)) & set(np.round(values[:, 0], 9))

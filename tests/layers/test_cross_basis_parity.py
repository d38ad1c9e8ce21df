"""Cross-bases beside those of packages that a user has installed: `dlnm` (GPL-2 or later) and `crossbasis` (MIT).

Neither is needed by hdt_fm; without them these tests are skipped. hdt_fm/layers/README.md says how to run them.
"""

from types import ModuleType

import numpy as np
import pytest
import torch

from hdt_fm.layers.cross_basis import CrossBasis, b_splines, natural_splines

ENDS, KNOTS, LONGEST, LAG_KNOTS = (-3.0, 31.0), (4.0, 9.5, 20.0), 12, (1.0, 4.0)
SAME = 1e-6


@pytest.fixture(scope="module")
def dlnm() -> ModuleType:
    return pytest.importorskip("dlnm", reason="pip install dlnm==0.1.1")


@pytest.fixture(scope="module")
def crossbasis() -> ModuleType:
    return pytest.importorskip("crossbasis", reason="pip install crossbasis==0.1.0")


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    """Both ends among them, none beyond: there B-splines of the packages are 0 or go on, ours stay."""
    drawn = np.random.default_rng(0).uniform(*ENDS, 400)
    drawn[[17, 61]] = ENDS
    return drawn


def spanned(columns: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The target's part that is in the span of the columns, by QR."""
    basis = np.linalg.qr(columns)[0]
    return basis @ (basis.T @ target)


def effect(columns: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    """Of a regression with a constant, where all is known."""
    some = np.isfinite(columns).all(axis=1)
    return spanned(np.concatenate([columns[some], np.ones((int(some.sum()), 1))], axis=1), outcome[some])


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_b_splines_are_theirs_column_by_column(dlnm, crossbasis, values, degree):
    ours = b_splines(torch.from_numpy(values), KNOTS, ENDS, degree=degree).numpy()
    told = {"knots": np.array(KNOTS), "degree": degree, "intercept": True}
    one = np.asarray(dlnm.onebasis(values, fun="bs", Boundary_knots=np.array(ENDS), **told))
    assert ours == pytest.approx(one, abs=SAME)
    told["intercept"] = False
    other = crossbasis.bs_basis(values, boundary_knots=np.array(ENDS), **told)
    assert ours[:, 1:] == pytest.approx(other, abs=SAME)


def test_natural_splines_span_what_theirs_do_beyond_the_ends_too(dlnm, crossbasis):
    """The columns are others, the curves are not: each of ours is a sum of theirs, and of as many."""
    x = np.linspace(-20.0, 50.0, 211)
    ours = natural_splines(torch.from_numpy(x), KNOTS, ENDS).numpy()
    ours = ours / np.abs(ours).max(axis=0)
    told = {"knots": np.array(KNOTS), "intercept": True}
    for theirs in (
        np.asarray(dlnm.onebasis(x, fun="ns", Boundary_knots=np.array(ENDS), **told)),
        crossbasis.ns_basis(x, boundary_knots=np.array(ENDS), **told),
    ):
        assert theirs.shape == ours.shape
        assert spanned(theirs, ours) == pytest.approx(ours, abs=SAME)


@pytest.mark.parametrize(
    ("kind", "fun", "degree"), [("natural", "ns", None), ("b", "bs", None), ("natural", "ns", 1), ("b", "bs", 4)]
)
def test_cross_bases_have_the_same_fitted_effect(dlnm, values, kind, fun, degree):
    """Columns too where both are B-splines; polynomials over lags are powers there, B-splines without knots here."""
    made = CrossBasis(
        ends=ENDS,
        value_knots=KNOTS,
        longest=LONGEST,
        lag_knots=LAG_KNOTS if degree is None else (),
        kind=kind,
        lag_degree=degree,
    )
    ours = made(torch.from_numpy(values)).numpy()
    lags = {"fun": fun, "knots": np.array(LAG_KNOTS)} if degree is None else {"fun": "poly", "degree": degree}
    over_values = {"fun": fun, "knots": np.array(KNOTS), "Boundary_knots": np.array(ENDS)}
    theirs = np.asarray(dlnm.crossbasis(values, lag=LONGEST, argvar=over_values, arglag=lags))
    assert theirs.shape == ours.shape
    assert np.array_equal(np.isnan(theirs), np.isnan(ours))
    outcome = np.random.default_rng(1).normal(size=len(values))
    assert effect(ours, outcome) == pytest.approx(effect(theirs, outcome), abs=SAME)
    if kind == "b" and degree is None:
        assert ours == pytest.approx(theirs, abs=SAME, nan_ok=True)


def test_chicago_is_what_was_published(dlnm):
    """Deaths for 10 ug/m3 of PM10 more, lags 0 to 15: RR .9997563 (.9916871 to 1.0078911).

    A line of the value, a polynomial of degree 4 over lags; beside temperature, time and weekday as in the example.

    Source: Gasparrini 2011 (Journal of Statistical Software 43:8); numbers of the R package's vignette dlnmTS, example
    1. The data are read from the installed package.
    """
    told = dlnm.load_chicagoNMMAPS()
    dust, deaths = told["pm10"].to_numpy(np.float64, copy=True), told["death"].to_numpy(np.float64)
    made = CrossBasis(ends=(0.0, 100.0), value_knots=(), longest=15, lag_knots=(), lag_degree=4)
    ours = made(torch.from_numpy(dust)).numpy()
    warmth = dlnm.crossbasis(
        told["temp"].to_numpy(), lag=3, argvar={"fun": "ns", "df": 5}, arglag={"fun": "strata", "breaks": [1]}
    )
    seasons = np.asarray(dlnm.onebasis(told["time"].to_numpy(np.float64), fun="ns", df=7 * 14))
    weekday = np.stack([told["dow"] == name for name in sorted(set(told["dow"]))], axis=1).astype(np.float64)
    design = np.concatenate([ours, np.asarray(warmth), seasons, weekday], axis=1)
    some = np.isfinite(design).all(axis=1) & np.isfinite(deaths)
    slopes, spread = over_dispersed_poisson(design[some], deaths[some])
    # Ten units of a line that runs from 0 to 1 between the ends, over all lags.
    asked = np.concatenate([0.1 * made.lags.numpy().sum(axis=0), np.zeros(design.shape[1] - 5)])
    log_ratio, sd = asked @ slopes, np.sqrt(asked @ spread @ asked)
    found = np.exp(log_ratio + 1.959964 * sd * np.array([0.0, -1.0, 1.0]))
    assert found == pytest.approx([0.9997563, 0.9916871, 1.0078911], abs=SAME)


def over_dispersed_poisson(design: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slopes under a log link and their covariance, weighted least squares again and again.

    Long gaps leave some columns of time empty: directions that are nothing are left out.
    """
    size = np.sqrt(np.square(design).sum(axis=0)).clip(min=1e-12)
    left, share, right = np.linalg.svd(design / size, full_matrices=False)
    some = share > 1e-10 * share[0]
    basis, back = left[:, some], (right[some].T / share[some]) / size[:, None]
    log_mean = np.full(len(counts), np.log(counts.mean()))
    for _ in range(30):
        mean = np.exp(log_mean)
        weight = np.sqrt(mean)
        turned, triangle = np.linalg.qr(basis * weight[:, None])
        slopes = np.linalg.solve(triangle, turned.T @ (weight * (log_mean + counts / mean - 1)))
        log_mean = basis @ slopes
    inverse = np.linalg.inv(triangle)
    noise = np.square((counts - mean) / weight).sum() / (len(counts) - some.sum())
    return back @ slopes, noise * back @ inverse @ inverse.T @ back.T

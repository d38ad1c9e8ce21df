"""Cross-products: the same ridge as scikit-learn's, the same errors and draws as on the rows themselves."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from hdt_fm.explain.distil import moments as module
from hdt_fm.explain.distil.moments import best_path, drawn_moments, forward, moments


def _data(rows: int = 240) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draws = np.random.default_rng(0)
    columns = draws.standard_normal((rows, 7)) + 3.0
    output = 5.0 + 2 * columns[:, 2] - columns[:, 3] + 0.5 * columns[:, 5] + 0.1 * draws.standard_normal(rows)
    return columns, output, draws.integers(0, 12, rows)


BLOCKS = np.array([[0, 1], [2, 3], [4, -1], [5, -1], [-1, -1], [6, -1]])


def test_coefficients_are_those_of_ridge_on_the_rows() -> None:
    columns, output, _ = _data()
    whole = moments(columns, output, np.zeros(len(output), dtype=np.int64))[0]
    path = forward(whole, BLOCKS, most=2, penalty=0.3)
    assert path.chosen == (1, 3)
    assert path.columns(2).tolist() == [2, 3, 5]
    theirs = Ridge(alpha=0.3 * len(output)).fit(columns[:, [2, 3, 5]], output)
    np.testing.assert_allclose(path.solve(whole, 2), theirs.coef_, rtol=1e-9)


def test_each_step_takes_what_lowers_the_objective_most() -> None:
    columns, output, _ = _data()
    whole = moments(columns, output, np.zeros(len(output), dtype=np.int64))[0]
    chosen = forward(whole, BLOCKS, most=6, penalty=0.1).chosen
    assert 4 not in chosen  # a feature without columns
    assert len(chosen) == 5

    def objective(blocks: list[int]) -> float:
        some = [one for block in blocks for one in BLOCKS[block] if one >= 0]
        model = Ridge(alpha=0.1 * len(output)).fit(columns[:, some], output)
        return float(np.square(model.predict(columns[:, some]) - output).mean() + 0.1 * np.square(model.coef_).sum())

    for step in range(4):
        so_far, rest = list(chosen[:step]), [one for one in (0, 1, 2, 3, 5) if one not in chosen[:step]]
        assert min(rest, key=lambda one: objective([*so_far, one])) == chosen[step]


def test_errors_are_those_on_the_rows_of_people_left_out() -> None:
    columns, output, part = _data()
    parts = moments(columns, output, part)
    path = forward(parts[1:].sum(0), BLOCKS, most=2, penalty=0.2)
    rest, some = part != 0, path.columns(2)
    model = Ridge(alpha=0.2 * rest.sum()).fit(columns[rest][:, some], output[rest])
    theirs = np.square(model.predict(columns[~rest][:, some]) - output[~rest]).sum()
    np.testing.assert_allclose(path.error(parts[1:].sum(0), parts[0], 2), theirs, rtol=1e-8)


@pytest.mark.parametrize("at_once", [20_000_000, 250])
def test_draws_weigh_people_as_often_as_they_were_drawn(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", at_once)  # 250 takes the people three at a time
    columns, output, person = _data()
    counts = np.random.default_rng(1).integers(0, 3, (4, 12))
    drawn = drawn_moments(columns, output, person, counts)
    rows = np.repeat(np.arange(len(output)), counts[2][person])
    theirs = moments(columns[rows], output[rows], np.zeros(len(rows), dtype=np.int64))[0]
    np.testing.assert_allclose(drawn[2], theirs, rtol=1e-10)


def test_noise_is_told_by_no_feature() -> None:
    columns, _, part = _data()
    noise = np.random.default_rng(5).standard_normal(len(part))
    _, count = best_path(moments(columns, noise, part % 3), BLOCKS, most=5)
    assert count == 0

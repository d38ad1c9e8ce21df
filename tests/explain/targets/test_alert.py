"""Scores of nights as the watch makes them, and parts that are the Shapley values."""

from itertools import product

import numpy as np
import pytest
import torch

from hdt_fm.explain.targets.alert import AlertTarget, UsualNight
from hdt_fm.explain.targets.routes import shapley
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.errors import ExplainError
from hdt_fm.twin.alert.score import along, anywhere, correlation

NAMES = ("resting_heart_rate", "hrv", "respiratory_rate", "skin_temperature")
NIGHTS, DAY_HZ = 50, 1 / 86400


def usual(*, directed: bool = True, count: int = 4) -> UsualNight:
    draws = np.random.default_rng(0)
    mixed = draws.normal(size=(1, NIGHTS, count)) @ draws.normal(size=(count, count))
    return UsualNight(
        names=NAMES[:count],
        expected=np.array([58.0, 45.0, 15.0, 34.0])[:count],
        chance=np.array([2.0, 6.0, 0.5, 0.3])[:count],
        shift=np.array([2.5, -1.3, 5.0, 1.6])[:count] * directed,
        between=correlation(mixed)[0],
        nights=float(NIGHTS),
    )


def nights() -> tuple[np.ndarray, Batch]:
    """Six nights; one is far off, and of some an indicator was not measured."""
    values = np.array([58.0, 45.0, 15.0, 34.0]) + np.random.default_rng(1).normal(0, [3, 9, 0.8, 0.5], (6, 4))
    values[2] = [90.0, 5.0, 25.0, 38.0]
    values[3, 1] = values[4, 0] = values[4, 3] = np.nan
    signals = {
        name: Signal(
            torch.from_numpy(np.nan_to_num(values[:, [place]]))[:, None],
            torch.from_numpy(np.isfinite(values[:, [place]])),
            DAY_HZ,
        )
        for place, name in enumerate(NAMES)
    }
    rows = torch.arange(6)
    return values, Batch(NAMES, signals, torch.from_numpy(np.isfinite(values)), rows, rows.double(), rows)


def test_where_a_direction_is_known_the_score_is_the_watchs() -> None:
    values, batch = nights()
    of = usual()
    surprise = (values - of.expected) / of.chance
    shift, between = np.tile(of.shift, (6, 1)), np.tile(of.between, (6, 1, 1))
    want = along(surprise, shift, between, np.full(6, of.nights))
    got = AlertTarget(of)(batch)[:, 0].numpy()
    assert np.ptp(want) > 2
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_where_either_way_counts_and_of_one_indicator() -> None:
    values, batch = nights()
    of = usual(directed=False)
    got = AlertTarget(of)(batch)[:, 0].numpy()
    np.testing.assert_allclose(got, anywhere((values - of.expected) / of.chance), atol=1e-6)
    one = usual(count=1)
    rows = torch.tensor([0, 1, 2, 3, 5])
    alone = AlertTarget(one)(batch.select(rows))[:, 0].numpy()
    np.testing.assert_allclose(alone, (values[rows.numpy(), 0] - 58.0) / 2.0, atol=1e-6)


@pytest.mark.parametrize("directed", [True, False])
def test_parts_are_the_shapley_values_and_add_up(directed: bool) -> None:
    values, batch = nights()
    of = usual(directed=directed)
    target, row = AlertTarget(of), torch.tensor([0, 1, 2])
    worth = {}
    for kept in product((False, True), repeat=4):
        mixed = np.where(kept, values[:3], of.expected)
        some = batch.select(row)
        signals = {
            name: Signal(torch.from_numpy(mixed[:, [place]])[:, None], some.signals[name].observed, DAY_HZ)
            for place, name in enumerate(NAMES)
        }
        worth[kept] = target(Batch(NAMES, signals, some.present, row, row.double(), row))[:, 0].numpy()
    parts = target.parts(batch)
    for place, name in enumerate(NAMES):
        np.testing.assert_allclose(parts[name][:3], shapley(worth, place), atol=1e-9)
    as_expected = worth[(False,) * 4]
    np.testing.assert_allclose(sum(parts.values())[:3] + as_expected, worth[(True,) * 4], atol=1e-9)


def test_what_was_not_measured_has_no_part() -> None:
    _, batch = nights()
    parts = AlertTarget(usual()).parts(batch)
    assert parts["hrv"][3] == parts["resting_heart_rate"][4] == parts["skin_temperature"][4] == 0
    with pytest.raises(ExplainError, match="no indicator that is watched"):
        AlertTarget(usual()).parts(batch.without(torch.zeros_like(batch.present)))

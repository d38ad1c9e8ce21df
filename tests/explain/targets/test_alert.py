"""Scores of nights as the watch makes them, and parts that are the Shapley values."""

from itertools import product

import numpy as np
import pytest
import torch

from hdt_fm.explain.targets.alert import AlertTarget, UsualNight
from hdt_fm.explain.targets.routes import shapley
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.errors import ExplainError
from hdt_fm.twin.alert.score import along, anywhere, correlation, parts_along, parts_anywhere
from hdt_fm.twin.alert.settings import AlertSettings
from hdt_fm.twin.alert.watcher import Watcher

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


def batch_of(values: np.ndarray) -> Batch:
    """A night a row; NaN was not measured."""
    signals = {
        name: Signal(
            torch.from_numpy(np.nan_to_num(values[:, [place]]))[:, None],
            torch.from_numpy(np.isfinite(values[:, [place]])),
            DAY_HZ,
        )
        for place, name in enumerate(NAMES[: values.shape[1]])
    }
    rows = torch.arange(len(values))
    return Batch(tuple(signals), signals, torch.from_numpy(np.isfinite(values)), rows, rows.double(), rows)


def nights() -> tuple[np.ndarray, Batch]:
    """Six nights; one is far off, and of some an indicator was not measured."""
    values = np.array([58.0, 45.0, 15.0, 34.0]) + np.random.default_rng(1).normal(0, [3, 9, 0.8, 0.5], (6, 4))
    values[2] = [90.0, 5.0, 25.0, 38.0]
    values[3, 1] = values[4, 0] = values[4, 3] = np.nan
    return values, batch_of(values)


def test_where_a_direction_is_known_the_score_is_the_watchs() -> None:
    values, batch = nights()
    of = usual()
    surprise = (values - of.expected) / of.chance
    shift, between = np.tile(of.shift, (6, 1)), np.tile(of.between, (6, 1, 1))
    want = along(surprise, shift, between, np.full(6, of.nights))
    got = AlertTarget(of)(batch)[:, 0].numpy()
    assert np.ptp(want) > 2
    np.testing.assert_allclose(got, want, atol=1e-12)


def test_where_either_way_counts_and_of_one_indicator() -> None:
    values, batch = nights()
    of = usual(directed=False)
    got = AlertTarget(of)(batch)[:, 0].numpy()
    np.testing.assert_allclose(got, anywhere((values - of.expected) / of.chance), atol=1e-12)
    one = usual(count=1)
    rows = torch.tensor([0, 1, 2, 3, 5])
    alone = AlertTarget(one)(batch.select(rows))[:, 0].numpy()
    np.testing.assert_allclose(alone, (values[rows.numpy(), 0] - 58.0) / 2.0, atol=1e-12)


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


def parts_of(target: AlertTarget, batch: Batch) -> np.ndarray:
    return np.stack(list(target.parts(batch).values()), axis=1)


def test_parts_are_those_that_the_twin_tells() -> None:
    values, batch = nights()
    of = usual()
    surprise = (values - of.expected) / of.chance
    twin = parts_along(surprise, np.tile(of.shift, (6, 1)), np.tile(of.between, (6, 1, 1)), np.full(6, of.nights))
    np.testing.assert_allclose(parts_of(AlertTarget(of), batch), np.nan_to_num(twin), rtol=0, atol=1e-12)
    # Of squares the twin takes off what chance makes, for a whole score; against a night just as expected it cancels.
    known = np.isfinite(surprise)
    by_chance = known / np.sqrt(2 * known.sum(axis=1, keepdims=True))
    either = parts_of(AlertTarget(usual(directed=False)), batch) - by_chance
    np.testing.assert_allclose(either, np.nan_to_num(parts_anywhere(surprise)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("effect", [[5.0, -8.0, 1.0, 0.5], [0.0, 0.0, 0.0, 0.0], [5.0]])
def test_parts_of_a_night_of_a_real_watch(effect: list[float]) -> None:
    """What was usual on one night is read off the watch, and the target told of it."""
    count, draws = len(effect), np.random.default_rng(3)
    night = np.array([58.0, 45.0, 15.0, 34.0])[:count] + draws.normal(0, [3, 9, 0.8, 0.5][:count], (45, 1, count))
    night[-1] += np.array([6.0, -10.0, 2.0, 0.1])[:count]
    watcher, weekday, same = Watcher(1, np.array(effect), AlertSettings()), np.array([0]), np.array([False])
    for values in night[:-1]:
        watcher.step(values, weekday, same)
    # Surprise is a straight line of tonight's value.
    zero, one = (watcher._against_usual(np.full((1, count), at), weekday) for at in (0.0, 1.0))
    slope, before = one.surprise - zero.surprise, watcher._surprise[:, -watcher._filled :]
    of = UsualNight(
        names=NAMES[:count],
        expected=(-zero.surprise / slope)[0],
        chance=(1 / slope)[0],
        shift=np.array(effect) / zero.spread[0],
        between=correlation(before)[0],
        nights=float(np.isfinite(before).any(axis=2).sum()),
    )
    target, batch, told = AlertTarget(of), batch_of(night[-1]), watcher.step(night[-1], weekday, same)
    assert told.heard.all()
    assert np.ptp(np.append(told.parts, 0.0)) > 0.3
    by_chance = 0.0 if any(effect) else 1 / np.sqrt(2 * count)
    np.testing.assert_allclose(parts_of(target, batch) - by_chance, told.parts, rtol=0, atol=1e-12)
    assert target(batch)[0, 0].item() == pytest.approx(told.parts.sum(), abs=1e-12)


def test_what_was_not_measured_has_no_part() -> None:
    _, batch = nights()
    parts = AlertTarget(usual()).parts(batch)
    assert parts["hrv"][3] == parts["resting_heart_rate"][4] == parts["skin_temperature"][4] == 0
    with pytest.raises(ExplainError, match="no indicator that is watched"):
        AlertTarget(usual()).parts(batch.without(torch.zeros_like(batch.present)))

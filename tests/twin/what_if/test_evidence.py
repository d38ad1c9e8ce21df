"""The share of the law's effect in a record: other implementations, known worlds, and how often its interval holds."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import fractional_matrix_power
from scipy.stats import t as student

from hdt_fm.schema.what_if import Evidence
from hdt_fm.twin.what_if.evidence import half_width, headline, own_share, slopes, table_of


def world(seed: int, *, true: float = 1.0, days: int = 14, noise: float = 25.0) -> Evidence:
    """2 to 5 doses with meals a day; doses go with glucose; days have an error of their own; minutes 60 and 120."""
    generator = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), generator.integers(2, 6, size=days))
    moment = generator.normal(size=(len(day), 5))
    carbs = 55 * np.exp(0.4 * generator.normal(size=len(day)))
    bolus = -carbs * np.exp(0.3 * generator.normal(size=len(day))) - 15 * moment[:, 0]
    effect = np.stack([bolus, carbs], axis=1)
    of_day = 20 * generator.normal(size=days)[day]
    beyond = true * effect.sum(1) + 12 * moment[:, 0] - 6 * moment[:, 1] + of_day
    beyond = beyond + noise * generator.normal(size=len(day))
    half = beyond / 2 + generator.normal(size=len(day))
    return Evidence(
        beyond=np.stack([half, beyond], axis=1),
        effect=np.stack([effect / 2, effect], axis=2),
        moment=moment,
        day=day,
        minutes=(60, 120),
    )


def plain(evidence: Evidence, asked: np.ndarray) -> np.ndarray:
    columns = np.concatenate([asked, np.ones((len(asked), 1)), evidence.moment], axis=1)
    return np.linalg.lstsq(columns, evidence.beyond[:, 1], rcond=None)[0][: asked.shape[1]]


def test_slopes_are_those_of_one_regression_on_everything():
    some = world(0)
    total = some.effect[:, :, 1].sum(axis=1, keepdims=True)
    assert own_share(some).share == pytest.approx(plain(some, total)[0])
    table = table_of(some)
    assert slopes(table, table.effect).slope.tolist() == pytest.approx(plain(some, some.effect[:, :, 1]))


def test_errors_are_those_of_the_whole_regression_with_each_day_set_back():
    """CR2 as written for all columns at once, with matrix roots; and HC2 where every day is one action."""
    for some in (world(1), replace(world(2), day=np.arange(len(world(2).day)))):
        table = table_of(some)
        columns = np.concatenate([table.effect, table.moment], axis=1)
        inverse = np.linalg.inv(columns.T @ columns)
        hat = columns @ inverse @ columns.T
        missed = table.beyond - hat @ table.beyond
        middle = np.zeros_like(inverse)
        for day in np.unique(table.day):
            rows = table.day == day
            back = fractional_matrix_power(np.eye(rows.sum()) - hat[np.ix_(rows, rows)], -0.5).real
            pull = columns[rows].T @ back @ missed[rows]
            middle += np.outer(pull, pull)
        wanted = np.sqrt(np.diagonal(inverse @ middle @ inverse)[:2])
        found = slopes(table, table.effect)
        assert found.error == pytest.approx(wanted)
        freedom = len(missed) - columns.shape[1]
        assert found.freedom == freedom
        assert found.plain_error == pytest.approx(np.sqrt(np.diagonal(inverse)[:2] * (missed @ missed) / freedom))
        assert half_width(found) == pytest.approx(student.ppf(0.95, table.days - 1) * wanted)


def test_a_record_without_noise_says_the_share_exactly():
    some = world(3)
    beyond = 0.5 * some.effect.sum(axis=1) + np.array([0, 1]) * (7 - 4 * some.moment[:, [2]])
    found = own_share(replace(some, beyond=beyond))
    assert (found.share, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    beyond[:, 1] += 0.4 * some.effect[:, 1, 1]
    table = table_of(replace(some, beyond=beyond))
    assert slopes(table, table.effect).slope.tolist() == pytest.approx([0.5, 0.9])


def test_units_and_order_do_not_matter_and_what_never_varies_is_nothing():
    some = world(4)
    mixed = np.random.default_rng(0).permutation(len(some.day))
    scaled = some.moment * [1, 1e3, 1e-6, 1, 1] + [0, 0, 5, 0, 0]
    moment = np.concatenate([scaled, np.full((len(mixed), 1), 7.0)], axis=1)
    other = Evidence(
        beyond=some.beyond[mixed],
        effect=some.effect[mixed],
        moment=moment[mixed],
        day=900 - some.day[mixed],
        minutes=some.minutes,
    )
    one, two = own_share(some), own_share(other)
    assert (one.share, one.error, one.actions, one.days) == pytest.approx((two.share, two.error, two.actions, two.days))


def test_unknown_features_stand_at_the_mean_with_a_flag_and_unknown_outcomes_are_left_out():
    some = world(5)
    moment, beyond = some.moment.copy(), some.beyond.copy()
    moment[::4, 1], beyond[:3] = np.nan, np.nan
    gaps = replace(some, moment=moment, beyond=beyond)
    filled = np.where(np.isnan(moment), np.nanmean(moment[3:], axis=0), moment)
    by_hand = np.concatenate([filled, np.isnan(moment[:, [1]])], axis=1)
    whole = own_share(replace(some, moment=by_hand, beyond=beyond))
    assert own_share(gaps).actions == len(some.day) - 3
    assert own_share(gaps).share == pytest.approx(whole.share)
    effect = some.effect.copy()
    effect[5, 0] = np.nan
    assert own_share(replace(gaps, effect=effect)).actions == len(some.day) - 4
    assert np.isfinite(own_share(replace(gaps, effect=effect)).share)
    nothing = replace(some, moment=np.full_like(moment, np.nan))
    assert own_share(nothing).share == pytest.approx(own_share(replace(some, moment=moment[:, :0])).share)


@pytest.mark.parametrize(("actions", "days"), [(9, 9), (40, 3), (11, 6), (0, 1)])
def test_a_short_record_says_nothing(actions, days):
    """Under ten actions, under four days, or hardly more actions than numbers to fit."""
    some = world(6, days=40)
    rows = np.arange(actions)
    cut = Evidence(
        beyond=some.beyond[rows],
        effect=some.effect[rows],
        moment=some.moment[rows],
        day=rows * days // max(actions, 1),
        minutes=some.minutes,
    )
    found = own_share(cut)
    assert np.isnan([found.share, found.low, found.high, found.error]).all()
    assert found.actions == actions


def test_treatments_that_always_go_together_cannot_be_told_apart():
    some = world(7)
    effect = some.effect.copy()
    effect[:, 0] = -0.8 * effect[:, 1]
    same = replace(some, effect=effect)
    assert np.isnan(slopes(table_of(same), table_of(same).effect).slope).all()
    assert np.isfinite(own_share(same).share)
    told = replace(some, effect=np.repeat(some.moment[:, :1, None], 2, axis=1).repeat(2, axis=2))
    assert np.isnan(own_share(told).share)


def test_the_minute_is_the_nearest_there_is():
    assert headline((30, 60, 240)) == 60
    assert headline((60, 180)) == 60
    assert headline((15, 120, 240), 200) == 240
    some = world(8)
    assert own_share(some).minute == 120
    assert own_share(some, minute=45).minute == 60
    assert own_share(some, minute=45).share != own_share(some).share


@pytest.mark.parametrize("true", [1.0, 0.5, 0.0])
def test_the_true_share_is_found_and_nine_in_ten_intervals_hold_it(true):
    """400 people each; a law that is right, one that says twice too much, and one of something that does nothing."""
    found = [own_share(world(seed, true=true)) for seed in range(400)]
    assert np.mean([one.share for one in found]) == pytest.approx(true, abs=0.02)
    held = np.mean([one.low <= true <= one.high for one in found])
    assert 0.86 <= held <= 0.94


def test_few_days_widen_the_interval_and_it_still_holds():
    few, many = ([own_share(world(seed, days=days)) for seed in range(400)] for days in (6, 28))
    assert 0.86 <= np.mean([one.low <= 1 <= one.high for one in few]) <= 0.94
    assert 0.86 <= np.mean([one.low <= 1 <= one.high for one in many]) <= 0.94
    assert np.median([one.high - one.low for one in few]) > 2 * np.median([one.high - one.low for one in many])

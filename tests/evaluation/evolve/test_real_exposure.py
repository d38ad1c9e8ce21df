"""Exposure and the next day: doses by their formula, ridge by a solver, and worlds of which the answer is known."""

import importlib.util
from dataclasses import dataclass

import numpy as np
import pytest

from hdt_fm.evaluation.evolve import exposure_power, exposure_ridge
from hdt_fm.evaluation.evolve.exposure_doses import (
    LEAST_MASS,
    PLACEBOS,
    SPANS_DAYS,
    DailyRecords,
    backwards,
    leaky_and_windowed,
    moved,
)
from hdt_fm.evaluation.evolve.exposure_power import power, share_interval
from hdt_fm.evaluation.evolve.exposure_ridge import STRENGTHS, DoseRidge, within
from hdt_fm.evaluation.evolve.exposure_rows import Asked, Protocol, asked_rows, calendar_at, doses_at, outcome_at
from hdt_fm.evaluation.evolve.real_exposure import (
    AFTER_AS_WELL,
    BASELINES,
    FOUND,
    METRIC,
    NOT_ASKED,
    NOTHING,
    TOO_LITTLE,
    Tried,
    family_best,
    family_p,
    p_value,
    real_exposure,
)
from hdt_fm.report.tables import markdown
from hdt_fm.schema.errors import ShapeError

PEOPLE, DAYS = 24, 70
QUICK = Protocol(draws=59, folds=4)


def records(exposure, outcome, *, people=PEOPLE):
    return DailyRecords(
        group=np.arange(people),
        first_day=18_000 + 11 * np.arange(people),
        exposures={"light": exposure},
        outcomes={"pulse": outcome},
    )


def slow(rng, *shape, keep=0.8):
    """Noise that remembers: each day `keep` of the day before; spread 1."""
    out = rng.normal(size=shape)
    for day in range(1, shape[-1]):
        out[..., day] = keep * out[..., day - 1] + np.sqrt(1 - keep**2) * out[..., day]
    return out


def with_gaps(rng, values, share=0.25):
    return np.where(rng.uniform(size=values.shape) < share, np.nan, values)


def only_row(result):
    (row,) = [row for row in result.rows if row.role == "ours"]
    return row


# Doses and placebos.


def test_doses_are_their_formula_over_gaps():
    rng = np.random.default_rng(0)
    values = with_gaps(rng, rng.normal(size=(2, 45)), share=0.6)
    doses = leaky_and_windowed(values)
    assert doses.shape == (2, 45, 1 + 2 * len(SPANS_DAYS))
    assert np.array_equal(doses[..., 0], values, equal_nan=True)
    unknown = 0
    for person, day in np.ndindex(2, 45):
        known = [at for at in range(day + 1) if not np.isnan(values[person, at])]
        for place, span in enumerate(SPANS_DAYS):
            weights = np.array([np.exp(-(day - at) / span) for at in known])
            leaky, window = doses[person, day, 1 + place], doses[person, day, 5 + place]
            if weights.sum() >= LEAST_MASS:
                assert leaky == pytest.approx((weights * values[person, known]).sum() / weights.sum())
            else:
                unknown += 1
                assert np.isnan(leaky)
            last = [values[person, at] for at in known if at > day - span]
            assert window == pytest.approx(np.mean(last) if last else np.nan, nan_ok=True)
    assert unknown > 3


def test_backwards_is_the_same_of_the_days_after():
    values = np.random.default_rng(1).normal(size=(3, 20))
    after = backwards(leaky_and_windowed)(values)
    assert after[:, 7] == pytest.approx(leaky_and_windowed(values[:, 7:][:, ::-1])[:, -1])


@pytest.mark.parametrize("kind", PLACEBOS)
def test_placebos_keep_gaps_and_take_values_from_where_they_say(kind):
    rng = np.random.default_rng(2)
    values = with_gaps(rng, 1000 * np.arange(4.0)[:, None] + np.arange(30.0))
    values[3] = np.nan
    group = np.array([0, 0, 1, 2])
    found = moved(values, kind=kind, group=group, draws=40, rng=rng)
    assert np.array_equal(np.isnan(found), np.broadcast_to(np.isnan(values), found.shape))
    for person in range(3):
        here = ~np.isnan(values[person])
        own, drawn = values[person, here], found[:, person, here]
        whose = np.unique(drawn // 1000)
        if kind == "moved in time":
            assert whose.tolist() == [person]
            assert np.array_equal(np.sort(drawn, axis=1), np.broadcast_to(np.sort(own), drawn.shape))
            assert (drawn != own).all()
            # Neighbours stay neighbours but for one seam.
            assert ((np.diff(drawn, axis=1) > 0).sum(axis=1) == here.sum() - 2).all()
        else:
            assert set(whose) == ({2} if person < 2 else {0, 1})


def test_the_calendar_knows_weekdays_and_the_year():
    empty = np.full((1, 800), np.nan)
    calendar = DailyRecords(np.array([0]), np.array([3]), {"a": empty}, {"b": empty}).calendar()[0]
    # 1970-01-04 was a Sunday, which has no column of its own.
    assert calendar[:, 3:][[0, 7]].any() == 0
    assert calendar[1:7, 3:] == pytest.approx(np.eye(6))
    assert calendar[8 : 8 + 365, :2] == pytest.approx(calendar[8 + 365 : 8 + 730, :2], abs=0.01)
    assert calendar[730, 2] - calendar[0, 2] == pytest.approx(730 / 365.25)


@dataclass
class OnePerson:
    group: str
    first_day: int
    exposures: dict
    outcomes: dict


def test_people_of_other_lengths_are_padded_with_the_unknown():
    people = [
        OnePerson("b", 5, {"e": np.ones(2)}, {"o": np.ones(2)}),
        OnePerson("a", 9, {"e": np.ones(3)}, {"o": np.ones(3)}),
    ]
    found = DailyRecords.of(people)
    assert found.group.tolist() == [1, 0]
    assert np.isnan(found.exposures["e"]).tolist() == [[False, False, True], [False] * 3]
    with pytest.raises(ShapeError, match="a group a person"):
        DailyRecords(np.array([0]), np.array([0]), {"e": np.ones((2, 3))}, {"o": np.ones((2, 3))})
    with pytest.raises(ShapeError, match="one exposure and one outcome"):
        DailyRecords.of([])


# The ridge.


def test_person_means_are_of_what_is_known():
    values = np.array([[1.0, 5.0], [3.0, np.nan], [10.0, 7.0]])
    assert within(values, np.array([4, 4, 9])).tolist() == [[-1, 0], [1, 0], [0, 0]]


def joint_gains(base, doses, outcome, train, test):
    """Squares that doses explain beyond the base in test rows, each strength by one linear system of all columns."""
    alone = outcome[test] - base[test] @ np.linalg.lstsq(base[train], outcome[train], rcond=None)[0]
    rest = doses[train] - base[train] @ np.linalg.lstsq(base[train], doses[train], rcond=None)[0]
    gains = []
    for strength in STRENGTHS:
        if np.isinf(strength):
            gains.append(0.0)
            continue
        both = np.concatenate([base, doses], axis=1)
        penalty = np.diag([*np.zeros(base.shape[1]), *strength * (rest**2).sum(axis=0)])
        slopes = np.linalg.solve(both[train].T @ both[train] + penalty, both[train].T @ outcome[train])
        gains.append((alone**2).sum() - ((outcome[test] - both[test] @ slopes) ** 2).sum())
    return np.array(gains)


def test_closed_form_is_nested_cross_validation_by_rows(monkeypatch):
    monkeypatch.setattr(exposure_ridge, "_BASE_RIDGE", 0.0)
    rng = np.random.default_rng(3)
    rows, fold = 240, np.repeat(np.arange(3), 80)
    base, doses = rng.normal(size=(rows, 3)), rng.normal(size=(5, rows, 4))
    doses[:, :, 3] = doses[:, :, 2] + 0.1 * rng.normal(size=(5, rows))
    outcome = np.stack([0.5 * doses[0, :, 2] + base[:, 0] + rng.normal(size=rows), rng.normal(size=rows)], axis=1)
    found = DoseRidge(base, doses, fold).explained(outcome)
    for draw, case in np.ndindex(5, 2):
        gained = 0.0
        for one in range(3):
            inner = sum(
                joint_gains(base, doses[draw], outcome[:, case], (fold != one) & (fold != two), fold == two)
                for two in range(3)
                if two != one
            )
            gained += joint_gains(base, doses[draw], outcome[:, case], fold != one, fold == one)[inner.argmax()]
        assert found[draw, case] == pytest.approx(gained / (outcome[:, case] ** 2).sum(), abs=1e-10)
    alone, both = DoseRidge(base, doses, fold).fitted(outcome[:, 0])
    beyond = ((outcome[:, 0] - alone) ** 2).sum() - ((outcome[:, 0] - both) ** 2).sum()
    assert beyond / (outcome[:, 0] ** 2).sum() == pytest.approx(found[0, 0])
    assert found[0, 0] > 0.05


# Worlds whose answer is known.


def test_a_real_effect_of_the_week_is_found():
    rng = np.random.default_rng(4)
    exposure = with_gaps(rng, slow(rng, PEOPLE, DAYS))
    dose = within(leaky_and_windowed(exposure)[..., 2].T, np.zeros(DAYS, dtype=np.int64)).T
    outcome = rng.normal(size=(PEOPLE, DAYS)) + 5 * np.arange(PEOPLE)[:, None]
    outcome[:, 1:] += 1.2 * dose[:, :-1]
    result, _ = real_exposure("simulated", records(exposure, outcome), QUICK)
    row = only_row(result)
    assert row.columns["verdict"] == FOUND
    assert row.low > 5
    season = result.find("season only", METRIC)
    assert season.high < row.low
    assert set(BASELINES) <= {one.model for one in result.rows}
    assert FOUND in markdown(result)


def test_season_in_both_is_no_effect(monkeypatch):
    rng = np.random.default_rng(5)
    date = 18_000 + 11 * np.arange(PEOPLE)[:, None] + np.arange(DAYS)
    season = np.sin(2 * np.pi * date / 365.25 + 1)
    exposure = 3 * season + slow(rng, PEOPLE, DAYS, keep=0.5)
    outcome = 2 * season + rng.normal(size=(PEOPLE, DAYS))
    both = records(exposure, outcome)
    result, tried = real_exposure("simulated", both, QUICK)
    assert only_row(result).columns["verdict"] == NOTHING
    assert result.find("season only", METRIC).low > 3
    # Without the calendar the exposure would have had the credit.
    monkeypatch.setattr(DailyRecords, "calendar", lambda self: 1e-6 * rng.normal(size=(PEOPLE, DAYS, 1)))
    _, blind = real_exposure("simulated", both, QUICK)
    assert blind[0].gains[PLACEBOS[0]][0] > 10 * abs(tried[0].gains[PLACEBOS[0]][0])
    assert blind[0].gains[PLACEBOS[0]][0] > 0.02


def test_an_outcome_that_makes_the_exposure_is_no_effect_either():
    """Light that follows a slow pulse goes with the next day's pulse, and with that of days before as well."""
    rng = np.random.default_rng(6)
    outcome = slow(rng, PEOPLE, DAYS, keep=0.9)
    exposure = outcome + 0.5 * rng.normal(size=(PEOPLE, DAYS))
    row = only_row(real_exposure("simulated", records(exposure, outcome), QUICK)[0])
    assert row.columns["p_in_table"] < 0.05
    assert row.columns["p_days_after"] < 0.05
    assert row.columns["verdict"] == AFTER_AS_WELL


def test_nothing_is_claimed_where_the_days_after_cannot_be_asked():
    """Known every third day, an exposure never has the day after the outcome's."""
    rng = np.random.default_rng(13)
    exposure = slow(rng, PEOPLE, DAYS)
    outcome = rng.normal(size=(PEOPLE, DAYS))
    outcome[:, 1:] += exposure[:, :-1]
    exposure[:, np.arange(DAYS) % 3 > 0] = np.nan
    row = only_row(real_exposure("simulated", records(exposure, outcome), QUICK)[0])
    assert row.columns["p_in_table"] < 0.05
    assert row.columns["p_days_after"] is None
    assert row.columns["verdict"] == NOT_ASKED


def test_one_person_and_few_days_are_too_little_record():
    rng = np.random.default_rng(7)
    for people, days in ((1, 200), (12, 8)):
        result, tried = real_exposure("few", records(*rng.normal(size=(2, people, days)), people=people), QUICK)
        row = only_row(result)
        assert row.columns["verdict"] == TOO_LITTLE
        assert np.isnan(row.value)
        assert tried == []
        assert TOO_LITTLE in markdown(result)


def test_rows_ask_for_the_day_and_the_next_of_people_with_enough():
    exposure, outcome = np.full((2, 6), np.nan), np.full((2, 6), np.nan)
    exposure[:, [0, 1, 2, 5]], outcome[0, [1, 2, 3]], outcome[1, [1, 2]] = 1, 7, 7
    asked = asked_rows(records(exposure, outcome, people=2), "light", "pulse", QUICK)
    assert (asked.person.tolist(), asked.day.tolist()) == ([0, 0, 0], [0, 1, 2])


def test_the_best_of_a_table_by_placebo_is_what_must_be_beaten():
    """Gains on two scales, as distances from placebos: (2, -1, 0, -1) and (0, 3, -1, -2) over their spread."""
    one, two = np.array([5.0, 2.0, 3.0, 2.0]), 1e-3 * np.array([2.0, 5.0, 1.0, 0.0])
    nothing = Asked("", "", *np.zeros((3, 1), dtype=np.int64))
    tried = [Tried(nothing, {PLACEBOS[0]: gains}, None, (0.0, None, None), (0.0, None, None)) for gains in (one, two)]
    distances = np.stack([[2, -1, 0, -1], [0, 3, -1, -2]]) / np.sqrt([[1.5], [3.5]])
    best = family_best(tried, PLACEBOS[0])
    assert best == pytest.approx(distances.max(axis=0)[1:])
    # best is 1.60, 0, -0.53: the first outcome, at 1.63, beats it; the second, at 0, does not in two worlds of three.
    assert (p_value(one), family_p(one, best)) == (0.25, 0.25)
    assert (p_value(two), family_p(two, best)) == (0.5, 0.75)


@pytest.mark.parametrize("keep", [0.0, 0.9])
def test_noise_of_another_making_than_the_placebo_is_seldom_found(keep):
    rng = np.random.default_rng(8)
    exposure = with_gaps(rng, slow(rng, PEOPLE, DAYS))
    one = records(exposure, np.zeros((PEOPLE, DAYS)))
    asked = asked_rows(one, "light", "pulse", QUICK)
    noise = slow(rng, 300, PEOPLE, DAYS, keep=keep)[:, asked.person, asked.day + 1].T
    found = np.zeros((2, 300))
    for place, kind in enumerate(PLACEBOS):
        (doses,) = doses_at(one, [asked], kind, QUICK)
        gains = DoseRidge(calendar_at(one, asked), doses, asked.fold(QUICK)).explained(within(noise, asked.person))
        found[place] = (gains >= gains[0]).mean(axis=0)
    # 5 % by itself; 300 trials leave 2.5 to 7.5 in 95 of 100 runs.
    assert (found < 0.05).mean(axis=1).max() < 0.085
    assert (found.max(axis=0) < 0.05).mean() < 0.07


def test_rows_are_the_day_the_next_and_the_one_after_it():
    """With an accumulator handed in that keeps the day alone, every number is one day's, less the person's mean."""
    rng = np.random.default_rng(9)
    one = records(*rng.normal(size=(2, PEOPLE, DAYS)))
    plain = Protocol(draws=3, folds=4, accumulate=lambda values: values[..., None])
    whole = asked_rows(one, "light", "pulse", plain)
    keep = whole.day + 2 < DAYS
    asked = Asked("light", "pulse", whole.person[keep], whole.day[keep], whole.group[keep])

    def centred(table):
        return (table - table.mean(axis=1, keepdims=True)).reshape(PEOPLE * (DAYS - 2), -1)

    (doses,), (after,) = (doses_at(one, [asked], "moved in time", plain, after=after) for after in (False, True))
    assert doses.shape == (4, PEOPLE * (DAYS - 2), 1)
    assert doses[0] == pytest.approx(centred(one.exposures["light"][:, :-2]))
    assert after[0] == pytest.approx(centred(one.exposures["light"][:, 2:]))
    assert outcome_at(one, asked) == pytest.approx(centred(one.outcomes["pulse"][:, 1:-1]))
    assert calendar_at(one, asked) == pytest.approx(centred(one.calendar()[:, 1:-1]))


# Power.


def test_power_grows_with_the_effect_and_is_the_level_without():
    rng = np.random.default_rng(10)
    exposure, outcome = with_gaps(rng, slow(rng, PEOPLE, DAYS)), with_gaps(rng, slow(rng, PEOPLE, DAYS, keep=0.5))
    one = records(exposure, outcome)
    _, tried = real_exposure("simulated", one, QUICK)
    found = power(one, "light", "pulse", tried, QUICK, repeats=60, sizes_sd=(0.0, 0.5))
    assert found.alone[0.0].mean() < 0.15
    assert found.in_table[0.0].mean() < 0.15
    assert found.alone[0.5].mean() > 0.9
    rows = found.rows("put in")
    assert [(row.model, row.metric) for row in rows][:2] == [
        ("effect 0 SD", "found by itself"),
        ("effect 0.5 SD", "found by itself"),
    ]
    assert all(row.low <= row.value <= row.high and row.n == PEOPLE for row in rows)


def test_both_placebos_must_be_beaten(monkeypatch):
    rng = np.random.default_rng(12)
    one = records(*rng.normal(size=(2, PEOPLE, DAYS)))
    _, tried = real_exposure("simulated", one, QUICK)
    answers = iter([(np.array([0.01, 0.01]), np.array([0.01, 0.2])), (np.array([0.01, 0.2]), np.array([0.01, 0.01]))])
    monkeypatch.setattr(exposure_power, "_p_values", lambda gains, best: next(answers))
    found = power(one, "light", "pulse", tried, QUICK, repeats=2, sizes_sd=(0.3,))
    assert found.alone[0.3].tolist() == [True, False]
    assert found.in_table[0.3].tolist() == [True, False]


def test_the_interval_of_a_share_is_wilsons():
    assert share_interval(0, 200) == pytest.approx((0, 0.01885), abs=1e-4)
    assert share_interval(10, 20) == pytest.approx((0.2993, 0.7007), abs=1e-4)


def test_the_script_joins_its_tables(repo, monkeypatch, tmp_path):
    path = repo / "scripts" / "evolve_world.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    rng = np.random.default_rng(11)

    def people(count):
        days = ({"light": rng.normal(size=40)}, {"pulse": rng.normal(size=40)})
        return iter([OnePerson(f"p{number}", 18_000, *days) for number in range(count)])

    monkeypatch.setenv("HDT_FM_REAL_DATA", str(tmp_path))
    with pytest.raises(script.ConfigError, match="None of the sets is there"):
        script.table(quick=True, seeds=1, progress=lambda *_: None)
    (tmp_path / "a").mkdir()
    sets = {"A": ("a", lambda _: people(24), ("light", "pulse")), "B": ("a", lambda _: people(2), None)}
    monkeypatch.setattr(script, "SETS", sets)
    result = script.table(quick=True, seeds=1, progress=lambda *_: None)
    verdicts = [row.columns["verdict"] for row in result.rows if row.role == "ours"]
    assert len(verdicts) == 2
    assert verdicts[1] == TOO_LITTLE
    assert {row.columns["repeats"] for row in result.rows if "repeats" in row.columns} == {script.QUICK_REPEATS}
    monkeypatch.delenv("HDT_FM_REAL_DATA")
    with pytest.raises(script.ConfigError, match="set HDT_FM_REAL_DATA"):
        script.table(quick=True, seeds=1, progress=lambda *_: None)

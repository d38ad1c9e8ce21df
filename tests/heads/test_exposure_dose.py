"""The dose head against scipy's optimiser, refits without a person, true numbers, and its own pieces."""

import json
from dataclasses import replace
from inspect import unwrap

import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.signal import lfilter

from hdt_fm.heads.exposure_dose import DoseState, ExposureDose, Followed, first_that_fits
from hdt_fm.layers.dose_fit import Start, chance_of_none, refine
from hdt_fm.layers.dose_law import DoseLaw
from hdt_fm.layers.dose_learn import doses_at, rows_that_count, unseen_sd
from hdt_fm.layers.within_people import WithinPeople, calendar
from hdt_fm.schema.errors import CheckpointError, ConfigError, ShapeError
from hdt_fm.simulation import exposures as simulation
from hdt_fm.simulation.exposures import ExposedPeople, exposed_people


def followed(some: ExposedPeople) -> Followed:
    return Followed(some.exposures, some.outcome, some.day)


@pytest.fixture(scope="module")
def single() -> ExposedPeople:
    return exposed_people("single", seed=2, people=30)


@pytest.fixture(scope="module")
def head(single: ExposedPeople) -> ExposureDose:
    made = ExposureDose(exposures=single.names)
    made.learn(followed(single))
    return made


def test_it_finds_the_true_numbers_and_says_how_sure_it_is(head):
    for name, true in (
        ("time constant of pm2_5", 21.0),
        ("knot of pm2_5", 19.0),
        ("pm2_5 above the knot", 0.15),
    ):
        number = head.numbers()[name]
        assert number.low < true < number.high, name
        assert number.high - number.low < 0.6 * true, name
    assert len(head.numbers()) == head.law.numbers == 3
    assert head.chance["pm2_5"] < 0.01
    assert head.misfit > 0.05


def test_it_is_the_least_squares_that_scipy_finds(single):
    """Doses by scipy's filter; person means and calendar as dummies."""
    rows = np.zeros((30, 400), dtype=np.bool_)
    rows[:, 60:] = True
    within, outcome = WithinPeople(np.nonzero(rows)[0], single.day[rows]), single.outcome[rows]
    limits = np.array([0.0, 0.0]), np.array([5.0, 60.0])
    start = Start(np.log([12.0]), np.array([15.0]), *limits)
    law = DoseLaw(("pm2_5",), ("hinge",))
    found = refine(law, within, outcome, lambda taus: doses_at(single.exposures, taus, rows), start)
    dummies = np.concatenate([np.kron(np.eye(30), np.ones((340, 1))), calendar(single.day[rows])], axis=1)
    basis = np.linalg.qr(dummies)[0]
    target = outcome - basis @ (basis.T @ outcome)

    def left(point: np.ndarray) -> np.ndarray:
        keep = np.exp(-1 / np.exp(point[0]))
        above, below = (
            lfilter([1 - keep], [1, -keep], some, axis=1) for some in (single.exposures[:, 0], np.ones((30, 400)))
        )
        column = np.maximum(above / below - 10 * point[1], 0.0)[rows]
        column = column - basis @ (basis.T @ column)
        return target - column * (column @ target) / (column @ column)

    best = least_squares(left, [np.log(15.0), 1.5], xtol=1e-12, ftol=1e-12)
    assert found.noise == pytest.approx(best.fun.std(), rel=1e-6)
    # Each dose that crosses the knot bends the sum of squares: its bottom is flat and has ripples.
    assert found.log_tau[0] == pytest.approx(best.x[0], abs=5e-3)
    assert found.knots[0] == pytest.approx(10 * best.x[1], rel=5e-3)


def test_taking_out_means_and_calendar_is_regression_on_dummies():
    rng = np.random.default_rng(0)
    person, day = np.repeat(np.arange(4), [30, 50, 41, 25]), rng.uniform(0, 900, 146)
    columns = rng.normal(size=(146, 3)) + person[:, None]
    dummies = np.eye(4)[person]
    for season, terms in (
        ("none", dummies),
        ("shared", np.concatenate([dummies, calendar(day)], axis=1)),
        ("own", np.concatenate([dummies, *(calendar(day) * dummies[:, [one]] for one in range(4))], axis=1)),
    ):
        found = WithinPeople(person, day, season=season).left(columns)
        assert found == pytest.approx(columns - terms @ np.linalg.lstsq(terms, columns, rcond=None)[0], abs=1e-9)
    with pytest.raises(ShapeError, match="person together"):
        WithinPeople(np.array([0, 1, 0]), np.arange(3.0))


def test_days_of_burn_in_and_long_gaps_do_not_teach():
    """1 - exp(-n / tau) reaches .9 on day 7 for a time constant of 3, and takes a third of the recording at most."""
    exposures, outcome = np.zeros((5, 1, 60)), np.zeros((5, 60))
    exposures[1, 0, :10], exposures[2, 0, 30:45], outcome[3, 50] = np.nan, np.nan, np.nan
    rows = rows_that_count(exposures, outcome, np.array([[3.0]]), 0.2)
    assert [int(row.argmax()) for row in rows] == [6, 16, 6, 6, 6]
    # After 30 days the mass is 1, and after 4 and 5 days of a gap exp(-4 / 3) = .26 and exp(-5 / 3) = .19.
    assert np.flatnonzero(~rows[2, 6:]).tolist() == list(range(34 - 6, 45 - 6))
    assert not rows[3, 50]
    assert int(rows_that_count(exposures, outcome, np.array([[500.0]]), 0.02)[0].argmax()) == 19


def test_what_is_unseen_misses_alike_whether_other_days_are_missing_or_not(single):
    """Else days that are missing anyway would be counted as hidden, and intervals be too wide."""
    some = single.exposures[:, 0]
    gone = np.where(np.random.default_rng(0).random(some.shape) < 0.4, np.nan, some)
    assert unseen_sd(gone, 21.0) == pytest.approx(unseen_sd(some, 21.0), rel=0.1)


def test_by_chance_is_said_as_often_as_it_should_be():
    """Slow noise, no effect, many candidates: five in a hundred are called telling, not one in two."""
    rng = np.random.default_rng(2)
    person, found = np.repeat(np.arange(16), 120), []
    within = WithinPeople(person, np.tile(np.arange(120.0), 16), season="none")
    for _ in range(100):
        noise, exposure = lfilter([1], [1, -0.95], rng.normal(size=(2, 16, 120)), axis=2)
        columns = [lfilter([1], [1, -keep], exposure, axis=1).reshape(-1, 1) for keep in (0.2, 0.6, 0.9)]
        found.append(chance_of_none(within, noise.ravel(), columns, [], rng))
    assert 0.0 <= np.mean(np.array(found) < 0.05) <= 0.1
    assert np.mean(found) == pytest.approx(0.5, abs=0.1)


@pytest.fixture(scope="module")
def decoy() -> ExposedPeople:
    return exposed_people("decoy", seed=2, people=30)


def test_an_exposure_with_a_season_and_no_effect_gets_none(decoy):
    """Season moves warmth and outcome both. Left out, warmth is given what the season does."""
    made = ExposureDose(exposures=decoy.names)
    made.learn(followed(decoy))
    assert made.chance["temperature"] > 0.05
    assert made.chance["pm2_5"] < 0.01
    assert made.numbers()["time constant of pm2_5"].value == pytest.approx(21, rel=0.25)
    careless = ExposureDose(exposures=decoy.names, season="none")
    careless.learn(followed(decoy))
    assert careless.chance["temperature"] < 0.01


def test_two_exposures_that_matter_together():
    some = exposed_people("interacting", seed=1, people=40)
    train, test = some.take(slice(0, 28)), some.take(slice(28, 40))
    made = ExposureDose(exposures=some.names, pairs=[("pm2_5", "temperature")])
    made.learn(followed(train))
    numbers = made.numbers()
    both = numbers["pm2_5 with temperature"]
    assert both.low < 0.9 / 60 < both.high
    assert both.low > 0
    assert numbers["time constant of temperature"].value == pytest.approx(7, rel=0.2)
    said, true = (values[:, 90:] for values in (made.effect(test.exposures)[0].value, test.effect))
    said, true = (values - values.mean(axis=1, keepdims=True) for values in (said, true))
    assert 1 - np.square(said - true).sum() / np.square(true).sum() > 0.93
    alone = ExposureDose(exposures=some.names)
    alone.learn(followed(train))
    assert alone.misfit < 0.05 < made.misfit, "a product that was left out shows, one that is there does not"


@pytest.mark.parametrize("form", ["line", "below", "bent", "ramp"])
def test_other_forms(single, form):
    dose = single.dose[:, 0]
    what = {
        "line": 0.3 * dose,
        "below": 0.4 * np.maximum(30 - dose, 0),
        "bent": 0.1 * dose + 0.4 * np.maximum(dose - 30, 0),
        "ramp": 0.4 * (dose.clip(20, 40) - 20),
    }[form]
    noise = np.random.default_rng(0).normal(size=dose.shape)
    made = ExposureDose(exposures=single.names, forms=[form])
    made.learn(replace(followed(single), outcome=what + noise))
    numbers = {name: number.value for name, number in made.numbers().items()}
    true = {"pm2_5 per unit": {"line": 0.3, "bent": 0.1}.get(form, 0.0), "pm2_5 below the knot": 0.4}
    true |= {"pm2_5 bend at the knot": 0.4, "knot of pm2_5": 30.0, "time constant of pm2_5": 21.0}
    true |= {"lower knot of pm2_5": 20.0, "upper knot of pm2_5": 40.0, "pm2_5 between the knots": 0.4}
    assert set(numbers) < set(true)
    for name, value in numbers.items():
        assert value == pytest.approx(true[name], rel=0.25, abs=0.02), name


def test_a_form_that_is_wrong_shows_and_the_next_is_tried(single):
    dose = single.dose[:, 0]
    noise = np.random.default_rng(0).normal(size=dose.shape)
    levels_off = replace(followed(single), outcome=0.2 * (dose.clip(20, 35) - 20) + noise)
    made = ExposureDose(exposures=single.names)
    made.learn(levels_off)
    assert made.misfit < 0.05
    assert first_that_fits(levels_off, exposures=single.names).law.forms == ("ramp",)
    assert first_that_fits(followed(single), exposures=single.names).law.forms == ("hinge",)
    with pytest.raises(ConfigError, match="No form is tried"):
        first_that_fits(levels_off, exposures=single.names, tried=())


def test_a_number_at_its_limit_has_no_interval(single):
    """Where every unit counts alike a hinge lies below all doses: the data do not say where."""
    made = ExposureDose(exposures=single.names)
    made.learn(replace(followed(single), outcome=0.3 * single.dose[:, 0]))
    number = made.numbers()["knot of pm2_5"]
    assert np.isnan([number.low, number.high]).all()
    assert made.numbers()["pm2_5 above the knot"].value == pytest.approx(0.3, rel=0.05)


def test_pieces_are_one_pass_bit_for_bit_through_plain_arrays(single, head):
    whole, last = head.dose(single.exposures)
    state, parts = head.begin(30), []
    for some in (slice(0, 1), slice(1, 150), slice(150, 150), slice(150, 400)):
        part, state = head.dose(single.exposures[..., some], state)
        parts.append(part)
        state = DoseState.of({name: np.array(values.tolist()) for name, values in state.arrays().items()})
    for name in ("value", "low", "high", "seen"):
        joined = np.concatenate([getattr(part, name) for part in parts], axis=2)
        assert np.array_equal(joined, getattr(whole, name), equal_nan=True)
    assert all(np.array_equal(values, last.arrays()[name]) for name, values in state.arrays().items())
    assert sum(values.nbytes for values in head.begin().arrays().values()) <= 56
    effect, _ = head.effect(single.exposures)
    later, _ = head.effect(single.exposures[..., 150:], head.effect(single.exposures[..., :150])[1])
    assert np.array_equal(later.value, effect.value[:, 150:], equal_nan=True)
    reset, _ = head.dose(single.exposures[..., 150:])
    assert np.nanmax(np.abs(reset.value - whole.value[..., 150:])) > 5, "a reset at a border would show"


def test_the_future_changes_nothing(single, head):
    other = single.exposures.copy()
    other[..., 200:] = 500.0
    for ask in (head.dose, head.effect):
        one, two = ask(single.exposures)[0].value, ask(other)[0].value
        assert np.array_equal(one[..., :200], two[..., :200], equal_nan=True)
        assert not np.array_equal(one[..., 200:], two[..., 200:], equal_nan=True)


def test_burn_in_is_dropped_and_gaps_widen_the_interval(single, head):
    dosed, _ = head.dose(single.exposures[:1])
    first = int(np.isfinite(dosed.value[0, 0]).argmax())
    assert dosed.seen[0, 0, first - 1] < head.enough <= dosed.seen[0, 0, first]
    gone = single.exposures[:1].copy()
    gone[..., 200:215] = np.nan
    gap, _ = head.dose(gone)
    wide = (gap.high - gap.low)[0, 0] / (dosed.high - dosed.low)[0, 0]
    assert wide[199] == pytest.approx(1.0)
    assert wide[214] > 1.3
    assert gap.value[0, 0, 214] == pytest.approx(gap.value[0, 0, 199]), "a gap keeps the dose"


def test_dose_intervals_hold_the_dose_where_people_are_alike(monkeypatch):
    monkeypatch.setattr(simulation, "TAU_SPREAD", 0.0)
    some = exposed_people("missing", seed=5, people=40)
    made = ExposureDose(exposures=some.names)
    made.learn(followed(some.take(slice(0, 28))))
    test = some.take(slice(28, 40))
    dosed, _ = made.dose(test.exposures)
    known = np.isfinite(dosed.value)
    inside = (dosed.low <= test.dose) & (test.dose <= dosed.high)
    assert known.mean() > 0.97
    assert inside[known].mean() > 0.9
    effect, _ = made.effect(test.exposures)
    middle = 0.15 * max(float(made.learned.middle[0]) - 19, 0)
    held = (effect.low <= test.effect - middle) & (test.effect - middle <= effect.high)
    assert held[np.isfinite(effect.value)].mean() > 0.85


def test_it_comes_back_from_plain_words_and_numbers(single, head):
    plain = json.loads(json.dumps(head.plain()))
    back = ExposureDose.of(plain)
    for ask in ("dose", "effect"):
        one, two = (getattr(some, ask)(single.exposures)[0] for some in (head, back))
        assert all(np.array_equal(values, getattr(two, name), equal_nan=True) for name, values in vars(one).items())
    assert back.numbers() == head.numbers()
    assert (back.chance, back.misfit) == (head.chance, head.misfit)
    with pytest.raises(CheckpointError, match="another format"):
        ExposureDose.of({**plain, "format": 2})
    with pytest.raises(CheckpointError, match="do not fit its law"):
        ExposureDose.of({**plain, "knots": []})


def test_people_of_whom_nothing_is_known_teach_nothing_and_get_nothing(single, head):
    exposures, outcome = single.exposures.copy(), single.outcome.copy()
    exposures[:3], outcome[5] = np.nan, np.nan
    made = ExposureDose(exposures=single.names)
    made.learn(Followed(exposures, outcome, single.day))
    assert made.learned.people == 26
    effect, _ = made.effect(exposures)
    assert np.isnan(effect.value[:3]).all()
    assert np.isfinite(effect.value[5, 90:]).all()
    others = ExposureDose(exposures=single.names)
    some = np.delete(np.arange(30), [0, 1, 2, 5])
    others.learn(Followed(exposures[some], outcome[some], single.day[some]))
    assert others.numbers() == made.numbers()


def test_states_of_others_are_refused(single, head):
    with pytest.raises(ShapeError, match="not of these people"):
        head.dose(single.exposures, head.begin(3))
    state = head.begin(30)
    with pytest.raises(CheckpointError, match="other time constants"):
        head.dose(single.exposures, replace(state, taus=state.taus * 2))
    with pytest.raises(ShapeError, match="does not hold together"):
        DoseState.of({"total": np.zeros((1, 1, 2)), "mass": np.zeros((1, 1, 2)), "taus": np.ones(1)})
    with pytest.raises(ShapeError, match="not those that were named"):
        head.dose(np.zeros((2, 2, 9)))


def test_errors_say_what_is_wrong(single):
    with pytest.raises(ConfigError, match="Nothing was learned yet"):
        ExposureDose(exposures=["noise"]).numbers()
    for more in ({"pairs": [("noise", "light")]}, {"enough": 0.0}, {"enough": 1.0}):
        with pytest.raises(ConfigError, match="cannot be built"):
            ExposureDose(exposures=["noise"], **more)
    with pytest.raises(ConfigError, match="winter"):
        unwrap(ExposureDose.__init__)(ExposureDose(exposures=["noise"]), exposures=["noise"], season="winter")
    with pytest.raises(ConfigError, match="a form for each exposure"):
        ExposureDose(exposures=["noise", "noise"])
    with pytest.raises(ConfigError, match="places of two"):
        DoseLaw(("noise", "light"), ("line", "line"), ((1, 1),))
    few = single.take(slice(0, 4))
    with pytest.raises(ConfigError, match="Too few people"):
        ExposureDose(exposures=few.names).learn(followed(few))
    still = np.repeat(single.exposures[..., :1], 400, axis=2)
    with pytest.raises(ConfigError, match="never varies within people"):
        ExposureDose(exposures=few.names).learn(replace(followed(single), exposures=still))
    with pytest.raises(ShapeError, match="was followed"):
        Followed(single.exposures, single.outcome[:, 1:], single.day)
    with pytest.raises(ShapeError, match="finite day"):
        Followed(single.exposures, single.outcome, np.full_like(single.day, np.nan))

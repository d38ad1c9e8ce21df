"""The type-1 model: at rest it rests, mass is kept, and it agrees with closed forms and with a plain second writing."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from hdt_fm.schema.errors import ConfigError, ShapeError, UnitError
from hdt_fm.simulation.glucose_integrator import GlucoseState, Integrator
from hdt_fm.simulation.glucose_people import STATES, SYMBOLS, GlucosePeople
from hdt_fm.simulation.glucose_plan import checked_amounts, schedule
from hdt_fm.simulation.glucose_run import BLOCK, simulate
from hdt_fm.simulation.virtual_people import AGES, draw_people


@pytest.fixture(scope="module")
def seven() -> GlucosePeople:
    """Seven people, so that no block of a processor's lanes is full."""
    return draw_people({"adult": 3, "adolescent": 2, "child": 2}, seed=1).people


def tables(people: int, minutes: int, meals=(), doses=()) -> tuple[np.ndarray, np.ndarray]:
    """(person, minute) from (minute, amount) that all share."""
    eaten, given = np.zeros((people, minutes)), np.zeros((people, minutes))
    for minute, grams in meals:
        eaten[:, minute] = grams
    for minute, units in doses:
        given[:, minute] = units
    return eaten, given


def one_symbols() -> dict[str, float]:
    """A person by hand, round numbers near the published ones."""
    return {
        "BW": 70.0,
        "kabs": 0.06,
        "kmax": 0.05,
        "kmin": 0.01,
        "b": 0.8,
        "d": 0.15,
        "f": 0.9,
        "Vg": 1.9,
        "k1": 0.065,
        "k2": 0.08,
        "kp1": 3.7,
        "kp2": 0.002,
        "kp3": 0.009,
        "ki": 0.008,
        "Fsnc": 1.0,
        "ke1": 0.0005,
        "ke2": 339.0,
        "Vm0": 2.7,
        "Vmx": 0.05,
        "Km0": 225.0,
        "p2u": 0.033,
        "Ib": 90.0,
        "Vi": 0.05,
        "m1": 0.19,
        "m2": 0.28,
        "m4": 0.112,
        "m30": 0.285,
        "ka1": 0.002,
        "ka2": 0.018,
        "kd": 0.0164,
        "ksc": 0.1,
        "u2ss": 1.26,
    }


def plain_slope(y: np.ndarray, p: SimpleNamespace, eaten: float, units: float, meal_mg: float) -> np.ndarray:
    """The equations once more, a scalar at a time, as they stand in the papers; amounts in mg and U per minute."""
    q1, q2, q3, gp, gt, ip, x, i1, i2, il, s1, s2, gs = y
    if meal_mg > 0:
        a, c = 5 / (2 * meal_mg * (1 - p.b)), 5 / (2 * meal_mg * p.d)
        turns = np.tanh(a * (q1 + q2 - p.b * meal_mg)) - np.tanh(c * (q1 + q2 - p.d * meal_mg)) + 2
        emptying = p.kmin + (p.kmax - p.kmin) / 2 * turns
    else:
        emptying = p.kmax
    production = max(p.kp1 - p.kp2 * gp - p.kp3 * i2, 0.0)
    renal = p.ke1 * (gp - p.ke2) if gp > p.ke2 else 0.0
    uptake = (p.vm0 + p.vmx * x) * gt / (p.km0 + gt)
    return np.array(
        [
            eaten - p.kmax * q1,
            p.kmax * q1 - emptying * q2,
            emptying * q2 - p.kabs * q3,
            production + p.f * p.kabs * q3 / p.bw - p.fsnc - renal - p.k1 * gp + p.k2 * gt,
            p.k1 * gp - p.k2 * gt - uptake,
            p.m1 * il + p.ka1 * s1 + p.ka2 * s2 - (p.m2 + p.m4) * ip,
            p.p2u * (ip / p.vi - p.ib - x),
            p.ki * (ip / p.vi - i1),
            p.ki * (i1 - i2),
            p.m2 * ip - (p.m1 + p.m30) * il,
            units * 6000 / p.bw + p.u2ss - (p.ka1 + p.kd) * s1,
            p.kd * s1 - p.ka2 * s2,
            p.ksc * (gp - gs),
        ]
    )


def test_at_rest_nothing_moves(seven):
    run = simulate(seven, *tables(7, 1440))
    assert run.tissue_mg_dl.shape == (7, 289)
    assert np.ptp(run.tissue_mg_dl, axis=1).max() < 1e-9
    np.testing.assert_allclose(run.plasma_mg_dl, run.tissue_mg_dl, atol=1e-9)
    np.testing.assert_allclose(run.insulin_pmol_l, seven.ib[:, None] + 0 * run.insulin_pmol_l, rtol=1e-9)


def test_another_basal_rate_has_its_own_rest(seven):
    more = seven.basal_units_per_hour * 1.1
    run = simulate(
        seven, *tables(7, 1440), basal_units_per_hour=more, start=GlucoseState.at(seven.rest(more)), every_minutes=60
    )
    assert np.ptp(run.tissue_mg_dl, axis=1).max() < 1e-6
    assert (run.tissue_mg_dl[:, 0] < seven.rest()[-1] / seven.vg).all()
    # With less insulin they rest where the kidneys work too.
    less = seven.basal_units_per_hour * 0.8
    rest = seven.rest(less)
    assert (rest[3] > seven.ke2).any()
    high = simulate(seven, *tables(7, 1440), basal_units_per_hour=less, start=GlucoseState.at(rest), every_minutes=60)
    assert np.ptp(high.tissue_mg_dl, axis=1).max() < 1e-6
    # From the old rest they come to the new one in time, and a rate per minute that is constant is the same.
    from_old = simulate(seven, *tables(7, 6 * 1440), basal_units_per_hour=more, every_minutes=1440)
    np.testing.assert_allclose(from_old.tissue_mg_dl[:, -1], run.tissue_mg_dl[:, 0], atol=0.1)
    table = np.repeat(more[:, None], 600, axis=1)
    by_minute = simulate(seven, *tables(7, 600), basal_units_per_hour=table)
    by_person = simulate(seven, *tables(7, 600), basal_units_per_hour=more)
    np.testing.assert_array_equal(by_minute.tissue_mg_dl, by_person.tissue_mg_dl)


def test_a_basal_rate_can_change_by_the_minute(seven):
    """A pump that stops after an hour and starts again after three."""
    basal = np.repeat(seven.basal_units_per_hour[:, None], 400, axis=1)
    basal[:, 60:180] = 0.0
    run = simulate(seven, *tables(7, 400), basal_units_per_hour=basal)
    steady = simulate(seven, *tables(7, 400))
    np.testing.assert_array_equal(run.insulin_pmol_l[:, :13], steady.insulin_pmol_l[:, :13])
    assert (np.diff(run.insulin_pmol_l[:, 13:36], axis=1) < 0).all()
    assert (run.insulin_pmol_l[:, -1] > run.insulin_pmol_l[:, 36]).all()
    assert (run.tissue_mg_dl[:, 36:] > steady.tissue_mg_dl[:, 36:] + 1).all()


def test_a_stomach_that_turns_within_seconds_is_followed():
    """With b near 1 emptying slows down and speeds up again between two bites; two steps a minute miss it by .1."""
    people = GlucosePeople.from_symbols([one_symbols() | {"b": 0.96, "d": 0.1, "BW": 30.0, "kmin": 0.004}])
    plan = tables(1, 400, meals=[(10, 42.0), (200, 27.0)])
    one, many = (simulate(people, *plan, steps_per_minute=steps).tissue_mg_dl for steps in (1, 16))
    assert np.abs(one - many).max() < 0.05


def test_a_second_writing_of_the_equations_gives_the_same():
    numbers = one_symbols()
    people = GlucosePeople.from_symbols([numbers])
    p = SimpleNamespace(**{name: numbers[symbol] for name, symbol in SYMBOLS.items()})
    # Enough sugar for the kidneys and enough insulin to silence the liver.
    meals, doses = {30: 110.0, 180: 140.0, 360: 70.0}, {60: 12.0, 180: 24.0, 360: 0.5}
    y, path, high, silent = people.rest()[:, 0], [], 0, 0
    left, eaten, before, was_eating = 0.0, 0.0, 0.0, False
    for minute in range(600):
        path.append(y[12] / p.vg)
        left += meals.get(minute, 0.0)
        bite = min(5.0, left)
        left -= bite
        if bite > 0 and not was_eating:
            before, eaten = y[0] + y[1], 0.0
        eaten, was_eating = eaten + bite, bite > 0
        given = (p, bite * 1000, doses.get(minute, 0.0), before + eaten * 1000)
        y = solve_ivp(lambda _, now, given=given: plain_slope(now, *given), (0, 1), y, rtol=1e-9, atol=1e-9).y[:, -1]
        high, silent = high + (y[3] > p.ke2), silent + (p.kp1 - p.kp2 * y[3] - p.kp3 * y[8] < 0)
    assert high > 30, "the kidneys were never asked"
    assert silent > 30, "the liver never fell silent"
    assert min(path) > 20, "glucose came near the floor, which is another test"
    run = simulate(people, *tables(1, 600, meals.items(), doses.items()), every_minutes=1)
    np.testing.assert_allclose(run.tissue_mg_dl[0, :-1], path, rtol=0, atol=0.01)


def test_insulin_follows_the_matrix_exponential(seven):
    """Seven linear equations: a dose of a minute has a closed form."""
    minutes, units = 400, 3.0
    run = simulate(seven, *tables(7, minutes, doses=[(0, units)]), every_minutes=100)
    for row in range(7):
        p = SimpleNamespace(**{name: getattr(seven, name)[row] for name in SYMBOLS})
        # Order: s1, s2, ip, il, and the dose that stays for the first minute.
        system = np.zeros((5, 5))
        system[0, 0], system[0, 4] = -(p.ka1 + p.kd), 6000 / p.bw
        system[1, :2] = p.kd, -p.ka2
        system[2, :4] = p.ka1, p.ka2, -(p.m2 + p.m4), p.m1
        system[3, 2:4] = p.m2, -(p.m1 + p.m30)
        after_dose = expm(system) @ np.array([0, 0, 0, 0, units])
        after_dose[4] = 0
        expected = [p.ib + (expm(system * (at - 1)) @ after_dose)[2] / p.vi for at in (100, 200, 300, 400)]
        np.testing.assert_allclose(run.insulin_pmol_l[row, 1:], expected, rtol=1e-6)


def test_all_that_is_eaten_is_absorbed_and_all_insulin_is_cleared(seven):
    """Over days, what leaves the gut is the meal, and the area under insulin is dose over clearance."""
    integrator, state = Integrator(seven, steps_per_minute=2), GlucoseState.at(seven.rest())
    nothing, basal = np.zeros(7), seven.basal_units_per_hour / 60
    absorbed, area = np.zeros(7), np.zeros(7)
    for minute in range(4 * 1440):
        before = state.mass.copy()
        first = minute == 0
        integrator.minute(state, nothing + 60.0 * first, nothing + 4.0 * first, basal)
        absorbed += seven.kabs * (before[2] + state.mass[2]) / 2
        area += (before[5] + state.mass[5]) / 2 / seven.vi - seven.ib
    np.testing.assert_allclose(absorbed, 60_000, rtol=1e-3)
    lost = seven.m4 + seven.m30 * seven.m2 / (seven.m1 + seven.m30)
    np.testing.assert_allclose(area, 4.0 * 6000 / seven.bw / lost / seven.vi, rtol=1e-3)
    # Nobody injects or eats any more, so all are where they began.
    np.testing.assert_allclose(state.mass[3], seven.rest()[3], rtol=1e-3)


def test_more_insulin_lowers_and_more_carbohydrate_raises(seven):
    rows = np.repeat(np.arange(7), 5)
    people = seven.take(rows)
    amounts = np.tile(np.arange(5.0), 7)
    meals, doses = tables(35, 240, meals=[(0, 40.0)])
    doses[:, 0] = amounts * people.bw / 70
    lower = simulate(people, meals, doses).plasma_mg_dl.reshape(7, 5, -1)
    assert (np.diff(lower[:, :, 6:], axis=1) < 0).all()
    meals, doses = tables(35, 240, doses=[(0, 1.0)])
    meals[:, 0] = 10 * amounts
    higher = simulate(people, meals, doses).plasma_mg_dl.reshape(7, 5, -1)
    # A larger meal may leave the stomach later, so compare once all have begun to arrive.
    assert (np.diff(higher[:, :, 18:], axis=1) > 0).all()


def test_half_the_step_changes_little_and_a_sixteenth_no_more():
    people = draw_people(dict.fromkeys(AGES, 10), seed=0).people
    meals, doses = tables(30, 720, meals=[(30, 60.0), (330, 25.0)])
    doses[:, [25, 330]] = people.bw[:, None] / 25
    one, two, four, sixteen = (
        simulate(people, meals, doses, steps_per_minute=steps).tissue_mg_dl for steps in (1, 2, 4, 16)
    )
    coarse, fine, finer = (float(np.abs(found - sixteen).max()) for found in (one, two, four))
    assert coarse < 0.03
    assert fine < coarse / 3
    assert finer < fine / 3


def test_nobody_depends_on_who_else_is_there(seven):
    meals, doses = tables(7, 300, meals=[(10, 45.0)], doses=[(5, 2.0)])
    meals[:, 120] = np.arange(7) * 3.0
    together = simulate(seven, meals, doses)
    order = np.array([4, 0, 6, 2, 5, 1, 3])
    mixed = simulate(seven.take(order), meals[order], doses[order])
    np.testing.assert_array_equal(mixed.tissue_mg_dl, together.tissue_mg_dl[order])
    for row in range(7):
        alone = simulate(seven.take(np.array([row])), meals[[row]], doses[[row]])
        np.testing.assert_array_equal(alone.plasma_mg_dl[0], together.plasma_mg_dl[row])
        np.testing.assert_array_equal(alone.insulin_pmol_l[0], together.insulin_pmol_l[row])


def test_a_batch_larger_than_a_block_is_the_same(seven):
    rows = np.arange(BLOCK + 3) % 7
    meals, doses = tables(len(rows), 60, meals=[(0, 30.0)], doses=[(3, 1.5)])
    large = simulate(seven.take(rows), meals, doses)
    small = simulate(seven, meals[:7], doses[:7])
    np.testing.assert_array_equal(large.tissue_mg_dl, small.tissue_mg_dl[rows])
    np.testing.assert_array_equal(large.state.mass, small.state.mass[:, rows])


def test_a_run_can_be_gone_on_with_at_any_minute(seven):
    meals, doses = tables(7, 200, meals=[(7, 61.0), (100, 20.0)], doses=[(9, 3.0)])
    whole = simulate(seven, meals, doses, every_minutes=1)
    for stop in (8, 12, 19, 101):  # also amid a meal
        first = simulate(seven, meals[:, :stop], doses[:, :stop], every_minutes=1)
        kept = first.state.mass.copy()
        second = simulate(seven, meals[:, stop:], doses[:, stop:], start=first.state, every_minutes=1)
        np.testing.assert_array_equal(second.tissue_mg_dl, whole.tissue_mg_dl[:, stop:])
        np.testing.assert_array_equal(second.minute, whole.minute[stop:])
        np.testing.assert_array_equal(first.state.mass, kept, "the start is the caller's")


def test_pairs_are_the_same_before_the_edit_and_differ_after(seven):
    meals, doses = tables(7, 400, meals=[(30, 50.0), (240, 30.0)], doses=[(30, 4.0), (240, 2.0)])
    edited = doses.copy()
    edited[:, 240] = 1.0
    as_was, changed = (simulate(seven, meals, given, every_minutes=1) for given in (doses, edited))
    for name in ("tissue_mg_dl", "plasma_mg_dl", "insulin_pmol_l"):
        before, after = getattr(as_was, name), getattr(changed, name)
        np.testing.assert_array_equal(before[:, :241], after[:, :241])
    assert (as_was.insulin_pmol_l[:, 241:] > changed.insulin_pmol_l[:, 241:]).all()
    assert (as_was.tissue_mg_dl[:, 300:] < changed.tissue_mg_dl[:, 300:]).all()


def test_an_overdose_stops_at_zero_and_wears_off(seven):
    run = simulate(seven, *tables(7, 3 * 1440, doses=[(0, 60.0)]))
    assert np.isfinite(run.tissue_mg_dl).all()
    assert (run.plasma_mg_dl >= 0).all()
    assert (run.plasma_mg_dl.min(axis=1) == 0).any(), "the dose was too small to reach the floor"
    np.testing.assert_allclose(run.plasma_mg_dl[:, -1], run.plasma_mg_dl[:, 0], rtol=0.02)


def test_a_meal_lasts_as_long_as_it_takes_to_eat(seven):
    """12 g: bites of 5, 5 and 2; 7 g more in the second minute make it 5, 5, 5, 4."""
    for extra, bites in ((0.0, [5, 5, 2, 0, 0]), (7.0, [5, 5, 5, 4, 0])):
        integrator, state = Integrator(seven), GlucoseState.at(seven.rest())
        eaten = []
        for minute in range(5):
            plate = np.full(7, 12.0 * (minute == 0) + extra * (minute == 1))
            integrator.minute(state, plate, np.zeros(7), np.zeros(7))
            eaten.append(float(state.eaten_g[0]))
        np.testing.assert_allclose(np.diff([0.0, *eaten]), bites)
        assert state.minute == 5
        assert not state.eating.any()


def test_states_have_a_name_each():
    assert len(STATES) == len(set(STATES)) == 13
    assert set(SYMBOLS) == set(GlucosePeople.__dataclass_fields__)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"BW": None}, "missing"),
        ({"BW": "heavy"}, "no number"),
        ({"BW": np.nan}, "cannot be"),
        ({"Vg": -1.0}, "cannot be"),
        ({"Vi": 0.0}, "is 0"),
        ({"b": 1.0}, "share"),
    ],
)
def test_numbers_that_cannot_be_are_refused(change, says):
    row = {key: value for key, value in (one_symbols() | change).items() if value is not None}
    with pytest.raises(ConfigError, match=says):
        GlucosePeople.from_symbols([row])


def test_nobody_and_people_of_two_lengths_are_refused(monkeypatch):
    with pytest.raises(ConfigError, match="nobody"):
        GlucosePeople.from_symbols([])
    both = GlucosePeople.from_symbols([one_symbols()] * 2)
    one = GlucosePeople.from_symbols([one_symbols()])
    object.__setattr__(both, "kabs", one.kabs)  # past the checker of shapes, which is only on in tests
    with pytest.raises(ShapeError, match="do not fit"):
        both.__post_init__()


def test_a_basal_rate_at_which_nobody_rests_is_refused():
    people = GlucosePeople.from_symbols([one_symbols()])
    with pytest.raises(ConfigError, match="nobody rest"):
        people.rest(np.array([15.0]))


@pytest.mark.parametrize(
    ("unit", "value", "error", "says"),
    [
        ("U", -1.0, ConfigError, "negative"),
        ("U", np.nan, ConfigError, "no number"),
        ("U", 500.0, UnitError, "not mU"),
        ("g", 45_000.0, UnitError, "not mg"),
        ("U/h", 24.0, UnitError, "not per day"),
    ],
)
def test_amounts_that_nobody_takes_are_refused(unit, value, error, says):
    with pytest.raises(error, match=says):
        checked_amounts(np.array([1.0, value]), unit, where="test")


def test_a_run_refuses_what_does_not_fit(seven):
    meals, doses = tables(7, 30)
    with pytest.raises(ShapeError, match="table of amounts"):
        simulate(seven, meals[:3], doses)
    with pytest.raises(ShapeError, match="table of amounts"):
        simulate(seven, meals, doses[:, :20])
    with pytest.raises(ShapeError, match="Basal"):
        simulate(seven, meals, doses, basal_units_per_hour=np.ones(3))
    with pytest.raises(ShapeError, match="other people"):
        simulate(seven, meals, doses, start=GlucoseState.at(seven.rest()[:, :3]))
    with pytest.raises(ConfigError, match="under one"):
        simulate(seven, meals, doses, every_minutes=0)
    with pytest.raises(ConfigError, match="start is no number"):
        simulate(seven, meals, doses, start=GlucoseState.at(seven.rest() * np.nan))
    for spoilt, error in ((-1.0, ConfigError), (np.nan, ConfigError), (101.0, UnitError)):
        doses[2, 5] = spoilt
        with pytest.raises(error):
            simulate(seven, meals, doses)


def test_a_plan_becomes_a_table():
    table = schedule([1, 0, 1], [62, 60, 62], [2.0, 1.5, 0.5], unit="U", people=2, minutes=5, now=60)
    np.testing.assert_array_equal(table, [[1.5, 0, 0, 0, 0], [0, 0, 2.5, 0, 0]])


@pytest.mark.parametrize(
    ("person", "minute", "amount", "error", "says"),
    [
        ([0], [59], [1.0], ConfigError, "past"),
        ([0], [65], [1.0], ConfigError, "after the end"),
        ([2], [61], [1.0], ConfigError, "nobody's"),
        ([0], [61], [-1.0], ConfigError, "negative"),
        ([0, 0], [61, 61], [60.0, 60.0], UnitError, "anybody takes"),
        ([0, 1], [61], [1.0], ShapeError, "differ in length"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(person, minute, amount, error, says):
    with pytest.raises(error, match=says):
        schedule(person, minute, amount, unit="U", people=2, minutes=5, now=60)

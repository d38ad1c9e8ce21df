"""What-if by hand numbers, a perfect oracle and one that sees no plan; nothing after a moment and no truth gets out."""

from dataclasses import replace

import numpy as np
import pytest

from hdt_fm.evaluation.people import people_draws
from hdt_fm.evaluation.what_if import Answer, Cohort, Fit, PlanModel, ask, halves, what_if
from hdt_fm.evaluation.what_if_scores import (
    effect_metrics,
    glucose_risk,
    kendall,
    over_seeds,
    plan_metrics,
    regret,
)
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.lives import Asked, Lives, PlanAnswers
from hdt_fm.schema.result import Result

PEOPLE, LIVES, DAYS = 3, 2, 2
STEPS = DAYS * 288
MINUTES = (60, 120)


def made_up(seed: int, first_person: int) -> Lives:
    generator = np.random.default_rng(seed)
    count = PEOPLE * LIVES
    carbs = np.zeros((count, STEPS))
    carbs[:, 100::96] = generator.uniform(20, 80, size=carbs[:, 100::96].shape)
    return Lives(
        person=np.repeat(np.arange(PEOPLE), LIVES) + first_person,
        glucose_mg_dl=120 + generator.normal(0, 10, size=carbs.shape),
        bolus_units=carbs / 10,
        carbs_g=carbs,
        basal_units_per_hour=np.linspace(0.5, 1.5, count),
    )


def cohort(seed: int) -> Cohort:
    generator, test = np.random.default_rng([seed, 1]), made_up(seed, PEOPLE)
    life, time = np.nonzero(test.carbs_g[:, :-48] > 0)
    dose = generator.uniform(1, 6, size=(len(life), 1)) * np.array([0.0, 0.5, 1.0, 1.0])
    carbs = generator.uniform(20, 60, size=(len(life), 1)) * np.array([1.0, 1.0, 1.0, 0.5])
    asked = Asked(life=life, time=time, dose_units=dose, carbs_g=carbs, contrasts=((2, 1), (2, 3)), minutes=MINUTES)
    truth = 150 + (carbs - 10 * dose)[..., None] * np.array([0.5, 1.0])
    truth = truth + generator.normal(0, 3, size=(len(life), 1, 1))
    return Cohort(
        seed=seed,
        train=made_up(seed + 100, 0),
        test=test,
        asked=asked,
        truth=truth,
        names=("bolus 1 vs 0.5", "carbs 1 vs 0.5"),
        ranked=(0, 1, 2),
    )


def oracle_of(cohorts: list[Cohort]) -> Fit:
    """Looks the truth up; a life is known by its basal insulin."""

    def fit(train: Lives, seed: int) -> Answer:
        one = next(some for some in cohorts if some.seed == seed)
        basal = one.test.basal_units_per_hour[one.asked.life]
        truth = dict(zip(zip(basal, one.asked.time, strict=True), one.truth, strict=True))

        def answer(own: Lives, taught: Lives, asked: Asked) -> PlanAnswers:
            basal = own.basal_units_per_hour[asked.life]
            level = np.stack([truth[key] for key in zip(basal, asked.time, strict=True)])
            effects = np.stack([level[:, plan] - level[:, against] for plan, against in asked.contrasts], axis=1)
            return PlanAnswers(level=level, low=effects - 1, high=effects + 3)

        return answer

    return fit


def blind(train: Lives, seed: int) -> Answer:
    def answer(own: Lives, taught: Lives, asked: Asked) -> PlanAnswers:
        shape = (*asked.dose_units.shape, len(asked.minutes))
        newest = own.glucose_mg_dl[asked.life, asked.time]
        return PlanAnswers(level=np.broadcast_to(newest[:, None, None], shape).copy())

    return answer


@pytest.fixture(scope="module")
def result() -> tuple[list[Cohort], Result]:
    cohorts = [cohort(0), cohort(1)]
    models = {"blind": PlanModel(blind, "baseline"), "oracle": PlanModel(oracle_of(cohorts), "ours")}
    return cohorts, what_if("made up", cohorts, models, headline="oracle", owed=("blind",), draws=50)


def test_the_oracle_is_never_wrong(result: tuple[list[Cohort], Result]) -> None:
    _, table = result
    for minute in MINUTES:
        for name in ("bolus 1 vs 0.5", "carbs 1 vs 0.5"):
            what = f"{name}, {minute} min"
            assert table.find("oracle", "PEHE", what).value == pytest.approx(0, abs=1e-9)
            assert table.find("oracle", "mean effect off by", what).value == pytest.approx(0, abs=1e-9)
            assert table.find("oracle", "sign right", what).value == 1
            assert table.find("oracle", "90 % interval covers", what).value == 1
            assert table.find("oracle", "its width", what).value == pytest.approx(4)
        assert table.find("oracle", "RMSE of levels", f"all plans, {minute} min").value == pytest.approx(0, abs=1e-9)
        assert table.find("oracle", "Kendall tau of doses", f"all plans, {minute} min").value == 1
    assert table.find("oracle", "regret of the chosen dose").value == pytest.approx(0, abs=1e-9)


def test_who_sees_no_plan_misses_all_of_the_effect(result: tuple[list[Cohort], Result]) -> None:
    cohorts, table = result
    for number, name in enumerate(cohorts[0].names):
        plan, against = cohorts[0].asked.contrasts[number]
        true = [np.sqrt(np.mean(np.square(one.truth[:, plan, 1] - one.truth[:, against, 1]))) for one in cohorts]
        row = table.find("blind", "PEHE", f"{name}, 120 min")
        assert row.value == pytest.approx(np.mean(true))
        assert (row.columns["lowest_seed"], row.columns["highest_seed"]) == pytest.approx((min(true), max(true)))
        assert row.columns["ours_minus_this"] == pytest.approx(-np.mean(true))
        assert table.find("blind", "PEHE, share of the true effects' RMS", f"{name}, 120 min").value == pytest.approx(1)
        assert table.find("blind", "mean effect off by", f"{name}, 120 min").value == pytest.approx(100)
        assert np.isnan(table.find("blind", "90 % interval covers", f"{name}, 120 min").value)
    assert table.find("blind", "Kendall tau of doses", "all plans, 120 min").value == 0
    assert table.find("blind", "PEHE", "carbs 1 vs 0.5, 60 min").n == 2 * PEOPLE


def test_effects_by_hand() -> None:
    true = np.array([-10.0, -20.0, 0.0, 8.0])
    moves = np.array([True, True, False, True])
    # The first two people are one seed, the third another.
    person, seed = np.array([0, 0, 1, 2]), np.array([0, 0, 1])
    answers = np.array([[-13.0, -14, -11], [-16.0, -22, -10], [2.0, 1, 3], [-2.0, -6, 9]])
    once = np.ones((1, 3))
    found = {metric.name: metric.score(answers).over(once)[0] for metric in effect_metrics(true, moves, person, seed)}
    first, second = np.sqrt((9 + 16 + 4) / 3), 10.0
    assert found["PEHE"] == pytest.approx((first + second) / 2)
    assert found["PEHE, share of the true effects' RMS"] == pytest.approx((np.sqrt(29 / 500) + np.sqrt(100 / 64)) / 2)
    assert found["mean effect"] == pytest.approx((-9 + -2) / 2)
    assert found["mean effect off by"] == pytest.approx((100 * 3 / 30 + 100 * 10 / 8) / 2)
    # The moment without a difference between plans has no sign, and its interval is not asked.
    assert found["sign right"] == pytest.approx((1 + 0) / 2)
    assert found["90 % interval covers"] == pytest.approx((0.5 + 1) / 2)
    assert found["its width"] == pytest.approx(((3 + 12) / 2 + 15) / 2)


def test_a_person_drawn_twice_counts_twice_and_a_seed_without_anybody_not() -> None:
    score = over_seeds(np.array([1.0, 3.0, 10.0]), np.ones(3), np.arange(3), np.array([0, 0, 1]))
    assert score.over(np.array([[1.0, 1, 1], [2, 1, 0], [0, 0, 3]])) == pytest.approx([6.0, 5 / 3, 10.0])
    assert np.isnan(score.over(np.zeros((1, 3)))).all()
    assert over_seeds(np.array([1.0, np.nan]), np.ones(2), np.arange(2), np.zeros(2, np.int64)).people == 1


def test_kendall_by_hand() -> None:
    true = np.array([[4.0, 3, 2, 1], [4, 3, 2, 1], [4, 3, 2, 1], [39, 39, 40, 41], [5, 5, 5, 5]])
    dose = np.array([[0.0, 1, 2, 3]] * 4 + [[0.0, 0, 0, 0]])
    said = np.array([[9.0, 8, 7, 6], [8, 9, 7, 6], [5, 5, 5, 5], [9, 1, 10, 11], [1, 2, 3, 4]])
    # One pair of six turned round; nothing said; the tie in truth not asked; nothing to rank.
    assert kendall(said, true, dose) == pytest.approx([1, 4 / 6, 0, 1, np.nan], nan_ok=True)


def test_risk_and_regret_by_hand() -> None:
    assert glucose_risk(np.array([112.5])) == pytest.approx(0, abs=1e-3)
    assert glucose_risk(np.array([20.0, 600.0])) == pytest.approx([100, 100], rel=0.02)
    true = np.array([[[300.0], [112.5], [50.0]]])
    risks = glucose_risk(true)[0, :, 0]
    assert regret(np.array([[[200.0], [150.0], [112.5]]]), true) == pytest.approx([risks[2] - risks[1]])
    assert regret(np.full((1, 3, 1), 140.0), true) == pytest.approx([risks.mean() - risks[1]])
    assert regret(true, true) == pytest.approx([0])


def test_plan_metrics_by_hand() -> None:
    true, said = np.array([[10.0, 20.0, 30.0]]), np.array([[13.0, 20.0, 26.0]])
    one = np.zeros(1, np.int64)
    found = plan_metrics(true, np.array([[1.0, 2.0, 2.0]]), [0, 1], one, one)
    assert [metric.score(said).over(np.ones((1, 1)))[0] for metric in found] == pytest.approx([np.sqrt(25 / 3), 1.0])


def test_intervals_are_over_people() -> None:
    counts = people_draws(6, draws=200, seed=0)
    person = np.repeat(np.arange(6), 5)
    true = np.ones(30)
    pehe = effect_metrics(true, true > 0, person, np.zeros(6, np.int64))[0]
    said = np.stack([true + person, true, true], axis=1)
    drawn = pehe.score(said).over(counts)
    assert drawn[0] == pytest.approx(np.sqrt(55 / 6))
    assert drawn[1:].std() > 0.2


def test_each_half_is_taught_by_the_other_and_by_so_many_meals() -> None:
    told: list[tuple[set[float], set[float], int]] = []

    def answer(own: Lives, taught: Lives, asked: Asked) -> PlanAnswers:
        meals = int((np.isfinite(taught.glucose_mg_dl) & (taught.carbs_g > 0)).sum())
        told.append((set(own.basal_units_per_hour), set(taught.basal_units_per_hour), meals))
        assert (own.carbs_g[asked.life, asked.time] > 0).all()
        return PlanAnswers(level=np.zeros((*asked.dose_units.shape, len(asked.minutes))))

    one = cohort(3)
    for meals in (0, 2, 80):
        told.clear()
        ask(answer, one, meals)
        assert len(told) == 2
        for own, taught, count in told:
            assert not own & taught
            assert count == PEOPLE * min(meals, 5)


def test_first_meals_end_where_the_next_begins() -> None:
    lives = made_up(0, 0)
    for count in (0, 1, 5, 7, 10, 99):
        known = np.isfinite(lives.first_meals(count).glucose_mg_dl)
        place = np.flatnonzero(lives.carbs_g[0] > 0)
        if count < 5:
            assert known[0].sum() == (place[count] if count else 0)
            assert not known[1].any()
        elif count < 10:
            assert known[0].all()
            assert known[1].sum() == (np.flatnonzero(lives.carbs_g[1] > 0)[count - 5] if count > 5 else 0)
        else:
            assert known.all()


def test_refusals() -> None:
    one, lives = cohort(0), made_up(0, 0)
    with pytest.raises(ConfigError, match="both learned from and asked"):
        replace(one, train=one.test)
    with pytest.raises(ShapeError, match="Truths do not fit"):
        replace(one, truth=one.truth[:, :2])
    with pytest.raises(ConfigError, match="single life"):
        halves(lives.take(np.arange(3)))
    with pytest.raises(ShapeError, match="answers do not fit"):
        ask(lambda own, taught, asked: PlanAnswers(level=np.full((2, 2, 2), np.nan)), one, 5)
    with pytest.raises(ConfigError, match="cannot be run"):
        what_if("x", [one], {"blind": PlanModel(blind, "baseline")}, headline="ours")
    other = replace(one, names=("a", "b"))
    with pytest.raises(ConfigError, match="ask different things"):
        what_if("x", [one, other], {"blind": PlanModel(blind, "baseline")}, headline="blind")
    with pytest.raises(ShapeError, match="Tables of lives"):
        replace(lives, carbs_g=lives.carbs_g[:, 1:])
    with pytest.raises(ConfigError, match="An amount cannot be"):
        replace(lives, carbs_g=-lives.carbs_g)
    with pytest.raises(ConfigError, match="no basal"):
        replace(lives, basal_units_per_hour=0 * lives.basal_units_per_hour)
    with pytest.raises(ConfigError, match="cannot be asked"):
        replace(one.asked, minutes=(7,))
    with pytest.raises(ConfigError, match="names no plan"):
        replace(one.asked, contrasts=((0, 4),))

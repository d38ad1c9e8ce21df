"""Floors by hand, and the head asked about tumours: what it is told, and that it beats the floors and covers."""

import numpy as np
import pytest
import torch

from hdt_fm.heads.outcome import Outcome
from hdt_fm.simulation import tumour_floors
from hdt_fm.simulation.tumour import DEATH_VOLUME_CM3, Course
from hdt_fm.simulation.tumour_asked import TRAITS, TREATMENTS, ask, past_of
from hdt_fm.simulation.tumour_floors import fit_gru, fit_ridge, last_value
from hdt_fm.simulation.tumour_protocol import Sets, draw_sets
from hdt_fm.simulation.tumour_scores import step_errors


@pytest.fixture(scope="module")
def sets() -> Sets:
    return draw_sets(4.0, 10, assignment="corrected", train=400, validation=60, test=60, days=30)


@pytest.fixture(scope="module")
def head(sets: Sets) -> Outcome:
    torch.manual_seed(0)
    head = Outcome(treatments=TREATMENTS, traits=TRAITS, horizon=6, limits=(0.0, DEATH_VOLUME_CM3))
    head.learn(past_of(sets.train))
    return head.eval()


def test_last_value(sets: Sets) -> None:
    questions = sets.questions["sliding"]
    assert (last_value(questions)[3, 4] == questions.course.volume[3, 4]).all()


def test_ridge_is_exact_where_the_world_is_linear(sets: Sets) -> None:
    """A tenth goes by chemo and a fifth by radio, the day they are given, and else nothing."""
    train = sets.train
    volume = np.full(train.volume.shape, 50.0)
    for day in range(volume.shape[1] - 1):
        volume[:, day + 1] = volume[:, day] * (1 - 0.1 * train.chemo[:, day] - 0.2 * train.radio[:, day])
    length = np.full(len(volume), volume.shape[1] - 1)
    world = Course(volume, train.chemo, train.radio, train.chemo_units, train.probability, length, train.kind)
    questions = sets.questions["one step"]
    answer = fit_ridge(world, 1)(questions)[..., 0] / np.maximum(questions.course.volume[:, :-1, None], 1e-9)
    effect = (answer - answer[..., :1])[questions.course.lived[:, :-1]]
    assert effect == pytest.approx(np.broadcast_to([0.0, -0.2, -0.1, -0.3], effect.shape), abs=5e-3)


def test_ridge_beats_the_last_value(sets: Sets) -> None:
    questions = sets.questions["sliding"]
    ridge, last = fit_ridge(sets.train, 6)(questions), last_value(questions)
    assert (step_errors(ridge, questions.truth) < step_errors(last, questions.truth)).all()


def test_the_plain_net_follows_its_seed_and_the_plan(sets: Sets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tumour_floors, "EPOCHS", 2)
    questions = sets.questions["sliding"]
    one, same, other = (fit_gru(sets.train, seed)(questions) for seed in (0, 0, 1))
    assert np.array_equal(one, same, equal_nan=True)
    assert not np.array_equal(one, other, equal_nan=True)
    asked = np.isfinite(questions.truth)
    assert np.isfinite(one[asked]).all()
    # Plans 0 and 1 part on the second step; the first is the day as it was.
    part = asked[..., 0, :].all(axis=-1) & asked[..., 1, :].all(axis=-1)
    first, second = one[:, :, 0][part], one[:, :, 1][part]
    assert np.array_equal(first[:, 0], second[:, 0])
    assert (first[:, 1] != second[:, 1]).all()


def test_steps_of_the_plain_net_feed_on_its_own_answers(sets: Sets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tumour_floors, "EPOCHS", 1)
    questions = sets.questions["sliding"]
    answer = fit_gru(sets.train, 0)(questions)
    # A course whose next volume is what the net answered must lead it on to its own second answer.
    day = 5
    course = questions.course
    subjects = np.flatnonzero((course.length > day + 2) & np.isfinite(answer[:, day, 0]).all(axis=-1))[:10]
    volume = course.volume.copy()
    volume[subjects, day + 1] = answer[subjects, day, 0, 0]
    changed = Course(volume, *list(vars(course).values())[1:])
    again = fit_gru(sets.train, 0)(type(questions)(changed, _moved(questions.plan), questions.truth))
    there = np.isfinite(again[subjects, day + 1, 0, 0])
    assert there.any()
    assert again[subjects, day + 1, 0, 0][there] == pytest.approx(answer[subjects, day, 0, 1][there], abs=2e-2)


def _moved(plan: np.ndarray) -> np.ndarray:
    """Each day gets the plan of the day before, from its second step on."""
    out = plan.copy()
    out[:, 1:, :, 0] = plan[:, :-1, :, 1]
    return out


def test_the_head_is_told_only_what_anybody_would_see(sets: Sets) -> None:
    past = past_of(sets.train)
    course = sets.train
    assert past.level.shape == (400, 30)
    assert set(np.unique(past.given.numpy())) == {0.0, 1.0}
    assert past.traits.sum(1).max() == 1
    ended = course.length < 29
    assert bool(past.level[torch.from_numpy(ended)].isnan().any())
    known = past.level.isfinite().sum(1).numpy()
    assert np.array_equal(known, course.length + 1)


def test_asking_is_the_heads_own_answer(sets: Sets, head: Outcome) -> None:
    questions = sets.questions["random"]
    found = ask(head, questions)
    assert np.array_equal(np.isfinite(found[..., 0]), np.isfinite(questions.truth))
    subject, day = np.argwhere(np.isfinite(questions.truth[:, :, 3]).all(axis=-1) & (np.arange(29) == 4))[0]
    past = past_of(questions.course).take(slice(int(subject), int(subject) + 1))
    shorter = type(past)(past.level[:, : day + 1], past.given[:, : day + 1], past.traits)
    plan = torch.from_numpy(questions.plan[subject, day, 3].astype(np.float32))[None]
    expected = head(shorter, plan)[0].detach().numpy()
    assert found[subject, day, 3] == pytest.approx(expected, rel=1e-4)


def test_the_law_finds_the_half_life_and_beats_all_floors(sets: Sets, head: Outcome) -> None:
    lives = head.response.half_lives
    assert float(lives[0]) == pytest.approx(1.0, abs=0.1)
    assert float(lives[1]) < 0.2
    for questions in sets.questions.values():
        steps = questions.truth.shape[3]
        ours = step_errors(ask(head, questions)[..., 0].astype(float), questions.truth)
        ridge = step_errors(fit_ridge(sets.train, steps)(questions), questions.truth)
        assert (ours < ridge).all()


def test_intervals_cover_what_they_say(sets: Sets, head: Outcome) -> None:
    for questions in sets.questions.values():
        found, truth = ask(head, questions)[..., -1, :], questions.truth[..., -1]
        inside = (found[..., 1] <= truth) & (truth <= found[..., -1])
        assert inside[np.isfinite(truth)].mean() == pytest.approx(0.8, abs=0.06)

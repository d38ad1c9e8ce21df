"""Re-identification on made-up embeddings: planted identity is found, without it chance stands in the interval."""

import numpy as np
import pytest

from hdt_fm.audit.reidentification import EVERYTHING, Seen, reidentification
from hdt_fm.audit.sessions import two_sessions
from hdt_fm.audit.words import reidentification_words
from hdt_fm.report.tables import markdown
from hdt_fm.schema.errors import ConfigError

PEOPLE, WINDOWS = 14, 40


def seen(identity: float, *, seed: int = 0, lacking: int = 0, people: int = PEOPLE) -> Seen:
    generator = np.random.default_rng(seed)
    subject = np.repeat(np.arange(people) * 3, WINDOWS)
    time_s = np.tile(np.arange(WINDOWS) * 30.0 + 5000.0 * (np.arange(WINDOWS) >= 20), people)
    own = generator.normal(size=(people, 6))[np.repeat(np.arange(people), WINDOWS)]
    noise = {name: generator.normal(size=(len(subject), 6)) for name in ("ppg", "acc", "hand")}
    sessions = two_sessions(subject, time_s, window_s=60.0, gap_s=1000.0, apart_s=60.0)
    present = {name: np.ones(len(subject), dtype=bool) for name in ("ppg", "acc")}
    present["acc"][: lacking * WINDOWS] = False
    features = {
        "encoder": {name: identity * own + noise[name] for name in ("ppg", "acc")},
        "hand features": dict.fromkeys(("ppg", "acc"), noise["hand"]),
    }
    return Seen("people never seen", "made", subject, sessions, features, present)


def test_planted_identity_is_found_and_more_windows_find_more() -> None:
    result = reidentification([seen(0.7)], draws=50, seed=0)
    hit = {
        together: result.find("encoder, trained", "rank-1", f"made, people never seen, {EVERYTHING}, {together}")
        for together in ("1 window", "10 windows", "all windows")
    }
    assert hit["1 window"].value < hit["10 windows"].value <= hit["all windows"].value
    assert hit["all windows"].value > 0.9
    assert hit["1 window"].low > 1 / PEOPLE
    assert all(row.n == PEOPLE for row in result.rows)
    assert "above chance" in reidentification_words(result)[0]


def test_without_identity_chance_stands() -> None:
    what = f"made, people never seen, {EVERYTHING}, 1 window"
    results = [reidentification([seen(0.0, seed=seed)], draws=10, seed=0) for seed in range(8)]
    for metric in ("rank-1", "top-5", "mean reciprocal rank", "equal error rate"):
        chance = results[0].find("chance", metric, what).value
        for model in ("encoder, nearest mean", "encoder, trained"):
            values = [result.find(model, metric, what).value for result in results]
            assert np.mean(values) == pytest.approx(chance, abs=0.04), (metric, model)


def test_a_modality_that_few_hold_is_asked_alone_only() -> None:
    result = reidentification([seen(0.7, lacking=10)], draws=10, seed=0)
    told = {row.what for row in result.rows}
    assert not any(EVERYTHING in what for what in told)
    acc = [row for row in result.rows if ", acc, " in row.what]
    assert {row.n for row in acc} == {PEOPLE - 10}


def test_floors_and_chance_stand_in_each_table() -> None:
    text = markdown(reidentification([seen(0.7)], draws=10, seed=0))
    for name in ("chance", "hand features, nearest mean", "encoder, trained"):
        assert name in text


def test_two_people_have_no_interval() -> None:
    result = reidentification([seen(2.0, people=2)], draws=10, seed=0)
    assert all(row.low is None for row in result.rows)
    assert "too few people" in reidentification_words(result)[0]


def test_nobody_with_a_modality_in_both_sessions_is_refused() -> None:
    one = seen(0.7)
    nothing = {name: np.zeros_like(values) for name, values in one.present.items()}
    with pytest.raises(ConfigError, match="Nobody can be linked"):
        reidentification(
            [Seen(one.whom, one.cohort, one.subject, one.sessions, one.features, nothing)], draws=10, seed=0
        )

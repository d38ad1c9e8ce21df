"""The whole view and its section: planted subgroups found, few people never told of, the page and its record."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import hdt_fm.explain.page as page
from hdt_fm.explain.cohort.section import section
from hdt_fm.explain.cohort.shares import shares_of_people
from hdt_fm.explain.cohort.view import CohortView, cohort_view, patterns_of
from hdt_fm.explain.explanation import Explanation, MethodMap, plain
from hdt_fm.explain.page.document import html
from hdt_fm.explain.page.report import Report
from hdt_fm.schema.errors import ExplainError

PEOPLE, WINDOWS = 24, 3
BAND = np.repeat(["under 40", "40 and over"], 12).tolist()


def planted() -> np.ndarray:
    """Older people's output rests on ppg, younger people's on acc; eda is held by half of each."""
    shares = np.tile([0.25, 0.6, 0.15], (PEOPLE, 1))
    shares[12:] = [0.65, 0.2, 0.15]
    shares[::2, 2] = 0.0
    return shares


def a_window(values: list[str]) -> list[str]:
    return np.repeat(values, WINDOWS).tolist()


def seen(made: Explanation, **changes: object) -> CohortView:
    settings = {"facts": {"age band": a_window(BAND)}, "draws": 100, "shuffles": 999, **changes}
    return cohort_view(made, **settings)


def test_planted_subgroups_are_found(new_cohort: Callable[..., Explanation]) -> None:
    view = seen(new_cohort(planted(), noise=0.2))
    assert (view.people, view.windows) == (PEOPLE, PEOPLE * WINDOWS)
    assert [one.people for one in view.shares] == [24, 24, 12]
    groups = {group.name: group for group in view.facts[0].groups}
    assert {name: group.people for name, group in groups.items()} == {"under 40": 12, "40 and over": 12}
    by_name = {one.column: one for one in groups["40 and over"].shares}
    assert by_name["PPG"].mean == pytest.approx(0.7, abs=0.06)
    gaps = {one.column: one for one in view.gaps}
    assert gaps["PPG"].p_holm <= 0.003
    assert gaps["PPG"].value == pytest.approx(0.42, abs=0.08)
    assert gaps["Electrodermal activity"].p_holm > 0.05
    assert len(view.patterns.found) == 2
    assert {one.people for one in view.patterns.found} == {12}
    assert view.channels[0].column == "Acceleration, channel 1"
    assert len(view.channels) == 3
    acc = next(one for one in view.shares if one.column == "Acceleration")
    assert sum(one.mean for one in view.channels) == pytest.approx(acc.mean, rel=1e-4)


def test_a_signal_of_few_people_is_told_with_another(new_cohort: Callable[..., Explanation]) -> None:
    shares = planted()
    shares[3:, 2] = 0.0
    made = new_cohort(shares)
    view = seen(made)
    assert list(view.columns.values()) == [("ppg",), ("acc", "eda")] or list(view.columns.values()) == [
        ("ppg", "eda"),
        ("acc",),
    ]
    assert sum(one.mean for one in view.shares) == pytest.approx(1.0)
    assert all(one.people == PEOPLE for one in view.shares)
    assert '"eda"]' not in json.dumps(plain(section(view, window_s=60.0).record["shares"]))


def test_patterns_keep_all_credit_whatever_the_rate(new_cohort: Callable[..., Explanation]) -> None:
    made = new_cohort(planted())
    columns = {"a": ("ppg",), "b": ("acc",), "c": ("eda",)}
    found = patterns_of(made, "occlusion", columns)
    assert found.shape == (PEOPLE * WINDOWS, 3, 12)
    np.testing.assert_allclose(found.sum(2), made.shares("occlusion"), atol=1e-6)
    ppg = np.abs(made.find("occlusion").values["ppg"]).sum(1).reshape(PEOPLE * WINDOWS, 12, 4).sum(2)
    np.testing.assert_allclose(found[:, 0], ppg * _whole(made)[:, None], rtol=1e-4)
    eda = np.abs(made.find("occlusion").values["eda"]).sum(1)  # five samples in twelve stretches: 2.4 each
    # Five samples in twelve stretches, 2.4 each: of the third, 0.4 are the first sample's and 0.6 the second's.
    np.testing.assert_allclose(found[:, 2, 2], (0.4 * eda[:, 0] + 0.6 * eda[:, 1]) / 2.4 * _whole(made), rtol=1e-4)


def _whole(made: Explanation) -> np.ndarray:
    return 1 / sum(np.abs(one).sum((1, 2)) for one in made.find("occlusion").values.values())


def test_worst_cases_and_drift(new_cohort: Callable[..., Explanation]) -> None:
    made = new_cohort(planted(), noise=0.2)
    output = made.output.copy()
    label = output.copy()
    label[::WINDOWS] += 3.0  # one window of each person is far off
    training = shares_of_people(new_cohort(planted()[12:], noise=0.2, seed=4))
    view = seen(made, label=label, training=training)
    missed = next(one for one in view.worst if one.kind == "output misses its label")
    assert missed.score == pytest.approx(3.0)
    assert missed.people >= 5
    assert view.training_people == 12
    drift = {one.column: one for one in view.drift}
    assert drift["PPG"].value < -0.15
    assert drift["Acceleration"].low > 0
    few = {name: values[:4] for name, values in training.items()}
    assert (seen(made, training=few).drift, seen(made, training=few).training_people) == ((), 0)


def test_disagreeing_windows_are_the_worst(new_cohort: Callable[..., Explanation]) -> None:
    made = new_cohort(planted())
    ig = made.find("integrated_gradients")
    odd = np.arange(len(made)) % 7 == 0
    rng = np.random.default_rng(0)
    same = {name: np.where(odd[:, None, None], rng.permuted(v, axis=-1), v) for name, v in ig.values.items()}
    made = replace(made, maps=(ig, MethodMap("occlusion", same)))
    found = seen(made).worst[0]
    assert found.kind == "methods disagree"
    assert found.score < 0.9
    assert found.other_score > 0.95


def test_the_page_and_its_record(new_cohort: Callable[..., Explanation]) -> None:
    made = new_cohort(planted(), noise=0.2)
    label = made.output + np.linspace(0, 1, len(made))
    facts = {"age band": a_window(BAND), "device": a_window(["<b>x</b>"] * 22 + ["y"] * 2)}
    view = seen(made, facts=facts, label=label, training=shares_of_people(made))
    one = section(view, window_s=made.window_s)
    schema = json.loads((Path(page.__file__).parent / "schema" / "cohort.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    record = json.loads(json.dumps(plain(one.record), allow_nan=False))
    jsonschema.validate(record, schema)
    assert "medoid" not in json.dumps(record)
    text = html(Report(made, sections=[one]))
    part = text[text.index('id="cohort"') : text.index('id="agreement"')]
    assert "72 windows of 24 people" in part
    assert "Device: not shown, no two groups of 5 people or more" in part
    assert part.count('role="img"') == 1 + 2 + 1  # gaps, two patterns, drift
    assert part.count("<desc>") == part.count("<title>") == 4
    assert part.count("<caption>") == part.count("<table>") == 6
    assert "below 0.25 there would be one" in part
    assert "object at" not in part
    assert "<b>x" not in text
    bare = section(seen(made, facts={}), window_s=60.0)
    assert "No fact about the people was given" in html(Report(made, sections=[bare]))
    assert "no shares of people of training were given" in html(Report(made, sections=[bare]))


def test_few_people_and_misfits_are_refused(new_cohort: Callable[..., Explanation]) -> None:
    with pytest.raises(ExplainError, match="at least 5 people"):
        cohort_view(new_cohort(planted()[:4]))
    with pytest.raises(ExplainError, match="Labels do not fit"):
        seen(new_cohort(planted()), label=np.zeros(3))

"""The section on curves: its numbers are those of the tests, its record fits its schema, its page renders."""

import json
from dataclasses import replace
from importlib import resources

import jsonschema
import numpy as np
import pytest
from torch import nn

from hdt_fm.explain.attribution import attribute
from hdt_fm.explain.explanation import plain
from hdt_fm.explain.gate import cumulative, curves, deletion, infidelity, sensitivity
from hdt_fm.explain.gate.curve_figure import Band, curve_figure
from hdt_fm.explain.gate.exam import Exam
from hdt_fm.explain.gate.examine import examined
from hdt_fm.explain.page.document import html
from hdt_fm.explain.page.report import Report
from hdt_fm.explain.page.section import Section
from hdt_fm.schema.batch import Batch

METHODS = ("integrated_gradients", "saliency", "feature_ablation")
SCHEMA = json.loads((resources.files("hdt_fm.explain.page") / "schema" / "curves.json").read_text())


@pytest.fixture
def exam(planted: Batch, finder: nn.Module) -> Exam:
    return Exam.of(finder, planted, attribute(finder, planted, target=0, methods=METHODS, segments=16))


def checked(section: Section) -> dict:
    record = json.loads(json.dumps(plain(section.record), allow_nan=False))
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(record, SCHEMA)
    return record


def test_the_record_holds_what_the_tests_measured(exam: Exam) -> None:
    reliability = examined(exam)
    record = checked(curves.section(curves.traced(exam)))
    assert list(record["methods"]) == list(METHODS)
    lead = record["methods"]["integrated_gradients"]
    detail = reliability.find("deletion").detail
    assert np.mean(lead["deletion"]) == pytest.approx(detail["deletion"], rel=1e-4)
    assert lead["cpd"] == pytest.approx(reliability.find("CPD and CPP").detail["CPD"], rel=1e-4)
    assert lead["infidelity"] == pytest.approx(reliability.find("infidelity").value, rel=1e-4)
    assert lead["max_sensitivity"] == pytest.approx(reliability.find("sensitivity").value, rel=1e-4)
    assert record["random"]["deletion"]["low"] < record["random"]["deletion"]["high"]
    assert record["random_orders"] == 39


def test_nothing_is_measured_twice(exam: Exam, monkeypatch: pytest.MonkeyPatch) -> None:
    curves.traced(exam)

    def again(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(deletion, "_followed", again)
    monkeypatch.setattr(cumulative, "_walked", again)
    monkeypatch.setattr(infidelity, "_captum", again)
    monkeypatch.setattr(sensitivity, "_measured", again)
    assert len(examined(exam).checks) == 15


def test_the_page_shows_curves_and_table(exam: Exam) -> None:
    section = curves.section(curves.traced(exam))
    made = replace(exam.explanation, reliability=examined(exam))
    page = html(Report(made, sections=[section]))
    assert page.count("deletion and insertion</title>") == 3
    assert "Max-sensitivity" in page
    assert "39 random orders" in page
    assert "90 % of random orders" in page
    assert "<script" not in page


def test_an_output_that_does_not_change_draws_no_curve(planted: Batch, constant: nn.Module) -> None:
    made = attribute(constant, planted, target=0, methods=METHODS, segments=16)
    exam = Exam.of(constant, planted, made)
    section = curves.section(curves.traced(exam))
    assert checked(section)["methods"]["saliency"]["cpd"] is None
    assert section.view["figures"] == []
    assert "no curve to draw" in html(Report(replace(made, reliability=examined(exam)), sections=[section]))


def test_the_figure_says_in_words_what_it_draws_and_keeps_within_its_panel() -> None:
    levels = (0.1, 0.2, 0.5)
    band = Band([0.0, 0.1, 0.3], [0.1, 0.2, 0.5], [0.2, 0.3, 0.7])
    text = curve_figure(
        "Lime",
        levels,
        {"deletion": [0.5, 0.75, 9.0], "insertion": [0.4, 0.6, 0.8]},
        {"deletion": band, "insertion": band},
    )
    assert "with 20% of the segments gone, 75% of the change is; random orders 10% to 30%" in text
    heights = [float(part.split('cy="')[1].split('"')[0]) for part in text.split("<circle")[1:]]
    assert len(heights) == 6
    assert min(heights) == 24.0  # nine times the change is held at the upper edge

"""The section: its record keeps its schema, its page needs nothing else, and what is not followed is not told."""

import json
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jsonschema import Draft202012Validator, ValidationError
from torch import nn

import hdt_fm.explain.page
from hdt_fm.explain.attribution import attribute
from hdt_fm.explain.distil.credit import TeacherShares
from hdt_fm.explain.distil.distilled import Distilled, distil
from hdt_fm.explain.distil.named import NamedFeatures
from hdt_fm.explain.distil.report import section
from hdt_fm.explain.distil.teacher import Teacher
from hdt_fm.explain.explanation import Check, Reliability, plain
from hdt_fm.explain.page.document import html
from hdt_fm.explain.page.report import Report
from hdt_fm.schema.batch import Batch

PAGE = Path(hdt_fm.explain.page.__file__).parent
SCHEMA = json.loads((PAGE / "schema" / "students.json").read_text())


class Text(HTMLParser):
    """What a reader sees, and the tags in their order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.tags = "", list[tuple[str, dict[str, str | None]]]()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def _draw(found: Distilled) -> Text:
    environment = Environment(
        loader=FileSystemLoader(PAGE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return Text(environment.get_template("sections/students.html.j2").render(view=section(found).view))


@pytest.fixture(scope="module")
def whole(new_people: Callable[..., NamedFeatures]) -> Distilled:
    """Everything that a section can hold."""
    named = new_people()
    values = named.values.copy()
    values[::7, 2] = np.nan
    output = np.square((values[:, 0] - 80) / 10) + np.where(np.isnan(values[:, 2]), 1.0, 4 * values[:, 2])
    label = np.where(named.subject < 7_004, np.nan, output + 0.1)
    return distil(
        Teacher(output, "glucose in an hour", "mg/dL", "value", threshold=2.0, label=label),
        replace(named, values=values),
        shares=TeacherShares("integrated gradients", ("ppg",), np.ones((len(named), 1))),
        groups={"age_band": ["<40" if one % 2 else "40+" for one in named.subject]},
        draws=60,
    )


def test_the_record_keeps_its_schema(whole: Distilled) -> None:
    Draft202012Validator.check_schema(SCHEMA)
    record = plain(section(whole).record)
    Draft202012Validator(SCHEMA).validate(record)
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    for breach in ({"people": 4}, {"subject": 7_001}, {"lead": "forest"}):
        with pytest.raises(ValidationError):
            Draft202012Validator(SCHEMA).validate(record | breach)


def test_the_section_tells_all_that_was_found(whole: Distilled) -> None:
    page = _draw(whole)
    for words in (
        "Decision tree",
        "What one standard deviation more adds (mg/dL)",
        "The curve falls, then rises",
        "Where student and model disagree",
        "Against the truth",
        "Whose signal they go by",
        "The model, by integrated gradients",
        "age band: <40",
        "PPG: heart rate above",
    ):
        assert words in page.text, words
    assert sum(tag == "svg" and "img" in (attrs.get("role") or "") for tag, attrs in page.tags) == len(whole.curves)
    assert sum(tag == "desc" for tag, _ in page.tags) == len(whole.curves)
    tables = [tag for tag, _ in page.tags if tag in ("table", "caption")]
    assert tables == ["table", "caption"] * (len(tables) // 2)
    assert all(attrs.get("scope") for tag, attrs in page.tags if tag == "th")


def test_nothing_of_a_person_and_no_outside_resource_is_in_it(whole: Distilled) -> None:
    text = json.dumps(plain(section(whole).record)) + _draw(whole).text
    assert not [one for one in np.unique(whole.named.subject) if str(one) in text]
    for tag, attrs in _draw(whole).tags:
        assert tag not in {"script", "link", "img", "iframe", "object", "form"}
        assert not {"src", "href", "srcset", "data", "onclick"} & attrs.keys()


def test_of_a_student_that_does_not_follow_no_word_is_shown(named: NamedFeatures) -> None:
    noise = np.random.default_rng(0).standard_normal(len(named))
    label = np.where(noise > 0, 1.0, 0.0)
    found = distil(Teacher(noise, "log-odds of x", "log-odds", "class", label=label), named, draws=60)
    record = plain(section(found).record)
    Draft202012Validator(SCHEMA).validate(record)
    assert [record[key] for key in ("lead", "tree", "linear", "additive", "disagreement")] == [None] * 5
    assert record["credit"]["students"] == {}
    page = _draw(found)
    assert page.text.count("Its words are not shown") == 3
    assert "windows of" not in page.text.split("Against the truth")[0].split("Every number")[1]
    assert not [tag for tag, _ in page.tags if tag == "svg"]


def test_it_stands_in_the_report(
    whole: Distilled, new_batch: Callable[..., Batch], new_linear: Callable[..., nn.Module]
) -> None:
    batch = new_batch(3)
    made = attribute(new_linear(batch), batch, target=1, target_name="x", segments=5, methods=("saliency",))
    made = replace(made, reliability=Reliability((Check("skill", "pass", 0.9, "", ""),)))
    found = section(whole)
    page = Text(html(Report(made, sections=[found])))
    assert "Simple students of the model" in page.text
    for words in (*found.words, *found.cautions):
        assert words in page.text, words

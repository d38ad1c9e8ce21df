"""The section on the page: the banner first, figures that a parser reads, and a record that keeps its contract."""

import json
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jsonschema import Draft202012Validator, ValidationError
from torch import nn

import hdt_fm.explain.page
from hdt_fm.explain.attribution import attribute
from hdt_fm.explain.causal import estimand
from hdt_fm.explain.causal import refute as refuters
from hdt_fm.explain.causal.graph import Graph, Role
from hdt_fm.explain.causal.graph_figure import WIDTH, graph_figure, layers_of
from hdt_fm.explain.causal.overlap_figure import in_words
from hdt_fm.explain.causal.question import Question
from hdt_fm.explain.causal.section import KEY, section
from hdt_fm.explain.causal.study import study
from hdt_fm.explain.explanation import Check, Reliability, plain
from hdt_fm.explain.page.document import html
from hdt_fm.explain.page.report import Report
from hdt_fm.explain.page.section import Section
from hdt_fm.schema.batch import Batch

NewTable = Callable[..., tuple[dict[str, np.ndarray], np.ndarray]]
PAGE = Path(hdt_fm.explain.page.__file__).parent
TWO_COLOURS = {"#b35806", "#542788"}
OTHER_COLOURS = {"#2c5f8a", "#ffffff", "#e6e6e6", "#555555", "#444444", "#333", "#777", "#1a1a1a"}


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PLACEBOS", "CAUSES", "SUBSETS"):
        monkeypatch.setattr(refuters, name, 3)


@pytest.fixture
def plan() -> dict[str, Any]:
    """As the twin writes it; what the section does not read is left out."""
    support = {"verdict": "inside", "treatment": "bolus", "effective_size": 3.5, "widen": 1.0}
    ends = {"point": -20.0, "low": -30.0, "high": None}
    return {
        "kind": "interventional forecast under stated assumptions",
        "modality": "glucose",
        "unit": "mg/dL",
        "promised": 0.9,
        "plans": {"plan": {"words": "bolus 4 U"}, "against": {"words": "nothing"}},
        "verdict": {"name": "not tested on this person", "reasons": ["placebo treatment"]},
        "ahead": [{"min": minute, "effect": ends} for minute in (5, 30, 60)],
        "overlap": {"plan": support, "against": {**support, "verdict": "thin", "widen": 1.5}},
        "refuters": [{"name": "r", "done": "It was.", "found": None, "expected": 0.0, "allowed": None, "passed": None}],
        "own": {"sensitivity": 0.12},
        "assumptions": ["The law has the right form."],
        "caution": "It is no medical advice.",
    }


class Outline(HTMLParser):
    """Text and tags; tags must close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def drawn(made: Section) -> Outline:
    environment = Environment(
        loader=FileSystemLoader(PAGE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return Outline(environment.get_template(f"sections/{made.key}.html.j2").render(view=made.view))


def checked(made: Section) -> dict[str, Any]:
    schema = json.loads((PAGE / "schema" / f"{KEY}.json").read_text())
    Draft202012Validator.check_schema(schema)
    told = json.loads(json.dumps(plain(made.record), allow_nan=False))
    Draft202012Validator(schema).validate(told)
    return told


def test_without_a_question_nothing_is_claimed_of_the_body() -> None:
    made = section("stress, log-odds")
    page = drawn(made)
    assert page.text.lstrip().startswith(estimand.BANNER)
    assert estimand.NOT_ASKED in page.text
    assert "The assumed graph" in page.text
    assert "all else → the body" in page.text
    assert "What was asked of the body" not in page.text
    told = checked(made)
    assert told["study"] is told["plan"] is None
    assert [one["name"] for one in told["graph"]["nodes"]][-1] == "its output"
    assert (made.words, made.cautions) == ({}, ())


@pytest.mark.parametrize("form", ["binary", "continuous"])
def test_a_whole_study_is_shown(question: Question, new_table: NewTable, form: str) -> None:
    found = study(replace(question, form=form, unmeasured=("illness",)), *new_table(0, binary=form == "binary"))
    made = section("stress", found=found, where="the people of the cohort")
    page = drawn(made)
    order = ["Attribution is not", "The assumed graph", "What was asked of the body", "Is like compared with like"]
    order += ["Attempts to refute it", "What something unmeasured would have to be", "Assumed, and not testable"]
    places = [page.text.index(one) for one in order]
    assert places == sorted(places)
    assert "high activity ← illness → heart rate" in page.text
    assert "Asked of the people of the cohort." in page.text
    assert page.text.count("passed") == 4
    told = checked(made)
    heavy = str(made.view["graph"]["figure"]).count('stroke-dasharray="7 4"')
    assert heavy == 2  # both arrows of illness
    assert told["study"]["effect"]["people"] == 30
    assert told["study"]["back_door"]["paths"] == [["activity", "illness", "heart_rate"]]
    assert (told["study"]["overlap"]["outside"] is None) is (form == "continuous")
    assert "left open" in made.cautions[0]
    assert "E-value" in made.words


def test_figures_can_be_read_without_eyes_and_keep_to_the_colours(question: Question, new_table: NewTable) -> None:
    made = section("stress", found=study(question, *new_table(0)))
    page = drawn(made)
    pictures = [made.view["graph"]["figure"], made.view["study"]["overlap_figure"]]
    for picture in pictures:
        tree = ElementTree.fromstring(str(picture))
        assert [one.tag for one in tree][:2] == ["title", "desc"]
        assert tree.get("role") == "img"
        used = {
            value for one in tree.iter() for key in ("fill", "stroke") if (value := one.get(key)) and value != "none"
        }
        assert used <= TWO_COLOURS | OTHER_COLOURS
    assert not any(colour in str(pictures[0]) for colour in TWO_COLOURS)
    assert all(colour in str(pictures[1]) for colour in TWO_COLOURS)
    for tag, attributes in page.tags:
        assert tag not in {"script", "link", "img", "iframe", "object", "embed", "form"}
        assert not {"src", "href"} & attributes.keys()
        assert "scope" in attributes or tag != "th"
    tables = sum(tag == "table" for tag, _ in page.tags)
    assert tables == sum(tag == "caption" for tag, _ in page.tags) == 2


def test_no_overlap_is_told_without_a_number(question: Question, new_table: NewTable) -> None:
    made = section("stress", found=study(question, *new_table(0, lift=12.0)))
    page = drawn(made)
    assert "There is no estimate" in page.text
    assert "Attempts to refute it" not in page.text
    assert "would be" not in page.text
    told = checked(made)["study"]
    assert (told["effect"], told["e_value"], told["refuters"]) == (None, None, [])
    assert told["verdict"]["name"] == "no estimate"


def test_a_plans_effect_is_shown_as_it_was_told(plan: dict[str, Any]) -> None:
    made = section("effect of a plan", plan=plan)
    page = drawn(made)
    assert "bolus 4 U, instead of nothing" in page.text
    assert "The effect not tested on this person" not in page.text
    assert "Verdict: not tested on this person (placebo treatment)." in page.text
    assert "account for 12 % of what is left both of what was taken and of glucose" in page.text
    assert page.text.count("not known") == 2 + 2
    assert "support is thin, decided by bolus; 3.5 own actions are like it; its interval is 1.5 times" in page.text
    told = checked(made)["plan"]
    assert [one["min"] for one in told["effects"]] == [30, 60]
    assert "own" not in told


def test_the_whole_page_takes_it_up(
    question: Question, new_table: NewTable, new_batch: Callable[..., Batch], new_linear: Callable[..., nn.Module]
) -> None:
    batch = new_batch(2, names=("ppg",))
    model = new_linear(batch)
    made = attribute(model, batch, target=0, methods=("saliency",))
    made = replace(made, reliability=Reliability((Check("skill", "pass", 1.0, "", ""),)))
    text = html(Report(made, sections=[section("stress", found=study(question, *new_table(0)))]))
    assert text.index("Attribution is not causation") < text.index("The assumed graph") < text.index("E-value")


def test_text_is_escaped(question: Question, new_table: NewTable) -> None:
    nasty = replace(question, words={"activity": "<script>alert(1)</script>"})
    page = drawn(section("<b>x</b>", found=study(nasty, *new_table(0))))
    assert not {"script", "b"} & {tag for tag, _ in page.tags}


def test_the_contract_refuses_what_it_does_not_know(question: Question, new_table: NewTable) -> None:
    made = section("stress", found=study(question, *new_table(0)))
    for place in (made.record, made.record["study"], made.record["study"]["overlap"]):
        place["person"] = 7
        with pytest.raises(ValidationError):
            checked(made)
        del place["person"]
    checked(made)


def test_causes_stand_left_of_what_they_act_on() -> None:
    roles: dict[str, Role] = dict.fromkeys("abcde", "other")
    graph = Graph(roles, (("a", "b"), ("b", "c"), ("a", "c"), ("d", "c"), ("e", "a")))
    assert layers_of(graph) == [["e"], ["a"], ["b", "d"], ["c"]]
    tree = ElementTree.fromstring(str(graph_figure(graph, said=str)))
    boxes = list(tree.iter("rect"))
    assert len(boxes) == 5
    assert all(0 <= float(one.get("x") or -1) <= WIDTH - float(one.get("width") or 0) for one in boxes)
    assert len([one for one in tree.iter("path") if one.get("marker-end")]) == 5


def test_overlap_in_words(question: Question, new_table: NewTable) -> None:
    found = study(question, *new_table(0)).overlap
    counts = np.zeros((2, 20), dtype=int)
    counts[0, 4:9], counts[1, 2:18] = 30, 30
    counts[1, 18:] = -1
    said = in_words(replace(found, counts=counts), ("with it", "without it"))
    assert (
        said
        == "with it from 0.2 to 0.45 and without it from 0.1 to 0.9. 2 bins hold too few people and are outlined only."
    )

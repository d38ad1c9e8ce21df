"""The page, the picture and the file: they need nothing else, tell nobody, and come out alike."""

import json
import re
from html.parser import HTMLParser

import pytest

from hdt_fm.schema.errors import RecordingError
from hdt_fm.schema.privacy import private_traces
from hdt_fm.twin.what_if.page import HTML_NAME, JSON_NAME, PNG_NAME, files_of, html
from hdt_fm.twin.what_if.picture import whole_picture
from hdt_fm.twin.what_if.told import ASSUMPTIONS, NO_ADVICE

VOID = {"meta", "br", "link", "img", "hr", "input", "rect", "path"}


class Reader(HTMLParser):
    """Every tag with its attributes, every cell, and whether all that was opened was closed."""

    def __init__(self):
        super().__init__()
        self.tags, self.open, self.rows, self.text = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def read(page):
    reader = Reader()
    reader.feed(page)
    assert not reader.open
    return reader


def test_the_page_needs_nothing_else(told):
    page = html(told())
    reader = read(page)
    names = {tag for tag, _ in reader.tags}
    assert {"main", "svg", "table", "h1", "title", "desc", "figure", "ol"} <= names
    assert not {"script", "link", "img", "iframe", "object", "form"} & names
    for _, attributes in reader.tags:
        assert not {"src", "href", "xlink:href", "action"} & set(attributes)
        assert not [name for name in attributes if name.startswith("on")]
    assert "url(" not in page
    assert "http" not in page
    ids = [one["id"] for _, one in reader.tags if "id" in one]
    assert len(ids) == len(set(ids))
    assert {one["aria-labelledby"] for tag, one in reader.tags if tag == "section"} <= set(ids)


def test_the_page_says_all_that_it_must(told, parts):
    support, refuter, _ = parts
    found = told(
        support=(support(), support("thin", "carbs", widen=1.6)),
        refuters=(refuter(), refuter("subset of days", 0.8, 0.85), refuter("bootstrap of days", passed=None)),
        settings={"source": "libreview", "notes": ("a thing to know",)},
    )
    page = html(found)
    text = " ".join("".join(read(page).text).split())
    for words in (
        "With bolus 4 U instead of nothing glucose would be about 60 mg/dL lower in 2 h",
        "It was partly tested on this person",
        "This is an interventional forecast under stated assumptions.",
        NO_ADVICE,
        "Research use only: not a medical device.",
        "The interval was made 1.6 times as wide.",
        "effective sample size",
        "142 of their own doses and meals",
        "account for 21 %",
        "70 and 180 mg/dL",
        "Note: a thing to know.",
        "twin what-if; read as: libreview",
        *ASSUMPTIONS,
    ):
        assert words in text
    assert "counterfactual" not in text.lower()
    assert text.index("would be about 60 mg/dL lower") < text.index("Newest reading: 180 mg/dL")


def test_tables_hold_the_numbers(told, parts):
    _, refuter, _ = parts
    rows = read(
        html(told(refuters=(refuter(), refuter("subset of days", found=float("nan"), expected=0.85, passed=None))))
    ).rows
    assert ["2 h", "16:40", "120 (100 to 150)", "180 (160 to 210)", "-60 (-78 to -42)"] in rows
    assert ["After", "Time", "The plan", "The other", "Effect"] in rows
    assert ["placebo treatment", "The placebo treatment was tried.", "4 %", "0 %", "20 %", "passed"] in rows
    assert ["subset of days", "The subset of days was tried.", "", "85 %", "20 %", "too little record"] in rows
    assert ["4", "-60", "-70", "-50", "yes"] in rows
    assert ["6", "-90", "-100", "-80", "no"] in rows
    assert ["120", "120", "100", "150", "180", "160", "210", "-60", "-78", "-42"] in rows
    assert next(row[0] for row in rows if row[1:] == ["180"]) == "0"


@pytest.mark.parametrize(("passed", "fails"), [(True, False), (False, True)])
def test_an_effect_that_does_not_hold_up_is_boxed_so(told, parts, passed, fails):
    _, refuter, _ = parts
    page = html(told(refuters=(refuter(passed=passed),)))
    assert ('class="box fails"' in page) is fails
    assert ("It does not hold up" in page) is fails


@pytest.fixture
def undrawn(monkeypatch):
    """No picture is drawn, which takes most of the time."""
    monkeypatch.setattr("hdt_fm.twin.what_if.page.whole_picture", lambda told: b"")


def test_without_dates_the_page_has_no_clock(told, undrawn):
    files = files_of(told(settings={"dates": False}))
    for name in (HTML_NAME, JSON_NAME):
        text = files[name].decode()
        assert "2026" not in text
        assert not re.search(r"\b\d\d:\d\d\b", text)
    assert "Time</th>" not in files[HTML_NAME].decode()
    assert "from the newest reading" in files[HTML_NAME].decode()


def test_nobody_can_be_told_from_the_files(told, undrawn):
    for dates in (True, False):
        files = files_of(told(settings={"dates": dates}))
        for name in (HTML_NAME, JSON_NAME):
            assert not private_traces(files[name].decode(), dates=not dates)


@pytest.mark.parametrize("note", ["as in /srv/people/one.csv", "ask one@place.org", "s" + "0" * 32])
def test_a_private_trace_is_refused(told, undrawn, note):
    with pytest.raises(RecordingError, match="The report would hold"):
        files_of(told(settings={"notes": (note,)}))


def test_a_date_in_a_note_is_refused_where_none_may_be(told):
    with pytest.raises(RecordingError, match="a calendar date"):
        html(told(settings={"notes": ("since 2026-03-01",), "dates": False}))
    assert "since 2026-03-01" in html(told(settings={"notes": ("since 2026-03-01",)}))


def test_equal_answers_give_equal_files(told):
    first, second = files_of(told()), files_of(told())
    assert first == second
    assert list(first) == [HTML_NAME, PNG_NAME, JSON_NAME]
    assert first[PNG_NAME][:8] == b"\x89PNG\r\n\x1a\n"
    assert b"Matplotlib" not in first[PNG_NAME]
    assert json.loads(first[JSON_NAME]) == told()
    assert whole_picture(told(plan="bolus 5 U")) != first[PNG_NAME]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_any_number_of_curves_is_drawn(told, parts, count):
    _, _, curve = parts
    found = told(curves=(curve("bolus", "U", [0.0, 2.0, 4.0], -15.0),) * count)
    assert len(whole_picture(found)) > 10_000
    assert html(found).count("Effect after 2 h by dose") == count
    assert ("people do not dose so" in html(found)) == bool(count)


def test_a_drug_has_its_words(told, parts):
    _, _, curve = parts
    found = told(
        plan="drug_metformin 500 mg",
        curves=(curve("drug_metformin", "mg", [0.0, 500.0], -0.01, supported=[False, False]),),
    )
    assert "drug_metformin 500 mg" in html(found)
    assert "People take none of the doses of drug_metformin that are drawn." in html(found)

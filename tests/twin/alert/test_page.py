"""The report as data, words and one page: what is drawn is what was found, and nothing leads away from the page."""

import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from hdt_fm.schema.errors import RecordingError
from hdt_fm.schema.privacy import private_traces
from hdt_fm.twin.alert import drawing
from hdt_fm.twin.alert.page import files_of, html
from hdt_fm.twin.alert.report import watch
from hdt_fm.twin.alert.settings import AlertSettings
from hdt_fm.twin.alert.told import lines, record

NAMES = ("resting_heart_rate", "hrv", "component_0")


@pytest.fixture(scope="module")
def told(nights_of_module, usual_module):
    """(nights, report): ill from night 100, without data from 60 to 64, another device at 140."""
    generator = np.random.default_rng(5)
    values = np.stack(
        [usual_module(160, seed=1, sd=1.2), 45 + 5 * generator.normal(size=160), generator.normal(size=160)], 1
    )
    values[100:108, 0] += [1.5, 3, 4.5, 6, 6, 6, 6, 6]
    values[60:65] = np.nan
    nights = nights_of_module(values, NAMES, ("serial-1",) * 140 + ("serial-2",) * 20)
    return nights, watch(nights)


@pytest.fixture(scope="module")
def nights_of_module(request):
    return request.getfixturevalue("nights_of")


@pytest.fixture(scope="module")
def usual_module(request):
    return request.getfixturevalue("usual")


def svg_of(page):
    return ElementTree.fromstring(re.search(r'<svg viewBox="0 0 960.*?</svg>(?=</figure>)', page, re.DOTALL).group(0))


class Reader(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self):
        super().__init__()
        self.tags = []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))


def test_deviation_is_the_distance_from_the_usual(told):
    nights, report = told
    away = (nights.values - report.usual) / report.spread
    np.testing.assert_allclose(away, report.deviation, rtol=1e-9, atol=1e-9)
    assert np.isnan(report.spread[:7]).all()
    assert np.isfinite(report.spread[7:140]).all()
    # A night without data has something usual too, and the first night of another device has not.
    assert np.isfinite(report.usual[62]).all()
    assert np.isnan(report.usual[140]).all()


@pytest.mark.parametrize("length", [3, 20, 28])
def test_nights_missing_are_just_enough(nights_of, usual, length):
    values = usual(80, seed=4)
    values[[1, 9, 12]] = np.nan
    missing = watch(nights_of(values[:length])).nights_missing
    kept = np.delete(values, [at for at in (1, 9, 12) if at >= length])
    until = length + missing
    assert watch(nights_of(kept[:until])).usable_from is not None
    assert watch(nights_of(kept[: until - 1])).usable_from is None
    assert watch(nights_of(kept[:until])).nights_missing == 0


@pytest.mark.parametrize("own", [1, 5, 10])
def test_nights_missing_after_another_device(nights_of, usual, own):
    report = watch(nights_of(usual(60, seed=4), devices=("a",) * (60 - own) + ("b",) * own))
    assert report.usable_from is not None
    assert report.nights_missing == 29 - own


def test_the_record_is_what_the_report_says(told):
    nights, report = told
    found = json.loads(json.dumps(record(report, nights, source="a table"), allow_nan=False))
    assert found["nights"]["calendar"] == 160
    assert found["nights"]["abstained"] == 5
    assert sum(found["nights"][state] for state in ("learning", "quiet", "watch", "alert", "abstained")) == 160
    assert found["nights"]["judged"] == sum(found["nights"][state] for state in ("quiet", "watch", "alert"))
    assert found["expected_by_chance"] == pytest.approx(2 * found["nights"]["judged"] / 365.25, abs=0.006)
    ill = [one for one in found["alerts"] if one["end"] >= str(nights.dates[100])]
    assert len(ill) == 1
    assert ill[0]["deviations"][0]["indicator"] == "resting_heart_rate"
    assert str(nights.dates[100]) <= ill[0]["begin"] <= str(nights.dates[104])
    assert not ill[0]["goes_on"]
    assert found["device_changes"] == found["learned_anew"] == [str(nights.dates[140])]
    assert found["indicators"][0]["unit"] == "bpm"
    assert found["indicators"][2]["unit"] == ""
    assert found["indicators"][1]["last"] == pytest.approx(nights.values[-1, 1], rel=1e-3)
    assert found["night_by_night"][62]["personal_sds"]["hrv"] is None
    assert found["night_by_night"][110]["state"] == report.state[110]
    assert "serial" not in json.dumps(found)


def test_an_alert_that_goes_on_says_so(nights_of, usual):
    values = usual(110, seed=1, sd=1.2)
    values[100:108] += [1.5, 3, 4.5, 6, 6, 6, 6, 6]
    values[105:108] = np.nan
    nights = nights_of(values[:108])
    found = record(watch(nights), nights)
    assert found["last_night"]["state"] == "abstained"
    assert found["alerts"][-1]["goes_on"]
    assert any("goes on" in line for line in lines(found))


def test_the_words_say_state_alerts_and_chance(told):
    nights, report = told
    text = "\n".join(lines(record(report, nights, notes=("a thing to know",))))
    assert f"{nights.dates[-1]}: learning" in text
    assert f"usable from {report.usable_from}" in text
    assert "5 without data (abstained)" in text
    assert f"until a night can be judged: {report.nights_missing} more nights with data" in text
    assert "resting_heart_rate +" in text
    assert "2 false alerts a year" in text
    assert f"another device from {nights.dates[140]}" in text
    assert "note: a thing to know" in text
    assert "It is no diagnosis" in text


def test_without_dates_nothing_holds_one(told):
    nights, report = told
    found = record(report, nights, dates=False)
    page = html(report, nights, found, dates=False)
    for text in (json.dumps(found), page, "\n".join(lines(found))):
        assert not private_traces(text, dates=True)
        assert not re.search(r"20\d\d-\d\d", text)
    assert found["last_night"]["night"] == 160
    assert found["device_changes"] == [141]
    assert "night 141" in page
    dated = record(report, nights)
    for one, other in zip(found["alerts"], dated["alerts"], strict=True):
        assert str(nights.dates[one["begin"] - 1]) == other["begin"]
        assert str(nights.dates[one["end"] - 1]) == other["end"]


def test_the_page_needs_nothing_else_and_tells_nobody(told):
    nights, report = told
    page = html(report, nights, record(report, nights))
    reader = Reader()
    reader.feed(page)
    tags = [tag for tag, _ in reader.tags]
    assert {"main", "svg", "table", "h1"} <= set(tags)
    assert not {"script", "link", "img", "iframe", "object"} & set(tags)
    for _, attributes in reader.tags:
        assert not any(name.startswith("on") or name in ("src", "href", "srcset") for name in attributes)
    assert "url(" not in page
    assert "http" not in page
    assert "serial" not in page
    assert "prefers-color-scheme: dark" in page
    assert "no diagnosis" in page
    assert not private_traces(page)


def test_the_figure_has_words_for_those_who_do_not_see_it(told):
    nights, report = told
    svg = svg_of(html(report, nights, record(report, nights)))
    assert svg.get("role") == "img"
    ids = svg.get("aria-labelledby").split()
    texts = {one.get("id"): "".join(one.itertext()) for one in svg.iter() if one.get("id")}
    assert set(ids) <= set(texts)
    words = texts["figure-words"]
    assert f"alert from {report.alerts[-1].begin}" in words
    assert "another device from" in words
    assert "5 nights without data" in words
    shown = " ".join("".join(one.itertext()) for one in svg.iter() if one.tag.endswith("text"))
    for unit in ("bpm", "ms", "unit of the table", "local date"):
        assert unit in shown


def test_the_figure_draws_what_was_found(told):
    nights, report = told
    svg = svg_of(html(report, nights, record(report, nights)))
    of_class = lambda name: [one for one in svg.iter() if one.get("class") == name]
    width = (drawing.WIDTH - drawing.LEFT - drawing.RIGHT) / 160
    (none,) = of_class("none")
    assert float(none.get("x")) == pytest.approx(drawing.LEFT + 60 * width, abs=0.06)
    assert float(none.get("width")) == pytest.approx(5 * width, abs=0.11)
    alert = np.array(report.state) == "alert"
    begins = np.flatnonzero(alert & ~np.concatenate([[False], alert[:-1]]))
    assert [float(one.get("x")) for one in of_class("alert")] == pytest.approx(
        (drawing.LEFT + begins * width).tolist(), abs=0.06
    )
    assert len(of_class("mark")) == len(begins) >= 1
    (change,) = of_class("change")
    assert float(change.get("x1")) == pytest.approx(drawing.LEFT + 140 * width, abs=0.06)
    assert len(of_class("dot")) == np.isfinite(nights.values).sum()
    # Values and the edges of the band stand on one scale: height is linear in the indicator's unit.
    dots = [float(one.get("cy")) for one in of_class("dot")][:155]
    values = nights.values[np.isfinite(nights.values[:, 0]), 0]
    slope, offset = np.polyfit(values, dots, 1)
    assert slope < 0
    np.testing.assert_allclose(slope * values + offset, dots, atol=0.06)
    band = of_class("band")[0].get("points").split()
    first = [float(point.split(",")[1]) for point in (band[0], band[-1])]
    edges = [report.usual[7, 0] + sign * drawing.BAND_SDS * report.spread[7, 0] for sign in (1, -1)]
    np.testing.assert_allclose(first, slope * np.array(edges) + offset, atol=0.06)


def test_the_table_is_the_figure(told):
    nights, report = told
    page = html(report, nights, record(report, nights))
    row = re.search(rf'<tr><th scope="row">{nights.dates[104]}</th>(.*?)</tr>', page).group(1)
    cells = re.findall(r"<td[^>]*>(.*?)</td>", row)
    assert cells[0] == "alert"
    assert cells[2] == f"{nights.values[104, 0]:.5g} ({report.deviation[104, 0]:+.1f})"
    empty = re.search(rf'<tr><th scope="row">{nights.dates[62]}</th>(.*?)</tr>', page).group(1)
    assert re.findall(r"<td[^>]*>(.*?)</td>", empty)[2:] == [""] * 3


def test_long_lives_are_cut_for_the_eye_alone(nights_of, usual, monkeypatch):
    monkeypatch.setattr("hdt_fm.twin.alert.drawing.MOST_NIGHTS", 50)
    monkeypatch.setattr("hdt_fm.twin.alert.page.MOST_NIGHTS", 50)
    nights = nights_of(usual(90, seed=2))
    report = watch(nights)
    found = record(report, nights)
    page = html(report, nights, found)
    assert len(found["night_by_night"]) == 90
    assert "show the last 50" in page
    assert sum(one.get("class") == "dot" for one in svg_of(page).iter()) == 50


@pytest.mark.parametrize("value", [0.0, 60.0, 1e-12, 1e7])
def test_numbers_that_never_change_can_be_drawn(nights_of, value):
    nights = nights_of(np.full(40, value))
    report = watch(nights, AlertSettings())
    assert svg_of(html(report, nights, record(report, nights))) is not None


def test_a_name_with_markup_or_an_address_does_no_harm(nights_of, usual):
    nights = nights_of(usual(40, seed=2), ("<b>&mood",))
    report = watch(nights)
    page = html(report, nights, record(report, nights))
    assert "<b>" not in page
    assert svg_of(page) is not None
    named = nights_of(usual(40, seed=2), ("someone@example.org",))
    with pytest.raises(RecordingError, match="an e-mail address"):
        html(watch(named), named, record(watch(named), named))


def test_both_files_are_made_and_neither_tells_who(nights_of, usual):
    nights = nights_of(usual(40, seed=2))
    report = watch(nights)
    found = record(report, nights)
    files = files_of(report, nights, found)
    assert sorted(files) == ["alert.html", "alert.json"]
    assert json.loads(files["alert.json"]) == found
    assert files["alert.html"].decode() == html(report, nights, found)
    with pytest.raises(RecordingError, match="an e-mail address") as caught:
        files_of(report, nights, record(report, nights, notes=("someone@example.org",)))
    assert "someone" not in str(caught.value)

"""The page: self-contained, without ids, readable by a parser, honest about what is absent or failed."""

import hashlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from markupsafe import Markup

from hdt_fm.explain.explanation import Check, Explanation, Reliability
from hdt_fm.explain.page import document
from hdt_fm.explain.page.document import HTML_NAME, JSON_NAME, PDF_NAME, PNG_NAME, html, write_report
from hdt_fm.explain.page.report import Report
from hdt_fm.explain.page.section import Section
from hdt_fm.explain.page.shares import modality_shares
from hdt_fm.schema.errors import ExplainError
from hdt_fm.schema.subject import SubjectKey

FIGURE = Markup('<svg viewBox="0 0 200 100" role="img"><title>A drawing</title><desc>Of something.</desc></svg>')


@pytest.fixture
def explained(fabricated: Callable[..., Explanation]) -> Explanation:
    return fabricated()


@pytest.fixture
def section(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Section:
    """A section of another room, with its template."""
    folder = tmp_path / "templates" / "sections"
    folder.mkdir(parents=True)
    (folder / "drawn.html.j2").write_text("<p>{{ view.words }}</p>{{ view.figure }}\n")
    monkeypatch.setattr(document, "_TEMPLATES", [document._TEMPLATES, folder.parent])
    view = {"words": "Thirty days.", "figure": FIGURE}
    return Section("drawn", "What was drawn", {"days": 30}, view, {"Day": "A turn."}, ("Days differ.",))


def test_the_page_is_self_contained(explained: Explanation, outline: Callable) -> None:
    text = html(Report(explained))
    page = outline(text)
    for tag, attributes in page.tags:
        assert tag not in {"script", "link", "img", "iframe", "object", "embed", "form"}
        assert not {"src", "srcset", "data"} & attributes.keys()
        assert attributes.get("href", "#").startswith("#")
    for word in ("http:", "https:", "//", "@import", "url(h", "javascript"):
        assert word not in text
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    assert page.count("meta", **{"http-equiv": "Content-Security-Policy", "content": policy}) == 1


def test_verdict_and_summary_stand_before_any_figure(explained: Explanation, outline: Callable) -> None:
    text = html(Report(explained, scope="person"))
    first = [text.index(one) for one in ("Verdict:", "What carries it", "Tests of the maps", 'class="channel"')]
    assert first == sorted(first)
    for check in explained.reliability.checks:
        assert check.name in outline(text).text
    share = modality_shares(explained, "integrated_gradients", "person")["ppg"]
    words = f"most credit lies on PPG: {100 * share.mean:.0f} % ({100 * share.low:.0f} to {100 * share.high:.0f} %)"
    assert words in outline(text).text


def test_every_channel_of_three_windows_is_drawn_for_each_method(explained: Explanation, outline: Callable) -> None:
    page = outline(html(Report(explained)))
    assert page.count("svg", role="img") == 3 * 3 * (1 + 3)  # windows, methods; ppg has one channel, acc three
    assert page.count("desc") == page.count("svg", role="img") == page.text.count("the largest credit lies")
    assert page.count("rect", **{"class": "gap"}) == 3 * 3
    assert page.text.count("20% of it was not measured") == 3 * 3
    assert page.count("details") == 3 * 2
    assert page.count("polyline", **{"class": "wave"}) == 3 * (2 + 3)  # once each; the gap cuts ppg in two
    assert page.count("use") == page.count("svg", role="img")


def test_screen_readers_find_their_way(explained: Explanation, section: Section, outline: Callable) -> None:
    page = outline(html(Report(explained, sections=[section], alternative=replace(explained, reference="zero"))))
    assert page.count("html", lang="en") == page.count("main") == page.count("h1") == page.count("header") == 1
    assert page.count("nav", **{"aria-label": "Contents"}) == 1
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.tags:
        for key in ("href", "aria-labelledby"):
            assert attributes.get(key, "#main").removeprefix("#") in {*ids, "main"}
        if tag == "svg":
            assert (attributes.get("role") == "img") != (attributes.get("aria-hidden") == "true")
        if tag == "th":
            assert attributes["scope"] in {"row", "col"}
        if "tabindex" in attributes:
            assert attributes["aria-label"]
    assert page.count("svg", role="img") == page.count("title") - 1  # the page's own
    assert page.count("caption") == page.count("table") > 0
    first = next(attributes for tag, attributes in page.tags if tag == "a")
    assert first["class"] == "skip"


def test_the_absent_modality_is_called_absent(explained: Explanation, outline: Callable) -> None:
    text = outline(html(Report(explained))).text
    assert "absent: it was not worn" in text
    assert text.count("Absent from this window: Skin temperature.") == 3


def test_a_failed_report_is_stamped_across_every_figure(
    explained: Explanation, section: Section, outline: Callable
) -> None:
    failed = replace(explained, reliability=Reliability((Check("randomisation", "fail", 0.9, "", "It stays."),)))
    page = outline(html(Report(failed, sections=[section])))
    figures = 3 * 3 * (1 + 3) + 1
    assert page.count("svg", role="img") == figures
    assert page.text.count("NOT RELIABLE HERE") == figures
    titles = page.words("title")[1:]
    assert len(titles) == figures
    assert all(title.startswith("Not reliable here: ") for title in titles)
    assert "Not reliable here: A drawing" in titles
    assert page.text.count("Not reliable here: at least one test failed.") == 3  # shares, windows, the section
    assert "not reliable here" not in html(Report(explained, sections=[section])).lower()


def test_a_section_is_in_its_place(explained: Explanation, section: Section, outline: Callable) -> None:
    text = html(Report(explained, sections=[section]))
    page = outline(text)
    assert text.index('id="windows"') < text.index('id="drawn"') < text.index('id="agreement"')
    for words in ("What was drawn", "Thirty days.", "Day", "A turn.", "Days differ."):
        assert words in page.text
    assert page.count("a", href="#drawn") == 1
    with pytest.raises(ExplainError, match="same key"):
        html(Report(explained, sections=[section, section]))


def test_the_other_reference_stands_beside(explained: Explanation, fabricated: Callable, outline: Callable) -> None:
    other = fabricated(reference="zero", seed=1)
    page = outline(html(Report(explained, alternative=other)))
    assert page.count("svg", role="img") == 3 * (1 + 3) * 4  # two of the leading method, two further methods
    assert page.text.count("Reference used: window mean") == page.text.count("Another reference: zero") == 3 * 2
    assert re.search(r"the two rank stretches alike to −?-?0\.\d\d", page.text)
    with pytest.raises(ExplainError, match="another explanation"):
        html(Report(explained, alternative=fabricated(windows=5)))


def test_marks_and_intervals_are_told(explained: Explanation, outline: Callable) -> None:
    events = {"meal": [np.array([1.0, 4.0])] * 6, "beat": [np.arange(0.0, 5.0, 0.5)] * 6}
    interval = np.stack([explained.output - 1, explained.output + 1], axis=1)
    page = outline(html(Report(explained, events=events, output_interval=interval, output_unit="log-odds")))
    assert page.text.count("Marks: meal: 2, beat: 10.") == 3
    assert page.count("path", **{"class": "event"}) == 2 * 3 * 3 * (1 + 3)
    assert page.words("text").count("meal") == 2 * 3 * 3 * (1 + 3)
    assert page.words("text").count("beat") == 0  # too many to be named one by one
    assert page.text.count("(95\u00a0% interval ") == 3
    assert page.text.count("log-odds in a stretch of 0.25 s") == 3
    assert page.text.count("log-odds per standard deviation in a stretch of 0.25 s") == 3
    assert page.text.count("log-odds in a stretch of 1 s") == 3  # occlusion has no finer grain
    with pytest.raises(ExplainError, match="do not fit the windows"):
        html(Report(explained, events={"meal": [np.array([1.0])]}))
    with pytest.raises(ExplainError, match="interval does not fit"):
        html(Report(explained, output_interval=interval[:2]))


def test_withheld_waveforms_are_in_no_file(explained: Explanation, tmp_path: Path) -> None:
    events = {"beat": [np.arange(0.0, 5.0, 0.5)] * 6}
    page, record = write_report(Report(explained, withheld=True, events=events), tmp_path / "a", pictures=False)
    text = page.read_text()
    assert not re.search(r"polyline|<use|class=\"event\"|a\.u\.", text)
    told = json.loads(record.read_text())
    assert all("samples" not in window and window["events"] == {} for window in told["windows"])
    assert text.count("in a stretch of 1 s") == 3 * 3  # no finer than the segments
    page, record = write_report(Report(explained, events=events), tmp_path / "b", pictures=False)
    assert "polyline" in page.read_text()
    assert sum("samples" in window for window in json.loads(record.read_text())["windows"]) == 3


def test_all_files_appear_or_none(explained: Explanation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page, record = write_report(Report(explained), tmp_path / "a")
    names = {HTML_NAME, JSON_NAME, PDF_NAME, PNG_NAME}
    assert {path.name for path in page.parent.iterdir()} == names
    assert hashlib.sha256(record.read_bytes()).hexdigest() in page.read_text()
    before = {name: (page.parent / name).read_bytes() for name in names}
    monkeypatch.setattr(Path, "write_bytes", lambda self, content: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_report(Report(replace(explained, target="another")), tmp_path / "a", pictures=False)
    assert {path.name for path in page.parent.iterdir()} == names
    assert all((page.parent / name).read_bytes() == before[name] for name in names)


@pytest.mark.parametrize(
    ("key", "value", "kind"),
    [
        ("data", "/".join(["", "srv", "cohort", "shards"]), "absolute path"),
        ("made", "2026-03-02", "calendar date"),
        ("who", SubjectKey.public().pseudonym("study", "7"), "pseudonym"),
        ("contact", "someone@example.org", "e-mail"),
    ],
)
def test_private_traces_are_refused(explained: Explanation, tmp_path: Path, key: str, value: str, kind: str) -> None:
    with pytest.raises(ExplainError, match=kind) as caught:
        write_report(Report(replace(explained, provenance={key: value})), tmp_path / "out")
    assert value not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_section_is_screened_too(explained: Explanation, section: Section, tmp_path: Path) -> None:
    for traced in (
        replace(section, view={**section.view, "words": "on 2026-03-02"}),
        replace(section, record={"a": "2026-03-02"}),
    ):
        with pytest.raises(ExplainError, match="calendar date"):
            write_report(Report(explained, sections=[traced]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_whose_windows_they_are_decides(fabricated: Callable[..., Explanation], outline: Callable) -> None:
    assert "6 windows of 5 s of one person" in outline(html(Report(fabricated(), scope="person"))).text
    assert (
        "12 windows of 5 s, of 6 people" in outline(html(Report(fabricated(windows=12, people=6), scope="cohort"))).text
    )
    assert "1 window of 5 s of one person" in outline(html(Report(fabricated(windows=1), scope="window"))).text
    with pytest.raises(ExplainError, match="single people") as caught:
        html(Report(fabricated(windows=12, people=4), scope="cohort"))
    assert "at least 5" in str(caught.value)
    with pytest.raises(ExplainError, match="several people"):
        html(Report(fabricated(people=2), scope="person"))
    with pytest.raises(ExplainError, match="one window got several"):
        html(Report(fabricated(), scope="window"))


def test_what_few_people_hold_is_not_shown(fabricated: Callable[..., Explanation], outline: Callable) -> None:
    made = fabricated(windows=12, people=6, absent=())
    present = made.present.copy()
    present[made.person >= 4, 2] = False  # four people hold temp
    words = "signals that fewer than 5 people hold are told together with another"
    assert words in outline(html(Report(replace(made, present=present), scope="cohort"))).text
    assert words not in outline(html(Report(made, scope="cohort"))).text
    present[made.person >= 4] = False  # nobody else holds anything, so nothing can be joined
    text = outline(html(Report(replace(made, present=present), scope="cohort"))).text
    assert "held by fewer than 5 people: not shown" in text


def test_no_subject_row_leaves(fabricated: Callable[..., Explanation], tmp_path: Path) -> None:
    made = fabricated(windows=12, people=6)
    made = replace(made, person=made.person + 77_001)
    for path in write_report(Report(made, scope="cohort"), tmp_path, pictures=False):
        assert "7700" not in path.read_text()


def test_nothing_is_shown_unexamined(explained: Explanation) -> None:
    with pytest.raises(ExplainError, match="examined"):
        html(Report(replace(explained, reliability=None)))


def test_text_is_escaped(explained: Explanation) -> None:
    assert "<script" not in html(Report(replace(explained, target="<script>alert(1)</script>")))


def test_what_is_not_stated_is_said(explained: Explanation, outline: Callable) -> None:
    text = outline(html(Report(explained))).text
    assert text.count("not stated") == 3 * 2 + 1  # config, data and consent, twice; data once more in the citation
    assert text.count("ab" * 16) == 3


def test_a_modality_that_is_present_without_a_sample_is_all_hatched(explained: Explanation, outline: Callable) -> None:
    acc = replace(explained.signals["acc"], observed=np.zeros((6, 20), dtype=bool))
    maps = tuple(replace(one, values={**one.values, "acc": one.values["acc"] * 0}) for one in explained.maps)
    text = html(Report(replace(explained, signals={**explained.signals, "acc": acc}, maps=maps)))
    page = outline(text)
    assert page.text.count("no credit anywhere. 100% of it was not measured") == 3 * 3 * 3
    assert not re.search(r"\bnan\b", text)


def test_a_map_of_zeros_says_so(explained: Explanation, outline: Callable) -> None:
    maps = tuple(replace(one, values={k: v * 0 for k, v in one.values.items()}) for one in explained.maps)
    assert "No credit was found anywhere" in outline(html(Report(replace(explained, maps=maps)))).text


def test_a_page_stays_small_and_quick(fabricated: Callable[..., Explanation], tmp_path: Path) -> None:
    sizes = {"ecg": (8, 15_360)}  # a minute at 256 Hz
    made = fabricated(windows=3, window_s=60.0, sizes=sizes, absent=())
    made = replace(made, segments=30)
    before = time.process_time()
    text = html(Report(made))
    assert time.process_time() - before < 2.0
    assert len(text) < 3e6
    crowd = fabricated(windows=1, sizes={"eeg": (64, 50)}, absent=())
    assert html(Report(crowd)).count('class="channel"') == 16 * 3
    assert "48 channels with less credit are not drawn" in html(Report(crowd))

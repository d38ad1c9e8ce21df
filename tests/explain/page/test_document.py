"""The page: self-contained, without ids, readable by a parser, honest about what is absent."""

import json
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hdt_fm.explain.attribution import attribute
from hdt_fm.explain.explanation import Check, Explanation, Reliability
from hdt_fm.explain.gate.examine import examine
from hdt_fm.explain.gate.skill import Skill
from hdt_fm.explain.page.document import html, write_report
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ExplainError
from hdt_fm.schema.subject import SubjectKey

VOID = {"meta", "rect", "line", "polyline", "br", "link", "img"}
SKILL = Skill("auroc", 0.81, 0.74, 0.5, 28)


class Outline(HTMLParser):
    """Collects what a reader or a browser would find, and checks that tags close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def count(self, tag: str, **attributes: str) -> int:
        return sum(t == tag and attributes.items() <= a.items() for t, a in self.tags)


@pytest.fixture
def explained(new_batch: Callable[..., Batch], new_linear: Callable[..., nn.Module]) -> Explanation:
    batch = new_batch(5)
    keep = batch.present.clone()
    keep[:, 2] = False
    observed = batch.signals["ppg"].observed.clone()
    observed[:, 12:20] = False
    ppg = replace(batch.signals["ppg"], observed=observed)
    batch = replace(batch, signals={**batch.signals, "ppg": ppg}, subject=batch.subject + 77_001).without(keep)
    model = new_linear(batch)
    made = attribute(model, batch, target=1, target_name="stress", segments=5, provenance={"model digest": "ab" * 32})
    return replace(made, reliability=examine(model, batch, made, skill=SKILL))


def test_the_page_is_self_contained(explained: Explanation) -> None:
    page = Outline(html(explained))
    for tag, attributes in page.tags:
        assert tag not in {"script", "link", "img", "iframe", "object", "embed", "form"}
        assert not {"src", "href", "srcset", "data"} & attributes.keys()
    for word in ("http", "//", "@import", "url(h", "javascript"):
        assert word not in html(explained)


def test_reliability_stands_before_any_figure(explained: Explanation) -> None:
    text = html(explained)
    assert 0 < text.index("Verdict:") < text.index("How far to trust") + 500 < text.index('class="channel"')
    for check in explained.reliability.checks:
        assert check.name in Outline(text).text


def test_every_channel_of_three_windows_is_drawn_with_words_for_those_who_cannot_see(explained: Explanation) -> None:
    page = Outline(html(explained))
    assert page.count("svg", role="img") == 3 * (1 + 3)  # three windows; ppg has one channel, acc three
    assert page.count("desc") == page.count("svg", role="img") == page.text.count("the largest credit lies")
    assert page.count("rect", **{"class": "gap"}) == 3  # the unmeasured stretch of ppg
    assert page.text.count("20% of it was not measured") == 3
    assert page.count("main") == 1
    assert page.count("html", lang="en") == 1
    assert page.count("th", scope="row") >= 9


def test_the_absent_modality_is_called_absent(explained: Explanation) -> None:
    text = Outline(html(explained)).text
    assert "absent: it was not worn" in text
    assert text.count("Absent from this window: Skin temperature.") == 3


def test_shares_on_the_page_are_those_of_the_explanation(explained: Explanation) -> None:
    text = Outline(html(explained)).text
    for method in ("integrated_gradients", "saliency", "occlusion"):
        for name in ("ppg", "acc"):
            mean, count = explained.mean_shares(method)[name]
            assert count == 5
            assert f"{100 * mean:.1f} %" in text
        assert sum(explained.mean_shares(method)[n][0] for n in ("ppg", "acc")) == pytest.approx(1.0)


def test_a_failed_report_is_stamped(explained: Explanation) -> None:
    failed = Reliability((Check("randomisation", "fail", 0.9, "", ""),))
    page = Outline(html(replace(explained, reliability=failed)))
    assert page.text.count("NOT RELIABLE HERE") == page.count("svg", role="img")
    assert "NOT RELIABLE HERE" not in html(explained)


def test_withheld_waveforms_are_in_neither_file(explained: Explanation, tmp_path: Path) -> None:
    page, record = write_report(explained, tmp_path / "a", withhold_waveforms=True)
    assert "polyline" not in page.read_text()
    assert all("samples" not in window for window in json.loads(record.read_text())["windows"])
    page, record = write_report(explained, tmp_path / "b")
    assert page.read_text().count("<polyline") == 3 * (2 + 3)  # a gap cuts ppg in two
    assert sum("samples" in window for window in json.loads(record.read_text())["windows"]) == 3


def test_no_id_and_no_clock_time_leaves(explained: Explanation, tmp_path: Path) -> None:
    for path in write_report(explained, tmp_path):
        text = path.read_text()
        assert "7700" not in text
        assert "subject" not in text
    assert {path.name for path in tmp_path.iterdir()} == {"explanation.html", "explanation.json"}


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
        write_report(replace(explained, provenance={key: value}), tmp_path)
    assert value not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_nothing_is_shown_unexamined(explained: Explanation) -> None:
    with pytest.raises(ExplainError, match="examined"):
        html(replace(explained, reliability=None))


def test_text_is_escaped(explained: Explanation) -> None:
    text = html(replace(explained, target="<script>alert(1)</script>"))
    assert "<script" not in text


def test_json_keys_and_numbers(explained: Explanation) -> None:
    record = explained.to_dict()
    assert set(record) == {
        *("version", "target", "reference", "window_s", "segments", "settings", "reliability"),
        *("shares", "windows", "provenance"),
    }
    assert record["version"] == 2
    assert record["shares"]["saliency"]["temp"] == {"mean": None, "n": 0}
    window = record["windows"][0]
    assert set(window) >= {"output", "reference_output", "present", "by_segment", "completeness_delta"}
    credit = np.array(window["by_segment"]["integrated_gradients"]["acc"])
    assert credit.shape == (3, 5)
    total = credit.sum() + np.sum(window["by_segment"]["integrated_gradients"]["ppg"])
    assert total == pytest.approx(window["output"] - window["reference_output"], abs=1e-3)
    shown = next(window for window in record["windows"] if "samples" in window)
    assert shown["samples"]["ppg"]["values"][0][12:20] == [None] * 8
    assert shown["samples"]["ppg"]["unit"] == "au"


def test_one_window_makes_one_example(new_batch: Callable[..., Batch], new_linear: Callable[..., nn.Module]) -> None:
    batch = new_batch(1, names=("ppg",))
    made = attribute(new_linear(batch), batch, target=0, methods=("saliency",))
    assert made.examples() == (0,)
    assert html(replace(made, reliability=examine(new_linear(batch), batch, made))).count("<article>") == 1
    assert torch.equal(batch.window_id, torch.zeros(1, dtype=torch.int64))


def test_a_modality_that_is_present_without_a_sample_is_all_hatched(
    new_batch: Callable[..., Batch], new_linear: Callable[..., nn.Module]
) -> None:
    batch = new_batch(1)
    acc = replace(batch.signals["acc"], observed=torch.zeros_like(batch.signals["acc"].observed))
    batch = replace(batch, signals={**batch.signals, "acc": acc})
    made = attribute(new_linear(batch), batch, target=0)
    page = Outline(html(replace(made, reliability=examine(new_linear(batch), batch, made))))
    assert page.text.count("no credit anywhere. 100% of it was not measured") == 3
    assert page.count("polyline") == 3  # ppg and the two channels of temp

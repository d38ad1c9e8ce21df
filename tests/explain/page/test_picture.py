"""PDF and PNG: the verdict on every sheet, the stamp on every figure, equal bytes for equal reports."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hdt_fm.explain.explanation import Check, Explanation, Reliability
from hdt_fm.explain.page import picture
from hdt_fm.explain.page.report import Report
from hdt_fm.explain.page.sheet import Sheet

pytest.importorskip("matplotlib")


def texts(sheet: Sheet) -> list[Any]:
    from matplotlib.text import Text

    return [one for one in sheet.figure.findobj(Text) if one.get_text()]


def words(sheet: Sheet) -> list[str]:
    return [one.get_text() for one in texts(sheet)]


def curves(sheet: Sheet) -> int:
    """Lines of more than two points: only waveforms are."""
    from matplotlib.lines import Line2D

    return sum(len(one.get_xdata()) > 2 for one in sheet.figure.findobj(Line2D))


def test_files_are_the_same_twice_and_undated(fabricated: Callable[..., Explanation]) -> None:
    report = Report(fabricated(windows=2, sizes={"ppg": (1, 40)}, absent=()), scope="person")
    first = picture.pdf(report)
    assert first == picture.pdf(report)
    assert first.startswith(b"%PDF")
    assert len(re.findall(rb"/Type /Page\b", first)) == 2 + 2
    assert not re.search(rb"CreationDate|Producer|Creator", first)
    image = picture.png(report)
    assert image == picture.png(report)
    assert image.startswith(b"\x89PNG")
    assert b"Software" not in image


def test_every_sheet_has_the_verdict(fabricated: Callable[..., Explanation]) -> None:
    report = Report(fabricated(verdict="warn"), scope="person")
    sheets = [*picture.sheets(report), picture.leading_window(report)]
    assert len(sheets) == 2 + 3 + 1
    for sheet in sheets:
        assert "Verdict: WARN" in words(sheet)
        assert picture.FOOT in words(sheet)
        assert "NOT RELIABLE HERE" not in words(sheet)
    assert [curves(sheet) for sheet in sheets] == [0, 0, *[2 + 3] * 4]  # the gap cuts ppg in two
    assert sum(one.startswith("Skin temperature") for one in words(sheets[1])) == 1
    assert "absent" in words(sheets[1])


def test_a_fail_is_printed_across_every_figure(fabricated: Callable[..., Explanation]) -> None:
    report = Report(fabricated(verdict="fail"), scope="person")
    stamps = [words(sheet).count("NOT RELIABLE HERE") for sheet in picture.sheets(report)]
    assert stamps == [0, 1, 4, 4, 4]  # a window has four channels
    assert words(picture.leading_window(report)).count("NOT RELIABLE HERE") == 4


def test_withheld_waveforms_are_in_no_picture(fabricated: Callable[..., Explanation]) -> None:
    made = fabricated()
    events = {"beat": [np.arange(0.0, 5.0, 0.5)] * 6}
    withheld = Report(made, withheld=True, events=events)
    for sheet in [*picture.sheets(withheld), picture.leading_window(withheld)]:
        assert curves(sheet) == 0
        assert "a.u." not in words(sheet)
    assert any(curves(sheet) for sheet in picture.sheets(Report(made, events=events)))


def test_many_tests_go_on_another_sheet(fabricated: Callable[..., Explanation]) -> None:
    checks = tuple(Check(f"test {k}", "pass", 1.0, "", "All is well with this one. " * 8) for k in range(40))
    report = Report(replace(fabricated(windows=1), reliability=Reliability(checks)))
    pages = picture.sheets(report)
    told = [word for sheet in pages for word in words(sheet)]
    assert all(f"test {k}" in told for k in range(40))
    assert len(pages) > 3


def test_nothing_runs_off_the_paper(fabricated: Callable[..., Explanation]) -> None:
    made = fabricated(windows=1, sizes={"ecg": (12, 30)}, absent=())
    sheets = picture.sheets(Report(made, alternative=replace(made, reference="zero")))
    assert len(sheets) == 2 + 3  # twelve channels, five on a sheet
    assert sum(one.startswith("ECG, channel") for sheet in sheets for one in words(sheet)) == 12
    for sheet in sheets:
        foot = next(one for one in texts(sheet) if one.get_text() == picture.FOOT)
        assert max(one.get_position()[1] for one in texts(sheet) if one is not foot) < foot.get_position()[1]

"""An `AlertReport` as one self-contained HTML file and one JSON file."""

from collections.abc import Mapping
from typing import Any

from hdt_fm.twin.alert import told as words
from hdt_fm.twin.alert.drawing import BAND_SDS, MOST_NIGHTS, nights_figure
from hdt_fm.twin.alert.report import AlertReport
from hdt_fm.twin.nights.night import Nights
from hdt_fm.twin.page import number, plain, rendered

HTML_NAME, JSON_NAME = "alert.html", "alert.json"
TITLE = "Nights unlike this person's own"


def files_of(report: AlertReport, nights: Nights, record: Mapping[str, Any], *, dates: bool = True) -> dict[str, bytes]:
    """The page and the record, by name of their files.

    Args:
        nights: Those that the report is of.
        record: Of `told.record`, made with the same `dates`.

    Raises:
        RecordingError: If a text that was given would leave a private trace.
    """
    texts = {
        HTML_NAME: html(report, nights, record, dates=dates),
        JSON_NAME: plain(JSON_NAME, record, dates=dates),
    }
    return {name: text.encode() for name, text in texts.items()}


def html(report: AlertReport, nights: Nights, record: Mapping[str, Any], *, dates: bool = True) -> str:
    """The page as text; arguments and errors are those of `files_of`."""
    return rendered(
        HTML_NAME,
        dates=dates,
        title=TITLE,
        told=record,
        figure=nights_figure(report, nights, dates=dates, words=_figure_words(record)),
        rows=_rows(record, nights),
        shown=MOST_NIGHTS,
        band_sds=BAND_SDS,
        state_words=words.STATE_WORDS,
        night=words.night,
        deviating=words.deviating,
        shares=_shares(record),
        points=words.points,
        chance=f"{words.chance(record)}; {words.EXPERIENCE}",
        counted=words.counted,
    )


def _figure_words(record: Mapping[str, Any]) -> str:
    alerts = [
        f"alert from {words.night(one['begin'])} to {words.night(one['end'])}, {words.deviating(one)}"
        for one in record["alerts"]
    ]
    names = ", ".join(one["name"] for one in record["indicators"])
    changes = [f"another device from {words.night(one)}" for one in record["device_changes"]]
    none = f"{record['nights']['abstained']} nights without data"
    return "; ".join([f"{names} against what is usual", *(alerts or ["no alert"]), *changes, none]).replace("_", " ")


def _shares(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of each alert, what its score is made of: a row a part, and how long its bar is beside the longest one."""
    found = []
    for alert in record["alerts"]:
        parts = words.told_parts(alert)
        most = max((abs(one["points"]) for one in parts), default=0.0) or 1.0
        rows = [
            {
                "name": one["indicator"],
                "points": _points(one["points"]),
                "share": "" if one["share"] is None else words.percent(one["share"]),
                "bar": round(100 * abs(one["points"]) / most, 1),
                "against": one["points"] < 0,
            }
            for one in parts
        ]
        found.append({"alert": alert, "rows": rows, "score": _points(alert["score"])})
    return found


def _points(value: float) -> str:
    """Two decimals; adding 0 leaves no minus before nothing."""
    return f"{round(value, 2) + 0.0:.2f}"


def _rows(record: Mapping[str, Any], nights: Nights) -> list[dict[str, Any]]:
    """The nights of the figure, the last one first."""
    every, told = nights.on_calendar(), record["night_by_night"]
    rows = []
    for at in range(len(told) - 1, max(0, len(told) - MOST_NIGHTS) - 1, -1):
        sds = told[at]["personal_sds"].values()
        cells = [
            "" if value != value else f"{value:.5g}" + ("" if sd is None else f" ({sd:+.1f})")
            for value, sd in zip(every.values[at].tolist(), sds, strict=True)
        ]
        evidence = number(told[at]["evidence"])
        rows.append({"night": told[at]["night"], "state": told[at]["state"], "evidence": evidence, "cells": cells})
    return rows

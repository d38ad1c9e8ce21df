"""An `AlertReport` as one self-contained HTML file and one JSON file."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hdt_fm import __version__
from hdt_fm.schema.errors import RecordingError
from hdt_fm.schema.privacy import private_traces
from hdt_fm.twin import told as words
from hdt_fm.twin.alert import AlertReport
from hdt_fm.twin.drawing import BAND_SDS, MOST_NIGHTS, nights_figure
from hdt_fm.twin.night import Nights

HTML_NAME, JSON_NAME = "alert.html", "alert.json"
_TEMPLATES = Path(__file__).parent / "templates"
TITLE = "Nights unlike this person's own"


def html(report: AlertReport, nights: Nights, record: Mapping[str, Any], *, dates: bool = True) -> str:
    """The page as text: no script, no outside resource, no id; no date either where `dates` is False.

    Args:
        record: Of `told.record`, made with the same `dates`.

    Raises:
        RecordingError: If a text that was given would leave a private trace.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("alert.html.j2").render(
        title=TITLE,
        told=record,
        figure=nights_figure(report, nights, dates=dates, words=_figure_words(record)),
        rows=_rows(record, nights),
        shown=MOST_NIGHTS,
        band_sds=BAND_SDS,
        state_words=words.STATE_WORDS,
        night=words.night,
        deviating=words.deviating,
        chance=f"{words.chance(record)}; {words.EXPERIENCE}",
        number=_number,
        counted=words.counted,
        version=__version__,
    )
    return screened(page, HTML_NAME, dates=dates)


def write_report(folder: Path, page: str, record: Mapping[str, Any]) -> tuple[Path, Path]:
    """Write both files; a folder that was not there appears with both or not at all, an earlier pair is replaced."""
    texts = {HTML_NAME: page, JSON_NAME: json.dumps(record, indent=1, allow_nan=False) + "\n"}
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = folder.parent / f".{folder.name}.{os.getpid()}"
    try:
        fresh.mkdir()
        for name, text in texts.items():
            (fresh / name).write_text(text, encoding="utf-8")
        if folder.is_dir() and any(folder.iterdir()):
            for name in texts:
                os.replace(fresh / name, folder / name)
        else:
            os.rename(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder / HTML_NAME, folder / JSON_NAME


def screened(text: str, where: str, *, dates: bool) -> str:
    """The text, if nothing in it tells who or which machine.

    Raises:
        RecordingError: If something does.
    """
    traces = private_traces(text, dates=not dates)
    if traces:
        raise RecordingError(
            f"The report would hold {', '.join(traces)}",
            where=where,
            expected="no id, path or address" + ("" if dates else ", and no date"),
            fix="rename the columns of the table",
        )
    return text


def _figure_words(record: Mapping[str, Any]) -> str:
    alerts = [
        f"alert from {words.night(one['begin'])} to {words.night(one['end'])}, {words.deviating(one)}"
        for one in record["alerts"]
    ]
    names = ", ".join(one["name"] for one in record["indicators"])
    changes = [f"another device from {words.night(one)}" for one in record["device_changes"]]
    none = f"{record['nights']['abstained']} nights without data"
    return "; ".join([f"{names} against what is usual", *(alerts or ["no alert"]), *changes, none]).replace("_", " ")


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
        evidence = _number(told[at]["evidence"])
        rows.append({"night": told[at]["night"], "state": told[at]["state"], "evidence": evidence, "cells": cells})
    return rows


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"

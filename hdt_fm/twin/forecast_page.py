"""An `Outlook` as one self-contained HTML file, a picture and one JSON file."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hdt_fm import __version__
from hdt_fm.twin import forecast_told as words
from hdt_fm.twin.forecast_drawing import fan_figure
from hdt_fm.twin.forecast_picture import fan_picture
from hdt_fm.twin.page import screened

HTML_NAME, JSON_NAME, PNG_NAME = "forecast.html", "forecast.json", "forecast.png"
_TEMPLATES = Path(__file__).parent / "templates"


def html(told: Mapping[str, Any]) -> str:
    """The page as text: no script, no outside resource, no id; no time of a clock where the record has none.

    Args:
        told: Of `forecast_told.record`.

    Raises:
        RecordingError: If a text that was given would leave a private trace.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("forecast.html.j2").render(
        title=f"{told['modality'].capitalize()} in the next hours",
        told=told,
        figure=fan_figure(told, words=figure_words(told)),
        newest=words.newest(told),
        sentences=[words.sentence(told, one) for one in told["ahead"]],
        trust=words.trust(told),
        chance=words.chance,
        number=lambda value: "" if value is None else f"{value:g}",
        version=__version__,
    )
    return screened(page, HTML_NAME, dates=told["newest"]["time"] is not None)


def figure_words(told: Mapping[str, Any]) -> str:
    """The figure for those who do not see it."""
    hours = -min((one["min"] for one in told["readings"]), default=0) / 60
    values = [one["value"] for one in told["readings"]] or [told["newest"]["value"]]
    before = f"{len(values)} readings of the last {hours:.0f} hours, from {min(values):.0f} to {max(values):.0f}"
    lines = ", ".join(f"{event['threshold']:g}" for event in told["events"])
    thresholds = f" Lines at {lines} {told['unit']}." if lines else ""
    return f"{before} {told['unit']}. {' '.join(words.sentence(told, one) for one in told['ahead'])}{thresholds}"


def write_forecast(folder: Path, told: Mapping[str, Any]) -> None:
    """Write all files; a folder that was not there appears with all or not at all, earlier ones are replaced."""
    files = {
        HTML_NAME: html(told).encode(),
        PNG_NAME: fan_picture(told),
        JSON_NAME: screened(_plain(told), JSON_NAME, dates=told["newest"]["time"] is not None).encode(),
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = folder.parent / f".{folder.name}.{os.getpid()}"
    try:
        fresh.mkdir()
        for name, content in files.items():
            (fresh / name).write_bytes(content)
        if folder.is_dir() and any(folder.iterdir()):
            for name in files:
                os.replace(fresh / name, folder / name)
        else:
            os.rename(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _plain(told: Mapping[str, Any]) -> str:
    return json.dumps(told, indent=1, allow_nan=False) + "\n"

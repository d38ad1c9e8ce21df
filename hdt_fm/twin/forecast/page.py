"""An `Outlook` as one self-contained HTML file, a picture and one JSON file."""

from collections.abc import Mapping
from typing import Any

from hdt_fm.twin.forecast import told as words
from hdt_fm.twin.forecast.drawing import fan_figure
from hdt_fm.twin.forecast.picture import fan_picture
from hdt_fm.twin.page import dated, plain, readings_in_words, rendered

HTML_NAME, JSON_NAME, PNG_NAME = "forecast.html", "forecast.json", "forecast.png"


def files_of(record: Mapping[str, Any]) -> dict[str, bytes]:
    """The page, the picture and the record, by name of their files.

    Args:
        record: Of `told.record`; where it holds no time, nothing else does.

    Raises:
        RecordingError: If a text that was given would leave a private trace.
    """
    return {
        HTML_NAME: html(record).encode(),
        PNG_NAME: fan_picture(record),
        JSON_NAME: plain(JSON_NAME, record, dates=dated(record)).encode(),
    }


def html(record: Mapping[str, Any]) -> str:
    """The page as text; arguments and errors are those of `files_of`."""
    return rendered(
        HTML_NAME,
        dates=dated(record),
        title=f"{record['modality'].capitalize()} in the next hours",
        told=record,
        figure=fan_figure(record, words=_figure_words(record)),
        newest=words.newest(record),
        sentences=[words.sentence(record, one) for one in record["ahead"]],
        trust=words.trust(record),
        chance=words.chance,
        chances=words.chances,
        came=words.came,
        until=" until then" if "within" in record["ahead"][0] else "",
    )


def _figure_words(record: Mapping[str, Any]) -> str:
    """The figure for those who do not see it."""
    lines = ", ".join(f"{event['threshold']:g}" for event in record["events"])
    thresholds = f" Lines at {lines} {record['unit']}." if lines else ""
    sentences = " ".join(words.sentence(record, one) for one in record["ahead"])
    return f"{readings_in_words(record)} {sentences}{thresholds}"

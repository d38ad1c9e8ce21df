"""A record of two plans as one self-contained HTML file, a picture and one JSON file."""

from collections.abc import Mapping
from typing import Any

from hdt_fm.schema.modalities import modality
from hdt_fm.twin.page import dated, plain, readings_in_words, rendered
from hdt_fm.twin.what_if import words
from hdt_fm.twin.what_if.drawing import whole_figure
from hdt_fm.twin.what_if.picture import whole_picture
from hdt_fm.twin.what_if.told import FAILS, PLANS

HTML_NAME, JSON_NAME, PNG_NAME = "what_if.html", "what_if.json", "what_if.png"


def files_of(record: Mapping[str, Any]) -> dict[str, bytes]:
    """The page, the picture and the record, by name of their files.

    Args:
        record: Of `told.record`; where it holds no time, nothing else does.

    Raises:
        RecordingError: If a text that was given would leave a private trace.
    """
    return {
        HTML_NAME: html(record).encode(),
        PNG_NAME: whole_picture(record),
        JSON_NAME: plain(JSON_NAME, record, dates=dated(record)).encode(),
    }


def html(record: Mapping[str, Any]) -> str:
    """The page as text; arguments and errors are those of `files_of`."""
    return rendered(
        HTML_NAME,
        dates=dated(record),
        title=f"{record['modality'].capitalize()} under two plans",
        told=record,
        words=words,
        called={name: words.CALLED[name] for name in PLANS},
        labels={one["treatment"]: modality(one["treatment"]).label for one in record["curves"]},
        fails=record["verdict"]["name"] == FAILS,
        figure=whole_figure(record, words=_figure_words(record)),
    )


def _figure_words(record: Mapping[str, Any]) -> str:
    """The figure for those who do not see it."""
    lines = ", ".join(f"{one:g}" for one in record["thresholds"])
    sentences = " ".join(words.sentence(record, one) for one in words.shown(record))
    curves = " ".join(_curve_words(one) for one in record["curves"])
    return f"{readings_in_words(record)} {sentences} Lines at {lines} {record['unit']}. {curves}".rstrip()


def _curve_words(curve: Mapping[str, Any]) -> str:
    known = [one for one in curve["points"] if one["supported"]]
    if not known:
        return f"People take none of the doses of {curve['treatment']} that are drawn."
    ends = " to ".join(f"{one['dose']:g}" for one in (known[0], known[-1]))
    effects = " to ".join(words.signed(one["point"]) for one in (known[0], known[-1]))
    return f"{curve['treatment'].capitalize()} {ends} {curve['unit']}: effect {effects} in {words.after(curve['min'])}."

"""What every report of one person shares: its page, the screen for private traces, and files that appear together."""

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

_TEMPLATES = Path(__file__).parent / "templates"


def rendered(name: str, *, dates: bool, **given: Any) -> str:
    """A page as text: no script, no outside resource, no id; no date or time of a clock where `dates` is False.

    Args:
        name: Of the page, such as alert.html; its template is `templates/<name>.j2`.
        given: What the template asks for, beside `version` and `number`.

    Raises:
        RecordingError: If a text that was given would leave a private trace.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template(f"{name}.j2").render(version=__version__, number=number, **given)
    return screened(page, name, dates=dates)


def number(value: float | None) -> str:
    """A number in a cell; none is an empty one."""
    return "" if value is None else f"{value:g}"


def plain(name: str, record: Mapping[str, Any], *, dates: bool) -> str:
    """A record as the text of its JSON file, screened as `rendered` does."""
    return screened(json.dumps(record, indent=1, allow_nan=False) + "\n", name, dates=dates)


def dated(record: Mapping[str, Any]) -> bool:
    """Whether a record from a newest reading on tells its time."""
    return record["newest"]["time"] is not None


def readings_in_words(record: Mapping[str, Any]) -> str:
    """Of a figure, for those who do not see it: the readings before the newest, with it."""
    values = [one["value"] for one in record["readings"]] or [record["newest"]["value"]]
    hours = -min((one["min"] for one in record["readings"]), default=0) / 60
    ends = f"from {min(values):.0f} to {max(values):.0f} {record['unit']}"
    return f"{len(values)} readings of the last {hours:.0f} hours, {ends}."


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
            fix="rename the column, or reword the note, that holds it",
        )
    return text


def write_together(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write all files; a folder that was not there appears with all or not at all, earlier files are replaced."""
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

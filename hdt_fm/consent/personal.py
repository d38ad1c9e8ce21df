"""One person's data in open formats: plain tables, and a page that says what each is."""

import csv
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hdt_fm.consent.artefact import EXPORT_NAME
from hdt_fm.schema.cells import plain_cell
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.shard import ModalityColumn

Format = Literal["csv", "parquet"]
# Of a folder that a run, a build or a register has written.
_OF_A_RUN = ("result.json", "manifest.json", "config.json", "ledger.jsonl", "register.jsonl", "table.json")


@dataclass(frozen=True)
class Windows:
    """A person's windows of one shard folder, as they were measured and prepared.

    Attributes:
        window_id, start_ns: One each window; times are shifted by the person's secret whole weeks.
        labels: Name -> one value a window; NaN where unknown.
        signals: Modality -> (window, channel, time) in its unit.
        observed: Modality -> (window, time).
        present: Modality -> window.
    """

    window_id: np.ndarray
    start_ns: np.ndarray
    labels: Mapping[str, np.ndarray]
    signals: Mapping[str, np.ndarray]
    observed: Mapping[str, np.ndarray]
    present: Mapping[str, np.ndarray]


def windows_table(windows: Windows, column: ModalityColumn) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """Names and columns: one row each sample of the windows that have the modality."""
    have = np.flatnonzero(windows.present[column.name])
    signal, observed = windows.signals[column.name][have], windows.observed[column.name][have]
    within = np.arange(column.samples) / column.sampling_rate_hz
    start_s = windows.start_ns[have, None] / 1e9 + within
    names = tuple(f"{column.name}_{number}_{column.unit}" for number in range(column.channels))
    columns = [
        np.repeat(windows.window_id[have], column.samples),
        np.round(start_s.ravel(), 6),
        observed.ravel().astype(np.int8),
        *(signal[:, channel].ravel() for channel in range(column.channels)),
    ]
    return ("window", "time_s", "observed", *names), columns


def labels_table(windows: Windows) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """Names and columns: one row each window."""
    names = sorted(windows.labels)
    columns = [windows.window_id, windows.start_ns / 1e9, *(windows.labels[name] for name in names)]
    return ("window", "start_s", *names), columns


def write_table(path: Path, names: Sequence[str], columns: Sequence[np.ndarray], kind: Format) -> str:
    """Write a table under `path` with its ending; the name of the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = path.with_name(f"{path.name}.{kind}")
    if kind == "parquet":
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.table(dict(zip(names, columns, strict=True))), whole)
        return whole.name
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([plain_cell(name) for name in names])
    writer.writerows(zip(*(map(_cell, column.tolist()) for column in columns), strict=True))
    whole.write_text(text.getvalue())
    return whole.name


def _cell(value: Any) -> Any:
    """A number as short as it was; unknown is empty."""
    if isinstance(value, float):
        return "" if value != value else f"{value:.9g}" if abs(value) < 1e6 else f"{value:.6f}"
    return plain_cell(value)


@contextmanager
def fresh_export(target: Path, roots: Iterable[Path]) -> Iterator[Path]:
    """A folder that becomes the target as a whole, or not at all.

    Raises:
        ConfigError: If there is something, or it lies in a folder of runs, shards or consent, where it would stay.
    """
    whole = target.resolve()
    looked = {one.resolve() for one in roots}
    inside = next((one for one in (whole, *whole.parents) if _of_a_run(one) or one in looked), None)
    if inside is not None:
        raise ConfigError(
            "A person's data would lie in a folder of runs",
            where="--to",
            expected="a folder outside of runs, shards and registers",
            got=f"one in {inside.name}",
            fix="choose another folder",
        )
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(
            "There is something here already", where="--to", expected="a new folder", fix="choose another folder"
        )
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        fresh.mkdir(parents=True)
        yield fresh
        os.rename(fresh, target)
    except OSError as error:
        raise ConfigError(
            "The export cannot be written",
            where="--to",
            got=error.strerror or type(error).__name__,
            fix="name a folder that can be made, with room on its disk",
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _of_a_run(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _OF_A_RUN)


def write_words(
    folder: Path, subject: str, parts: Sequence[tuple[str, str]], notes: Sequence[str], *, written: str
) -> None:
    """README.txt (what each file is) and `export.json`, by which a later look finds the export again."""
    lines = [
        "Your data as this lab keeps it, for you to take away.",
        f"Written {written}. Nobody else is in it.",
        "",
        *[f"{name}: {what}" for name, what in parts],
        "",
        *notes,
        "",
    ]
    (folder / "README.txt").write_text("\n".join(lines))
    facts = {"format": 1, "subject": subject, "written": written, "files": [name for name, _ in parts]}
    (folder / EXPORT_NAME).write_text(json.dumps(facts, indent=1) + "\n")

"""Where numbers of a run go: `metrics.csv` always, TensorBoard when asked (wandb is in `callbacks.py`)."""

import csv
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

HEADER = ("step", "metric", "value")


@runtime_checkable
class Sink(Protocol):
    """Takes numbers by step; `start` says after which step the run goes on."""

    def start(self, step: int) -> None: ...

    def write(self, step: int, values: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class CsvSink:
    """`metrics.csv`: one line a number (step, metric, value), so that a new metric needs no new column.

    Lines are appended and flushed; a run that goes on drops the lines of steps that it will make again, and a last
    line that a kill cut short.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    def start(self, step: int) -> None:
        """Keep what was measured up to `step`."""
        kept = [row for row in read_metrics(self.path) if row[0] <= step] if step else []
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        with temporary.open("w", newline="") as file:
            csv.writer(file).writerows([HEADER, *((at, name, repr(value)) for at, name, value in kept)])
        os.replace(temporary, self.path)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append one line a number."""
        with self.path.open("a", newline="") as file:
            csv.writer(file).writerows([(step, name, repr(float(value))) for name, value in values.items()])

    def close(self) -> None:
        """Nothing is held open."""


def read_metrics(path: Path) -> list[tuple[int, str, float]]:
    """The whole lines of a `metrics.csv`; nothing when there is no file."""
    if not path.is_file():
        return []
    rows = []
    with path.open(newline="") as file:
        for line in file:
            cells = next(csv.reader([line]), [])
            # A kill may cut the last line short in its number: only lines with their end count.
            if line.endswith("\n") and len(cells) == len(HEADER) and cells[0].isdigit():
                rows.append((int(cells[0]), cells[1], float(cells[2])))
    return rows


class TensorBoardSink:
    """Event files in a folder, written here because the stock writer puts the host's name into the file's name."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def start(self, step: int) -> None:
        """Open a new file that replaces what earlier files hold past `step`."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.folder.mkdir(parents=True, exist_ok=True)
        taken = len(list(self.folder.glob("events.out.tfevents.*")))
        file = (self.folder / f"events.out.tfevents.{taken:06d}.step-{step:08d}").open("wb")
        self._writer = RecordWriter(file)
        self._record(Event(wall_time=time.time(), file_version="brain.Event:2"))
        begin = SessionLog(status=SessionLog.START)
        self._record(Event(wall_time=time.time(), step=step + 1, session_log=begin))

    def _record(self, event: object) -> None:
        self._writer.write(event.SerializeToString())  # type: ignore[attr-defined]
        self._writer.flush()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One event that holds all numbers of a step."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        numbers = [Summary.Value(tag=name, simple_value=float(value)) for name, value in values.items()]
        self._record(Event(wall_time=time.time(), step=step, summary=Summary(value=numbers)))

    def close(self) -> None:
        """Close the file."""
        self._writer.close()

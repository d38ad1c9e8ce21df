"""Progress with rate and time left: rich's live bar on a terminal, a plain line now and then elsewhere."""

import atexit
import sys
import time
from collections.abc import Callable
from typing import Any

Report = Callable[[int, int, str], None]
PLAIN_EVERY_S = 10.0


def reporter(what: str, *, stream: Any = None, clock: Callable[[], float] = time.monotonic) -> Report:
    """A function (done, total or 0 if unknown, note) that prints to standard error, which `--json` leaves alone."""
    out = stream or sys.stderr
    return _live(what, out, clock) if out.isatty() else _plain(what, out, clock)


def _plain(what: str, out: Any, clock: Callable[[], float]) -> Report:
    pace, last = _Pace(), [-float("inf")]

    def report(done: int, total: int, note: str = "") -> None:
        now = clock()
        rate = pace.at(now, done)
        if not 0 < total <= done and now - last[0] < PLAIN_EVERY_S:
            return
        last[0] = now
        out.write(_line(what, done, total, rate, note) + "\n")
        out.flush()

    return report


def _live(what: str, out: Any, clock: Callable[[], float]) -> Report:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}/s"))
    bar = Progress(
        *columns, TimeRemainingColumn(), TextColumn("{task.fields[note]}"), console=Console(file=out), get_time=clock
    )
    task = bar.add_task(what, total=None, rate="-", note="")
    pace = _Pace()
    # An interrupted run must give the terminal its cursor back.
    atexit.register(bar.stop)

    def report(done: int, total: int, note: str = "") -> None:
        bar.start()
        rate = pace.at(clock(), done)
        bar.update(task, completed=done, total=total or None, rate="-" if rate is None else f"{rate:.1f}", note=note)
        if 0 < total <= done:
            bar.stop()

    return report


class _Pace:
    """Rate since the first report: neither the preparation before it nor what an earlier run did counts."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def at(self, now: float, done: int) -> float | None:
        """Done a second; None as long as nobody can know."""
        if self._first is None:
            self._first = (now, done)
        seconds, more = now - self._first[0], done - self._first[1]
        return more / seconds if seconds > 0 and more > 0 else None


def _line(what: str, done: int, total: int, rate: float | None, note: str) -> str:
    parts = [f"{what} {done}/{total}" if total else f"{what} {done}"]
    if rate is not None:
        parts.append(f"{rate:.1f}/s")
        if total:
            parts.append(f"{_clock((total - done) / rate)} left")
    return "  ".join([*parts, note] if note else parts)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"

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
    start, last = clock(), [-float("inf")]

    def report(done: int, total: int, note: str = "") -> None:
        now = clock()
        if not 0 < total <= done and now - last[0] < PLAIN_EVERY_S:
            return
        last[0] = now
        out.write(_line(what, done, total, now - start, note) + "\n")
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
    start = clock()
    # An interrupted run must give the terminal its cursor back.
    atexit.register(bar.stop)

    def report(done: int, total: int, note: str = "") -> None:
        bar.start()
        seconds = clock() - start
        rate = f"{done / seconds:.1f}" if seconds > 0 else "-"
        bar.update(task, completed=done, total=total or None, rate=rate, note=note)
        if 0 < total <= done:
            bar.stop()

    return report


def _line(what: str, done: int, total: int, seconds: float, note: str) -> str:
    rate = done / seconds if seconds > 0 else 0.0
    tail = f"  {note}" if note else ""
    if not total:  # nobody knows how many there will be
        return f"{what} {done}  {rate:.1f}/s{tail}"
    left = (total - done) / rate if rate > 0 else 0.0
    return f"{what} {done}/{total}  {rate:.1f}/s  {_clock(left)} left{tail}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"

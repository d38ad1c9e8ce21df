"""Progress with rate and time left: a live line on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Callable
from typing import Any

Report = Callable[[int, int, str], None]
PLAIN_EVERY_S = 10.0
LIVE_EVERY_S = 0.2
WIDTH = 24


def reporter(what: str, *, stream: Any = None, clock: Callable[[], float] = time.monotonic) -> Report:
    """A function (done, total or 0 if unknown, note) that prints to standard error, which `--json` leaves alone."""
    out = stream or sys.stderr
    live = out.isatty()
    start, last = clock(), [-float("inf")]

    def report(done: int, total: int, note: str = "") -> None:
        now = clock()
        finished = 0 < total <= done
        if not finished and now - last[0] < (LIVE_EVERY_S if live else PLAIN_EVERY_S):
            return
        last[0] = now
        line = _line(what, done, total, now - start, note, bar=live)
        out.write(f"\r\x1b[2K{line}" + ("\n" if finished else "") if live else line + "\n")
        out.flush()

    return report


def _line(what: str, done: int, total: int, seconds: float, note: str, *, bar: bool) -> str:
    rate = done / seconds if seconds > 0 else 0.0
    tail = f"  {note}" if note else ""
    if not total:  # nobody knows how many there will be
        return f"{what} {done}  {rate:.1f}/s{tail}"
    left = (total - done) / rate if rate > 0 else 0.0
    filled = round(WIDTH * done / total)
    drawn = f" [{'#' * filled}{'.' * (WIDTH - filled)}]" if bar else ""
    return f"{what}{drawn} {done}/{total}  {rate:.1f}/s  {_clock(left)} left{tail}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"

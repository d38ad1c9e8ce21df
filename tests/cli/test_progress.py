import io

import pytest

from hdt_fm.cli.progress import PLAIN_EVERY_S, reporter


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_lines_come_now_and_then_and_at_the_end() -> None:
    clock, out = Clock(), io.StringIO()
    report = reporter("embed", stream=out, clock=clock)
    for done in range(1, 101):
        clock.now = done * PLAIN_EVERY_S / 50
        report(done, 100, "")
    lines = out.getvalue().splitlines()
    assert len(lines) == 3  # the first, one after PLAIN_EVERY_S, the last
    assert lines[-1] == "embed 100/100  5.0/s  0:00 left"


def test_time_left_follows_the_rate() -> None:
    clock, out = Clock(), io.StringIO()
    report = reporter("pretrain", stream=out, clock=clock)
    clock.now = 5.0
    report(60, 300, "loss 2.0")
    clock.now = 35.0
    report(120, 300, "loss 1.0")
    # A run that goes on at step 60 after five seconds of preparation does two steps a second.
    assert out.getvalue().splitlines() == [
        "pretrain 60/300  loss 2.0",
        "pretrain 120/300  2.0/s  1:30 left  loss 1.0",
    ]


def test_a_terminal_gets_a_live_bar_with_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    clock, out = Clock(), Terminal()
    report = reporter("shard", stream=out, clock=clock)
    clock.now = 1.0
    report(1, 4, "")
    clock.now = 4.0
    report(4, 4, "packed")
    text = out.getvalue()
    assert "\x1b[" in text, "a live display writes over itself"
    assert "4/4" in text
    assert "1.0/s" in text
    assert "packed" in text


def test_an_unknown_total_gives_no_time_left() -> None:
    clock, out = Clock(), io.StringIO()
    report = reporter("shard", stream=out, clock=clock)
    report(4, 0, "cut")
    clock.now = 20.0
    report(44, 0, "cut")
    assert out.getvalue() == "shard 4  cut\nshard 44  2.0/s  cut\n"

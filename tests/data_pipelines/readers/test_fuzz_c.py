"""Exports that were cut, flipped and reordered: a visit or an error that speaks, and nothing else, in bounded time.

`HDT_FM_FUZZ=700` tries that many inputs a format instead of 60.
"""

import os
import random
import runpy
import shutil
import signal
import zlib
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data_pipelines.readers import _slow
from hdt_fm.schema import registry
from hdt_fm.schema.errors import HdtError
from hdt_fm.schema.recording import Visit

make = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("fabricate_exports.py"))))
FORMATS = (
    "apple_health",
    "dexcom_clarity",
    "fhir",
    "fitabase",
    "fitbit_json",
    "glooko",
    "levels",
    "libreview",
    "open_mhealth",
)
INPUTS = int(os.environ.get("HDT_FM_FUZZ", "60"))
SUBJECT = "s" + "1" * 32
SECONDS = 10


def cut(data: bytes, dice: random.Random) -> bytes:
    return data[: dice.randrange(len(data) + 1)]


def flip(data: bytes, dice: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 8))):
        changed[dice.randrange(len(changed))] = dice.choice((0, 10, 34, 44, 45, 57, 60, 125, 255, dice.randrange(256)))
    return bytes(changed)


def reorder(data: bytes, dice: random.Random) -> bytes:
    size = dice.choice((16, 64, 200))
    blocks = [data[i : i + size] for i in range(0, len(data), size)]
    a, b = dice.randrange(len(blocks)), dice.randrange(len(blocks))
    blocks[a], blocks[b] = blocks[b], blocks[a]
    if dice.random() < 0.3:
        blocks.insert(a, blocks[b])
    return b"".join(blocks)


def lines(data: bytes, dice: random.Random) -> bytes:
    rows = data.split(b"\n")
    dice.shuffle(rows)
    return b"\n".join(rows)


def digits(data: bytes, dice: random.Random) -> bytes:
    """Another digit in the place of one: times that jump and values that cannot be, in files that are whole."""
    places = [i for i, byte in enumerate(data) if 48 <= byte <= 57]
    changed = bytearray(data)
    for place in dice.sample(places, min(len(places), dice.choice((1, 3, 20)))):
        changed[place] = dice.randrange(48, 58)
    return bytes(changed)


HURTS: tuple[Callable[[bytes, random.Random], bytes], ...] = (cut, flip, flip, reorder, lines, digits)


@contextmanager
def bounded(seconds: int):
    """By CPU time: what a busy machine does meanwhile says nothing."""

    def stop(*_):
        raise TimeoutError(f"more than {seconds} s")

    old = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, old)


def check(visit: Visit) -> None:
    """The contract holds for what was read."""
    assert visit.recordings or visit.labels
    for recording in visit.recordings.values():
        assert np.isfinite(recording.values).all()
        assert recording.values.shape[1] <= _slow.MAX_CELLS


@pytest.mark.parametrize("name", FORMATS)
def test_a_visit_or_an_error_that_speaks(name, tmp_path):
    whole = make.one_of_each(tmp_path / "whole")[name]
    reader = registry.find("readers", name)
    check(reader().read(whole, subject=SUBJECT))
    outcomes, longest = {"read": 0, "refused": 0}, 0
    for number in range(INPUTS):
        dice = random.Random(zlib.crc32(f"{name} {number}".encode()))
        hurt = tmp_path / "hurt" / whole.name
        if whole.is_dir():
            shutil.copytree(whole, hurt)
            victim = dice.choice(sorted(hurt.iterdir()))
        else:
            hurt.parent.mkdir()
            shutil.copy(whole, hurt)
            victim = hurt
        victim.write_bytes(dice.choice(HURTS)(victim.read_bytes(), dice))
        try:
            with bounded(SECONDS):
                reader.detect(hurt)
                check(reader().read(hurt, subject=SUBJECT))
            outcomes["read"] += 1
        except HdtError as error:
            outcomes["refused"] += 1
            longest = max(longest, len(str(error)))
        except Exception as error:
            raise AssertionError(f"input {number} of {name}: {type(error).__name__}") from error
        shutil.rmtree(tmp_path / "hurt")
    assert longest < 2000
    # A fuzz that only refuses, or only reads, tests one half of the reader.
    assert min(outcomes.values()) > 0, outcomes


def test_each_export_is_recognised_by_its_own_reader(tmp_path):
    made = make.one_of_each(tmp_path / "whole")
    assert tuple(made) == FORMATS
    for name, path in made.items():
        takers = [other for other in registry.names("readers") if registry.find("readers", other).detect(path)]
        assert takers == [name]


def test_each_real_file_is_recognised_by_its_own_reader(real_data):
    own = {
        "apple_health": "apple_health",
        "fitbit_fitabase": "fitabase",
        "fitbit_json": "fitbit_json",
        "dexcom_clarity": "dexcom_clarity",
        "freestyle_libreview": "libreview",
        "levels": "levels",
        "glooko": "glooko",
    }
    seen = 0
    for folder in sorted((real_data / "device_formats").iterdir()):
        for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
            # A route is a place: no reader takes it.
            expected = [own[folder.name]] if folder.name in own and path.is_file() and path.suffix != ".gpx" else []
            mine = [name for name in FORMATS if registry.find("readers", name).detect(path)]
            if path.is_file():
                assert mine == expected, path.name
                seen += bool(expected)
    assert seen == 2 + 8 + 4 + 1 + 1 + 1 + 1

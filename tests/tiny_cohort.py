"""A made-up cohort that builds in a fraction of a second, also in a process that kills itself."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.build import build_shards
from hdt_fm.schema.preparation import ModalityPreparation, Preparation
from hdt_fm.schema.recording import NS_PER_S, Channel, LabelTrack, Recording, Visit
from hdt_fm.schema.shard import ShardManifest
from hdt_fm.schema.subject import SubjectKey

KEY = SubjectKey.public()
START_NS = 1_600_000_000 * NS_PER_S
CHANNELS = {"ppg": 1, "acc": 3, "temp": 1}
RATES = {"ppg": 16.0, "acc": 8.0, "temp": 5.0}
PREPARATION = Preparation(
    window_s=4,
    hop_s=2,
    modalities={
        name: ModalityPreparation(sampling_rate_hz=rate, channels=CHANNELS[name]) for name, rate in RATES.items()
    },
)


class TinyCohort:
    """People 0 .. n - 1; odd ones lack temperature, person 1 has gaps, persons 4 and 5 are one group.

    Args:
        scale: Factor on the signals of each person, by number.
        bad: Numbers of visits with one acceleration channel too few.
        visits_each: Visits per person.
    """

    name, licence, source = "tiny", "CC0-1.0", "made in a test"

    def __init__(
        self,
        people: int = 7,
        *,
        seconds: int = 80,
        scale: dict[int, float] | None = None,
        bad: tuple[int, ...] = (),
        visits_each: int = 1,
    ) -> None:
        self.people, self.seconds, self.scale, self.bad = people, seconds, scale or {}, bad
        self.visits_each = visits_each

    def inputs(self) -> list[Path]:
        return []

    def visits(self) -> Iterator[Visit]:
        for number in range(self.people * self.visits_each):
            yield self.visit(number // self.visits_each, number % self.visits_each, bad=number in self.bad)

    def visit(self, person: int, turn: int = 0, *, bad: bool = False) -> Visit:
        subject = KEY.pseudonym("tiny", f"rawid-{person}")
        start_ns = START_NS + turn * 3600 * NS_PER_S
        recordings = {
            name: self._recording(name, person, turn, subject, start_ns, bad)
            for name in CHANNELS
            if not (name == "temp" and person % 2)
        }
        times = np.array([start_ns, start_ns + 40 * NS_PER_S])
        labels = {
            "stress": LabelTrack(
                "stress", "class", times, times + 30 * NS_PER_S, np.array([0.0, 1]), ("rest", "stress")
            )
        }
        if person == 2:
            labels["level"] = LabelTrack("level", "value", times, times + 40 * NS_PER_S, np.array([2.5, 7.5]))
        group = "rawgroup" if person in (4, 5) else ""
        return Visit(subject, recordings, labels, {"sex": "f" if person % 3 else "m"}, group=group)

    def _recording(self, name: str, person: int, turn: int, subject: str, start_ns: int, bad: bool) -> Recording:
        channels = CHANNELS[name] - (bad and name == "acc")
        rate, generator = RATES[name], np.random.default_rng([person, turn, ord(name[0])])
        samples = int((self.seconds + 8 * person) * rate)
        values = generator.normal(size=(channels, samples)).cumsum(axis=1) * 0.05 * self.scale.get(person, 1.0)
        values = (values + (33.0 if name == "temp" else 0.0)).astype(np.float32)
        observed = np.ones(samples, dtype=np.bool_)
        if person == 1:
            observed[int(20 * rate) : int(20.5 * rate)] = False
            observed[int(40 * rate) : int(46 * rate)] &= name != "ppg"
        values[:, ~observed] = 0
        parts = tuple(Channel(f"axis{axis}", "au") for axis in range(channels))
        return Recording(name, parts, rate, start_ns, values, observed, subject, "made", "wrist")


def build(folder: Path, cohort: Any = None, **settings: Any) -> ShardManifest:
    """Build with small blocks and shards."""
    defaults = {"name": "tiny", "preparation": PREPARATION, "block_windows": 16, "shard_mb": 0.03, "seed": 3}
    return build_shards(cohort or TinyCohort(), folder=folder, **(defaults | settings))


def build_in_child(folder: Path, *, kill_at: int, **settings: Any) -> tuple[int, int]:
    """Build in a forked process that kills itself just before its `kill_at`-th file operation (0: never).

    Returns:
        The signal that ended the child, and how many file operations it counted if it ended by itself.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        seen = 0

        def watch(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal seen
            if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree", "mmap.__new__"):
                seen += 1
                if seen == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        build(folder, **settings)
        os.write(writer, str(seen).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        count = pipe.read()
    status = os.waitpid(child, 0)[1]
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, int(count or 0)

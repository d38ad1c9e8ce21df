"""Updates that are killed at random: what is found afterwards, beside two usual ways to write. For reproduce_evolve.py.

python scripts/evolve_kills.py [--quick] [--json FILE] [--seeds 2]

A version is a small head, a memory and a record, other ones in each. A child process updates it and dies by SIGKILL: at
a moment drawn over one and a fifth of the usual length of an update of that writer, or before a step drawn from all
calls of the system that change a file (of a write, half is done). What a killed process had handed to the system is
kept; that nothing is lost with the power rests on the order of fsync, which tests/checkpoint/test_versions.py pins.
"""

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save
from scipy.stats import beta

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from hdt_fm.checkpoint.versions import Versions  # noqa: E402
from hdt_fm.cli.progress import Report, reporter  # noqa: E402
from hdt_fm.report.tables import flat_rows, markdown  # noqa: E402
from hdt_fm.schema.errors import HdtError  # noqa: E402
from hdt_fm.schema.ledger import HEAD_NAME, LEDGER_NAME, Told  # noqa: E402
from hdt_fm.schema.result import Result, Row  # noqa: E402

OURS, IN_PLACE, EACH = "folder of versions", "files overwritten in place", "a rename for each file"
KILLS, FLOOR_KILLS, QUICK_KILLS, MEASURED = 200, 60, 12, 5
KEEP = 3
STEPS = ("open", "mkdir", "write", "fsync", "rename", "replace", "ftruncate", "unlink", "rmdir")
CONTEXT = np.linspace(40, 400, 48, dtype=np.float32)
HEAD = "head.safetensors"


@lru_cache(maxsize=8)
def content(number: int) -> dict[str, bytes]:
    """Files of version `number`, the same whenever they are asked for."""
    draws = np.random.default_rng(number)
    return {
        HEAD: save({"weight": draws.normal(size=(48, 24)).astype(np.float32)}),
        "memory.npy": draws.bytes(400_000),
        "state.json": json.dumps({"of": number}).encode(),
    }


def holds(folder: Path, number: int) -> bool:
    """Whether the files are those of a version, byte by byte."""
    return all((folder / name).read_bytes() == data for name, data in content(number).items())


def fill(number: int) -> Callable[[Path], None]:
    """A writer of version `number`."""

    def write(folder: Path) -> None:
        for name, data in content(number).items():
            (folder / name).write_bytes(data)

    return write


@dataclass
class Ours:
    """A folder of versions, and what was known of it before a kill."""

    folder: Path
    number: int = 1
    ledger: bytes = b""
    versions: Versions = field(init=False)

    def make(self) -> None:
        """The first version."""
        Versions.create(self.folder, fill(1), Told(), keep=KEEP)

    def before(self) -> None:
        """Look before a kill, and open: what is killed is the update."""
        self.ledger = (self.folder / LEDGER_NAME).read_bytes()
        self.versions = Versions(self.folder, keep=KEEP)

    def update(self) -> None:
        """The next version."""
        number = self.versions.number + 1
        self.versions.append(fill(number), Told(scores={"RMSE 60 min, mg/dL": 20.0 + number}))

    def stage(self) -> str:
        """Where in an update the kill fell, by what lies in the folder."""
        now = (self.folder / LEDGER_NAME).read_bytes()
        if now.count(b"\n") > self.ledger.count(b"\n"):
            head = json.loads((self.folder / HEAD_NAME).read_bytes())["number"]
            return "line whole" if head + 1 == now.count(b"\n") else "line whole, head old"
        if len(now) > len(self.ledger):
            return "within the line"
        if (self.folder / "versions" / f"{self.number + 1:06d}").exists():
            return "files in place"
        return "files half there" if (self.folder / "versions" / ".new").exists() else "nothing yet"

    def survived(self) -> bool:
        """It opens, as the last version whose line is whole, with that one's files and all lines; and goes on."""
        try:
            versions = Versions(self.folder, keep=KEEP)
            lines = (self.folder / LEDGER_NAME).read_bytes()
            complete = self.number + (lines.count(b"\n") > self.ledger.count(b"\n"))
            versions.verify()
            good = versions.number == complete and holds(versions.current, complete) and lines.startswith(self.ledger)
            versions.append(fill(complete + 1), Told())
            after = Versions(self.folder, keep=KEEP)
            after.verify()
        except HdtError:
            return False
        self.number = after.number
        beside = {path.name for path in (self.folder / "versions").iterdir()} - {f"{one:06d}" for one in after.kept}
        return good and after.number == complete + 1 and holds(after.current, after.number) and not beside


@dataclass
class Files:
    """Files without versions: written over in place, or each beside its place and renamed."""

    folder: Path
    renamed: bool
    number: int = 1

    def make(self) -> None:
        """The first files."""
        self.folder.mkdir()
        fill(1)(self.folder)

    def before(self) -> None:
        """Nothing to remember."""

    def update(self) -> None:
        """The next files."""
        for name, data in content(self.number + 1).items():
            place = self.folder / (f"{name}.new" if self.renamed else name)
            handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            for start in range(0, len(data), 2**16):
                os.write(handle, data[start : start + 2**16])
            os.fsync(handle)
            os.close(handle)
            if self.renamed:
                os.replace(place, self.folder / name)

    def stage(self) -> str:
        """By how many files are new."""
        new = sum((self.folder / name).read_bytes() == data for name, data in content(self.number + 1).items())
        return f"{new} of {len(content(1))} files new"

    def survived(self) -> bool:
        """All files are the old ones or all the new ones; then all are put right."""
        whole = holds(self.folder, self.number) or holds(self.folder, self.number + 1)
        self.number += 1
        fill(self.number)(self.folder)
        return whole


Writer = Ours | Files
WRITERS: dict[str, Callable[[Path], Writer]] = {
    OURS: Ours,
    IN_PLACE: lambda folder: Files(folder, renamed=False),
    EACH: lambda folder: Files(folder, renamed=True),
}


@contextmanager
def steps(die_at: int) -> Iterator[list[int]]:
    """Count this process's calls that change a file; before call `die_at` (from 1; 0 is never) it kills itself."""
    seen, true = [0], {name: getattr(os, name) for name in STEPS}

    def stepped(name: str) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            seen[0] += 1
            if seen[0] == die_at:
                if name == "write":
                    handle, data = arguments
                    true["write"](handle, bytes(data)[: len(bytes(data)) // 2])  # type: ignore[arg-type]
                os.kill(os.getpid(), signal.SIGKILL)
            return true[name](*arguments, **named)

        return call

    for name in STEPS:
        setattr(os, name, stepped(name))
    try:
        yield seen
    finally:
        for name, call in true.items():
            setattr(os, name, call)


def in_child(work: Callable[[], None], *, after_s: float | None = None, at_step: int = 0) -> tuple[bool, float]:
    """Run it in a child that is killed after a time or before a step.

    Returns:
        Whether it was killed before it ended, and the seconds from its start to its end.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.write(writing, b"!")
            with steps(at_step):
                work()
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    os.read(reading, 1)
    os.close(reading)
    begin = time.monotonic()
    if after_s is not None:
        time.sleep(after_s)
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), f"an update that was not killed failed: {code}"
    return code != 0, time.monotonic() - begin


def count_steps(writer: Writer) -> int:
    """Calls of one update that change a file."""
    with steps(0) as seen:
        writer.update()
    return seen[0]


@dataclass
class Tally:
    """What became of the kills of one kind."""

    kills: int = 0
    whole: int = 0
    stages: Counter[str] = field(default_factory=Counter)


def kill_often(writer: Writer, kills: int, draws: np.random.Generator, *, by_time: bool, tally: Tally) -> None:
    """Kill updates of one writer until so many died, and look at each."""
    writer.make()
    usual, known = 0.0, 0
    if by_time:
        seconds = []
        for _ in range(MEASURED):
            writer.before()
            seconds.append(in_child(writer.update)[1])
            writer.number += 1
        usual = statistics.median(seconds)
    else:
        for _ in range(KEEP + 1):
            writer.before()
            known = count_steps(writer)
            writer.number += 1
    died = 0
    while died < kills:
        content(writer.number + 1)
        writer.before()
        if by_time:
            killed, _ = in_child(writer.update, after_s=float(draws.uniform(0, 1.2 * usual)))
        else:
            killed, _ = in_child(writer.update, at_step=int(draws.integers(1, known + 1)))
        if not killed:
            writer.number += 1
            continue
        died += 1
        tally.stages[writer.stage()] += 1
        tally.whole += writer.survived()
    tally.kills += died


def went_back(folder: Path) -> tuple[int, int]:
    """Roll a folder that was killed often back to each version that it keeps.

    Returns:
        Versions whose forecasts are then bit for bit those that they gave when they were made, of how many.
    """
    versions = Versions(folder, keep=KEEP)
    others = [number for number in versions.kept if number != versions.number]
    same = 0
    for number in others:
        versions.rollback(number, Told())
        with Versions(folder, keep=KEEP).opened() as files:
            now = CONTEXT @ load_file(files / HEAD)["weight"]
        then = np.random.default_rng(number).normal(size=(48, 24)).astype(np.float32)
        same += now.tobytes() == (CONTEXT @ then).tobytes()
    return same, len(others)


def table(*, quick: bool, seeds: int, progress: Report) -> Result:
    """Kills are shared among the seeds; each has folders and draws of its own. Floors fail often, and get fewer."""
    kinds = {"killed at a random moment": True, "killed before a random step": False}
    rows, done, total = [], 0, len(kinds) * len(WRITERS) * seeds
    same = kept = 0
    with tempfile.TemporaryDirectory() as scratch:
        for kind, by_time in kinds.items():
            for name, writer in WRITERS.items():
                tally = Tally()
                for seed in range(seeds):
                    progress(done, total, f"{name}, {kind}")
                    folder = Path(scratch) / f"{done}"
                    draws = np.random.default_rng((seed, by_time))
                    kills = QUICK_KILLS if quick else KILLS if name == OURS else FLOOR_KILLS
                    kill_often(writer(folder), -(-kills // seeds), draws, by_time=by_time, tally=tally)
                    if name == OURS:
                        back = went_back(folder)
                        same, kept = same + back[0], kept + back[1]
                    done += 1
                rows.append(_row(kind, name, tally.whole, tally.kills, dict(sorted(tally.stages.items()))))
    rows.append(_row("rolled back", OURS, same, kept, {}))
    rows.append(_row("rolled back", IN_PLACE, 0, kept, {"why": "no earlier files are there"}))
    rows.append(_row("rolled back", EACH, 0, kept, {"why": "no earlier files are there"}))
    progress(total, total, "")
    return Result(
        name="updates killed at random points",
        protocol={"better": {"whole": "higher"}, "headline": OURS, "seeds": seeds},
        rows=tuple(rows),
        required_baselines=(IN_PLACE, EACH),
    )


def _row(what: str, model: str, whole: int, n: int, columns: dict[str, str | int]) -> Row:
    """A share with its exact 95 % interval (Clopper and Pearson 1934)."""
    low = 0.0 if whole == 0 else float(beta.ppf(0.025, whole, n - whole + 1))
    high = 1.0 if whole == n else float(beta.ppf(0.975, whole + 1, n - whole))
    return Row(
        what=what,
        model=model,
        metric="whole",
        value=100 * whole / n,
        low=100 * low,
        high=100 * high,
        unit="%",
        n=n,
        role="ours" if model == OURS else "baseline",
        columns=dict(columns),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_KILLS} kills of each kind")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as a flat list")
    parser.add_argument("--seeds", type=int, default=2, help="how many")
    options = parser.parse_args()
    result = table(quick=options.quick, seeds=options.seeds, progress=reporter("kills"))
    print(markdown(result))
    print(f"{time.process_time() + sum(os.times()[2:4]):.1f} CPU-s, children included")
    if options.json:
        options.json.write_text(json.dumps(flat_rows([result]), indent=1) + "\n")


if __name__ == "__main__":
    main()

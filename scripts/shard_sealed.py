"""What sealing costs a reader and a training run: the part `sealed` of `bench_shards.py`.

The same folder plain and sealed, in turn, each round in another order. Stream: windows of the random order of training,
out of a folder opened just now (`cold`: every member is opened on the way), once more (`warm`: out of what is kept),
and where ten blocks are kept (`bounded`: every member is opened in every epoch; a pool is eight blocks). Training:
whole runs of `pretrain` as the configs have it, each in a process of its own, from opening the folder to the
checkpoint; the model is small, so that data weigh as much as they ever will. Recipients are two.
"""

import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

import numpy as np  # noqa: E402

from data_pipelines.sealing import rewrite  # noqa: E402
from hdt_fm.data.held import MEMORY_GB  # noqa: E402
from hdt_fm.data.loading import Loading  # noqa: E402
from hdt_fm.data.shards import ShardFolder  # noqa: E402
from hdt_fm.data.stream import WindowStream  # noqa: E402
from hdt_fm.schema.age import IDENTITY, RECIPIENTS, new_identity  # noqa: E402

MARK = 1.25
KINDS = ("plain", "sealed")
STATES = ("cold", "warm", "bounded")
# Of the training run: as the configs have it but for the size of the model, and so small that data weigh much.
MODEL = ("encoder.width=32", "encoder.depth=1", "training.warmup_steps=1", "training.val_every=1000000")
# How a batch is drawn: out of blocks in random order, or four people at a time, which touches every block.
DRAWS = {"blocks": "training.people_per_pool=null", "people": "training.people_per_pool=4"}
Row = dict[str, Any]
# Of a kind and a state: wall and processor seconds, by round.
Times = dict[tuple[str, str], list[tuple[float, float]]]


@contextlib.contextmanager
def own_keys() -> Iterator[None]:
    """Two recipients, the first of whom reads."""
    (secret, public), (_, other) = new_identity(), new_identity()
    before = {name: os.environ.get(name) for name in (IDENTITY, RECIPIENTS)}
    os.environ |= {IDENTITY: secret, RECIPIENTS: f"{public} {other}"}
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            os.environ |= {} if value is None else {name: value}


def measure(folders: dict[str, Path], work: Path, *, rounds: int, steps: int, batch: int) -> list[Row]:
    """All rows.

    Args:
        folders: Plain ones by encoding.
        steps: Of a training run; 0 leaves training out.
    """
    rows = []
    with own_keys():
        for encoding, plain in folders.items():
            begin = time.perf_counter()
            told = rewrite(plain, work / f"{encoding}-sealed")
            took = time.perf_counter() - begin
            size = sum(path.stat().st_size for path in plain.rglob("*") if path.is_file())
            more = sum(path.stat().st_size for path in (work / f"{encoding}-sealed").rglob("*") if path.is_file())
            speed, added = size / took / 1e6, more / size - 1
            print(f"{encoding}: sealing {speed:,.0f} MB/s, {added:+.2%} bytes, {told.windows} windows")
            both = {"plain": plain, "sealed": work / f"{encoding}-sealed"}
            rows += streamed(both, encoding, rounds=rounds, batch=batch)
            if steps and encoding == "i16":
                rows += trained(both, work, rounds=rounds, steps=steps, batch=batch)
    return rows


def streamed(both: dict[str, Path], encoding: str, *, rounds: int, batch: int) -> list[Row]:
    """The stream alone."""
    found: Times = {(kind, state): [] for kind in KINDS for state in ("open", *STATES)}
    entries = [one for part in ShardFolder.open(both["plain"]).manifest.splits.values() for one in part]
    block = sum(one.bytes for one in entries) / sum(one.blocks for one in entries)
    for turn in range(rounds):
        for kind in KINDS[:: 1 if turn % 2 else -1]:
            since = _now()
            folder = ShardFolder.open(both[kind])
            found[kind, "open"].append(_since(since))
            for state in ("cold", "warm"):
                found[kind, state].append(_epoch(folder, batch, turn))
            with _bounded(10 * block / 1e9):
                small = ShardFolder.open(both[kind])
            _epoch(small, batch, turn)
            found[kind, "bounded"].append(_epoch(small, batch, turn + 1))
    return [_row(f"stream, {encoding}, {state}", found, state, rounds, windows=folder.windows) for state in STATES] + [
        _row(f"opening, {encoding}", found, "open", rounds, windows=0)
    ]


def _row(what: str, found: Times, state: str, rounds: int, *, windows: int) -> Row:
    (plain, plain_cpu), (sealed, sealed_cpu) = (zip(*found[kind, state], strict=True) for kind in KINDS)
    return {
        "what": what,
        "metric": "sealed",
        "plain_s": median(plain),
        "sealed_s": median(sealed),
        "over_plain": median(one / other for one, other in zip(sealed, plain, strict=True)),
        "cpu_over_plain": median(one / other for one, other in zip(sealed_cpu, plain_cpu, strict=True)),
        "plain_per_s": windows / median(plain),
        "sealed_per_s": windows / median(sealed),
        "n": rounds,
    }


@contextlib.contextmanager
def _bounded(gigabytes: float) -> Iterator[None]:
    before = os.environ.get(MEMORY_GB)
    os.environ[MEMORY_GB] = str(gigabytes)
    try:
        yield
    finally:
        os.environ.pop(MEMORY_GB)
        os.environ |= {} if before is None else {MEMORY_GB: before}


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(begin: tuple[float, float]) -> tuple[float, float]:
    """Seconds that passed, and those of processors: where others run on the machine, the second tells more."""
    now = _now()
    return now[0] - begin[0], now[1] - begin[1]


def _epoch(folder: ShardFolder, batch: int, seed: int) -> tuple[float, float]:
    """Seconds of an epoch of the random order, in this thread."""
    coded = any(column.encoding == "i16" for column in folder.header.modalities)
    loading = Loading(keep_int16=coded)
    stream = WindowStream(folder, np.arange(folder.windows), batch_size=batch, seed=seed, loading=loading)
    begin = _now()
    for number in range(folder.windows // batch):
        stream.batch(number)
    return _since(begin)


def trained(both: dict[str, Path], work: Path, *, rounds: int, steps: int, batch: int) -> list[Row]:
    """Whole runs in processes of their own."""
    rows = []
    for draw, setting in DRAWS.items():
        told: dict[str, list[Row]] = {kind: [] for kind in KINDS}
        for turn in range(rounds):
            for kind in KINDS[:: 1 if turn % 2 else -1]:
                told[kind].append(
                    _train(both[kind], work, [setting, f"training.steps={steps}", f"training.batch_size={batch}"])
                )
        for part in ("run", "steps"):
            found = {(kind, part): [(one[part], one["cpu"]) for one in told[kind]] for kind in KINDS}
            row = _row(f"training by {draw}, {part}", found, part, rounds, windows=steps * batch)
            memory = {f"{kind}_gb": median(one["peak_gb"] for one in told[kind]) for kind in KINDS}
            rows.append(row | memory | {"bound": MARK, "met": row["over_plain"] <= MARK})
        losses = {one["loss"] for kind in KINDS for one in told[kind]}
        if len(losses) > 1:
            sys.exit(f"plain and sealed shards taught other things: losses {losses}")
    return rows


def _train(folder: Path, work: Path, settings: list[str]) -> Row:
    with tempfile.TemporaryDirectory(dir=work) as place:
        command = [sys.executable, str(HERE / "shard_sealed.py"), str(folder), place, *MODEL, *settings]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1])


def train_here(folder: Path, place: Path, settings: list[str]) -> Row:
    """One run in this process; all seconds but those that Python takes to load."""
    from hdt_fm.cli.compose import compose_config
    from hdt_fm.cli.workflow import open_cohorts, prepare_machine, train_over

    config = compose_config("pretrain", [f"shards={folder}", "device=cpu", "threads=1", f"root={place}", *settings])
    prepare_machine(config)
    begin = _now()
    cohorts = open_cohorts(config)
    _, outcome = train_over(config, cohorts, place, progress=lambda *what: None, say=lambda text: None)
    took, cpu = _since(begin)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    loss = outcome.metrics.get("train/loss")
    return {"run": took, "cpu": cpu, "steps": outcome.seconds, "peak_gb": peak, "loss": loss}


def table(rows: list[Row]) -> str:
    """Markdown, a line a row."""
    head = ("", "plain, s", "sealed, s", "sealed over plain", "CPU over plain", "windows/s, plain", "sealed", "peak GB")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for one in rows:
        rates = [f"{one[f'{kind}_per_s']:,.0f}" if one["plain_per_s"] else "" for kind in KINDS]
        memory = f"{one['plain_gb']:.2f} / {one['sealed_gb']:.2f}" if "plain_gb" in one else ""
        times = [f"{one[key]:.3f}" for key in ("plain_s", "sealed_s", "over_plain", "cpu_over_plain")]
        lines.append(f"| {' | '.join([one['what'], *times, *rates, memory])} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(json.dumps(train_here(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])))

"""What packing costs and gives: bytes over float32, and speed of writing and reading, for each step, codec and cohort.

python scripts/bench_codecs.py [--quick] [--json FILE] [--rounds N] [--visits N]

Windows are of the simulated cohort, and of Stress-Predict and BIDMC where HDT_FM_REAL_DATA is set, without overlap, in
blocks of 512. Steps: that of the range, as `hdt-fm shard` chooses it, and a fourth of the noise floor (robust third
difference). Bytes are of real shards, tar headers and fillings among them. Speed is in MB of float32 a second of CPU in
one thread, codecs taking turns; reading unpacks into memory that is used again. What comes back is compared.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_pipelines.encoding import HEADROOM
from data_pipelines.pack import I16_LIMIT, quantise, write_shard
from data_pipelines.ranges import TAIL
from hdt_fm.cli.compose import compose_config
from hdt_fm.schema import registry
from hdt_fm.schema.codec import CODECS, Codec
from hdt_fm.schema.npy import DTYPES
from hdt_fm.schema.preparation import Preparation
from hdt_fm.schema.shard import ModalityColumn, ShardHeader
from hdt_fm.schema.shard_index import read_index, shape_of, unpack_into
from hdt_fm.signal.windows import Windows, cut

BLOCK = 512
STEPS = ("float32", "step of the range", "step of the noise / 4")
COHORTS = {
    "simulated": ["cohort.subjects=8", "cohort.hours=1.0"],
    "Stress-Predict": ["experiment=stress_predict"],
    "BIDMC": ["experiment=bidmc"],
}


@dataclass(frozen=True)
class Signal:
    """One modality of a cohort: windows in one order for all of its modalities."""

    values: NDArray[np.float32]
    observed: NDArray[np.bool_]
    rate_hz: float


def windows_of(overrides: list[str], visits: int, seed: int = 0) -> dict[str, Signal]:
    """Windows of the first visits, mixed over people as the build mixes them; one block of them."""
    config = compose_config("shard", overrides)
    preparation = config.section("preparation", Preparation)
    preparation = preparation.model_copy(update={"hop_s": preparation.window_s})
    part = config.part("cohort")
    cohort = registry.build("cohorts", part.name, part.args)
    cuts = [cut(visit, preparation) for visit in islice(iter(cohort.visits()), visits)]
    return {
        name: _joined(name, cuts, settings.sampling_rate_hz, seed) for name, settings in preparation.modalities.items()
    }


def _joined(name: str, cuts: list[Windows], rate_hz: float, seed: int) -> Signal:
    here = [one for one in cuts if name in one.modalities]
    present = [one.present[:, one.modalities.index(name)] for one in here]
    values = np.concatenate([one.signals[name][rows] for one, rows in zip(here, present, strict=True)])
    observed = np.concatenate([one.observed[name][rows] for one, rows in zip(here, present, strict=True)])
    order = np.random.default_rng(seed).permutation(len(values))[:BLOCK]
    return Signal(np.where(observed[order, None], values[order], 0).astype(np.float32), observed[order], rate_hz)


def stepped(name: str, signal: Signal, step: str, codec: Codec) -> tuple[ModalityColumn, np.ndarray]:
    """The column and what is stored of it."""
    low, high = np.quantile(np.moveaxis(signal.values, 1, 2)[signal.observed].astype(np.float64), [TAIL, 1 - TAIL])
    lsb, offset = (high - low) / 2 * HEADROOM / I16_LIMIT, (low + high) / 2
    if step == STEPS[2]:
        lsb = max(lsb, noise_of(signal) / 4)
    column = ModalityColumn(
        name=name,
        unit="au",
        channels=signal.values.shape[1],
        sampling_rate_hz=signal.rate_hz,
        samples=signal.values.shape[2],
        encoding="f32" if step == STEPS[0] else "i16",
        lsb=lsb,
        offset=offset,
        codec=codec,
    )
    stored = signal.values if step == STEPS[0] else quantise(signal.values, signal.observed, lsb=lsb, offset=offset)
    return column, stored


def noise_of(signal: Signal) -> float:
    """Standard deviation of white noise whose third difference would be as large as the typical one here."""
    third = np.abs(np.diff(signal.values.astype(np.float64), n=3, axis=2))
    known = signal.observed[:, 3:] & signal.observed[:, :-3]
    return float(np.median(third[np.broadcast_to(known[:, None], third.shape)]) / 0.6745 / np.sqrt(20))


def measure(cohort: str, signals: dict[str, Signal], folder: Path, rounds: int) -> Iterator[dict[str, Any]]:
    """Rows of one cohort."""
    whole = sum(signal.values.nbytes for signal in signals.values())
    windows = max(len(signal.values) for signal in signals.values())
    for step in STEPS:
        times: dict[str, list[tuple[float, float]]] = {codec: [] for codec in CODECS}
        sizes: dict[str, tuple[int, float]] = {}
        for _ in range(rounds):
            for codec in CODECS:
                write_s, read_s, size, overhead = one_round(signals, step, codec, folder)
                times[codec].append((write_s, read_s))
                sizes[codec] = size, overhead
        for codec in CODECS:
            yield {
                "what": cohort,
                "model": f"{step}, {codec}",
                "step": step,
                "codec": codec,
                "share": sizes[codec][0] / whole,
                "tar_overhead": sizes[codec][1],
                "write_mb_s": whole / 1e6 / median(one[0] for one in times[codec]),
                "read_mb_s": whole / 1e6 / median(one[1] for one in times[codec]),
                "read_over_plain": median(
                    one[1] / plain[1] for one, plain in zip(times[codec], times["none"], strict=True)
                ),
                "windows": windows,
                "n": rounds,
            }


def one_round(signals: dict[str, Signal], step: str, codec: Codec, folder: Path) -> tuple[float, float, int, float]:
    """Write a shard and read it again: seconds of CPU of both, its bytes, the share of them that is not members."""
    made = {name: stepped(name, signal, step, codec) for name, signal in signals.items()}
    columns = tuple(column for column, _ in made.values())
    header = ShardHeader(modalities=columns, labels=(), window_s=60, hop_s=60)
    path = folder / "bench.tar"
    start = time.process_time()
    packed = write_shard(path, header, [(0, {name: stored for name, (_, stored) in made.items()})])
    write_s = time.process_time() - start
    members, data = read_index(path.with_suffix(".idx")).members, path.read_bytes()
    room = [np.zeros(shape_of(record), DTYPES[record["dtype"]]) for record in members]
    start = time.process_time()
    for record, out in zip(members, room, strict=True):
        unpack_into(data, record, out, where="bench")
    read_s = time.process_time() - start
    for out, (_, stored) in zip(room, made.values(), strict=True):
        assert out.tobytes() == stored.tobytes()
    return write_s, max(read_s, 1e-9), packed.bytes, 1 - int(members["length"].sum()) / packed.bytes


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown of one cohort."""
    lines = ["| cohort | stored as | codec | of float32 | tar overhead | write MB/s | read MB/s | reading over plain |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for row in rows:
        lines.append(
            f"| {row['what']} | {row['step']} | {row['codec']} | {row['share']:.3f} "
            f"| {100 * row['tar_overhead']:.2f} % | {row['write_mb_s']:.0f} "
            f"| {row['read_mb_s']:.0f} | {row['read_over_plain']:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure every cohort and print its table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the simulated cohort, two people, one round")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as a flat list")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--visits", type=int, default=8, help="of each cohort")
    options = parser.parse_args()
    if min(options.rounds, options.visits) < 1:
        parser.error("--rounds and --visits must be 1 or more")
    if options.quick:
        options.rounds, options.visits = 1, 2
    known = ["simulated"] if options.quick or "HDT_FM_REAL_DATA" not in os.environ else list(COHORTS)
    every = []
    with tempfile.TemporaryDirectory() as folder:
        for cohort in known:
            rows = list(measure(cohort, windows_of(COHORTS[cohort], options.visits), Path(folder), options.rounds))
            print(table(rows), end="\n\n", flush=True)
            every += rows
    if options.json:
        fresh = options.json.with_suffix(".new")
        fresh.write_text(json.dumps(every, indent=1) + "\n")
        fresh.replace(options.json)


if __name__ == "__main__":
    main()

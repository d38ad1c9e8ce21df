"""What reading windows costs: ours, the memory floor under it, and other formats, by the protocol of the data rooms.

python scripts/bench_shards.py [--quick] [--json FILE] [--windows N] [--rounds N] [--work FOLDER] [--peers a,b,...]
python scripts/bench_shards.py --part sealed [--steps N] [...]: sealed shards beside plain ones (`shard_sealed.py`)

Windows of 10 s, 23,520 bytes in five modalities of float32 (ECG 2560, PPG 1280, ACC 3 x 640, EDA 80, TEMP 40), batches
of 256. Contenders take turns in rounds, each right after its floor, and a ratio is of two neighbours: F (memory map
into new tensors), F+ (into tensors kept), F2 (F in a DataLoader with two workers). CPU is of all processes.
Loaders that run in parallel go on from round to round, without their start. Ours gives whole batches: ids, times,
labels and masks beside the five tensors. Peers run where they are installed; every window that any of them gives is
counted and summed. One thread a process, page cache warm. The allocator alone moves F: MALLOC_MMAP_THRESHOLD_ says how.
"""

import argparse
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
import shard_sealed  # noqa: E402
from shard_peers import PEERS, Arrays, Batches, Peer  # noqa: E402

from data_pipelines.pack import quantise, write_shard  # noqa: E402
from hdt_fm.data.loading import Loading  # noqa: E402
from hdt_fm.data.rows import RowPlan  # noqa: E402
from hdt_fm.data.shards import ShardFolder  # noqa: E402
from hdt_fm.data.slots import Slot, SlotRing  # noqa: E402
from hdt_fm.data.stream import OrderedBatches, WindowStream  # noqa: E402
from hdt_fm.schema.batch import Batch  # noqa: E402
from hdt_fm.schema.coded import CodedBatch  # noqa: E402
from hdt_fm.schema.permutation import keyed_permutation  # noqa: E402
from hdt_fm.schema.preparation import ModalityPreparation, Preparation  # noqa: E402
from hdt_fm.schema.shard import (  # noqa: E402
    MANIFEST_NAME,
    Counts,
    ModalityColumn,
    ShardEntry,
    ShardHeader,
    ShardManifest,
    SubjectRow,
)

SIZE, BLOCK, WINDOW_S, PEOPLE = 256, 512, 10.0, 200
# Channels, samples, and the step of the grid that values lie on.
SHAPES = {
    "ecg": (1, 2560, 0.001),
    "ppg": (1, 1280, 0.0005),
    "acc": (3, 640, 1 / 1024),
    "eda": (1, 80, 0.001),
    "temp": (1, 40, 0.02),
}
UNITS = {"ecg": "mV", "ppg": "au", "acc": "g", "eda": "uS", "temp": "degC"}
BYTES = sum(4 * channels * samples for channels, samples, _ in SHAPES.values())
# Windows that are read before the clock starts, where a loader goes on from round to round.
SETTLE = 8
ORDERS = ("in order", "shuffled")
Row = dict[str, Any]


def windows_of(count: int) -> Arrays:
    """Made-up windows on their grids: waves with noise, so that int16 holds them without loss."""
    chance, arrays = np.random.default_rng(0), {}
    for name, (channels, samples, step) in SHAPES.items():
        clock = np.linspace(0, 2 * np.pi * 12, samples, dtype=np.float32)
        phase = chance.uniform(0, 6, (count, channels, 1)).astype(np.float32)
        noise = chance.standard_normal((count, channels, samples), dtype=np.float32)
        codes = np.rint((np.sin(clock + phase) + 0.1 * noise) * (0.5 / step if step < 0.01 else 20))
        arrays[name] = (codes * np.float32(step)).astype(np.float32)
    return arrays


def write_ours(arrays: Arrays, folder: Path, encoding: Literal["f32", "i16"]) -> ShardFolder:
    """A shard folder of these windows, people interleaved over the whole split as `build_shards` does."""
    count = len(arrays["ecg"])
    columns = tuple(
        ModalityColumn(
            name=name,
            unit=UNITS[name],
            channels=channels,
            sampling_rate_hz=samples / WINDOW_S,
            samples=samples,
            encoding=encoding,
            lsb=step if encoding == "i16" else 1.0,
        )
        for name, (channels, samples, step) in SHAPES.items()
    )
    header = ShardHeader(modalities=columns, labels=(), window_s=WINDOW_S, hop_s=WINDOW_S)
    place = keyed_permutation(count, 0)
    entries, per_shard = [], BLOCK * max(1, (128 << 20) // (BYTES * BLOCK))
    for number, first in enumerate(range(0, count, per_shard)):
        path = f"all/bench-{number:05d}.tar"
        (folder / "all").mkdir(parents=True, exist_ok=True)
        blocks = _blocks(arrays, columns, place[first : first + per_shard])
        made = write_shard(folder / path, header, blocks)
        sizes = {"bytes": made.bytes, "sha256": made.sha256, "windows": made.windows, "blocks": made.blocks}
        entries.append(ShardEntry(path=path, **sizes))
    prepared = {
        name: ModalityPreparation(sampling_rate_hz=samples / WINDOW_S, channels=channels)
        for name, (channels, samples, _) in SHAPES.items()
    }
    each = np.bincount(np.arange(count) * PEOPLE // count, minlength=PEOPLE).tolist()
    people = tuple(
        SubjectRow(subject=f"p{n}", group=f"p{n}", windows=windows, hours=windows * WINDOW_S / 3600)
        for n, windows in enumerate(each)
    )
    manifest = ShardManifest(
        cohort="bench",
        licence="CC0-1.0",
        source="made by bench_shards.py",
        preparation=Preparation(window_s=WINDOW_S, hop_s=WINDOW_S, modalities=prepared),
        header=header,
        splits={"all": tuple(entries)},
        subjects=people,
        counts=Counts(visits=0, recordings=0, windows_possible=count, windows_kept=count, windows_dropped_coverage=0),
        config_digest="bench",
        input_digest="bench",
        code_version="bench",
    )
    (folder / MANIFEST_NAME).write_text(manifest.model_dump_json())
    return ShardFolder.open(folder)


def _blocks(
    arrays: Arrays, columns: tuple[ModalityColumn, ...], chosen: NDArray[np.int64]
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    for number, first in enumerate(range(0, len(chosen), BLOCK)):
        rows = chosen[first : first + BLOCK]
        ones = np.ones((len(rows), len(columns)))
        members: dict[str, np.ndarray] = {
            "wid": rows.astype("<i8"),
            # A person's windows follow each other before they are interleaved.
            "subj": (rows * PEOPLE // len(arrays["ecg"])).astype("<i4"),
            "t0": rows.astype("<i8") * 10**10,
            "mask": ones.astype("|u1"),
            "sqi": ones.astype("<f2"),
        }
        for column in columns:
            values = arrays[column.name][rows]
            seen = np.ones(values.shape[::2], dtype=np.bool_)
            coded = column.encoding == "i16"
            members[column.name] = quantise(values, seen, lsb=column.lsb, offset=0.0) if coded else values
        yield number, members


class Floor(IterableDataset):
    """Plain arrays on disk by memory map: as little as a reader can do.

    Args:
        kept: Into the same tensors each time (F+) instead of new ones (F).
        endless: Epoch after epoch, every second batch of which a worker makes.
    """

    def __init__(self, arrays: list[NDArray], *, shuffled: bool, kept: bool = False, endless: bool = False) -> None:
        self.arrays, self.shuffled, self.endless = arrays, shuffled, endless
        self.out = [np.zeros((SIZE, *one.shape[1:]), one.dtype) for one in arrays] if kept else None

    def __iter__(self) -> Batches:
        info = torch.utils.data.get_worker_info()
        count = len(self.arrays[0])
        order = np.random.default_rng(0).permutation(count) if self.shuffled else np.arange(count)
        for epoch in itertools.count():
            for start in range(0, count, SIZE):
                if info is None or (start // SIZE) % info.num_workers == info.id:
                    yield self.batch(order[start : start + SIZE], start)
            if epoch >= 0 and not self.endless:
                return

    def batch(self, rows: NDArray[np.int64], start: int) -> list[Tensor]:
        """One batch; torch tensors over arrays."""
        found = []
        for number, array in enumerate(self.arrays):
            out = np.empty((len(rows), *array.shape[1:]), array.dtype) if self.out is None else self.out[number]
            out = out[: len(rows)]
            if self.shuffled:
                np.take(array, rows, axis=0, out=out, mode="clip")
            else:
                out[...] = array[start : start + len(rows)]
            found.append(torch.from_numpy(out))
        return found


def values_of(batch: Any) -> list[Tensor]:
    """The five tensors of any contender's batch; codes are decoded."""
    if isinstance(batch, CodedBatch):
        batch = batch.decoded()
    if isinstance(batch, Batch):
        return [batch.signals[name].values for name in SHAPES]
    return list(batch)


def only_values(folder: ShardFolder, stream: WindowStream) -> Iterator[list[Tensor]]:
    """Our gather without ids, times, labels and masks: what the rest of a batch costs is the difference."""
    ring = SlotRing(SIZE * BYTES + 4096, 4)
    for number in range(-(-folder.windows // SIZE)):
        positions = stream.positions(number)[: folder.windows - number * SIZE]
        plan, slot, found = RowPlan.of(folder.block_of[positions], folder._row[positions]), Slot(ring.lease()), []
        for column in folder.header.modalities:
            out = slot.tensor((len(positions), column.channels, column.samples), torch.float32)
            folder._rows[column.name].values.take(plan, out)
            found.append(out)
        yield found


class Epochs:
    """Ours, an epoch at a time in this process; the ring is kept from one to the next, as a run keeps it."""

    def __init__(self, folder: ShardFolder, *, shuffled: bool, loading: Loading) -> None:
        self.stream = stream_of(folder, shuffled, loading)
        # Fixed batches are how we read in order; they are of values.
        self.fixed = (
            None
            if shuffled or loading.keep_int16
            else OrderedBatches(folder, np.arange(folder.windows), batch_size=SIZE)
        )

    def __call__(self) -> Iterator[Any]:
        return iter(self.fixed) if self.fixed is not None else self._epoch()

    def _epoch(self) -> Iterator[Any]:
        windows = self.stream.folder.windows
        for number in range(windows // SIZE):
            yield self.stream.batch(number)
        if left := windows % SIZE:
            yield self.stream.maker.make(self.stream.order.positions(0, windows - left, left), windows // SIZE)


def stream_of(folder: ShardFolder, shuffled: bool, loading: Loading) -> WindowStream:
    """Ours without end; in stored order where it is not to be shuffled."""
    stream = WindowStream(folder, np.arange(folder.windows), batch_size=SIZE, seed=0, loading=loading)
    if not shuffled:
        vars(stream.order)["positions"] = in_stored_order(folder)
    return stream


def in_stored_order(folder: ShardFolder) -> Callable[[int, int, int], NDArray[np.int64]]:
    """Positions as they lie, again and again."""
    return lambda epoch, start, count: np.arange(start, start + count) % folder.windows


@dataclass
class Contender:
    """A row of the table.

    Attributes:
        batches: Makes an epoch's batches, or those of an endless loader.
        floor: Name of the floor that it is compared with.
        endless: Kept running; so many batches as an epoch has are timed in a round.
        running: Of an endless loader, which goes on from round to round.
    """

    name: str
    order: str
    batches: Callable[[], Iterator[Any]]
    floor: str
    endless: bool = False
    windows: int = 0
    running: Iterator[Any] | None = None
    rates: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    floors: list[tuple[float, float]] = field(default_factory=list)

    def round(self) -> tuple[float, float]:
        """Windows a second, and CPU microseconds a window."""
        if self.endless and self.running is None:
            self.running = iter(self.batches())
        batches = self.running if self.running is not None else self.batches()
        count = self.windows // SIZE if self.endless else None
        if self.endless:
            for _ in itertools.islice(batches, SETTLE):
                pass
        cpu, start, seen = cpu_s(), time.perf_counter(), 0
        for batch in itertools.islice(batches, count):
            seen += len(batch) if isinstance(batch, (Batch, CodedBatch)) else len(batch[0])
        took = time.perf_counter() - start
        return seen / took, (cpu_s() - cpu) / seen * 1e6


def cpu_s() -> float:
    """Of this process and the workers below it that live."""
    return time.process_time() + sum(_lived(pid) for pid in _below(os.getpid()))


def _below(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(word) for word in task.read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [child, *_below(child)]
    return found


def _lived(pid: int) -> float:
    """Nanosecond counts of its threads, as Linux keeps them."""
    total = 0
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(task.read_text().split()[0])
        except (OSError, IndexError):
            continue
    return total / 1e9


def contenders(mapped: list[NDArray], f32: ShardFolder, i16: ShardFolder, *, parallel: bool) -> list[Contender]:
    """Floors first, then ours."""
    found, plain, coded = [], Loading(), Loading(keep_int16=True)
    for order in ORDERS:
        mixed = order == "shuffled"
        ways: list[tuple[str, str, Callable[[], Any]]] = [
            ("F", "F", Floor(mapped, shuffled=mixed).__iter__),
            ("F+", "F", Floor(mapped, shuffled=mixed, kept=True).__iter__),
            ("ours", "F+" if mixed else "F", Epochs(f32, shuffled=mixed, loading=plain)),
            ("ours, int16 kept", "ours", Epochs(i16, shuffled=mixed, loading=coded)),
            ("ours, int16 to float32", "ours", Epochs(i16, shuffled=mixed, loading=plain)),
        ]
        if mixed:
            ways.append(("ours, five tensors alone", "F+", partial(only_values, f32, stream_of(f32, mixed, plain))))
        found += [Contender(name, order, batches, floor, windows=len(mapped[0])) for name, floor, batches in ways]
        if parallel:
            side_by_side = {
                "F2": DataLoader(Floor(mapped, shuffled=mixed, endless=True), batch_size=None, num_workers=2),
                "ours, 2 threads": stream_of(f32, mixed, Loading(threads=2)),
                "ours, 2 processes": stream_of(f32, mixed, Loading(workers=2)),
            }
            found += [
                Contender(name, order, partial(iter, endless), "F2", endless=True, windows=len(mapped[0]))
                for name, endless in side_by_side.items()
            ]
    return found


def peer_contenders(peers: list[Peer], arrays: Arrays, work: Path, ours: Path, few: int) -> list[Contender]:
    """Written now; those that store each window by itself get fewer windows."""
    found, names = [], list(SHAPES)
    for peer in peers:
        folder = ours if peer.name == "webdataset on our blocks" else work / peer.package
        count = few if peer.package in ("webdataset", "litdata", "streaming") and folder != ours else len(arrays["ecg"])
        if folder != ours:
            folder.mkdir()
            peer.write({name: values[:count] for name, values in arrays.items()}, folder)
        for order in ORDERS:
            batches = partial(peer.read, folder, SIZE, order == "shuffled", names)
            found.append(Contender(peer.name, order, batches, "ours", windows=count))
    return found


def check(one: Contender, arrays: Arrays) -> None:
    """Count and sums of what an epoch gives, against the arrays.

    Raises:
        SystemExit: If a contender gives something else.
    """
    count, sums = 0, dict.fromkeys(SHAPES, 0.0)
    batches = iter(one.batches())
    for batch in itertools.islice(batches, one.windows // SIZE if one.endless else None):
        for name, values in zip(SHAPES, values_of(batch), strict=True):
            sums[name] += float(values.double().sum())
        count += len(values)
    expected = one.windows // SIZE * SIZE if one.endless else one.windows
    right = {name: float(values[: one.windows].sum(dtype=np.float64)) for name, values in arrays.items()}
    size = {name: float(np.abs(values[: one.windows]).sum(dtype=np.float64)) for name, values in arrays.items()}
    # An endless loader is cut off before the last windows of its epoch.
    near = 1e-6 if not one.endless else 0.02
    if count != expected or any(abs(sums[name] - right[name]) > near * size[name] for name in SHAPES):
        sys.exit(f"{one.name} ({one.order}) does not give the windows that were written: {count} of {expected}")


def measure(every: list[Contender], rounds: int) -> None:
    """Rounds in turn, each contender right after its floor."""
    by_name = {(one.name, one.order): one for one in every}
    for _ in range(rounds):
        for one in every:
            floor = by_name[one.floor, one.order]
            one.floors.append(floor.round())
            rate, cost = one.round()
            one.rates.append(rate)
            one.costs.append(cost)


def rows_of(every: list[Contender]) -> list[Row]:
    """Flat rows: medians, spreads and ratios within rounds."""
    return [
        {
            "what": one.order,
            "model": one.name,
            "floor": one.floor,
            "windows_per_s": median(one.rates),
            "low": min(one.rates),
            "high": max(one.rates),
            "over_floor": median(rate / floor for rate, (floor, _) in zip(one.rates, one.floors, strict=True)),
            "cpu_us": median(one.costs),
            "cpu_over_floor": median(cost / floor for cost, (_, floor) in zip(one.costs, one.floors, strict=True)),
            "windows": one.windows,
            "n": len(one.rates),
        }
        for one in every
    ]


def table(rows: list[Row]) -> str:
    """Markdown, a line a contender and order."""
    lines = [
        "| | | windows/s | range | x its floor | CPU us/window | CPU x its floor |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in rows:
        lines.append(
            f"| {one['model']} | {one['what']} | {one['windows_per_s']:,.0f} | {one['low']:,.0f}-{one['high']:,.0f} "
            f"| {one['over_floor']:.3f} ({one['floor']}) | {one['cpu_us']:.2f} | {one['cpu_over_floor']:.2f} |"
        )
    return "\n".join(lines)


def targets(rows: list[Row], people: float) -> list[Row]:
    """T1 to T5 and T10 of the design, with what was measured; targets whose contenders did not run are left out."""
    found = {(one["model"], one["what"]): one for one in rows}

    def over(name: str, order: str, key: str = "over_floor") -> float | None:
        return found[name, order][key] if (name, order) in found else None

    def ours_over(name: str, order: str) -> float | None:
        ratio = over(name, order)
        return None if ratio is None else 1 / ratio

    per_window, blocks = "webdataset, a sample a window", "webdataset on our blocks"
    asked: list[tuple[str, str, float | None, float, bool]] = [
        ("T1", "ours in order over F", over("ours", "in order"), 0.90, True),
        ("T1", "ours shuffled over F+", over("ours", "shuffled"), 0.55, True),
        *(
            ("T2", f"{two} {order} over F2", over(f"ours, {two}", order), bound, True)
            for order, bound in zip(ORDERS, (5.0, 2.5), strict=True)
            for two in ("2 threads", "2 processes")
        ),
        ("T3", "over stock webdataset, in order", ours_over(per_window, "in order"), 100, True),
        ("T3", "over stock webdataset, shuffled", ours_over(per_window, "shuffled"), 75, True),
        ("T3", "over stock on our blocks, in order", ours_over(blocks, "in order"), 5, True),
        ("T3", "over stock on our blocks, shuffled", ours_over(blocks, "shuffled"), 4, True),
        ("T4", "over LitData, shuffled", ours_over("LitData", "shuffled"), 5, True),
        ("T4", "over MDS, shuffled", ours_over("MDS", "shuffled"), 20, True),
        ("T4", "over HF datasets, shuffled", ours_over("HF datasets", "shuffled"), 3, True),
        ("T4", "over Arrow IPC, shuffled", ours_over("Arrow IPC", "shuffled"), 1, True),
        *(
            (
                "T5",
                f"CPU of int16 over float32, {order}",
                over("ours, int16 kept", order, "cpu_over_floor"),
                0.65,
                False,
            )
            for order in ORDERS
        ),
        ("T10", "people in a batch over a global shuffle", people, 0.95, True),
    ]
    return [
        {
            "what": name,
            "model": what,
            "metric": "target",
            "value": value,
            "bound": bound,
            "met": value >= bound if more else value <= bound,
        }
        for name, what, value, bound, more in asked
        if value is not None
    ]


def people_share(folder: ShardFolder) -> float:
    """Distinct people in a batch, over those of a global shuffle."""
    stream = WindowStream(folder, np.arange(folder.windows), batch_size=SIZE, seed=0)
    ours = [len(set(folder.subject_rows[stream.positions(number)])) for number in range(folder.windows // SIZE)]
    mixed = np.random.default_rng(0).permutation(folder.windows)[: len(ours) * SIZE].reshape(-1, SIZE)
    return float(np.mean(ours) / np.mean([len(set(folder.subject_rows[rows])) for rows in mixed]))


def mapped_copies(arrays: Arrays, work: Path) -> list[NDArray]:
    """The arrays as memory maps of plain files."""
    found = []
    for name, values in arrays.items():
        np.save(work / f"{name}.npy", values)
        found.append(np.load(work / f"{name}.npy", mmap_mode="r"))
    return found


def run(options: argparse.Namespace, work: Path) -> list[Row]:
    """Write everything, check it, measure it, print it."""
    arrays = windows_of(options.windows)
    mapped = mapped_copies(arrays, work)
    f32, i16 = write_ours(arrays, work / "f32", "f32"), write_ours(arrays, work / "i16", "i16")
    print(f"bytes of int16 over float32: {_bytes(i16) / _bytes(f32):.3f}; tar over the arrays: "
          f"{_bytes(f32) / (BYTES * options.windows):.4f}")  # fmt: skip
    peers = [peer for peer in PEERS if peer.here and (options.peers is None or peer.package in options.peers)]
    print("peers:", ", ".join(f"{peer.package} {peer.version}" for peer in peers) or "none")
    every = contenders(mapped, f32, i16, parallel=not options.no_parallel)
    every += peer_contenders(peers, arrays, work, work / "f32", min(options.windows, options.few))
    for one in every:
        check(one, arrays)
    measure(every, options.rounds)
    for one in every:
        one.running = None
    rows = rows_of(every)
    print(f"\n{table(rows)}\n")
    asked = targets(rows, people_share(f32))
    for goal in asked:
        print(
            f"{goal['what']:4} {'met   ' if goal['met'] else 'MISSED'} {goal['value']:8.2f} of {goal['bound']:g}  "
            f"{goal['model']}"
        )
    return [*({"metric": "rate", **one} for one in rows), *asked]


def run_sealed(options: argparse.Namespace, work: Path) -> list[Row]:
    """Write the windows, seal them, measure both, print it."""
    arrays = windows_of(options.windows)
    folders = {encoding: write_ours(arrays, work / encoding, encoding).path for encoding in ("f32", "i16")}
    rows = shard_sealed.measure(folders, work, rounds=options.rounds, steps=options.steps, batch=SIZE)
    print(f"\n{shard_sealed.table(rows)}\n")
    for goal in (one for one in rows if "bound" in one):
        said = "met   " if goal["met"] else "MISSED"
        print(f"{said} {goal['over_plain']:.3f} of {goal['bound']:g}  {goal['what']}")
    return rows


def _bytes(folder: ShardFolder) -> int:
    return sum(shard.bytes for shards in folder.manifest.splits.values() for shard in shards)


PARTS = {"formats": run, "sealed": run_sealed}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few windows, two rounds; its numbers mean nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as a flat list")
    parser.add_argument("--part", choices=PARTS, default="formats", help="what is measured: formats, or sealed shards")
    parser.add_argument("--steps", type=int, default=120, help="of a training run of `sealed`; 0 leaves training out")
    parser.add_argument("--windows", type=int, default=20_000)
    parser.add_argument("--few", type=int, default=10_240, help="windows of formats that store each by itself")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--work", type=Path, help="where the files are made and removed; 3 GB, on a local disk")
    parser.add_argument("--peers", help="packages by commas; all that are installed when not given")
    parser.add_argument("--no-parallel", action="store_true", help="leave out two threads and two processes")
    options = parser.parse_args()
    if options.quick:
        options.windows, options.few, options.rounds = min(options.windows, 1500), 512, 2
        options.steps = min(options.steps, 3)
    if min(options.windows, options.few) < 2 * SIZE or options.rounds < 1:
        parser.error(f"--windows and --few must be {2 * SIZE} or more, --rounds 1 or more")
    if options.peers is not None:
        options.peers = [name for name in options.peers.split(",") if name]
        unknown = set(options.peers) - {peer.package for peer in PEERS}
        if unknown:
            parser.error(f"--peers: known are {', '.join(sorted({peer.package for peer in PEERS}))}")
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, numpy {np.__version__}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, "
          f"MALLOC_MMAP_THRESHOLD_={os.environ.get('MALLOC_MMAP_THRESHOLD_', 'not set')}")  # fmt: skip
    with tempfile.TemporaryDirectory(dir=options.work) as work:
        rows = PARTS[options.part](options, Path(work))
    print(f"load at the end {os.getloadavg()[0]:.1f}")
    if options.json:
        fresh = options.json.with_suffix(".new")
        fresh.write_text(json.dumps(rows, indent=1) + "\n")
        fresh.replace(options.json)


if __name__ == "__main__":
    main()

"""Small shard folders with made-up signals, written by the packer alone; no cohort, no build."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.pack import write_shard
from hdt_fm.schema.preparation import ModalityPreparation, Preparation
from hdt_fm.schema.shard import (
    Counts,
    LabelColumn,
    ModalityColumn,
    ShardEntry,
    ShardHeader,
    ShardManifest,
    SubjectRow,
)
from hdt_fm.schema.subject import SubjectKey

KEY = SubjectKey.public()
BLOCK, SHARDS, BLOCKS = 6, 3, 2
SPLITS = {"train": 7, "test": 3}
# Name: rate, channels, samples, encoding. Every axis has a size of its own.
SIGNALS = {"ppg": (64.0, 1, 256, "i16"), "acc": (32.0, 3, 128, "i16"), "temp": (4.0, 1, 16, "f32")}


def column(name: str, codec: str = "none") -> ModalityColumn:
    """A column of the made-up header."""
    rate, channels, samples, encoding = SIGNALS[name]
    return ModalityColumn(
        name=name,
        unit="au",
        channels=channels,
        sampling_rate_hz=rate,
        samples=samples,
        encoding=encoding,
        lsb=0.01,
        codec=codec,
    )


def header(codec: str = "none") -> ShardHeader:
    """Three modalities and a label; `codec` packs all of them."""
    return ShardHeader(
        modalities=tuple(column(name, codec) for name in SIGNALS),
        labels=(LabelColumn(name="stress", kind="class", classes=("rest", "stress")),),
        window_s=4,
        hop_s=4,
    )


def people(split: str) -> list[int]:
    """Rows of the subject table that are in a split."""
    return list(range(7)) if split == "train" else [7, 8, 9]


def window(wid: int) -> dict[str, np.ndarray]:
    """The values of one window as stored; its codes follow from its id alone, so any reader can be asked for it."""
    generator = np.random.default_rng(wid)
    values = {}
    for name, (_, channels, samples, encoding) in SIGNALS.items():
        walk = generator.normal(size=(channels, samples)).cumsum(axis=1)
        values[name] = (walk * 8).astype(np.int16) if encoding == "i16" else walk.astype(np.float32)
    return values


def block(split: str, first: int) -> dict[str, np.ndarray]:
    """Windows `first` to `first + BLOCK`, their people in turn; temperature is absent from every other window."""
    ids = np.arange(first, first + BLOCK)
    rows = np.array(people(split))[ids % len(people(split))]
    mask = np.ones((BLOCK, len(SIGNALS)), np.uint8)
    mask[ids % 2 == 1, 2] = 0
    members = {name: np.stack([window(int(wid))[name] for wid in ids]) for name in SIGNALS}
    members["temp"][ids % 2 == 1] = 0
    observed = np.ones((BLOCK, SIGNALS["ppg"][2]), np.bool_)
    observed[ids % 3 == 0, 5:9] = False
    members["ppg"][~observed[:, None].repeat(1, axis=1)] = 0
    if not observed.all():
        members["ppg_observed"] = np.packbits(observed, axis=1)
    return members | {
        "mask": mask,
        "sqi": mask.astype(np.float16),
        "wid": ids.astype(np.int64),
        "subj": rows.astype(np.int32),
        "t0": ids.astype(np.int64) * 4_000_000_000,
        "y_stress": (ids % 2).astype(np.float32),
    }


def shards(split: str) -> Iterator[tuple[int, list[tuple[int, dict[str, np.ndarray]]]]]:
    """Number and blocks of each shard."""
    start = 0 if split == "train" else SHARDS * BLOCKS * BLOCK
    for shard in range(SHARDS if split == "train" else 1):
        numbers = range(shard * BLOCKS, (shard + 1) * BLOCKS)
        yield shard, [(number, block(split, start + number * BLOCK)) for number in numbers]


def write_folder(folder: Path, codec: str = "none", **change: Any) -> ShardManifest:
    """A whole folder of two splits; `change` is of the manifest."""
    head, splits = header(codec), {}
    windows = dict.fromkeys(range(10), 0)
    for split in SPLITS:
        (folder / split).mkdir(parents=True)
        entries = []
        for number, blocks in shards(split):
            path = f"{split}/made-{number:05d}.tar"
            packed = write_shard(folder / path, head, blocks)
            entries.append(
                ShardEntry(
                    path=path, bytes=packed.bytes, sha256=packed.sha256, windows=packed.windows, blocks=packed.blocks
                )
            )
            for _, members in blocks:
                for row in members["subj"]:
                    windows[int(row)] += 1
        splits[split] = tuple(entries)
    manifest = ShardManifest(
        cohort="made",
        licence="CC0-1.0",
        source="made in a test",
        preparation=Preparation(
            window_s=4,
            hop_s=4,
            modalities={
                name: ModalityPreparation(sampling_rate_hz=rate, channels=channels)
                for name, (rate, channels, _, _) in SIGNALS.items()
            },
        ),
        header=head,
        splits=splits,
        subjects=tuple(subject_row(number, windows[number]) for number in range(10)),
        counts=Counts(
            visits=10,
            recordings=30,
            windows_possible=sum(windows.values()),
            windows_kept=sum(windows.values()),
            windows_dropped_coverage=0,
        ),
        config_digest="c" * 64,
        input_digest="i" * 64,
        code_version="0.1.0",
    ).model_copy(update=change)
    (folder / "manifest.json").write_text(manifest.model_dump_json(indent=1) + "\n")
    return manifest


def subject_row(number: int, windows: int) -> SubjectRow:
    """A person of the table, whose age band would say something of them."""
    pseudonym = KEY.pseudonym("made", str(number))
    return SubjectRow(
        subject=pseudonym,
        group=KEY.pseudonym("group", pseudonym),
        windows=windows,
        hours=windows * 4 / 3600,
        covariates={"age_band": f"{20 + 10 * (number % 5)}-{29 + 10 * (number % 5)}"},
        split="train" if number < 7 else "test",
    )

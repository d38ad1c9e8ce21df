"""One person's rows of shards and of embedding tables, also those that are revoked and not erased yet."""

import json
from pathlib import Path

import numpy as np
from safetensors import safe_open

from data_pipelines.finished import OpenTar, manifest_of, open_tar
from hdt_fm.consent.personal import Windows
from hdt_fm.schema.shard import ModalityColumn, ShardManifest
from hdt_fm.schema.shard_manifest import entries_of


def rows_of_shards(folder: Path, subject: str) -> tuple[ShardManifest, Windows]:
    """The manifest, and the person's windows in the order of time."""
    manifest = manifest_of(folder)
    (row,) = [number for number, one in enumerate(manifest.subjects) if one.subject == subject]
    header, found = manifest.header, []
    for entry in entries_of(manifest):
        tar = open_tar(folder, manifest, entry)
        for block in tar.blocks:
            mine = np.flatnonzero(tar.array(block, "subj") == row)
            if len(mine):
                found.append(_of_block(tar, block, mine, manifest))
    order = np.argsort(np.concatenate([one.start_ns for one in found]), kind="stable")

    def joined(part: str, name: str) -> np.ndarray:
        return np.concatenate([getattr(one, part)[name] for one in found])[order]

    names = [column.name for column in header.modalities]
    return manifest, Windows(
        window_id=np.concatenate([one.window_id for one in found])[order],
        start_ns=np.concatenate([one.start_ns for one in found])[order],
        labels={label.name: joined("labels", label.name) for label in header.labels},
        signals={name: joined("signals", name) for name in names},
        observed={name: joined("observed", name) for name in names},
        present={name: joined("present", name) for name in names},
    )


def _of_block(tar: OpenTar, block: dict[str, int], mine: np.ndarray, manifest: ShardManifest) -> Windows:
    columns = manifest.header.modalities
    mask = tar.array(block, "mask")[mine].astype(np.bool_)
    labels = {one.name: f"y_{one.name}" for one in manifest.header.labels}
    unknown = np.full(len(mine), np.nan, np.float32)
    return Windows(
        window_id=tar.array(block, "wid")[mine],
        start_ns=tar.array(block, "t0")[mine],
        labels={name: tar.array(block, y)[mine] if y in block else unknown for name, y in labels.items()},
        signals={column.name: _signal(tar, block, mine, column) for column in columns},
        observed={column.name: _observed(tar, block, mine, column) for column in columns},
        present={column.name: mask[:, number] for number, column in enumerate(columns)},
    )


def _signal(tar: OpenTar, block: dict[str, int], mine: np.ndarray, column: ModalityColumn) -> np.ndarray:
    if column.name not in block:
        return np.zeros((len(mine), column.channels, column.samples), np.float32)
    stored = tar.array(block, column.name)[mine]
    if column.encoding == "i16":
        return stored.astype(np.float32) * np.float32(column.lsb) + np.float32(column.offset)
    return stored


def _observed(tar: OpenTar, block: dict[str, int], mine: np.ndarray, column: ModalityColumn) -> np.ndarray:
    name = f"{column.name}_observed"
    if name not in block:
        return np.ones((len(mine), column.samples), np.bool_)
    bits = tar.array(block, name)[mine]
    return np.unpackbits(bits, axis=1, count=column.samples).astype(np.bool_)


def rows_of_table(folder: Path, subject: str) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """Names and columns: a row a window and modality that is present."""
    facts = json.loads((folder / "table.json").read_bytes())
    number = facts["subjects"].index(subject)
    with safe_open(folder / "embeddings.safetensors", framework="np") as arrays:
        mine = np.flatnonzero(arrays.get_tensor("subject") == number)
        parts = {name: arrays.get_tensor(name)[mine] for name in ("window_id", "time_s", "present", "embeddings")}
    window, modality = np.nonzero(parts["present"])
    values = parts["embeddings"][window, modality]
    names = ("window", "start_s", "modality", *(f"e{place}" for place in range(values.shape[1])))
    return names, [
        parts["window_id"][window],
        parts["time_s"][window],
        np.array(facts["modalities"])[modality],
        *values.T,
    ]

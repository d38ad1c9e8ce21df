"""Frozen-encoder outputs of a whole shard folder: made once, kept on disk, read by heads in a moment."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from hdt_fm.data.shards import ShardFolder
from hdt_fm.data.stream import OrderedBatches
from hdt_fm.schema.embedding import EmbeddingTable
from hdt_fm.schema.errors import CorruptShardError, HdtError, ShardError
from hdt_fm.schema.protocols import Embeddings
from hdt_fm.schema.shard import LabelColumn

TABLE_VERSION = 1
# Windows that are fused at a time; it bounds memory and changes nothing.
FUSED_AT_ONCE = 4096
ARRAYS_NAME = "embeddings.safetensors"
TABLE_NAME = "table.json"
_ARRAYS = ("embeddings", "projections", "present", "subject", "group", "time_s", "window_id")
_FUSED = "fused"
_PLAIN = ("window_s", "hop_s", "model_digest", "data_digest")


@torch.no_grad()
def compute_embeddings(
    model: Any,
    folder: ShardFolder,
    *,
    model_digest: str,
    modalities: Sequence[str] | None = None,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int, str], None] | None = None,
) -> EmbeddingTable:
    """Embed every window of a folder.

    Args:
        model: A module with `embed(batch)` and `project(embeddings)`, each giving `Embeddings`, and, where it has a
            `fusion`, `fuse(embeddings)`. It is put into evaluation mode and back.
        model_digest: What names the model in the table (`hdt_fm.checkpoint.model_digest`, without its heads).
        modalities: The model's, in the order of its embeddings; None where they are the folder's.
        progress: Called with (done, total, what).

    Returns:
        The table, sorted by (subject, time), of the folder's modalities that the model knows.
    """
    known = tuple(modalities or folder.modalities)
    shared = tuple(name for name in folder.modalities if name in known)
    columns = [known.index(name) for name in shared]
    was_training = model.training
    model.eval()
    parts: dict[str, list[NDArray]] = {"embeddings": [], "projections": [], "present": []}
    batches = OrderedBatches(folder, np.arange(folder.windows), batch_size=batch_size)
    for number, batch in enumerate(batches):
        embedded: Embeddings = model.embed(batch.to(device))
        projected: Embeddings = model.project(embedded)
        parts["embeddings"].append(embedded.values[:, columns].float().cpu().numpy())
        parts["projections"].append(projected.values[:, columns].float().cpu().numpy())
        parts["present"].append(embedded.present[:, columns].cpu().numpy())
        if progress:
            progress(number + 1, len(batches), "embed")
    model.train(was_training)
    order = np.lexsort((folder.t0_ns, folder.subject_rows))
    arrays = {name: np.concatenate(part)[order] for name, part in parts.items()}
    subject = folder.subject_rows[order].astype(np.int64)
    groups = [row.group for row in folder.manifest.subjects]
    numbers = {group: number for number, group in enumerate(sorted(set(groups)))}
    fuse = fuser(model, known)
    return EmbeddingTable(
        modalities=shared,
        embeddings=arrays["embeddings"],
        projections=arrays["projections"],
        present=arrays["present"],
        subject=subject,
        group=np.array([numbers[group] for group in groups], dtype=np.int64)[subject],
        time_s=folder.t0_ns[order] / 1e9,
        window_id=folder.window_ids[order],
        labels={name: values[order] for name, values in folder.labels.items()},
        label_columns=folder.header.labels,
        subjects=tuple(row.subject for row in folder.manifest.subjects),
        window_s=folder.header.window_s,
        hop_s=folder.header.hop_s,
        model_digest=model_digest,
        data_digest=folder.digest,
        fused=fuse(shared, arrays["embeddings"], arrays["present"]) if fuse else None,
    )


def fuser(model: Any, known: Sequence[str]) -> Callable[..., NDArray[np.float32]] | None:
    """What the model's fusion makes of embeddings that were computed before.

    Args:
        model: As for `compute_embeddings`; None comes back where it has no fusion.
        known: The model's modalities, in the order of its embeddings.

    Returns:
        (modalities, embeddings, present) -> (window, width), for any of the model's modalities in any order; of a
        window only what is present is read.
    """
    if getattr(model, "fusion", None) is None:
        return None

    @torch.no_grad()
    def fuse(
        modalities: Sequence[str], embeddings: NDArray[np.floating], present: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        was_training, place = model.training, [known.index(name) for name in modalities]
        model.eval()
        parts = []
        for start in range(0, len(present), FUSED_AT_ONCE):
            some = slice(start, start + FUSED_AT_ONCE)
            here = torch.zeros(len(present[some]), len(known), dtype=torch.bool)
            values = torch.zeros(*here.shape, embeddings.shape[2])
            here[:, place] = torch.from_numpy(present[some])
            values[:, place] = torch.from_numpy(embeddings[some]).float()
            device = next(model.parameters()).device
            parts.append(model.fuse(Embeddings(values.to(device), here.to(device))).float().cpu())
        model.train(was_training)
        return torch.cat(parts).numpy()

    return fuse


def save_table(table: EmbeddingTable, folder: Path | str) -> None:
    """Write the arrays, then `table.json` with their sha256; each by a temporary name and rename."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {name: np.ascontiguousarray(getattr(table, name)) for name in _ARRAYS}
    arrays |= {f"label.{name}": np.ascontiguousarray(values) for name, values in table.labels.items()}
    if table.fused is not None:
        arrays[_FUSED] = np.ascontiguousarray(table.fused)
    data = save(arrays)
    facts = {name: getattr(table, name) for name in _PLAIN} | {
        "version": TABLE_VERSION,
        "modalities": table.modalities,
        "subjects": table.subjects,
        "label_columns": [column.model_dump() for column in table.label_columns],
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    for name, content in ((ARRAYS_NAME, data), (TABLE_NAME, json.dumps(facts, indent=1).encode())):
        temporary = folder / f"{name}.tmp"
        temporary.write_bytes(content)
        os.replace(temporary, folder / name)


def load_table(folder: Path | str) -> EmbeddingTable:
    """Read a table back.

    Raises:
        ShardError: If there is no table, or it is of another version.
        CorruptShardError: If the arrays are not the ones that `table.json` was written for, or no table.
    """
    folder = Path(folder)
    try:
        facts = json.loads((folder / TABLE_NAME).read_bytes())
        data = (folder / ARRAYS_NAME).read_bytes()
    except (OSError, ValueError) as error:
        raise ShardError(
            "There is no embedding table that can be read",
            where=folder.name,
            expected=f"{TABLE_NAME} and {ARRAYS_NAME}",
            got=type(error).__name__,
            fix="make it with `hdt-fm embed`",
        ) from None
    if not isinstance(facts, dict) or facts.get("version") != TABLE_VERSION:
        raise ShardError("The embedding table is of another version", where=folder.name, expected=str(TABLE_VERSION))
    if hashlib.sha256(data).hexdigest() != facts.get("sha256"):
        raise CorruptShardError(
            "The arrays of an embedding table differ from what was written",
            where=f"{folder.name}/{ARRAYS_NAME}",
            fix="make it again with `hdt-fm embed`",
        )
    try:
        return _table(facts, load(data))
    except (SafetensorError, KeyError, TypeError, ValueError, HdtError) as error:
        # Both files can be of one hand, so that equal digests say nothing of what is in them.
        raise CorruptShardError(
            "The files of an embedding table hold no table",
            where=folder.name,
            expected=f"arrays named {', '.join(_ARRAYS)}, of one length, as safetensors",
            got=type(error).__name__,
            fix="make it again with `hdt-fm embed`",
        ) from None


def _table(facts: dict[str, Any], arrays: dict[str, NDArray]) -> EmbeddingTable:
    fields: dict[str, Any] = {name: arrays[name] for name in _ARRAYS} | {name: facts[name] for name in _PLAIN}
    if any(len(array) != len(arrays["subject"]) for array in arrays.values()):
        raise ValueError("arrays of several lengths")
    return EmbeddingTable(
        **fields,
        fused=arrays.get(_FUSED),
        modalities=tuple(facts["modalities"]),
        subjects=tuple(facts["subjects"]),
        labels={name.removeprefix("label."): arrays[name] for name in arrays if name.startswith("label.")},
        label_columns=tuple(LabelColumn.model_validate(column) for column in facts["label_columns"]),
    )

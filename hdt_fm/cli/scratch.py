"""The baseline that is easy to forget: the same encoder, trained from scratch with the labels, fold by fold."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from hdt_fm.cli.run import Run
from hdt_fm.cli.settings import ProtocolSettings, TrainingSettings
from hdt_fm.cli.workflow import changes, device_of, endless, new_model
from hdt_fm.data.selection import positions_of
from hdt_fm.data.shards import ShardFolder
from hdt_fm.evaluation.folds import Fold
from hdt_fm.schema import registry
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.embedding import EmbeddingTable
from hdt_fm.training.supervised import fit_supervised, head_input


def scratch_scores(run: Run, folder: ShardFolder, table: EmbeddingTable, folds: Sequence[Fold]) -> NDArray[np.float64]:
    """Out-of-fold scores in the table's order, NaN outside any test.

    Returns:
        (row,): log-odds of class 1 of two, or the value in the label's unit; (row, class) for more classes.
    """
    protocol = run.config.section("protocol", ProtocolSettings)
    scores: NDArray[np.float64] | None = None
    for number, fold in enumerate(folds, start=1):
        progress = run.progress(f"fold {number} of {len(folds)}: from scratch with labels")
        own = _one_fold(run, folder, table, fold, protocol, progress)
        if scores is None:
            scores = np.full((len(table), *own.shape[1:]), np.nan)
        scores[fold.test] = own
    assert scores is not None, "folds are never empty"
    return scores


def _one_fold(run: Run, folder, table, fold, protocol, progress) -> NDArray[np.float64]:  # type: ignore[no-untyped-def]
    config, label = run.config, protocol.label
    training, seed = config.section("training", TrainingSettings), int(config.value("seed"))
    people = np.unique(table.subject[fold.train])
    model = new_model(config, folder, people).to(device_of(config))
    folder = folder.with_static(model.config.covariates)
    known = table.labels[label][fold.train]
    known = known[np.isfinite(known)]
    # As `head_input` lays it out: embeddings side by side, then presence.
    width = (int(model.encoder.width) + 1) * len(model.modalities)  # type: ignore[arg-type]
    args = (
        {"out_features": _classes(folder, label, known), "kind": "class"}
        if protocol.kind == "classification"
        else {"out_features": 1, "kind": "value", "center": float(known.mean()), "scale": float(known.std() or 1.0)}
    )
    head = registry.build("heads", "probe", {"in_features": width, **args}).to(device_of(config))
    stream = endless(folder, positions_of(folder, people), training.batch_size, seed)
    fit_supervised(
        model,
        head,
        lambda step: _alone(next(stream), protocol.alone),
        label=label,
        steps=protocol.scratch_steps,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        seed=seed,
        change=changes(config)[0],
        progress=progress,
    )
    return _scores(model, head, folder, table.window_id[fold.test], protocol.alone, device_of(config))


def _classes(folder: ShardFolder, label: str, known: NDArray[np.floating]) -> int:
    """Named classes of a label, also those that no training window of a fold holds."""
    named = next((len(one.classes) for one in folder.header.labels if one.name == label), 0)
    return max(named, int(known.max()) + 1)


def _alone(batch: Batch, modalities: tuple[str, ...] | None) -> Batch:
    """The batch with some modalities left, when the protocol asks for these alone."""
    if modalities is None:
        return batch
    keep = torch.zeros_like(batch.present)
    for name in modalities:
        keep[:, batch.modalities.index(name)] = True
    return batch.without(keep)


@torch.no_grad()
def _scores(model, head, folder, window_ids, only, device) -> NDArray[np.float64]:  # type: ignore[no-untyped-def]
    place = {int(window): row for row, window in enumerate(folder.window_ids)}
    rows = np.array([place[int(window)] for window in window_ids])
    found = []
    for start in range(0, len(rows), 256):
        batch = _alone(folder.gather(rows[start : start + 256]), only).to(device)
        output = head(head_input(model.embed(batch))).cpu()
        found.append(output[:, 1] - output[:, 0] if output.shape[1] == 2 else output.squeeze(1))
    return torch.cat(found).double().numpy()

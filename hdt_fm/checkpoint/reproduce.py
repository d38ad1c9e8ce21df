"""Simulated noise and what the model made of it: the proof that a loaded model is the one that was saved."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from hdt_fm.checkpoint.folder import short
from hdt_fm.checkpoint.model import Model
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.errors import CheckpointError, HdtError, ShapeError
from hdt_fm.schema.manifest import ModelConfig

TOLERANCE = 1e-5
_WINDOWS, _MOST_WINDOWS = 3, 16


def _example(config: ModelConfig) -> Batch:
    """Noise in each modality's own range, with the first modality absent once and a stretch not observed."""
    generator = torch.Generator().manual_seed(20261121)
    size, columns = _WINDOWS, config.modalities
    present = torch.ones(size, len(columns), dtype=torch.bool)
    if len(columns) > 1:
        present[1, 0] = False
    signals = {}
    for column in columns:
        center, scale = config.statistics.get(column.name, (0.0, 1.0))
        values = center + scale * torch.randn(size, column.channels, column.samples, generator=generator)
        observed = torch.ones(size, column.samples, dtype=torch.bool)
        observed[2, : column.samples // 4] = False
        signals[column.name] = Signal(values, observed, column.sampling_rate_hz)
    batch = _batch(config, signals, present)
    return batch.without(present)


def _batch(config: ModelConfig, signals: dict[str, Signal], present: Tensor) -> Batch:
    row = torch.arange(len(present))
    names = tuple(column.name for column in config.modalities)
    return Batch(names, signals, present, subject=row, time_s=row.float(), window_id=row)


def _answers(model: Model, batch: Batch) -> dict[str, Tensor]:
    with torch.no_grad():
        embeddings = model.embed(batch)
        answers = {"embeddings": embeddings.values, "projections": model.project(embeddings).values}
        if model.fusion is not None:
            answers |= {"fused": model.fuse(embeddings), "others": model.others(embeddings).values}
    return answers


def stored_embedding(model: Model) -> dict[str, Tensor]:
    """Input and output of a model that is on the CPU and in evaluation mode, as named tensors."""
    batch = _example(model.config)
    tensors = {"present": batch.present, **_answers(model, batch)}
    for name, signal in batch.signals.items():
        tensors[f"input.{name}.values"], tensors[f"input.{name}.observed"] = signal.values, signal.observed
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def check_reproduced(model: Model, path: Path) -> None:
    """Refuse a model (CPU, evaluation mode) whose answer to the stored input is more than 1e-5 off the stored one.

    Raises:
        CheckpointError: If it is, or if the file cannot be read.
    """
    wrong = {name: gap for name, gap in differences(model, path).items() if not gap <= TOLERANCE}
    if wrong:
        raise CheckpointError(
            "The model does not reproduce its stored embedding, so it is not the model that was saved",
            where=path.name,
            expected=f"at most {TOLERANCE:g} away from the stored one",
            got=", ".join(f"{name} {gap:.1e} away" for name, gap in wrong.items()),
            fix="load it with the hdt_fm version that wrote it, or take the folder again from its source",
        )


def differences(model: Model, path: Path) -> dict[str, float]:
    """How far the model's answers (CPU, evaluation mode) to the stored input are from those that were stored.

    Returns:
        The largest difference of each answer, as a share of the largest stored number where that is above 1.

    Raises:
        CheckpointError: If the file cannot be read.
    """
    try:
        stored = load_file(path)
        _check_shapes(model.config, stored)
        signals = {
            column.name: Signal(
                stored[f"input.{column.name}.values"], stored[f"input.{column.name}.observed"], column.sampling_rate_hz
            )
            for column in model.config.modalities
        }
        answers = _answers(model, _batch(model.config, signals, stored["present"]))
        return {name: _gap(answer, stored[name]) for name, answer in answers.items()}
    except (SafetensorError, KeyError, RuntimeError, HdtError) as error:
        raise CheckpointError(
            "The stored embedding cannot be checked", where=path.name, got=short(error), fix="copy the folder again"
        ) from error


def _check_shapes(config: ModelConfig, stored: dict[str, Tensor]) -> None:
    """Refuse an input of another form than windows have: one that is much longer could ask for any memory."""
    size, columns = len(stored["present"]), config.modalities
    wanted: dict[str, tuple[int, ...]] = {"present": (size, len(columns))}
    for column in columns:
        wanted[f"input.{column.name}.values"] = (size, column.channels, column.samples)
        wanted[f"input.{column.name}.observed"] = (size, column.samples)
    wrong = [name for name, shape in wanted.items() if tuple(stored[name].shape) != shape]
    if wrong or not 1 <= size <= _MOST_WINDOWS:
        raise ShapeError("The stored input has not the form of windows", got=", ".join(wrong[:3]) or f"{size} windows")


def _gap(answer: Tensor, stored: Tensor) -> float:
    """Largest difference, as a share of the largest stored number where that is above 1."""
    return float((answer - stored).abs().max() / stored.abs().max().clamp(min=1.0))

"""Heads on cached embeddings: a plain loop over arrays in memory, seconds on a CPU, the same result each time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from hdt_fm.schema.errors import HdtError, ShapeError
from hdt_fm.schema.protocols import HeadInput
from hdt_fm.training.optim import adamw_cosine

History = list[dict[str, float]]
Progress = Callable[[int, int, str], None]
Validation = tuple[HeadInput, Tensor, Tensor]


def fit_head(
    head: nn.Module,
    inputs: HeadInput,
    target: Tensor,
    counts: Tensor,
    *,
    epochs: int = 60,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-2,
    seed: int = 0,
    validation: Validation | None = None,
    early_stop: int | None = 10,
    progress: Progress | None = None,
) -> History:
    """Train a `Head` in place.

    Args:
        head: On the device of `inputs`; left in evaluation mode, with its best weights when there is a validation.
        target: First axis as `inputs`; anything where not counted.
        counts: Bool, like `target`.
        epochs: Passes over the rows that count.
        seed: Of order and dropout.
        validation: Inputs, target and counts of other people.
        early_stop: Epochs without a better validation loss after which training ends; None never ends early.
        progress: Called as (epoch, epochs, note).

    Returns:
        One entry an epoch: `epoch`, `loss` and, with a validation, `val_loss`.

    Raises:
        ShapeError: If sizes differ or no target counts.
        HdtError: If the loss is not finite.
    """
    rows = _counted_rows(inputs, target, counts)
    batches = -(-len(rows) // batch_size)
    optimizer, schedule = adamw_cosine(
        head, steps=epochs * batches, learning_rate=learning_rate, weight_decay=weight_decay, warmup_steps=0
    )
    order = torch.Generator().manual_seed(seed)
    history: History = []
    best, best_epoch, best_state = float("inf"), 0, _state(head)
    with seeded(seed):
        for epoch in range(1, epochs + 1):
            head.train()
            total = torch.zeros((), device=target.device)
            for index in rows[torch.randperm(len(rows), generator=order)].split(batch_size):
                index = index.to(target.device)
                loss = head.loss(head(take(inputs, index)), target[index], counts[index])  # type: ignore[operator]
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()
                total += loss.detach() * len(index)
            entry = {"epoch": float(epoch), "loss": _finite(float(total) / len(rows), f"epoch {epoch}")}
            if validation is not None:
                entry["val_loss"] = evaluate_head(head, *validation, batch_size=batch_size)
                if entry["val_loss"] < best:
                    best, best_epoch, best_state = entry["val_loss"], epoch, _state(head)
            history.append(entry)
            if progress:
                progress(epoch, epochs, f"loss {entry['loss']:.4f}")
            if validation is not None and early_stop is not None and epoch - best_epoch >= early_stop:
                break
    if validation is not None and best < float("inf"):
        head.load_state_dict(best_state)
    head.eval()
    return history


def evaluate_head(
    head: nn.Module, inputs: HeadInput, target: Tensor, counts: Tensor, *, batch_size: int = 1024
) -> float:
    """Mean loss over batches, weighted by how many targets count; NaN when none does."""
    head.eval()
    total, weight = 0.0, 0.0
    with torch.no_grad():
        for index in torch.arange(len(target), device=target.device).split(batch_size):
            share = float(counts[index].sum())
            if share:
                loss = head.loss(head(take(inputs, index)), target[index], counts[index])  # type: ignore[operator]
                total, weight = total + float(loss) * share, weight + share
    return total / weight if weight else float("nan")


def take(inputs: HeadInput, index: Tensor) -> HeadInput:
    """The rows at `index`."""
    return replace(
        inputs,
        context=inputs.context[index],
        observed=inputs.observed[index],
        recent=None if inputs.recent is None else inputs.recent[index],
        plan=None if inputs.plan is None else inputs.plan[index],
        known=None if inputs.known is None else inputs.known[index],
    )


def _counted_rows(inputs: HeadInput, target: Tensor, counts: Bool[Tensor, "..."]) -> Tensor:
    sizes = {len(inputs.context), len(inputs.observed), len(target), len(counts)}
    if len(sizes) != 1 or counts.shape != target.shape:
        raise ShapeError(
            "Inputs, target and counts do not fit each other",
            expected="one row each for every input row, counts like target",
            got=f"context {tuple(inputs.context.shape)}, target {tuple(target.shape)}, counts {tuple(counts.shape)}",
        )
    rows = counts.reshape(len(counts), -1).any(1).nonzero().squeeze(1).cpu()
    if len(rows) == 0:
        raise ShapeError("No target counts, so there is nothing to learn from", fix="check the labels of the cohort")
    return rows


def _state(head: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in head.state_dict().items()}


def _finite(loss: float, where: str) -> float:
    if not abs(loss) < float("inf"):
        raise HdtError(
            "The head's loss is not finite",
            where=where,
            fix="lower learning_rate, or check that cached embeddings and targets are finite",
        )
    return loss


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draws inside follow from the seed; the process keeps its own generators."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield

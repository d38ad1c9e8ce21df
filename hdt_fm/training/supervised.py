"""The baseline that pretraining must beat: the same encoder, trained from scratch with the labels."""

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor, nn

from hdt_fm.checkpoint import Model
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ConfigError, HdtError, unknown_name
from hdt_fm.schema.protocols import Embeddings, HeadInput
from hdt_fm.training.heads import History, Progress, seeded
from hdt_fm.training.optim import adamw_cosine

Change = Callable[[Batch, int], Batch]


def fit_supervised(
    model: Model,
    head: nn.Module,
    batches: Callable[[int], Batch],
    *,
    label: str,
    steps: int,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.05,
    warmup_steps: int | None = None,
    clip_norm: float = 1.0,
    seed: int = 0,
    change: Change | None = None,
    progress: Progress | None = None,
) -> History:
    """Train encoder and head together, in place; both are left in evaluation mode.

    Args:
        model: Fresh, as `build_model` gives it; its projection is not used.
        head: A `Head` for one context window of `features(embeddings)`.
        batches: The training batch of each step, 0 to steps - 1; of training people only.
        label: Which of the batch's labels is learned; windows where it is NaN do not count.
        warmup_steps: A twentieth of `steps` when None.
        seed: Of dropout.
        change: Augmentation, pure in the step.
        progress: Called as (step, steps, note).

    Returns:
        One entry a step: `step`, `loss`, `windows` that counted.

    Raises:
        UnknownNameError: If a batch does not have the label.
        HdtError: If the loss is not finite.
    """
    if steps < 1:
        raise ConfigError("steps must be at least 1", got=str(steps))
    both = nn.ModuleDict({"encoder": model.encoder, "head": head}).train()
    warmup = steps // 20 if warmup_steps is None else warmup_steps
    optimizer, schedule = adamw_cosine(
        both, steps=steps, learning_rate=learning_rate, weight_decay=weight_decay, warmup_steps=warmup
    )
    history: History = []
    with seeded(seed):
        for step in range(steps):
            batch = batches(step).to(model.device)
            batch = change(batch, step) if change else batch
            target, counts = label_of(batch, label)
            loss = head.loss(head(head_input(model.embed(batch))), target, counts)  # type: ignore[operator]
            if not bool(torch.isfinite(loss)):
                raise HdtError("The supervised loss is not finite", where=f"step {step + 1}", fix="lower learning_rate")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(both.parameters(), clip_norm)
            optimizer.step()
            schedule.step()
            entry = {"step": float(step + 1), "loss": float(loss.detach()), "windows": float(counts.sum())}
            history.append(entry)
            if progress:
                progress(step + 1, steps, f"loss {entry['loss']:.4f}")
    both.eval()
    return history


def label_of(batch: Batch, label: str) -> tuple[Tensor, Tensor]:
    """A label and where it is known; 0 where it is not.

    Raises:
        UnknownNameError: If the batch does not have it.
    """
    if label not in batch.labels:
        raise unknown_name("label", label, batch.labels)
    counts = ~batch.labels[label].isnan()
    return torch.where(counts, batch.labels[label], 0.0), counts


def head_input(embeddings: Embeddings) -> HeadInput:
    """One context window a row: embeddings side by side, then presence as 0/1, in the order of `EmbeddingTable`."""
    flat = rearrange(embeddings.values, "batch modality width -> batch 1 (modality width)")
    present = rearrange(embeddings.present, "batch modality -> batch 1 modality").to(flat.dtype)
    context = torch.cat((flat, present), dim=-1)
    return HeadInput(context=context, observed=torch.ones(context.shape[:2], dtype=torch.bool, device=context.device))

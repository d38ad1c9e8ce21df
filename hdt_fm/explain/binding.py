"""A model bound to a batch: what Captum may vary, the reference input, and what is refused before that."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hdt_fm.explain.explanation import MethodMap
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.errors import ExplainError
from hdt_fm.schema.modalities import STATIC, modality

REFERENCES = ("window_mean", "zero", "others")


def signals_of(batch: Batch) -> tuple[str, ...]:
    """What may get credit: signals. Facts about a person have no course that could be flattened for a reference, a
    level has no half-way, and a report must not show them; the model sees them, unvaried."""
    return tuple(name for name in batch.modalities if name != STATIC)


def refuse_unexplainable(batch: Batch) -> None:
    """Raise ExplainError for an empty batch, a window without an observed sample, or a value that is not finite."""
    if not len(batch):
        raise ExplainError("There is no window to explain", fix="choose a subject or window that exists")
    seen = torch.zeros(len(batch), dtype=torch.bool, device=batch.present.device)
    for name in signals_of(batch):
        if name not in batch.signals:
            continue
        signal = batch.signals[name]
        seen |= signal.observed.any(-1) & batch.column(name)
        if not torch.isfinite(signal.values.masked_fill(~signal.observed[:, None], 0.0)).all():
            raise ExplainError(
                "An observed sample is not a finite number",
                where=f"modality {name}",
                expected="finite values wherever `observed` is True",
                fix="mark such samples as not observed when the recording is read",
            )
    if not seen.all():
        raise ExplainError(
            "A window has no observed sample in any modality",
            expected="at least one modality present and observed in every window",
            got=f"{int((~seen).sum())} of {len(batch)} windows without",
            fix="choose windows that hold a signal",
        )


@contextmanager
def explaining(fn_model: Callable[[Batch], Tensor]) -> Iterator[Callable[[Batch], Tensor]]:
    """The plain module in evaluation mode, outside inference mode, with weights that gather no gradient."""
    model = getattr(fn_model, "_orig_mod", fn_model)
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    weights = list(model.parameters()) if isinstance(model, nn.Module) else []
    before = [module.training for module in modules], [weight.requires_grad for weight in weights]
    # cuDNN has no backward of a recurrent layer in evaluation mode.
    recurrent = any(isinstance(module, nn.RNNBase) for module in modules)
    try:
        for module in modules:
            module.training = False
        for weight in weights:
            weight.requires_grad_(False)
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.backends.cudnn.flags(enabled=False) if recurrent else nullcontext(),
        ):
            yield model
    finally:
        for module, training in zip(modules, before[0], strict=True):
            module.training = training
        for weight, wanted in zip(weights, before[1], strict=True):
            weight.requires_grad_(wanted)


@dataclass(frozen=True)
class Run:
    """A model bound to one batch: what Captum varies (inputs), and what it leaves alone (everything else).

    Attributes:
        rows: Places in the batch that the model was bound to.
        windows: `Batch.window_id` of each; what is drawn for a window starts from it.
    """

    model: Callable[[Batch], Tensor]
    forward: Callable[..., Tensor]
    names: tuple[str, ...]
    inputs: tuple[Tensor, ...]
    references: tuple[Tensor, ...]
    observed: tuple[Tensor, ...]
    rows: Int[Tensor, " batch"]
    windows: Int[Tensor, " batch"]
    target: int
    output: Float[Tensor, " batch"]
    reference_output: Float[Tensor, " batch"]

    @classmethod
    def of(
        cls, model: Callable[[Batch], Tensor], batch: Batch, *, target: int, reference: str, other: Batch | None = None
    ) -> "Run":
        """Bind a model to a batch; `other` holds a window for each of `batch`, for the reference `others`.

        Raises:
            ExplainError: As `attribute`; for `others` without any.
        """
        if reference == "others" and other is None:
            raise ExplainError("Nobody says which other windows", fix="bind with `attribution.bound` and an `Others`")
        names = tuple(name for name in signals_of(batch) if name in batch.signals and bool(batch.column(name).any()))

        def forward(*tensors: Tensor) -> Tensor:
            *values, rows = tensors
            picked = batch.select(rows)
            signals = {n: replace(picked.signals[n], values=v) for n, v in zip(names, values, strict=True)}
            output = model(replace(picked, signals={**picked.signals, **signals}))
            # An empty sum ties inputs that the model does not read to the graph: their gradient is 0, not an error.
            return output + sum(v[:0].sum().to(output.dtype) for v in values)

        observed = tuple(_seen(batch, name) for name in names)
        kept = zip(names, observed, strict=True)
        pairs = [
            _with_reference(batch.signals[name], seen, _of_kind(reference, name), _of_other(other, name))
            for name, seen in kept
        ]
        inputs, references = tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)
        rows = torch.arange(len(batch), device=batch.present.device)
        with torch.no_grad():
            output = _column(forward(*inputs, rows), len(batch), target)
            reference_output = _column(forward(*references, rows), len(batch), target)
        return cls(
            model,
            forward,
            names,
            inputs,
            references,
            observed,
            rows,
            batch.window_id,
            target,
            output,
            reference_output,
        )

    def change(self) -> Float[Tensor, " batch"]:
        """What a complete map must add up to."""
        return self.output.double() - self.reference_output.double()

    def map(self, method: str, tensors: Sequence[Tensor], *, sums: bool, path: int = 0) -> MethodMap:
        """Name the tensors, clear what was not observed, and measure completeness."""
        cleared = [torch.where(seen, one, 0.0) for one, seen in zip(tensors, self.observed, strict=True)]
        if not all(bool(torch.isfinite(one).all()) for one in cleared):
            raise ExplainError(
                "A map holds a value that is not finite", where=method, fix="check the model for NaN or inf gradients"
            )
        total = sum(one.double().sum((1, 2)) for one in cleared)
        delta = (total - self.change()).abs().cpu().numpy() if sums else None
        values = {n: one.detach().float().cpu().numpy() for n, one in zip(self.names, cleared, strict=True)}
        return MethodMap(method=method, values=values, delta=delta, path=path)


def _seen(batch: Batch, name: str) -> Tensor:
    signal = batch.signals[name]
    return (signal.observed & batch.column(name)[:, None])[:, None].expand_as(signal.values)


def _of_kind(reference: str, name: str) -> str:
    """An amount given at moments has no level: its reference is nothing given."""
    return "zero" if reference == "window_mean" and modality(name).given else reference


def _of_other(other: Batch | None, name: str) -> tuple[Tensor, Tensor] | None:
    """Values and what of them was observed, of the windows that these are held against."""
    if other is None or name not in other.signals:
        return None
    return other.signals[name].values, _seen(other, name)


def _with_reference(
    signal: Signal, seen: Tensor, reference: str, other: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, Tensor]:
    """Input and reference; equal where nothing was observed, so that such a sample can earn no credit."""
    clean = torch.where(seen, signal.values, torch.nan_to_num(signal.values)).clone()
    if reference == "zero":
        return clean, torch.where(seen, torch.zeros_like(clean), clean)
    level = level_of(clean, seen)
    if other is not None:
        values, there = other
        # What the other window has not seen has its level there; what it has not worn at all, this window's own.
        own = torch.where(there.any(-1, keepdim=True), level_of(torch.nan_to_num(values), there), level)
        level = torch.where(there, torch.nan_to_num(values).to(clean.dtype), own.expand_as(clean))
    return clean, torch.where(seen, level, clean)


def level_of(values: Tensor, seen: Tensor) -> Tensor:
    """Mean over what was observed, along the last axis; 0 where nothing was."""
    count = seen.sum(-1, keepdim=True).clamp(min=1)
    return (torch.where(seen, values, 0.0).double().sum(-1, keepdim=True) / count).to(values.dtype)


def _column(outputs: Tensor, size: int, target: int) -> Float[Tensor, " batch"]:
    if outputs.ndim != 2 or outputs.shape[0] != size:
        raise ExplainError(
            "The model's output cannot be explained", expected=f"({size}, target)", got=str(tuple(outputs.shape))
        )
    if not 0 <= target < outputs.shape[1]:
        raise ExplainError(
            f"The model has no output {target}", expected=f"0 to {outputs.shape[1] - 1}", fix="choose another target"
        )
    if not torch.isfinite(outputs).all():
        raise ExplainError("The model's output is not finite", fix="check the checkpoint and the input's unit")
    return outputs[:, target].detach()

"""Credit of a model's output to the samples of its input, by Captum, one input tensor per modality."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from captum.attr import FeatureAblation, IntegratedGradients, Saliency
from torch import Tensor

from hdt_fm.explain.binding import REFERENCES, Run, explaining, refuse_unexplainable, signals_of
from hdt_fm.explain.explanation import Explanation, MethodMap, SignalView, segment_of
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.errors import ExplainError, unknown_name
from hdt_fm.schema.modalities import modality as look_up_modality

METHODS = ("integrated_gradients", "saliency", "occlusion")
# Models here standardise each window, so an output turns fast where the input first leaves the flat
# reference. All paths are the same straight line; the later ones are read more finely near its start.
PATHS = ((0.0, 1.0), (0.0, 0.003, 0.03, 0.2, 1.0), (0.0, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0))
FINE_PATH_ABOVE = 0.01


def attribute(
    fn_model: Callable[[Batch], Tensor],
    batch: Batch,
    *,
    target: int,
    target_name: str = "",
    methods: Sequence[str] = METHODS,
    reference: str = "window_mean",
    steps: int = 32,
    segments: int = 30,
    batch_rows: int = 64,
    path: int | None = None,
    provenance: Mapping[str, str] | None = None,
) -> Explanation:
    """Explain one output of a model for every window of a batch.

    Args:
        fn_model: Batch -> outputs (batch, target), differentiable in the signals. A compiled module is
            replaced by the module that it was made from; a module is run in evaluation mode and left as it was.
        target: Column of the output.
        target_name: What that column is, in words for the report.
        methods: Which maps to make; the first one is the one that checks and figures lead with.
        reference: Captum's baseline input. `window_mean`: each channel's mean over the observed samples of
            the window, i.e. the same level without a waveform. `zero`: 0 in the modality's unit.
        steps: Points of the path of integrated gradients, shared out over its pieces (at least 8 each).
        segments: Stretches per window for occlusion; each (modality, channel, segment) is one feature.
        batch_rows: Most windows in one call of the model; caps memory.
        path: Number of the path in `PATHS`; None takes the first along which the credits add up.

    Returns:
        Maps that are exactly 0 for absent modalities and unobserved samples.

    Raises:
        ExplainError: If a window has nothing to explain, a value or an output is not finite, or the target
            is not there.
        UnknownNameError: If a method or reference is not known.

    Numerics: in the model's precision; sums and deltas in float64.
    """
    for name in methods:
        if name not in METHODS:
            raise unknown_name("attribution method", name, METHODS)
    if reference not in REFERENCES:
        raise unknown_name("reference", reference, REFERENCES)
    if not methods:
        raise ExplainError("No attribution method is named", expected=f"some of: {', '.join(METHODS)}")
    refuse_unexplainable(batch)
    plan = Plan(steps=steps, segments=segments, batch_rows=batch_rows, path=path)
    pieces = [batch.select(rows) for rows in torch.arange(len(batch)).split(batch_rows)]
    with explaining(fn_model) as model:
        runs = [Run.of(model, piece, target=target, reference=reference) for piece in pieces]
        maps = tuple(_joined(name, [_METHODS[name](run, plan) for run in runs]) for name in methods)
    shown = batch.over(signals_of(batch))
    window_s = max(s.values.shape[-1] / s.sampling_rate_hz for s in shown.signals.values())
    return Explanation(
        target=target_name or f"output {target}",
        target_index=target,
        reference=reference,
        segments=segments,
        window_s=window_s,
        modalities=shown.modalities,
        present=shown.present.cpu().numpy(),
        signals={name: _view(name, signal) for name, signal in shown.signals.items()},
        output=np.concatenate([run.output.double().cpu().numpy() for run in runs]),
        reference_output=np.concatenate([run.reference_output.double().cpu().numpy() for run in runs]),
        maps=maps,
        settings={"steps": steps, "segments": segments, "batch_rows": batch_rows, "reference": reference},
        provenance=dict(provenance or {}),
    )


@dataclass(frozen=True)
class Plan:
    """How finely to look, for all methods."""

    steps: int
    segments: int
    batch_rows: int
    path: int | None


def _integrated_gradients(run: Run, plan: Plan) -> MethodMap:
    """Along the straight line from the reference; read again more finely when the sum does not come out."""
    best: MethodMap | None = None
    for number in range(len(PATHS)) if plan.path is None else [plan.path]:
        found = run.map("integrated_gradients", _along(run, PATHS[number], plan), sums=True, path=number)
        assert found.delta is not None
        if best is None or best.delta is None or found.delta.max() < best.delta.max():
            best = found
        if (found.delta <= FINE_PATH_ABOVE * run.change().abs().cpu().numpy()).all():
            break
    assert best is not None
    return best


def _along(run: Run, path: Sequence[float], plan: Plan) -> list[Tensor]:
    total = [torch.zeros_like(one, dtype=torch.float64) for one in run.inputs]
    captum = IntegratedGradients(run.forward)
    for low, high in pairwise(path):
        ends = [
            tuple(
                torch.lerp(ref, one, at) if at < 1 else one for ref, one in zip(run.references, run.inputs, strict=True)
            )
            for at in (low, high)
        ]
        part = captum.attribute(
            inputs=ends[1],
            baselines=ends[0],
            target=run.target,
            additional_forward_args=(run.rows,),
            n_steps=max(8, plan.steps // (len(path) - 1)),
            internal_batch_size=max(plan.batch_rows, len(run.rows)),
        )
        total = [so_far + one.detach().double() for so_far, one in zip(total, part, strict=True)]
    return total


def _saliency(run: Run, plan: Plan) -> MethodMap:
    """Gradient times the channel's own standard deviation in the window, so that units can be compared."""
    leaves = tuple(one.clone().requires_grad_() for one in run.inputs)
    gradients = Saliency(run.forward).attribute(
        inputs=leaves, target=run.target, abs=False, additional_forward_args=(run.rows,)
    )
    scaled = [g.detach() * _spread(x, s) for g, x, s in zip(gradients, run.inputs, run.observed, strict=True)]
    return run.map("saliency", scaled, sums=False)


def _spread(values: Tensor, seen: Tensor) -> Tensor:
    count = seen.sum(-1, keepdim=True).clamp(min=1)
    mean = torch.where(seen, values, 0.0).sum(-1, keepdim=True) / count
    return (torch.where(seen, values - mean, 0.0).square().sum(-1, keepdim=True) / count).sqrt()


def _occlusion(run: Run, plan: Plan) -> MethodMap:
    """Fall of the output when one (modality, channel, segment) takes its reference values."""
    masks = feature_ids([tuple(one.shape[1:]) for one in run.inputs], plan.segments, device=run.rows.device)
    found = FeatureAblation(run.forward).attribute(
        inputs=run.inputs,
        baselines=run.references,
        target=run.target,
        additional_forward_args=(run.rows,),
        feature_mask=tuple(masks),
        perturbations_per_eval=max(1, plan.batch_rows // len(run.rows)),
    )
    # Captum writes the effect on every sample of a feature; shared out, a sum over samples is the effect.
    shared = [_shared_out(effect, seen, mask) for effect, seen, mask in zip(found, run.observed, masks, strict=True)]
    return run.map("occlusion", shared, sums=False)


def _shared_out(effect: Tensor, seen: Tensor, mask: Tensor) -> Tensor:
    index = (mask - mask.min()).expand_as(effect).reshape(len(effect), -1)
    count = torch.zeros(len(effect), int(index.max()) + 1, device=effect.device, dtype=torch.float64)
    count.scatter_add_(1, index, seen.reshape(len(effect), -1).double())
    return effect.double() / count.gather(1, index).reshape(effect.shape).clamp(min=1)


def feature_ids(shapes: Sequence[tuple[int, ...]], segments: int, *, device: torch.device | str) -> list[Tensor]:
    """One id per (modality, channel, segment), no id twice: Captum joins features of equal id across tensors."""
    masks, first = [], 0
    for channels, samples in shapes:
        index = torch.from_numpy(segment_of(samples, segments)).to(device)
        count = int(index[-1]) + 1
        ids = first + index[None] + count * torch.arange(channels, device=device)[:, None]
        masks.append(ids[None].contiguous())
        first += count * channels
    return masks


_METHODS: Mapping[str, Callable[[Run, Plan], MethodMap]] = {
    "integrated_gradients": _integrated_gradients,
    "saliency": _saliency,
    "occlusion": _occlusion,
}


def _joined(method: str, pieces: Sequence[MethodMap]) -> MethodMap:
    """One map of several batches; a modality that a batch lacks altogether is zeros there."""
    names = dict.fromkeys(name for piece in pieces for name in piece.values)
    sizes = [len(next(iter(piece.values.values()))) for piece in pieces]
    values = {}
    for name in names:
        like = next(piece.values[name] for piece in pieces if name in piece.values)
        rows = [
            p.values.get(name, np.zeros((n, *like.shape[1:]), like.dtype)) for p, n in zip(pieces, sizes, strict=True)
        ]
        values[name] = np.concatenate(rows)
    deltas = [piece.delta for piece in pieces if piece.delta is not None]
    delta = np.concatenate(deltas) if deltas else None
    return MethodMap(method=method, values=values, delta=delta, path=max(piece.path for piece in pieces))


def _view(name: str, signal: Signal) -> SignalView:
    entry = look_up_modality(name)
    return SignalView(
        label=entry.label,
        unit=entry.unit,
        sampling_rate_hz=signal.sampling_rate_hz,
        values=signal.values.detach().float().cpu().numpy(),
        observed=signal.observed.cpu().numpy(),
    )

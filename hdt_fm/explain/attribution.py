"""Credit of a model's output to the samples of its input, by Captum, one input tensor per modality."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdt_fm.explain.binding import REFERENCES, Run, explaining, refuse_unexplainable, signals_of
from hdt_fm.explain.explanation import Explanation, MethodMap, SignalView
from hdt_fm.explain.methods import METHODS, Plan
from hdt_fm.explain.others import Others
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.errors import ExplainError, unknown_name
from hdt_fm.schema.modalities import modality as look_up_modality

LEADING = ("occlusion", "integrated_gradients")


def attribute(
    fn_model: Callable[[Batch], Tensor],
    batch: Batch,
    *,
    target: int,
    target_name: str = "",
    methods: Sequence[str] = LEADING,
    reference: str | Others = "window_mean",
    steps: int = 32,
    segments: int = 30,
    batch_rows: int = 64,
    path: int | None = None,
    draws: int = 8,
    seed: int = 0,
    provenance: Mapping[str, str] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Explanation:
    """Explain one output of a model for every window of a batch.

    Args:
        fn_model: Batch -> outputs (batch, target), differentiable in the signals. A compiled module is
            replaced by the module that it was made from; a module is run in evaluation mode and left as it was.
        target: Column of the output.
        target_name: What that column is, in words for the report.
        methods: Which maps to make; the first one is the one that checks and figures lead with.
        reference: Captum's baseline input. `window_mean`: each channel's mean over the observed samples of
            the window, i.e. the same level without a waveform. `zero`: 0 in the modality's unit. `Others`: windows
            of other people, whose credits are averaged; each method then costs as often as there are draws.
        steps: Points of the path of integrated gradients, shared out over its pieces (at least 8 each).
        segments: Stretches per window for occlusion (spots of that length, half a length apart) and ablation; methods
            that sample take at most 30 a modality.
        batch_rows: Most windows in one call of the model; caps memory.
        path: Number of the path in `integrated_gradients.PATHS`; None takes the first along which the credits add up.
        draws: Random draws of methods that sample.
        seed: Of those draws.
        progress: Told how many maps of pieces of the batch are done, of how many, and which method is next.

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
    named = "others" if isinstance(reference, Others) else reference
    if named not in REFERENCES:
        raise unknown_name("reference", named, REFERENCES)
    if reference == "others":
        raise ExplainError("Nobody says which other windows", fix="give reference=Others(windows)")
    if not methods:
        raise ExplainError("No attribution method is named", expected=f"some of: {', '.join(METHODS)}")
    refuse_unexplainable(batch)
    plan = Plan(steps=steps, segments=segments, batch_rows=batch_rows, path=path, draws=draws, seed=seed)
    pieces = [batch.select(rows) for rows in torch.arange(len(batch)).split(batch_rows)]
    with explaining(fn_model) as model:
        runs = [bound(model, piece, target, reference) for piece in pieces]
        maps = tuple(_joined(name, made) for name, made in _maps(runs, plan, methods, progress or _silent).items())
    shown = batch.over(signals_of(batch))
    window_s = max(s.values.shape[-1] / s.sampling_rate_hz for s in shown.signals.values())
    return Explanation(
        target=target_name or f"output {target}",
        target_index=target,
        reference=named,
        segments=segments,
        window_s=window_s,
        modalities=shown.modalities,
        present=shown.present.cpu().numpy(),
        person=_numbered(batch.subject.cpu().numpy()),
        signals={name: _view(name, signal) for name, signal in shown.signals.items()},
        output=np.concatenate([runs_of[0].output.double().cpu().numpy() for runs_of in runs]),
        reference_output=np.concatenate([_mean([run.reference_output for run in runs_of]) for runs_of in runs]),
        maps=maps,
        settings={
            "steps": steps,
            "segments": segments,
            "batch_rows": batch_rows,
            "reference": named,
            "draws": draws,
            "seed": seed,
        },
        provenance=dict(provenance or {}),
        against=reference,
    )


def bound(model: Callable[[Batch], Tensor], batch: Batch, target: int, reference: str | Others) -> tuple[Run, ...]:
    """The model bound to a batch, once for each reference."""
    if isinstance(reference, Others):
        others = reference.aligned(batch)
        return tuple(Run.of(model, batch, target=target, reference="others", other=one) for one in others)
    return (Run.of(model, batch, target=target, reference=reference),)


def _maps(
    runs: Sequence[tuple[Run, ...]], plan: Plan, methods: Sequence[str], progress: Callable[[int, int, str], None]
) -> dict[str, list[MethodMap]]:
    made: dict[str, list[MethodMap]] = {name: [] for name in methods}
    total = len(made) * len(runs)
    for name in made:
        for bound in runs:
            progress(sum(map(len, made.values())), total, name)
            made[name].append(_averaged([METHODS[name].make(run, plan) for run in bound]))
    progress(total, total, "")
    return made


def _averaged(maps: Sequence[MethodMap]) -> MethodMap:
    """One map of several references; gaps are averaged by size, so that they cannot cancel."""
    if len(maps) == 1:
        return maps[0]
    values = {name: np.mean([one.values[name] for one in maps], axis=0) for name in maps[0].values}
    deltas = [one.delta for one in maps if one.delta is not None]
    delta = np.mean(deltas, axis=0) if deltas else None
    return MethodMap(maps[0].method, values, delta, max(one.path for one in maps))


def _mean(outputs: Sequence[Tensor]) -> NDArray[np.float64]:
    return torch.stack([one.double() for one in outputs]).mean(0).cpu().numpy()


def _silent(done: int, total: int, method: str) -> None:
    """The progress of a caller who does not look."""


def _numbered(subject: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, ... in order of appearance, so that no row of a manifest gets into a report."""
    _, first, inverse = np.unique(subject, return_index=True, return_inverse=True)
    return first.argsort().argsort()[inverse]


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

"""Tests that a map must pass before anyone may trust it. Thresholds are argued in the README of this room."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor, nn

from hdt_fm.explain.attribution import attribute
from hdt_fm.explain.explanation import Check, Explanation, MethodMap, Reliability, Verdict
from hdt_fm.explain.perturb import noisy, randomised
from hdt_fm.explain.skill import Skill
from hdt_fm.schema.batch import Batch

_Again = Callable[[Callable[[Batch], Tensor], Batch], MethodMap]
# Pass up to the first, warn up to the second, fail beyond; see README.md for why these.
COMPLETENESS = (0.01, 0.05)
RANDOMISED = (0.3, 0.5)
# Pass from the first, warn from the second, fail below.
NOISE = (0.8, 0.5)
AGREEMENT = (0.4, 0.1)
NOISE_SHARE = 0.05


def examine(
    fn_model: Callable[[Batch], Tensor],
    batch: Batch,
    explanation: Explanation,
    *,
    skill: Skill | None = None,
    windows: int = 3,
    stages: int = 4,
    draws: int = 2,
    seed: int = 0,
) -> Reliability:
    """Test an explanation of a batch by the model that it was made with.

    Args:
        batch: The batch that `explanation` was made from.
        skill: The output's measured skill; without it the report can at best warn, since a map of a
            model that predicts nothing looks like any other.
        windows: How many windows the repeated tests use, spread over the range of the output.
        stages: Steps of the cascade from the head down.
        draws: Repeats of random weights and of noise.
        seed: Of random weights and noise.

    Raises:
        ExplainError: As `attribute`.
    """
    rows = torch.tensor(explanation.examples(windows), device=batch.present.device)
    few = batch.select(rows)
    lead = explanation.maps[0]
    # A quarter of the points is enough to compare maps, all of which are then made with that quarter.
    again: _Again = lambda model, inputs: attribute(
        model,
        inputs,
        target=explanation.target_index,
        methods=(lead.method,),
        reference=explanation.reference,
        steps=max(8, int(explanation.settings["steps"]) // 4),
        segments=int(explanation.settings["segments"]),
        batch_rows=int(explanation.settings["batch_rows"]),
        path=lead.path,
    ).find(lead.method)
    original = again(fn_model, few).values
    return Reliability(
        (
            _skill(skill),
            _dependence(explanation),
            _completeness(explanation),
            _cascade(fn_model, few, original, again, stages=stages, draws=draws, seed=seed),
            _noise(fn_model, few, original, again, draws=draws, seed=seed),
            _agreement(explanation),
        )
    )


def _skill(skill: Skill | None) -> Check:
    rule = "pass when the lower end of the 95 % interval over people is above chance; warn when not measured"
    if skill is None:
        meaning = "It was not shown that this output predicts anything."
        return Check("skill", "warn", float("nan"), rule, meaning)
    if not np.isfinite(skill.low):
        meaning = f"Measured on too few people to say: {skill.metric} over {skill.people}."
        return Check("skill", "warn", skill.value, rule, meaning)
    above = skill.low > skill.chance
    lead = "Predicts better than chance" if above else "Does not predict better than chance"
    meaning = f"{lead}: {skill.metric} {skill.value:.3f}, at least {skill.low:.3f} over {skill.people} people."
    detail = {"value": skill.value, "low": skill.low, "chance": skill.chance, "people": float(skill.people)}
    return Check("skill", "pass" if above else "fail", skill.value, rule, meaning, detail)


def _dependence(explanation: Explanation) -> Check:
    largest = max((float(np.abs(v).max(initial=0)) for m in explanation.maps for v in m.values.values()), default=0.0)
    change = float(np.abs(explanation.output - explanation.reference_output).max())
    moves = largest > 1e-12 and change > 1e-9 * max(1.0, float(np.abs(explanation.output).max()))
    meaning = "The output moves with the input." if moves else "The output does not move with the input."
    rule = "pass when the output differs from that of the reference and some map is not all zero"
    return Check("dependence", "pass" if moves else "fail", change, rule, meaning, {"largest credit": largest})


def _completeness(explanation: Explanation) -> Check:
    rule = f"largest gap over windows, as a share of the change: pass <= {COMPLETENESS[0]}, warn <= {COMPLETENESS[1]}"
    change = np.abs(explanation.output - explanation.reference_output)
    # A window whose output hardly changes is judged on the scale of the others.
    scale = np.maximum(change, 0.1 * float(np.median(change)) + 1e-9)
    gaps = {m.method: float((m.delta / scale).max()) for m in explanation.maps if m.delta is not None}
    if not gaps:
        return Check("completeness", "warn", float("nan"), rule, "No method here promises that credits add up.")
    value = max(gaps.values())
    meaning = f"Credits add up to the change of the output within {value:.2%} of it."
    return Check("completeness", _at_most(value, COMPLETENESS), value, rule, meaning, gaps)


def _cascade(
    fn_model: Callable[[Batch], Tensor],
    batch: Batch,
    original: Mapping[str, NDArray[np.float32]],
    again: _Again,
    *,
    stages: int,
    draws: int,
    seed: int,
) -> Check:
    """Weights become random from the head down; the map must lose its likeness to the original."""
    rule = f"rank correlation with the map of all-random weights: pass <= {RANDOMISED[0]}, warn <= {RANDOMISED[1]}"
    model = getattr(fn_model, "_orig_mod", fn_model)
    if not isinstance(model, nn.Module) or not any(True for _ in model.parameters()):
        return Check("randomisation", "warn", float("nan"), rule, "Not run: the model shows no weights to randomise.")
    likeness: dict[str, list[float]] = {}
    for draw in range(draws):
        generator = torch.Generator().manual_seed(seed + draw)
        for stage, random in randomised(model, stages=stages, generator=generator):
            likeness.setdefault(stage, []).append(_likeness(original, again(random, batch).values))
    detail = {stage: float(np.mean(found)) for stage, found in likeness.items()}
    value = list(detail.values())[-1]
    meaning = f"With all weights random the map keeps a rank correlation of {value:.2f} with this one."
    return Check("randomisation", _at_most(abs(value), RANDOMISED), value, rule, meaning, detail)


def _noise(
    fn_model: Callable[[Batch], Tensor],
    batch: Batch,
    original: Mapping[str, NDArray[np.float32]],
    again: _Again,
    *,
    draws: int,
    seed: int,
) -> Check:
    generator = torch.Generator().manual_seed(seed)
    found = [
        _likeness(original, again(fn_model, noisy(batch, share=NOISE_SHARE, generator=generator)).values)
        for _ in range(draws)
    ]
    value = float(np.mean(found))
    rule = f"rank correlation after {NOISE_SHARE:.0%} of noise: pass >= {NOISE[0]}, warn >= {NOISE[1]}"
    meaning = f"Noise too small to see leaves a rank correlation of {value:.2f} with this map."
    return Check(
        "noise", _at_least(value, NOISE), value, rule, meaning, {f"draw {k + 1}": v for k, v in enumerate(found)}
    )


def _agreement(explanation: Explanation) -> Check:
    rule = f"mean rank correlation over pairs of methods, by segment: pass >= {AGREEMENT[0]}, warn >= {AGREEMENT[1]}"
    if len(explanation.maps) < 2:
        return Check("agreement", "warn", float("nan"), rule, "Only one method was run, so none can disagree with it.")
    sizes = {one.method: _segment_sizes(explanation, one.method) for one in explanation.maps}
    pairs = {f"{a} and {b}": _mean_rank(sizes[a], sizes[b]) for a, b in combinations(sizes, 2)}
    value = float(np.mean(list(pairs.values())))
    meaning = f"Methods rank the segments of a window alike with a correlation of {value:.2f}."
    return Check("agreement", _at_least(value, AGREEMENT), value, rule, meaning, pairs)


def _segment_sizes(explanation: Explanation, method: str) -> list[NDArray[np.float64]]:
    """Per window the size of each present (modality, channel, segment)."""
    source = explanation
    if method == "saliency":  # a slope has a sign of its own at each sample; sizes add up, signs would cancel
        one = explanation.find(method)
        size = replace(one, values={name: np.abs(values) for name, values in one.values.items()})
        source = replace(explanation, maps=(size,))
    sums = source.by_segment(method)
    columns = {name: explanation.modalities.index(name) for name in sums}
    return [
        np.concatenate([np.abs(sums[m][k]).ravel() for m in sums if explanation.present[k, columns[m]]])
        for k in range(len(explanation))
    ]


def _likeness(first: Mapping[str, NDArray[np.float32]], second: Mapping[str, NDArray[np.float32]]) -> float:
    """Mean over windows of the signed rank correlation over all samples that some map credits."""
    names = [name for name in first if name in second]
    if not names:
        return 0.0
    flat = [np.concatenate([m[n].reshape(len(m[n]), -1) for n in names], axis=1) for m in (first, second)]
    rows = [(a != 0) | (b != 0) for a, b in zip(*flat, strict=True)]
    return _mean_rank(
        [a[r] for a, r in zip(flat[0], rows, strict=True)], [b[r] for b, r in zip(flat[1], rows, strict=True)]
    )


def _mean_rank(first: Sequence[NDArray[np.floating]], second: Sequence[NDArray[np.floating]]) -> float:
    """Mean Spearman correlation; a map without any order has none, which counts as 0."""
    found = []
    for a, b in zip(first, second, strict=True):
        flat = len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0
        found.append(0.0 if flat else float(spearmanr(a, b).statistic))
    return float(np.mean(found))


def _at_most(value: float, marks: tuple[float, float]) -> Verdict:
    return "pass" if value <= marks[0] else "warn" if value <= marks[1] else "fail"


def _at_least(value: float, marks: tuple[float, float]) -> Verdict:
    return "pass" if value >= marks[0] else "warn" if value >= marks[1] else "fail"

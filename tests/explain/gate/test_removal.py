"""Segments taken away: closed forms of a linear model, where each segment's effect is its credit."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hdt_fm.explain.attribution import attribute
from hdt_fm.explain.explanation import Explanation
from hdt_fm.explain.gate import cumulative, deletion, infidelity, sensitivity
from hdt_fm.explain.gate.exam import Exam
from hdt_fm.explain.gate.judge import as_good
from hdt_fm.explain.gate.removal import LEVELS, Bench, steps_of
from hdt_fm.explain.gate.sparseness import entropy, gini
from hdt_fm.explain.others import Others
from hdt_fm.schema.batch import Batch

SEGMENTS = 5


def exam_of(model: Callable[[Batch], Tensor], batch: Batch, method: str = "integrated_gradients", **given) -> Exam:
    made = attribute(model, batch, target=0, methods=(method,), segments=SEGMENTS, batch_rows=7)
    return Exam.of(model, batch, made, **given)


def with_map(exam: Exam, change: Callable[[np.ndarray], np.ndarray]) -> Exam:
    told: Explanation = exam.explanation
    lead = replace(told.maps[0], values={name: change(values) for name, values in told.maps[0].values.items()})
    return replace(exam, explanation=replace(told, maps=(lead,)), _done={})


def effects(exam: Exam) -> np.ndarray:
    """(window, feature) credit by segment, in the order of the explanation's rows of the bench."""
    bench = Bench.of(exam)
    sums = exam.explanation.by_segment(exam.lead)
    return np.concatenate([sums[name].reshape(len(exam.batch), -1) for name in sums], axis=1)[list(bench.rows)]


def test_the_bench_takes_each_feature_away_alone(batch: Batch, linear: nn.Module) -> None:
    exam = exam_of(linear, batch)
    bench, credit = Bench.of(exam), effects(exam)
    windows, features = credit.shape
    assert features == 5 * 1 + 5 * 3 + 5 * 2
    away = np.eye(features, dtype=bool)
    for window in range(windows):
        left = bench.outputs(away, np.full(features, window))
        np.testing.assert_allclose(float(bench.run.output[window]) - left, credit[window], atol=2e-4)


def test_deletion_and_insertion_of_a_linear_model_by_hand(batch: Batch, linear: nn.Module) -> None:
    exam = exam_of(linear, batch)
    credit, bench = effects(exam), Bench.of(exam)
    side = np.sign(bench.change)[:, None]
    top = np.cumsum(-np.sort(-side * credit, axis=1), axis=1)
    places = [count - 1 for count in steps_of(credit.shape[1], LEVELS)]
    assert places == [0, 0, 1, 2, 5, 14]
    want = top[:, places].sum(0) / np.abs(bench.change).sum()
    found = deletion.curve(exam, exam.lead)
    np.testing.assert_allclose(found.deletion, want, atol=1e-4)
    np.testing.assert_allclose(found.insertion, want, atol=1e-4)


def test_cumulative_difference_and_preservation_by_hand(batch: Batch, linear: nn.Module) -> None:
    exam = exam_of(linear, batch)
    credit, bench = effects(exam), Bench.of(exam)
    counts = [0, *steps_of(credit.shape[1], cumulative.STEPS)]

    def walked(order: np.ndarray, steps: int) -> float:
        total = 0.0
        for row, places in zip(credit, order, strict=True):
            total += sum(abs(row[places[a:b]].sum()) for a, b in pairwise(counts[: steps + 1]))
        return total / np.abs(bench.change).sum()

    found = cumulative.cumulative(exam, exam.lead)
    assert found.difference == pytest.approx(walked(np.argsort(-np.abs(credit), axis=1, kind="stable"), 4), abs=1e-3)
    assert found.preservation == pytest.approx(walked(np.argsort(np.abs(credit), axis=1, kind="stable"), 10), abs=1e-3)


def test_effects_that_cancel_are_seen_step_by_step(new_batch: Callable[..., Batch]) -> None:
    """Two segments push by +5 and -4.5, so that all of it together is 0.5; step by step it is 9.5."""
    batch = new_batch(3, names=("ppg",))
    weight, values = torch.zeros(40), torch.zeros(3, 1, 40)
    weight[3], weight[20] = 1.0, -0.9
    values[..., 3], values[..., 20], values[..., 39] = 5.0, 5.0, -10.0
    batch = replace(batch, signals={"ppg": replace(batch.signals["ppg"], values=values)})

    def opposed(one: Batch) -> Tensor:
        return (one.signals["ppg"].values[:, 0] * weight).sum(1, keepdim=True)

    made = attribute(opposed, batch, target=0, methods=("integrated_gradients",), segments=10)
    exam = Exam.of(opposed, batch, made)
    assert Bench.of(exam).scale == pytest.approx(3 * 0.5)
    found = cumulative.cumulative(exam, exam.lead)
    assert found.difference == pytest.approx(9.5 / 0.5)
    assert found.preservation == pytest.approx(0.0)


def test_no_change_from_the_reference_is_said_and_not_scaled(new_batch: Callable[..., Batch]) -> None:
    batch = new_batch(3, names=("ppg",))
    made = attribute(level := lambda one: one.signals["ppg"].values.mean((1, 2))[:, None], batch, target=0, segments=5)
    exam = Exam.of(level, batch, made)
    for test in (deletion, cumulative, infidelity):
        check = test.check(exam)
        assert check.verdict == "fail"
        assert "Against this reference the output does not change" in check.meaning


def test_a_map_of_noise_fails_deletion_and_infidelity(planted: Batch, finder: nn.Module) -> None:
    made = attribute(finder, planted, target=0, methods=("integrated_gradients",), segments=16)
    draw = np.random.default_rng(1)
    exam = with_map(Exam.of(finder, planted, made), lambda v: draw.normal(size=v.shape).astype(np.float32))
    assert deletion.check(exam).verdict == "fail"
    assert cumulative.check(exam).verdict in ("warn", "fail")
    assert infidelity.check(exam).value > 0.6


def test_random_maps_rarely_pass_deletion(planted: Batch, finder: nn.Module) -> None:
    made = attribute(finder, planted, target=0, methods=("integrated_gradients",), segments=16)
    honest, passed = Exam.of(finder, planted, made), 0
    for seed in range(20):
        draw = np.random.default_rng(seed)
        exam = with_map(honest, lambda v, draw=draw: draw.normal(size=v.shape).astype(np.float32))
        exam._done["deletion at random"] = deletion.band(honest)
        passed += deletion.check(exam).verdict == "pass"
    assert passed <= 3  # one in twenty by each of two tests on one order


def test_infidelity_of_a_linear_model_is_nothing_and_signs_count(batch: Batch, linear: nn.Module) -> None:
    exam = exam_of(linear, batch)
    found = infidelity.infidelity(exam, exam.lead)
    assert found.plain == pytest.approx(0.0, abs=1e-6)
    assert found.stretched == pytest.approx(0.0, abs=1e-6)
    thrice = infidelity.infidelity(with_map(exam, lambda v: 3 * v), exam.lead)
    assert thrice.plain == pytest.approx(4.0, rel=1e-3)  # (3 - 1) squared
    assert thrice.stretched == pytest.approx(0.0, abs=1e-5)
    turned = infidelity.infidelity(with_map(exam, lambda v: -v), exam.lead)
    assert turned.stretched == 1.0
    assert turned.plain == pytest.approx(4.0, rel=1e-3)
    nothing = infidelity.infidelity(with_map(exam, np.zeros_like), exam.lead)
    assert (nothing.stretched, nothing.plain) == (1.0, 1.0)


def test_other_windows_as_the_reference_are_those_of_the_map(
    batch: Batch, linear: nn.Module, new_batch: Callable[..., Batch]
) -> None:
    """The map is a mean over three references, so what is taken away takes the mean of their values too."""
    others = Others(new_batch(7, seed=5), draws=3)
    made = attribute(
        linear, batch, target=0, methods=("integrated_gradients",), reference=others, segments=SEGMENTS, batch_rows=7
    )
    exam = Exam.of(linear, batch, made)
    bench = Bench.of(exam)
    np.testing.assert_allclose(bench.reference_output, made.reference_output[list(bench.rows)], rtol=1e-5)
    found = infidelity.infidelity(exam, exam.lead)
    assert found.plain == pytest.approx(0.0, abs=1e-6)
    credit = effects(exam)
    left = bench.outputs(np.eye(credit.shape[1], dtype=bool), np.zeros(credit.shape[1], dtype=int))
    np.testing.assert_allclose(float(bench.run.output[0]) - left, credit[0], atol=5e-4)
    assert sensitivity.max_sensitivity(exam, exam.lead) < 0.1  # a nudged window keeps its references
    away = attribute(linear, batch, target=0, methods=("integrated_gradients",), segments=SEGMENTS)
    moved = replace(exam, explanation=replace(made, maps=away.maps), _done={})
    assert infidelity.infidelity(moved, exam.lead).plain > 0.1  # the map of another reference is found out


def test_infidelity_works_on_one_modality(
    new_batch: Callable[..., Batch], new_linear: Callable[..., nn.Module]
) -> None:
    batch = new_batch(2, names=("acc",))
    exam = exam_of(new_linear(batch), batch)
    assert infidelity.infidelity(exam, exam.lead).plain == pytest.approx(0.0, abs=1e-6)
    assert sensitivity.max_sensitivity(exam, exam.lead) < 0.1


def test_a_map_that_does_not_depend_on_the_input_is_not_sensitive(batch: Batch, linear: nn.Module) -> None:
    """The slope of a linear model is constant; only the spread that saliency is told in moves with the nudge."""
    exam = exam_of(linear, batch, "saliency")
    assert sensitivity.max_sensitivity(exam, "saliency") < 0.01


def test_sensitivity_grows_with_the_nudge_and_breaks_brittle_maps(planted: Batch, monkeypatch) -> None:
    def brittle(batch: Batch) -> Tensor:
        return (batch.signals["ppg"].values * 400).sin().sum((1, 2))[:, None]

    exam = exam_of(brittle, planted, "saliency")
    check = sensitivity.check(exam)
    assert check.verdict == "fail"
    assert "the model is brittle, not only the map" in check.meaning
    monkeypatch.setattr(sensitivity, "RADIUS", 1e-6)
    check = sensitivity.check(replace(exam, _done={}))
    assert check.verdict == "pass"
    assert "brittle" not in check.meaning


def test_how_far_an_output_moves_is_told_in_its_spread_or_for_one_window_in_its_change(
    batch: Batch, linear: nn.Module
) -> None:
    def doubled(one: Batch) -> Batch:
        return replace(one, signals={n: replace(s, values=2 * s.values) for n, s in one.signals.items()})

    exam = exam_of(linear, batch)
    output = exam.explanation.output
    assert exam.moved(exam.few) == pytest.approx(0.0, abs=1e-6)
    want = np.abs(output[list(exam.rows)]).mean() / output.std()
    assert exam.moved(doubled(exam.few)) == pytest.approx(want, rel=1e-4)
    lone = exam_of(linear, batch.select(torch.tensor([2])))
    made = lone.explanation
    want = abs(made.output[0] / (made.output[0] - made.reference_output[0]))
    assert lone.moved(doubled(lone.few)) == pytest.approx(want, rel=1e-4)


def test_nudges_stay_within_the_radius_and_on_what_was_observed() -> None:
    values = torch.randn(2, 3, 50, generator=torch.Generator().manual_seed(0)) * 4
    seen = torch.ones(2, 3, 50, dtype=torch.bool)
    seen[..., 10:20] = False
    moved = sensitivity.nudged(values, seen, radius=0.1, generator=torch.Generator().manual_seed(1)) - values
    assert not moved[..., 10:20].any()
    spread = torch.stack(
        [row[kept].std(correction=0) for row, kept in zip(values.reshape(6, 50), seen.reshape(6, 50), strict=True)]
    )
    assert (moved.reshape(6, 50).abs().amax(1) <= 0.1 * spread + 1e-6).all()
    assert (moved.reshape(6, 50).abs().amax(1) > 0.08 * spread).all()


def test_levels_are_at_least_one_feature_and_never_more_than_there_are() -> None:
    assert steps_of(180, LEVELS) == [2, 4, 9, 18, 36, 90]
    assert steps_of(3, LEVELS) == [1, 1, 1, 1, 1, 2]


def test_ours_counts_among_the_random_ones() -> None:
    assert as_good(5.0, [1.0, 2.0, 3.0]) == 0.25
    assert as_good(0.0, [1.0, 2.0, 3.0]) == 1.0
    assert as_good(2.0, [1.0, 2.0, 3.0]) == 0.75


def test_unobserved_segments_are_left_out(batch: Batch, linear: nn.Module) -> None:
    observed = batch.signals["ppg"].observed.clone()
    observed[:, 8:16] = False
    seen = replace(batch, signals={**batch.signals, "ppg": replace(batch.signals["ppg"], observed=observed)})
    bench = Bench.of(exam_of(linear, seen))
    assert not bench.there[:, 1].any()
    assert bench.there.sum() == 4 * (30 - 1)


def test_gini_and_entropy_by_hand() -> None:
    assert gini(np.array([0.0, 0.0, 0.0, 2.0])) == pytest.approx(0.75)
    assert gini(np.full(7, -3.0)) == pytest.approx(0.0)
    assert gini(np.zeros(4)) == entropy(np.zeros(4)) == 0.0
    assert entropy(np.array([1.0, -1.0, 0.0, 2.0])) == pytest.approx(1.5 * np.log(2))

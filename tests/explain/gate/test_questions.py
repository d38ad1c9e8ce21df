"""Random target, seeds, shift and planted signal: each with a case that must fail, and one that must not."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hdt_fm.explain.attribution import attribute
from hdt_fm.explain.gate import completeness, finds, random_target, seeds, shift
from hdt_fm.explain.gate.exam import Exam
from hdt_fm.explain.gate.judge import stretches_alike
from hdt_fm.explain.gate.perturb import delayed, randomised
from hdt_fm.explain.gate.planted import Fitness
from hdt_fm.explain.others import Others
from hdt_fm.schema.batch import Batch, Signal


def exam_of(model: Callable[[Batch], Tensor], batch: Batch, *, method: str = "integrated_gradients", **given) -> Exam:
    return Exam.of(model, batch, attribute(model, batch, target=0, methods=(method,), segments=16), **given)


def test_another_question_is_the_column_that_goes_along_least() -> None:
    base = np.arange(8.0)
    other = np.array([1.0, -1, 1, -1, 1, -1, 1, -1])
    assert random_target.another_question(np.stack([base, -base, base**2, other], 1), 0) == 3
    assert random_target.another_question(np.stack([base, -base], 1), 0) is None
    assert random_target.another_question(np.stack([base, np.ones(8)], 1), 0) is None


def test_the_map_of_another_question_differs(planted: Batch, finder: nn.Module) -> None:
    check = random_target.check(exam_of(finder, planted))
    assert check.verdict == "pass"
    assert list(check.detail) == ["column 1"]


def test_a_map_that_is_the_same_for_every_question_fails(planted: Batch) -> None:
    def energy(batch: Batch) -> Tensor:
        size = batch.signals["ppg"].values.square().sum((1, 2))
        # Another column to the eye, for it turns with the window's number; the same places to the map.
        return torch.stack([size, size * torch.tensor([1.0, -1.0])[batch.window_id % 2] + 0.0], 1)

    exam = exam_of(energy, planted)
    exam = replace(exam, few=exam.few.select(exam.few.window_id % 2 == 0))
    exam = replace(exam, original=exam.again(energy, exam.few))
    check = random_target.check(exam)
    assert check.verdict == "fail"
    assert check.value == pytest.approx(1.0)


def test_two_mirrored_classes_are_one_question(planted: Batch, finder: nn.Module) -> None:
    """The log-odds of one class are the other's turned round: its map says nothing new, so the head is randomised."""

    class Mirrored(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = finder

        def forward(self, batch: Batch) -> Tensor:
            one = self.body(batch)[:, 0]
            return torch.stack([one, -one], 1)

    check = random_target.check(exam_of(Mirrored(), planted, draws=2))
    assert list(check.detail) == ["random head 1", "random head 2"]
    assert check.verdict in ("pass", "warn")
    assert random_target.check(exam_of(lambda batch: Mirrored()(batch), planted)).verdict == "warn"


def test_a_deterministic_method_is_stable_over_seeds(planted: Batch, finder: nn.Module) -> None:
    check = seeds.check(exam_of(finder, planted))
    assert (check.verdict, check.value) == ("pass", 1.0)
    assert "deterministic" in check.meaning


def test_a_random_method_is_drawn_again(planted: Batch, finder: nn.Module) -> None:
    check = seeds.check(exam_of(finder, planted, method="gradient_shap", draws=3))
    assert list(check.detail) == ["draw 1", "draw 2", "draw 3"]
    assert check.verdict == "pass"
    assert 0.8 < check.value < 1.0


def test_another_training_that_tells_another_story_fails(planted: Batch, finder: nn.Module) -> None:
    *_, (_, other) = randomised(finder, stages=3, generator=torch.Generator().manual_seed(0))
    check = seeds.check(exam_of(finder, planted, retrained=[finder, other]))
    assert check.detail["training 1"] == pytest.approx(1.0)
    assert check.detail["training 2"] < 0.3
    assert seeds.check(exam_of(finder, planted, retrained=[other])).verdict == "fail"
    assert seeds.check(exam_of(finder, planted, retrained=[finder])).verdict == "pass"


def test_stretches_are_compared_by_their_sums(batch: Batch, linear: nn.Module) -> None:
    one = attribute(linear, batch, target=0, methods=("integrated_gradients",)).maps[0]
    turned = replace(one, values={name: -values for name, values in one.values.items()})
    flat = replace(one, values={name: np.zeros_like(values) for name, values in one.values.items()})
    assert stretches_alike(one, one, 5) == pytest.approx(1.0)
    assert stretches_alike(one, turned, 5) == pytest.approx(-1.0)
    assert stretches_alike(one, flat, 5) == 0.0


def test_a_delay_moves_each_signal_by_its_own_samples(new_batch: Callable[..., Batch]) -> None:
    batch = new_batch(2)
    later, moved = delayed(batch, delay_s=0.3)
    assert moved == {"ppg": 2, "acc": 1, "temp": 0}  # 2.4, 1.2 and 0.3 samples
    before, after = batch.signals["ppg"].values, later.signals["ppg"].values
    assert torch.equal(after[..., 2:], before[..., :-2])
    assert torch.equal(after[..., :2], before[..., :1].expand(2, 1, 2))
    assert later.signals["temp"] is batch.signals["temp"]


def test_the_map_moves_with_the_signal(planted: Batch, finder: nn.Module) -> None:
    check = shift.check(exam_of(finder, planted))
    assert check.verdict == "pass"
    assert check.detail == {"samples, ppg": 3.0, "samples, acc": 2.0}


def test_a_model_that_reads_places_and_not_forms_fails_the_shift(planted: Batch) -> None:
    places = torch.randn(96, generator=torch.Generator().manual_seed(0))

    def fixed(batch: Batch) -> Tensor:
        return (batch.signals["ppg"].values[:, 0] * places).sum(1, keepdim=True)

    assert shift.check(exam_of(fixed, planted)).verdict == "fail"


def test_slow_signals_move_by_one_sample(finder: nn.Module) -> None:
    values = torch.randn(3, 1, 50, generator=torch.Generator().manual_seed(0))
    row, seen = torch.arange(3), torch.ones(3, 50, dtype=torch.bool)
    slow = Batch(
        ("glucose",),
        {"glucose": Signal(values, seen, 1 / 300)},
        torch.ones(3, 1, dtype=torch.bool),
        row,
        row + 0.0,
        row,
    )
    check = shift.check(exam_of(lambda batch: batch.signals["glucose"].values.square().sum((1, 2))[:, None], slow))
    assert check.detail == {"samples, glucose": 1.0}
    assert "300 s" in check.rule


def test_what_was_planted_is_repeated_for_the_leading_method_alone(planted: Batch, finder: nn.Module) -> None:
    unfit = Fitness("integrated_gradients", "recurrent", 0.05, 0.02, 0.03, 0.3, "fail")
    check = finds.check(exam_of(finder, planted, fitness=[replace(unfit, method="lime"), unfit]))
    assert (check.verdict, check.value, check.detail["random map"]) == ("fail", 0.05, 0.03)
    assert "recurrent" in check.meaning
    assert finds.check(exam_of(finder, planted, fitness=[replace(unfit, method="lime")])).verdict == "warn"
    assert np.isnan(finds.check(exam_of(finder, planted)).value)


def standardised(batch: Batch) -> Tensor:
    """As our encoders do: each window in its own spread, and none where there is hardly any."""
    ppg = batch.signals["ppg"].values[:, 0]
    away = ppg - ppg.mean(-1, keepdim=True)
    spread = away.square().mean(-1, keepdim=True)
    weight = torch.linspace(-1, 1, ppg.shape[-1]).sin()
    return ((away * (spread > 1e-9) / (spread + 1e-12).sqrt()) @ weight)[:, None] + 3.0


def test_a_jump_beside_the_flat_reference_is_said_and_what_helps(
    planted: Batch, new_planted: Callable[..., tuple[Batch, Tensor, Tensor]]
) -> None:
    """The whole change lies within the first ten-thousandth of the line: no path finds a slope there."""
    check = completeness.check(exam_of(standardised, planted))
    assert check.verdict == "fail"
    assert "leaves the flat reference. Take the reference `others`." in check.meaning
    assert check.detail["jump beside the reference"] == pytest.approx(1.0, abs=0.05)
    others = Others(new_planted(8, seed=4)[0], draws=2)
    made = attribute(standardised, planted, target=0, methods=("integrated_gradients",), reference=others, segments=16)
    check = completeness.check(Exam.of(standardised, planted, made))
    assert check.value < 0.05
    assert "jumps" not in check.meaning


def test_a_kink_far_from_the_reference_is_not_called_a_jump(planted: Batch) -> None:
    def kinked(batch: Batch) -> Tensor:
        peak = batch.signals["ppg"].values.amax((1, 2))
        return (peak > 1.0).float()[:, None] + 1e-3 * peak[:, None]

    check = completeness.check(exam_of(kinked, planted))
    assert check.verdict == "fail"
    assert "jumps" not in check.meaning
    assert "more points of the path" in check.meaning
    assert check.detail["jump beside the reference"] < 0.01

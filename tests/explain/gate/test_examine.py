"""The gate: good maps pass, and each known way of being worthless fails."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hdt_fm.explain.attribution import attribute
from hdt_fm.explain.explanation import Check, Reliability, worst
from hdt_fm.explain.gate.examine import examine
from hdt_fm.explain.gate.perturb import noisy, randomised
from hdt_fm.explain.gate.planted import Fitness
from hdt_fm.explain.gate.skill import Skill, skill_of
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ExplainError

SKILLED = Skill("auroc", 0.81, 0.74, 0.5, 28)
FIT = Fitness("integrated_gradients", "small convolution", 0.83, 0.79, 0.03, 0.9, "pass")
LEADING = ("integrated_gradients", "saliency", "feature_ablation")


class Detector(nn.Module):
    """A small network over all samples with modules to randomise, one after the other."""

    def __init__(self, *, hidden: int = 24, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.second, self.head = nn.Linear(110, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, 1)

    def forward(self, batch: Batch) -> Tensor:
        flat = torch.cat([signal.values.flatten(1) for signal in batch.signals.values()], dim=1)
        return self.head(torch.tanh(self.second(torch.tanh(self.first(flat) * 0.3))))


class Energy(nn.Module):
    """Has weights but answers with the input's energy whatever they are: an edge detector in a model's clothes."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(3, 3)

    def forward(self, batch: Batch) -> Tensor:
        return torch.stack([signal.values.square().sum((1, 2)) for signal in batch.signals.values()]).sum(0)[:, None]


def report(model: nn.Module, batch: Batch, **settings: object) -> Reliability:
    return examine(
        model, batch, attribute(model, batch, target=0, methods=LEADING, segments=5), **{"orders": 19, **settings}
    )


NAMES = (
    *("skill", "planted signal", "dependence", "concentration", "completeness", "randomisation", "random target"),
    *("seeds", "shift", "noise", "sensitivity", "deletion", "CPD and CPP", "infidelity", "agreement"),
)


def test_a_skilled_model_that_finds_what_was_planted_passes(planted: Batch, finder: nn.Module) -> None:
    made = attribute(finder, planted, target=0, methods=LEADING, segments=16)
    found = examine(finder, planted, made, skill=SKILLED, fitness=[FIT])
    assert {check.name: check.verdict for check in found.checks} == dict.fromkeys(NAMES, "pass")
    assert found.verdict == "pass"


def test_a_randomised_finder_gets_a_failing_report(
    new_planted: Callable[..., tuple[Batch, Tensor, Tensor]], finder: nn.Module
) -> None:
    """Skill is measured here, not told, over forty people. On so simple a question random weights can be lucky; these
    are not."""
    *_, (_, random) = randomised(finder, stages=3, generator=torch.Generator().manual_seed(5))
    batch, label, _ = new_planted(160, seed=9)

    def skill(model: nn.Module) -> Skill:
        with torch.no_grad():
            output = model(batch)[:, 0].numpy()
        return skill_of(output, label.numpy(), np.arange(160) // 4, positive_class=1, draws=100)

    few = batch.select(torch.arange(6))
    reports = [
        examine(
            m, few, attribute(m, few, target=0, methods=LEADING, segments=16), skill=skill(m), fitness=[FIT], orders=19
        )
        for m in (finder, random)
    ]
    assert [one.find("skill").verdict for one in reports] == ["pass", "fail"]
    assert reports[1].verdict == "fail"


def test_windows_without_samples_and_nan_are_refused_before_any_test(planted: Batch, finder: nn.Module) -> None:
    made = attribute(finder, planted, target=0, methods=LEADING, segments=16)
    gone = planted.without(torch.zeros_like(planted.present))
    with pytest.raises(ExplainError, match="no observed sample"):
        examine(finder, gone, made)
    ppg = planted.signals["ppg"]
    broken = replace(ppg, values=ppg.values.masked_fill(torch.arange(96) == 5, torch.nan))
    with pytest.raises(ExplainError, match="modality ppg"):
        examine(finder, replace(planted, signals={**planted.signals, "ppg": broken}), made)
    with pytest.raises(ExplainError, match=r"shape \(6,\)"):
        examine(finder, planted, made, labels=np.zeros(4))
    with pytest.raises(ExplainError, match="at least 19"):
        examine(finder, planted, made, orders=18)


def test_the_cascade_goes_down_from_the_head_and_likeness_falls(batch: Batch) -> None:
    detail = report(Detector(), batch).find("randomisation").detail
    assert list(detail) == ["down to head", "down to second", "down to first"]
    assert abs(detail["down to first"]) < 0.3


def test_a_map_that_no_weight_changes_fails(batch: Batch) -> None:
    check = report(Energy(), batch, skill=SKILLED).find("randomisation")
    assert check.verdict == "fail"
    assert check.value == pytest.approx(1.0)


def test_a_randomised_model_fails_for_want_of_skill(batch: Batch) -> None:
    """Its maps alone look as orderly as any; what gives it away is that its output predicts nothing."""
    *_, (_, random) = randomised(Detector(), stages=3, generator=torch.Generator().manual_seed(5))
    found = report(random, batch, skill=Skill("auroc", 0.53, 0.41, 0.5, 28))
    assert found.verdict == "fail"
    assert found.find("skill").verdict == "fail"


def test_unmeasured_skill_is_never_a_pass(batch: Batch) -> None:
    found = report(Detector(), batch)
    assert found.find("skill").verdict == "warn"
    assert found.verdict == "warn"


def test_a_constant_output_fails(batch: Batch, constant: nn.Module) -> None:
    found = report(constant, batch, skill=SKILLED)
    for name in ("dependence", "deletion", "CPD and CPP", "infidelity"):
        assert found.find(name).verdict == "fail"
    assert np.isnan(found.find("deletion").value)
    assert found.verdict == "fail"


def test_credits_that_do_not_add_up_fail(batch: Batch) -> None:
    model = Detector()
    made = attribute(model, batch, target=0, methods=LEADING)
    broken = tuple(
        replace(m, delta=m.delta + 0.2 * np.abs(made.output - made.reference_output)) if m.delta is not None else m
        for m in made.maps
    )
    check = examine(model, batch, replace(made, maps=broken), orders=19).find("completeness")
    assert check.verdict == "fail"
    assert check.value >= 0.2


def test_a_map_beside_that_does_not_add_up_warns(batch: Batch, linear: nn.Module) -> None:
    made = attribute(linear, batch, target=0, methods=("occlusion", "integrated_gradients"), segments=5)
    off = tuple(replace(m, delta=np.full(4, 1e3)) if m.delta is not None else m for m in made.maps)
    check = examine(linear, batch, replace(made, maps=off), orders=19).find("completeness")
    assert check.verdict == "warn"
    assert "The leading method promises no sum. Of Integrated gradients beside it" in check.meaning


def test_a_method_that_promises_no_sum_is_not_held_to_one(batch: Batch, linear: nn.Module) -> None:
    made = attribute(linear, batch, target=0, methods=("integrated_gradients", "gradient_shap"), segments=5)
    off = tuple(replace(m, delta=np.full(4, 1e3)) if m.method == "gradient_shap" else m for m in made.maps)
    assert examine(linear, batch, replace(made, maps=off), orders=19).find("completeness").verdict == "pass"


def test_a_model_that_breaks_under_small_noise_fails(batch: Batch) -> None:
    def brittle(batch: Batch) -> Tensor:
        return torch.stack([(s.values * 400).sin().sum((1, 2)) for s in batch.signals.values()]).sum(0)[:, None]

    made = attribute(brittle, batch, target=0, methods=("saliency",))
    found = examine(brittle, batch, made, orders=19)
    assert found.find("noise").verdict == "fail"
    assert found.find("randomisation").verdict == "warn"  # a bare function shows no weights
    assert found.find("agreement").verdict == "warn"  # one method


def test_methods_that_contradict_each_other_fail(batch: Batch, linear: nn.Module) -> None:
    made = attribute(linear, batch, target=0, methods=("integrated_gradients", "feature_ablation"), segments=5)
    assert examine(linear, batch, made, orders=19).find("agreement").value == pytest.approx(1.0)
    wrong = {name: 1 / (np.abs(v) + 0.01) for name, v in made.find("integrated_gradients").values.items()}
    maps = (replace(made.maps[0], values=wrong), made.maps[1])
    assert examine(linear, batch, replace(made, maps=maps), orders=19).find("agreement").verdict == "fail"


def test_random_weights_keep_their_size_and_leave_the_model_alone() -> None:
    model = Detector()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    *_, (stage, random) = randomised(model, stages=2, generator=torch.Generator().manual_seed(0))
    assert stage == "down to first"
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
        assert not torch.equal(random.state_dict()[name], value)
    kept = random.first.weight
    assert float(kept.detach().std()) == pytest.approx(float(before["first.weight"].std()), rel=0.1)


def test_noise_is_small_and_only_where_observed(new_batch: Callable[..., Batch]) -> None:
    batch = new_batch(2)
    signal = batch.signals["acc"]
    observed = signal.observed.clone()
    observed[0, 4:9] = False
    values = signal.values.masked_fill(~observed[:, None], torch.nan)
    moved = noisy(
        replace(batch, signals={"acc": replace(signal, values=values, observed=observed)}),
        share=0.05,
        generator=torch.Generator().manual_seed(0),
    ).signals["acc"]
    change = (moved.values - values).nan_to_num()
    assert not change[0, :, 4:9].any()
    assert 0.03 < float(change.std() / signal.values.std()) < 0.07


def test_the_same_seed_gives_the_same_verdict(batch: Batch) -> None:
    first, second = (report(Detector(), batch, seed=3, skill=SKILLED, fitness=[FIT]) for _ in range(2))
    assert first == second
    assert report(Detector(), batch, seed=4, skill=SKILLED, fitness=[FIT]) != first


def test_the_worst_verdict_wins_and_nothing_checked_is_a_fail() -> None:
    assert worst([]) == "fail"
    assert worst(["pass", "warn", "pass"]) == "warn"
    with pytest.raises(KeyError, match="no check"):
        Reliability((Check("skill", "pass", 1.0, "", ""),)).find("nois")


def test_one_window_of_one_modality_in_double_precision_is_examined(new_batch: Callable[..., Batch]) -> None:
    acc = (batch := new_batch(1, names=("acc",))).signals["acc"]
    batch = replace(batch, signals={"acc": replace(acc, values=acc.values.double())})

    def bent(one: Batch) -> Tensor:
        return (one.signals["acc"].values[:, 1].cumsum(-1) * 0.1).tanh().sum(1, keepdim=True)

    made = attribute(bent, batch, target=0, methods=LEADING, segments=5)
    found = examine(bent, batch, made, skill=SKILLED, fitness=[FIT], orders=19)
    assert [check.name for check in found.checks] == list(NAMES)
    assert all(np.isfinite(one) for check in found.checks for one in check.detail.values())
    assert found.find("noise").detail["output moved, in spreads"] < 1  # of its change, since one window has no spread
    assert torch.equal(batch.signals["acc"].values, acc.values.double())


def test_a_steady_map_of_an_output_that_noise_moves_is_a_warning(new_batch: Callable[..., Batch]) -> None:
    """All windows are nearly alike, so the output hardly varies and noise is much of that; the map stays."""

    class Close(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(1.0))

        def forward(self, batch: Batch) -> Tensor:
            return self.weight * batch.signals["acc"].values.pow(3).sum((1, 2))[:, None]

    one = new_batch(1, seed=3)
    batch = one.select(torch.zeros(6, dtype=torch.long))
    acc = batch.signals["acc"]
    louder = acc.values * (1 + 0.002 * torch.arange(6.0)[:, None, None])
    batch = replace(batch, signals={**batch.signals, "acc": replace(acc, values=louder)}, subject=torch.arange(6))
    found = examine(Close(), batch, attribute(Close(), batch, target=0, methods=LEADING, segments=5), orders=19)
    check = found.find("noise")
    assert check.value > 0.8
    assert check.verdict == "warn"
    assert "the model is brittle" in check.meaning

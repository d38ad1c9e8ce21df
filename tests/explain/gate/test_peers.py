"""Measures that quantus and time_interpret share with the gate, on one model and one map; both are development only."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hdt_fm.explain.attribution import attribute
from hdt_fm.explain.gate import infidelity, randomisation, removal, sensitivity
from hdt_fm.explain.gate.exam import Exam
from hdt_fm.explain.gate.sparseness import entropy, gini
from hdt_fm.schema.batch import Batch

CHANNELS, SAMPLES, WINDOWS = 2, 20, 5


class Small(nn.Module):
    """(batch, channel, time) -> (batch, 2) with a bend, for libraries that know tensors and no batches."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.first, self.head = nn.Conv1d(CHANNELS, 6, 5, padding=2), nn.Linear(6, 2)

    def forward(self, values: Tensor) -> Tensor:
        return self.head(torch.tanh(2 * self.first(values)).mean(-1)) * 4


class OfBatch(nn.Module):
    """The same function of a batch; `probability` gives what time_interpret compares."""

    def __init__(self, inner: nn.Module, *, probability: bool = False) -> None:
        super().__init__()
        self.inner, self.probability = inner, probability

    def forward(self, batch: Batch) -> Tensor:
        found = self.inner(batch.signals["acc"].values)
        return found.softmax(-1) if self.probability else found


@pytest.fixture
def small() -> Small:
    return Small().eval()


@pytest.fixture
def exam(new_batch: Callable[..., Batch], small: Small) -> Callable[..., Exam]:
    """One sample a segment and the reference zero, as those libraries have it."""

    def made(*, method: str = "integrated_gradients", probability: bool = False) -> Exam:
        batch = new_batch(WINDOWS, names=("acc",))
        acc = batch.signals["acc"]
        batch = replace(batch, signals={"acc": replace(acc, values=0.5 * acc.values[:, :CHANNELS])})
        model = OfBatch(small, probability=probability)
        told = attribute(model, batch, target=0, methods=(method,), reference="zero", segments=SAMPLES)
        return Exam.of(model, batch, told)

    return made


def arrays(one: Exam) -> tuple[np.ndarray, np.ndarray]:
    return one.batch.signals["acc"].values.numpy(), one.explanation.maps[0].values["acc"]


@pytest.fixture
def quantus():
    return pytest.importorskip("quantus", reason="quantus is a development-only cross-check; it has no place in CI")


@pytest.fixture
def tint():
    return pytest.importorskip("tint.metrics", reason="time_interpret is a development-only cross-check")


def test_pixel_flipping_is_our_deletion(exam, quantus, small: Small) -> None:
    """Quantus takes the highest credit away first, as we do where the output is above its reference."""
    one = exam()
    bench = removal.Bench.of(one)
    x, a = arrays(one)
    flipped = quantus.PixelFlipping(
        features_in_step=1,
        perturb_baseline=0.0,
        abs=False,
        normalise=False,
        disable_warnings=True,
        return_auc_per_sample=False,
    )(model=small, x_batch=x, y_batch=np.zeros(WINDOWS, int), a_batch=a, softmax=False, channel_first=True)
    flipped = np.array(flipped)
    order = removal.ranked(bench, bench.credit(one.explanation.maps[0]))
    levels = tuple((k + 1) / (CHANNELS * SAMPLES) for k in range(CHANNELS * SAMPLES))
    ours = removal.told(bench, removal.first(bench, order, levels))
    theirs = flipped[[list(one.explanation.output).index(v) for v in bench.run.output.double().tolist()]]
    # Quantus tells the output after each step.
    np.testing.assert_allclose(theirs, ours, atol=1e-4)


def test_sparseness_and_complexity_are_those_of_quantus(exam, quantus, small: Small) -> None:
    x, a = arrays(exam())
    given = {"model": small, "x_batch": x, "y_batch": np.zeros(WINDOWS, int), "a_batch": a, "channel_first": True}
    sparse = quantus.Sparseness(abs=True, normalise=False, disable_warnings=True)(**given)
    complexity = quantus.Complexity(abs=True, normalise=False, disable_warnings=True)(**given)
    np.testing.assert_allclose(sparse, [gini(row) for row in a], rtol=1e-4)
    np.testing.assert_allclose(complexity, [entropy(row) for row in a], rtol=1e-4)


def test_max_sensitivity_is_that_of_quantus_for_one_nudge(exam, quantus, small: Small, monkeypatch) -> None:
    """Random nudges are replaced by one that both can make: a share of the values themselves."""
    one = exam(method="saliency")
    monkeypatch.setattr(sensitivity, "nudged", lambda values, seen, *, radius, generator: values * 1.05)
    ours = sensitivity.max_sensitivity(one, "saliency")
    x = one.few.signals["acc"].values.numpy()

    def explain(model: nn.Module, inputs: np.ndarray, targets: np.ndarray, **_: object) -> np.ndarray:
        acc = replace(one.few.signals["acc"], values=torch.as_tensor(np.asarray(inputs), dtype=torch.float32))
        return one.again(one.model, replace(one.few, signals={"acc": acc})).values["acc"]

    theirs = quantus.MaxSensitivity(
        nr_samples=3,
        abs=False,
        normalise=False,
        disable_warnings=True,
        perturb_func=lambda arr, **_: arr * 1.05,
        similarity_func=quantus.difference,
    )(
        model=small,
        x_batch=x,
        y_batch=np.zeros(len(x), int),
        a_batch=one.again(one.model, one.few).values["acc"],
        explain_func=explain,
        channel_first=True,
    )
    assert ours == pytest.approx(float(np.mean(theirs)), rel=0.02)


def test_faithfulness_correlation_is_high_where_infidelity_is_low(exam, quantus, small: Small) -> None:
    """Two measures of one thing: how credits of random subsets foretell the change of the output."""
    one = exam()
    x, a = arrays(one)
    draw = np.random.default_rng(0)

    def correlation(maps: np.ndarray) -> float:
        np.random.seed(0)  # noqa: NPY002 - quantus draws its subsets from the global generator
        found = quantus.FaithfulnessCorrelation(
            nr_runs=60, subset_size=8, perturb_baseline=0.0, abs=False, normalise=False, disable_warnings=True
        )(model=small, x_batch=x, y_batch=np.zeros(WINDOWS, int), a_batch=maps, softmax=False, channel_first=True)
        return float(np.mean(found))

    noise = draw.normal(size=a.shape).astype(np.float32)
    fake = replace(one.explanation.maps[0], values={"acc": noise})
    random = replace(one, explanation=replace(one.explanation, maps=(fake,)), _done={})
    assert correlation(a) > 0.8
    assert infidelity.infidelity(one, one.lead).stretched < 0.3
    assert abs(correlation(noise)) < 0.4
    assert infidelity.infidelity(random, one.lead).stretched > 0.5


def test_one_stage_of_mprt_is_one_stage_of_our_cascade(exam, quantus, small: Small, monkeypatch) -> None:
    """Quantus starts layers anew where we redraw them with their own spread; with its way of drawing in our cascade,
    both give one correlation after each layer."""
    one = exam()
    x, _ = arrays(one)

    def explain(model: nn.Module, inputs: np.ndarray, targets: np.ndarray, **_: object) -> np.ndarray:
        return one.again(OfBatch(model), one.batch).values["acc"]

    found = quantus.MPRT(
        similarity_func=quantus.correlation_spearman,
        layer_order="top_down",
        abs=False,
        normalise=False,
        disable_warnings=True,
        seed=0,
    )(
        model=small.eval(),
        x_batch=x,
        y_batch=np.zeros(WINDOWS, int),
        a_batch=one.again(one.model, one.batch).values["acc"],
        explain_func=explain,
        channel_first=True,
    )

    def anew(model: nn.Module, **_: object) -> Iterator[tuple[str, nn.Module]]:
        twin = deepcopy(model)
        for name in ("head", "first"):
            torch.manual_seed(1)  # as quantus does before each layer, for its seed 0
            getattr(twin.inner, name).reset_parameters()
            yield f"inner.{name}", twin

    monkeypatch.setattr(randomisation, "randomised", anew)
    with torch.random.fork_rng(devices=[]):
        whole = replace(one, few=one.batch, original=one.again(one.model, one.batch), draws=1)
        ours = randomisation.check(whole).detail
    assert list(ours) == ["inner.head", "inner.first"]
    theirs = {name: float(np.mean(values)) for name, values in found.items()}
    assert [ours["inner.head"], ours["inner.first"]] == pytest.approx([theirs["head"], theirs["first"]], abs=1e-3)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_comprehensiveness_is_our_deletion_of_a_probability(exam, tint, small: Small, share: float) -> None:
    one = exam(probability=True)
    bench = removal.Bench.of(one)
    x, a = arrays(one)
    theirs = tint.comprehensiveness(small, torch.from_numpy(x), torch.from_numpy(a), target=0, topk=share)
    order = removal.ranked(bench, bench.credit(one.explanation.maps[0]))
    after = removal.told(bench, removal.first(bench, order, (share,)))[:, 0]
    assert theirs == pytest.approx(float((bench.run.output.double().numpy() - after).mean()), abs=1e-5)


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_sufficiency_is_what_our_insertion_lacks(exam, tint, small: Small, share: float) -> None:
    one = exam(probability=True)
    bench = removal.Bench.of(one)
    x, a = arrays(one)
    theirs = tint.sufficiency(small, torch.from_numpy(x), torch.from_numpy(a), target=0, topk=share)
    order = removal.ranked(bench, bench.credit(one.explanation.maps[0]))
    kept = removal.told(bench, ~removal.first(bench, order, (share,)))[:, 0]
    assert theirs == pytest.approx(float((bench.run.output.double().numpy() - kept).mean()), abs=1e-5)

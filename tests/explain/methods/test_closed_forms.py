"""Maps of models whose credit is known: weight times the distance from the reference, and Shapley values by hand."""

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients, NoiseTunnel
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from hdt_fm.explain.attribution import attribute
from hdt_fm.explain.binding import Run, explaining
from hdt_fm.explain.explanation import segment_of
from hdt_fm.explain.methods import METHODS, Plan, smooth_integrated_gradients
from hdt_fm.explain.methods.chance import NOISE, noisy_inputs
from hdt_fm.explain.methods.features import COARSE, Features
from hdt_fm.explain.methods.least_squares import LeastSquares
from hdt_fm.schema.batch import Batch, Signal

COARSE_METHODS = ("shapley_sampling", "kernel_shap", "lime")


def single(name: str, values: Tensor) -> Batch:
    """Windows of one modality, all observed."""
    size, row = len(values), torch.arange(len(values))
    signal = Signal(values, torch.ones(size, values.shape[-1], dtype=torch.bool), 8.0)
    return Batch((name,), {name: signal}, torch.ones(size, 1, dtype=torch.bool), row, row.float(), row)


def distance(batch: Batch, linear: nn.Module, name: str, target: int = 1) -> NDArray[np.float64]:
    """Weight times (value - window mean), the credit that a linear model gives each sample."""
    values = batch.signals[name].values.double()
    credit = (values - values.mean(-1, keepdim=True)) * linear.weights[name][target].double()
    return credit.detach().numpy()


def by_segment(credit: NDArray[np.float64], segments: int) -> NDArray[np.float64]:
    index = segment_of(credit.shape[-1], segments)
    return np.stack([credit[..., index == k].sum(-1) for k in range(index.max() + 1)], -1)


def test_deep_lift_of_a_linear_model(batch: Batch, linear: nn.Module) -> None:
    found = attribute(linear, batch, target=1, methods=("deep_lift",)).find("deep_lift")
    for name in batch.modalities:
        np.testing.assert_allclose(found.values[name], distance(batch, linear, name), atol=1e-4)
    assert found.delta.max() < 1e-3


@pytest.mark.parametrize("method", ["smooth_integrated_gradients", "gradient_shap"])
def test_noise_moves_a_linear_models_credit_by_its_own_mean(batch: Batch, linear: nn.Module, method: str) -> None:
    """The slope is the weight everywhere, so the credit is weight times (mean noisy value - reference)."""
    draws, seed = 3, 7
    copies = draws if method == "smooth_integrated_gradients" else 4 * draws
    found = attribute(linear, batch, target=1, methods=(method,), steps=4, draws=draws, seed=seed).find(method)
    run = Run.of(linear, batch, target=1, reference="window_mean")
    noisy = [noisy_inputs(run, seed, draw) for draw in range(copies)]
    for k, name in enumerate(run.names):
        values = torch.stack([one[k] for one in noisy]).double().mean(0)
        want = (values - run.references[k].double()) * linear.weights[name][1].double()
        np.testing.assert_allclose(found.values[name], want.detach(), atol=2e-4)


def test_noise_is_in_units_of_each_channels_own_spread() -> None:
    wave = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 3, 4000))).float()
    values = wave * torch.tensor([1.0, 100.0, 0.0])[:, None] + 3.0
    one = single("acc", values)
    one.signals["acc"].observed[:, ::2] = False
    run = Run.of(lambda told: told.signals["acc"].values.sum((1, 2))[:, None], one, target=0, reference="zero")
    moved = noisy_inputs(run, 0, 0)[0] - values
    assert not moved[:, :, ::2].any()
    np.testing.assert_allclose(moved[0, :2, 1::2].std(-1), [NOISE, 100 * NOISE], rtol=0.06)
    assert not moved[0, 2].any()  # a constant channel has no spread
    assert not torch.equal(moved, noisy_inputs(run, 0, 1)[0] - values)


def test_smoothing_is_that_of_captums_noise_tunnel(
    batch: Batch, curved: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given the same noisy copies, the two agree on a model that bends."""
    with explaining(curved) as model:
        run = Run.of(model, batch, target=0, reference="window_mean")
        copies = [noisy_inputs(run, 3, draw) for draw in range(4)]
        ours = smooth_integrated_gradients.credit(run, Plan(steps=16, draws=4, seed=3, path=0))
        tunnel = NoiseTunnel(IntegratedGradients(run.forward))
        stacked = tuple(torch.stack(parts, 1).flatten(0, 1) for parts in zip(*copies, strict=True))
        monkeypatch.setattr(tunnel, "_add_noise_to_inputs", lambda *_: tuple(x.requires_grad_() for x in stacked))
        theirs = tunnel.attribute(
            inputs=run.inputs,
            nt_samples=4,
            baselines=run.references,
            target=0,
            additional_forward_args=(run.rows,),
            n_steps=16,
        )
    for name, one in zip(run.names, theirs, strict=True):
        np.testing.assert_allclose(ours.values[name], one.detach(), atol=1e-5)


@pytest.mark.parametrize("batch_rows", [4, 9, 64])
def test_ablation_of_a_linear_model(batch: Batch, linear: nn.Module, batch_rows: int) -> None:
    found = attribute(linear, batch, target=1, methods=("feature_ablation",), segments=7, batch_rows=batch_rows)
    for name in batch.modalities:
        want = by_segment(distance(batch, linear, name), 7)
        np.testing.assert_allclose(found.by_segment("feature_ablation")[name], want, atol=2e-4)


@pytest.mark.parametrize("batch_rows", [4, 9, 64])
@pytest.mark.parametrize("segments", [7, 40])
def test_sliding_occlusion_of_a_linear_model(batch: Batch, linear: nn.Module, batch_rows: int, segments: int) -> None:
    """Each spot's fall is the sum of credit under it; a sample gets the mean over its spots, per sample of a spot."""
    found = attribute(linear, batch, target=1, methods=("occlusion",), segments=segments, batch_rows=batch_rows)
    for name in batch.modalities:
        credit = distance(batch, linear, name)
        samples = credit.shape[-1]
        width = int(np.ceil(samples / min(segments, samples)))
        spots = []
        for first in range(0, samples, max(1, width // 2)):
            spots.append(np.arange(first, min(first + width, samples)))
            if first + width >= samples:
                break
        want = np.zeros_like(credit)
        for t in range(samples):
            over = [spot for spot in spots if t in spot]
            size = np.mean([len(spot) for spot in over])
            want[..., t] = np.mean([credit[..., spot].sum(-1) for spot in over], axis=0) / size
        np.testing.assert_allclose(found.find("occlusion").values[name], want, atol=2e-4)


def test_a_spot_over_a_gap_is_shared_out_over_what_was_observed() -> None:
    """Samples 4 to 11 of 16 are missing; spots of 8 begin at 0, 4 and 8. All credit of the model lies in sample 1."""
    one = single("ppg", torch.zeros(1, 1, 16))
    one.signals["ppg"].values[0, 0, 1] = 6.0
    one.signals["ppg"].observed[0, 4:12] = False
    found = attribute(
        lambda told: told.signals["ppg"].values[:, 0, 1:2],
        one,
        target=0,
        methods=("occlusion",),
        segments=2,
        reference="zero",
    )
    # Only the first spot holds sample 1; of it, four samples were observed: 6 / 4 each. Nothing else moves the output.
    want = np.array([1.5] * 4 + [0.0] * 12)
    np.testing.assert_allclose(found.find("occlusion").values["ppg"][0, 0], want, atol=1e-6)


@pytest.mark.parametrize("method", COARSE_METHODS)
@pytest.mark.parametrize("batch_rows", [5, 64])
def test_coarse_methods_of_a_linear_model(batch: Batch, linear: nn.Module, method: str, batch_rows: int) -> None:
    """No order and no set of others changes what a segment adds, so all three give its own sum."""
    found = attribute(linear, batch, target=1, methods=(method,), segments=7, draws=3, batch_rows=batch_rows)
    for name in batch.modalities:
        want = by_segment(distance(batch, linear, name), 7)
        np.testing.assert_allclose(found.by_segment(method)[name], want, atol=2e-3)
    if METHODS[method].sums:
        assert found.find(method).delta.max() < 1e-3


def pairs_and_triples(batch: Batch) -> Tensor:
    """Of three samples a, b, c: 3 a + 2 a b - 4 a b c + sin(c)."""
    a, b, c = batch.signals["ppg"].values[:, 0].unbind(-1)
    return (3 * a + 2 * a * b - 4 * a * b * c + c.sin())[:, None]


def by_orders(worth: Callable[[frozenset[int]], float], players: int) -> list[float]:
    """Shapley values by all orders."""
    total = np.zeros(players)
    orders = list(permutations(range(players)))
    for order in orders:
        for k, player in enumerate(order):
            before = frozenset(order[:k])
            total[player] += worth(before | {player}) - worth(before)
    return list(total / len(orders))


@pytest.mark.parametrize(("method", "draws", "within"), [("shapley_sampling", 1500, 0.5), ("kernel_shap", 100, 0.5)])
def test_shapley_values_of_a_model_with_interactions(method: str, draws: int, within: float) -> None:
    values = torch.tensor([[[1.5, -2.0, 0.7]]])
    one = single("ppg", values)

    def worth(there: frozenset[int]) -> float:
        a, b, c = (float(values[0, 0, k]) if k in there else 0.0 for k in range(3))
        return 3 * a + 2 * a * b - 4 * a * b * c + float(np.sin(c))

    found = attribute(pairs_and_triples, one, target=0, methods=(method,), reference="zero", draws=draws).find(method)
    np.testing.assert_allclose(found.values["ppg"][0, 0], by_orders(worth, 3), atol=within)
    # 4.5, -6 and 8.4 are shared by hand: a gets 4.5 - 3 + 2.8, and so on.
    np.testing.assert_allclose(by_orders(worth, 3), [4.3, -0.2, 2.8 + np.sin(0.7)], atol=1e-6)
    assert found.delta.max() < 1e-4


@pytest.mark.parametrize("method", COARSE_METHODS)
def test_one_segment_alone_has_the_whole_change(method: str) -> None:
    values = torch.tensor([[[1.0, 3.0, 1.0, 3.0]], [[2.0, 2.0, 2.0, 2.0]]])
    both = single("ppg", values)
    found = attribute(
        lambda told: told.signals["ppg"].values.square().sum((1, 2))[:, None],
        both,
        target=0,
        methods=(method,),
        segments=1,
    ).find(method)
    np.testing.assert_allclose(found.values["ppg"][0, 0], [1.0] * 4)  # 20 - 16, over four samples
    assert not found.values["ppg"][1].any()  # a flat window is its own reference


def test_coarse_features_are_few_unique_and_alive(new_batch: Callable[..., Batch]) -> None:
    batch = new_batch(1)
    batch.signals["acc"].values[:, 1] = 9.0  # a channel that does not move is no feature
    run = Run.of(lambda told: told.signals["ppg"].values.sum((1, 2))[:, None], batch, target=0, reference="window_mean")
    features = Features.of(run, 30)
    kinds = [set(ids[live].tolist()) for ids, live in zip(features.ids, features.live, strict=True)]
    # 30 for one channel, two live ones of COARSE // 3, and five samples of two channels.
    assert [len(kind) for kind in kinds] == [30, 2 * (COARSE // 3), 10]
    assert set().union(*kinds) == set(range(features.count))
    assert not features.live[1][0, 1].any()
    assert not features.spread_out(run, torch.ones(features.count))[1][0, 1].any()


def test_least_squares_is_that_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    features = generator.integers(0, 2, (40, 5)).astype(np.float64)
    outputs, weights = generator.normal(size=40), generator.uniform(0.1, 3.0, 40)
    model = LeastSquares()
    model.fit(DataLoader(TensorDataset(*map(torch.from_numpy, (features, outputs, weights))), batch_size=40))
    want = LinearRegression().fit(features, outputs, sample_weight=weights).coef_
    np.testing.assert_allclose(model.representation(), want, atol=1e-10)
    np.testing.assert_allclose(model(torch.from_numpy(features)), features @ want, atol=1e-9)


def test_heavy_ends_do_not_drown_the_other_samples() -> None:
    """As in Kernel SHAP: two samples of weight 1e10 beside those that tell the features apart, single precision in."""
    features = torch.from_numpy(np.random.default_rng(1).integers(0, 2, (30, 6))).float()
    features[0], features[1] = 1.0, 0.0
    truth = torch.tensor([1.0, -2.0, 0.5, 4.0, -1.5, 0.25])
    weights = torch.ones(30)
    weights[:2] = 1e10
    model = LeastSquares()
    model.fit(DataLoader(TensorDataset(features, features @ truth + 3.0, weights), batch_size=30))
    np.testing.assert_allclose(model.representation(), truth, atol=1e-4)


def test_gradient_shap_tells_its_delta_and_shrinks_it_with_draws(batch: Batch, curved: nn.Module) -> None:
    # The same windows under further ids: draws of their own, so that the mean rests on more than four of them.
    wide = replace(batch.select(torch.arange(32) % 4), window_id=torch.arange(32))
    few, many = (
        attribute(curved, wide, target=0, methods=("gradient_shap",), draws=draws).find("gradient_shap")
        for draws in (1, 40)
    )
    assert not METHODS["gradient_shap"].sums
    assert many.delta.mean() < 0.5 * few.delta.mean()

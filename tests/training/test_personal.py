"""An encoder of one person: begins as the population's, follows the written loss, and leaves the encoder as it was."""

import copy
import math
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from hdt_fm.evaluation.adapt import Own
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ConfigError, HdtError, ShapeError
from hdt_fm.training.personal import LinearProbe, adapt_encoder, balanced, count_moved

WIDTH, RANK = 8, 2
# The encoder's modalities are acc, eda, temp; the probe reads two of them, in another order.
COLUMNS = (2, 0)


@pytest.fixture
def encoder(tiny: ModuleType) -> nn.Module:
    return tiny.tiny_model(dropout=0.3).encoder


@pytest.fixture
def probe() -> LinearProbe:
    generator = torch.Generator().manual_seed(3)
    draws = torch.randn(3, len(COLUMNS), WIDTH, generator=generator)
    return LinearProbe(COLUMNS, draws[0], draws[1].abs() + 0.5, draws[2] / 2, torch.tensor(0.3))


@pytest.fixture
def own(tiny: ModuleType) -> Batch:
    return replace(tiny.tiny_batch(1, size=7), labels={})


TARGET = torch.tensor([0.0, 1, 1, 0, 1, 1, 1])


def by_numpy(encoder: nn.Module, probe: LinearProbe, batch: Batch) -> np.ndarray:
    """The population's scores as evaluation makes them: NaN where absent, NaN becomes the center, float64."""
    with torch.no_grad():
        found = copy.deepcopy(encoder).eval()(batch)
    values = found.values.double().numpy().copy()
    values[~found.present.numpy()] = np.nan
    features = values[:, list(COLUMNS)].reshape(len(batch), -1)
    scaled = (features - probe.center.double().numpy().ravel()) / probe.scale.double().numpy().ravel()
    scaled = np.where(np.isfinite(scaled), scaled, 0.0)
    return scaled @ probe.weights.double().numpy().ravel() + float(probe.offset)


@pytest.mark.parametrize("rank", [None, RANK])
def test_before_the_first_step_the_scores_are_the_populations(tiny, encoder, probe, own, rank) -> None:
    asked = [tiny.tiny_batch(2, size=5), tiny.tiny_batch(3, size=3)]
    assert not all(bool(batch.present.all()) for batch in asked)
    found = adapt_encoder(encoder, probe, own, TARGET, asked, stops=(0, 4), rank=rank)
    expected = np.concatenate([by_numpy(encoder, probe, batch) for batch in asked])
    assert found.shape == (2, 8)
    np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-5)
    assert float((found[1] - found[0]).abs().min()) > 1e-4


class Line(nn.Module):
    """The probe as a module, to be trained by hand."""

    def __init__(self, probe: LinearProbe) -> None:
        super().__init__()
        self.probe = probe
        self.weights, self.offset = nn.Parameter(probe.weights.clone()), nn.Parameter(probe.offset.clone())


class Change(nn.Module):
    """W -> W + B A / sqrt(rank)."""

    def __init__(self, a: torch.Tensor, outside: int) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(a), nn.Parameter(torch.zeros(outside, len(a)))

    def forward(self, w: torch.Tensor) -> torch.Tensor:
        return w + self.b @ self.a / math.sqrt(len(self.a))


@pytest.mark.parametrize("rank", [None, RANK])
def test_steps_are_those_of_a_plain_loop_over_a_copy(tiny, encoder, probe, own, rank) -> None:
    """Another implementation: the module itself is trained, low-rank changes by torch's parametrizations."""
    asked = tiny.tiny_batch(2, size=5)
    copied, line = copy.deepcopy(encoder).eval(), Line(probe)
    trained = [one for one in copied.parameters() if one.requires_grad]
    watched = [(one, one.detach().clone()) for one in trained]
    if rank is not None:
        generator, trained, watched = torch.Generator().manual_seed(11), [], []
        wide = [part for part in copied.modules() if isinstance(part, nn.Linear) and min(part.weight.shape) > rank]
        for part in wide:
            change = Change(torch.randn(rank, part.in_features, generator=generator), part.out_features)
            watched.append((part, part.weight.detach().clone()))
            parametrize.register_parametrization(part, "weight", change)
            trained += [change.a, change.b]
    optimizer = torch.optim.Adam([*trained, *line.parameters()], lr=0.01)
    # Two of class 0 and five of class 1, by hand.
    weight = torch.where(TARGET > 0, 7 / 10, 7 / 4)
    for _ in range(3):
        away = sum(((one.weight if isinstance(one, nn.Linear) else one) - was).square().sum() for one, was in watched)
        away = away + (line.weights - probe.weights).square().sum() + (line.offset - probe.offset).square()
        z = probe.log_odds(copied(own), line.weights, line.offset)
        loss = (weight * nn.functional.softplus(torch.where(TARGET > 0, -z, z))).sum() + 0.7 / 2 * away
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        expected = probe.log_odds(copied(asked), line.weights, line.offset)
    found = adapt_encoder(
        encoder, probe, own, TARGET, [asked], stops=(3,), rank=rank, learning_rate=0.01, ridge=0.7, seed=11
    )
    torch.testing.assert_close(found[0], expected, atol=2e-4, rtol=1e-3)
    still = adapt_encoder(encoder, probe, own, TARGET, [asked], stops=(0,), rank=rank)
    assert float((found - still).abs().max()) > 0.05
    numbers = sum(one.numel() for one in trained)
    assert count_moved(encoder, rank) == (len(trained), numbers)
    if rank is not None:
        assert numbers < count_moved(encoder, None)[1]


@pytest.mark.parametrize("rank", [None, RANK])
@pytest.mark.parametrize("broken", [False, True])
def test_the_encoder_comes_back_bit_for_bit(tiny, encoder, probe, own, rank, broken) -> None:
    encoder.train()
    encoder.encoders["eda"].eval()
    before = [(name, value.clone()) for name, value in encoder.state_dict().items()]
    modes = [part.training for part in encoder.modules()]
    asks = {"learning_rate": 0.1, "rank": rank, "stops": (5,)}
    if broken:
        wrong = replace(probe, offset=torch.tensor(torch.nan))
        with pytest.raises(HdtError, match="not finite"):
            adapt_encoder(encoder, wrong, own, TARGET, [own], **asks)
    else:
        adapt_encoder(encoder, probe, own, TARGET, [own], **asks)
    after = list(encoder.state_dict().items())
    assert [name for name, _ in after] == [name for name, _ in before]
    assert all(torch.equal(one, was) for (_, one), (_, was) in zip(after, before, strict=True))
    assert [part.training for part in encoder.modules()] == modes
    assert all(one.grad is None for one in encoder.parameters())
    assert not any(parametrize.is_parametrized(part) for part in encoder.modules())


def test_equal_seeds_give_equal_answers(encoder, probe, own) -> None:
    def answers(rank: int | None, seed: int) -> torch.Tensor:
        torch.manual_seed(torch.initial_seed() + 1)  # whatever the process has drawn before
        return adapt_encoder(encoder, probe, own, TARGET, [own], stops=(4,), rank=rank, seed=seed)

    assert torch.equal(answers(RANK, 1), answers(RANK, 1))
    assert not torch.equal(answers(RANK, 1), answers(RANK, 2))
    assert torch.equal(answers(None, 1), answers(None, 2))


def test_nothing_is_learned_from_what_is_asked_or_from_what_is_absent(tiny, encoder, probe, own) -> None:
    first, second = tiny.tiny_batch(2, size=5), tiny.tiny_batch(3, size=5)
    alone, beside = (
        adapt_encoder(encoder, probe, own, TARGET, asked, stops=(1, 4)) for asked in ([first], [first, second])
    )
    assert torch.equal(alone, beside[:, :5])
    # Without temperature, which the probe reads: absent in every window, or not in the batch at all.
    keep = torch.tensor([True, True, False]).expand(7, 3)
    absent, gone = (
        adapt_encoder(encoder, probe, some, TARGET, [first], stops=(4,))
        for some in (own.without(keep), own.over(("acc", "eda")))
    )
    assert torch.equal(absent, gone)
    assert bool(absent.isfinite().all())
    assert not torch.equal(absent, alone[1:])


def test_the_ridge_holds_back(encoder, probe, own) -> None:
    moved = {}
    for ridge in (0.0, 30.0):
        start, end = adapt_encoder(encoder, probe, own, TARGET, [own], stops=(0, 40), learning_rate=0.02, ridge=ridge)
        moved[ridge] = float((end - start).abs().mean())
    assert moved[30.0] < 0.5 * moved[0.0]


@pytest.mark.parametrize("target", [TARGET, torch.ones(4), torch.tensor([0.0, 1])])
def test_classes_count_alike_as_for_the_probes(target) -> None:
    expected = Own(np.zeros((len(target), 1)), target.double().numpy()).weight
    np.testing.assert_allclose(balanced(target).numpy(), expected, rtol=1e-6)


def test_what_cannot_be_learned_from_is_refused(encoder, probe, own) -> None:
    with pytest.raises(ShapeError, match="7 windows, 6 classes"):
        adapt_encoder(encoder, probe, own, TARGET.where(torch.arange(7) > 0, torch.nan), [own], stops=(1,))
    for stops in ((), (3, 1), (-1, 2), (2, 2)):
        with pytest.raises(ConfigError, match="do not rise"):
            adapt_encoder(encoder, probe, own, TARGET, [own], stops=stops)
    for rank in (0, 4096):
        with pytest.raises(ConfigError, match="change of this rank"):
            adapt_encoder(encoder, probe, own, TARGET, [own], stops=(1,), rank=rank)

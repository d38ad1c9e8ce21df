"""A private step: nobody's part is longer than the clip, the noise is as large as said, and nobody foretells it."""

import math
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hdt_fm.losses.info_nce import InfoNce
from hdt_fm.losses.near_in_time import NearInTime
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import CheckpointError, ConfigError
from hdt_fm.training.private import PeopleWindows, Private, PrivateSteps, Turns
from hdt_fm.training.private_account import Budget
from hdt_fm.training.private_checks import BuffersStay, refuse_unfit
from hdt_fm.training.private_secret import KEY_BYTES, Secret, forget, fresh, kept

PEOPLE, CLIP = 6, 0.7
WINDOWLESS = torch.zeros(2, 0, dtype=torch.bool)


class Vectors:
    """People of whom a batch holds one number each, in `time_s`; the losses below make gradients of them."""

    identity = "vectors"

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def batch(self, number: int, most: int, generator: np.random.Generator) -> Batch:
        times = torch.tensor([self.values[number], float(most)])
        ids = torch.tensor([number, number])
        return Batch((), {}, WINDOWLESS, ids, times, ids)


def steps_of(values: np.ndarray, *, noise: float = 0.0, rate: float = 1.0, key: int = 1, clip: float | None = CLIP):
    budget = Budget(noise=noise, rate=rate, steps=5, delta=0.1, accountant="prv")
    people = Vectors(values)
    assert isinstance(people, PeopleWindows)
    return PrivateSteps(Private(people, budget, clip, 4), Secret(bytes([key]) * KEY_BYTES))


def weights() -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(()))]


def loss_with(learned: list[nn.Parameter]) -> Callable[[Batch, int], Tensor]:
    """Linear in the weights but the last, which it does not use: the gradient is the person's number, seven times."""

    def loss(batch: Batch, seed: int) -> Tensor:
        return batch.time_s[0] * (learned[0].sum() + learned[1].sum())

    return loss


def flat(parts: list[Tensor]) -> Tensor:
    return torch.cat([part.reshape(-1).double() for part in parts])


@pytest.mark.parametrize("value", [0.0, 0.01, 1.0, -1e6, 1e30, math.nan, math.inf])
def test_one_person_moves_the_sum_by_the_clip_at_most_whatever_the_data(value: float) -> None:
    learned = weights()
    base = np.linspace(-2, 2, PEOPLE)
    changed = base.copy()
    changed[2] = value
    without = np.delete(base, 2)
    sums = {
        name: steps_of(one).summed(0, learned, loss_with(learned))
        for name, one in (("base", base), ("changed", changed), ("without", without))
    }
    for name in ("base", "changed"):
        assert float((sums[name] - sums["without"]).norm()) <= CLIP * (1 + 1e-12)
    if 1.0 <= abs(value) < math.inf:
        assert float((sums["changed"] - sums["without"]).norm()) == pytest.approx(CLIP)
    # The update is the sum over those who are expected: C / (q N) for one person.
    update = flat(steps_of(changed).gradients(0, learned, loss_with(learned)))
    assert torch.allclose(update, sums["changed"] / PEOPLE, atol=1e-7)


def test_a_short_gradient_stays_and_a_long_one_keeps_its_direction_as_in_opacus() -> None:
    from opacus.optimizers import DPOptimizer

    learned, values = weights(), np.array([0.05, -3.0, 0.2, 40.0])
    ours = steps_of(values).gradients(0, learned, loss_with(learned))
    theirs = DPOptimizer(
        torch.optim.SGD(learned, lr=0.0), noise_multiplier=0.0, max_grad_norm=CLIP, expected_batch_size=len(values)
    )
    given = torch.tensor(values, dtype=torch.float32)
    for weight, used in zip(learned, (1.0, 1.0, 0.0), strict=True):
        weight.grad_sample = used * given.reshape(-1, *[1] * weight.ndim) * torch.ones_like(weight)
    theirs.step()
    for mine, weight in zip(ours, learned, strict=True):
        assert weight.grad is not None
        assert torch.allclose(mine, weight.grad, atol=1e-6)


def test_the_noise_has_the_scale_that_was_accounted_for_and_reaches_every_weight() -> None:
    learned = [nn.Parameter(torch.zeros(40_000)), nn.Parameter(torch.zeros(()))]
    steps = steps_of(np.zeros(PEOPLE), noise=1.7, rate=0.5)
    steps.private.people.values[:] = 0  # type: ignore[attr-defined]
    found = steps.gradients(3, learned, lambda batch, seed: batch.time_s[0] * learned[0].sum())
    expected = 1.7 * CLIP / (0.5 * PEOPLE)
    assert float(found[0].std()) == pytest.approx(expected, rel=0.02)
    assert abs(float(found[0].mean())) < 4 * expected / 200
    assert float(found[1]) != 0.0
    # Another step, other noise; the same step, the same.
    again = steps.gradients(3, learned, lambda batch, seed: batch.time_s[0] * learned[0].sum())
    other = steps.gradients(4, learned, lambda batch, seed: batch.time_s[0] * learned[0].sum())
    assert torch.equal(found[0], again[0])
    assert abs(float(torch.corrcoef(torch.stack([found[0], other[0]]))[0, 1])) < 0.03


def test_a_step_that_draws_nobody_is_noise_all_the_same() -> None:
    learned = weights()
    steps = steps_of(np.full(PEOPLE, 9.0), noise=1.0, rate=1e-9)
    assert steps.drawn(0) == []
    assert float(flat(steps.gradients(0, learned, loss_with(learned))).norm()) > 0


def test_people_are_drawn_by_coins_of_their_own() -> None:
    steps = steps_of(np.zeros(40), rate=0.15)
    drawn = np.zeros((3000, 40), dtype=bool)
    for step in range(3000):
        drawn[step, steps.drawn(step)] = True
    spread = math.sqrt(0.15 * 0.85 / 3000)
    assert np.abs(drawn.mean(0) - 0.15).max() < 4.5 * spread
    # As many as a binomial has, none among them; and nobody follows another.
    counts = drawn.sum(1)
    assert counts.var() == pytest.approx(40 * 0.15 * 0.85, rel=0.1)
    assert counts.min() <= 1
    assert np.abs(np.corrcoef(drawn.T) - np.eye(40)).max() < 0.1


def test_what_is_drawn_of_a_person_does_not_hang_on_who_else_is_there() -> None:
    """The same windows and the same seed, though others have other windows and other losses."""
    told: list[list[tuple[int, int]]] = []
    for values in (np.zeros(PEOPLE), np.array([5.0, np.nan, 0.0, 1.0, 1.0, 1.0])):
        seen: list[tuple[int, int]] = []

        def loss(batch: Batch, seed: int, seen: list = seen) -> Tensor:
            seen.append((int(batch.subject[0]), seed))
            return torch.zeros(())

        steps_of(values).summed(7, weights(), loss)
        told.append(seen)
    assert told[0] == told[1]
    assert len({seed for _, seed in told[0]}) == PEOPLE


def test_the_secret_is_standard_normal_and_hangs_on_all_of_its_bytes() -> None:
    drawn = Secret(bytes(KEY_BYTES)).normal("noise", 0, count=200_000)
    assert drawn.mean() == pytest.approx(0, abs=0.01)
    assert drawn.std() == pytest.approx(1, abs=0.01)
    assert (np.abs(drawn) > 1.959964).mean() == pytest.approx(0.05, abs=0.002)
    assert (np.abs(drawn) > 3.290527).mean() == pytest.approx(0.001, abs=0.0003)
    for byte in (0, 15, KEY_BYTES - 1):
        key = bytearray(KEY_BYTES)
        key[byte] = 1
        other = Secret(bytes(key))
        assert abs(np.corrcoef(drawn, other.normal("noise", 0, count=200_000))[0, 1]) < 0.01
        assert other.fingerprint != Secret(bytes(KEY_BYTES)).fingerprint
    assert len(Secret(bytes(KEY_BYTES)).normal("noise", 0, count=3)) == 3


def test_a_secret_is_new_each_time_for_its_owner_alone_and_can_be_forgotten(tmp_path: Path) -> None:
    one = fresh(tmp_path)
    assert kept(tmp_path).fingerprint == one.fingerprint
    assert fresh(tmp_path).fingerprint != one.fingerprint
    assert [stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()] == [0o600]
    forget(tmp_path)
    assert not list(tmp_path.iterdir())
    forget(tmp_path)
    with pytest.raises(CheckpointError, match="secret") as caught:
        kept(tmp_path)
    assert caught.value.fix


def test_nothing_tells_how_many_windows_came() -> None:
    turns = Turns(steps_of(np.zeros(PEOPLE), rate=0.5).private)
    assert [len(one) for one, _ in zip(turns, range(3), strict=False)] == [3 * 4] * 3


def test_noise_without_a_clip_is_refused() -> None:
    with pytest.raises(ConfigError, match="bounded") as caught:
        steps_of(np.zeros(2), noise=1.0, clip=None)
    assert "clip=1.0" in str(caught.value.fix)


def test_parts_that_would_let_people_past_the_noise_are_refused() -> None:
    plain = nn.Linear(2, 2)
    refuse_unfit(plain, InfoNce(exclude_within_s=60.0))
    refuse_unfit(plain, NearInTime(negatives="all"))
    for model, loss, said in (
        (nn.Sequential(plain, nn.BatchNorm1d(2)), InfoNce(), "Batch normalisation"),
        (plain, NearInTime(negatives="others"), "other people"),
        (plain, InfoNce(exclude_within_s=math.inf), "No two windows"),
    ):
        with pytest.raises(ConfigError, match=said) as caught:
            refuse_unfit(model, loss)
        assert caught.value.fix


def test_a_buffer_that_a_step_writes_to_is_noticed() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.zeros(2))
            self.register_buffer("scratch", torch.zeros(2), persistent=False)

    part = Counting()
    watch = BuffersStay(part)
    part.scratch.add_(1)
    watch.check()
    part.mean.add_(1)
    with pytest.raises(ConfigError, match="without a gradient") as caught:
        watch.check()
    assert "mean" in str(caught.value.where)

"""Pretraining where every person's part is bounded and under noise: differential privacy of people, not of windows.

A contrast couples the windows of a batch, so windows have no gradients of their own; people have. At each step some
people are drawn, each by a coin of their own; the loss of each is that of their own windows alone; its gradient over
all weights is cut to a length; the sum gets Gaussian noise. Source: Abadi et al. 2016, algorithm 1; McMahan et al. 2018
for people instead of examples.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ConfigError
from hdt_fm.training.private_account import Budget
from hdt_fm.training.private_secret import Secret, forget, fresh, kept


@runtime_checkable
class PeopleWindows(Protocol):
    """Training people as a map: by number, their windows. A unit is whoever must not part, such as a household."""

    identity: str

    def __len__(self) -> int: ...

    def batch(self, number: int, most: int, generator: np.random.Generator) -> Batch:
        """At most so many windows of one unit, drawn without repeats; of one cohort."""
        ...


@dataclass(frozen=True)
class Private:
    """What a private run promises and how.

    Attributes:
        clip: Longest gradient of a person; None, for comparisons without noise, does not cut.
        windows: Of a person at a step, at most.
    """

    people: PeopleWindows
    budget: Budget
    clip: float | None
    windows: int

    @property
    def settings(self) -> dict[str, Any]:
        """What a resumed run must match, as plain data."""
        return {**asdict(self.budget), "clip": self.clip, "windows": self.windows, "people": self.people.identity}


class PrivateSteps:
    """The gradients of private steps. What a person adds depends on that person and the secret, on nobody else.

    Args:
        secret: None where no step is left to take.

    Raises:
        ConfigError: If there is noise, but nothing that bounds a person's part.
    """

    def __init__(self, private: Private, secret: Secret | None) -> None:
        if private.budget.noise > 0 and private.clip is None:
            raise ConfigError(
                "Noise hides nobody whose part is not bounded",
                where="training.private.clip",
                expected="a length above 0",
                got="null",
                fix="training.private.clip=1.0",
            )
        self.private, self._secret = private, secret

    @property
    def secret(self) -> Secret:
        """Where all draws come from."""
        assert self._secret is not None, "the run is done and its secret deleted"
        return self._secret

    def drawn(self, step: int) -> list[int]:
        """Who is in a step: each by a coin of their own, so it may be nobody."""
        coins = self.secret.uniform("coins", step, count=len(self.private.people))
        return np.flatnonzero(coins < self.private.budget.rate).tolist()

    def gradients(
        self, step: int, learned: Sequence[nn.Parameter], loss_of: Callable[[Batch, int], Tensor]
    ) -> list[Tensor]:
        """One for each of `learned`, noise and all.

        Args:
            loss_of: Loss of one person's windows; its second argument is the seed of all that is drawn on the way.

        Numerics: lengths, sum and noise in float64, so that rounding lengthens nobody's part.
        """
        total = self.summed(step, learned, loss_of)
        if self.private.budget.noise > 0:
            assert self.private.clip is not None
            drawn = self.secret.normal("noise", step, count=len(total))
            total = total + torch.from_numpy(drawn * (self.private.budget.noise * self.private.clip)).to(total.device)
        # By how many are expected, not by how many came: that is not told.
        mean = total / (self.private.budget.rate * len(self.private.people))
        parts = mean.split([weight.numel() for weight in learned])
        return [part.view_as(weight).to(weight.dtype) for part, weight in zip(parts, learned, strict=True)]

    def summed(
        self, step: int, learned: Sequence[nn.Parameter], loss_of: Callable[[Batch, int], Tensor]
    ) -> Float[Tensor, " weight"]:
        """The sum of what people add, before noise, all weights in a row; no longer than the clip for each of them."""
        size = sum(weight.numel() for weight in learned)
        total = torch.zeros(size, dtype=torch.float64, device=learned[0].device)
        for number in self.drawn(step):
            words = self.secret.words("person", step, number, count=5)
            windows = np.random.default_rng(words[:4].tolist())
            batch = self.private.people.batch(number, self.private.windows, windows)
            loss = loss_of(batch, int(words[4] >> np.uint64(2)))
            if loss.requires_grad:
                total += self._cut(_in_a_row(torch.autograd.grad(loss, learned, allow_unused=True), learned))
        return total

    def _cut(self, part: Float[Tensor, " weight"]) -> Float[Tensor, " weight"]:
        length = part.norm()
        # Who breaks the sum adds nothing: an error would tell that this person is there.
        if not bool(torch.isfinite(length)):
            return torch.zeros_like(part)
        return part if self.private.clip is None else part * (self.private.clip / length.clamp(min=self.private.clip))


def _in_a_row(found: Sequence[Tensor | None], learned: Sequence[nn.Parameter]) -> Float[Tensor, " weight"]:
    pairs = zip(found, learned, strict=True)
    flat = [weight.new_zeros(weight.numel()) if part is None else part.reshape(-1) for part, weight in pairs]
    return torch.cat(flat).double()


class Nominal:
    """Stands for a batch where nobody may learn how many windows there were."""

    def __init__(self, windows: int) -> None:
        self.windows = windows

    def __len__(self) -> int:
        return self.windows


class Turns:
    """What the loop of steps walks over: windows are chosen inside the step, by the secret."""

    def __init__(self, private: Private) -> None:
        self.windows = round(private.budget.rate * len(private.people)) * private.windows

    def __iter__(self) -> Iterator[Nominal]:
        while True:
            yield Nominal(self.windows)


class Steps(Callback):
    """Tells progress by the step alone."""

    def __init__(self, progress: Callable[[int, int, str], None], steps: int) -> None:
        self.progress, self.steps = progress, steps

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *rest: Any) -> None:
        self.progress(trainer.global_step, self.steps, "")


def private_steps(private: Private, folder: Path, resumed_from: int | None, *, steps: int) -> PrivateSteps:
    """With a new secret, or that of the run that goes on; with none where nothing is left to do.

    Raises:
        CheckpointError: If the secret of a run that is not done is gone.
        ConfigError: As `PrivateSteps`.
    """
    if resumed_from is not None and resumed_from >= steps:
        forget(folder)
        return PrivateSteps(private, None)
    return PrivateSteps(private, fresh(folder) if resumed_from is None else kept(folder))

"""One more domain for a head: its members go on learning, with what holds them to what they knew."""

import copy
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.protocols import HeadInput
from hdt_fm.training.heads import seeded
from hdt_fm.training.members import HasMembers
from hdt_fm.training.updating.adapters import adapted
from hdt_fm.training.updating.anchors import Anchor
from hdt_fm.training.updating.memory import Drawn, Memory
from hdt_fm.training.updating.rows import Taught, read

# Rows of people apart, and of earlier domains, by which the best state is found.
JUDGED = 2048
JUDGEMENTS = 20
# Rows drawn of earlier domains once for an update; batches are taken of these.
DRAWN = 20_000


@dataclass(frozen=True, kw_only=True)
class UpdateSettings:
    """How a head learns one more domain.

    Attributes:
        trains: All weights of a member, its last layer, or low-rank adapters beside them (of `rank`).
        anchor: How strongly weights that mattered stay where they were (elastic weight consolidation).
        distil: How strongly answers on new rows stay what they were (learning without forgetting).
        batch_size: Of the new domain, and as many of each earlier one that is rehearsed.
    """

    trains: Literal["all", "last", "adapter"] = "all"
    rank: int = 8
    anchor: float = 0.0
    distil: float = 0.0
    steps: int = 400
    batch_size: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3


@runtime_checkable
class Distils(Protocol):
    """A head whose answers are not compared as numbers when they are to stay what they were."""

    def moved_from(self, output: Tensor, before: Tensor) -> Tensor:
        """How far one member's answers are from what it said before; 0 slope where they are equal."""
        ...


def learn_domain(
    head: HasMembers,
    new: Taught,
    settings: UpdateSettings,
    *,
    memory: Memory | None = None,
    anchors: Sequence[Anchor] = (),
    seed: int = 0,
) -> None:
    """Train each member in place on a new domain, and on rows drawn of earlier ones, domains alike.

    Each member keeps another fifth of the new people apart, by whole groups, and stays as it was when it did best on
    them and on rows drawn of each earlier domain. A head without earlier domains learns its first one. Scales stay as
    they are: those of the first domain, so that what a feature means does not move under what was learned before.

    Args:
        memory: Of earlier domains; None rehearses nothing.
        anchors: One for each member, where `settings.anchor` is above 0.

    Raises:
        ConfigError: If the new domain has fewer than two people who share no group.
    """
    groups = np.unique(new.groups)
    if len(groups) < 2:
        raise ConfigError(
            "A domain of one person teaches nothing about others",
            expected="two people or more, who share no group",
            got=f"{len(groups)} of {len(np.unique(new.person))}",
            fix="follow one person with their own twin: hdt-fm twin update",
        )
    order = np.random.default_rng([seed, 1]).permutation(groups)
    fifth = max(1, len(order) // 5)
    for number, member in enumerate(head.members):
        apart = np.isin(new.groups, np.roll(order, -number * fifth)[:fifth])
        with seeded(seed * 1000 + number):
            anchor = anchors[number] if settings.anchor else None
            lesson = _Lesson(head, member, new, apart, settings, memory, anchor, np.random.default_rng([seed, number]))
            with adapted(member, settings.rank) if settings.trains == "adapter" else nullcontext():
                lesson.learn()
    assert isinstance(head, nn.Module)
    head.eval()


class _Lesson:
    """One member's update."""

    def __init__(
        self,
        head: HasMembers,
        member: nn.Module,
        new: Taught,
        apart: np.ndarray,
        settings: UpdateSettings,
        memory: Memory | None,
        anchor: Anchor | None,
        draws: np.random.Generator,
    ) -> None:
        self.head, self.member, self.settings, self.anchor, self.draws = head, member, settings, anchor, draws
        self.layout, self.earlier = new.layout, len(memory.domains) if memory else 0
        self.before = copy.deepcopy(member).eval().requires_grad_(False)
        self.new = _tensors((new.inputs[~apart], new.target[~apart]))
        judge = draws.permutation(np.flatnonzero(apart))[:JUDGED]
        self.judged = [_tensors((new.inputs[judge], new.target[judge]))]
        if memory and self.earlier:
            self.old = _tensors(memory.draw(DRAWN, draws))
            self.judged.append(_tensors(memory.draw(JUDGED, draws)))

    def learn(self) -> None:
        """Steps, and the best state at the end."""
        settings, member = self.settings, self.member
        learned = [
            one
            for name, one in member.named_parameters()
            if one.requires_grad and (settings.trains != "last" or ".leave." in f".{name}")
        ]
        optimiser = torch.optim.AdamW(learned, lr=settings.learning_rate, weight_decay=settings.weight_decay)
        rise = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.learning_rate, total_steps=settings.steps)
        best, kept = self._judgement(), copy.deepcopy(member.state_dict())
        for step in range(settings.steps):
            member.train()
            optimiser.zero_grad()
            self._loss(self._batch()).backward()
            optimiser.step()
            rise.step()
            if (step + 1) % max(1, settings.steps // JUDGEMENTS) == 0:
                found = self._judgement()
                if found < best:
                    best, kept = found, copy.deepcopy(member.state_dict())
        member.load_state_dict(kept)
        member.eval()

    def _batch(self) -> tuple[Tensor, Tensor]:
        parts = [_some(self.new, self.settings.batch_size, self.draws)]
        if self.earlier:
            parts.append(_some(self.old, self.settings.batch_size * self.earlier, self.draws))
        return torch.cat([inputs for inputs, _ in parts]), torch.cat([target for _, target in parts])

    def _loss(self, rows: tuple[Tensor, Tensor]) -> Tensor:
        given = read(self.layout, rows[0])
        said = self.member(given)
        return self.head.member_loss(said, rows[1]) + self._held(said, given)

    def _held(self, said: Tensor, given: HeadInput) -> Tensor:
        """What moving away from what was known costs."""
        cost = torch.zeros(())
        if self.anchor is not None:
            cost = cost + self.settings.anchor * self.anchor.penalty(self.member)
        if self.settings.distil:
            was = self.before(given)
            moved = self.head.moved_from(said, was) if isinstance(self.head, Distils) else (said - was).square().mean()
            cost = cost + self.settings.distil * moved
        return cost

    @torch.no_grad()
    def _judgement(self) -> float:
        """On people apart and on each earlier domain, alike."""
        self.member.eval()
        found = self._loss(self.judged[0])
        for inputs, target in self.judged[1:]:
            found = found + self.earlier * self.head.member_loss(self.member(read(self.layout, inputs)), target)
        return float(found)


def _tensors(rows: Drawn) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(rows[0]), torch.from_numpy(rows[1])


def _some(rows: tuple[Tensor, Tensor], count: int, draws: np.random.Generator) -> tuple[Tensor, Tensor]:
    index = torch.from_numpy(draws.integers(len(rows[0]), size=count))
    return rows[0][index], rows[1][index]

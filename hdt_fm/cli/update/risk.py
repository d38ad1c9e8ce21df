"""How a head of risks goes on learning: whether events came, by their average precision at the middle horizon.

Events that only teach are taught on where the head learned all that are known of the signal, else left out.
"""

from collections.abc import Mapping
from itertools import product
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from hdt_fm.checkpoint import Model
from hdt_fm.cli.compose import Config
from hdt_fm.cli.finetune_risk import TEACHING
from hdt_fm.cli.series import with_own_events
from hdt_fm.cli.update.people import People
from hdt_fm.cli.update.score import Judged, Score
from hdt_fm.cli.update.series import told_here
from hdt_fm.data.shards import ShardFolder
from hdt_fm.evaluation.backtest.probability_calibration import fitted
from hdt_fm.layers.moment import learn_unseen_scale
from hdt_fm.metrics.classification import average_precision
from hdt_fm.metrics.events import Event
from hdt_fm.schema.protocols import HeadInput
from hdt_fm.schema.series import ForecastTask
from hdt_fm.schema.shard import LabelColumn
from hdt_fm.signal.within import happened_within
from hdt_fm.training.heads import take
from hdt_fm.training.members import HasMembers, answers
from hdt_fm.training.updating.memory import Memory
from hdt_fm.training.updating.rows import Taught, laid_out, read

# Rows that are drawn of each earlier domain to set lines and weights by.
DRAWN = 20_000
MOST_FORGOTTEN = 0.02
# As `hdt_fm.heads.event_risk` has it.
LEAST_RATE = 1e-3


class Way:
    """A `Teaching` of heads of the kind `event_risk`."""

    refuses: Mapping[str, str] = MappingProxyType({})
    apart = 0.2

    def __init__(self, _: Config, model: Model, name: str, __: LabelColumn | None) -> None:
        self.model, self.head = model, model.heads[name]
        self.task = ForecastTask.of(self._any.asked)
        self.middle = len(self.task.horizons_s) // 2
        self.events = [Event(**one) for one in self._any.described]
        within = f"average precision within {self.task.horizons_s[self.middle] / 60:g} min"
        self.score = Score(within, "", higher=True, most_forgotten=MOST_FORGOTTEN)

    @property
    def _any(self) -> Any:
        return self.head

    @property
    def _shape(self) -> tuple[int, int]:
        """Horizons, and events with those that only teach."""
        network = self._any.members[0].network
        return network.horizons, network.events

    def label(self, _: ShardFolder) -> LabelColumn | None:
        """None: the head says what it is told."""
        return None

    def people(self, folder: ShardFolder, beside: str | None) -> People:
        """As the head was taught to be told, and each person's own events."""
        series, moments, inputs = told_here(self.model, self.task, folder, beside)
        inputs = with_own_events(inputs, moments, series, self.events)
        more = TEACHING.get(self.task.modality, ())
        happened = np.full((len(moments), *self._shape), np.nan)
        asked = [*self.events, *(more if len(self.events) + len(more) == self._shape[1] else ())]
        happened[..., : len(asked)] = happened_within(moments, series, [event.of for event in asked])
        known = np.isfinite(happened[..., : len(self.events)]).any(axis=(1, 2))
        names = np.array([row.subject for row in folder.manifest.subjects])[moments.subject]
        return People(folder, inputs, happened.reshape(len(moments), -1), known, names, moments.group, series)

    def taught(self, here: People, rows: NDArray[np.int64]) -> Taught:
        """Yes or no for each horizon and event."""
        some = take(here.inputs, torch.from_numpy(rows))
        learn_unseen_scale(self._any, some)
        with torch.no_grad():
            scaled = self._any.scaled(some)
        return laid_out(scaled, here.came[rows], here.name[rows], here.group[rows], target="event")

    def lesson(self, rows: Taught, memory: Memory | None) -> HasMembers:
        """The head, its losses weighed by how often events come in the new domain and in earlier ones, alike."""
        draws, rates = np.random.default_rng(0), [_rates(rows.target)]
        for name in memory.domains if memory else ():
            rates.append(_rates(memory.draw(DRAWN, draws, domain=name)[1]))  # type: ignore[union-attr]
        rate = np.clip(_mean(np.stack(rates)), LEAST_RATE, 1 - LEAST_RATE)
        doubt = -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))
        self._any.weight.copy_(torch.from_numpy(1 / doubt).reshape(self._shape))
        return _Lesson(self._any)

    def answers(self, here: People, rows: NDArray[np.int64]) -> NDArray[np.floating]:
        """Log-odds of the events that are answered."""
        return answers(self.head, take(here.inputs, torch.from_numpy(rows))).double().numpy()

    @torch.no_grad()
    def said(self, inputs: HeadInput) -> NDArray[np.floating]:
        """The same of rows that are scaled already."""
        said = torch.stack([member(inputs) for member in self._any.members]).mean(0)
        return said[..., : len(self.events)].double().numpy()

    def came(self, target: NDArray[np.floating]) -> NDArray[np.floating]:
        """Yes or no; NaN where it is not known."""
        return target.astype(np.float64)

    def judge(self, said: NDArray[np.floating], came: NDArray[np.floating], person: np.ndarray) -> Judged:
        """Average precision of each event, and their mean; of the chances after the head's own lines, how far off."""
        truth = came.reshape(len(came), *self._shape)[:, self.middle]
        with torch.no_grad():
            lines = torch.sigmoid(self._any.calibrated(torch.from_numpy(said).float())).numpy()[:, self.middle]
        each = [self._precision(said[person == one], truth[person == one]) for one in np.unique(person)]
        off = np.nanmean((lines - truth[:, : len(self.events)]) ** 2)
        return Judged(self._precision(said, truth), np.array(each), {"Brier score": float(off)})

    def _precision(self, said: NDArray[np.floating], truth: NDArray[np.floating]) -> float:
        """NaN where none of the events came."""
        found = []
        for event in range(len(self.events)):
            known = np.isfinite(truth[:, event])
            found.append(average_precision(said[known, self.middle, event], truth[known, event]))
        return float(np.mean([one for one in found if np.isfinite(one)] or [np.nan]))

    def calibrate(
        self, here: People, apart: set[str], rows: Taught, memory: Memory | None, seed: int, *, alone: bool
    ) -> None:
        """A line through log-odds for each horizon and event, by people apart and rows of earlier domains, alike.

        Without rows of earlier domains nobody speaks for them: the lines stay.
        """
        if not alone and not (memory and memory.domains):
            return
        own, head = here.rows(apart), self._any
        said, came = [self.answers(here, own)], [here.came[own]]
        person, many = [np.unique(here.name[own], return_inverse=True)[1]], max(1, len(apart))
        for number, name in enumerate(memory.domains if memory else ()):
            inputs, target = memory.draw(DRAWN, np.random.default_rng([seed, 12, number]), domain=name)  # type: ignore[union-attr]
            said.append(self.said(read(rows.layout, torch.from_numpy(inputs))))
            came.append(self.came(target))
            # As many shares as there are people apart, so that domains weigh alike.
            person.append(np.arange(DRAWN) % many + many * (number + 1))
        odds, truth, who = np.concatenate(said), np.concatenate(came), np.concatenate(person)
        truth = truth.reshape(len(truth), *self._shape)
        for column, event in product(range(odds.shape[1]), range(odds.shape[2])):
            known = np.isfinite(truth[:, column, event])
            chance = 1 / (1 + np.exp(-odds[known, column, event]))
            move = fitted(chance, truth[known, column, event] == 1, who[known])
            # Where even odds and odds of e to one go says which line it is.
            start, one = np.log(1 / (1 / move(np.array([0.5, 1 / (1 + np.exp(-1.0))])) - 1))
            head.slope[column, event], head.start[column, event] = float(one - start), float(start)


class _Lesson(nn.Module):
    """A head of risks whose targets lie side by side."""

    def __init__(self, head: Any) -> None:
        super().__init__()
        self.head, self.members = head, head.members

    def member_loss(self, output: Tensor, target: Tensor) -> Tensor:
        """As the head has it."""
        found: Tensor = self.head.member_loss(output, target.unflatten(1, output.shape[1:]))
        return found

    def moved_from(self, output: Tensor, before: Tensor) -> Tensor:
        """Divergence of chances, weighed as the head's loss is."""
        chance = torch.sigmoid(before)
        each = F.binary_cross_entropy_with_logits(output, chance, reduction="none")
        least = F.binary_cross_entropy_with_logits(before, chance, reduction="none")
        return ((each - least) * self.head.weight).mean()


def _rates(target: NDArray[np.floating]) -> NDArray[np.float64]:
    """How often each came; NaN where nothing is known."""
    known = np.isfinite(target)
    many = known.sum(axis=0)
    return np.where(many > 0, np.where(known, target, 0.0).sum(axis=0) / np.maximum(many, 1), np.nan)


def _mean(rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Over domains; one half of what none of them knows, which teaches nothing anyhow."""
    known = np.isfinite(rates)
    many = known.sum(axis=0)
    return np.where(many > 0, np.where(known, rates, 0.0).sum(axis=0) / np.maximum(many, 1), 0.5)

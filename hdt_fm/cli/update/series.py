"""How a head that forecasts a series goes on learning: changes ahead in its spreads, RMSE at the middle horizon."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hdt_fm.checkpoint import Model
from hdt_fm.cli.compose import Config
from hdt_fm.cli.series import COVERAGE, told, usual
from hdt_fm.cli.series_teaching import given_beside
from hdt_fm.cli.update.people import People
from hdt_fm.cli.update.score import Judged, Score
from hdt_fm.data.series import series_of
from hdt_fm.data.shards import ShardFolder
from hdt_fm.metrics.conformal import scores_of, split_shift
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.protocols import HeadInput
from hdt_fm.schema.series import ForecastTask, Series
from hdt_fm.schema.shard import LabelColumn
from hdt_fm.signal.moments import Moments
from hdt_fm.training.forecasts import ask
from hdt_fm.training.heads import take
from hdt_fm.training.members import HasMembers
from hdt_fm.training.updating.memory import Memory
from hdt_fm.training.updating.rows import Taught, read, taught

# Rows that are drawn of each earlier domain to set intervals by.
DRAWN = 20_000
# As `hdt_fm.heads.series_forecast` has it: a hidden feature that hardly moves is not blown up.
LEAST_SCALE = 1e-3
# In mg/dL: the goal of the streams in hdt_fm/evaluation/evolve; other signals name their own bound.
MOST_FORGOTTEN = 1.5


class Way:
    """A `Teaching` of heads of the kind `series_forecast`."""

    refuses: Mapping[str, str] = MappingProxyType({})
    apart = 0.2

    def __init__(self, _: Config, model: Model, name: str, __: LabelColumn | None) -> None:
        self.model, self.head = model, model.heads[name]
        self.task = ForecastTask.of(self._any.asked)
        self.middle = len(self.task.horizons_s) // 2
        ahead = f"RMSE in {self.task.horizons_s[self.middle] / 60:g} min"
        self.score = Score(ahead, self.task.unit, higher=False, most_forgotten=MOST_FORGOTTEN)

    @property
    def _any(self) -> Any:
        return self.head

    def label(self, _: ShardFolder) -> LabelColumn | None:
        """None: the head says what it is told."""
        return None

    def people(self, folder: ShardFolder, beside: str | None) -> People:
        """As the head was taught to be told; a treatment that nobody recorded here is unknown."""
        series, moments, inputs = told_here(self.model, self.task, folder, beside)
        change = moments.target - moments.last[:, None]
        names = np.array([row.subject for row in folder.manifest.subjects])[moments.subject]
        return People(folder, inputs, change, np.isfinite(change).all(axis=1), names, moments.group, series)

    def taught(self, here: People, rows: NDArray[np.int64]) -> Taught:
        """Changes in spreads."""
        some = take(here.inputs, torch.from_numpy(rows))
        return taught(self._any, some, here.came[rows], here.name[rows], here.group[rows])

    def lesson(self, _: Taught, __: Memory | None) -> HasMembers:
        """The head itself."""
        return self._any

    def answers(self, here: People, rows: NDArray[np.int64]) -> NDArray[np.floating]:
        """The mean and quantiles of the change ahead."""
        some = take(here.inputs, torch.from_numpy(rows))
        assert some.recent is not None
        return ask(self.head, some) - some.recent[:, -1].numpy()[:, None, None]

    @torch.no_grad()
    def said(self, inputs: HeadInput) -> NDArray[np.floating]:
        """The same of rows that are scaled already."""
        said = torch.stack([member(inputs) for member in self._any.members]).mean(0)
        return said.numpy().astype(np.float64) * float(self._any.spread)

    def came(self, target: NDArray[np.floating]) -> NDArray[np.floating]:
        """Changes in the unit of the series."""
        return target.astype(np.float64) * float(self._any.spread)

    def judge(self, said: NDArray[np.floating], came: NDArray[np.floating], person: np.ndarray) -> Judged:
        """RMSE of each person, and their mean."""
        missed = said[:, self.middle, 0] - came[:, self.middle]
        each = np.array([np.sqrt(np.nanmean(missed[person == one] ** 2)) for one in np.unique(person)])
        return Judged(float(each.mean()), each)

    def calibrate(
        self, here: People, apart: set[str], rows: Taught, memory: Memory | None, seed: int, *, alone: bool
    ) -> None:
        """Intervals hold for people apart and for rows drawn of earlier domains, alike; habits are those of all.

        Without rows of earlier domains nobody speaks for them: an interval then gets no narrower than it was.
        """
        head, own = self._any, here.rows(apart)
        said, truth = ([self.answers(here, own)], [here.came[own]]) if len(own) else ([], [])
        person = [np.unique(here.name[own], return_inverse=True)[1]] if len(own) else []
        many = max(1, len(apart))
        for number, name in enumerate(memory.domains if memory else ()):
            inputs, target = memory.draw(DRAWN, np.random.default_rng([seed, 12, number]), domain=name)  # type: ignore[union-attr]
            said.append(self.said(read(rows.layout, torch.from_numpy(inputs))))
            truth.append(self.came(target))
            # As many shares as there are people apart, so that domains weigh alike.
            person.append(np.arange(DRAWN) % many + many * (number + 1))
        if said:
            widest = None if alone or (memory and memory.domains) else head.shift.clone()
            _set_intervals(head, np.concatenate(said), np.concatenate(truth), np.concatenate(person), widest)
        self._scale_hidden(rows, memory, seed)
        groups = sorted({int(one) for one in here.group[np.isin(here.name, np.unique(rows.person))]})
        both = np.stack([head.usual.numpy(), usual(here.series, groups)])
        head.usual.copy_(torch.from_numpy(np.stack([both[..., 0].min(axis=0), both[..., 1].max(axis=0)], axis=1)))

    @torch.no_grad()
    def _scale_hidden(self, rows: Taught, memory: Memory | None, seed: int) -> None:
        """What a person's own layer reads is scaled anew, by rows of the new domain and of earlier ones, alike."""
        head, draws = self._any, np.random.default_rng([seed, 13])
        parts = [rows.inputs[draws.integers(len(rows), size=DRAWN)]]
        parts += [memory.draw(DRAWN, draws, domain=name)[0] for name in (memory.domains if memory else ())]  # type: ignore[union-attr]
        inputs = read(rows.layout, torch.from_numpy(np.concatenate(parts)))
        found = torch.cat([member.hidden(inputs) for member in head.members], dim=-1).double()
        head.hidden_center.copy_(found.mean(0))
        head.hidden_scale.copy_(found.std(0) + LEAST_SCALE)


def told_here(
    model: Model, task: ForecastTask, folder: ShardFolder, beside: str | None
) -> tuple[list[Series], Moments, HeadInput]:
    """Series of a folder, their origins, and what a head of the signal is told at them.

    Raises:
        ConfigError: If the shards have another step, or hold no such signal.
    """
    if task.modality not in folder.modalities:
        raise ConfigError(
            "The new shards do not hold what the head forecasts",
            where="shards",
            expected=task.modality,
            got=", ".join(folder.modalities),
        )
    series, given = series_of(folder, task.modality), given_beside(folder, beside)
    steps = {one.step_s for one in series}
    if steps != {task.step_s}:
        raise ConfigError(
            "The new shards have another step than the head was taught with",
            where="shards",
            expected=f"{task.step_s:g} s",
            got=", ".join(f"{one:g} s" for one in sorted(steps)),
            fix="shard them with the preparation of the first cohort: preparation=NAME",
        )
    known = {name: given[name] for name in task.treatments if name in given}
    return series, *told(model, series, task, given=known)


def _set_intervals(
    head: Any,
    said: NDArray[np.floating],
    came: NDArray[np.floating],
    person: NDArray[np.int64],
    widest: torch.Tensor | None,
) -> None:
    """By how much both ends move at each horizon, at least `widest`; and how far scores lie from each other."""
    for column in range(said.shape[1]):
        low, high = said[:, column, 1], said[:, column, -1]
        known = np.isfinite(came[:, column])
        shift = split_shift(low, high, came[:, column], person, COVERAGE)
        head.shift[column] = shift if widest is None else max(shift, float(widest[column]))
        head.score_spread[column] = float(np.std(scores_of(low, high, came[:, column])[known]))

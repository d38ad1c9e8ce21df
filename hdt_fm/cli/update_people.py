"""People of one domain as a head is told of them, for `hdt-fm update`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hdt_fm.checkpoint import Model
from hdt_fm.cli.compose import Config
from hdt_fm.cli.series import told
from hdt_fm.cli.series_teaching import given_beside, people_asked
from hdt_fm.cli.workflow import people_of
from hdt_fm.data.series import series_of
from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.errors import ConfigError, SplitError
from hdt_fm.schema.protocols import HeadInput
from hdt_fm.schema.series import ForecastTask, Series
from hdt_fm.signal.moments import Moments
from hdt_fm.training.forecasts import ask
from hdt_fm.training.heads import take
from hdt_fm.training.updating.rows import Taught, taught


@dataclass(frozen=True)
class People:
    """A domain's origins and what a head is told at them."""

    folder: ShardFolder
    series: list[Series]
    moments: Moments
    inputs: HeadInput
    name: np.ndarray

    @classmethod
    def of(cls, model: Model, head: Any, folder: ShardFolder, treatments: str | None) -> "People":
        """As the head was taught to be told; a treatment that nobody recorded here is unknown.

        Raises:
            ConfigError: If the shards have another step, or hold no such signal.
        """
        task = ForecastTask.of(head.asked)
        if task.modality not in folder.modalities:
            raise ConfigError(
                "The new shards do not hold what the head forecasts",
                where="shards",
                expected=task.modality,
                got=", ".join(folder.modalities),
            )
        series, given = series_of(folder, task.modality), given_beside(folder, treatments)
        steps = {one.step_s for one in series}
        if steps != {task.step_s}:
            raise ConfigError(
                "The new shards have another step than the head was taught with",
                where="shards",
                expected=f"{task.step_s:g} s",
                got=", ".join(f"{one:g} s" for one in sorted(steps)),
                fix="shard them with the preparation of the first cohort: preparation=NAME",
            )
        moments, inputs = told(
            model, series, task, given={name: given[name] for name in task.treatments if name in given}
        )
        pseudonyms = np.array([row.subject for row in folder.manifest.subjects])
        return cls(folder, series, moments, inputs, pseudonyms[moments.subject])

    def rows(self, people: Any) -> NDArray[np.int64]:
        """Origins of some people after which all that is asked came."""
        known = np.isfinite(self.moments.target).all(axis=1)
        return np.flatnonzero(np.isin(self.name, list(people)) & known)

    def taught(self, head: Any, rows: NDArray[np.int64]) -> Taught:
        """As the head's members read them."""
        change = self.moments.target[rows] - self.moments.last[rows, None]
        return taught(head, take(self.inputs, torch.from_numpy(rows)), change, self.name[rows])

    def apart(self, people: Sequence[str], share: float, seed: int) -> set[str]:
        """Some of these people, by whole groups; nobody where there are but two groups."""
        own = np.isin(self.name, list(people))
        groups = np.unique(self.moments.group[own])
        many = max(1, round(share * len(groups))) if len(groups) > 2 else 0
        some = np.random.default_rng(seed).permutation(groups)[:many]
        return set(self.name[own & np.isin(self.moments.group, some)].tolist())

    def errors(self, head: Any, people: Any) -> NDArray[np.float64]:
        """RMSE of each person at the middle horizon; people without an origin after which all came are left out."""
        rows, middle = self.rows(people), len(self.moments.horizons_s) // 2
        missed = ask(head, take(self.inputs, torch.from_numpy(rows)))[:, middle, 0] - self.moments.target[rows, middle]
        return np.array([np.sqrt((missed[self.name[rows] == one] ** 2).mean()) for one in np.unique(self.name[rows])])


def sides(
    config: Config, here: People, never: tuple[set[str], set[str]] = (set(), set())
) -> tuple[list[str], list[str]]:
    """Pseudonyms of those who teach and of those who are asked, by whole groups.

    Those whom the encoder was kept from are asked, where the config's checkpoint says who they were; else the split.

    Args:
        never: Who must not teach, and who must not be asked.

    Raises:
        SplitError: If nobody is left on a side.
    """
    checkpoint, names = Path(config.value("checkpoint")), [row.subject for row in here.folder.manifest.subjects]
    if checkpoint.is_dir():
        rows = people_asked(config, here.folder, checkpoint)
    else:
        people = people_of(config, here.folder)
        rows = {"train": np.concatenate([people.train, people.validation]), "test": people.test}
    there = set(here.name[np.isfinite(here.moments.target).all(axis=1)].tolist())
    sides = [sorted({names[row] for row in rows[part]} & there) for part in ("train", "test")]
    # Somebody may be in two domains, such as two seasons: who was ever asked never teaches, and the other way round.
    sides = [[one for one in side if one not in others] for side, others in zip(sides, never, strict=True)]
    if len(sides[0]) < 2 or not sides[1]:
        raise SplitError(
            "Nobody is left to teach, or to be asked",
            expected="two people or more who teach, and one who is asked",
            got=f"{len(sides[0])} and {len(sides[1])}",
            fix="set split.test, or take a larger cohort",
        )
    return sides[0], sides[1]

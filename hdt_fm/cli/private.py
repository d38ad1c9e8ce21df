"""A private pretraining as the config asks for it: what may be read of people, what is promised, what is told of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from hdt_fm.cli.cohorts import NOBODY, Cohorts, People
from hdt_fm.cli.compose import Config
from hdt_fm.cli.settings import PrivateSettings, TrainingSettings
from hdt_fm.data.made_up import made_up_windows
from hdt_fm.data.people_windows import GroupWindows
from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ConfigError, LeakError
from hdt_fm.schema.modalities import STATIC
from hdt_fm.schema.usual_scale import usual_scale
from hdt_fm.training.private import Private
from hdt_fm.training.private_account import Budget, budget_of

UNIT = "a training person with all windows; people of one group count as one"
ADJACENCY = "one unit more or less among those who train"
# What no noise of the training is over. It goes into every record of a private run.
NOT_COVERED = (
    "people who watch over the training (validation) or are tested",
    "who trains: the split by person and how many people there are count as known",
    "the choice of settings, where several runs on these people were compared",
    "heads, probes, probability calibration and rehearsed rows that are taught later",
    "numbers of evaluations and audits on the training people",
    "digests of shards and input files, by which whoever holds the files can tell them",
    "times, sizes and files of the run folder that are not published (people.json, step checkpoints while it runs)",
)


@dataclass(frozen=True)
class Known:
    """What a model may know of typical windows before its weights learn.

    Attributes:
        source: Whose windows: the training people's, or privately those of public people; None of nobody.
    """

    cohorts: Cohorts
    source: Cohorts | None
    seed: int

    def statistics(self) -> dict[str, tuple[float, float]]:
        """Center and scale of each signal."""
        usual = {one.name: usual_scale(one.name) for one in self.cohorts.columns if one.name != STATIC}
        return usual if self.source is None else {**usual, **self.source.statistics(self.seed)}

    def typical(self, windows: int) -> list[Batch]:
        """So many windows of each cohort."""
        if self.source is not None:
            return self.source.typical(windows, self.seed, each=True)
        return [made_up_windows(one.header.modalities, windows, self.seed) for one in self.cohorts.folders.values()]

    def to_start(self, windows: int) -> list[Batch]:
        """So many windows of all cohorts together, for a closed form to be fitted to.

        Raises:
            ConfigError: If there is nobody: what modalities share cannot be made up.
        """
        if self.source is None:
            raise _no_start()
        return self.source.typical(windows, self.seed)


def private_settings(config: Config) -> PrivateSettings | None:
    """The config's section; None where training is not private."""
    return config.section("training", TrainingSettings).private


def known_of(config: Config, cohorts: Cohorts) -> Known:
    """Of the training people; privately of the public ones, or of nobody."""
    asked = private_settings(config)
    if asked is None:
        source: Cohorts | None = cohorts
    else:
        source = None if asked.public is None else public_cohorts(asked.public, cohorts)
    return Known(cohorts, source, int(config.value("seed")))


def private_over(config: Config, cohorts: Cohorts) -> Private | None:
    """The people and the promise of a private run; None where training is not private.

    Raises:
        ConfigError: If something else would be read of the training people, or the promise cannot be kept.
    """
    training = config.section("training", TrainingSettings)
    asked = training.private
    if asked is None:
        return None
    _refuse(config, training, asked, cohorts)
    people = GroupWindows(
        [(folder, cohorts.people[name].train) for name, folder in cohorts.folders.items()],
        modalities=tuple(column.name for column in cohorts.columns),
    )
    budget = _budget(len(people), asked.people_per_step, training.steps, asked.epsilon, asked.delta, asked.noise)
    return Private(people=people, budget=budget, clip=asked.clip, windows=asked.windows_per_person)


@lru_cache(maxsize=64)
def _budget(
    people: int, people_per_step: int, steps: int, epsilon: float | None, delta: float | None, noise: float | None
) -> Budget:
    # A search of seconds, and an audit asks it once for each reference.
    return budget_of(
        people=people,
        people_per_step=people_per_step,
        steps=steps,
        epsilon=epsilon,
        delta=delta,
        noise=noise,
    )


def promise(config: Config, private: Private, steps: int) -> dict[str, Any]:
    """What is promised after so many steps, as it stands under `private` in the provenance of a run."""
    budget, asked = private.budget, private_settings(config)
    assert asked is not None
    promises = budget.noise > 0
    return {
        "epsilon": round(budget.epsilon(steps), 4) if promises else None,
        "delta": budget.delta if promises else None,
        "unit": UNIT,
        "adjacency": ADJACENCY,
        "accountant": f"opacus {budget.accountant}",
        "noise_multiplier": round(budget.noise, 6),
        "sampling_rate": round(budget.rate, 6),
        "units": len(private.people),
        "steps": steps,
        "clip": private.clip,
        "windows_per_person": private.windows,
        "inputs": "scales and start of the public people" if asked.public else "scales from textbooks, random start",
        "not_covered": list(NOT_COVERED),
    }


def in_words(promised: Mapping[str, Any]) -> str:
    """The promise in one line."""
    if promised["epsilon"] is None:
        return "no promise: no noise was added"
    return f"epsilon {promised['epsilon']:.2f} at delta {promised['delta']:.2g} for each training person"


def public_cohorts(path: str, cohorts: Cohorts) -> Cohorts:
    """A folder of people who need no protection, such as simulated ones.

    Raises:
        LeakError: If somebody is in both.
        ConfigError: If its signals are not those of the training.
    """
    folder = ShardFolder.open(Path(path))
    here = {word for one in folder.manifest.subjects for word in (one.subject, one.group)}
    for own in cohorts.folders.values():
        shared = here & {word for one in own.manifest.subjects for word in (one.subject, one.group)}
        if shared:
            raise LeakError(
                f"{len(shared)} people or groups are public and trained on privately",
                where="training.private.public",
                expected="shards of other people",
                fix="take them out of one of the folders",
            )
    theirs = {column.name: column.channels for column in folder.header.modalities}
    lacking = [
        column.name
        for column in cohorts.columns
        if column.name != STATIC and theirs.get(column.name) != column.channels
    ]
    if lacking:
        raise ConfigError(
            "The public people lack signals of the training",
            where="training.private.public",
            expected=", ".join(f"{column.name} ({column.channels})" for column in cohorts.columns),
            got=", ".join(f"{name} ({channels})" for name, channels in theirs.items()),
            fix="shard them with the same preparation, or training.private.public=null",
        )
    return Cohorts.one(folder, People(np.arange(len(folder.manifest.subjects)), NOBODY, NOBODY))


def _no_start() -> ConfigError:
    return ConfigError(
        "A closed form is fitted to people without noise",
        where="training.start",
        expected="random, or people who need no protection in training.private.public",
        got="closed_form",
        fix="training.start=random",
    )


def _refuse(config: Config, training: TrainingSettings, asked: PrivateSettings, cohorts: Cohorts) -> None:
    if training.start == "closed_form" and asked.public is None:
        raise _no_start()
    stepped = sorted({c.name for one in cohorts.folders.values() for c in one.header.modalities if c.encoding != "f32"})
    unfit = (
        (
            bool(stepped),
            "shards",
            "float32: steps of int16 are chosen by everyone's values and stand in the checkpoint",
            f"int16 for {', '.join(stepped)}",
            "hdt-fm shard shard.encoding=f32, into another folder",
        ),
        (
            bool(config.value("covariates")),
            "covariates",
            "[]: center, scale and levels of facts are taken of the training people without noise",
            str(config.value("covariates")),
            "covariates=[]",
        ),
        (
            training.compile or training.sharded or training.piece is not None,
            "training",
            "compile=false sharded=false piece=null: a private step goes person by person, in one process",
            f"compile={training.compile} sharded={training.sharded} piece={training.piece}",
            "training.compile=false training.sharded=false training.piece=null",
        ),
        (
            training.precision != "32-true",
            "training.precision",
            "32-true: other precisions were not tried with noise",
            training.precision,
            "training.precision=32-true",
        ),
    )
    for is_so, where, expected, got, fix in unfit:
        if is_so:
            raise ConfigError(
                "Private training would let something of people past the noise",
                where=where,
                expected=expected,
                got=got,
                fix=fix,
            )

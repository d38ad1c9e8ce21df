"""People of one domain as a head is told of them, and on which side they stand, for `hdt-fm update`."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hdt_fm.cli.compose import Config
from hdt_fm.cli.series_teaching import people_asked
from hdt_fm.cli.workflow import people_of
from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.errors import ConfigError, SplitError
from hdt_fm.schema.manifest import Contract, Preprocess
from hdt_fm.schema.protocols import HeadInput
from hdt_fm.schema.series import Series


@dataclass(frozen=True)
class People:
    """A domain's moments, or windows, and what a head is told at them.

    Attributes:
        inputs: As the head itself is asked.
        came: What it is to answer, in the unit that it is judged in; NaN where unknown.
        known: Rows that can teach and be asked.
        name, group: Pseudonym, and number of those who must be on one side, of each row.
        series: Of a signal that is followed itself.
    """

    folder: ShardFolder
    inputs: HeadInput
    came: NDArray[np.floating]
    known: NDArray[np.bool_]
    name: np.ndarray
    group: NDArray[np.int64]
    series: Sequence[Series] = ()

    def rows(self, people: Collection[str]) -> NDArray[np.int64]:
        """Rows of some people of which the answer is known."""
        return np.flatnonzero(np.isin(self.name, list(people)) & self.known)

    def has(self, people: Collection[str]) -> bool:
        """Whether an answer is known of each of them."""
        return set(people) <= set(self.name[self.known].tolist())

    def apart(self, people: Collection[str], share: float, seed: int) -> set[str]:
        """Some of these people, by whole groups; nobody where there are but two groups."""
        own = np.isin(self.name, list(people))
        groups = np.unique(self.group[own])
        many = max(1, round(share * len(groups))) if share and len(groups) > 2 else 0
        some = np.random.default_rng(seed).permutation(groups)[:many]
        return set(self.name[own & np.isin(self.group, some)].tolist())

    def with_their_groups(self, people: Collection[str]) -> set[str]:
        """These people and everyone here who shares a group with one of them."""
        groups = np.unique(self.group[np.isin(self.name, list(people))])
        return set(people) | set(self.name[np.isin(self.group, groups)].tolist())


def check_cut(preprocess: Preprocess, folder: ShardFolder) -> None:
    """Whether windows are as long, and signals sampled as fast, as the encoder knows them; a signal may be missing.

    Raises:
        ConfigError: If not: the encoder would embed them without a word, and the checkpoint promise what no longer is.
    """
    contracts: list[Preprocess | Contract] = [preprocess, *preprocess.cohorts.values()]
    known: dict[str, set[float]] = {}
    for contract in contracts:
        for column in contract.modalities:
            known.setdefault(column.name, set()).add(column.sampling_rate_hz)
    windows, header = {contract.preparation.window_s for contract in contracts}, folder.header
    wrong = [] if header.window_s in windows else [("windows", windows, header.window_s, "s")]
    for column in header.modalities:
        if column.sampling_rate_hz not in known.get(column.name, {column.sampling_rate_hz}):
            wrong.append((column.name, known[column.name], column.sampling_rate_hz, "Hz"))
    if wrong:
        raise ConfigError(
            "The new shards are cut otherwise than those that the encoder was trained on",
            where="shards",
            expected=", ".join(f"{n} of {' or '.join(f'{v:g}' for v in sorted(some))} {u}" for n, some, _, u in wrong),
            got=", ".join(f"{name} of {value:g} {unit}" for name, _, value, unit in wrong),
            fix="shard them with the preparation of the first cohort: preparation=NAME",
        )


def sides(
    config: Config, here: People, never: tuple[set[str], set[str]] = (set(), set())
) -> tuple[list[str], list[str]]:
    """Pseudonyms of those who teach and of those who are asked, by whole groups.

    Those whom the encoder was kept from are asked, where the config's checkpoint says who they were; else the split.

    Args:
        never: Who must not teach, and who must not be asked; nor may anyone here who shares a group with them.

    Raises:
        SplitError: If nobody is left on a side.
    """
    checkpoint, names = Path(config.value("checkpoint")), [row.subject for row in here.folder.manifest.subjects]
    if checkpoint.is_dir():
        rows = people_asked(config, here.folder, checkpoint)
    else:
        people = people_of(config, here.folder)
        rows = {"train": np.concatenate([people.train, people.validation]), "test": people.test}
    there = set(here.name[here.known].tolist())
    sides = [sorted({names[row] for row in rows[part]} & there) for part in ("train", "test")]
    # Somebody may be in two domains, such as two seasons: who was ever asked never teaches, and the other way round.
    kept = [here.with_their_groups(some) for some in never]
    sides = [[one for one in side if one not in others] for side, others in zip(sides, kept, strict=True)]
    if len(sides[0]) < 2 or not sides[1]:
        raise SplitError(
            "Nobody is left to teach, or to be asked",
            expected="two people or more who teach, and one who is asked",
            got=f"{len(sides[0])} and {len(sides[1])}",
            fix="set split.test, or take a larger cohort",
        )
    return sides[0], sides[1]

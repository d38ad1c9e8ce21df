"""What a model's training people look like goes into its checkpoint, and shards that look otherwise are told of."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hdt_fm.cli.cohorts import Cohorts
from hdt_fm.data.selection import positions_of
from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.manifest import ModelConfig, Preprocess
from hdt_fm.schema.modalities import STATIC
from hdt_fm.schema.typical import Typical
from hdt_fm.signal.contract import Look, check_declared, doubts, from_statistics, look, typical

# People, and windows of each: enough for medians, and under a second.
PEOPLE, WINDOWS = 64, 16


def typical_of_people(cohorts: Cohorts) -> dict[str, Typical]:
    """By modality, over the training people of all cohorts; left out is what fewer than five people have."""
    looks: dict[str, list[Look]] = {}
    for name, folder in cohorts.folders.items():
        for modality, found in _looks(folder, cohorts.people[name].train).items():
            looks.setdefault(modality, []).extend(found.values())
    usual = {modality: typical(found) for modality, found in looks.items()}
    return {modality: one for modality, one in usual.items() if one is not None}


def check_contract(
    config: ModelConfig, preprocess: Preprocess, folder: ShardFolder, *, say: Callable[[str], None]
) -> list[str]:
    """Compare a shard folder with what a model learned from; what is doubtful is said, and given back.

    Raises:
        CheckpointError: If the folder declares another unit or number of channels.
    """
    ours = {column.name: column for column in config.modalities if column.name != STATIC}
    shared = [column for column in folder.header.modalities if column.name in ours]
    for column in shared:
        check_declared(ours[column.name], column, where=folder.path.name)
    lines = [
        f"{column.name} is at {column.sampling_rate_hz:g} Hz, and the model learned from {_in_words(rates)} Hz"
        for column in shared
        if column.sampling_rate_hz not in (rates := _rates(preprocess, column.name))
    ]
    found = _looks(folder, np.arange(len(folder.manifest.subjects)))
    for column in shared:
        usual = _usual(config, preprocess, column.name)
        told = [doubt for one in found[column.name].values() for doubt in doubts(column.name, one, usual)]
        people = len(found[column.name])
        for looks_like, count in Counter((doubt.what, doubt.looks_like) for doubt in told).most_common():
            some = [doubt for doubt in told if (doubt.what, doubt.looks_like) == looks_like]
            middle = sorted(some, key=lambda doubt: doubt.ratio)[len(some) // 2]
            lines.append(f"of {count} of {people} people, {middle}")
    for line in lines:
        say(f"unlike training: {line}")
    return lines


def _looks(folder: ShardFolder, rows: NDArray[np.int64]) -> dict[str, dict[int, Look]]:
    """Of each modality, one of each person who has it."""
    found: dict[str, dict[int, Look]] = {name: {} for name in folder.modalities if name != STATIC}
    for row in rows[:: max(1, -(-len(rows) // PEOPLE))]:
        positions = positions_of(folder, np.array([row]))
        if not len(positions):
            continue
        # Spread over the recording: a night is unlike a day.
        places = np.unique(np.linspace(0, len(positions) - 1, WINDOWS).round().astype(np.int64))
        batch = folder.gather(positions[places])
        for name in found.keys() & batch.signals.keys():
            signal, here = batch.signals[name], batch.column(name).numpy()
            one = look(name, signal.values.numpy()[here], signal.observed.numpy()[here], signal.sampling_rate_hz)
            if one.level is not None:
                found[name][int(row)] = one
    return found


def _usual(config: ModelConfig, preprocess: Preprocess, name: str) -> Typical:
    if name in preprocess.typical:
        return preprocess.typical[name]
    channels = next(column.channels for column in config.modalities if column.name == name)
    return from_statistics(*config.statistics[name], channels)


def _rates(preprocess: Preprocess, name: str) -> set[float]:
    contracts = [preprocess.modalities, *(contract.modalities for contract in preprocess.cohorts.values())]
    return {column.sampling_rate_hz for columns in contracts for column in columns if column.name == name}


def _in_words(rates: set[float]) -> str:
    return " and ".join(f"{rate:g}" for rate in sorted(rates))


def summary_of(lines: Sequence[str]) -> Mapping[str, str]:
    """For the result of a run; nothing where nothing is doubtful."""
    return {"unlike training": "; ".join(lines)} if lines else {}

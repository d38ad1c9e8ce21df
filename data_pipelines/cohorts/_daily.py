"""What cohorts of daily summaries share: a value a day as a recording, or as a label over the day."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_pipelines.cohorts._tables import numbers
from data_pipelines.readers._clock import local_seconds
from data_pipelines.readers._slow import Worn, averaged, intervals
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Recording

DAY_S = 86_400
# Modality -> column, and the unit in it.
Columns = Mapping[str, tuple[str, str]]


def daily(table: pd.DataFrame, times_ns: NDArray[np.int64], columns: Columns, worn: Worn) -> dict[str, Recording]:
    """A recording of one sample a day for each column that holds anything; a day without a value is a gap.

    A count of 0 over a whole day (steps, energy) is a device that lay in a drawer, not a person at rest: unobserved.
    """
    found = {}
    for modality, (column, unit) in columns.items():
        values = numbers(table[column], where=column)
        if unit.endswith("/d"):
            values = np.where(values > 0, values, np.nan)
        if np.isfinite(values).any():
            found[modality] = averaged(
                times_ns,
                values,
                modality=modality,
                unit=unit,
                channel=column,
                step_s=DAY_S,
                worn=worn,
                where=column,
            )
    return found


def day_labels(table: pd.DataFrame, times_ns: NDArray[np.int64], columns: Columns) -> dict[str, LabelTrack]:
    """A number that holds for the day, for each column that holds anything."""
    tracks = [
        intervals(name, times_ns, times_ns + DAY_S * NS_PER_S, numbers(table[column], where=column), unit=unit)
        for name, (column, unit) in columns.items()
    ]
    return {track.name: track for track in tracks if len(track.values)}


def midnights(days: pd.Series, *, where: str) -> NDArray[np.int64]:
    """The start of each day, local time taken as UTC."""
    return local_seconds(list(days), where=where) // DAY_S * (DAY_S * NS_PER_S)

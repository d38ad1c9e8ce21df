"""Where forecasts start: contexts without gap, and targets whose windows share no time with what was seen."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.schema.embedding import EmbeddingTable
from hdt_fm.schema.errors import ConfigError

GRID_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Origins:
    """Forecast origins of a table.

    Attributes:
        context: Rows of the table seen at each origin, oldest first; the last one is the origin itself.
        recent: The label's values in the context; NaN where unknown.
        target: The label's values over the horizon; NaN where unknown, which no score counts.
        group: Group of each origin.
        ahead_s: For each step of the horizon, seconds from the end of the context to the end of the target.
    """

    context: Int[np.ndarray, "origin context"]
    recent: Float[np.ndarray, "origin context"]
    target: Float[np.ndarray, "origin horizon"]
    group: Int[np.ndarray, " origin"]
    ahead_s: Float[np.ndarray, " horizon"]

    def __len__(self) -> int:
        return len(self.group)


def forecast_origins(table: EmbeddingTable, label: str, context: int, horizon: int) -> Origins:
    """Every row that ends a full context of one subject and has a known target ahead.

    Where windows overlap (hop < window), the first target is the first window that starts after the
    context has ended, or the forecast would be asked for time that it has seen.

    Args:
        context: Windows seen, on the hop's grid, none missing.
        horizon: Windows asked for.

    Raises:
        ConfigError: If the label is unknown, or no origin exists.
    """
    if label not in table.labels:
        known = ", ".join(sorted(table.labels)) or "(none)"
        raise ConfigError(f"The embedding table has no label {label!r}", expected=f"one of: {known}")
    first = first_step(table)
    back = np.stack([_shifted(table, -step) for step in range(context - 1, -1, -1)], axis=1)
    ahead = np.stack([_shifted(table, first + step) for step in range(horizon)], axis=1)
    values = np.append(table.labels[label].astype(np.float64), np.nan)
    target = values[ahead]
    usable = np.flatnonzero((back >= 0).all(axis=1) & np.isfinite(target).any(axis=1))
    if not len(usable):
        raise ConfigError(
            f"No window has {context} windows without gap behind it and a known {label!r} ahead",
            expected=f"visits of at least {(context + first + horizon - 2) * table.hop_s + table.window_s:g} s",
            fix="shorten the context or the horizon",
        )
    ends = (first + np.arange(horizon)) * table.hop_s
    return Origins(back[usable], values[back[usable]], target[usable], table.group[usable], ends)


def first_step(table: EmbeddingTable) -> int:
    """Hops from a window to the first one that shares no time with it."""
    return int(np.ceil(table.window_s / table.hop_s - GRID_TOLERANCE))


def _shifted(table: EmbeddingTable, hops: int) -> Int[np.ndarray, " row"]:
    """Row of the same subject so many hops later; -1 where there is none."""
    order = np.lexsort((table.time_s, table.subject))
    subject, time_s = table.subject[order], table.time_s[order]
    found = np.full(len(table), -1, dtype=np.int64)
    for person in np.unique(subject):
        start, stop = np.searchsorted(subject, [person, person + 1])
        own = time_s[start:stop]
        wanted = own + hops * table.hop_s
        slack = GRID_TOLERANCE * table.hop_s
        place = np.searchsorted(own, wanted - slack)
        inside = place < len(own)
        hit = inside & (np.abs(own[place.clip(max=len(own) - 1)] - wanted) <= slack)
        found[order[start:stop][hit]] = order[start + place[hit]]
    return found

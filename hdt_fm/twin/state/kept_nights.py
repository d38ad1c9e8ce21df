"""Nights that a twin keeps for its alerts: the last two years of them, each told once."""

import numpy as np

from hdt_fm.twin.nights.night import DAY, Nights
from hdt_fm.twin.state.tracks import ALIKE, Counts

MOST = 730


def with_nights(kept: Nights | None, came: Nights) -> tuple[Nights, Counts]:
    """What is kept, with nights that are newer; the newest one that was known is taken again.

    That one may have been cut short by the export that told it first. Of all others the first telling stays, and what
    is missing between them stays missing: alerts of nights that were judged do not change. Another indicator adds a
    column.
    """
    if kept is None:
        fresh = _last(came)
        return fresh, Counts(new=len(fresh.dates), before=len(came.dates) - len(fresh.dates))
    names = (*kept.names, *(name for name in came.names if name not in kept.names))
    new, known = came.dates >= kept.dates[-1], np.isin(came.dates, kept.dates)
    stays = kept.dates < came.dates[new].min() if new.any() else np.ones(len(kept.dates), dtype=np.bool_)
    shared = [name for name in kept.names if name in came.names]
    alike = _alike(kept.only(*shared), came.only(*shared)) if shared else np.zeros(0, dtype=np.bool_)
    before = came.dates < kept.dates[0]
    counts = Counts(
        new=int((new & ~known).sum()),
        known=int(alike.sum()),
        differing=int((~alike).sum()),
        late=int((~new & ~known & ~before).sum()),
        before=int(before.sum()),
    )
    values = np.concatenate([_columns(kept, names)[stays], _columns(came, names)[new]])
    dates = np.concatenate([kept.dates[stays], came.dates[new]])
    devices = None
    if kept.devices is not None or came.devices is not None:
        both = [np.array(one.devices or [""] * len(one.dates)) for one in (kept, came)]
        devices = tuple(np.concatenate([both[0][stays], both[1][new]]).tolist())
    return _last(Nights(dates, values, names, devices)), counts


def _alike(kept: Nights, came: Nights) -> np.ndarray:
    """Of nights that both have, whether they tell the same; the newest is not asked, as it may have been cut short."""
    both, here, there = np.intersect1d(kept.dates[:-1], came.dates, return_indices=True)
    one, two = kept.values[here], came.values[there]
    differs = np.isfinite(one) & np.isfinite(two) & (np.abs(one - two) > ALIKE * np.abs(one))
    out: np.ndarray = ~differs.any(axis=1) if len(both) else np.zeros(0, dtype=np.bool_)
    return out


def _columns(nights: Nights, names: tuple[str, ...]) -> np.ndarray:
    out = np.full((len(nights.dates), len(names)), np.nan)
    for column, name in enumerate(nights.names):
        out[:, names.index(name)] = nights.values[:, column]
    return out


def _last(nights: Nights) -> Nights:
    keep = nights.dates > nights.dates[-1] - MOST * DAY
    devices = nights.devices
    if devices is not None:
        devices = tuple(one for one, stays in zip(devices, keep.tolist(), strict=True) if stays)
    return Nights(nights.dates[keep], nights.values[keep], nights.names, devices)

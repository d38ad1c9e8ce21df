"""Numbers that come now and then -> a uniform grid: samples as the mean of a cell, amounts of intervals as rates."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from data_pipelines.readers._rates import clean, over_cells
from data_pipelines.readers._recordings import make_recording
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.modalities import modality as look_up_modality
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Recording

# 16 years of minutes; a wrong time stamp can lie centuries away.
MAX_CELLS = 8_400_000
_MAX_COLLISIONS = 0.05


@dataclass(frozen=True)
class Worn:
    """Whose and what device a recording is of."""

    subject: str
    device: str
    body_site: str = ""
    utc_offset_s: int | None = None


def averaged(
    times_ns: NDArray[np.int64],
    values: NDArray[np.float64],
    *,
    modality: str,
    unit: str,
    channel: str,
    step_s: int,
    worn: Worn,
    where: str,
    ranks: NDArray[np.integer] | None = None,
) -> Recording:
    """Mean of the samples in each cell of `step_s`, cells beginning at whole multiples of it.

    Within a cell only the source of the lowest rank counts. Implausible samples do not enter the mean.

    Raises:
        ReaderError: If there is no sample, or the times span more cells than any recording has.
        UnitError: If most samples cannot be in the unit.
    """
    raw = _raw(values, modality, unit, channel, worn, where)
    cell, first, size = _cells(times_ns, step_s, where)
    use = raw.observed.copy()
    if ranks is not None:
        best = np.full(size, np.iinfo(np.int32).max, dtype=np.int32)
        np.minimum.at(best, cell[use], ranks[use].astype(np.int32))
        use &= ranks == best[cell]
    counts = np.bincount(cell[use], minlength=size)
    sums = np.bincount(cell[use], weights=raw.values[0, use].astype(np.float64), minlength=size)
    means = np.divide(sums, counts, out=np.full(size, np.nan), where=counts > 0)
    return _gridded(means, raw, start_ns=first * step_s * NS_PER_S, step_s=step_s, worn=worn, where=where)


def sampled(
    times_ns: NDArray[np.int64],
    values: NDArray[np.float64],
    *,
    modality: str,
    unit: str,
    channel: str,
    step_s: int,
    worn: Worn,
    where: str,
) -> Recording:
    """One sample a place, each at the nearest place of a grid that begins with the first.

    Of two samples at one place, one moves to a free neighbour less than 3/4 of a step away (a clock that drifts
    against the grid brings such pairs), or else the first stays.

    Raises:
        ReaderError: If there is no sample, or more than one in twenty finds no place.
        UnitError: If most samples cannot be in the unit.
    """
    order = np.argsort(times_ns, kind="stable")
    times, values = times_ns[order], values[order]
    new = np.concatenate([[True], np.diff(times) > 0]) if len(times) else np.empty(0, dtype=np.bool_)
    raw = _raw(values[new], modality, unit, channel, worn, where)
    place = (times[new] - times[0]) / (step_s * NS_PER_S)
    index = _without_pairs(place)
    _check_size(int(index[-1]) + 1, where)
    kept = np.concatenate([[True], np.diff(index) > 0])
    if (~kept).sum() > _MAX_COLLISIONS * len(kept):
        raise ReaderError(
            "The samples come closer together than the device's step",
            where=where,
            expected=f"one sample every {step_s} s, apart from gaps",
            got=f"{int((~kept).sum())} of {len(kept)} samples without a place of their own",
            fix="two devices or two exports may be mixed: read them one by one",
        )
    placed = np.full(int(index[-1]) + 1, np.nan)
    placed[index[kept]] = np.where(raw.observed, raw.values[0].astype(np.float64), np.nan)[kept]
    return _gridded(placed, raw, start_ns=int(times[0]), step_s=step_s, worn=worn, where=where)


def spread(
    begins_ns: NDArray[np.int64],
    ends_ns: NDArray[np.int64],
    amounts: NDArray[np.float64],
    *,
    modality: str,
    unit: str,
    channel: str,
    step_s: int,
    worn: Worn,
    where: str,
    ranks: NDArray[np.integer] | None = None,
    of_time_covered: bool = False,
) -> Recording:
    """Amounts over intervals -> amount per minute in each cell; cells that no interval touches are unobserved.

    An interval's amount is spread evenly over its time. What a touched cell has besides its intervals counts as none,
    or not at all (`of_time_covered`, for amounts that are a rate times its time). Within a cell only the source of the
    lowest rank counts. `unit` is the amount's unit per minute.

    Raises:
        ReaderError: If there is no interval, or one in a hundred ends before it begins or lasts over 36 hours.
        UnitError: If most rates cannot be in the unit.
    """
    begins, ends, amounts, ranks = clean(begins_ns, ends_ns, amounts, ranks, where)
    step_ns = step_s * NS_PER_S
    _, first, size = _cells(np.concatenate([begins, np.maximum(ends - 1, begins)]), step_s, where)
    total = np.full(size, np.nan)
    for rank in np.unique(ranks):
        mine = ranks == rank
        of_mine = begins[mine] - first * step_ns, ends[mine] - first * step_ns
        sums, touched = over_cells(*of_mine, amounts[mine], step_ns, size)
        minutes = np.full(size, step_s / 60)
        if of_time_covered:
            covered, _ = over_cells(*of_mine, (ends - begins)[mine] / (60 * NS_PER_S), step_ns, size)
            minutes, touched = np.where(covered > 0, covered, 1.0), touched & (covered > 0)
        fill = touched & np.isnan(total)
        total[fill] = (sums / minutes)[fill]
    raw = _raw(total, modality, unit, channel, worn, where)
    return replace(raw, sampling_rate_hz=1 / step_s, start_ns=int(first * step_ns))


def check_plausible(values: NDArray[np.float64], *, modality: str, unit: str, worn: Worn, where: str) -> None:
    """Refuse numbers, of which most cannot be in the unit.

    Raises:
        UnitError: If so; the likely unit is suggested.
    """
    if len(values):
        _raw(values, modality, unit, modality, worn, where)


def events(name: str, times_ns: NDArray[np.int64], values: NDArray[np.float64], unit: str) -> LabelTrack:
    """Points in time in order, without those that hold no number, and without exact repeats (of two exports)."""
    known = np.isfinite(values)
    times, values = times_ns[known].astype(np.int64), values[known].astype(np.float64)
    order = np.lexsort((values, times))
    times, values = times[order], values[order]
    new = np.ones(len(times), dtype=np.bool_)
    new[1:] = (np.diff(times) > 0) | (np.diff(values) != 0)
    return LabelTrack(name, "event", times[new], times[new], values[new], unit=unit)


def intervals(
    name: str,
    begins_ns: NDArray[np.int64],
    ends_ns: NDArray[np.int64],
    values: NDArray[np.float64],
    *,
    classes: Sequence[str] = (),
    unit: str = "",
) -> LabelTrack:
    """Intervals in order: of classes when there are any, or else of numbers.

    Those that end before they begin are left out, and so are exact repeats.
    """
    known = np.isfinite(values) & (ends_ns >= begins_ns)
    begins, ends = begins_ns[known].astype(np.int64), ends_ns[known].astype(np.int64)
    values = values[known].astype(np.float64)
    order = np.lexsort((values, ends, begins))
    begins, ends, values = begins[order], ends[order], values[order]
    new = np.ones(len(values), dtype=np.bool_)
    new[1:] = (np.diff(begins) > 0) | (np.diff(ends) != 0) | (np.diff(values) != 0)
    kind: Literal["class", "value"] = "class" if classes else "value"
    return LabelTrack(name, kind, begins[new], ends[new], values[new], classes=tuple(classes), unit=unit)


def utc_offsets(times_ns: NDArray[np.int64], offsets_s: NDArray[np.int64]) -> LabelTrack:
    """Where the local clock stood against UTC, from sample to sample; an interval ends where the next one begins."""
    order = np.argsort(times_ns, kind="stable")
    times, offsets = times_ns[order], offsets_s[order]
    new = np.concatenate([[True], np.diff(offsets) != 0])
    ends = np.append(times[new][1:], times[-1])
    return LabelTrack("utc_offset", "value", times[new], ends, offsets[new].astype(np.float64), unit="s")


def _without_pairs(place: NDArray[np.float64]) -> NDArray[np.int64]:
    index = np.rint(place).astype(np.int64)
    for k in np.flatnonzero(np.diff(index) == 0) + 1:
        free_before = k < 2 or index[k - 2] < index[k] - 1
        free_after = k + 1 >= len(index) or index[k + 1] > index[k] + 1
        if free_before and place[k - 1] - (index[k] - 1) < 0.75 and index[k] > 0:
            index[k - 1] -= 1
        elif free_after and (index[k] + 1) - place[k] < 0.75:
            index[k] += 1
    return index


def _cells(times_ns: NDArray[np.int64], step_s: int, where: str) -> tuple[NDArray[np.int64], int, int]:
    if len(times_ns) == 0:
        raise ReaderError("There is no sample", where=where, fix="leave this recording out, or export it again")
    cell = times_ns // (step_s * NS_PER_S)
    first = int(cell.min())
    size = int(cell.max()) - first + 1
    _check_size(size, where)
    return cell - first, first, size


def _check_size(size: int, where: str) -> None:
    if size > MAX_CELLS:
        raise ReaderError(
            "The times lie too far apart for one recording",
            where=where,
            expected=f"at most {MAX_CELLS} steps from the first to the last",
            got=str(size),
            fix="a clock may have been unset: remove those rows; or ask for a longer step where the reader has one",
        )


def _raw(values: NDArray[np.float64], modality: str, unit: str, channel: str, worn: Worn, where: str) -> Recording:
    """In the canonical unit and checked, at no rate yet."""
    return make_recording(
        values[None],
        modality=modality,
        unit=unit,
        channels=(channel,),
        sampling_rate_hz=1.0,
        start_ns=0,
        subject=worn.subject,
        device=worn.device,
        body_site=worn.body_site,
        where=where,
        utc_offset_s=worn.utc_offset_s,
    )


def _gridded(
    values: NDArray[np.float64], raw: Recording, *, start_ns: int, step_s: int, worn: Worn, where: str
) -> Recording:
    made = make_recording(
        values[None],
        modality=raw.modality,
        unit=look_up_modality(raw.modality).unit,
        channels=(raw.channels[0].name,),
        sampling_rate_hz=1 / step_s,
        start_ns=start_ns,
        subject=worn.subject,
        device=worn.device,
        body_site=worn.body_site,
        where=where,
        utc_offset_s=worn.utc_offset_s,
    )
    return replace(made, channels=raw.channels)

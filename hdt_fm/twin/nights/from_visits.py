"""What one person's devices recorded -> a number a night for each indicator, by one written rule.

1. A night is of the local date on which it ends. What is recorded finer than half a day (heart rate, HRV, breathing,
   skin temperature, oxygen saturation) is looked at from `begin_h` to `end_h` o'clock local time, in slots of ten
   minutes: a slot is the mean of its samples, the night the median of its slots.
2. A night with fewer slots than `LEAST_SLOTS` asks for is not measured: NaN, on which the watch abstains.
3. A value a day, or one over an interval, counts for the local date of its middle or of its end. Values at a moment
   (events) count for their local date, whatever the hour; of several the median.
4. Steps are those of the date before the night, since the day of its own date is still to come in the morning; at
   least `LEAST_STEP_HOURS` of its hours hold a sample. A last night with steps alone is left out: that day may not
   have been over.
5. A device's own resting heart rate goes before the heart rate of the night, and an export of either kind keeps to it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdt_fm.schema.errors import RecordingError
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Recording, Visit
from hdt_fm.twin.nights.indicators import INDICATORS, known_units
from hdt_fm.twin.nights.night import Nights
from hdt_fm.twin.nights.slots import SLOT_S, SLOTS_A_DAY, NightHours, Slotted, in_slots, local_slots, merge, slots_of

# A sample at least this long is a summary of its day.
_DAILY_S = 43_200
# An hour of ten-minute slots; HRV is told now and then, and one value is what many devices give a night.
LEAST_SLOTS: Mapping[str, int] = {"resting_heart_rate": 6, "respiratory_rate": 6, "skin_temperature": 6, "spo2": 6}
LEAST_STEP_HOURS = 4
# Indicator -> labels that tell it, the first that is there.
_LABELS = {
    "resting_heart_rate": ("resting_heart_rate", "night_heart_rate"),
    "hrv": ("hrv",),
    "sdnn": ("sdnn",),
    "skin_temperature": ("wrist_temperature",),
    "body_temperature": ("body_temperature",),
}
_MODALITIES = {
    "heart_rate": "resting_heart_rate",
    "hrv": "hrv",
    "resp_rate": "respiratory_rate",
    "temp": "skin_temperature",
    "spo2": "spo2",
}
# Of a phone or a thermometer: where nothing else was measured, that is no other watch.
_CARRIED = frozenset({"steps", "body_temperature"})
# A day's mean heart rate is mostly of what the person did.
_NEVER_DAILY = frozenset({"heart_rate"})
_MIN_PER_DAY = 1440.0
# A message lists so many of the names that were found.
_MOST_NAMED = 12


@dataclass(frozen=True)
class _Dated:
    """Numbers of one indicator by date, and the device each is from."""

    dates: NDArray[np.int64]
    values: NDArray[np.float64]
    device: str


def nights_of(visits: Sequence[Visit], *, hours: NightHours | None = None, utc_offset_s: int | None = None) -> Nights:
    """Nights of one person, from every visit of theirs.

    Where two visits tell of the same ten minutes, or the same date, the first one counts.

    Args:
        hours: Of the night, 0 to 6 o'clock by default.
        utc_offset_s: How far the local clock is ahead of the recordings', where they do not say; it is asked for where
            a night's hours hang on it.

    Raises:
        RecordingError: If there is nothing that tells of a night, the visits are of several people, or a local time is
            not known.
    """
    if len({visit.subject for visit in visits}) > 1:
        raise RecordingError(
            "The visits are of several people",
            where="nights_of",
            expected="one person's",
            got=f"{len({visit.subject for visit in visits})} people",
            fix="give the visits of one at a time",
        )
    rule = hours or NightHours()
    found: dict[str, dict[int, float]] = {}
    device: dict[int, str] = {}
    for name in INDICATORS:
        for one in _dated(name, visits, rule, utc_offset_s):
            for date, value in zip(one.dates.tolist(), one.values.tolist(), strict=True):
                if np.isfinite(value):
                    found.setdefault(name, {}).setdefault(date, value)
                    if name not in _CARRIED:
                        device.setdefault(date, one.device)
    _drop_last_of_steps_alone(found)
    if not any(found.values()):
        raise RecordingError(
            "There is nothing here that tells of a night",
            expected=f"recordings or labels of {known_units()}, in the night from {rule.begin_h} to {rule.end_h} "
            "o'clock local time for at least an hour",
            got=", ".join(
                sorted({name for visit in visits for name in (*visit.recordings, *visit.labels)})[:_MOST_NAMED]
            ),
            fix="say night_hours=22-6 for other hours, or make a table with a row a night",
        )
    names = tuple(name for name in found if found[name])
    dates = sorted(set().union(*(found[name] for name in names)))
    values = np.array([[found[name].get(date, np.nan) for name in names] for date in dates])
    worn = tuple(device.get(date, "") for date in dates)
    return Nights(np.array(dates, dtype=np.int64).astype("datetime64[D]"), values, names, worn)


def _drop_last_of_steps_alone(found: dict[str, dict[int, float]]) -> None:
    steps = found.get("steps", {})
    last = max(steps, default=None)
    if last is not None and all(last > max(of, default=last - 1) for name, of in found.items() if name != "steps"):
        del steps[last]


def _dated(name: str, visits: Sequence[Visit], rule: NightHours, given: int | None) -> Iterator[_Dated]:
    """One indicator of every visit; earlier ones go first."""
    if name == "steps":
        yield from _steps(visits, given)
        return
    labels = [label for label in _LABELS.get(name, ()) if any(label in visit.labels for visit in visits)]
    if labels:
        yield from (_of_label(name, v.labels[labels[0]], v, given) for v in visits if labels[0] in v.labels)
        return
    held = [(visit, one) for visit in visits if (one := _recording(name, visit)) is not None]
    for visit, one in held:
        if 1 / one.sampling_rate_hz >= _DAILY_S and one.modality not in _NEVER_DAILY:
            yield _daily(one, visit, given, scale=1.0)
    fine = [(visit, one) for visit, one in held if 1 / one.sampling_rate_hz < _DAILY_S]
    if fine:
        yield from _of_slots(name, fine, rule, given)


def _recording(name: str, visit: Visit) -> Recording | None:
    """Of its modality; the channel says which of two kinds of HRV it is."""
    for modality, indicator in _MODALITIES.items():
        one = visit.recordings.get(modality)
        if one is not None and one.values.shape[0] == 1:
            told = "sdnn" if modality == "hrv" and one.channels[0].name == "sdnn" else indicator
            if told == name:
                return one
    return None


def _of_slots(
    name: str, held: Sequence[tuple[Visit, Recording]], rule: NightHours, given: int | None
) -> Iterator[_Dated]:
    """Medians of the night's ten minutes."""
    merged = merge(
        [in_slots(local_slots(visit, one, given), one.values[0, one.observed], mean=True) for visit, one in held]
    )
    night, inside = rule.night_of(merged.slot)
    night, value, part = night[inside], merged.value[inside], merged.part[inside]
    dates, begin, count = np.unique(night, return_index=True, return_counts=True)
    medians = np.array([np.median(value[at : at + n]) for at, n in zip(begin, count, strict=True)], dtype=np.float64)
    enough = count >= LEAST_SLOTS.get(name, 1)
    for number, (visit, _) in enumerate(held):
        mine = enough & (part[begin] == number)
        yield _Dated(dates[mine], medians[mine], _device(visit))


def _steps(visits: Sequence[Visit], given: int | None) -> Iterator[_Dated]:
    """The sum of a date stands in the night after it."""
    fine: list[tuple[Visit, Slotted]] = []
    for visit in visits:
        one, track = visit.recordings.get("steps"), visit.labels.get("steps")
        if one is not None and 1 / one.sampling_rate_hz >= _DAILY_S:
            daily = _daily(one, visit, given, scale=_MIN_PER_DAY)
            yield _Dated(daily.dates[daily.values > 0] + 1, daily.values[daily.values > 0], daily.device)
        elif one is not None:
            minutes = 1 / (60 * one.sampling_rate_hz)
            amount = one.values[0, one.observed] * minutes
            fine.append((visit, in_slots(local_slots(visit, one, given), amount, mean=False)))
        elif track is not None and track.kind == "value":
            amount = track.values * (track.end_ns - track.start_ns) / (60 * NS_PER_S)
            fine.append((visit, in_slots(slots_of(track.start_ns, visit, None, given), amount, mean=False)))
    if not fine:
        return
    merged = merge([slotted for _, slotted in fine])
    dates, begin, place = np.unique(merged.slot // SLOTS_A_DAY, return_index=True, return_inverse=True)
    total = np.bincount(place, weights=merged.value, minlength=len(dates))
    hours = np.unique(merged.slot * SLOT_S // 3600)
    told = np.bincount(np.searchsorted(dates, hours // 24), minlength=len(dates))
    counted = (told >= LEAST_STEP_HOURS) & (total > 0)
    for number, (visit, _) in enumerate(fine):
        mine = counted & (merged.part[begin] == number)
        yield _Dated(dates[mine] + 1, total[mine], _device(visit))


def _daily(one: Recording, visit: Visit, given: int | None, *, scale: float) -> _Dated:
    at = np.flatnonzero(one.observed)
    middles = one.start_ns + np.rint((at + 0.5) / one.sampling_rate_hz * NS_PER_S).astype(np.int64)
    dates = slots_of(middles, visit, one, given) // SLOTS_A_DAY
    return _Dated(dates, one.values[0, at].astype(np.float64) * scale, _device(visit))


def _of_label(name: str, track: LabelTrack, visit: Visit, given: int | None) -> _Dated:
    """By the date of its end, and the median of a date."""
    low, high = INDICATORS[name].plausible
    known = np.isfinite(track.values) & (track.values >= low) & (track.values <= high)
    ends = np.maximum(track.start_ns, track.end_ns - 1)[known]
    date, values = slots_of(ends, visit, None, given) // SLOTS_A_DAY, track.values[known]
    dates = np.unique(date)
    medians = np.array([np.median(values[date == one]) for one in dates], dtype=np.float64)
    return _Dated(dates, medians, _device(visit))


def _device(visit: Visit) -> str:
    """One word a visit: only another visit can be another device."""
    worn: Iterable[str] = (visit.recordings[name].device for name in _MODALITIES if name in visit.recordings)
    return next(iter(worn), visit.source)

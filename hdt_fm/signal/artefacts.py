"""Artefacts of a recording as it was read: found, told apart and kept as masks. Nothing is removed or filled here.

Classes: motion (movement of sensor or body adds to the signal), contact (the sensor does not touch, or nobody wears
it), saturation (the converter or amplifier is at its end), dropout (the device repeated or zeroed samples instead of
measuring), powerline (the mains). They may overlap, but what is explained by a dropout is nothing else as well.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from hdt_fm.schema.preparation import ARTEFACT_CLASSES, ArtefactClass
from hdt_fm.schema.recording import NS_PER_S, Recording
from hdt_fm.signal.artefact_limits import MOVING_G, STEPPING_G, Limits, limits_of
from hdt_fm.signal.mains import mains
from hdt_fm.signal.moving import local_spread, moving_rms, not_worn
from hdt_fm.signal.quality import clipped, flat
from hdt_fm.signal.segments import runs


@dataclass(frozen=True)
class Artefacts:
    """Masks over the samples of one recording; all within what was observed.

    Attributes:
        masks: Per class that was looked for, True where it is.
        observed: As in the recording.
    """

    masks: Mapping[ArtefactClass, Bool[np.ndarray, " time"]]
    observed: Bool[np.ndarray, " time"]

    @property
    def any(self) -> Bool[np.ndarray, " time"]:
        """Where there is at least one."""
        return self.of(tuple(self.masks))

    def of(self, classes: Sequence[ArtefactClass]) -> Bool[np.ndarray, " time"]:
        """Where there is one of these; classes that were not looked for are nowhere."""
        found = np.zeros(len(self.observed), dtype=np.bool_)
        for name in classes:
            found |= self.masks.get(name, False)
        return found

    def shares(self) -> dict[ArtefactClass, float]:
        """Of the observed samples, per class; 0 when nothing was observed."""
        count = max(int(self.observed.sum()), 1)
        return {name: float(mask.sum() / count) for name, mask in self.masks.items()}

    def by_window(self, first: np.ndarray, length: int) -> dict[ArtefactClass, Float64[np.ndarray, " window"]]:
        """Share of each window's samples per class; windows begin at samples `first`, and may reach over the ends."""
        return {name: share_in(mask, first, length) for name, mask in self.masks.items()}


def share_in(mask: np.ndarray, first: np.ndarray, length: int) -> Float64[np.ndarray, " window"]:
    """Mean of a mask or a gain over [first, first + length); what lies outside is 0."""
    total = np.concatenate([[0], np.cumsum(mask, dtype=np.float64)])
    low, high = (np.clip(edge, 0, len(mask)) for edge in (first, first + length))
    return (total[high] - total[low]) / length


def find(
    recording: Recording,
    *,
    classes: Sequence[ArtefactClass] = ARTEFACT_CLASSES,
    reference: Recording | None = None,
) -> Artefacts:
    """Look for artefacts, by the table of the recording's kind.

    Typical is what the whole recording shows (medians), so that no absolute amplitude has to be known. A forecast's
    context must therefore be cut off before this, as before everything here.

    Args:
        recording: As it was read, not filtered: filters round off what saturation and dropouts look like.
        classes: Those wanted.
        reference: Acceleration of the same place; with it less is needed to call a burst motion, and steps are motion
            whatever the pulse looks like.

    Raises:
        UnknownNameError: If nothing is known of the kind.
    """
    limits = limits_of(recording.modality)
    dropped = _dropout(recording, limits)
    usable = recording.observed & ~dropped
    ways: dict[ArtefactClass, Callable[[], np.ndarray]] = {
        "motion": lambda: _motion(recording, usable, limits, reference),
        "contact": lambda: _contact(recording, usable, limits),
        "saturation": lambda: _saturation(recording, usable, limits),
        "dropout": lambda: dropped,
        "powerline": lambda: (
            mains(recording.values, usable, recording.sampling_rate_hz) if limits.mains else np.zeros_like(usable)
        ),
    }
    return Artefacts(
        masks={name: ways[name]() for name in ARTEFACT_CLASSES if name in classes}, observed=recording.observed
    )


def _dropout(recording: Recording, limits: Limits) -> np.ndarray:
    """Repeated samples, unless they are a rail other than zero."""
    if limits.still_s is None:
        return np.zeros_like(recording.observed)
    still = flat(recording.values, recording.observed, recording.sampling_rate_hz, limits.still_s)
    if limits.nonwear:
        still &= ~_contact(recording, recording.observed, limits)
    zero = (recording.values == 0).all(axis=0)
    return still & (zero | ~clipped(recording.values, recording.observed, limits.clip_samples or 3))


def _saturation(recording: Recording, usable: np.ndarray, limits: Limits) -> np.ndarray:
    if limits.clip_samples is None:
        return np.zeros_like(usable)
    return clipped(recording.values, usable, limits.clip_samples)


def _contact(recording: Recording, usable: np.ndarray, limits: Limits) -> np.ndarray:
    found = np.zeros_like(usable)
    rate = recording.sampling_rate_hz
    if limits.lowest is not None:
        found |= (recording.values < limits.lowest).any(axis=0)
    if limits.lost is not None:
        spread, typical = local_spread(recording.values, usable, rate, limits.spread_s)
        quiet = (spread < limits.lost * typical).all(axis=0) & usable
        # A window that is all quiet lies inside the quiet stretch: widened by half a window it is the stretch itself.
        found |= _widened(quiet, round(limits.spread_s * rate / 2))
        found = _of_length(found & usable, round(limits.lost_s * rate))
    if limits.nonwear:
        found |= not_worn(recording.values, usable, rate)
    # What stands at a rail is quiet as well, for another reason.
    return found & usable & ~_saturation(recording, usable, limits)


def _motion(recording: Recording, usable: np.ndarray, limits: Limits, reference: Recording | None) -> np.ndarray:
    found = np.zeros_like(usable)
    rate = recording.sampling_rate_hz
    if limits.burst is not None:
        spread, typical = local_spread(recording.values, usable, rate, limits.spread_s)
        over = (spread / np.where(typical > 0, typical, np.inf)).max(axis=0)
        found |= over > limits.burst
        if reference is not None:
            moved = _at(recording, reference)
            found |= (moved > MOVING_G) & (over > limits.burst_moving)
            found |= moved > STEPPING_G
    if limits.rise is not None and limits.fall is not None:
        speed = np.diff(recording.values.astype(np.float64), axis=1, prepend=recording.values[:, :1]) * rate
        both = usable & np.concatenate([[False], usable[:-1]])
        fast = ((speed > limits.rise) | (speed < -limits.fall)).any(axis=0) & both
        # The level jumps where contact is lost and comes back, and at a rail: that is told there.
        reach = round(limits.around_s * rate)
        jumps = _contact(recording, usable, limits) | _saturation(recording, usable, limits)
        found |= _widened(fast & ~_widened(jumps, 1), reach)
        return found & usable & ~jumps
    return found & usable & ~_contact(recording, usable, limits)


def _at(recording: Recording, reference: Recording) -> Float64[np.ndarray, " time"]:
    """How much the reference moves at each sample of the recording; 0 outside of it."""
    moved = moving_rms(reference.values, reference.observed, reference.sampling_rate_hz)
    offset_s = (recording.start_ns - reference.start_ns) / NS_PER_S
    at = np.floor(
        (np.arange(len(recording.observed)) / recording.sampling_rate_hz + offset_s) * reference.sampling_rate_hz
    )
    inside = (at >= 0) & (at < len(moved))
    found: Float64[np.ndarray, " time"] = np.where(inside, moved[np.clip(at, 0, len(moved) - 1).astype(np.int64)], 0.0)
    return found


def _widened(mask: np.ndarray, reach: int) -> np.ndarray:
    """True as well up to `reach` samples from a True."""
    total = np.concatenate([[0], np.cumsum(mask)])
    here = np.arange(len(mask))
    wide: np.ndarray = total[np.minimum(here + reach + 1, len(mask))] > total[np.maximum(here - reach, 0)]
    return wide


def _of_length(mask: np.ndarray, least: int) -> np.ndarray:
    """Stretches of True of at least `least` samples."""
    kept = np.zeros_like(mask)
    for start, stop in runs(mask):
        kept[start:stop] = stop - start >= least
    return kept

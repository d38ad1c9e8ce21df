"""A visit of several devices -> the same visit on the clock of one of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from hdt_fm.schema.errors import RecordingError
from hdt_fm.schema.modalities import modality
from hdt_fm.schema.recording import Recording, Visit
from hdt_fm.signal.align import ClockFit, align_motion, apply

MOVEMENT = ("acc", "gyro")


@dataclass(frozen=True)
class OneClock:
    """A visit after alignment.

    Attributes:
        fits: Of each recording that another device made: how its clock relates to the reference's. An unknown one
            leaves the recording as it was.
    """

    visit: Visit
    fits: Mapping[str, ClockFit]


def on_one_clock(visit: Visit, reference: str) -> OneClock:
    """Move every device onto the clock of the one that recorded `reference`, by movement that both felt.

    A device is what made recordings at one place of the body; all of them move together. Labels stay: their clock is
    their own. A device without movement, or with too little in common, stays where it is and says why.

    Raises:
        RecordingError: If the reference is not a recording of movement.
    """
    there = visit.recordings.get(reference)
    if there is None:
        return OneClock(visit, {})
    if modality(reference).kind not in MOVEMENT:
        raise RecordingError(
            "Clocks are compared by movement", where="preparation.align_to", expected="acc or gyro", got=reference
        )
    fitted: dict[tuple[str, str], ClockFit] = {_device(there): ClockFit(method="motion", offset_s=0.0)}
    moved, fits = {}, {}
    for name, recording in visit.recordings.items():
        device = _device(recording)
        if device not in fitted:
            fitted[device] = _fit(visit, device, there)
        moved[name] = recording
        if device != _device(there):
            moved[name], fits[name] = apply(recording, fitted[device])[0], fitted[device]
    return OneClock(replace(visit, recordings=moved), fits)


def _device(recording: Recording) -> tuple[str, str]:
    return recording.device, recording.body_site


def _fit(visit: Visit, device: tuple[str, str], reference: Recording) -> ClockFit:
    """By the device's own accelerometer, else its gyroscope."""
    own = [one for one in visit.recordings.values() if _device(one) == device]
    for kind in MOVEMENT:
        felt = next((one for one in own if modality(one.modality).kind == kind), None)
        if felt is not None:
            try:
                return align_motion(felt, reference)
            except RecordingError as error:
                return ClockFit(method="unknown", reason=error.problem)
    return ClockFit(method="unknown", reason="the device recorded no movement")

"""A twin's state with another head: what is kept of the person is read again, what only the earlier head knew is not.

Sums of the own layer, forecasts and the watch's usual are of one head's answers and say nothing of another's. Readings
and treatments are the person's, and reach back far enough for a forecast; what lies before them is gone, unless
somebody brings an export that has it.
"""

from dataclasses import replace

import numpy as np

from hdt_fm.schema.errors import ConfigError, RecordingError
from hdt_fm.twin.state.answer import Asked
from hdt_fm.twin.state.state import TwinState
from hdt_fm.twin.state.stream import Absorbed, Window, absorb
from hdt_fm.twin.state.tracks import Events, Stretch


def moved(old: TwinState, fresh: TwinState, ask: Asked, *, earlier: Window | None = None) -> tuple[TwinState, Absorbed]:
    """The person with another head, and what became of what was read; neither `old` nor its arrays are changed.

    Args:
        fresh: Of the other head, of somebody of whom nothing was read.
        ask: The other head.
        earlier: What came before all that is kept; of it, what is not older is left.

    Raises:
        RecordingError: If the other head is of another signal or a finer step.
        ConfigError: If a proposal of the watch waits: its evidence is of the earlier head.
    """
    _check(old, fresh)
    forecasts = 0
    if earlier is not None and len(old.readings):
        forecasts = absorb(fresh, before(earlier, float(old.readings.times_s[0])), ask).forecasts
    found = absorb(fresh, kept_of(old), ask)
    if fresh.watch is not None and old.watch is not None:
        # What was said of devices is no answer of a head.
        fresh.watch.watch.wears_as(old.watch.watch)
    learned = ("reference", "learned", "learned_until_s", "watch", "readings", "recorded", "events")
    return replace(old, **{name: getattr(fresh, name) for name in learned}), replace(
        found, forecasts=found.forecasts + forecasts
    )


def kept_of(state: TwinState) -> Window:
    """All that a twin keeps of readings and treatments, as an export of it would tell them."""
    step_s = state.step_s
    recorded = {
        name: (Stretch(track.times_s, track.values, step_s=_step(track.times_s)),)
        for name, track in state.recorded.items()
        if len(track)
    }
    readings = (Stretch(state.readings.times_s, state.readings.values, step_s),) if len(state.readings) else ()
    return Window(
        readings=readings,
        recorded=recorded,
        events={name: events for name, events in state.events.items() if len(events)},
        offset_s=state.offset_s,
        clock=state.clock,
    )


def before(window: Window, until_s: float) -> Window:
    """What of a window lies before a moment, but for devices: the twin knows the one that came after."""
    last_s = float(np.nextafter(until_s, -np.inf))

    def given(one: Events) -> Events:
        upto = int(np.searchsorted(one.times_s, last_s, side="right"))
        return Events(one.times_s[:upto], one.amounts[:upto])

    return replace(
        window,
        readings=tuple(one.until(last_s) for one in window.readings),
        recorded={name: tuple(one.until(last_s) for one in some) for name, some in window.recorded.items()},
        events={name: given(one) for name, one in window.events.items()},
        devices=(),
    )


def _step(times_s: np.ndarray) -> float:
    """Of samples that are kept: what lies between most of them."""
    return float(np.median(np.diff(times_s))) if len(times_s) > 1 else 1.0


def _check(old: TwinState, fresh: TwinState) -> None:
    was, task = old.reference.task, fresh.reference.task
    if (was.modality, was.unit) != (task.modality, task.unit):
        raise RecordingError(
            "The checkpoint forecasts another signal than the twin is of",
            where="checkpoint",
            expected=f"a head that forecasts {was.modality} in {was.unit}",
            got=f"{task.modality} in {task.unit}",
            fix="choose a checkpoint for this signal, or make another twin with `hdt-fm twin create`",
        )
    if old.step_s > 1.01 * task.step_s:
        raise RecordingError(
            "The twin's readings are further apart than the checkpoint's head was taught with",
            where="checkpoint",
            expected=f"a head taught with a reading every {old.step_s / 60:g} min or fewer",
            got=f"one every {task.step_s / 60:g} min",
            fix="take a checkpoint that was taught with readings so far apart",
        )
    if old.watch is not None and old.watch.proposal is not None:
        raise ConfigError(
            "A proposal waits for an answer, and what speaks for it is of the earlier checkpoint's answers",
            where="twin move",
            expected="no open proposal",
            got=old.watch.proposal.cause,
            fix="see `hdt-fm twin show FOLDER`, then hdt-fm twin update FOLDER answer=accepted or declined",
        )

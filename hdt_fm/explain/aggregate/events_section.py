"""The section `events` of a report: what credit does around beats, breaths, meals and doses."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from hdt_fm.explain.aggregate.event_figure import COARSE, event_figure
from hdt_fm.explain.aggregate.events import EventAligned
from hdt_fm.explain.aggregate.over_people import shown
from hdt_fm.explain.cohort.cells import MINIMUM_CELL
from hdt_fm.explain.page.section import Section

KEY = "events"
_CHANNELS = 3


def section(found: Sequence[EventAligned], *, withhold_waveforms: bool = False) -> Section:
    """Courses and enrichment; events of one to four people of a cohort are named without numbers.

    Args:
        withhold_waveforms: Neither waveforms nor a course of credit fine enough to draw one.
    """
    record = {"events": [_record(one, with_wave=not withhold_waveforms) for one in found]}
    view = {
        "fewest": MINIMUM_CELL,
        "withheld": withhold_waveforms,
        "events": [
            {
                "name": one.name,
                "label": one.label,
                "shown": shown(*_units(one)),
                "found": one,
                "figures": [
                    event_figure(one, channel, with_wave=not withhold_waveforms)
                    for channel in range(min(_CHANNELS, len(one.credit.value)))
                ]
                if shown(*_units(one))
                else [],
                "channels": len(one.credit.value),
            }
            for one in found
        ],
    }
    words = {
        "Enrichment": "Mean size of credit near an event over the mean of the whole window: 1 says that the model "
        "looks there no more than elsewhere.",
        "By chance": "What enrichment would be were the events elsewhere: each window's events are shifted together by "
        "a random step, many times.",
    }
    caution = (
        "Credit near an event says that the model reads the signal there, not that the event caused the outcome. "
        "Events are found by rules of our own, and some will be missed."
    )
    return Section(KEY, "Credit around events of the body", record, view, words, (caution,))


def _units(one: EventAligned) -> tuple[int, Any]:
    return (one.people if one.over == "people" else one.windows), one.over


def _record(one: EventAligned, *, with_wave: bool) -> dict[str, Any]:
    head = {"name": one.name, "modality": one.modality, "method": one.method, "width_s": one.width_s}
    if not shown(*_units(one)):
        return {**head, "status": "too few people"}
    edges = np.linspace(0, len(one.time_s), min(COARSE, len(one.time_s)) + 1).astype(int)
    credit = [one.credit.value, one.credit.low, one.credit.high]
    time_s = one.time_s
    if not with_wave:
        time_s = np.add.reduceat(time_s, edges[:-1]) / np.diff(edges)
        credit = [np.add.reduceat(course, edges[:-1], axis=-1) / np.diff(edges) for course in credit]
    return {
        **head,
        "status": "shown",
        "over": one.over,
        "events": one.events,
        "windows": one.windows,
        "people": one.people,
        "enrichment": {"value": one.enrichment, "low": one.low, "high": one.high},
        "chance": {"low": one.chance_low, "high": one.chance_high, "p": one.p},
        "time_s": time_s,
        "credit": credit[0],
        "credit_low": credit[1],
        "credit_high": credit[2],
        "wave": one.wave.value if with_wave else None,
        "wave_unit": one.wave_unit,
    }

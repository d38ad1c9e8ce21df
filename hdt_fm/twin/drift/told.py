"""What a `Proposal` says: as plain data for machines, and in words."""

from collections.abc import Mapping
from typing import Any

from hdt_fm.twin.drift.cause import DEVICE, GAIN, LOST, SENSITIVITY, UNCLEAR, Proposal

VERSION = 1
NOTHING_DONE = "Nothing has been changed: a proposal waits for an answer."
# The README has the numbers.
EXPERIENCE = (
    "limits are set on simulated people for one false proposal a year or fewer; there a change of the sensor and one "
    "of the person were at times taken for each other"
)
WORDS = {
    GAIN: "the sensor seems to show {percent} than it did",
    SENSITIVITY: "doses seem to do {percent} than they did",
    UNCLEAR: "forecasts are further off than they were, in no way that is known",
    LOST: "records of {about} have stopped coming",
    DEVICE: "the record names another device",
}
ACTION_WORDS = {
    GAIN: "recalibrate: compare with a second measurement; if that agrees, divide readings by {factor:.2f}",
    SENSITIVITY: "adapt: let a last layer of the person's own learn from the onset on; one that learns already goes on",
    UNCLEAR: "ask: what changed about then?",
    LOST: "ask: are they still taken? Until then, forecast as if they were unknown, not as if there were none",
    DEVICE: "ask: is it another sensor, or the same one read by another app?",
}


def record(proposal: Proposal, *, per_year: float) -> dict[str, Any]:
    """All of it as numbers and words that JSON has; days are counted from the first of the watch."""
    factor = proposal.factor if proposal.factor is not None else 1.0
    given = {"percent": _percent(factor), "about": proposal.about, "factor": factor}
    return {
        "version": VERSION,
        "cause": proposal.cause,
        "action": proposal.action,
        "day": proposal.day,
        "onset": proposal.onset,
        "factor": None if proposal.factor is None else round(proposal.factor, 3),
        "about": proposal.about,
        "evidence": [{"stream": name, "personal_sds": round(value, 2)} for name, value in proposal.evidence],
        "false_a_year": per_year,
        "what": WORDS[proposal.cause].format(**given),
        "do": ACTION_WORDS[proposal.cause].format(**given),
        "experience": EXPERIENCE,
        "caution": NOTHING_DONE,
    }


def lines(told: Mapping[str, Any]) -> list[str]:
    """A `record` for a person to read."""
    found = [f"day {told['day']}: {told['what']}, since about day {told['onset']}", f"  {told['do']}"]
    if told["evidence"]:
        found.append("  " + ", ".join(f"{one['stream']} {one['personal_sds']:+.1f} SD" for one in told["evidence"]))
    return [*found, f"  {told['experience']}", f"  {told['caution']}"]


def _percent(factor: float) -> str:
    return f"{abs(100 * (factor - 1)):.0f} % {'more' if factor >= 1 else 'less'}"

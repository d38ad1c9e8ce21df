"""What a twin's drift watch says: as plain data for machines, and in words; and what an answer to it does."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from hdt_fm.schema.modalities import modality
from hdt_fm.twin.drift import told as drift_told
from hdt_fm.twin.drift.cause import DEVICE, GAIN, LOST, SENSITIVITY, UNCLEAR, Proposal
from hdt_fm.twin.drift.usual import LEARN_DAYS
from hdt_fm.twin.state.watched import MODALITY, PER_YEAR, Watched

ACCEPTED, DECLINED = "accepted", "declined"
ANSWERS = (ACCEPTED, DECLINED)
ON_WHAT = "set on simulated people and a plain forecaster, not on this head; tried on 32 real records, with that one"
NO_RECORDS = "no doses or meals are known here: a sensor is not told from a body, and no lost record is noticed"
# What an accepted proposal does here, besides that the watch learns anew; nothing is rescaled or retrained by it.
DOES = {
    GAIN: "no reading is rescaled, earlier or later: calibrate or change the device, or correct its readings before "
    "they are absorbed",
    SENSITIVITY: "the own layer learns every night as before, and follows by itself; nothing else is adapted",
    UNCLEAR: "nothing is adapted",
    LOST: "two days after the last entry it is told as unknown, not as none, as before",
    DEVICE: "what was learned of the other device stands, and the interval and the own layer follow the new one",
}
SAME_DEVICE = "both are one device from here on; what is usual stands"
ANEW = f"the watch learns anew what is usual, {LEARN_DAYS} days from here on"
ANEW_SINCE = f"the watch learns anew what is usual, {LEARN_DAYS} days from the one on that the device came"


def record(watched: Watched | None, *, dates: bool) -> dict[str, Any]:
    """All of it; days are counted from the first of the watch.

    Args:
        dates: Whether dates may be told, of the recordings' clock.
    """
    if watched is None:
        return {"watched": False, "note": f"drift is watched for in {MODALITY} alone: its table of causes is of that"}
    first = watched.first if dates else None
    return {
        "watched": True,
        "begun": _date(first, 0),
        "days": watched.watch.days,
        "days_learned": min(watched.watch.usual.kept, LEARN_DAYS),
        "days_learned_first": LEARN_DAYS,
        "records": list(watched.records),
        "note": ON_WHAT if watched.records else f"{ON_WHAT}; {NO_RECORDS}",
        "proposal": None if watched.proposal is None else _proposal(watched.proposal, first),
    }


def words(told: Mapping[str, Any]) -> list[str]:
    """Of a `record`, for a person to read."""
    if not told["watched"]:
        return [f"watch: none; {told['note']}"]
    proposal, learned, first = told["proposal"], told["days_learned"], told["days_learned_first"]
    if proposal is not None:
        since = "" if proposal["onset_date"] is None else f"; day {proposal['onset']} is {proposal['onset_date']}"
        lines = drift_told.lines(proposal)
        answer = "  answer it by `hdt-fm twin update FOLDER answer=accepted` or `answer=declined`"
        return [f"watch: A PROPOSAL WAITS, {lines[0]}{since}", *lines[1:], answer, f"  {told['note']}"]
    if learned < first:
        found = f"nothing has changed that could be told, {learned} of {first} days are learned first"
    else:
        found = f"nothing has changed that could be told in {told['days']} days"
    return [f"watch: {found} ({told['note']})"]


def answer_words(proposal: Proposal, answer: str) -> list[str]:
    """What an answer has done, and what it has not."""
    if proposal.cause == DEVICE and answer == DECLINED:
        return [f"the proposal ({proposal.cause}) is {answer}: {SAME_DEVICE}"]
    if proposal.cause == DEVICE:
        return [f"the proposal ({proposal.cause}) is {answer}: {DOES[DEVICE]}", ANEW_SINCE]
    done = DOES[proposal.cause] if answer == ACCEPTED else "nothing else is changed"
    return [f"the proposal ({proposal.cause}) is {answer}: {done}", ANEW]


def _proposal(proposal: Proposal, first: int | None) -> dict[str, Any]:
    if proposal.cause == LOST:
        proposal = replace(proposal, about=modality(proposal.about).label.lower())
    told = drift_told.record(proposal, per_year=PER_YEAR)
    return {**told, "made_date": _date(first, proposal.day), "onset_date": _date(first, proposal.onset)}


def _date(first: int | None, day: int) -> str | None:
    return None if first is None else str(np.datetime64(first + day, "D"))

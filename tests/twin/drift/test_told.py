"""Words for each cause, and that they promise nothing was done."""

import json

import pytest

from hdt_fm.twin.drift.cause import ACTIONS, Proposal
from hdt_fm.twin.drift.told import ACTION_WORDS, NOTHING_DONE, WORDS, lines, record


@pytest.mark.parametrize(
    ("proposal", "said", "to_do"),
    [
        (Proposal("gain", 60, 51, factor=1.12), "the sensor seems to show 12 % more", "divide readings by 1.12"),
        (Proposal("sensitivity", 60, 51, factor=0.7), "doses seem to do 30 % less", "learn from the onset on"),
        (Proposal("unclear", 60, 51), "forecasts are further off", "what changed about then?"),
        (Proposal("lost", 60, 58, about="insulin"), "records of insulin have stopped", "as if they were unknown"),
        (Proposal("device", 60, 60), "names another device", "same one read by another app?"),
    ],
)
def test_each_cause_in_words(proposal, said, to_do):
    told = json.loads(json.dumps(record(proposal, per_year=1.0), allow_nan=False))
    text = "\n".join(lines(told))
    assert said in text
    assert to_do in text
    assert f"since about day {proposal.onset}" in text
    assert NOTHING_DONE in text
    assert told["action"] == ACTIONS[proposal.cause]


def test_evidence_is_told_the_furthest_first():
    one = Proposal("gain", 60, 51, factor=1.1, evidence=(("error at rest", 1.24), ("swing of readings", -0.36)))
    assert "error at rest +1.2 SD, swing of readings -0.4 SD" in "\n".join(lines(record(one, per_year=1.0)))


def test_no_cause_is_without_words():
    assert set(WORDS) == set(ACTION_WORDS) == set(ACTIONS)

"""Door 1, sentence by sentence."""

from dataclasses import replace

import numpy as np
import pytest

from hdt_fm.schema.errors import RecordingError, UnitError, UnknownNameError
from hdt_fm.schema.recording import NS_PER_S, Channel, LabelTrack, Recording, Visit, recording_arrays
from hdt_fm.schema.subject import SubjectKey

PERSON = SubjectKey.public().pseudonym("study", "raw")
OTHER = SubjectKey.public().pseudonym("study", "other")


def recording(**changes) -> Recording:
    values = np.arange(14, dtype=np.float32).reshape(2, 7)
    observed = np.ones(7, dtype=np.bool_)
    good = Recording(
        modality="acc",
        channels=(Channel("x", "g"), Channel("y", "g")),
        sampling_rate_hz=2.0,
        start_ns=3 * NS_PER_S,
        values=values,
        observed=observed,
        subject=PERSON,
        device="watch",
        body_site="wrist",
    )
    return replace(good, **changes)


def test_times_follow_the_rate() -> None:
    good = recording()
    assert good.duration_s == 3.5
    assert good.end_ns == round(6.5 * NS_PER_S)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"values": np.zeros(7, np.float32)}, "(channel, time)"),
        ({"observed": np.ones(6, np.bool_)}, "observed mask"),
        ({"channels": (Channel("x", "g"),)}, "Channels"),
        ({"sampling_rate_hz": 0.0}, "positive"),
        ({"sampling_rate_hz": float("nan")}, "positive"),
        ({"subject": "S01"}, "not a pseudonym"),
        ({"values": np.full((2, 7), np.nan, np.float32)}, "finite"),
        ({"observed": np.zeros(7, np.bool_)}, "must hold 0"),
    ],
)
def test_a_broken_recording_is_refused(changes, said) -> None:
    with pytest.raises(RecordingError, match=said.replace("(", r"\(").replace(")", r"\)")):
        recording(**changes)


def test_a_raw_id_is_not_repeated_in_the_error() -> None:
    with pytest.raises(RecordingError) as caught:
        recording(subject="Jane Doe")
    assert "Jane" not in str(caught.value)


def test_an_unknown_modality_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'acc'"):
        recording(modality="accc")


def test_units_become_canonical_and_the_impossible_is_unobserved() -> None:
    values, observed = recording_arrays(np.array([[306.15, 0.0, np.nan, 310.15]]), modality="temp", unit="kelvin")
    assert values[0].tolist() == pytest.approx([33.0, 0.0, 0.0, 37.0], abs=1e-4)
    assert observed.tolist() == [True, False, False, True]
    grams, _ = recording_arrays(np.array([[64.0, -32.0]]), modality="acc", unit="1/64 g")
    assert grams[0].tolist() == [1.0, -0.5]
    sugar, _ = recording_arrays(np.array([[5.0]]), modality="glucose", unit="mmol/L")
    assert sugar[0, 0] == pytest.approx(90.078)


def test_what_the_reader_calls_missing_is_unobserved() -> None:
    missing = np.array([False, True, False])
    values, observed = recording_arrays(np.ones((2, 3)), modality="acc", unit="g", missing=missing)
    assert observed.tolist() == [True, False, True]
    assert values[:, 1].tolist() == [0.0, 0.0]


def test_an_unknown_unit_lists_the_known_ones() -> None:
    with pytest.raises(UnitError, match="kelvin"):
        recording_arrays(np.ones((1, 2)), modality="temp", unit="degC")


def test_labels_have_their_own_clock() -> None:
    start, end = np.array([0, 10]), np.array([10, 5])
    with pytest.raises(RecordingError, match="ends before"):
        LabelTrack("stress", "class", start, end, np.zeros(2), classes=("rest", "stress"))
    with pytest.raises(RecordingError, match="different lengths"):
        LabelTrack("stress", "class", start, start, np.zeros(3), classes=("rest", "stress"))
    with pytest.raises(RecordingError, match="without a name"):
        LabelTrack("stress", "class", start, start, np.array([0.0, 2.0]), classes=("rest", "stress"))


def test_a_visit_is_of_one_subject() -> None:
    assert Visit(subject=PERSON, recordings={"acc": recording()}).group == PERSON
    with pytest.raises(RecordingError, match="two subjects"):
        Visit(subject=OTHER, recordings={"acc": recording()})
    with pytest.raises(RecordingError, match="differently"):
        Visit(subject=PERSON, recordings={"gyro": recording()})

"""Doses and meals on a grid: sums, and the difference between nothing and not known."""

import numpy as np
import pytest

from hdt_fm.schema.errors import RecordingError, UnitError
from hdt_fm.schema.preparation import ModalityPreparation, Preparation
from hdt_fm.schema.recording import NS_PER_S, Channel, LabelTrack, Recording, Visit
from hdt_fm.signal.given import SILENT_S, amounts_given
from hdt_fm.signal.windows import cut

SUBJECT, RATE = "s" + "0" * 32, 1 / 300
DAYS = 6


def visit(times_s, values, *, name="carbs", unit="g", kind="event"):
    recording = Recording(
        modality="glucose",
        values=np.full((1, DAYS * 288), 100, dtype=np.float32),
        observed=np.ones(DAYS * 288, dtype=bool),
        sampling_rate_hz=RATE,
        start_ns=1_000_000 * NS_PER_S,
        channels=(Channel("cgm", "mg/dL"),),
        subject=SUBJECT,
        device="made",
        body_site="",
    )
    times = (1_000_000 + np.array(times_s)) * NS_PER_S
    track = LabelTrack(name, kind, times, times, np.array(values, dtype=np.float64), unit=unit)
    return Visit(SUBJECT, {"glucose": recording}, {name: track})


def test_amounts_are_summed_in_the_step_that_ends_with_the_sample():
    # 1 s and 299 s belong to the sample at 300 s; 300 s too; 301 s to the next.
    found = amounts_given(visit([1, 299, 300, 301], [10, 20, 30, 5]), "carbs", RATE)
    assert found.values[0, :4].tolist() == [0, 60, 5, 0]
    assert found.values.sum() == 65
    assert found.modality == "carbs"


def test_what_was_given_is_unknown_before_the_first_entry_and_after_a_long_silence():
    first, last = 3600, 3600 + 7200
    found = amounts_given(visit([first, last], [10, 10]), "carbs", RATE)
    known = np.flatnonzero(found.observed)
    assert known[0] == first / 300
    assert known[-1] == (last + SILENT_S) / 300
    assert len(known) == known[-1] - known[0] + 1
    assert not found.values[0, ~found.observed].any()


def test_nothing_later_is_known():
    early = amounts_given(visit([3600], [10]), "carbs", RATE)
    later = amounts_given(visit([3600, 7201], [10, 90]), "carbs", RATE)
    until = 7200 // 300 + 1
    assert np.array_equal(early.values[:, :until], later.values[:, :until])
    assert np.array_equal(early.observed[:until], later.observed[:until])


def test_units_are_converted_and_slips_refused():
    assert amounts_given(visit([600], [4000], name="bolus", unit="mU"), "bolus", RATE).values.sum() == 4
    with pytest.raises(RecordingError, match="nobody is given") as error:
        amounts_given(visit([600], [400], name="bolus", unit="U"), "bolus", RATE)
    assert "400" not in str(error.value)
    with pytest.raises(UnitError, match="furlong"):
        amounts_given(visit([600], [4], unit="furlong"), "carbs", RATE)


@pytest.mark.parametrize("one", [visit([600], [4], kind="value"), visit([600], [4], name="protein")])
def test_a_visit_without_such_events_says_nothing(one):
    assert amounts_given(one, "carbs", RATE) is None


def test_entries_outside_of_every_recording_say_nothing():
    assert amounts_given(visit([-5000, (DAYS + 1) * 86_400], [4, 4]), "carbs", RATE) is None


def test_windows_hold_treatments_beside_signals():
    made = Preparation(
        window_s=3600,
        hop_s=3600,
        min_coverage=0.01,
        modalities={
            "glucose": ModalityPreparation(sampling_rate_hz=RATE),
            "carbs": ModalityPreparation(sampling_rate_hz=RATE),
            "bolus": ModalityPreparation(sampling_rate_hz=RATE),
        },
    )
    windows = cut(visit([3600 * 5 + 900], [42]), made)
    carbs, bolus = windows.modalities.index("carbs"), windows.modalities.index("bolus")
    assert windows.signals["carbs"].sum() == 42
    assert windows.signals["carbs"][5, 0, 3] == 42
    assert windows.present[:, carbs].tolist()[:7] == [False] * 5 + [True, True]
    assert not windows.present[:, bolus].any()

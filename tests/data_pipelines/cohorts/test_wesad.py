"""WESAD: two devices on one clock, the conditions of the protocol, people."""

import numpy as np
import pytest

from data_pipelines.cohorts.wesad import Wesad
from hdt_fm.schema.errors import ReaderError, UnitError
from hdt_fm.schema.recording import NS_PER_S
from hdt_fm.schema.subject import SubjectKey

MIDNIGHT_NS = 946_684_800 * NS_PER_S
MINUTE_NS = 60 * NS_PER_S


@pytest.fixture(scope="module")
def folder(public, tmp_path_factory):
    """Nobody changes it."""
    path = tmp_path_factory.mktemp("wesad")
    public.wesad(path, 2)
    return path


def visits_of(folder, **arguments):
    return Wesad(path=str(folder), subject_key="public", **arguments).visits()


def spans(track):
    """(class, begin, end) in minutes of the session."""
    times = zip(track.start_ns.tolist(), track.end_ns.tolist(), strict=True)
    found = [((a - MIDNIGHT_NS) / MINUTE_NS, (b - MIDNIGHT_NS) / MINUTE_NS) for a, b in times]
    return [(track.classes[int(value)], *span) for value, span in zip(track.values, found, strict=True)]


def test_both_devices_in_their_units_on_one_clock(folder):
    (visit,) = visits_of(folder)
    rates = {name: recording.sampling_rate_hz for name, recording in visit.recordings.items()}
    chest = dict.fromkeys(("ecg", "resp", "acc_chest", "emg", "eda_abdomen", "temp_chest"), 700)
    assert rates == {"ppg": 64, "acc": 32, "eda": 4, "temp": 4} | chest
    assert {recording.start_ns for recording in visit.recordings.values()} == {MIDNIGHT_NS}
    assert {recording.duration_s for recording in visit.recordings.values()} == {480.0}
    # 64 counts of 1/64 g are 1 g.
    assert visit.recordings["acc"].values[:, 5].tolist() == [5 / 64, 0, 1]
    assert visit.recordings["acc"].channels[0].source_unit == "1/64 g"
    assert visit.recordings["acc_chest"].values[0, 7] == pytest.approx(0.9)
    assert visit.recordings["eda_abdomen"].values[0, 0] == pytest.approx(4)
    assert visit.recordings["eda"].values[0, 8] == pytest.approx(0.52)
    assert visit.recordings["temp_chest"].values[0, 0] == 34


def test_three_questions_of_one_protocol(folder):
    (visit,) = visits_of(folder)
    assert spans(visit.labels["condition"]) == [
        ("baseline", 1, 2),
        ("stress", 2, 3),
        ("amusement", 3, 4),
        ("meditation", 4, 5),
        ("stress", 6, 7),
        ("baseline", 7, 8),
    ]
    assert spans(visit.labels["stress"]) == [
        ("no_stress", 1, 2),
        ("stress", 2, 3),
        ("no_stress", 3, 4),
        ("stress", 6, 7),
        ("no_stress", 7, 8),
    ]
    assert [word for word, *_ in spans(visit.labels["affect"])] == [
        "baseline",
        "stress",
        "amusement",
        "stress",
        "baseline",
    ]
    assert visit.labels["affect"].classes == ("baseline", "stress", "amusement")


def test_people_are_pseudonyms_with_coarse_facts(folder):
    (visit,) = visits_of(folder / "WESAD")
    assert visit.subject == SubjectKey.public().pseudonym("wesad", "S2")
    assert visit.covariates == {"sex": "F", "age_band": "20-29"}
    assert [path.name for path in Wesad(path=str(folder)).inputs()] == ["S2.pkl", "S2_readme.txt"]


def test_without_a_readme_there_are_no_facts_and_gaps_stay(public, tmp_path):
    wrist, chest = public._wrist(60, 64.0), public._chest(60)
    chest["ECG"][700:1400] = np.nan
    path = public.wesad(tmp_path, 13, minutes=1, signal={"wrist": wrist, "chest": chest})
    path.with_name("S13_readme.txt").unlink()
    (visit,) = visits_of(tmp_path)
    assert visit.covariates == {}
    assert np.flatnonzero(~visit.recordings["ecg"].observed).tolist() == list(range(700, 1400))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (lambda p: {"label": np.ones(700 * 30)}, ReaderError, "do not span the signals(.|\n)*label(.|\n)*42000"),
        (lambda p: {"label": np.full(700 * 60, 9)}, ReaderError, "does not name(.|\n)*42000 of 42000"),
        (lambda p: {"subject": "S99"}, ReaderError, "recording of someone else"),
        (
            lambda p: {"signal": {"wrist": p._wrist(60, 64.0), "chest": {"ECG": np.zeros((42_000, 1))}}},
            ReaderError,
            "lacks an array(.|\n)*signal/chest/Resp",
        ),
        (
            lambda p: {"signal": {"wrist": p._wrist(60, 64.0), "chest": p._chest(60) | {"ECG": np.zeros((42_000, 2))}}},
            ReaderError,
            r"wrong form(.|\n)*signal/chest/ECG(.|\n)*\(time, 1\)(.|\n)*\(42000, 2\)",
        ),
        (
            lambda p: {"signal": {"wrist": p._wrist(60, 64.0), "chest": p._chest(50)}},
            ReaderError,
            "not as long as the others",
        ),
        (
            lambda p: {"signal": {"wrist": p._wrist(60, 64.0), "chest": p._chest(60) | {"ECG": np.full(42_000, 900)}}},
            UnitError,
            "cannot be in 'mV'",
        ),
    ],
)
def test_broken_recordings_are_said_and_stop_nobody_else(public, tmp_path, changes, error, message):
    public.wesad(tmp_path, 5, minutes=1, **changes(public))
    public.wesad(tmp_path, 6, minutes=1)
    visits = visits_of(tmp_path)
    with pytest.raises(error, match=message) as caught:
        next(visits)
    assert "S5" not in str(caught.value)
    assert "S99" not in str(caught.value)
    assert "what to do" in str(caught.value)
    assert next(visits).recordings


def test_truncated_and_missing_pickles(public, tmp_path):
    path = public.wesad(tmp_path, 2, minutes=1)
    path.write_bytes(path.read_bytes()[:-2000])
    public.wesad(tmp_path, 3, minutes=1).unlink()
    visits = visits_of(tmp_path)
    with pytest.raises(ReaderError) as caught:
        next(visits)
    assert "what to do" in str(caught.value)
    with pytest.raises(ReaderError, match="lacks the synchronised recording"):
        next(visits)


def test_a_folder_of_other_things(tmp_path):
    (tmp_path / "Schedule").mkdir()
    with pytest.raises(ReaderError, match=r"holds no person(.|\n)*WESAD/SN/SN\.pkl"):
        visits_of(tmp_path)

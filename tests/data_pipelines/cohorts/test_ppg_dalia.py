"""PPG-DaLiA: two devices on one clock, the published heart rate window by window, activities, people."""

import numpy as np
import pytest

from data_pipelines.cohorts.ppg_dalia import ACTIVITIES, PpgDalia
from hdt_fm.schema.errors import ReaderError, UnitError
from hdt_fm.schema.preparation import ModalityPreparation, Preparation
from hdt_fm.schema.recording import NS_PER_S
from hdt_fm.schema.subject import SubjectKey
from hdt_fm.signal.windows import cut

MIDNIGHT_NS = 946_684_800 * NS_PER_S


def visits_of(folder, **arguments):
    return PpgDalia(path=str(folder), subject_key="public", **arguments).visits()


def test_both_devices_in_their_units_on_one_clock(public, tmp_path):
    public.ppg_dalia(tmp_path)
    (visit,) = visits_of(tmp_path)
    rates = {name: recording.sampling_rate_hz for name, recording in visit.recordings.items()}
    assert rates == {"ppg": 64, "acc": 32, "eda": 4, "temp": 4, "ecg": 700, "resp": 700, "acc_chest": 700}
    assert {recording.start_ns for recording in visit.recordings.values()} == {MIDNIGHT_NS}
    assert {recording.duration_s for recording in visit.recordings.values()} == {40.0}
    assert all(recording.observed.all() for recording in visit.recordings.values())
    assert visit.recordings["acc"].values[:, 5].tolist() == [5 / 64, 0, 1]
    assert visit.recordings["ppg"].values[0, 16] == pytest.approx(50 * np.sin(2 * np.pi * 1.25 / 4))
    assert visit.recordings["temp"].values[0, 8] == pytest.approx(33.04)
    assert visit.recordings["ecg"].values[0, [0, 19, 20, 560]].tolist() == [1, 1, 0, 1]
    assert visit.recordings["acc_chest"].values[0, 7] == pytest.approx(0.9)
    assert (visit.recordings["acc"].body_site, visit.recordings["acc_chest"].body_site) == ("wrist", "chest")


@pytest.mark.parametrize("unit", [1.0, 64.0])
def test_gravity_tells_the_unit_of_the_wrist(public, tmp_path, unit):
    public.ppg_dalia(tmp_path, unit=unit)
    (visit,) = visits_of(tmp_path)
    assert visit.recordings["acc"].values[:, 7].tolist() == [7 / 64, 0, 1]


def test_a_window_has_exactly_the_published_heart_rate(public, tmp_path):
    public.ppg_dalia(tmp_path)
    (visit,) = visits_of(tmp_path)
    preparation = Preparation(window_s=8, hop_s=2, modalities={"ppg": ModalityPreparation(sampling_rate_hz=32)})
    windows = cut(visit, preparation)
    assert len(windows) == 17
    assert windows.labels["heart_rate"].tolist() == [71 + k / 4 for k in range(17)]
    # Beats every 0.8 s.
    assert windows.labels["beats"] == pytest.approx(np.full(17, 75.0))


def test_activities_have_names_and_ways_between_them_have_no_label(public, tmp_path):
    public.ppg_dalia(tmp_path)
    (visit,) = visits_of(tmp_path)
    track = visit.labels["activity"]
    assert track.classes == tuple(ACTIVITIES.values())
    assert [track.classes[int(value)] for value in track.values] == ["sitting", "walking"]
    edges = [(int(t) - MIDNIGHT_NS) / NS_PER_S for t in (*track.start_ns, *track.end_ns)]
    assert edges == [10, 30, 30, 40]


def test_missing_samples_and_numbers_stay_missing(public, tmp_path):
    wrist, chest = public._wrist(40, 1.0), public._chest(40)
    wrist["BVP"][100:110] = np.nan
    label = np.full(17, 80.0)
    label[3], label[4] = np.nan, 0
    public.ppg_dalia(tmp_path, signal={"wrist": wrist, "chest": chest}, label=label)
    (visit,) = visits_of(tmp_path)
    assert np.flatnonzero(~visit.recordings["ppg"].observed).tolist() == list(range(100, 110))
    assert len(visit.labels["heart_rate"].values) == 15


def test_people_are_pseudonyms_in_the_order_of_their_numbers(public, tmp_path):
    for number in (10, 2):
        public.ppg_dalia(tmp_path, number)
    public.ppg_dalia(tmp_path, 3, questionnaire={"Gender": "f ", "AGE": 55.0})
    public.ppg_dalia(tmp_path, 4, questionnaire={"Gender": "", "AGE": "unknown"})
    key = SubjectKey.public()
    visits = list(visits_of(tmp_path / "PPG_FieldStudy"))
    assert [visit.subject for visit in visits] == [key.pseudonym("ppg_dalia", f"S{n}") for n in (2, 3, 4, 10)]
    assert [dict(visit.covariates) for visit in visits] == [
        {"sex": "M", "age_band": "30-39"},
        {"sex": "F", "age_band": "50-59"},
        {},
        {"sex": "M", "age_band": "30-39"},
    ]
    assert len(visits_of(tmp_path, limit=2)) == 2
    assert [path.name for path in PpgDalia(path=str(tmp_path), limit=1).inputs()] == ["S2.pkl"]


def without(mapping, name):
    return {key: value for key, value in mapping.items() if key != name}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (lambda p: {"label": np.full(11, 70.0)}, ReaderError, "do not span the signals(.|\n)*label(.|\n)*17"),
        (lambda p: {"activity": np.ones((100, 1))}, ReaderError, "do not span the signals(.|\n)*activity"),
        (lambda p: {"activity": np.full((160, 1), 11)}, ReaderError, "code that its publisher does not name"),
        (lambda p: {"activity": np.full((160, 1), 1.5)}, ReaderError, "whole numbers out of 0, 1(.|\n)*160 of 160"),
        (lambda p: {"activity": np.array(["a"] * 160)}, ReaderError, "wrong form(.|\n)*activity"),
        (lambda p: {"rpeaks": np.array([10, 90_000])}, ReaderError, "outside of the ECG(.|\n)*1 of 2"),
        (lambda p: {"subject": "S77"}, ReaderError, "recording of someone else"),
        (
            lambda p: {"signal": {"wrist": without(p._wrist(40, 1.0), "BVP"), "chest": p._chest(40)}},
            ReaderError,
            "lacks an array(.|\n)*signal/wrist/BVP",
        ),
        (
            lambda p: {"signal": {"wrist": p._wrist(20, 1.0), "chest": p._chest(40)}},
            ReaderError,
            "not as long as the others",
        ),
        (
            lambda p: {"signal": {"wrist": p._wrist(40, 9.81), "chest": p._chest(40)}},
            UnitError,
            "does not show gravity(.|\n)*1/64 g",
        ),
    ],
)
def test_broken_recordings_are_said_and_stop_nobody_else(public, tmp_path, changes, error, message):
    public.ppg_dalia(tmp_path, 5, **changes(public))
    public.ppg_dalia(tmp_path, 6)
    visits = visits_of(tmp_path)
    with pytest.raises(error, match=message) as caught:
        next(visits)
    assert "S5" not in str(caught.value)
    assert "S77" not in str(caught.value)
    assert "what to do" in str(caught.value)
    assert caught.value.__notes__ == ["in visit 1 of 2, in the order of file names"]
    assert next(visits).recordings


def test_truncated_missing_and_hostile_pickles(public, tmp_path):
    path = public.ppg_dalia(tmp_path, 1)
    path.write_bytes(path.read_bytes()[:5000])
    path = public.ppg_dalia(tmp_path, 2)
    path.unlink()
    path = public.ppg_dalia(tmp_path, 3)
    path.write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR.")
    visits = visits_of(tmp_path)
    for message in (None, "lacks the synchronised recording", None):
        with pytest.raises(ReaderError, match=message):
            next(visits)
    assert not (tmp_path / "ran").exists()


def test_a_folder_of_other_things(tmp_path):
    with pytest.raises(ReaderError, match=r"holds no person(.|\n)*PPG_FieldStudy/SN/SN\.pkl"):
        visits_of(tmp_path)

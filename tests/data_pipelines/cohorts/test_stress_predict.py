from datetime import datetime, time

import numpy as np
import openpyxl
import pytest

from data_pipelines.cohorts.stress_predict import StressPredict
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.preparation import ModalityPreparation, Preparation
from hdt_fm.schema.subject import SubjectKey, is_pseudonym
from hdt_fm.signal.windows import cut

S = 1_000_000_000
START = 1_700_000_000


@pytest.fixture
def folder(fabricate, tmp_path):
    """S01 (labelled by the log alone) and S02 (by seconds), 20 s each."""
    for number in (2, 1):
        files = fabricate.e4_files(seed=number, start=START + 1000 * number)
        fabricate.e4_zip(tmp_path / "Raw_data" / f"S{number:02d}.zip", files)
    lines = ["Participant,HR,respr,Time(sec),Label"]
    lines += [f"2,70,12,{START + 2002 + t},{int(5 <= t < 9)}" for t in range(15) if t != 12]
    (tmp_path / "Processed_data").mkdir()
    (tmp_path / "Processed_data" / "Improved_All_Combined_hr_rsp_binary.csv").write_text("\n".join(lines) + "\n")
    book = openpyxl.Workbook()
    sheet = book.active
    names = ["S. ID.", "Consent", None, "Stroop Test", None, "Relax", None, "Interview", None, None, "Date"]
    sheet.append(names)
    sheet.append([None, *["Start", "End"] * 4, None, None])
    day = datetime(2022, 2, 7)
    clocks = [time(11, 0), time(11, 30), time(12, 58), time(1, 3), time(1, 3), time(1, 8), time(1, 9), time(1, 20)]
    for person in ("S01", "S02"):
        sheet.append([person, *clocks, None, day])
    book.save(tmp_path / "Processed_data" / "Time_logs.xlsx")
    return tmp_path


def intervals(track):
    return list(zip(track.start_ns.tolist(), track.end_ns.tolist(), track.values.tolist(), strict=True))


def test_seconds_become_intervals_and_a_missing_second_stays_missing(folder):
    visits = list(StressPredict(path=str(folder), subject_key="public").visits())
    stress = visits[1].labels["stress"]
    origin = START + 2002
    assert stress.classes == ("rest", "stress")
    assert intervals(stress) == [
        ((origin + a) * S, (origin + b) * S, label) for a, b, label in [(0, 5, 0), (5, 9, 1), (9, 12, 0), (13, 15, 0)]
    ]
    assert set(visits[1].labels) == {"stress", "heart_rate", "beats"}


def test_one_without_seconds_is_labelled_from_the_twelve_hour_log(folder):
    stress = next(StressPredict(path=str(folder), subject_key="public").visits()).labels["stress"]
    hour = lambda h, m: round(datetime(2022, 2, 7, h, m).timestamp() - datetime(1970, 1, 1).timestamp()) * S
    # Consent is no rest; 1:03 is in the afternoon; rest reaches from task to task.
    assert intervals(stress) == [
        (hour(12, 58), hour(13, 3), 1),
        (hour(13, 3), hour(13, 9), 0),
        (hour(13, 9), hour(13, 20), 1),
    ]


def test_raw_ids_do_not_pass(folder):
    key = SubjectKey.public()
    visits = list(StressPredict(path=str(folder), subject_key="public").visits())
    assert [v.subject for v in visits] == [key.pseudonym("stress_predict", s) for s in ("S01", "S02")]
    for visit in visits:
        assert is_pseudonym(visit.subject)
        assert "S0" not in repr({k: v for k, v in vars(visit).items() if k not in ("recordings", "labels")})


def test_inputs_are_all_files_read(folder):
    names = [path.name for path in StressPredict(path=str(folder)).inputs()]
    assert names == ["S01.zip", "S02.zip", "Improved_All_Combined_hr_rsp_binary.csv", "Time_logs.xlsx"]


def test_a_broken_session_stops_nobody_else_and_is_named_by_number(folder):
    path = folder / "Raw_data" / "S01.zip"
    path.write_bytes(path.read_bytes()[:3000])
    visits = StressPredict(path=str(folder), subject_key="public").visits()
    with pytest.raises(ReaderError, match="truncated") as caught:
        next(visits)
    assert caught.value.__notes__ == ["in visit 1 of 2, in the order of file names"]
    assert "S01" not in str(caught.value)
    assert next(visits).labels["stress"]
    assert next(visits, None) is None


def test_without_label_files_there_is_no_stress_track(folder):
    for path in (folder / "Processed_data").iterdir():
        path.unlink()
    assert all("stress" not in v.labels for v in StressPredict(path=str(folder), subject_key="public").visits())


@pytest.mark.parametrize(
    ("old", "new", "message"), [("Label", "Lable", "lacks a column"), (",1\n", ",3\n", "another label")]
)
def test_label_files_that_do_not_fit(folder, old, new, message):
    path = folder / "Processed_data" / "Improved_All_Combined_hr_rsp_binary.csv"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ReaderError, match=message):
        StressPredict(path=str(folder), subject_key="public").visits()


def test_a_folder_without_sessions(tmp_path):
    with pytest.raises(ReaderError, match="holds no session"):
        StressPredict(path=str(tmp_path), subject_key="public").visits()


@pytest.mark.real
def test_real_cohort(real_data):
    cohort = StressPredict(path=str(real_data / "stress_predict"), subject_key="public")
    visits = cohort.visits()
    assert len(visits) == 28
    preparation = Preparation(
        window_s=60,
        hop_s=60,
        modalities={
            "ppg": ModalityPreparation(sampling_rate_hz=64, highpass_hz=0.5, lowpass_hz=8),
            "acc": ModalityPreparation(sampling_rate_hz=32, channels=3),
            "eda": ModalityPreparation(sampling_rate_hz=4),
            "temp": ModalityPreparation(sampling_rate_hz=4),
        },
    )
    first, second = next(visits), next(visits)
    # S01 by the log: Stroop began at 09:29 UTC on 2022-02-07.
    assert intervals(first.labels["stress"])[0][0] == 1_644_226_140 * S
    # S02 by seconds: stress from 10:03:16 to 10:09:32.
    assert intervals(second.labels["stress"])[1] == (1_644_228_196 * S, 1_644_228_572 * S, 1.0)
    windows = cut(second, preparation)
    assert (len(windows), windows.possible) == (59, 59)
    assert windows.present.all()
    assert np.nansum(windows.labels["stress"]) == 20
    # The device's heart rate of the minute agrees with its own HR.csv.
    heart = second.labels["heart_rate"]
    minute = windows.starts_ns[5]
    inside = (heart.start_ns >= minute) & (heart.start_ns < minute + 60 * S)
    assert windows.labels["heart_rate"][5] == pytest.approx(heart.values[inside].mean(), rel=1e-5)

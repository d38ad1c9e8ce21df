"""LifeSnaps and Welltory: a sample a day, moods, places, weather and symptoms; and the published tables themselves."""

from datetime import UTC, datetime

import pandas as pd
import pytest

from data_pipelines.cohorts.lifesnaps_daily import _LABELS, _MOODS, _PLACES, _SIGNALS, LifesnapsDaily
from data_pipelines.cohorts.welltory_covid19 import WelltoryCovid19
from hdt_fm.schema.errors import ReaderError

S = 1_000_000_000
DAY = 86_400 * S


def ns(*moment):
    return round(datetime(*moment, tzinfo=UTC).timestamp()) * S


def pairs(track):
    return list(zip(track.start_ns.tolist(), track.values.tolist(), strict=True))


COLUMNS = [
    "id",
    "date",
    "age",
    "gender",
    "bmi",
    *(c for c, _ in (*_SIGNALS.values(), *_LABELS.values())),
    *_MOODS,
    *_PLACES,
]


def lifesnaps(tmp_path, *rows):
    lines = [",".join(COLUMNS)]
    lines += [",".join(str(row.get(column, "")) for column in COLUMNS) for row in rows]
    (tmp_path / "daily_fitbit_sema_df_unprocessed.csv").write_text("\n".join(lines) + "\n")
    return LifesnapsDaily(path=str(tmp_path), subject_key="public")


def test_lifesnaps_gives_a_sample_a_day_and_what_was_said(tmp_path):
    visit, other = lifesnaps(
        tmp_path,
        {"id": "a", "date": "2021-05-24", "steps": 1440, "bpm": 60, "resting_hr": 0, "HAPPY": 1, "age": "<30"},
        {"id": "b", "date": "2021-05-24", "spo2": 96, "gender": "FEMALE", "bmi": ">=30", "age": ">=30"},
        {"id": "a", "date": "2021-05-26", "steps": 0, "bpm": 62, "resting_hr": 55, "HAPPY": 0, "gender": "MALE"},
    ).visits()
    steps, pulse = visit.recordings["steps"], visit.recordings["heart_rate"]
    assert steps.start_ns == pulse.start_ns == ns(2021, 5, 24)
    assert steps.sampling_rate_hz == pytest.approx(1 / 86_400)
    # 1,440 steps a day are one a minute; a day of none is a watch in a drawer.
    assert steps.values[0].tolist() == [1, 0, 0]
    assert steps.observed.tolist() == [True, False, False]
    assert pulse.observed.tolist() == [True, False, True]
    assert pairs(visit.labels["resting_heart_rate"]) == [(ns(2021, 5, 26), 55)]
    assert pairs(visit.labels["mood_happy"]) == [(ns(2021, 5, 24), 1), (ns(2021, 5, 26), 0)]
    assert (visit.labels["mood_happy"].end_ns - visit.labels["mood_happy"].start_ns).tolist() == [DAY, DAY]
    assert "mood_sad" not in visit.labels
    assert visit.covariates == {"sex": "M", "age_band": "18-29"}
    assert other.covariates == {"sex": "F", "age_band": "30+", "bmi_band": "30+"}


def test_lifesnaps_ties_one_person_under_two_ids(tmp_path):
    """a and c share 20 days; b shares 19 with a, and its other days are its own."""
    rows = []
    for day in range(25):
        date = f"2021-06-{day + 1:02d}"
        own = {"date": date, "calories": 2000.5 + day, "resting_hr": 61.25 + day}
        rows.append({"id": "a", **own})
        rows.append({"id": "b", **own, "calories": own["calories"] + (day >= 19)})
        rows.append({"id": "c", **own, "resting_hr": own["resting_hr"] + (day >= 20)})
    a, b, c = lifesnaps(tmp_path, *rows).visits()
    assert len({a.subject, b.subject, c.subject}) == 3
    assert a.group == c.group == a.subject
    assert b.group == b.subject


def test_lifesnaps_refuses_other_tables(tmp_path):
    with pytest.raises(ReaderError, match="lacks its table"):
        LifesnapsDaily(path=str(tmp_path), subject_key="public").inputs()
    (tmp_path / "daily_fitbit_sema_df_unprocessed.csv").write_text("id,date\n1,2021-01-01\n")
    with pytest.raises(ReaderError, match="lacks a column"):
        LifesnapsDaily(path=str(tmp_path), subject_key="public").visits()


@pytest.mark.real
def test_lifesnaps_as_published(real_data):
    parts = LifesnapsDaily(path=str(real_data / "lifesnaps_daily"), subject_key="public").visits().parts
    assert len(parts) == 57
    assert len({part().group for part in parts}) == 55
    visit = parts[0]()
    table = pd.read_csv(real_data / "lifesnaps_daily" / "daily_fitbit_sema_df_unprocessed.csv")
    rows = table[table["id"] == sorted(table["id"])[0]]
    temp = visit.recordings["temp"]
    assert temp.observed.sum() == rows["nightly_temperature"].notna().sum()
    assert temp.values[0, temp.observed].mean() == pytest.approx(rows["nightly_temperature"].mean(), rel=1e-6)
    assert len(visit.labels["mood_happy"].values) == rows["HAPPY"].notna().sum()


def welltory(tmp_path, **tables):
    for name, text in tables.items():
        (tmp_path / f"{name}.csv").write_text(text)
    return WelltoryCovid19(path=str(tmp_path), subject_key="public")


PEOPLE = "user_code,gender,age_range,city,country,symptoms_onset\nu1,m,25-34,X,Y,5/27/2020\nu2,f,45-54,X,Y,\n"


def test_welltory_gives_beats_days_symptoms_and_weather(tmp_path):
    cohort = welltory(
        tmp_path,
        participants=PEOPLE,
        hrv_measurements="user_code,measurement_datetime,rmssd,sdnn,bpm,how_feel,how_mood,rr_data\n"
        'u1,2020-04-21 21:23:08,54,45,75,0,-1,"800,5000,900"\n',
        blood_pressure="user_code,measurement_datetime,diastolic,systolic\nu1,2020-04-29  22:33:33,80,120\n",
        wearables="user_code,day,pulse_average,average_spo2_value,steps_count,total_calories_burned,"
        "average_environment_exposure,resting_pulse,body_temperature_avg\nu1,2020-04-26,70,0.97,720,,,50,\n",
        weather="user_code,day,avg_temperature_C,atmospheric_pressure,humidity,precip_intensity,clouds\n"
        "u1,2020-04-26,12,1014,60,0,50\n",
        surveys="user_code,scale,created_at,value\nu1,S_COVID_FEVER,2020-05-28,3\nu1,S_HRA_RARE,2020-05-28,1\n",
        sleep="user_code,sleep_begin,sleep_end\nu1,2020-04-26 23:00:00,2020-04-27 06:00:00\n",
    )
    visit, other = cohort.visits()
    begin = ns(2020, 4, 21, 21, 23, 8)
    # The clock goes on over an odd interval, the beat after it is not told.
    assert pairs(visit.labels["beats"]) == [(begin + 800_000_000, 0.8), (begin + 6_700_000_000, 0.9)]
    assert pairs(visit.labels["mood"]) == [(begin, -1)]
    assert pairs(visit.labels["systolic"]) == [(ns(2020, 4, 29, 22, 33, 33), 120)]
    assert visit.recordings["spo2"].values[0, 0] == pytest.approx(97)
    assert visit.recordings["steps"].values[0, 0] == pytest.approx(0.5)
    assert visit.labels["outdoor_pressure"].unit == "hPa"
    assert pairs(visit.labels["symptom_fever"]) == [(ns(2020, 5, 28), 3)]
    assert pairs(visit.labels["symptoms_onset"]) == [(ns(2020, 5, 27), 1)]
    assert visit.labels["asleep"].end_ns.tolist() == [ns(2020, 4, 27, 6)]
    assert not [name for name in visit.labels if "rare" in name], "a rare illness names a person"
    assert other.covariates == {"sex": "F", "age_band": "45-54"}
    assert not other.recordings


def test_welltory_refuses_people_who_are_not_in_it(tmp_path):
    with pytest.raises(ReaderError, match="none of its files"):
        WelltoryCovid19(path=str(tmp_path), subject_key="public").inputs()
    cohort = welltory(
        tmp_path, participants=PEOPLE, sleep="user_code,sleep_begin,sleep_end\nu9,2020-04-26,2020-04-27\n"
    )
    with pytest.raises(ReaderError, match="not among the participants") as caught:
        cohort.visits()
    assert "u9" not in str(caught.value)


@pytest.mark.real
def test_welltory_as_published(real_data):
    parts = WelltoryCovid19(path=str(real_data / "welltory_covid19"), subject_key="public").visits().parts
    assert len(parts) == 148
    visit = parts[1]()
    table = pd.read_csv(real_data / "welltory_covid19" / "hrv_measurements.csv")
    rows = table[table["user_code"] == sorted(table["user_code"].unique())[1]]
    assert len(visit.labels["hrv"].values) == len(rows)
    assert visit.labels["hrv"].values.tolist() == sorted_by_time(rows, "rmssd")
    assert len(visit.labels["beats"].values) == sum(len(text.split(",")) for text in rows["rr_data"])


def sorted_by_time(rows, column):
    return rows.sort_values("measurement_datetime")[column].tolist()

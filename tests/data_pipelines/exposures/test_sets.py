"""Days of people out of fabricated tables, and out of the published ones."""

import numpy as np
import pytest

from data_pipelines.cohorts.lifesnaps_daily import _LABELS, _MOODS, _PLACES, _SIGNALS
from data_pipelines.exposures.sets.actiwatch import actiwatch_days
from data_pipelines.exposures.sets.lifesnaps import lifesnaps_days
from data_pipelines.exposures.sets.welltory import welltory_days
from hdt_fm.schema.errors import ReaderError

NAN = np.nan
PEOPLE = "user_code,gender,age_range,city,country,symptoms_onset\nu1,m,25-34,X,Y,\nu2,f,45-54,X,Y,\n"


def near(expected):
    return pytest.approx(expected, nan_ok=True)


def test_welltory_weather_and_what_was_measured_until_the_day_after(tmp_path):
    tables = {
        "participants": PEOPLE,
        "weather": "user_code,day,avg_temperature_C,atmospheric_pressure,humidity,precip_intensity,clouds\n"
        "u1,2020-04-26,12,1014,60,0.01,50\nu1,2020-04-28,14,,70,0,50\n",
        "hrv_measurements": "user_code,measurement_datetime,rmssd,sdnn,bpm,how_feel,how_mood,rr_data\n"
        "u1,2020-04-27 08:00:00,20,45,70,0,0,\nu1,2020-04-27 20:00:00,40,45,80,0,0,\n"
        "u1,2020-04-30 08:00:00,20,45,70,0,0,\nu2,2020-04-27 20:00:00,40,45,80,0,0,\n",
    }
    for name, text in tables.items():
        (tmp_path / f"{name}.csv").write_text(text)
    (person,) = welltory_days(tmp_path)
    assert person.first_day == 18_378  # 2020-04-26
    assert person.exposures["temperature"].tolist() == near([12, NAN, 14, NAN])
    assert person.exposures["pressure"].tolist() == near([1014, NAN, NAN, NAN])
    # A hundredth of an inch an hour.
    assert person.exposures["rain"].tolist() == near([0.254 * 24, NAN, 0, NAN])
    assert person.outcomes["ln RMSSD"].tolist() == near([NAN, np.log(30), NAN, NAN])
    assert person.outcomes["spot pulse"].tolist() == near([NAN, 75, NAN, NAN])
    assert np.isnan(person.outcomes["resting pulse"]).all()


def test_lifesnaps_words_are_unknown_on_days_without_an_answer(tmp_path):
    columns = ["id", "date", "age", "gender", "bmi", *(c for c, _ in (*_SIGNALS.values(), *_LABELS.values()))]
    columns += [*_MOODS, *_PLACES]
    rows = [
        {"id": "a", "date": "2021-05-24", "HOME": 1, "OUTDOORS": 0, "TIRED": 0, "rmssd": 40, "resting_hr": 60},
        {"id": "a", "date": "2021-05-25", "rmssd": 50, "minutesAsleep": 400},
        {"id": "a", "date": "2021-05-26", "HOME": 0, "OUTDOORS": 1, "TIRED": 1},
        {"id": "b", "date": "2021-05-26", "rmssd": 40},
    ]
    lines = [",".join(columns), *(",".join(str(row.get(name, "")) for name in columns) for row in rows)]
    (tmp_path / "daily_fitbit_sema_df_unprocessed.csv").write_text("\n".join(lines) + "\n")
    (person,) = lifesnaps_days(tmp_path)
    assert person.exposures["place home"].tolist() == near([1, NAN, 0])
    assert person.exposures["mood tired"].tolist() == near([0, NAN, 1])
    assert person.outcomes["ln RMSSD"].tolist() == near([np.log(40), np.log(50), NAN])
    assert person.outcomes["sleep"].tolist() == near([NAN, 400, NAN])


def actiwatch(path, hours, *, header="Date,Time,Activity,White Light,Sleep/Wake"):
    lines = [header]
    for hour in range(hours):
        day, of_day = 20 + hour // 24, hour % 24
        asleep = of_day < 6 or of_day == 14
        cells = f"{hour},{'2000' if of_day == 12 else '0'},{int(not asleep)}"
        lines.append(f"2/{day}/2019,{of_day % 12 or 12}:00:00 {'PM' if of_day >= 12 else 'AM'},{cells}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_actiwatch_light_and_the_night_that_ends_on_the_day(tmp_path):
    person = actiwatch_days(actiwatch(tmp_path / "a.csv", 60))
    assert person.first_day == 17_947  # 2019-02-20
    assert person.exposures["time outdoors"].tolist() == near([60, 60, NAN])
    # The first night was recorded from 0 h on, two thirds of it; a nap at 14 h is no night's sleep.
    assert person.outcomes["sleep"].tolist() == near([NAN, 360, 360])
    assert person.outcomes["activity"].tolist() == pytest.approx([11.5 / 60, 35.5 / 60, 53.5 / 60])


def test_actiwatch_without_light_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(
        "Date,Time,Activity,Sleep/Wake\n2/20/2019,1:00:00 AM,1,1\n2/20/2019,2:00:00 AM,1,1\n2/20/2019,3:00:00 AM,1,1\n"
    )
    with pytest.raises(ReaderError, match="no light"):
        actiwatch_days(path)


@pytest.mark.real
def test_published_sets(real_data):
    welltory = list(welltory_days(real_data / "welltory_covid19"))
    assert len(welltory) == 86
    temperature = np.concatenate([one.exposures["temperature"] for one in welltory])
    assert np.isfinite(temperature).sum() == 1482
    # As inches an hour: as much rain as falls in a year where people live, 400 to 1,500 mm.
    rain = np.concatenate([one.exposures["rain"] for one in welltory])
    assert 400 < np.nanmean(rain) * 365 < 1500
    lifesnaps = list(lifesnaps_days(real_data / "lifesnaps_daily"))
    assert len({one.group for one in lifesnaps}) == 47
    assert sum(np.isfinite(one.exposures["place home"]).sum() for one in lifesnaps) == 1856
    watch = actiwatch_days(real_data / "device_formats" / "actiwatch" / "sample_actiwatch_light.csv.gz")
    assert np.isfinite(watch.exposures["light"]).sum() == 19

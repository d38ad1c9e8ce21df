import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from data_pipelines.readers.open_mhealth import OpenMhealth
from hdt_fm.schema.errors import ReaderError, UnitError

make = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("fabricate_exports.py"))))
SUBJECT = "s" + "1" * 32
S = 1_000_000_000


def read(path, **more):
    return OpenMhealth(**more).read(path, subject=SUBJECT)


def of(tmp_path, *points, **more):
    return read(make.omh(tmp_path / "a.json", list(points)), **more)


def beat(value=60, unit="beats/min", time=None, **more):
    frame = {"date_time": "2026-03-05T09:30:00Z"} if time is None else time
    return make.point(
        "heart-rate", {"heart_rate": {"value": value, "unit": unit}, "effective_time_frame": frame, **more}
    )


@pytest.mark.parametrize("name", ["a.json", "a.ndjson"])
def test_all_kinds(tmp_path, name):
    path = make.omh(tmp_path / name)
    assert OpenMhealth.detect(path)
    visit = read(path)
    heart = visit.recordings["heart_rate"]
    assert (heart.start_ns, heart.utc_offset_s, heart.values[0].tolist()) == (make.START_NS, -18_000, [60, 61, 62])
    assert visit.recordings["steps"].values[0].tolist() == [50, 50]
    assert visit.recordings["glucose"].values[0].tolist() == pytest.approx([6 * 18.0156] * 4, rel=1e-6)
    assert visit.recordings["spo2"].values[0].tolist() == [97]
    assert visit.labels["body_temperature"].values.tolist() == pytest.approx([37])
    sleep = visit.labels["sleep_stage"]
    assert [sleep.classes[int(v)] for v in sleep.values] == ["asleep"]
    assert (sleep.end_ns - sleep.start_ns).tolist() == [7 * 3600 * S]


def test_a_body_alone_and_statistics(tmp_path):
    high = beat(180, descriptive_statistic="maximum")
    visit = of(tmp_path, beat(61)["body"], high)
    assert visit.recordings["heart_rate"].values.tolist() == [[61]]


def test_several_people_are_refused_listed_and_chosen(tmp_path):
    path = make.omh(tmp_path / "a.json", [*make.omh_points("anna"), *make.omh_points("berta")])
    with pytest.raises(ReaderError, match="2 people") as caught:
        read(path)
    assert "anna" not in str(caught.value)
    assert OpenMhealth.people(path) == ("anna", "berta")
    assert read(path, person="berta").recordings["heart_rate"].values[0].tolist() == [60, 61, 62]


@pytest.mark.parametrize(
    ("point", "error", "message"),
    [
        (beat(unit="Hz"), UnitError, "A unit of heart_rate"),
        (beat(value=1.1), UnitError, "cannot be in 'bpm'"),
        (beat(time={"date_time": "yesterday"}), ReaderError, "another form"),
        (beat(time={"time_interval": {"start_date_time": "2026-03-05T09:30:00Z"}}), ReaderError, "lacks its begin"),
        (beat(time={"time_interval": {"date": "2026-03-05", "part_of_day": "morning"}}), ReaderError, "nothing of use"),
        (
            beat(
                time={
                    "time_interval": {
                        "start_date_time": "2026-03-05T09:30:00Z",
                        "end_date_time": "2026-03-05T09:20:00Z",
                    }
                }
            ),
            ReaderError,
            "ends before",
        ),
        (
            make.point(
                "step-count",
                {"step_count": 5, "effective_time_frame": {"date_time": "2026-03-05T09:30:00Z"}},
            ),
            ReaderError,
            "no interval",
        ),
    ],
)
def test_points_that_are_not_as_they_should_be(tmp_path, point, error, message):
    with pytest.raises(error, match=message):
        of(tmp_path, point)


def test_glucose_in_the_wrong_unit_and_spot_measurements(tmp_path):
    def glucose(minute, value, unit="mg/dL"):
        frame = {"date_time": f"2026-03-05T{9 + minute // 60:02d}:{minute % 60:02d}:00Z"}
        return make.point(
            "blood-glucose", {"blood_glucose": {"value": value, "unit": unit}, "effective_time_frame": frame}
        )

    spots = of(tmp_path, *(glucose(120 * i, 100 + i) for i in range(3)))
    assert (spots.labels["spot_glucose"].values.tolist(), spots.recordings) == ([100, 101, 102], {})
    for every in (5, 120):
        with pytest.raises(UnitError, match="they look like 'mmol/L'"):
            of(tmp_path, *(glucose(every * i, 5.5) for i in range(3)))

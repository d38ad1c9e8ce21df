import runpy
import tracemalloc
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data_pipelines.readers import _apple_xml
from data_pipelines.readers.apple_health import AppleHealth
from hdt_fm.schema.errors import ReaderError, UnitError

make = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("fabricate_exports.py"))))
SUBJECT = "s" + "1" * 32
S = 1_000_000_000
Q = make.APPLE_Q


def read(path):
    return AppleHealth().read(path, subject=SUBJECT)


def of(tmp_path, *records, **more):
    return read(make.apple(tmp_path / "export.xml", list(records), **more))


def test_all_kinds_of_one_export(tmp_path):
    """With the broken document type of iOS 16, in a zone an hour east of Greenwich."""
    visit = read(make.apple(tmp_path / "export.xml"))
    heart = visit.recordings["heart_rate"]
    assert (heart.start_ns, heart.utc_offset_s, heart.sampling_rate_hz) == (make.START_NS, 3600, 1 / 60)
    assert heart.values[0].tolist() == [60 + i for i in range(10)]
    assert visit.recordings["hrv"].values[0].tolist() == [42.5]
    assert visit.recordings["spo2"].values[0].tolist() == [97]
    assert visit.recordings["resp_rate"].values[0].tolist() == [14]
    assert visit.recordings["energy"].values[0].tolist() == pytest.approx([2.0])
    glucose = visit.recordings["glucose"]
    assert glucose.sampling_rate_hz == 1 / 300
    assert glucose.values[0].tolist() == pytest.approx([5.5 * 18.0156] * 4, rel=1e-6)
    temperature = visit.labels["wrist_temperature"]
    assert (temperature.kind, temperature.unit, temperature.values.tolist()) == (
        "value",
        "celsius",
        [pytest.approx(35)],
    )
    workout = visit.labels["workout"]
    assert [workout.classes[int(v)] for v in workout.values] == ["running"]
    assert (workout.end_ns - workout.start_ns).tolist() == [1800 * S]
    assert visit.labels["utc_offset"].values.tolist() == [3600]
    assert "route" not in str(visit.labels)


def test_steps_are_rates_and_one_source_counts_at_a_time(tmp_path):
    """The watch has 100 steps in two minutes; of the phone's 400 in minutes 1 and 2 only minute 2 is free."""
    steps = read(make.apple(tmp_path / "export.xml")).recordings["steps"]
    assert steps.values[0].tolist() == [50, 50, 200]
    assert steps.observed.all()


def test_intervals_that_begin_and_end_inside_minutes_keep_their_sum(tmp_path):
    count = f"{Q}StepCount"
    visit = of(
        tmp_path,
        make.record(count, 30, 150, 120, "count"),
        make.record(count, 150, 160, 7, "count"),
        make.record(count, 150, 160, 7, "count"),  # an exact repeat counts once
        make.record(count, 600, 601, 5, "count"),
    )
    steps = visit.recordings["steps"]
    assert steps.values[0, :4].tolist() == [30, 60, 37, 0]
    assert np.flatnonzero(steps.observed).tolist() == [0, 1, 2, 10]
    assert steps.values.sum() == pytest.approx(132)


def test_sleep_is_of_one_source_and_in_bed_is_apart(tmp_path):
    labels = read(make.apple(tmp_path / "export.xml")).labels
    sleep = labels["sleep_stage"]
    assert [sleep.classes[int(v)] for v in sleep.values] == ["rem"]
    assert (sleep.end_ns - sleep.start_ns).tolist() == [600 * S]
    assert (labels["in_bed"].end_ns - labels["in_bed"].start_ns).tolist() == [1200 * S]


def test_beats_find_their_place_whatever_clock_their_time_is_in(tmp_path):
    """12 hours with AM, 24 hours with a comma, and a zone one hour off; intervals are 60 / bpm."""
    beats = read(make.apple(tmp_path / "export.xml")).labels["beats"]
    assert ((beats.start_ns - make.START_NS) // 10_000_000).tolist() == [125, 205, 255]
    assert beats.values.tolist() == [1.0, 0.8, 0.5]
    assert beats.unit == "s"


def test_a_zip_and_a_folder_as_the_phone_shares_them(tmp_path):
    path = make.apple_zip(tmp_path / "export.zip")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "unpacked")
    for place in (path, tmp_path / "unpacked", tmp_path / "unpacked" / "apple_health_export"):
        assert AppleHealth.detect(place)
        assert read(place).recordings["heart_rate"].values[0, 0] == 60
    make.apple(tmp_path / "unpacked" / "again.xml")
    with pytest.raises(ReaderError, match="two exports"):
        read(tmp_path / "unpacked")


def test_what_stands_in_a_correlation_and_again_by_itself_counts_once(tmp_path):
    pressure = make.record(f"{Q}BloodPressureSystolic", 0, 0, 121, "mmHg")
    visit = of(
        tmp_path, f'<Correlation type="HKCorrelationTypeIdentifierBloodPressure">{pressure}</Correlation>', pressure
    )
    assert visit.labels["systolic_pressure"].values.tolist() == [121]


def test_travel_and_summer_time_are_in_the_label(tmp_path):
    rate = f"{Q}HeartRate"
    visit = of(tmp_path, *(make.record(rate, 3600 * i, 3600 * i, 70, offset_h=1 if i < 3 else -5) for i in range(6)))
    assert visit.recordings["heart_rate"].utc_offset_s == 3600
    offsets = visit.labels["utc_offset"]
    assert offsets.values.tolist() == [3600, -18000]
    assert ((offsets.start_ns - make.START_NS) // S).tolist() == [0, 3 * 3600]


def test_control_characters_are_dropped(tmp_path):
    path = make.apple(tmp_path / "export.xml")
    path.write_bytes(path.read_bytes().replace(b'sourceName="Watch"', b'sourceName="Wa\x0b\x00\x1ftch"', 3))
    assert read(path).recordings["heart_rate"].observed.sum() == 10


def test_entities_are_neither_expanded_nor_loaded(tmp_path):
    """A billion laughs, and a file of the machine: without their document type they are names that nothing explains."""
    (tmp_path / "secret.txt").write_text("70")
    for body in (
        '<!ENTITY a "70"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">',
        f'<!ENTITY b SYSTEM "file://{tmp_path}/secret.txt">',
    ):
        record = make.record(f"{Q}HeartRate", 0, 0, "&b;")
        with pytest.raises(ReaderError, match="undefined entity") as caught:
            of(tmp_path, record, dtd=f"<!DOCTYPE HealthData [{body}]>\n")
        assert "70" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda t: t[: len(t) // 2], ReaderError, "cut off or damaged"),
        (lambda t: t.replace("</HealthData>", ""), ReaderError, "cut off or damaged"),
        (lambda t: t.replace("2026-03-05", "2026-13-05"), ReaderError, "another form"),
        (lambda t: t.replace("2026-03-05 10:30:00", "05/03/2026 10:30 AM"), ReaderError, "another form"),
        (lambda t: t.replace('value="60"', 'value="sixty secret"'), ReaderError, "no number"),
        (lambda t: t.replace('endDate="', 'ended="'), ReaderError, "lacks an attribute"),
        (lambda t: t.replace("count/min", "count/fortnight"), UnitError, "A unit of HeartRate"),
        (lambda t: t.replace('value="0.97"', 'value="97"'), UnitError, "cannot be in '1'"),
        (lambda t: t.replace("mmol&lt;180.1558800000541&gt;/L", "mg/dL"), UnitError, "they look like 'mmol/L'"),
        (lambda t: t.replace('value="5.5"', 'value="99"'), UnitError, "cannot be in 'mg/dL'"),
    ],
)
def test_exports_that_are_not_as_they_should_be(tmp_path, change, error, message):
    path = make.apple(tmp_path / "export.xml")
    path.write_text(change(path.read_text()))
    with pytest.raises(error, match=message) as caught:
        read(path)
    assert "secret" not in str(caught.value)


def test_an_export_without_anything_of_use(tmp_path):
    with pytest.raises(ReaderError, match="nothing of use"):
        of(tmp_path, make.record(f"{Q}FlightsClimbed", 0, 0, 3, "count"))


def test_a_clock_that_was_never_set(tmp_path):
    rate = f"{Q}HeartRate"
    with pytest.raises(ReaderError, match="too far apart"):
        of(tmp_path, make.record(rate, 0, 0, 70), make.record(rate, -56 * 365 * 86_400, -56 * 365 * 86_400, 70))


def test_an_element_without_end_and_a_zip_bomb_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(_apple_xml, "_MAX_ELEMENT", 1 << 20)
    path = tmp_path / "export.xml"
    path.write_text('<HealthData locale="en">\n<Record type="' + "a" * (4 << 20))
    with pytest.raises(ReaderError, match="does not end"):
        read(path)
    monkeypatch.setattr(_apple_xml, "_SMALL", 1 << 16)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("export.xml", "<HealthData >" + " " * (1 << 20))
    with pytest.raises(ReaderError, match="unpacks to more"):
        read(tmp_path / "bomb.zip")


def test_memory_does_not_grow_with_the_file_beyond_what_is_kept(tmp_path, monkeypatch):
    """Eight times the elements, of which nothing is kept: the same peak. Of kept records, some 60 bytes each."""
    monkeypatch.setattr(_apple_xml, "BLOCK", 1 << 16)

    def peak(records, name):
        path = make.apple(tmp_path / name, records)
        tracemalloc.start()
        read(path)
        _, high = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return high, path.stat().st_size

    heart = [make.record(f"{Q}HeartRate", 60 * i, 60 * i, 70) for i in range(10)]
    other = [make.record(f"{Q}Dropped", i, i, 1, source="x" * 200) for i in range(200)]
    peak(heart + other, "warm.xml")
    small, _ = peak(heart + other * 4, "small.xml")
    large, size = peak(heart + other * 32, "large.xml")
    assert size > 2.5e6
    assert large < small + 50_000
    count = 4_000
    kept, _ = peak([make.record(f"{Q}HeartRate", i, i, 70) for i in range(count)], "kept.xml")
    assert kept < small + count * 250


def test_what_is_no_export_is_not_taken(tmp_path):
    for name, text in (
        ("a.xml", "<gpx/>"),
        ("b.xml", "<HealthDataset/>"),
        ("c.csv", "<HealthData />"),
        ("d.zip", "PK"),
    ):
        (tmp_path / name).write_text(text)
        assert not AppleHealth.detect(tmp_path / name)
    assert not AppleHealth.detect(tmp_path / "none.xml")
    with pytest.raises(ReaderError, match="no export of Apple Health"):
        read(tmp_path / "a.xml")


def test_the_real_samples(real_data):
    folder = real_data / "device_formats" / "apple_health"
    visit = read(folder / "export6s3sample.xml")
    steps = visit.recordings["steps"]
    assert steps.start_ns == np.datetime64("2014-09-13T09:27:00", "ns").astype(int)
    assert (steps.utc_offset_s, steps.values.shape, int(steps.observed.sum())) == (3600, (1, 67), 9)
    # 426 steps in one minute are more than a body takes: that minute is unobserved.
    assert steps.values[0, :8].tolist() == [329, 0, 0, 0, 0, 0, 0, 283]
    assert not steps.observed[12]
    assert [visit.labels["workout"].classes[int(v)] for v in visit.labels["workout"].values] == ["other"]
    visit = read(folder / "apple_health_export")
    heart = visit.recordings["heart_rate"]
    assert (heart.values.tolist(), heart.utc_offset_s) == ([[72]], -25_200)
    assert heart.start_ns == np.datetime64("2018-09-10T09:28:00", "ns").astype(int)
    assert [visit.labels["workout"].classes[int(v)] for v in visit.labels["workout"].values] == ["running"]
    with pytest.raises(ReaderError, match="two exports"):
        read(folder)
    assert not AppleHealth.detect(next((folder / "apple_health_export" / "workout-routes").iterdir()))

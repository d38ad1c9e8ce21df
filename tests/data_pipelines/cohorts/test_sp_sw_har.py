"""SP-SW-HAR: pairs of watch and phone files, their clocks, labels and people."""

import itertools
from collections import Counter

import numpy as np
import pytest

from data_pipelines.cohorts.sp_sw_har import CLASSES, SpSwHar
from hdt_fm.schema.errors import ReaderError, UnitError
from hdt_fm.schema.recording import NS_PER_S
from hdt_fm.schema.subject import SubjectKey, is_pseudonym

START_MS = 1_657_533_977_000
HEADER = "x_acc,y_acc,z_acc,x_gyro,y_gyro,z_gyro,timestamp,label"


def device_file(start_ms=START_MS, count=300, lost=(100, 0), step=9.6, header=HEADER, gravity=9.80665):
    """A device's file: gravity on z, x counts up by 0.01, angular rate of 1 rad/s about z."""
    index = np.arange(count) + np.where(np.arange(count) >= lost[0], lost[1], 0)
    rows = [
        f"{0.01 * k:.4f},0.0,{gravity},0.0,0.0,1.0,{start_ms + int(step * i)},{'SEATED' if k < 200 else 'STANDING_UP'}"
        for k, i in enumerate(index.tolist())
    ]
    return "\n".join([header, *rows]) + "\n"


@pytest.fixture
def folder(fabricate, tmp_path):
    """s01 with two executions, the second without phone; s02 with one, without watch."""
    later = START_MS + 60_000
    files = {
        "s01_01_sp.csv": device_file(START_MS - 500),
        "s01_01_sw.csv": device_file(lost=(150, 40)),
        "s01_02_sw.csv": device_file(later),
    }
    fabricate.e4_zip(tmp_path / "s01.zip", files)
    fabricate.e4_zip(tmp_path / "s02.zip", {"s02_01_sp.csv": device_file()})
    (tmp_path / "subjects_info.csv").write_text(
        "subject_id,age,gender,height,weight,dominant_hand,executions\ns01,54,M,190,83,R,2\ns02,91,F,161,62,R,1\n"
    )
    return tmp_path


def visits_of(folder, **arguments):
    return SpSwHar(path=str(folder), subject_key="public", **arguments).visits()


def test_an_execution_is_one_visit_of_what_its_files_hold(folder):
    first, second, third = visits_of(folder)
    assert list(first.recordings) == ["acc", "gyro", "acc_pocket", "gyro_pocket"]
    assert list(second.recordings) == ["acc", "gyro"]
    assert list(third.recordings) == ["acc_pocket", "gyro_pocket"]
    assert first.subject == second.subject != third.subject
    assert second.recordings["acc"].start_ns - first.recordings["acc"].start_ns == pytest.approx(60e9, abs=1e7)
    assert (first.recordings["acc"].body_site, first.recordings["acc_pocket"].body_site) == ("wrist", "pocket")


def test_units_clock_and_gap(folder):
    visit = next(visits_of(folder))
    watch, phone = visit.recordings["acc"], visit.recordings["acc_pocket"]
    assert watch.values[2, watch.observed] == pytest.approx(np.ones(300))
    assert visit.recordings["gyro"].values[2, 0] == pytest.approx(57.29578)
    assert watch.sampling_rate_hz == pytest.approx(1000 / 9.6, rel=1e-3)
    # Forty samples were lost after the first 150, from the watch alone.
    assert watch.values.shape == (3, 340)
    assert np.flatnonzero(~watch.observed).tolist() == list(range(150, 190))
    assert watch.values[0, 190] == pytest.approx(1.5 / 9.80665)
    assert phone.observed.all()
    assert phone.values.shape == (3, 300)
    assert watch.start_ns - phone.start_ns == pytest.approx(0.5e9, abs=5e6)


def test_the_label_is_the_watchs_and_stops_at_its_gap(folder):
    first, _, third = visits_of(folder)
    track = first.labels["activity"]
    assert (track.kind, track.classes) == ("class", CLASSES)
    assert track.values.tolist() == [0, 0, 1]
    edges = [(t - START_MS * 1_000_000) / NS_PER_S for t in (*track.start_ns, *track.end_ns)]
    # Seated for 150 samples, 40 lost, seated for 50 more, standing up for 100.
    assert edges == pytest.approx([0.0, 190 * 0.0096, 240 * 0.0096, 150 * 0.0096, 240 * 0.0096, 340 * 0.0096], abs=0.02)
    assert third.labels["activity"].values.tolist() == [0, 1]


def test_people_are_pseudonyms_with_coarse_facts(folder):
    key = SubjectKey.public()
    visits = list(visits_of(folder))
    assert [visit.subject for visit in visits] == [key.pseudonym("sp_sw_har", name) for name in ("s01", "s01", "s02")]
    assert all(is_pseudonym(visit.subject) for visit in visits)
    assert [dict(visit.covariates) for visit in visits] == [
        {"sex": "M", "age_band": "50-59"},
        {"sex": "M", "age_band": "50-59"},
        {"sex": "F", "age_band": "90+"},
    ]
    (folder / "subjects_info.csv").unlink()
    assert all(visit.covariates == {} for visit in visits_of(folder))


def test_a_limit_counts_people_and_inputs_are_the_files_read(folder):
    assert len(visits_of(folder, limit=1)) == 2
    names = [path.name for path in SpSwHar(path=str(folder)).inputs()]
    assert names == ["s01.zip", "s02.zip", "subjects_info.csv"]
    assert [path.name for path in SpSwHar(path=str(folder), limit=1).inputs()] == ["s01.zip", "subjects_info.csv"]


def test_folders_instead_of_zips(folder):
    (folder / "s02.zip").unlink()
    (folder / "s02").mkdir()
    (folder / "s02" / "s02_03_sw.csv").write_text(device_file())
    assert list(list(visits_of(folder))[-1].recordings) == ["acc", "gyro"]
    assert [path.name for path in SpSwHar(path=str(folder)).inputs()][1] == "s02_03_sw.csv"
    (folder / "s01").mkdir()
    with pytest.raises(ReaderError, match="both as a zip and as a folder"):
        visits_of(folder)


def backwards(text):
    lines = text.splitlines()
    return "\n".join([lines[0], *lines[200:], *lines[1:200]]) + "\n"


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (backwards(device_file()), ReaderError, "does not rise"),
        (device_file().replace("STANDING_UP", "JUMPING"), ReaderError, "another label"),
        (device_file().replace(",SEATED", ","), ReaderError, "another label"),
        (device_file(header=HEADER.replace("y_gyro", "y_gyr")), ReaderError, "lacks a column(.|\n)*no y_gyro"),
        (device_file().replace("0.0,0.0,1.0", "0.0,abc,1.0", 1), ReaderError, "no number(.|\n)*line 2"),
        (device_file(count=40), ReaderError, "Too few samples"),
        (device_file(step=96), ReaderError, "does not fit the devices"),
        (device_file(gravity=980665.0), UnitError, "cannot be in 'm/s\\^2'"),
        (HEADER + "\n", ReaderError, "Too few samples"),
        ("", ReaderError, "file is empty"),
    ],
)
def test_files_that_do_not_fit_are_said_and_stop_nobody_else(fabricate, folder, text, error, message):
    fabricate.e4_zip(folder / "s01.zip", {"s01_01_sw.csv": device_file(), "s01_02_sw.csv": text})
    visits = visits_of(folder)
    next(visits)
    with pytest.raises(error, match=message) as caught:
        next(visits)
    assert "s01" not in str(caught.value)
    assert "16575" not in str(caught.value)
    assert caught.value.__notes__ == ["in visit 2 of 3, in the order of file names"]
    assert next(visits).recordings


def test_a_broken_zip_costs_its_person_only(folder):
    path = folder / "s01.zip"
    path.write_bytes(path.read_bytes()[:2000])
    visits = visits_of(folder)
    with pytest.raises(ReaderError, match="truncated") as caught:
        next(visits)
    assert "s01" not in str(caught.value)
    assert list(next(visits).recordings) == ["acc_pocket", "gyro_pocket"]


@pytest.mark.parametrize(
    ("name", "message"), [("s02_01_sw.csv", "a file of someone else"), ("notes.txt", "holds no execution")]
)
def test_zips_of_other_things(fabricate, folder, name, message):
    fabricate.e4_zip(folder / "s01.zip", {name: device_file()})
    with pytest.raises(ReaderError, match=message) as caught:
        next(visits_of(folder))
    assert "s02" not in str(caught.value)


def test_folders_and_tables_of_other_things(folder, tmp_path_factory):
    with pytest.raises(ReaderError, match="holds no person"):
        visits_of(tmp_path_factory.mktemp("empty"))
    (folder / "subjects_info.csv").write_text("subject_id,years,gender\ns01,54,M\n")
    with pytest.raises(ReaderError, match="table of people lacks a column"):
        visits_of(folder)


@pytest.mark.real
def test_real_cohort(real_data):
    visits = list(visits_of(real_data / "sp_sw_har"))
    assert (len(visits), len({visit.subject for visit in visits})) == (174, 18)
    assert Counter(visits[0].covariates.items()) == {("sex", "M"): 1, ("age_band", "50-59"): 1}
    per_class = np.zeros(len(CLASSES))
    for visit in visits:
        assert list(visit.recordings) == ["acc", "gyro", "acc_pocket", "gyro_pocket"]
        for name, recording in visit.recordings.items():
            rate = 102.45 if name.endswith("pocket") else 104.27
            assert recording.sampling_rate_hz == pytest.approx(rate, rel=1e-3)
            # No sample is lost in these files, however unevenly they arrived.
            assert recording.observed.all()
            assert 8 < recording.duration_s < 15
            if name.startswith("acc"):
                assert 0.95 < np.median(np.linalg.norm(recording.values, axis=0)) < 1.15
            else:
                assert 20 < np.median(np.linalg.norm(recording.values, axis=0)) < 250
        track = visit.labels["activity"]
        seconds = (track.end_ns - track.start_ns) / NS_PER_S
        # The last walk may be a single sample.
        assert (seconds > 0.009).all()
        per_class += np.bincount(track.values.astype(int), weights=seconds, minlength=len(CLASSES))
    assert per_class == pytest.approx([222, 207, 896, 405, 245], abs=2)
    # Of one person, executions follow each other and never overlap.
    spans = sorted((v.subject, r.start_ns, r.end_ns) for v in visits for r in [v.recordings["acc"]])
    assert all(a[0] != b[0] or a[2] < b[1] for a, b in itertools.pairwise(spans))
    first = visits[0].recordings["acc"]
    assert first.values[:, 0] == pytest.approx(np.array([0.3832031, -3.5350490, 9.1106548]) / 9.80665, rel=1e-5)
    assert first.start_ns == pytest.approx(1_657_533_977_810 * 1_000_000, abs=15_000_000)

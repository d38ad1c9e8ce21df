import numpy as np
import pytest

from data_pipelines.readers.empatica_e4 import EmpaticaE4
from hdt_fm.schema.errors import ReaderError, UnitError

SUBJECT = "s" + "c" * 32
S = 1_000_000_000


def read(path):
    return EmpaticaE4().read(path, subject=SUBJECT)


@pytest.fixture
def changed(fabricate, tmp_path):
    """A session with one file changed."""

    def make(name, change):
        files = fabricate.e4_files()
        files[name] = change(files[name])
        return fabricate.e4_folder(tmp_path / "session", files)

    return make


def test_folder_and_zip_give_the_same_visit(fabricate, tmp_path):
    paths = [
        fabricate.e4_folder(tmp_path / "a"),
        fabricate.e4_zip(tmp_path / "b.zip"),
        fabricate.e4_zip(tmp_path / "c.zip", prefix="S01/"),
    ]
    assert all(EmpaticaE4.detect(path) for path in paths)
    visits = [read(path) for path in paths]
    assert set(visits[0].recordings) == {"acc", "ppg", "eda", "temp"}
    for visit in visits[1:]:
        for name, recording in visits[0].recordings.items():
            assert np.array_equal(visit.recordings[name].values, recording.values)
            assert visit.recordings[name].start_ns == recording.start_ns


def test_units_clock_rates_and_labels(fabricate, tmp_path):
    files = fabricate.e4_files(seconds=20)
    visit = read(fabricate.e4_folder(tmp_path / "a", files))
    acc = visit.recordings["acc"]
    first = [int(x) for x in files["ACC.csv"].splitlines()[2].split(",")]
    assert acc.values[:, 0].tolist() == [x / 64 for x in first]
    assert {c.source_unit for c in acc.channels} == {"1/64 g"}
    assert {n: r.sampling_rate_hz for n, r in visit.recordings.items()} == {"acc": 32, "ppg": 64, "eda": 4, "temp": 4}
    assert {r.start_ns for r in visit.recordings.values()} == {fabricate.E4_START * S}
    heart = visit.labels["heart_rate"]
    assert (heart.kind, heart.unit, heart.values[:2].tolist()) == ("value", "bpm", [70, 71])
    assert heart.start_ns[0] == (fabricate.E4_START + 10) * S
    assert set((heart.end_ns - heart.start_ns).tolist()) == {S}
    beats = visit.labels["beats"]
    assert (beats.start_ns - fabricate.E4_START * S).tolist() == [2_500_000_000, 3_312_500_000, 9_000_000_000]
    assert visit.labels["tags"].start_ns.tolist() == [fabricate.E4_START * S + 5_300_000_000, (1_700_000_015) * S]


def test_zeros_before_the_sensor_settles_are_not_measurements(fabricate, tmp_path):
    files = fabricate.e4_files()
    lines = files["EDA.csv"].splitlines()
    lines[10] = "0.000000"  # later, electrodes without contact: measured
    files["EDA.csv"] = "\n".join(lines)
    visit = read(fabricate.e4_folder(tmp_path / "a", files))
    assert (~visit.recordings["eda"].observed).nonzero()[0].tolist() == [0]
    assert (~visit.recordings["ppg"].observed).nonzero()[0].tolist() == list(range(11))
    assert visit.recordings["eda"].values[0, 8] == 0


def test_nan_and_implausible_samples_are_masked_not_filled(changed):
    def spoil(text):
        lines = text.splitlines()
        lines[5], lines[7], lines[9] = "NaN", "-40", ""
        return "\n".join(lines) + "\n"

    temp = read(changed("TEMP.csv", spoil)).recordings["temp"]
    # The blank line is one missing sample, not a sample less.
    assert temp.values.shape[1] == 80
    assert (~temp.observed).nonzero()[0].tolist() == [3, 5, 7]
    assert (temp.values[0, [3, 5, 7]] == 0).all()


def test_any_subset_of_files_will_do(fabricate, tmp_path):
    files = fabricate.e4_files()
    visit = read(fabricate.e4_folder(tmp_path / "a", {"EDA.csv": files["EDA.csv"], "IBI.csv": "", "tags.csv": ""}))
    assert (set(visit.recordings), set(visit.labels)) == ({"eda"}, set())


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("BVP.csv", lambda t: "", "file is empty"),
        ("BVP.csv", lambda t: t.splitlines()[0] + "\n", "ends before its header|header line does not hold"),
        ("BVP.csv", lambda t: "\n".join(t.splitlines()[:2]), "no sample"),
        ("BVP.csv", lambda t: t.replace("64.000000", "0.000000"), "rate is not a positive"),
        ("BVP.csv", lambda t: t.replace("64.000000", "-64.0"), "rate is not a positive"),
        ("BVP.csv", lambda t: t.replace("64.000000", "nan"), "rate is not a positive"),
        ("BVP.csv", lambda t: t.replace("1700000000.00", "never"), "header line"),
        ("BVP.csv", lambda t: t.replace("1700000000.00", "1e300"), "start time"),
        ("BVP.csv", lambda t: t[:300] + "\nbroken secret\n" + t[300:], "no number"),
        ("ACC.csv", lambda t: t + "1,2\n", "number of columns"),
        ("ACC.csv", lambda t: t.replace(", 32.000000, 32.000000", ""), "header has the wrong number of columns"),
        ("ACC.csv", lambda t: t.replace("32.000000, 32.0", "32.000000, 16.0", 1), "different clocks"),
        ("EDA.csv", lambda t: t.replace("\n", ",1\n"), "header has the wrong number of columns"),
    ],
)
def test_broken_files_speak_and_tell_no_value(changed, name, change, message):
    with pytest.raises(ReaderError, match=message) as caught:
        read(changed(name, change))
    assert name in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_line_of_the_text_is_said(changed):
    with pytest.raises(ReaderError, match=r"TEMP.csv, line 6"):
        read(changed("TEMP.csv", lambda t: "\n".join([*t.splitlines()[:5], "oops", *t.splitlines()[5:]])))


@pytest.mark.parametrize(
    ("scale", "offset", "suggestion"), [(100, 27315, "no known unit"), (1, 273.15, "'kelvin'"), (1.8, 32, "fahrenheit")]
)
def test_a_wrong_unit_is_refused_and_the_likely_one_named(changed, scale, offset, suggestion):
    def convert(text):
        lines = text.splitlines()
        return "\n".join([*lines[:2], *(f"{float(x) * scale + offset:.2f}" for x in lines[2:])])

    with pytest.raises(UnitError, match=suggestion):
        read(changed("TEMP.csv", convert))


def test_not_an_e4_export(fabricate, tmp_path):
    other = fabricate.e4_folder(tmp_path / "a", {"notes.csv": "1"})
    assert not EmpaticaE4.detect(other)
    with pytest.raises(ReaderError, match="no Empatica E4 export"):
        read(other)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReaderError, match="folder is empty"):
        read(tmp_path / "empty")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_truncated_zip(fabricate, tmp_path, share):
    path = fabricate.e4_zip(tmp_path / "a.zip")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert EmpaticaE4.detect(path), "so that the user hears what is wrong with it"
    with pytest.raises(ReaderError, match="truncated or damaged"):
        read(path)


@pytest.mark.real
def test_first_values_of_a_real_session(real_data):
    visit = read(real_data / "stress_predict" / "Raw_data" / "S02.zip")
    start = 1_644_227_574 * S
    assert {r.start_ns for r in visit.recordings.values()} == {start}
    assert {n: r.sampling_rate_hz for n, r in visit.recordings.items()} == {"acc": 32, "ppg": 64, "eda": 4, "temp": 4}
    # Lines 3 and 4 of ACC.csv: 2,10,63 and 4,12,66.
    assert visit.recordings["acc"].values[:, :2].T.tolist() == [[2 / 64, 10 / 64, 63 / 64], [4 / 64, 12 / 64, 66 / 64]]
    assert visit.recordings["eda"].values[0, :2].tolist() == pytest.approx([0, 0.622764])
    assert visit.recordings["eda"].observed[:2].tolist() == [False, True]
    assert visit.recordings["temp"].values[0, 0] == pytest.approx(34.79)
    assert {n: r.values.shape[1] for n, r in visit.recordings.items()} == {
        "acc": 114054,
        "ppg": 228173,
        "eda": 14262,
        "temp": 14264,
    }
    assert visit.labels["heart_rate"].values[:2].tolist() == [118, 113.5]
    assert visit.labels["heart_rate"].start_ns[0] == start + 10 * S
    assert visit.labels["beats"].values[0] == 0.6875
    assert visit.labels["tags"].start_ns[0] == 1_644_228_196 * S

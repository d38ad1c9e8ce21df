import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data_pipelines.readers.garmin_health_sdk import GarminHealthSdk
from hdt_fm.schema.errors import ReaderError

make = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("fabricate_loggers.py"))))
SUBJECT = "s" + "2" * 32
S = 1_000_000_000


def read(path):
    return GarminHealthSdk().read(path, subject=SUBJECT)


def test_a_folder_of_both_streams(tmp_path):
    folder = make.garmin(tmp_path / "a")
    assert GarminHealthSdk.detect(folder)
    visit = read(folder)
    acc = visit.recordings["acc"]
    assert (acc.start_ns, acc.utc_offset_s, acc.sampling_rate_hz) == (make.START_S * S, 7200, 25)
    # The sample that was stamped early is in its place, the two that are lost are a gap.
    assert np.flatnonzero(~acc.observed).tolist() == [100, 101]
    assert acc.values[0, 49:52] == pytest.approx([0.049, 0.050, 0.051])
    assert acc.values[2, 0] == -1
    heart = visit.recordings["heart_rate"]
    assert heart.values[0].tolist() == [70, 71, 72, 0, 74, 75, 76, 77, 78, 79]
    assert heart.observed.tolist() == [True] * 3 + [False] + [True] * 6
    # A code below zero takes no place from the score after it.
    stress = visit.recordings["stress_score"]
    assert (stress.values.tolist(), stress.start_ns - make.START_S * S) == ([[25]], 9_800_000_000)
    beats = visit.labels["beats"]
    assert (beats.values[:2].tolist(), beats.unit) == (pytest.approx([0.8, 0.801]), "s")
    assert beats.start_ns[0] - make.START_S * S == S // 2
    # 30 steps in 30 s.
    steps = visit.labels["steps"]
    assert (steps.values.tolist(), steps.end_ns[0] - steps.start_ns[0]) == (pytest.approx([60]), 30 * S)


def test_each_file_alone(tmp_path):
    folder = make.garmin(tmp_path / "a")
    assert list(read(folder / "acc.csv").recordings) == ["acc"]
    assert set(read(folder / "data.csv.gz").recordings) == {"heart_rate", "stress_score"}


def test_what_is_refused(tmp_path):
    folder = make.garmin(tmp_path / "a")
    acc = folder / "acc.csv"
    lines = acc.read_text().splitlines()
    acc.write_text("\n".join([*lines[:5], lines[2], *lines[5:]]))
    with pytest.raises(ReaderError, match="not in order of time"):
        read(acc)
    acc.write_text("\n".join([*lines[:5], lines[5] + ";1", *lines[6:]]))
    with pytest.raises(ReaderError, match=r"(?s)wrong number of columns.*line 6"):
        read(acc)
    acc.write_text("\n".join([*lines[:5], lines[5].replace("-1000", ""), *lines[6:]]))
    with pytest.raises(ReaderError, match="incomplete"):
        read(acc)
    acc.write_text("\n".join([*lines[:5], "yesterday;1;2;3"]))
    with pytest.raises(ReaderError, match="not ISO"):
        read(acc)
    acc.write_text("\n".join(["x" + lines[0], *lines[1:]]))
    assert not GarminHealthSdk.detect(acc)
    with pytest.raises(ReaderError, match="no stream"):
        read(acc)
    (folder / "b.csv").write_text("\n".join(lines))
    (folder / "c.csv").write_text("\n".join(lines))
    with pytest.raises(ReaderError, match="two of one kind"):
        read(folder)


@pytest.mark.real
def test_real_files(real_data):
    visit = read(real_data / "device_formats" / "garmin_health_sdk")
    acc = visit.recordings["acc"]
    assert (acc.start_ns, acc.utc_offset_s, acc.values.shape) == (1_571_220_541_702_000_000, 7200, (3, 23_951))
    assert acc.values[:, 0] == pytest.approx([-0.036, 0.620, -0.824])
    assert acc.observed.sum() >= 9900
    assert np.median(np.linalg.norm(acc.values[:, acc.observed], axis=0)) == pytest.approx(1, abs=0.05)
    heart = visit.recordings["heart_rate"]
    assert (heart.start_ns, heart.values[0, 0], heart.values.max()) == (1_571_220_540_511_000_000, 79, 148)
    assert len(visit.labels["beats"].values) == 14_316
    assert visit.labels["beats"].values[:2] == pytest.approx([0.821, 0.848])
    assert visit.recordings["stress_score"].values[0, 0] == 7
    assert visit.labels["steps"].values.max() <= 400

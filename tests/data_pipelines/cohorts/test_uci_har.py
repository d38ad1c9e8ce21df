"""UCI HAR: windows that share halves become one signal, and cut again they are the published ones."""

import numpy as np
import pytest

from data_pipelines.cohorts.uci_har import ACTIVITIES, UciHar
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.preparation import ModalityPreparation, Preparation
from hdt_fm.schema.recording import NS_PER_S
from hdt_fm.schema.subject import SubjectKey
from hdt_fm.signal.windows import cut

MIDNIGHT_NS = 946_684_800 * NS_PER_S
PUBLISHED = Preparation(
    window_s=2.56,
    hop_s=1.28,
    min_coverage=1.0,
    modalities={name: ModalityPreparation(sampling_rate_hz=50, channels=3) for name in ("acc_waist", "gyro_waist")},
)


def visits_of(folder, **arguments):
    return UciHar(path=str(folder), subject_key="public", **arguments).visits()


def published(root, name, part):
    return np.loadtxt(root / part / "Inertial Signals" / f"{name}_{part}.txt", dtype=np.float64)


def test_no_sample_is_there_twice(public, tmp_path):
    public.uci_har(tmp_path)
    visit = next(visits_of(tmp_path))
    acc, gyro = visit.recordings["acc_waist"], visit.recordings["gyro_waist"]
    # Stretches of 5, 3 and 2 windows, 64 samples each and 64 more, with 128 unobserved between them.
    assert acc.values.shape == (3, 384 + 128 + 256 + 128 + 192)
    assert np.flatnonzero(np.diff(acc.observed.astype(int))).tolist() == [383, 511, 767, 895]
    assert acc.values[0, :384] == pytest.approx(np.arange(384) / 1000)
    assert acc.values[1, 512:768] == pytest.approx(1 + np.arange(3000, 3256) / 1000)
    assert acc.values[2, 896:] == pytest.approx(2 + np.arange(10_000, 10_192) / 1000)
    assert np.array_equal(acc.observed, gyro.observed)
    # The gyroscope's files are the fourth to sixth, in rad/s.
    assert gyro.values[0, 10] == pytest.approx(3.01 * 180 / np.pi)
    assert (acc.sampling_rate_hz, acc.start_ns, acc.body_site) == (50, MIDNIGHT_NS, "waist")


def test_cut_again_the_windows_are_the_published_ones(public, tmp_path):
    root = public.uci_har(tmp_path)
    for visit, part, first in zip(visits_of(tmp_path, limit=3), ("train", "test", "train"), (0, 0, 10), strict=True):
        windows = cut(visit, PUBLISHED)
        assert len(windows) == 10
        for channel, axis in enumerate("xyz"):
            rows = published(root, f"total_acc_{axis}", part)[first : first + 10]
            assert np.array_equal(windows.signals["acc_waist"][:, channel], rows.astype(np.float32))
        assert [windows.labels["activity"][k] for k in range(10)] == [0] * 5 + [3] * 3 + [0] * 2


def test_only_equal_halves_are_joined(public, tmp_path):
    root = public.uci_har(tmp_path)
    path = root / "train" / "Inertial Signals" / "body_gyro_z_train.txt"
    rows = path.read_text().splitlines()
    # One number of one axis differs: the third window no longer continues the second.
    rows[2] = rows[2].replace(f"{5.128:.7e}", f"{5.1281:.7e}", 1)
    path.write_text("\n".join(rows) + "\n")
    visit = next(visits_of(tmp_path))
    assert len(visit.labels["activity"].values) == 4
    assert len(cut(visit, PUBLISHED)) == 10, "no window is lost by it"


def test_activities_and_the_published_split(public, tmp_path):
    public.uci_har(tmp_path)
    visits = list(visits_of(tmp_path / "UCI HAR Dataset"))
    key = SubjectKey.public()
    assert [visit.subject for visit in visits] == [key.pseudonym("uci_har", str(n)) for n in (1, 2, 3, 5, 10)]
    assert [visit.covariates["published_split"] for visit in visits] == ["train", "test", "train", "train", "test"]
    track = visits[0].labels["activity"]
    assert track.classes == tuple(ACTIVITIES.values())
    assert [track.classes[int(value)] for value in track.values] == ["walking", "sitting", "walking"]
    assert ((track.start_ns - MIDNIGHT_NS) / NS_PER_S).tolist() == [0, 10.24, 17.92]
    assert ((track.end_ns - MIDNIGHT_NS) / NS_PER_S).tolist() == [7.68, 15.36, 21.76]
    assert len(UciHar(path=str(tmp_path)).inputs()) == 2 * 8


def cut_row(text):
    return text[: len(text) - 700]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("train/y_train.txt", lambda text: text[:-2], "differ in length(.|\n)*29 rows(.|\n)*30"),
        ("train/y_train.txt", lambda text: text.replace("4", "7"), "does not name(.|\n)*9 of 30"),
        ("train/subject_train.txt", lambda text: text.replace("1\n", "1 1\n"), "not as wide(.|\n)*1 number"),
        ("train/Inertial Signals/total_acc_x_train.txt", cut_row, "not as wide(.|\n)*128 number"),
        ("test/Inertial Signals/body_gyro_y_test.txt", lambda text: text.replace("e+00", "e+zz", 1), "is no number"),
        ("test/Inertial Signals/body_gyro_y_test.txt", lambda text: "", "not as wide"),
        ("test/Inertial Signals/body_gyro_y_test.txt", None, "lacks a file(.|\n)*body_gyro_y_test.txt"),
        ("test/subject_test.txt", lambda text: text.replace("10", "3"), "leaks(.|\n)*1 in both"),
    ],
)
def test_broken_files_are_said(public, tmp_path, name, change, message):
    path = public.uci_har(tmp_path) / name
    if change is None:
        path.unlink()
    else:
        path.write_text(change(path.read_text()))
    with pytest.raises(ReaderError, match=message) as caught:
        visits_of(tmp_path)
    assert "what to do" in str(caught.value)


def test_a_folder_of_other_things(tmp_path):
    with pytest.raises(ReaderError, match=r"lacks a file(.|\n)*point cohort\.path"):
        visits_of(tmp_path)

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data_pipelines.readers.actiwatch import Actiwatch
from hdt_fm.schema.errors import ReaderError

make = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("fabricate_loggers.py"))))
SUBJECT = "s" + "e" * 32
S = 1_000_000_000
NOVEMBER = 1_574_549_880  # 2019-11-23 23:58 an hour ahead of UTC


def read(path, **arguments):
    return Actiwatch(**arguments).read(path, subject=SUBJECT)


@pytest.mark.parametrize("language", ["en", "nl"])
@pytest.mark.parametrize("packed", [False, True])
def test_epochs_of_an_export(tmp_path, language, packed):
    path = make.actiware(tmp_path / ("a.csv.gz" if packed else "a.csv"), language=language, packed=packed)
    assert Actiwatch.detect(path)
    visit = read(path)
    counts, light = visit.recordings["counts"], visit.recordings["light"]
    assert (counts.start_ns, counts.utc_offset_s, counts.sampling_rate_hz) == (
        NOVEMBER * S,
        3600,
        pytest.approx(1 / 15),
    )
    assert counts.observed.tolist() == [False] * 2 + [True] * 10
    assert counts.values[0, 2:5].tolist() == [80, 120, 160]
    assert light.values[0, 2:4].tolist() == [2.5, 3.5]
    assert visit.labels["button"].start_ns.tolist() == [(NOVEMBER + 75) * S]
    wear = visit.labels["wear"]
    assert [wear.classes[int(v)] for v in wear.values[:3]] == ["not worn", "not worn", "worn"]
    assert visit.labels["sleep_wake"].values.tolist() == [1] * 6 + [0] * 4
    interval = visit.labels["interval"]
    assert [interval.classes[int(v)] for v in interval.values[[0, 2, -1]]] == ["excluded", "active", "sleep"]


def test_month_first_and_days_that_do_not_tell(tmp_path):
    assert read(make.actiware(tmp_path / "a.csv", first="2/20/2019")).recordings["counts"].start_ns == 1_550_703_480 * S
    # 3/4 and then 4/4 are days after each other if the day comes first, a month apart if not.
    path = make.actiware(tmp_path / "b.csv", first="3/4/2019")
    april = 1_554_332_280 * S
    assert read(path).recordings["counts"].start_ns == april
    path = make.actiware(tmp_path / "c.csv", first="3/4/2019", rows=5)
    with pytest.raises(ReaderError, match=r"(?s)not clear.*dates='day_first'"):
        read(path)
    assert read(path, dates="day_first").recordings["counts"].start_ns == april


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("23:59:00", "23:59:01", "one epoch apart"),
        ("23:59:00", "23:5:00", "no time"),
        ("0,30,0", "0,thirty,0", "(?s)no number.*activity"),
        ("24/11/2019", "24.13.2019", "neither"),
        ("Activity", "Movement", "table of epochs is not there"),
    ],
)
def test_broken_exports(tmp_path, old, new, message):
    path = make.actiware(tmp_path / "a.csv")
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ReaderError, match=message):
        read(path)


def test_a_line_that_is_cut_off(tmp_path):
    path = make.actiware(tmp_path / "a.csv")
    path.write_text(path.read_text().rstrip()[:-20])
    with pytest.raises(ReaderError, match="too few columns"):
        read(path)


@pytest.mark.real
def test_real_files(real_data):
    folder = real_data / "device_formats" / "actiwatch"
    visit = read(folder / "Actiwatch.csv")
    counts = visit.recordings["counts"]
    # 06:00 on 23 November in Amsterdam; off the wrist until 09:19.
    assert (counts.start_ns, counts.utc_offset_s, counts.values.shape) == (1_574_485_200 * S, 3600, (1, 860))
    assert (int(counts.observed.argmax()), counts.values[0, -1]) == (797, 82 * 4)
    visit = read(folder / "sample_actiwatch_light.csv.gz")
    light = visit.recordings["light"]
    assert (light.start_ns, light.utc_offset_s, light.values.shape) == (1_550_665_920 * S, None, (1, 55_651))
    assert light.values[0, :2] == pytest.approx([318.16, 285.38])
    assert visit.recordings["counts"].values[0, 0] == 182
    assert (~light.observed).sum() == 1680
    assert np.bincount(visit.labels["sleep_wake"].values.astype(int)).tolist() == [31_781, 21_567]

import numpy as np
import pandas as pd
import pytest

from data_pipelines.readers.table import Table
from hdt_fm.schema.errors import ConfigError, ReaderError, UnitError, UnknownNameError

SUBJECT = "s" + "1" * 32
S = 1_000_000_000
MAPPING = """
time: {column: t, unit: ms}
signals:
  acc: {columns: [x, y, z], unit: m/s^2}
  temp: {columns: [skin], unit: kelvin}
labels:
  state: {column: state, kind: class, classes: [sit, walk]}
  meal: {column: carbs, kind: event, unit: g}
missing: [-1]
"""


def read(path, mapping=None):
    return Table(mapping).read(path, subject=SUBJECT)


def rows(times, states=("sit",)):
    lines = ["t,x,y,z,skin,state,carbs"]
    lines += [f"{t},0,9.80665,{i},306.15,{states[i % len(states)]}," for i, t in enumerate(times)]
    return "\n".join(lines) + "\n"


def test_units_clock_gap_and_labels(fabricate, tmp_path):
    start = 1_700_000_000_000
    times = [start + 100 * i for i in [*range(20), *range(50, 60)]]
    text = rows(times, ["sit", "walk", ""]).replace("0,9.80665,4,306.15,walk,", "-1,9.80665,4,306.15,walk,30")
    path = fabricate.table(tmp_path, MAPPING, text)
    assert Table.detect(path)
    visit = read(path)
    acc = visit.recordings["acc"]
    assert (acc.sampling_rate_hz, acc.start_ns, acc.values.shape) == (pytest.approx(10), start * 1_000_000, (3, 60))
    # Sample 4 is -1 in one axis; nothing was recorded from 2 s to 5 s.
    assert (~acc.observed).nonzero()[0].tolist() == [4, *range(20, 50)]
    assert acc.values[:, 3].tolist() == pytest.approx([0, 1, 3 / 9.80665])
    assert acc.values[2, 50] == pytest.approx(20 / 9.80665)
    assert visit.recordings["temp"].values[0, 0] == pytest.approx(33, abs=1e-4)
    state = visit.labels["state"]
    assert state.values[:4].tolist() == [0, 1, 0, 1]
    assert ((state.start_ns[:3] - acc.start_ns) // 1_000_000).tolist() == [0, 100, 300]
    assert visit.labels["meal"].start_ns.tolist() == [acc.start_ns + 400_000_000]


@pytest.mark.parametrize(
    ("start", "first"),
    [
        ("2026-03-05T09:30:00Z", 1_772_703_000),
        ("2026-03-05T10:30:00+01:00", 1_772_703_000),
        ("2026-03-05T10:30:00", 1_772_703_000),
        (1_772_703_000.5, 1_772_703_000.5),
    ],
)
def test_a_table_without_a_time_column(tmp_path, start, first):
    (tmp_path / "a.csv").write_text("ppg\n1\n2\n\n4\n")
    mapping = {
        "signals": {"ppg": {"columns": ["ppg"], "unit": "NU"}},
        "sampling_rate_hz": 25,
        "start": start,
        "utc_offset_s": 3600,
    }
    ppg = read(tmp_path / "a.csv", mapping).recordings["ppg"]
    assert ppg.start_ns == first * S
    assert ppg.utc_offset_s == 3600
    assert (ppg.values.tolist(), ppg.observed.tolist()) == ([[1, 2, 0, 4]], [True, True, False, True])


def test_iso_times_with_offsets_and_without(fabricate, tmp_path):
    mapping = "time: {column: t, unit: iso}\nsignals: {glucose: {columns: [cgm], unit: mmol/L}}\nutc_offset_s: 7200\n"
    aware = "t,cgm\n" + "".join(f"2026-03-05T10:{m:02d}:00+02:00,5.5\n" for m in range(0, 30, 5))
    visit = read(fabricate.table(tmp_path / "a", mapping, aware))
    naive = read(fabricate.table(tmp_path / "b", mapping, aware.replace("+02:00", "")))
    for made in (visit, naive):
        glucose = made.recordings["glucose"]
        assert glucose.start_ns == pd.Timestamp("2026-03-05T08:00:00Z").value
        assert glucose.sampling_rate_hz == pytest.approx(1 / 300)
        assert glucose.values[0].tolist() == pytest.approx([5.5 * 18.0156] * 6, rel=1e-5)


def test_parquet_and_a_folder_of_tables_at_two_rates(tmp_path):
    fast = pd.DataFrame({"t": np.arange(64) / 32, "x": 0.5})
    fast.to_parquet(tmp_path / "fast.parquet")
    (tmp_path / "fast.yaml").write_text("time: {column: t}\nsignals: {ppg: {columns: [x], unit: NU}}\n")
    (tmp_path / "slow.csv").write_text("e\n1\n2\n")
    (tmp_path / "slow.yaml").write_text("sampling_rate_hz: 1\nsignals: {eda: {columns: [e], unit: uS}}\n")
    assert Table.detect(tmp_path)
    visit = read(tmp_path)
    assert {n: r.sampling_rate_hz for n, r in visit.recordings.items()} == {"ppg": pytest.approx(32), "eda": 1}
    (tmp_path / "again.yaml").write_text("sampling_rate_hz: 1\nsignals: {eda: {columns: [e], unit: uS}}\n")
    (tmp_path / "again.csv").write_text("e\n1\n2\n")
    with pytest.raises(ReaderError, match="hold the same thing"):
        read(tmp_path)
    (tmp_path / "fast.parquet").write_bytes((tmp_path / "fast.parquet").read_bytes()[:-40])
    with pytest.raises(ReaderError, match="Parquet file is truncated"):
        read(tmp_path / "fast.parquet")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (("acc:", "akc:"), UnknownNameError, "did you mean 'acc'"),
        (("m/s^2", "furlong"), UnitError, "furlong"),
        (("unit: ms", "unit: hours"), ConfigError, "time.unit"),
        (("missing:", "mising:"), ConfigError, "mising"),
        (("time: {column: t, unit: ms}", ""), ConfigError, "no clock"),
        (("signals:", "signals: ["), ConfigError, "cannot be read"),
        (("[x, y, z]", "[x, y, w]"), ReaderError, "not in the table"),
        (("[sit, walk]", "[sit, run]"), ReaderError, "class that the mapping does not name"),
        (("missing:", "sampling_rate_hz: 0\nmissing:"), ReaderError, "positive number"),
        (("missing:", "sampling_rate_hz: 1\nmissing:"), ReaderError, "does not fit the time"),
        (("m/s^2", "1/64 g"), None, ""),
        (("kelvin", "celsius"), UnitError, "'kelvin'"),
    ],
)
def test_mappings_that_do_not_fit(fabricate, tmp_path, change, error, message):
    path = fabricate.table(tmp_path, MAPPING.replace(*change), rows(range(0, 2000, 100), ["sit", "walk"]))
    if error is None:
        assert read(path)
        return
    with pytest.raises(error, match=message):
        read(path)


def test_raw_counts_called_g(fabricate, tmp_path):
    """An E4's counts (64 to 1 g) mapped as g: most samples are beyond what a body can do."""
    mapping = "sampling_rate_hz: 32\nsignals: {acc: {columns: [x, y, z], unit: g}}\n"
    counts = np.random.default_rng(0).normal([2, 10, 63], 3, size=(200, 3)).round()
    with pytest.raises(UnitError, match="'1/64 g'"):
        read(fabricate.table(tmp_path, mapping, fabricate.csv_text("x,y,z", counts)))


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([0, 100, 50, 150], "does not rise"),
        ([0, 0, 0, 0], "positive number"),
        ([0, 100, "", 300], "does not rise"),
        ([0], "One sample"),
        ([0, 100, 200, 10**15], "does not fit the time"),
    ],
)
def test_times_that_cannot_be(fabricate, tmp_path, times, message):
    with pytest.raises(ReaderError, match=message):
        read(fabricate.table(tmp_path, MAPPING, rows(times)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (rows([0, 100, 200]).replace("9.80665,1,", "fell secretly,1,"), "no number"),
        (rows([0, 100, 200]) + "1,2\n", "number of columns"),
        (rows([]), "no rows"),
        ("", "file is empty"),
    ],
)
def test_tables_that_are_none(fabricate, tmp_path, text, message):
    with pytest.raises(ReaderError, match=message) as caught:
        read(fabricate.table(tmp_path, MAPPING, text))
    assert "secretly" not in str(caught.value)


def test_without_a_mapping(tmp_path):
    (tmp_path / "a.csv").write_text("x\n1\n")
    assert not Table.detect(tmp_path / "a.csv")
    with pytest.raises(ReaderError, match=r"\.yaml of the same name"):
        read(tmp_path / "a.csv")

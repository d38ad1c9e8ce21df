import gzip

import numpy as np
import pytest

from data_pipelines.readers.bidmc_csv import BidmcCsv
from hdt_fm.schema.errors import ReaderError

SUBJECT = "s" + "d" * 32
S = 1_000_000_000


def read(path, start_ns=0):
    return BidmcCsv(start_ns=start_ns).read(path, subject=SUBJECT)


def rewrite(path, change):
    path.write_bytes(gzip.compress(change(gzip.decompress(path.read_bytes()).decode()).encode()))
    return path


def test_signals_numerics_and_breaths(fabricate, tmp_path):
    visit = read(fabricate.bidmc(tmp_path, samples=1500), start_ns=5 * S)
    assert {n: r.channels[0].name for n, r in visit.recordings.items()} == {"ecg": "II", "ppg": "PLETH", "resp": "RESP"}
    assert {n: r.channels[0].source_unit for n, r in visit.recordings.items()} == {
        "ecg": "mV",
        "ppg": "NU",
        "resp": "pm",
    }
    assert visit.recordings["ecg"].values[0, :3].tolist() == pytest.approx([2.0, 2.001, 2.002])
    assert visit.recordings["ppg"].values.shape == (1, 1500)
    assert visit.recordings["resp"].start_ns == 5 * S
    # NaN, 0 and -1 are no estimates.
    assert visit.labels["heart_rate"].start_ns.tolist() == [5 * S, 7 * S]
    assert visit.labels["respiratory_rate_monitor"].values.tolist() == [25, 26]
    assert visit.labels["spo2"].values.tolist() == [97, 97]
    assert visit.labels["breaths"].start_ns.tolist() == [6 * S, 9 * S, 13 * S]
    assert visit.labels["breaths_2"].start_ns.tolist() == [5 * S + 1_040_000_000, 5 * S + 4_080_000_000]


@pytest.mark.parametrize(
    ("columns", "lead"),
    [("PLETH, V, AVR, RESP, I", "I"), ("AVR, V, PLETH", "V"), ("MCL, PLETH, AVR", "AVR"), ("PLETH, MCL, III", "III")],
)
def test_the_next_lead_where_there_is_no_second(fabricate, tmp_path, columns, lead):
    visit = read(fabricate.bidmc(tmp_path, columns=columns))
    ecg = visit.recordings["ecg"]
    assert ecg.channels[0].name == lead
    assert ecg.values[0, 0] == columns.split(", ").index(lead)


def test_without_an_ecg_there_is_none(fabricate, tmp_path):
    assert set(read(fabricate.bidmc(tmp_path, columns="PLETH, RESP")).recordings) == {"ppg", "resp"}


def test_without_companions_there_are_no_labels(fabricate, tmp_path):
    path = fabricate.bidmc(tmp_path)
    for kind in ("Numerics", "Breaths"):
        path.with_name(f"bidmc_07_{kind}.csv").unlink()
    assert read(path).labels == {}


def test_missing_samples_are_masked(fabricate, tmp_path):
    path = rewrite(fabricate.bidmc(tmp_path), lambda t: t.replace("0.024,0.00300,", "0.024,NaN,", 1))
    visit = read(path)
    assert (~visit.recordings["ppg"].observed).nonzero()[0].tolist() == [3]
    assert visit.recordings["ecg"].observed.all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.replace("Time [s]", "Clock"), "column is missing"),
        (lambda t: t.replace("\n1,", "\n1.5,", 1), "not uniform"),
        (lambda t: "\n".join(t.splitlines()[:200] + t.splitlines()[300:]), "not uniform"),
        (lambda t: t.replace("\n1,", "\none,", 1), "no number"),
        (lambda t: t.splitlines()[0] + "\n", "no rows"),
        (lambda t: t.replace("RESP", "PLETH"), "no usable header"),
        (lambda t: t + "1,2\n", "number of columns"),
        (lambda t: t.replace("PLETH, RESP, II, V, AVR", "A, B, C, D, E"), "none of the known signals"),
    ],
)
def test_broken_files_speak(fabricate, tmp_path, change, message):
    with pytest.raises(ReaderError, match=message):
        read(rewrite(fabricate.bidmc(tmp_path), change))


def test_truncated_gzip_and_other_names(fabricate, tmp_path):
    path = fabricate.bidmc(tmp_path)
    assert BidmcCsv.detect(path)
    assert not BidmcCsv.detect(tmp_path / "bidmc_07_Numerics.csv")
    with pytest.raises(ReaderError, match="no BIDMC signals file"):
        read(tmp_path / "bidmc_07_Numerics.csv")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ReaderError, match="truncated or damaged"):
        read(path)


@pytest.mark.real
def test_first_values_of_a_real_recording(real_data):
    visit = read(real_data / "bidmc" / "bidmc_01_Signals.csv.gz")
    first = {n: r.values[0, :2].tolist() for n, r in visit.recordings.items()}
    assert first["ecg"] == pytest.approx([0.72549, 0.67059])
    assert first["ppg"] == pytest.approx([0.43597, 0.43206])
    assert first["resp"] == pytest.approx([0.35386, 0.35679])
    assert {(r.values.shape, r.sampling_rate_hz) for r in visit.recordings.values()} == {((1, 60001), 125.0)}
    assert visit.labels["breaths"].start_ns[:2].tolist() == [189 * S // 125, 476 * S // 125]
    assert visit.labels["breaths_2"].start_ns[0] == 187 * S // 125
    assert visit.labels["heart_rate"].values[0] == 94


@pytest.mark.real
def test_every_real_recording_reads_and_the_monitor_agrees_with_the_annotator(real_data):
    paths = sorted((real_data / "bidmc").glob("bidmc_*_Signals.csv.gz"))
    assert len(paths) >= 40
    for path in paths[::8]:
        visit = read(path)
        marks = np.diff(visit.labels["breaths"].start_ns) / S
        assert {"ecg", "ppg", "resp"} <= set(visit.recordings)
        assert 60 / marks.mean() == pytest.approx(visit.labels["respiratory_rate_monitor"].values.mean(), rel=0.35)

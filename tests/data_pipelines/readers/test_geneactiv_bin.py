import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data_pipelines.readers.geneactiv_bin import GeneactivBin
from hdt_fm.schema.errors import ReaderError

make = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("fabricate_loggers.py"))))
SUBJECT = "s" + "b" * 32
S = 1_000_000_000


def read(path):
    return GeneactivBin().read(path, subject=SUBJECT)


def test_signals_clock_and_button(tmp_path):
    path = make.geneactiv(tmp_path / "a.bin")
    assert GeneactivBin.detect(path)
    visit = read(path)
    acc, light, warm = (visit.recordings[name] for name in ("acc", "light", "device_temp"))
    assert acc.values == pytest.approx((make.steps(1800) / 256).T, abs=1e-6)
    assert (acc.sampling_rate_hz, acc.utc_offset_s, acc.body_site) == (100, 7200, "left wrist")
    # The page times are local: two hours ahead of UTC.
    assert acc.start_ns == make.START_S * S
    assert light.values[0, :4].tolist() == [0, 2, 4, 6]
    assert light.values.max() == 198
    assert warm.values[0] == pytest.approx([25, 25.1, 25.2, 25.3, 25.4, 25.5])
    assert warm.sampling_rate_hz == pytest.approx(1 / 3)
    assert (visit.labels["button"].start_ns - acc.start_ns).tolist() == [3 * S]


def test_without_a_zone_local_time_is_taken_as_utc(tmp_path):
    acc = read(make.geneactiv(tmp_path / "a.bin", zone="")).recordings["acc"]
    assert (acc.start_ns, acc.utc_offset_s) == ((make.START_S + 7200) * S, None)


def test_a_pause_and_a_damaged_page_are_gaps(tmp_path):
    path = make.geneactiv(tmp_path / "a.bin", pages=12, pause_after={2: 7.0})
    data = path.read_bytes()
    where = data.index(b"Sequence Number:8")
    hexes = data.index(b"\r\n", data.index(b"Measurement Frequency", where)) + 2
    path.write_bytes(data[: hexes + 40] + b"G" + data[hexes + 41 :])
    acc = read(path).recordings["acc"]
    assert np.flatnonzero(~acc.observed).tolist() == [*range(900, 1600), *range(3100, 3400)]
    assert GeneactivBin.clock(path).lost_blocks == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"x gain:25600", b"x gain:0", "divides by zero"),
        (b"Lux:600", b"Lax:600", "lacks a number(.|\n)*Lux"),
        (b"Frequency:100.0\r\n", b"Frequency:50.0\r\n", "sampling rate changes"),
        (b"Device Identity", b"Device identity", "no GENEActiv file"),
        (b"03-05 11:30:03", b"02-30 11:30:03", "no time"),
        (b"Recorded Data", b"Recorded data", "no GENEActiv file"),
    ],
)
def test_what_is_refused(tmp_path, old, new, message):
    path = make.geneactiv(tmp_path / "a.bin")
    data = path.read_bytes()
    path.write_bytes(data.replace(old, new) if b"Recorded" in old else data.replace(old, new, 1))
    with pytest.raises(ReaderError, match=message):
        read(path)


def test_pages_in_another_order_are_refused_and_one_wrong_time_is_not_believed(tmp_path):
    path = make.geneactiv(tmp_path / "a.bin")
    data = path.read_bytes()
    pages = data.split(b"Recorded Data")
    path.write_bytes(b"Recorded Data".join([pages[0], *pages[3:], *pages[1:3]]))
    with pytest.raises(ReaderError, match="not in order"):
        read(path)
    path.write_bytes(data.replace(b"11:30:06", b"10:30:06"))
    assert read(path).recordings["acc"].observed.all()
    path.write_bytes(data.replace(b"11:30:06", b"10:30:66"))
    assert (~read(path).recordings["acc"].observed).sum() == 300


@pytest.mark.real
def test_real_file(real_data):
    path = real_data / "device_formats" / "geneactiv" / "GENEActiv_testfile.bin"
    visit = read(path)
    acc = visit.recordings["acc"]
    # 10:12:54.5 in GMT+1, as the header says; the last of 17 pages is cut off.
    assert (acc.start_ns, acc.utc_offset_s, acc.values.shape) == (1_369_905_174_500_000_000, 3600, (3, 4800))
    assert acc.sampling_rate_hz == pytest.approx(600 / 7)
    assert acc.values[:, 0] == pytest.approx([0.740522, 0.014067, -0.643903], abs=1e-6)
    assert visit.recordings["device_temp"].values[0, 0] == 21.5
    assert np.median(np.linalg.norm(acc.values, axis=0)) == pytest.approx(1.0075, abs=1e-3)
    assert GeneactivBin.clock(path).lost_blocks == 222_032


@pytest.mark.real
def test_real_file_against_another_implementation(real_data, tmp_path):
    extensions = pytest.importorskip("skdh.io._extensions")
    data = (real_data / "device_formats" / "geneactiv" / "GENEActiv_testfile.bin").read_bytes()
    # Theirs reads no page that is cut off.
    data = data[: data.rindex(b"Recorded Data")].replace(b"Number of Pages:222048", b"Number of Pages:16")
    (tmp_path / "a.bin").write_bytes(data)
    size, _, acc, _, light, _ = extensions.read_geneactiv(str(tmp_path / "a.bin"))
    ours = read(tmp_path / "a.bin").recordings
    assert np.abs(ours["acc"].values.T - acc[:size]).max() < 1e-6
    assert np.array_equal(np.floor(ours["light"].values[0]), light[:size])

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from data_pipelines.readers._fit_checksum import checksum
from data_pipelines.readers.fit import Fit
from hdt_fm.schema.errors import ReaderError

SUBJECT = "s" + "c" * 32
S = 1_000_000_000
START = 1_000_000_000


def _fabricate():
    spec = importlib.util.spec_from_file_location("fabricate_signals", Path(__file__).with_name("fabricate_signals.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


made = _fabricate()


def read(tmp_path, data):
    path = made.write(tmp_path / "a.fit", data)
    assert Fit.detect(path)
    return Fit().read(path, subject=SUBJECT)


def seconds(track):
    return ((track.start_ns - (START + made.FIT_EPOCH) * S) / S).tolist()


def test_records_of_a_ride(tmp_path):
    visit = read(tmp_path, made.fit_ride(40).bytes())
    found = {name: float(r.values[0, 3]) for name, r in visit.recordings.items()}
    assert found == {
        "heart_rate": 103,
        "cadence": 80.5,
        "power": 200,
        "speed": 5,
        "altitude": 100,
        "device_temp": 20,
    }
    heart = visit.recordings["heart_rate"]
    assert (heart.sampling_rate_hz, heart.values.shape, heart.start_ns) == (1, (1, 40), (START + made.FIT_EPOCH) * S)
    assert heart.device == "garmin"
    # A track tells where somebody lives, and a serial number who it is.
    assert "123456789" not in repr(visit)
    assert not any("pos" in name for name in visit.recordings)


def test_both_byte_orders_what_is_invalid_and_what_only_a_vendor_knows(tmp_path):
    writer = made.FitWriter()
    writer.define(0, 20, [(253, "u4"), (3, "u1"), (7, "u2")], big_endian=True)
    writer.define(1, 20, [(3, "u1"), (253, "u4")], developer_bytes=3)
    writer.define(2, 65280, [(0, "bytes", 5)])
    writer.message(0, START, 60, 300)
    writer.message(1, 61, START + 1, extra=b"abc")
    writer.message(2, b"hello")
    writer.message(0, START + 2, 0xFF, 0xFFFF)
    writer.message(1, 63, START + 3, extra=b"abc")
    visit = read(tmp_path, writer.bytes())
    heart = visit.recordings["heart_rate"]
    assert heart.values.tolist() == [[60, 61, 0, 63]]
    assert heart.observed.tolist() == [True, True, False, True]
    assert visit.recordings["power"].values.tolist() == [[300]]


def test_a_definition_that_changes_takes_effect_at_once(tmp_path):
    writer = made.FitWriter()
    for k in range(4):
        fields = [(253, "u4"), (3, "u1")]
        writer.define(5, 20, fields if k % 2 else fields[::-1])
        writer.message(5, *((START + k, 70 + k) if k % 2 else (70 + k, START + k)))
    assert read(tmp_path, writer.bytes()).recordings["heart_rate"].values.tolist() == [[70, 71, 72, 73]]


def test_compressed_times_roll_over_after_32_seconds(tmp_path):
    writer = made.FitWriter()
    writer.define(0, 20, [(253, "u4"), (3, "u1")])
    writer.define(1, 20, [(3, "u1")])
    writer.message(0, START, 60)
    # 20, 27, 34 and 41 seconds later: the low five bits of the time go round in between.
    for k, later in enumerate((20, 27, 34, 41)):
        writer.message(1, 61 + k, seconds=START + later)
    heart = read(tmp_path, writer.bytes()).recordings["heart_rate"]
    assert heart.start_ns == (START + made.FIT_EPOCH) * S
    # The grid's period is 7 s; 20 s is nearest to its third place.
    assert heart.sampling_rate_hz == pytest.approx(1 / 7)
    assert heart.values.tolist() == [[60, 0, 0, 61, 62, 63, 64]]


def test_smart_recording_lies_on_a_coarser_grid_and_nothing_is_filled(tmp_path):
    writer = made.FitWriter()
    writer.define(0, 20, [(253, "u4"), (3, "u1")])
    for later, heart in ((0, 60), (4, 61), (8, 62), (10, 63), (24, 66)):
        writer.message(0, START + later, heart)
    heart = read(tmp_path, writer.bytes()).recordings["heart_rate"]
    # Steps of 4, 4, 2 and 14 s: the sample at 10 s lies nearest to the place of that at 8 s, and is dropped.
    assert (heart.sampling_rate_hz, heart.values.tolist()) == (1 / 4, [[60, 61, 62, 0, 0, 0, 66]])
    assert heart.observed.tolist() == [True, True, True, False, False, False, True]


def test_monitoring_keeps_sixteen_bits_of_the_time_and_sums_of_steps(tmp_path):
    writer = made.FitWriter()
    start = START - START % 65536 + 65536 - 120
    writer.define(0, 103, [(253, "u4"), (0, "u4")])
    writer.message(0, start, start + 7200)
    writer.define(1, 55, [(26, "u2"), (27, "u1")])
    for minute in range(5):
        writer.message(1, (start + 60 * minute) & 0xFFFF, 60 + minute)
    writer.define(2, 55, [(253, "u4"), (5, "enum"), (3, "u4")])
    for minute, steps in ((0, 1000), (2, 1100), (3, 1190)):
        writer.message(2, start + 60 * minute, 6, steps)
    visit = read(tmp_path, writer.bytes())
    heart = visit.recordings["heart_rate"]
    assert (heart.sampling_rate_hz, heart.values.tolist()) == (1 / 60, [[60, 61, 62, 63, 64]])
    assert (heart.start_ns, heart.utc_offset_s) == ((start + made.FIT_EPOCH) * S, 7200)
    assert visit.recordings["steps"].values.tolist() == [[50, 50, 90]]


def test_beats_of_a_strap_are_unpacked_from_twelve_bits(tmp_path):
    writer = made.FitWriter()
    writer.define(0, 132, [(253, "u4"), (0, "u2"), (9, "u4"), (6, "u1")])
    writer.message(0, START, 16384, 5_000, 70)
    writer.define(1, 132, [(6, "u1", 2), (10, "bytes", 3)])
    # 5000 + 800 and + 1600 ticks of 1/1024 s; their low twelve bits are 1704 (0x6A8) and 2504 (0x9C8).
    writer.message(1, [71, 72], bytes([0xA8, 0x86, 0x9C]))
    # + 2400 ticks: 7400, of which 3304 (0xCE8) is left; the second is the filler, the same again.
    writer.message(1, [73, 73], bytes([0xE8, 0x8C, 0xCE]))
    beats = read(tmp_path, writer.bytes()).labels["beats"]
    assert seconds(beats) == pytest.approx([0.5, 0.5 + 800 / 1024, 0.5 + 1600 / 1024, 0.5 + 2400 / 1024], abs=1e-6)


def test_intervals_without_a_clock_begin_at_the_time_before_them(tmp_path):
    writer = made.FitWriter()
    writer.define(0, 20, [(253, "u4"), (3, "u1")])
    writer.define(1, 78, [(0, "u2", 5)])
    writer.message(0, START, 60)
    none = 0xFFFF
    writer.message(1, [1000, 900, none, none, none])
    writer.message(0, START + 2, 60)
    writer.message(1, [800, 65000, none, none, none])
    # Half a minute in which no beat was found: the clock counts again.
    writer.message(0, START + 40, 60)
    writer.message(1, [1000, none, none, none, none])
    beats = read(tmp_path, writer.bytes()).labels["beats"]
    assert beats.values.tolist() == [1, 0.9, 0.8, 1]
    assert seconds(beats) == pytest.approx([-0.9, 0, 0.8, 40], abs=1e-6)


def test_wellness_messages(tmp_path):
    writer = made.FitWriter()
    writer.define(0, 227, [(0, "i2"), (1, "u4")])
    writer.define(1, 275, [(253, "u4"), (0, "enum")])
    writer.define(2, 297, [(253, "u4"), (0, "i2")])
    writer.define(3, 290, [(253, "u4"), (0, "u2"), (1, "u2", 3)])
    for minute, stress in enumerate((25, -1, 30)):
        writer.message(0, stress, START + 180 * minute)
    for minute, level in ((0, 1), (10, 2), (15, 4)):
        writer.message(1, START + 60 * minute, level)
    writer.message(2, START, 1450)
    writer.message(3, START, 500, [800, 900, 0xFFFF])
    visit = read(tmp_path, writer.bytes())
    stress = visit.recordings["stress_score"]
    # -1 says that the device could not tell.
    assert (stress.sampling_rate_hz, stress.values.tolist()) == (1 / 360, [[25, 30]])
    assert visit.recordings["resp_rate"].values.tolist() == [[14.5]]
    sleep = visit.labels["sleep_stage"]
    assert [sleep.classes[int(v)] for v in sleep.values] == ["awake", "light"]
    assert ((sleep.end_ns - sleep.start_ns) // S).tolist() == [600, 300]
    assert seconds(visit.labels["beats"]) == pytest.approx([1.3, 2.2])


def test_weights_of_one_person_and_of_a_household(tmp_path):
    writer = made.FitWriter()
    writer.define(0, 30, [(253, "u4"), (0, "u2"), (12, "u2")])
    writer.message(0, START, 7_000, 0)
    weight = read(tmp_path, writer.bytes()).labels["weight"]
    assert (weight.values.tolist(), weight.unit) == ([70], "kg")
    writer.message(0, START + 60, 5_500, 1)
    with pytest.raises(ReaderError, match="several people") as caught:
        read(tmp_path, writer.bytes())
    assert "70" not in str(caught.value)


def test_a_chain_of_files_in_one(tmp_path):
    chained = made.fit_ride(10).bytes() + made.fit_ride(5, START + 20).bytes()
    heart = read(tmp_path, chained).recordings["heart_rate"]
    assert heart.observed.tolist() == [True] * 10 + [False] * 10 + [True] * 5
    with pytest.raises(ReaderError, match="truncated or damaged"):
        read(tmp_path, chained[:-40])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: d[:-1], "ends before its header says"),
        (lambda d: d[:60] + bytes([d[60] ^ 1]) + d[61:], "checksum is wrong"),
        (lambda d: d + b"\0\0\0", "No FIT header"),
        (lambda d: made.with_checksum(d[:-4]), "last message is cut off"),
        (lambda d: made.with_checksum(d[:14] + b"\x07" + d[14:]), "before its definition"),
        (lambda d: made.with_checksum(d[:18]), "definition is cut off"),
    ],
)
def test_files_that_are_broken(tmp_path, spoil, message):
    with pytest.raises(ReaderError, match=message):
        read(tmp_path, spoil(made.fit_ride(5).bytes()))


def test_files_without_a_signal_or_with_a_clock_set_back(tmp_path):
    writer = made.FitWriter()
    writer.define(0, 0, [(0, "enum")])
    writer.message(0, 4)
    with pytest.raises(ReaderError, match="no signal of a body"):
        read(tmp_path, writer.bytes())
    writer = made.fit_ride(5)
    writer.message(1, START - 50, 7, 8, 100, 80, 64, 200, 5000, 3000, 20)
    with pytest.raises(ReaderError, match="do not rise"):
        read(tmp_path, writer.bytes())
    assert not Fit.detect(made.write(tmp_path / "b.fit", b"no FIT file at all"))


@pytest.mark.parametrize("size", [0, 1, 2, 63, 8191, 8192, 8193, 9999])
def test_checksum_as_bit_by_bit(size):
    data = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8).tobytes()
    assert checksum(data) == made.slow_crc(data)


def test_checksum_as_published():
    assert checksum(b"123456789") == 0xBB3D


FIELDS = {
    "heart_rate": ("heart_rate",),
    "cadence": ("cadence",),
    "power": ("power",),
    "speed": ("enhanced_speed", "speed"),
    "altitude": ("enhanced_altitude", "altitude"),
    "device_temp": ("temperature",),
}


@pytest.mark.real
@pytest.mark.parametrize(
    "name", ["activity-small-fenix2-run", "garmin-fenix-5-run", "garmin-fenix-5-walk", "sample-activity-indoor-trainer"]
)
def test_real_files_as_another_decoder_reads_them(real_data, name):
    fitdecode = pytest.importorskip("fitdecode")
    path = real_data / "device_formats" / "fit" / f"{name}.fit"
    visit = Fit().read(path, subject=SUBJECT)
    with fitdecode.FitReader(path) as reader:
        rows = [
            {field.name: field.value for field in frame.fields}
            for frame in reader
            if frame.frame_type == fitdecode.FIT_FRAME_DATA and frame.name in ("record", "hrv")
        ]
    records = [row for row in rows if "timestamp" in row]
    for modality, names in FIELDS.items():
        pairs = [
            (row["timestamp"].timestamp(), next((row[n] for n in names if row.get(n) is not None), None))
            for row in records
        ]
        pairs = [(at, value) for at, value in pairs if value is not None]
        if not pairs:
            assert modality not in visit.recordings
            continue
        recording = visit.recordings[modality]
        offsets = (np.array([at for at, _ in pairs]) - pairs[0][0]) * recording.sampling_rate_hz
        assert recording.start_ns == pairs[0][0] * S
        exact = np.flatnonzero((offsets == np.rint(offsets)) & np.append(True, np.diff(offsets) > 0))
        theirs = np.array([pairs[k][1] for k in exact], dtype=np.float64)
        if modality == "cadence":
            theirs += [records[k].get("fractional_cadence") or 0 for k in exact] if len(pairs) == len(records) else 0
        ours = recording.values[0, np.rint(offsets[exact]).astype(int)]
        assert len(exact) >= 3
        assert np.allclose(ours, theirs, atol=1e-3)
    intervals = [value for row in rows for value in row.get("time", ()) if value is not None]
    if intervals:
        assert visit.labels["beats"].values.tolist() == pytest.approx(intervals)


@pytest.mark.real
def test_real_files_pinned(real_data):
    folder = real_data / "device_formats" / "fit"
    got = {}
    for path in sorted(folder.rglob("*.fit")):
        try:
            visit = Fit().read(path, subject=SUBJECT)
            got[path.stem[:20]] = (
                {
                    n: (r.values.shape[1], int(r.observed.sum()))
                    for n, r in visit.recordings.items()
                    if n in ("heart_rate", "steps")
                },
                {n: len(track.values) for n, track in visit.labels.items()},
            )
        except ReaderError as error:
            got[path.stem[:20]] = error.problem
    assert got == {
        "2019-02-17-062644-EL": ({"heart_rate": (20968, 13402)}, {}),
        "Edge810-Vector-2013-": ({"heart_rate": (4700, 4671)}, {}),
        "MonitoringFile": ({"steps": (945, 804)}, {}),
        "WeightScaleMultiUser": "The FIT file holds the weights of several people",
        "activity-small-fenix": ({"heart_rate": (2834, 2808)}, {}),
        "garmin-edge-500-acti": ({"heart_rate": (12692, 10671)}, {}),
        "garmin-fenix-5-bike": ({"heart_rate": (11, 10)}, {}),
        "garmin-fenix-5-run": ({"heart_rate": (12, 10)}, {"beats": 113}),
        "garmin-fenix-5-walk": ({"heart_rate": (13, 10)}, {"beats": 62}),
        "garmin-fr935-cr": ({"heart_rate": (7547, 5298)}, {"beats": 11396}),
        "activity-filecrc": "The FIT file is truncated or damaged",
        "activity-unexpected-": "The FIT file is truncated or damaged",
        "sample-activity-indo": ({"heart_rate": (2264, 2263)}, {}),
    }


@pytest.mark.real
def test_a_real_strap_as_the_vendors_own_decoder_reads_it(real_data):
    sdk = pytest.importorskip("garmin_fit_sdk")
    path = real_data / "device_formats" / "fit" / "garmin-fr935-cr.fit"
    messages, _ = sdk.Decoder(sdk.Stream.from_file(str(path))).read(convert_datetimes_to_dates=False)
    theirs: list[float] = []
    for message in messages["hr_mesgs"]:
        ticks = np.atleast_1d(message["event_timestamp"])
        if "timestamp" in message:
            origin = made.FIT_EPOCH + message["timestamp"] + message["fractional_timestamp"] - ticks[0]
        theirs += [origin + tick for tick in ticks]
    kept = np.array(theirs)[np.append(True, np.diff(theirs) > 0)]
    ours = Fit().read(path, subject=SUBJECT).labels["beats"].start_ns / S
    assert len(ours) == len(kept) == 11396
    assert np.abs(ours - kept).max() < 1e-5

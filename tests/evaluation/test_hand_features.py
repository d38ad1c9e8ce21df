"""Classical features against signals whose answer is known beforehand, and on real breathing."""

import gzip
import warnings
from pathlib import Path

import numpy as np
import pytest

from hdt_fm.evaluation.hand_features import feature_table, hand_features, spectral_peak_rate
from hdt_fm.evaluation.hand_features.people import people_features
from hdt_fm.schema.errors import ShapeError, UnknownNameError

PPG_HZ, ECG_HZ = 64.0, 128.0
MODALITIES = {"ppg": (64.0, 1), "ecg": (128.0, 1), "resp": (25.0, 1), "eda": (4.0, 1), "temp": (4.0, 1)}
MODALITIES |= {"acc": (32.0, 3), "gyro": (16.0, 3), "glucose": (1 / 300, 1), "abp": (20.0, 2)}


def features(
    modality: str, values: np.ndarray, rate_hz: float, observed: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Columns by name; a single channel may come as (window, time)."""
    values = values[:, None, :] if values.ndim == 2 else values
    seen = np.ones((len(values), values.shape[2]), dtype=bool) if observed is None else observed
    table, names = hand_features(modality, values.astype(np.float32), seen, rate_hz)
    assert table.shape == (len(values), len(names))
    return {name: table[:, column] for column, name in enumerate(names)}


def pulses(beats_s: np.ndarray, rate_hz: float, seconds: float = 60.0, heights: np.ndarray | None = None) -> np.ndarray:
    """A pulse wave (1, time): one asymmetric bump per beat."""
    times = np.arange(int(seconds * rate_hz)) / rate_hz
    heights = np.ones(len(beats_s)) if heights is None else heights
    since = times[:, None] - beats_s[None, :]
    shape = np.exp(-0.5 * (since / 0.09) ** 2) + 0.35 * np.exp(-0.5 * ((since - 0.28) / 0.12) ** 2)
    return (shape @ heights)[None, :]


def spikes(beats_s: np.ndarray, rate_hz: float, sign: float = 1.0) -> np.ndarray:
    """An electrocardiogram (1, time): narrow R, broad T."""
    times = np.arange(int(60 * rate_hz)) / rate_hz
    since = times[:, None] - beats_s[None, :]
    shape = np.exp(-0.5 * (since / 0.011) ** 2) + 0.25 * np.exp(-0.5 * ((since - 0.26) / 0.05) ** 2)
    return sign * shape.sum(axis=1)[None, :]


def beats_of(intervals_s: list[float]) -> np.ndarray:
    beats = 0.4 + np.concatenate([[0.0], np.cumsum(np.tile(intervals_s, 60))])
    return beats[beats < 59.5]


@pytest.mark.parametrize("kind", ["ppg", "ecg", "inverted ecg"])
def test_rate_and_variability_of_alternating_beats(kind: str):
    beats = beats_of([0.80, 0.86])
    if kind == "ppg":
        found = features("ppg", pulses(beats, PPG_HZ), PPG_HZ)
    else:
        found = features("ecg", spikes(beats, ECG_HZ, -1.0 if kind == "inverted ecg" else 1.0), ECG_HZ)
    assert found["hr_mean_bpm"][0] == pytest.approx(60 / 0.83, abs=0.15)
    assert found["hr_spectral_bpm"][0] == pytest.approx(60 / 0.83, abs=0.6)
    # Every interval lies 30 ms from the mean, and every step is 60 ms.
    assert found["sdnn_ms"][0] == pytest.approx(30.0, abs=3.0)
    assert found["rmssd_ms"][0] == pytest.approx(60.0, abs=5.0)
    assert found["pnn50"][0] > 0.9
    assert found["ibi_iqr_ms"][0] == pytest.approx(60.0, abs=6.0)
    assert found["beat_share"][0] == pytest.approx((beats[-1] - beats[0]) / 60, abs=0.03)


@pytest.mark.parametrize("rate_bpm", [45.0, 75.0, 120.0, 160.0])
def test_steady_beats_have_their_rate_and_no_variability(rate_bpm: float):
    beats = beats_of([60 / rate_bpm])
    for modality, signal, rate in (("ppg", pulses(beats, PPG_HZ), PPG_HZ), ("ecg", spikes(beats, ECG_HZ), ECG_HZ)):
        found = features(modality, signal, rate)
        assert found["hr_mean_bpm"][0] == pytest.approx(rate_bpm, rel=0.005)
        assert found["sdnn_ms"][0] < 4.0
        assert found["pnn50"][0] == 0.0


def test_noise_of_a_third_of_the_pulse_moves_the_rate_little():
    beats = beats_of([0.78, 0.84, 0.81])
    noise = np.random.default_rng(1).normal(0.0, 0.3, (1, 3840))
    found = features("ppg", pulses(beats, PPG_HZ) + noise, PPG_HZ)
    assert found["hr_mean_bpm"][0] == pytest.approx(60 / 0.81, abs=1.5)
    assert found["beat_share"][0] > 0.8


def test_an_interval_over_a_gap_is_no_interval():
    beats = beats_of([0.80])
    observed = np.ones((1, 3840), dtype=bool)
    observed[0, 1280:1920] = False  # 20 s to 30 s
    signal = pulses(beats, PPG_HZ)
    found = features("ppg", signal, PPG_HZ, observed)
    assert found["hr_mean_bpm"][0] == pytest.approx(75.0, abs=0.5)
    assert found["sdnn_ms"][0] < 8.0
    # Where no beat is hidden, the interval around a lost moment is still not counted: 0.8 s of beats less.
    brief = np.ones((1, 3840), dtype=bool)
    brief[0, 1300:1306] = False
    whole, part = (
        features("ppg", signal, PPG_HZ, seen)["beat_share"][0] * seen.sum() for seen in (brief | True, brief)
    )
    assert (whole - part) / PPG_HZ == pytest.approx(0.8, abs=0.02)
    garbage = np.where(observed, signal, 1e6)
    other = features("ppg", garbage, PPG_HZ, observed)
    assert all(np.array_equal(found[name], other[name], equal_nan=True) for name in found)


@pytest.mark.parametrize("carrier", ["riiv", "riav", "rifv"])
def test_breathing_is_read_from_baseline_heights_and_intervals(carrier: str):
    per_min = 18.0
    wave = lambda seconds: np.sin(2 * np.pi * per_min / 60 * seconds)
    if carrier == "rifv":
        beats = [0.4]
        while beats[-1] < 59:
            beats.append(beats[-1] + 0.8 + 0.05 * wave(beats[-1]))
        beats = np.array(beats)
    else:
        beats = beats_of([0.8])
    heights = 1 + (0.2 * wave(beats) if carrier == "riav" else 0.0 * beats)
    signal = pulses(beats, PPG_HZ, heights=heights)
    if carrier == "riiv":
        signal = signal + 0.3 * wave(np.arange(3840) / PPG_HZ)
    assert features("ppg", signal, PPG_HZ)[f"resp_{carrier}_per_min"][0] == pytest.approx(per_min, abs=0.6)


def test_heart_rate_that_rises_has_that_slope():
    # Rate 60 + 20 t per minute: the n-th beat is where the integral 60 t + 10 t^2 (t in minutes) reaches n.
    count = np.arange(1, 69)
    beats = 60 * (-60 + np.sqrt(3600 + 40 * count)) / 20
    found = features("ecg", spikes(beats, ECG_HZ), ECG_HZ)
    assert found["hr_slope_bpm_min"][0] == pytest.approx(20.0, abs=1.0)


def test_strong_slow_waves_of_the_intervals_land_in_the_low_band():
    ratios = []
    for hertz in (0.1, 0.28):
        beats = [0.4]
        while beats[-1] < 59:
            beats.append(beats[-1] + 0.8 + 0.04 * np.sin(2 * np.pi * hertz * beats[-1]))
        ratios.append(features("ecg", spikes(np.array(beats), ECG_HZ), ECG_HZ)["log_lf_hf"][0])
    assert ratios[0] > 1.5
    assert ratios[1] < -1.5


@pytest.mark.parametrize("planted", [0, 1, 4, 7])
def test_planted_skin_responses_are_counted(planted: int):
    times = np.arange(0, 60, 0.25)
    signal = 3.0 + 0.002 * times
    for onset in 3.0 + np.arange(planted) * 8.0:
        since = np.maximum(times - onset, 0.0)
        signal = signal + 0.4 * (np.exp(-since / 3.0) - np.exp(-since / 0.75)) / 0.4725
    found = features("eda", signal[None, :], 4.0)
    assert found["scr_per_min"][0] == pytest.approx(planted)
    if planted:
        assert found["scr_amplitude_us"][0] == pytest.approx(0.4, rel=0.25)
        assert found["scr_sum_us"][0] == pytest.approx(planted * found["scr_amplitude_us"][0])
    else:
        assert found["slope_per_min"][0] == pytest.approx(0.12, rel=1e-3)
        assert found["scr_amplitude_us"][0] == 0.0


def test_a_tilted_wrist_has_its_angles():
    pitch, roll = np.radians(25.0), np.radians(-40.0)
    gravity = np.array([np.sin(pitch), np.cos(pitch) * np.sin(roll), np.cos(pitch) * np.cos(roll)])
    noise = np.random.default_rng(0).normal(0, 0.02, (2, 3, 640))
    found = features("acc", gravity[None, :, None] + noise, 32.0)
    assert found["pitch_degrees"] == pytest.approx([25.0, 25.0], abs=0.3)
    assert found["roll_degrees"] == pytest.approx([-40.0, -40.0], abs=0.3)
    assert found["magnitude_mean"] == pytest.approx([1.0, 1.0], abs=0.01)
    assert "pitch_degrees" not in features("gyro", noise, 32.0)


def test_a_swing_has_its_frequency_its_band_and_low_entropy():
    times = np.arange(1280) / 32.0
    swing = np.zeros((1, 3, 1280))
    swing[0, 1] = 0.5 * np.sin(2 * np.pi * 2.0 * times)
    tone = features("acc", swing + np.array([0.0, 0.0, 1.0])[None, :, None], 32.0)
    noise = features("acc", np.random.default_rng(3).normal(0, 0.35, (1, 3, 1280)), 32.0)
    assert tone["dominant_hz"][0] == pytest.approx(2.0, abs=0.03)
    assert tone["spectral_entropy"][0] < 0.4 < 0.8 < noise["spectral_entropy"][0] <= 1.0
    assert tone["log_power_1_3_hz"][0] > tone["log_power_3_6_hz"][0] + 5
    assert tone["ch1_sd"][0] == pytest.approx(0.5 / np.sqrt(2), rel=1e-3)


def test_levels_ignore_what_was_not_observed():
    generator = np.random.default_rng(7)
    values = generator.normal(30.0, 2.0, (5, 1, 37))
    observed = generator.uniform(size=(5, 37)) < 0.6
    seen = np.where(observed, values[:, 0].astype(np.float32), np.nan)
    found = features("glucose", np.where(observed[:, None], values, -1e5), 1 / 300, observed)
    assert found["mean"] == pytest.approx(np.nanmean(seen, axis=1))
    assert found["sd"] == pytest.approx(np.nanstd(seen, axis=1), rel=1e-5)
    for share in (5, 25, 50, 75, 95):
        assert found[f"q{share:02d}"] == pytest.approx(np.nanpercentile(seen, share, axis=1), rel=1e-6)
    minutes = np.arange(37) * 5.0
    slopes = [np.polyfit(minutes[mask], row[mask], 1)[0] for mask, row in zip(observed, seen, strict=True)]
    assert found["slope_per_min"] == pytest.approx(slopes, rel=1e-4)
    warm = features("temp", values, 4.0)
    assert warm["range"] == pytest.approx(np.ptp(values[:, 0].astype(np.float32), axis=1), rel=1e-5)


@pytest.mark.parametrize("modality", sorted(MODALITIES))
def test_every_modality_has_a_form_and_survives_windows_without_data(modality: str):
    rate, channels = MODALITIES[modality]
    samples = 7 if rate < 1 else int(30 * rate)
    values = np.random.default_rng(2).normal(1.0, 0.1, (4, channels, samples))
    observed = np.ones((4, samples), dtype=bool)
    observed[1] = False
    observed[2, 1:] = False  # a single sample left
    values[3] = 5.0  # nothing varies
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table, names = hand_features(modality, values.astype(np.float32), observed, rate)
        none, same = hand_features(modality, values[:0].astype(np.float32), observed[:0], rate)
    assert table.shape == (4, len(names))
    assert len(set(names)) == len(names) >= 4
    assert np.isnan(table[1]).all()
    assert np.isfinite(table[0]).mean() > 0.5
    assert not np.isinf(table).any()
    assert (none.shape, same) == ((0, len(names)), names)


@pytest.mark.parametrize("modality", ["ppg", "eda", "acc"])
def test_a_row_depends_on_its_own_window_alone(modality: str):
    rate, channels = MODALITIES[modality]
    values = np.random.default_rng(5).normal(2.0, 0.5, (300, channels, int(8 * rate))).astype(np.float32)
    observed = np.ones((300, values.shape[2]), dtype=bool)
    together, _ = hand_features(modality, values, observed, rate)
    alone, _ = hand_features(modality, values[270:273], observed[270:273], rate)
    assert together[270:273] == pytest.approx(alone, rel=1e-9, nan_ok=True)


def test_table_joins_modalities_and_leaves_absent_ones_empty():
    generator = np.random.default_rng(0)
    signals = {"eda": generator.uniform(1, 2, (6, 1, 120)), "acc": generator.normal(0, 1, (6, 3, 960))}
    observed = {name: np.ones((6, values.shape[2]), dtype=bool) for name, values in signals.items()}
    present = np.array([[True, True], [True, False], [False, True], [True, True], [False, False], [True, True]])
    table, names = feature_table(signals, observed, present, {"eda": 4.0, "acc": 32.0})
    own = np.array([name.startswith("acc.") for name in names])
    assert table.shape == (6, len(names))
    assert np.isnan(table[~present[:, 1]][:, own]).all()
    assert np.isnan(table[~present[:, 0]][:, ~own]).all()
    assert table[2, names.index("acc.ch1_mean")] == pytest.approx(signals["acc"][2, 1].mean())
    assert table[1, names.index("eda.max")] == pytest.approx(signals["eda"][1].max())


def test_peak_rate_finds_a_tone_in_its_band_through_gaps_and_over_channels():
    times = np.arange(800) / 25.0
    slow, fast = np.sin(2 * np.pi * 0.27 * times), 3 * np.sin(2 * np.pi * 1.2 * times)
    values = np.stack([slow + fast + 40, 0.2 * slow + 0.01 * times])
    observed = np.ones((2, 800), dtype=bool)
    observed[0, 300:360] = False
    assert spectral_peak_rate(values, observed, 25.0, 0.1, 0.5) == pytest.approx([16.2, 16.2], abs=0.35)
    assert spectral_peak_rate(values[:1], observed[:1], 25.0, 0.8, 2.0)[0] == pytest.approx(72.0, abs=0.3)
    both = spectral_peak_rate(np.stack([0 * values, values], axis=1), observed, 25.0, 0.1, 0.5)
    assert both == pytest.approx(spectral_peak_rate(values, observed, 25.0, 0.1, 0.5))
    observed[1, :500] = False  # under half is left
    assert np.isnan(spectral_peak_rate(values, observed, 25.0, 0.1, 0.5)).tolist() == [False, True]
    assert np.isnan(spectral_peak_rate(np.full((1, 50), 3.0), np.ones((1, 50), bool), 25.0, 0.1, 0.5)).all()


def test_a_short_window_of_movement_has_the_features_of_its_shape():
    """One second at 50 Hz, by hand: gravity on z, a swing of 5 Hz on y, a step from -1 to 1 on x."""
    times = np.arange(50) / 50.0
    axes = np.stack([np.where(times < 0.5, -1.0, 1.0), 0.5 * np.sin(2 * np.pi * 5.0 * times), np.ones(50)])
    found = features("acc", axes[None], 50.0)
    assert len(found) == 4 * 17 + 3 + 2
    assert found["ch0_change"][0] == pytest.approx(2.0)
    assert (found["ch0_min"][0], found["ch0_median"][0], found["ch0_max"][0]) == (-1.0, 0.0, 1.0)
    assert found["ch0_crossings_per_s"][0] == pytest.approx(1 / 0.98)
    assert found["ch0_jerk_sd"][0] == pytest.approx(100 * np.std(np.eye(49)[0]), rel=1e-6)
    assert found["ch1_rms"][0] == pytest.approx(0.5 / np.sqrt(2), rel=1e-6)
    assert found["ch1_q75"][0] == pytest.approx(np.percentile(axes[1].astype(np.float32), 75), rel=1e-6)
    assert found["ch1_dominant_hz"][0] == pytest.approx(5.0, abs=0.3)
    assert found["ch1_log_power_3_8_hz"][0] > found["ch1_log_power_8_20_hz"][0] + 3
    assert found["norm_mean"][0] == pytest.approx(np.linalg.norm(axes, axis=0).mean(), rel=1e-6)
    assert found["correlation_ch0_ch1"][0] == pytest.approx(np.corrcoef(axes[0], axes[1])[0, 1], abs=1e-6)
    # An axis that stands still goes together with none.
    assert np.isnan(found["correlation_ch0_ch2"][0])
    assert (found["pitch_degrees"][0], found["roll_degrees"][0]) == pytest.approx((0.0, 0.0), abs=1e-3)


def test_a_short_windows_features_do_not_see_what_was_not_observed():
    generator = np.random.default_rng(4)
    values = generator.normal(0.0, 1.0, (6, 3, 50))
    observed = generator.uniform(size=(6, 50)) < 0.8
    one = features("gyro", values, 50.0, observed)
    two = features("gyro", np.where(observed[:, None], values, 1e5), 50.0, observed)
    assert all(np.array_equal(one[name], two[name], equal_nan=True) for name in one)
    seen = np.where(observed, values[:, 1].astype(np.float32), np.nan)
    assert one["ch1_sd"] == pytest.approx(np.nanstd(seen, axis=1), rel=1e-5)
    assert one["ch1_q25"] == pytest.approx(np.nanpercentile(seen, 25, axis=1), rel=1e-5)


@pytest.mark.parametrize("kind", ["acc", "gyro"])
def test_long_windows_keep_their_features_and_a_place_changes_none(kind: str):
    """Published tables rest on the long windows' names; these are what they were."""
    values = np.random.default_rng(1).normal(0.0, 1.0, (3, 3, 960))
    long = features(kind, values, 16.0)
    names = [f"ch{axis}_{word}" for axis in range(3) for word in ("mean", "sd")]
    names += [f"magnitude_{word}" for word in ("mean", "sd", "q05", "q50", "q95")] + ["jerk_mean", "jerk_sd"]
    names += [f"log_power_{band}_hz" for band in ("0.3_1", "1_3", "3_6", "6_15")] + ["dominant_hz", "spectral_entropy"]
    assert list(long) == names + (["pitch_degrees", "roll_degrees"] if kind == "acc" else [])
    for rate in (16.0, 400.0):
        here, there = features(kind, values, rate), features(f"{kind}_pocket", values, rate)
        assert list(here) == list(there)
        assert all(np.array_equal(here[name], there[name], equal_nan=True) for name in here)


def test_short_windows_of_one_axis_without_data_or_change_do_not_warn():
    values = np.random.default_rng(2).normal(0.0, 1.0, (4, 1, 13))
    observed = np.ones((4, 13), dtype=bool)
    observed[1] = False
    observed[2, 1:] = False
    values[3] = 2.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = features("acc", values, 10.0, observed)
    assert all(np.isnan(column[1]) and not np.isinf(column).any() for column in found.values())
    assert "pitch_degrees" not in found


def test_wrong_forms_and_names_are_said():
    with pytest.raises(ShapeError, match="features of eda"):
        hand_features("eda", np.zeros((2, 1, 9), np.float32), np.ones((2, 8), bool), 4.0)
    with pytest.raises(UnknownNameError, match="did you mean 'ppg'"):
        hand_features("pgp", np.zeros((2, 1, 9), np.float32), np.ones((2, 9), bool), 4.0)
    with pytest.raises(ShapeError, match="present"):
        feature_table({"eda": np.zeros((2, 1, 9))}, {"eda": np.ones((2, 9), bool)}, np.ones((2, 2), bool), {"eda": 4.0})


@pytest.mark.real
def test_breathing_rate_on_real_pulses_is_near_the_known_floor(real_data: Path):
    """BIDMC, 32-s windows against annotator 1; an independent staging of these files found 2.27 (PPG), 0.71 (RESP)."""
    truth, windows = [], {"PLETH": [], "RESP": []}
    for path in sorted((real_data / "bidmc").glob("*_Signals.csv.gz")):
        with gzip.open(path, "rt") as file:
            header = [name.strip() for name in next(file).split(",")]
            places = [header.index(name) for name in windows]
            signals = np.loadtxt(file, delimiter=",", usecols=places, dtype=np.float32)
        marks = path.with_name(path.name.replace("Signals.csv.gz", "Breaths.csv")).read_text().splitlines()[1:]
        breaths = np.array([float(line.split(",")[0]) for line in marks if line.split(",")[0].strip()])
        for first in range(0, len(signals) - 4000 + 1, 4000):
            inside = breaths[(breaths >= first) & (breaths < first + 4000)]
            if len(inside) >= 3:
                truth.append(60 * 125 / np.diff(inside).mean())
                for column, name in enumerate(windows):
                    windows[name].append(signals[first : first + 4000, column])
    assert len(truth) > 500
    for name, low, high in (("PLETH", 2.0, 2.6), ("RESP", 0.45, 0.85)):
        values = np.array(windows[name])
        rate = spectral_peak_rate(np.nan_to_num(values), np.isfinite(values), 125.0, 0.1, 0.5)
        assert low < np.abs(rate - np.array(truth)).mean() < high


def test_facts_about_people_stand_beside_hand_made_features_as_they_are():
    people = [{"sex": "F", "bmi": "21.5"}, {"sex": "M", "bmi": "NA"}, {"bmi": "30", "other": "x"}, {}]
    found, names = people_features(people, ("bmi", "sex", "age"))
    assert names == ("static.bmi", "static.sex=F", "static.sex=M", "static.age")
    expected = [[21.5, 1, 0, np.nan], [np.nan, 0, 1, np.nan], [30, np.nan, np.nan, np.nan], [np.nan] * 4]
    np.testing.assert_array_equal(found, expected)
    assert people_features(people, ())[0].shape == (4, 0)

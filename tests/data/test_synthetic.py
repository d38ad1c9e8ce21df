"""The simulated cohort against its own truth: beats, delays, sweat, glucose, light, gaps, and how hard the label is."""

import subprocess
import sys
from dataclasses import fields
from importlib import import_module

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.signal import butter, find_peaks, sosfiltfilt

from hdt_fm.data.synthetic import Synthetic, Truth
from hdt_fm.data.synthetic.body import scr_kernel
from hdt_fm.data.synthetic.metabolism import glucose_response
from hdt_fm.data.synthetic.processes import coloured_noise, lag
from hdt_fm.schema import registry
from hdt_fm.schema.errors import ConfigError, UnknownNameError
from hdt_fm.schema.protocols import Cohort
from hdt_fm.schema.recording import NS_PER_S, Visit

ALL = ("ecg", "ppg", "eda", "temp", "acc", "glucose")


def visit_of(cohort: Synthetic, index: int = 0) -> Visit:
    for number, visit in enumerate(cohort.visits()):
        if number == index:
            return visit
    raise AssertionError(index)


def same_visit(one: Visit, other: Visit) -> bool:
    return (
        one.subject == other.subject
        and one.covariates == other.covariates
        and set(one.recordings) == set(other.recordings)
        and all(np.array_equal(one.recordings[m].values, other.recordings[m].values) for m in one.recordings)
        and all(np.array_equal(one.recordings[m].observed, other.recordings[m].observed) for m in one.recordings)
        and all(np.array_equal(one.labels[k].values, other.labels[k].values) for k in one.labels)
    )


@pytest.fixture(scope="module")
def clean() -> tuple[Visit, Truth]:
    """A person who wears everything, sits still, and whose sensors never fail."""
    cohort = Synthetic(subjects=3, seed=4, missing_modality=0.0, gap_rate_per_hour=0.0, motion=0.0)
    return visit_of(cohort, 2), cohort.truth(2)


def test_is_a_cohort_and_is_found_by_its_name():
    cohort = Synthetic(subjects=1, hours=0.1)
    assert isinstance(cohort, Cohort)
    assert cohort.inputs() == []
    assert (cohort.licence, cohort.source) == ("CC0-1.0", "simulated")
    module = import_module(registry.ELSEWHERE[("cohorts", "synthetic")])
    assert module.Synthetic is Synthetic


def test_loads_no_torch():
    code = "import sys, hdt_fm.data.synthetic; print(any(name in sys.modules for name in ('torch', 'webdataset')))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


def test_same_seed_same_visits_and_another_seed_another_person():
    settings = {"subjects": 2, "hours": 0.2}
    assert all(map(same_visit, Synthetic(**settings).visits(), Synthetic(**settings).visits()))
    other = visit_of(Synthetic(**settings, seed=1))
    assert not same_visit(visit_of(Synthetic(**settings)), other)
    assert visit_of(Synthetic(**settings)).subject != other.subject


def test_more_people_change_nobody_else():
    few, many = Synthetic(subjects=2, hours=0.2, seed=3), Synthetic(subjects=5, hours=0.2, seed=3)
    assert all(same_visit(one, other) for one, other in zip(few.visits(), many.visits(), strict=False))


def test_fewer_modalities_change_no_other_one():
    settings = {"subjects": 1, "hours": 0.2, "missing_modality": 0.0, "gap_rate_per_hour": 40.0}
    full, part = visit_of(Synthetic(**settings)), visit_of(Synthetic(**settings, modalities=("eda", "ppg")))
    assert set(part.recordings) == {"eda", "ppg"}
    for name, recording in part.recordings.items():
        assert not recording.observed.all()
        assert np.array_equal(recording.values, full.recordings[name].values)
        assert np.array_equal(recording.observed, full.recordings[name].observed)


def test_recordings_cover_the_visit_at_their_rates(clean):
    visit, truth = clean
    assert set(visit.recordings) == set(ALL)
    for name, recording in visit.recordings.items():
        assert recording.duration_s == pytest.approx(3600.0)
        assert recording.start_ns == truth.start_ns
        assert recording.start_ns % NS_PER_S == 0
        assert recording.values.shape[0] == (3 if name == "acc" else 1)
        assert recording.observed.all(), f"a plausible {name} was taken for missing"
    assert visit.covariates["sex"] in {"female", "male"}
    assert set(visit.covariates) == {"sex", "age_band"}


def test_label_tracks_say_what_the_truth_says(clean):
    visit, truth = clean
    seconds = (visit.labels["heart_rate"].start_ns - truth.start_ns) / NS_PER_S
    assert np.array_equal(seconds, np.arange(3600))
    # Each label is the mean of its four truth samples.
    assert visit.labels["heart_rate"].values[100] == pytest.approx(truth.hr_bpm[400:404].mean())
    stress = visit.labels["stress"]
    assert stress.classes == ("rest", "stress")
    lengths = (stress.end_ns - stress.start_ns) / NS_PER_S
    assert lengths.sum() == pytest.approx(3600.0)
    assert (lengths * stress.values).sum() / 3600 == pytest.approx(truth.stress.mean(), abs=1e-3)
    assert 0.25 < truth.stress.mean() < 0.65
    assert visit.labels["meal"].unit == "g"
    assert visit.labels["insulin"].unit == "U"
    assert {"activity", "respiratory_rate", "glucose_mg_dl", "light", "light_dose", "breaths"} <= set(visit.labels)
    breaths = (visit.labels["breaths"].start_ns - truth.start_ns) / NS_PER_S
    assert 60 / np.diff(breaths).mean() == pytest.approx(truth.respiration_per_min.mean(), rel=0.01)


def test_beats_in_the_ecg_are_the_true_heart_rate(clean):
    visit, truth = clean
    recording = visit.recordings["ecg"]
    rate = recording.sampling_rate_hz
    band = sosfiltfilt(butter(2, (5.0, 30.0), "bandpass", fs=rate, output="sos"), recording.values[0].astype(float))
    peaks, _ = find_peaks(band, height=0.5 * np.quantile(band, 0.995), distance=int(0.35 * rate))
    times = peaks / rate
    errors = []
    for start in range(0, 3540, 60):
        inside = times[(times >= start) & (times < start + 60)]
        rest = (truth.times_s >= start) & (truth.times_s < start + 60)
        if truth.activity[rest].max() < 0.05:
            errors.append(60 / np.diff(inside).mean() - truth.hr_bpm[rest].mean())
    assert len(errors) > 10
    assert np.abs(errors).max() < 1.0


def test_the_pulse_comes_one_transit_time_after_the_beat(clean):
    visit, truth = clean
    recording = visit.recordings["ppg"]
    rate = recording.sampling_rate_hz
    smooth = sosfiltfilt(butter(2, 10.0, fs=rate, output="sos"), recording.values[0].astype(float))
    slope = np.gradient(smooth)
    delays = []
    for beat in truth.beat_times_s[5:-5]:
        first = int(np.ceil((beat + 0.05) * rate))
        delays.append((first + np.argmax(slope[first : first + int(0.45 * rate)])) / rate - beat)
    true = np.interp(truth.beat_times_s[5:-5], truth.times_s, truth.transit_time_s)
    assert np.median(np.array(delays) - true) == pytest.approx(0.0, abs=0.01)
    assert true.min() > 0.1


def test_responses_of_the_skin_follow_arousal():
    # Their number is Poisson with the rate that the traits state, in high and in low arousal alike.
    for index in range(4):
        truth = Synthetic(subjects=4, hours=3.0, seed=8).truth(index)
        per_min = truth.person.scr_per_min + truth.person.scr_per_min_per_arousal * truth.arousal
        aroused = truth.arousal > np.median(truth.arousal)
        own = aroused[np.minimum((truth.scr_times_s * 4).astype(int), len(aroused) - 1)]
        for part, count in ((aroused, own.sum()), (~aroused, (~own).sum())):
            expected = per_min[part].sum() / 240
            assert abs(count - expected) < 4 * np.sqrt(expected)


def test_kernel_of_a_response_has_height_one_and_its_two_time_constants():
    times = np.linspace(0, 40, 400_001)
    curve = scr_kernel(times)
    assert curve.max() == pytest.approx(1.0, abs=1e-8)
    assert times[curve.argmax()] == pytest.approx(
        np.log(4.0), abs=1e-4
    )  # rise 0.75 s, decay 3 s: the peak is at ln(4) s
    assert curve[350_000] / curve[320_000] == pytest.approx(np.exp(-1.0), rel=1e-3)  # 3 s later, 1/e of it


def _left_of_a_dose(minutes: float, k: float, p: float) -> float:
    """What is left of a unit dose: an integral over its appearance, each part decaying since; no closed form shared."""
    return quad(lambda s: k * k * s * np.exp(-k * s - p * (minutes - s)), 0.0, minutes)[0]


def test_closed_form_of_a_dose_is_its_integral():
    minutes = np.array([-5.0, 0.0, 1.0, 40.0, 400.0])
    curve = glucose_response(minutes, effect=-38.0, rate_per_min=0.022, clearance_per_min=0.012)
    assert curve[:2].tolist() == [0.0, 0.0]
    assert curve[2:] == pytest.approx([-38.0 * _left_of_a_dose(minute, 0.022, 0.012) for minute in minutes[2:]])


@pytest.mark.parametrize(("kind", "effect", "rate"), [("meal", 1.0, "meal"), ("insulin", -1.0, "insulin")])
def test_a_dose_changes_glucose_by_the_stated_effect(kind: str, effect: float, rate: str):
    settings = {"subjects": 6, "hours": 5.0, "seed": 2}
    full, left_out = Synthetic(**settings), Synthetic(**settings, without=(kind,))
    tested = 0
    for index in range(6):
        truth, other = full.truth(index), left_out.truth(index)
        person, doses = truth.person, getattr(truth.plan, "meals" if kind == "meal" else "insulin")
        assert len(getattr(other.plan, "meals" if kind == "meal" else "insulin")) == 0
        per_dose = person.glucose_mg_dl_per_gram if kind == "meal" else person.glucose_mg_dl_per_unit
        k, p = getattr(person, f"{rate}_rate_per_min"), person.clearance_per_min
        for minute in (30.0, 120.0, 290.0):
            since = [(minute - second / 60, amount) for second, amount in doses if second / 60 < minute]
            expected = sum(effect * per_dose * amount * _left_of_a_dose(after, k, p) for after, amount in since)
            place = int(minute * 12)
            assert truth.glucose_mg_dl[place] - other.glucose_mg_dl[place] == pytest.approx(expected, abs=1e-6)
            tested += expected != 0
    assert tested >= 8


def test_the_glucose_sensor_differs_by_the_effect_alone():
    settings = {"subjects": 1, "hours": 4.0, "seed": 5, "missing_modality": 0.0, "gap_rate_per_hour": 0.0}
    full, left_out = (Synthetic(**settings, modalities=("glucose",), without=kinds) for kinds in ((), ("meal",)))
    one, other = (visit_of(cohort).recordings["glucose"].values[0] for cohort in (full, left_out))
    true = (full.truth(0).tissue_glucose_mg_dl - left_out.truth(0).tissue_glucose_mg_dl)[:-1:60]
    inside = (np.minimum(one, other) > 40) & (np.maximum(one, other) < 400)  # a sensor writes no less and no more
    assert true[inside].max() > 30
    assert np.abs(one - other - true)[inside].max() <= 1.0  # it rounds to 1 mg/dL; its error is the same in both


def test_leaving_out_a_meal_moves_no_other_signal():
    settings = {"subjects": 1, "hours": 0.5, "missing_modality": 0.0}
    full, left_out = visit_of(Synthetic(**settings)), visit_of(Synthetic(**settings, without=("meal", "insulin")))
    for name in set(ALL) - {"glucose"}:
        assert np.array_equal(full.recordings[name].values, left_out.recordings[name].values)


def test_light_dose_is_a_leaky_integral_that_moves_heart_and_skin():
    settings = {"subjects": 3, "hours": 6.0, "seed": 1}
    full, dark = Synthetic(**settings).truth(1), Synthetic(**settings, without=("light",)).truth(1)
    person, rise = full.person, full.plan.outdoors_s[0]
    assert not dark.light_dose.any()
    first, last = int(np.ceil(rise[0] * 4)), int(rise[1] * 4) - 1
    step = np.log10(1 + full.plan.outdoor_lux[0] / 200.0)
    expected = step * (1 - np.exp(-(last - first) / 4 / person.light_time_constant_s))
    assert full.light_dose[last] == pytest.approx(expected, rel=2e-3)
    assert np.allclose(full.hr_bpm - dark.hr_bpm, person.hr_bpm_per_light_dose * full.light_dose)
    assert (
        full.skin_celsius - dark.skin_celsius
    ).min() < 0.9 * person.skin_celsius_per_light_dose * full.light_dose.max()


def test_arousal_raises_heart_rate_and_cools_the_skin_late():
    settings = {"subjects": 2, "hours": 1.0, "seed": 6, "without": ("walk", "light")}
    tense = Synthetic(**settings).truth(1)
    calm = Synthetic(**{**settings, "without": ("walk", "light", "stress")}).truth(1)
    added = tense.arousal - calm.arousal
    lagged = lag(np.concatenate([np.zeros(2000), added])[2000:], 40.0, 4.0)
    assert np.allclose(tense.vasomotor - calm.vasomotor, lagged, atol=1e-6)
    assert np.corrcoef(added, tense.hr_bpm - calm.hr_bpm)[0, 1] > 0.5
    assert not calm.stress.any()


def test_movement_disturbs_the_pulse_only_while_moving_and_as_a_filtered_copy():
    settings = {"subjects": 2, "hours": 0.75, "missing_modality": 0.0, "gap_rate_per_hour": 0.0}
    moving, still = (Synthetic(**settings, motion=motion) for motion in (1.0, 0.0))
    added = visit_of(moving).recordings["ppg"].values[0] - visit_of(still).recordings["ppg"].values[0]
    acc = visit_of(moving).recordings["acc"].values - visit_of(still).recordings["acc"].values
    movement = np.repeat(np.abs(acc).max(axis=0), 2)
    # Neither a step nor a fidget for 5 s: by then the coupling has faded.
    quiet = np.convolve(movement > 1e-3, np.ones(320), "full")[: len(movement)] < 0.5
    assert 0.2 < quiet.mean() < 0.95
    assert added[movement > 0.1].std() > 50 * added[quiet].std()
    # A regression on the three axes with a second of delays explains it: it is a filtered copy.
    half = added[::2].astype(float)
    delays = np.stack([np.roll(axis, shift) for axis in acc for shift in range(32)], axis=1)[64:].astype(float)
    rest = half[64:] - delays @ np.linalg.lstsq(delays, half[64:], rcond=None)[0]
    assert rest.var() < 0.05 * half[64:].var()


def test_people_lack_modalities_as_often_as_asked():
    cohort = Synthetic(subjects=100, hours=0.05, missing_modality=0.3)
    counts = np.array([[name in visit.recordings for name in ALL] for visit in cohort.visits()])
    assert counts.sum(axis=1).min() >= 2
    share = 1 - counts.mean()
    # 0.3, less the few people who would have kept fewer than two; 600 draws have a standard error of 0.02.
    assert 0.23 < share < 0.35


def test_gaps_are_masked_and_hold_zero():
    settings = {"subjects": 1, "hours": 1.0, "missing_modality": 0.0}
    gappy = visit_of(Synthetic(**settings, gap_rate_per_hour=12.0))
    whole = visit_of(Synthetic(**settings, gap_rate_per_hour=0.0))
    for name, recording in gappy.recordings.items():
        assert whole.recordings[name].observed.all()
        assert (~recording.observed).sum() > 0
        assert not recording.values[:, ~recording.observed].any()
        seen = recording.observed
        assert np.array_equal(recording.values[:, seen], whole.recordings[name].values[:, seen])
    lost = 1 - np.mean([gappy.recordings[m].observed.mean() for m in ("ecg", "ppg", "eda", "temp", "acc")])
    assert 0.02 < lost < 0.15  # 12 gaps of 20 s are 6.7 % of an hour


def test_coloured_noise_has_the_stated_spread_and_memory():
    noise = coloured_noise(np.random.default_rng(0), 400_000, 4.0, sd=2.5, time_constant_s=5.0)
    assert noise.std() == pytest.approx(2.5, rel=0.02)
    assert np.corrcoef(noise[:-20], noise[20:])[0, 1] == pytest.approx(np.exp(-1), abs=0.02)


def test_truth_is_of_the_visit_and_all_finite(clean):
    visit, truth = clean
    assert truth.subject == visit.subject
    arrays = [getattr(truth, entry.name) for entry in fields(Truth) if entry.name not in {"subject", "person", "plan"}]
    assert all(np.isfinite(array).all() for array in arrays)
    assert (np.diff(truth.beat_times_s) > 0.25).all()


@pytest.mark.parametrize(
    ("setting", "value"),
    [("subjects", 0), ("hours", 0.0), ("seed", -1), ("missing_modality", 1.0), ("motion", -0.5), ("modalities", ())],
)
def test_a_number_out_of_range_is_named(setting: str, value: object):
    with pytest.raises(ConfigError, match=setting):
        Synthetic(**{setting: value})


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'ppg'"):
        Synthetic(modalities=("pgp", "ppg"))
    with pytest.raises(UnknownNameError, match="did you mean 'insulin'"):
        Synthetic(without=("insuline",))
    with pytest.raises(ConfigError, match="subject_index"):
        Synthetic(subjects=2).truth(2)


@pytest.mark.slow
def test_stress_can_be_learnt_from_many_features_but_not_from_one_level():
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import RobustScaler

    names, table, labels, groups = _windows_of_a_minute(
        Synthetic(subjects=14, modalities=("ecg", "eda", "temp", "acc"))
    )
    model = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True),
        RobustScaler(quantile_range=(10, 90)),
        LogisticRegression(C=0.1, max_iter=500),
    )
    guess = cross_val_predict(model, table, labels, groups=groups, cv=GroupKFold(7), method="predict_proba")[:, 1]
    assert 0.70 < roc_auc_score(labels, guess) < 0.92
    for level in ("eda.mean", "temp.mean", "ecg.hr_mean_bpm"):
        column = table[:, names.index(level)]
        known = np.isfinite(column)
        area = roc_auc_score(labels[known], column[known])
        assert max(area, 1 - area) < 0.70


def _windows_of_a_minute(cohort: Synthetic) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    from hdt_fm.evaluation.hand_features import feature_table

    rates = {"ecg": 128.0, "eda": 4.0, "temp": 4.0, "acc": 32.0}
    tables, labels, groups, names = [], [], [], ()
    for index, visit in enumerate(cohort.visits()):
        signals, observed, present = {}, {}, []
        for name, rate in rates.items():
            worn = visit.recordings.get(name)
            shape = (3 if name == "acc" else 1, 60, round(60 * rate))
            values = np.zeros((shape[0], round(3600 * rate)), np.float32) if worn is None else worn.values
            seen = np.zeros(round(3600 * rate), bool) if worn is None else worn.observed
            signals[name] = values.reshape(shape).transpose(1, 0, 2)
            observed[name] = seen.reshape(60, round(60 * rate))
            present.append(observed[name].mean(axis=1) >= 0.8)
        rows, names = feature_table(signals, observed, np.stack(present, axis=1), rates)
        stress = cohort.truth(index).stress[:-1].reshape(60, 240).mean(axis=1)
        clear = np.abs(stress - 0.5) > 0.2
        tables.append(rows[clear])
        labels.append((stress > 0.5)[clear])
        groups.append(np.full(clear.sum(), index))
    return list(names), np.concatenate(tables), np.concatenate(labels), np.concatenate(groups)

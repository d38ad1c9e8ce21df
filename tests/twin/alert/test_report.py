"""What one person is told: causal, silent without data, anew after a device, and with the reason."""

import numpy as np
import pytest

from hdt_fm.schema.errors import ConfigError, ShapeError, UnknownNameError
from hdt_fm.twin.alert.report import watch
from hdt_fm.twin.alert.settings import AlertSettings
from hdt_fm.twin.alert.watcher import Watcher

ILLNESS = np.array([1.5, 3, 4.5, 6, 6, 6, 6, 6])


def ill(values, at):
    out = values.copy()
    out[at : at + len(ILLNESS)] += ILLNESS[: len(out) - at]
    return out


def test_illness_raises_one_alert_that_names_what_deviates(nights_of, usual):
    values = np.stack(
        [ill(usual(160, seed=1, sd=1.2), 150), 40 + 4 * np.random.default_rng(9).normal(size=160)], axis=1
    )
    report = watch(nights_of(values, ("resting_heart_rate", "hrv")))
    (alert,) = [one for one in report.alerts if one.end >= report.dates[150]]
    assert report.dates[151] <= alert.begin <= report.dates[154]
    first = alert.deviations[0]
    assert first.indicator == "resting_heart_rate"
    assert 1.5 < first.personal_sds < 4
    assert alert.words().startswith(f"resting_heart_rate +{first.personal_sds:.1f} personal SD, hrv")
    assert report.state[154] == "alert"
    assert report.state[-1] != "alert"
    night = report.dates.tolist().index(alert.begin.tolist())
    seen = report.deviation[max(night - 6, 0) : night + 1, 0]
    assert seen.min() <= first.personal_sds <= seen.max()


def test_a_fall_of_the_heart_rate_is_no_alert(nights_of, usual):
    values = usual(160, seed=1, sd=1.2)
    fallen = values - (ill(values, 150) - values)
    report = watch(nights_of(fallen))
    assert not [one for one in report.alerts if one.end >= report.dates[150]]


def test_later_nights_change_nothing_that_was_said(nights_of, usual):
    generator = np.random.default_rng(4)
    values = np.stack([ill(usual(120, seed=2), 80), usual(120, seed=3), usual(120, seed=4)], axis=1)
    values[generator.random(values.shape) < 0.15] = np.nan
    values[50:60] = np.nan
    names, devices = ("resting_heart_rate", "respiratory_rate", "component_0"), ("a",) * 70 + ("b",) * 50
    full = watch(nights_of(values, names, devices))
    other = values.copy()
    other[95:] = 500.0
    for length, source in ((60, values), (83, values), (95, other)):
        part = watch(nights_of(source[:length], names, devices[:length]))
        assert part.state == full.state[:length]
        assert part.reason == full.reason[:length]
        for name in ("cusum", "threshold", "p_value", "deviation", "parts", "heard"):
            np.testing.assert_array_equal(getattr(part, name), getattr(full, name)[:length], err_msg=name)
        for early, late in zip(part.alerts, full.alerts, strict=False):
            assert (early.begin, early.deviations, early.parts) == (late.begin, late.deviations, late.parts)


def test_nights_without_data_abstain_and_hold(nights_of, usual):
    values = ill(usual(120, seed=1, sd=1.2), 100)
    values[104:107] = np.nan
    report = watch(nights_of(values))
    assert report.state[103] == "alert"
    assert report.state[104:107] == ("abstained",) * 3
    assert report.reason[105] == "no data"
    assert np.isnan(report.p_value[104:107]).all()
    assert (report.cusum[104:107] == report.cusum[103]).all()
    assert report.state[107] == "alert"
    assert len([one for one in report.alerts if one.end >= report.dates[100]]) == 1


def test_a_long_gap_drops_what_had_gathered_and_says_so(nights_of, usual):
    values = ill(usual(130, seed=1, sd=1.2), 100)[:104]
    after = np.concatenate([values, np.full(9, np.nan), usual(20, seed=8, sd=1.2)])
    report = watch(nights_of(after))
    assert report.state[103] == "alert"
    assert report.state[113] != "alert"
    assert "more than 7 nights without data" in report.reason[113]
    kept = watch(nights_of(after), AlertSettings(longest_gap=20))
    assert kept.cusum[112] > 0
    assert "without data:" not in kept.reason[113]


def test_no_alert_before_the_calibration_nights(nights_of, usual):
    values = usual(60, seed=1)
    values[20:28] += 30.0
    report = watch(nights_of(values))
    assert report.state[:28] == ("learning",) * 28
    assert report.usable_from == report.dates[28]
    assert report.reason[27] == "20 of 21 calibration nights"
    later = watch(nights_of(values), AlertSettings(calibration_nights=25))
    assert later.usable_from == report.dates[32]


def test_missing_nights_put_the_first_use_off(nights_of, usual):
    values = usual(60, seed=1)
    values[5:15] = np.nan
    assert watch(nights_of(values)).usable_from == watch(nights_of(usual(60, seed=1))).usable_from + np.timedelta64(10)
    assert watch(nights_of(values[:20])).usable_from is None


def test_another_device_is_learned_anew_and_its_offset_is_no_alert(nights_of, usual):
    values = usual(160, seed=1)
    values[100:] += 12.0
    known = watch(nights_of(values, devices=("a",) * 100 + ("b",) * 60))
    assert not [one for one in known.alerts if one.begin >= known.dates[100]]
    assert known.renewed == (known.dates[100],)
    assert set(known.state[100:128]) == {"learning"}
    assert known.reason[100].startswith("another device")
    assert set(known.state[128:]) <= {"quiet", "watch", "alert"}
    np.testing.assert_allclose(np.nanmean(known.deviation[130:, 0]), 0, atol=0.6)
    untold = watch(nights_of(values))
    assert any(known.dates[100] <= one.begin <= known.dates[103] for one in untold.alerts)


def test_an_alert_of_weeks_becomes_the_new_usual(nights_of, usual):
    values = usual(200, seed=1)
    values[100:] += 12.0
    report = watch(nights_of(values))
    assert len(report.renewed) == 1
    assert any("lasted for weeks" in reason for reason in report.reason)
    assert set(report.state[-20:]) <= {"quiet", "watch"}


def test_embedding_components_are_heard_either_way(nights_of):
    generator = np.random.default_rng(0)
    values = generator.normal(size=(140, 6))
    values[130:, 2] -= 5.0
    values[130:, 4] += 4.0
    report = watch(nights_of(values, tuple(f"component_{one}" for one in range(6))))
    assert [one.begin >= report.dates[130] for one in report.alerts] == [True]
    two = report.alerts[0].deviations[:2]
    assert {one.indicator: np.sign(one.personal_sds) for one in two} == {"component_2": -1, "component_4": 1}


def test_one_faulty_night_alone_raises_nothing(nights_of, usual):
    values = usual(160, seed=1)
    values[120] += 80.0
    report = watch(nights_of(values))
    assert not [one for one in report.alerts if abs(one.begin - report.dates[120]) <= np.timedelta64(3)]


def test_units_do_not_matter_where_no_effect_is_assumed(nights_of, usual):
    values = ill(usual(130, seed=1), 110)
    one, other = watch(nights_of(values)), watch(nights_of(1000 * values - 5))
    assert one.state == other.state
    np.testing.assert_allclose(one.cusum, other.cusum, atol=1e-9)


def test_what_never_varies_never_judges(nights_of):
    report = watch(nights_of(np.full(60, 60.0)))
    assert set(report.state) == {"learning"}
    assert report.usable_from is None


def test_people_are_judged_each_alone(usual):
    values = np.stack([ill(usual(90, seed=1), 80), usual(90, seed=2)])[:, :, None]
    both, one = Watcher(2, np.array([5.0]), AlertSettings()), Watcher(1, np.array([5.0]), AlertSettings())
    for night in range(90):
        weekday, changed = np.full(2, night % 7), np.array([night == 40, False])
        pair, alone = (
            both.step(values[:, night], weekday, changed),
            one.step(values[1:, night], weekday[1:], changed[1:]),
        )
        assert pair.state[1] == alone.state[0]
        assert pair.cusum[1] == pytest.approx(alone.cusum[0], abs=1e-12)


def test_bad_settings_and_nights_speak(nights_of, usual):
    for name, value in (("budget_per_year", 0.0), ("calibration_nights", 20), ("memory", 10), ("slack", -1.0)):
        with pytest.raises(ConfigError, match="out of range") as found:
            AlertSettings(**{name: value})
        assert name in str(found.value)
    with pytest.raises(ConfigError, match="forgets"):
        AlertSettings(memory=28, calibration_nights=28)
    with pytest.raises(UnknownNameError):
        watch(nights_of(usual(30)), effects={"heart": 1.0})
    with pytest.raises(ShapeError, match="does not fit the watch"):
        Watcher(2, np.ones(1), AlertSettings()).step(np.zeros((3, 1)), np.zeros(3, dtype=int), np.zeros(3, dtype=bool))

"""The written rule from recordings to nights, by hand: which hours, how many, which date, which device."""

import importlib.util

import numpy as np
import pytest

from hdt_fm.schema.errors import ConfigError, RecordingError
from hdt_fm.schema.recording import NS_PER_S, Channel, LabelTrack, Recording, Visit
from hdt_fm.twin.nights.from_visits import nights_of
from hdt_fm.twin.nights.slots import NightHours

ONE, OTHER = "s" + "1" * 32, "s" + "2" * 32
HOUR, DAY = 3600, 86_400
MARCH_5 = int(np.datetime64("2026-03-05").astype("datetime64[s]").astype(np.int64))


def recording(modality, begin_s, step_s, values, *, offset=0, channel="", device="watch", subject=ONE):
    values = np.asarray(values, dtype=np.float32)[None]
    observed = np.isfinite(values[0])
    return Recording(
        modality=modality,
        channels=(Channel(channel or modality, "1"),),
        sampling_rate_hz=1 / step_s,
        start_ns=begin_s * NS_PER_S,
        values=np.where(observed, values, 0).astype(np.float32),
        observed=observed,
        subject=subject,
        device=device,
        body_site="wrist",
        utc_offset_s=offset,
    )


def label(name, begins_s, ends_s, values, kind="value", unit="bpm"):
    at = [np.array(times, dtype=np.int64) * NS_PER_S for times in (begins_s, ends_s)]
    return LabelTrack(name, kind, *at, np.array(values, dtype=np.float64), unit=unit)


def visit(*found, subject=ONE, source="made"):
    recordings = {one.modality: one for one in found if isinstance(one, Recording)}
    labels = {one.name: one for one in found if isinstance(one, LabelTrack)}
    return Visit(subject, recordings, labels, source=source)


def told(nights, name):
    """Date -> value of one indicator."""
    column = nights.values[:, nights.names.index(name)]
    return {str(date)[-2:]: float(value) for date, value in zip(nights.dates, column, strict=True) if value == value}


def minutes(hours, value_of):
    """A value a minute by the hour of the day."""
    return np.array([value_of(minute // 60) for minute in range(hours * 60)], dtype=np.float64)


def test_the_night_is_from_midnight_to_six_local_time():
    # Two days of UTC minutes from noon, two hours east: 60 + the local hour.
    begin, east = MARCH_5 - DAY // 2, 2 * HOUR
    values = minutes(48, lambda hour: 60 + (12 + hour + 2) % 24)
    nights = nights_of([visit(recording("heart_rate", begin, 60, values, offset=east))])
    # Hours 0 to 5 in equal parts: the median is 62.5.
    assert told(nights, "resting_heart_rate") == {"05": 62.5, "06": 62.5}
    late = nights_of([visit(recording("heart_rate", begin, 60, values, offset=east))], hours=NightHours(22, 2))
    # 22, 23, 0, 1 o'clock: 82, 83, 60, 61.
    assert told(late, "resting_heart_rate") == {"05": 71.5, "06": 71.5}
    # The recording begins at 14 o'clock of the 4th and ends then on the 6th, so a night of 22 to 2 is never cut.
    assert {str(date) for date in late.dates} == {"2026-03-05", "2026-03-06"}


@pytest.mark.parametrize(("measured", "there"), [(49, False), (51, True)])
def test_a_night_needs_an_hour_of_slots(measured, there):
    values = np.full(DAY // 60, np.nan)
    values[60 : 60 + measured] = 60.0
    other = recording("hrv", MARCH_5, 60, np.where(np.arange(DAY // 60) == 90, 40.0, np.nan))
    nights = nights_of([visit(recording("heart_rate", MARCH_5, 60, values), other)])
    assert told(nights, "hrv") == {"05": 40.0}
    assert ("resting_heart_rate" in nights.names) == there


def test_slots_count_alike_however_many_samples_they_hold():
    # Every minute of the first ten, once in ten minutes later: the median is of slots, 61 and not 90.
    values = np.full(DAY // 60, np.nan)
    values[:10], values[10:120:10] = 90.0, 61.0
    nights = nights_of([visit(recording("heart_rate", MARCH_5, 60, values))])
    assert told(nights, "resting_heart_rate") == {"05": 61.0}


def test_steps_are_of_the_day_before():
    walked = np.full(2 * DAY // 60, np.nan)
    walked[8 * 60 : 13 * 60] = 20.0  # five hours of the 5th: 6000 steps
    walked[DAY // 60 + 8 * 60 : DAY // 60 + 11 * 60] = 20.0  # three hours of the 6th: too few to say
    heart = np.full(3 * DAY // 60, 60.0)
    visits = [visit(recording("steps", MARCH_5, 60, walked), recording("heart_rate", MARCH_5, 60, heart))]
    assert told(nights_of(visits), "steps") == {"06": 6000.0}


def test_the_last_day_may_not_be_over():
    walked = np.full(2 * DAY // 60, 5.0)
    heart = np.full(2 * DAY // 60, 60.0)
    visits = [visit(recording("steps", MARCH_5, 60, walked), recording("heart_rate", MARCH_5, 60, heart))]
    nights = nights_of(visits)
    assert told(nights, "steps") == {"06": 7200.0}
    assert str(nights.dates[-1]) == "2026-03-06"


def test_a_value_a_day_is_of_its_date():
    nights = nights_of(
        [
            visit(
                recording("hrv", MARCH_5, DAY, [40, np.nan, 42]),
                recording("resp_rate", MARCH_5, DAY, [15, 16, 17]),
                recording("steps", MARCH_5, DAY, [5.0, 6.0, 7.0]),
                recording("heart_rate", MARCH_5, DAY, [80, 81, 82]),
            )
        ]
    )
    assert nights.names == ("hrv", "respiratory_rate", "steps")
    assert told(nights, "hrv") == {"05": 40, "07": 42}
    assert told(nights, "respiratory_rate") == {"05": 15, "06": 16, "07": 17}
    assert told(nights, "steps") == {"06": 7200, "07": 8640}


def test_labels_go_by_their_end_and_events_by_their_date():
    night = label("resting_heart_rate", [MARCH_5 - 2 * HOUR, MARCH_5], [MARCH_5 + 6 * HOUR, MARCH_5 + DAY], [60, 64])
    warm = label("body_temperature", *[[MARCH_5 + hour * HOUR for hour in (7, 12, 20)]] * 2, [36, 37, 39], "event")
    heart = recording("heart_rate", MARCH_5, 60, np.full(DAY // 60, 99.0))
    nights = nights_of([visit(night, warm, heart)])
    # Both intervals end on the 5th; the device's own rate goes before the night's 99.
    assert told(nights, "resting_heart_rate") == {"05": 62.0}
    assert told(nights, "body_temperature") == {"05": 37.0}
    east = visit(warm, recording("heart_rate", MARCH_5, 60, np.full(600, 60.0), offset=5 * HOUR))
    assert told(nights_of([east]), "body_temperature") == {"05": 36.5, "06": 39.0}


def test_the_channel_tells_which_hrv_it_is():
    nights = nights_of([visit(recording("hrv", MARCH_5, 60, np.full(60, 50.0), channel="sdnn"))])
    assert nights.names == ("sdnn",)


def test_two_devices_do_not_count_one_thing_twice():
    walked = np.full(DAY // 60, 10.0)
    phone = visit(recording("steps", MARCH_5, 60, walked, device="phone"))
    watch = visit(
        recording("steps", MARCH_5, 60, walked), recording("heart_rate", MARCH_5 + DAY, 60, np.full(600, 60.0))
    )
    assert told(nights_of([phone, watch]), "steps") == {"06": 14_400.0}


def test_a_night_in_two_files_is_one():
    halves = [
        visit(recording("heart_rate", MARCH_5 + part * 30 * 60, 60, np.full(30, 60.0 + part)), source="fit")
        for part in range(2)
    ]
    nights = nights_of(halves)
    assert told(nights, "resting_heart_rate") == {"05": 60.5}


def test_another_visit_may_be_another_device():
    visits = [
        visit(recording("heart_rate", MARCH_5 + at * DAY, 60, np.full(360, 60.0), device=device))
        for at, device in enumerate(("a", "a", "b"))
    ]
    assert nights_of(visits).changes().tolist() == [False, False, True]


def test_a_phone_is_no_other_watch():
    watch = visit(recording("heart_rate", MARCH_5, 60, np.where(np.arange(4320) // 1440 == 1, np.nan, 60.0)))
    phone = visit(recording("steps", MARCH_5, DAY, [5.0, 5.0], device="phone"))
    nights = nights_of([watch, phone])
    assert told(nights, "steps") == {"06": 7200, "07": 7200}
    assert nights.devices == ("watch", "", "watch")
    assert not nights.changes().any()


def test_local_time_is_asked_for():
    heart = recording("heart_rate", MARCH_5, 60, minutes(24, lambda hour: 60 + hour), offset=None)
    with pytest.raises(RecordingError, match="utc_offset_s=SECONDS"):
        nights_of([visit(heart)])
    assert told(nights_of([visit(heart)], utc_offset_s=0), "resting_heart_rate") == {"05": 62.5}
    # Nine hours east: its night is from 15 to 21 o'clock UTC, and ends on the 6th.
    assert told(nights_of([visit(heart)], utc_offset_s=9 * HOUR), "resting_heart_rate") == {"06": 77.5}
    said = visit(recording("heart_rate", MARCH_5, 60, minutes(24, lambda hour: 60 + hour), offset=9 * HOUR))
    assert told(nights_of([said], utc_offset_s=0), "resting_heart_rate") == {"06": 77.5}


def test_changes_of_the_local_offset_are_followed():
    heart = recording("heart_rate", MARCH_5, 60, minutes(48, lambda hour: 60 + hour % 24))
    moved = label(
        "utc_offset", [MARCH_5, MARCH_5 + DAY // 2], [MARCH_5 + DAY // 2, MARCH_5 + DAY], [0, 9 * HOUR], unit="s"
    )
    nights = nights_of([visit(heart, moved)])
    assert told(nights, "resting_heart_rate") == {"05": 62.5, "06": 77.5, "07": 77.5}


def test_labels_that_no_body_has_are_left_out():
    rates = label("resting_heart_rate", [MARCH_5, MARCH_5 + DAY], [MARCH_5 + DAY, MARCH_5 + 2 * DAY], [0, 61])
    assert told(nights_of([visit(rates)]), "resting_heart_rate") == {"06": 61.0}


def test_steps_of_a_counter_are_summed():
    begins = [MARCH_5 + hour * HOUR for hour in range(8, 13)]
    counted = label("steps", begins, [one + 600 for one in begins], [30.0] * 5, unit="1/min")
    heart = recording("heart_rate", MARCH_5 + DAY, 60, np.full(600, 60.0))
    assert told(nights_of([visit(counted, heart)]), "steps") == {"06": 1500.0}


def test_what_cannot_be_is_refused():
    heart = recording("heart_rate", MARCH_5, 60, np.full(600, 60.0))
    with pytest.raises(RecordingError, match="several people"):
        nights_of([visit(heart), visit(recording("heart_rate", MARCH_5, 60, [60.0], subject=OTHER), subject=OTHER)])
    for nothing in ([], [visit(recording("acc", MARCH_5, 1, [0.0]))], [visit(recording("steps", MARCH_5, DAY, [5.0]))]):
        with pytest.raises(RecordingError, match="nothing here that tells of a night"):
            nights_of(nothing)
    for hours in ((6, 6), (-1, 6), (0, 24)):
        with pytest.raises(ConfigError, match="no hours of a night"):
            NightHours(*hours)


@pytest.mark.real
def test_welltory_agrees_with_the_script_that_was_there_before(real_data, repo):
    from data_pipelines.cohorts.welltory_covid19 import WelltoryCovid19

    spec = importlib.util.spec_from_file_location("reproduce_alerts", repo / "scripts" / "reproduce_alerts.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    parts, compared = WelltoryCovid19(path=str(real_data / "welltory_covid19"), subject_key="public").visits().parts, 0
    for part in parts[:60]:
        theirs = script.nights_of(one := part())
        if theirs is None:
            continue
        ours = nights_of([one])
        for name in theirs.names:
            column = theirs.values[:, theirs.names.index(name)]
            expected = {str(date): x for date, x in zip(theirs.dates, column, strict=True) if x == x}
            mine = ours.values[:, ours.names.index(name)]
            assert {str(date): x for date, x in zip(ours.dates, mine, strict=True) if x == x} == expected
            compared += len(expected)
    assert compared > 500


@pytest.mark.real
def test_a_real_resting_heart_rate_remembers_more_than_the_simulated(real_data):
    """The README's number; the baseline's first guess of memory is .4."""
    from data_pipelines.cohorts.lifesnaps_daily import LifesnapsDaily

    memories = []
    for part in LifesnapsDaily(path=str(real_data / "lifesnaps_daily"), subject_key="public").visits().parts:
        nights = nights_of([part()]).on_calendar()
        heart = nights.values[:, nights.names.index("resting_heart_rate")]
        away = heart - np.nanmean(heart)
        product = away[1:] * away[:-1]
        if np.isfinite(product).sum() >= 40:
            memories.append(np.nanmean(product) / np.nanvar(heart))
    assert len(memories) == 41
    assert np.median(memories) == pytest.approx(0.85, abs=0.005)

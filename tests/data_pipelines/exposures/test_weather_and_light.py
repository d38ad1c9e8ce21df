"""A table of days and a recording of light, against numbers by hand."""

import numpy as np
import pytest

from data_pipelines.exposures._told import DAY_S, Whose
from data_pipelines.exposures.light import Light
from data_pipelines.exposures.weather import Weather
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import Channel, Recording

WHOSE = Whose(1, 2)
NAN = np.nan


def test_weather_keeps_days_that_are_missing_and_what_cannot_be():
    day = np.array([20_002, 20_000])
    table = {
        "temperature_celsius": np.array([12.0, -3.0]),
        "pressure_hpa": np.array([0.0, 1013.0]),
        "rain_mm_per_hour": np.array([0.5, NAN]),
    }
    temperature, pressure, rain = Weather()(day, table, WHOSE)
    assert temperature.start_s.tolist() == [20_000 * DAY_S, 20_001 * DAY_S, 20_002 * DAY_S]
    assert temperature.values.tolist() == pytest.approx([-3, NAN, 12], nan_ok=True)
    assert pressure.values.tolist() == pytest.approx([1013, NAN, NAN], nan_ok=True)
    # Half a millimetre an hour for 24 h.
    assert rain.values.tolist() == pytest.approx([NAN, NAN, 12], nan_ok=True)
    assert (rain.kind, rain.subject, rain.group) == ("rain", 1, 2)


def test_weather_converts_units():
    fahrenheit = Weather(columns={"t": ("temperature", "fahrenheit")})
    (found,) = fahrenheit(np.array([0]), {"t": np.array([212.0 - 90])}, WHOSE)
    assert found.values[0] == pytest.approx(50)


@pytest.mark.parametrize(("day", "column"), [([1, 1], "clouds"), ([1, 2], "moon"), ([], "clouds")])
def test_weather_refuses_tables_it_cannot_use(day, column):
    with pytest.raises(ReaderError, match="no day twice"):
        Weather()(np.array(day, dtype=np.int64), {column: np.zeros(len(day))}, WHOSE)


def light(lux, observed=None, *, begin_s=0, offset_s=None, step_s=3600, modality="light"):
    values = np.array([lux], dtype=np.float32)
    seen = np.ones(len(lux), dtype=bool) if observed is None else observed
    return Recording(
        modality=modality,
        channels=(Channel("white", "lux"),),
        sampling_rate_hz=1 / step_s,
        start_ns=begin_s * 1_000_000_000,
        values=np.where(seen, values, 0).astype(np.float32),
        observed=seen,
        subject="s" + "0" * 32,
        device="watch",
        body_site="wrist",
        utc_offset_s=offset_s,
    )


def test_light_is_averaged_as_eyes_see_it_and_bright_minutes_are_counted():
    # 12 h of dark, 9 h of 99 lux and 3 h of 9,999 lux: the mean of log10(1 + lux) is (0 + 9 * 2 + 3 * 4) / 24.
    level, outdoors = Light()(light([0.0] * 12 + [99.0] * 9 + [9_999.0] * 3), WHOSE)
    assert level.values[0] == pytest.approx(10 ** (30 / 24) - 1)
    assert outdoors.values[0] == pytest.approx(180)


def test_light_days_are_local_and_known_when_most_was_recorded():
    seen = np.ones(48, dtype=bool)
    seen[30:36] = False
    level, outdoors = Light()(light([2_000.0] * 48, seen, begin_s=-2 * 3600, offset_s=2 * 3600), WHOSE)
    assert level.start_s.tolist() == [0, DAY_S]
    assert outdoors.values.tolist() == pytest.approx([1440, NAN], nan_ok=True)
    assert Light(least_known=0.7)(light([2_000.0] * 48, seen), WHOSE)[1].values[1] == pytest.approx(18 * 60)


def test_light_refuses_other_recordings():
    with pytest.raises(ReaderError, match="modality light"):
        Light()(light([1.0], modality="heart_rate"), WHOSE)

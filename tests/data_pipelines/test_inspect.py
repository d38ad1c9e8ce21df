import json

import numpy as np
import pytest

from data_pipelines.inspect import inspect
from hdt_fm.schema.errors import ReaderError


def test_fingerprint_of_a_session(fabricate, tmp_path):
    found = inspect(fabricate.e4_zip(tmp_path / "P01_secret.zip"))
    assert found.format == "empatica_e4"
    eda = next(s for s in found.signals if s.modality == "eda")
    assert (eda.sampling_rate_hz, eda.duration_s, eda.unit, eda.channels) == (4, 20, "uS", ("eda",))
    assert (eda.gaps, eda.longest_gap_s, eda.observed_share) == (1, 0.25, pytest.approx(79 / 80))
    assert eda.typical is not None
    assert 0.3 <= eda.typical[0] <= eda.typical[1] <= eda.typical[2] <= 2
    labels = {label.name: label for label in found.labels}
    assert (labels["heart_rate"].count, labels["heart_rate"].covered_s, labels["beats"].covered_s) == (10, 10, 0)


def test_the_dict_is_json_and_names_nobody(fabricate, tmp_path):
    text = json.dumps(inspect(fabricate.e4_zip(tmp_path / "P01_secret.zip")).to_dict(), allow_nan=False)
    for hidden in ("secret", "P01", "17000000", "s000"):
        assert hidden not in text


def pulses(fabricate, folder, sign):
    phase = np.arange(64 * 40) % 64
    wave = sign * np.where(phase < 12, phase / 12, (64 - phase) / 52)
    return fabricate.table(
        folder,
        "sampling_rate_hz: 64\nsignals: {ppg: {columns: [p], unit: NU}}\n",
        fabricate.csv_text("p", wave[:, None]),
    )


@pytest.mark.parametrize(("sign", "polarity"), [(1, "upright"), (-1, "inverted")])
def test_pulses_upside_down_are_seen(fabricate, tmp_path, sign, polarity):
    found = inspect(pulses(fabricate, tmp_path, sign))
    assert found.signals[0].polarity == polarity
    assert any("upside down" in warning for warning in found.warnings) == (sign < 0)


def test_warnings_of_clipping_standstill_and_gaps(fabricate, tmp_path):
    wave = np.sin(np.arange(64 * 40) / 9)
    wave[:1200] = np.nan
    wave[1300:2000] = 5.0
    path = fabricate.table(
        tmp_path,
        "sampling_rate_hz: 64\nsignals: {resp: {columns: [p], unit: NU}}\n",
        fabricate.csv_text("p", wave[:, None]),
    )
    warnings = " ".join(inspect(path).warnings)
    assert "only 53%" in warnings
    assert "clipped" in warnings
    assert "stand still" in warnings


def test_what_cannot_be_read_speaks(tmp_path):
    with pytest.raises(ReaderError, match="folder is empty"):
        inspect(tmp_path)

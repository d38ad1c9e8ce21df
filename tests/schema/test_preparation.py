"""Windows hold whole samples, bands fit below half the rate, names are known."""

import pytest
from pydantic import ValidationError

from hdt_fm.schema.errors import ConfigError, UnknownNameError
from hdt_fm.schema.preparation import ModalityPreparation, Preparation

GOOD = {"sampling_rate_hz": 32.0}


def preparation(**changes) -> Preparation:
    return Preparation(**{"window_s": 60.0, "hop_s": 30.0, "modalities": {"ppg": GOOD}, **changes})


def test_samples_per_window() -> None:
    assert preparation().samples("ppg") == 1920


def test_half_samples_are_refused() -> None:
    with pytest.raises(ConfigError, match="whole number"):
        preparation(window_s=60.01)


@pytest.mark.parametrize("band", [{"lowpass_hz": 17.0}, {"highpass_hz": 8.0, "lowpass_hz": 4.0}, {"highpass_hz": 16.0}])
def test_a_band_that_cannot_be_is_refused(band: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="half the sampling rate"):
        ModalityPreparation(**GOOD, **band)


@pytest.mark.parametrize("cover", [0.5, 0.8, 1.0])
def test_a_label_covers_half_of_a_window_or_more(cover: float) -> None:
    assert preparation(min_label_cover=cover).min_label_cover == cover
    assert preparation().min_label_cover == 0.5


@pytest.mark.parametrize("cover", [0.0, 0.49, 1.01, -1.0, float("nan")])
def test_less_than_half_or_more_than_all_is_refused(cover: float) -> None:
    with pytest.raises(ValidationError, match="min_label_cover"):
        preparation(min_label_cover=cover)


def test_an_unknown_modality_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'ppg'"):
        preparation(modalities={"ppgg": GOOD})


@pytest.mark.parametrize(
    "changes", [{"window_s": 0.0}, {"hop_s": -1.0}, {"min_coverage": 1.5}, {"modalities": {}}, {"x": 1}]
)
def test_other_nonsense_is_refused(changes) -> None:
    with pytest.raises(ValidationError):
        preparation(**changes)

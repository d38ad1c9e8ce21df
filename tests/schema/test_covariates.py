"""A person's text, read as a number, a level or as not known."""

import pytest
from pydantic import ValidationError

from hdt_fm.schema.covariates import Covariate, as_number, known
from hdt_fm.schema.errors import UnknownNameError
from hdt_fm.schema.manifest import ModelConfig, Part
from hdt_fm.schema.modalities import MODALITIES, modality
from hdt_fm.schema.preparation import ModalityPreparation, Preparation


@pytest.mark.parametrize("text", [None, "", "  ", "NA", "n/a", "nan", "Unknown", "?", "-"])
def test_what_says_that_nothing_is_known_is_no_value(text):
    assert known(text) is None
    assert Covariate(name="bmi").read(text) is None
    assert Covariate(name="sex", levels=("F", "M")).read(text) is None


@pytest.mark.parametrize(
    ("column", "text", "number"),
    [
        ("bmi", "23.5", 23.5),
        ("bmi", "-1e2", -100.0),
        ("bmi", "inf", None),
        ("bmi", "tall", None),
        ("age_band", "30-39", 34.5),
        ("age_band", "90+", 90.0),
        ("age_band", "41", 41.0),
        ("apoe", "3-4", None),
        ("apoe", "90+", None),
    ],
)
def test_bands_are_numbers_in_columns_of_bands_alone(column, text, number):
    assert as_number(column, text) == number


def test_a_level_that_training_never_saw_is_not_known_and_zero_is_a_number():
    sex = Covariate(name="sex", levels=("F", "M"))
    assert [sex.read(text) for text in ("F", " M ", "X")] == [0.0, 1.0, None]
    assert Covariate(name="risk_alleles").read("0") == 0.0


@pytest.mark.parametrize("wrong", [{"scale": 0.0}, {"scale": float("inf")}, {"center": float("nan")}, {"mean": 1.0}])
def test_a_column_that_could_not_be_read_by_is_refused(wrong):
    with pytest.raises(ValidationError):
        Covariate(name="bmi", **wrong)


def test_static_is_a_modality_that_no_device_records():
    assert modality("static").name == "static"
    assert "static" not in MODALITIES
    with pytest.raises(UnknownNameError, match=r"covariates=\[age_band, sex\]"):
        Preparation(window_s=4, hop_s=4, modalities={"static": ModalityPreparation(sampling_rate_hz=1.0)})


def test_a_model_without_covariates_is_written_as_it_always_was():
    plain = ModelConfig(
        modalities=(), encoder=Part(name="resnet"), projection=Part(name="projection"), statistics={}, window_s=4
    )
    assert plain.covariates == ()
    assert set(plain.model_dump()) == {
        "version",
        "modalities",
        "encoder",
        "per_modality",
        "projection",
        "heads",
        "statistics",
        "window_s",
    }
    reads = plain.model_copy(update={"per_modality": {"static": {"columns": [{"name": "sex", "levels": ["F", "M"]}]}}})
    again = ModelConfig.model_validate_json(reads.model_dump_json(), strict=True)
    assert again.covariates == (Covariate(name="sex", levels=("F", "M")),)

"""Facts about a person: numbers, levels, and what is not known."""

import pytest
import torch

from hdt_fm.encoders import ModalityEncoders
from hdt_fm.encoders.static import LARGEST, Static
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.manifest import Part
from hdt_fm.schema.protocols import Calibrated, LinearReadout
from hdt_fm.schema.shard import ModalityColumn

BMI = {"name": "bmi", "center": 25.0, "scale": 4.0}
SEX = {"name": "sex", "levels": ("F", "M")}


def small(*columns, **more):
    torch.manual_seed(0)
    encoder = Static(columns=columns, width=16, hidden=8, **more).eval()
    # As after training: what is not known has come to mean something.
    torch.nn.init.normal_(encoder.unknown)
    return encoder


@torch.no_grad()
def embed(encoder, rows, known=None):
    values = torch.tensor(rows)[:, None]
    observed = torch.ones(len(rows), values.shape[2], dtype=torch.bool) if known is None else torch.tensor(known)
    return encoder(values, observed, 1.0)


def test_not_known_is_neither_zero_nor_the_mean_nor_a_level():
    encoder = small(BMI, SEX)
    rows = [[25.0, 0.0], [0.0, 0.0], [0.0, 0.0], [25.0, 1.0], [25.0, 0.0]]
    known = [[True, True], [True, True], [False, True], [True, True], [True, False]]
    found = embed(encoder, rows, known)
    apart = torch.cdist(found, found) + torch.eye(5)
    assert (apart > 1e-2).all()


def test_not_known_starts_as_nothing():
    torch.manual_seed(0)
    encoder = Static(columns=[BMI, SEX], width=16)
    assert (encoder.unknown == 0).all()


def test_a_number_is_read_in_its_unit_and_a_typing_error_ends_at_five():
    pounds = {"name": "bmi", "center": 250.0, "scale": 40.0}
    one, other = embed(small(BMI), [[20.0], [33.0]]), embed(small(pounds), [[200.0], [330.0]])
    torch.testing.assert_close(one, other)
    far = embed(small(BMI), [[25.0 + 4.0 * LARGEST], [2500.0]])
    torch.testing.assert_close(far[0], far[1])


def test_a_place_without_a_level_is_not_known():
    encoder = small(BMI, SEX)
    found = embed(encoder, [[25.0, 2.0], [25.0, -1.0], [25.0, 0.0]], [[True, True], [True, True], [True, False]])
    torch.testing.assert_close(found[0], found[2])
    torch.testing.assert_close(found[1], found[2])


def test_it_takes_no_part_in_calibration_or_in_a_closed_form_start():
    encoder = small(BMI)
    assert not isinstance(encoder, LinearReadout)
    assert not isinstance(encoder, Calibrated)


@pytest.mark.parametrize("shape", [(3, 1, 1), (3, 2, 2), (3, 1, 3)])
def test_other_columns_than_the_models_are_refused(shape):
    with pytest.raises(ShapeError, match=r"one place a column(?s:.)*with_static"):
        small(BMI, SEX)(torch.zeros(shape), torch.ones(shape[0], shape[2], dtype=torch.bool), 1.0)


def columns(*names):
    return [
        ModalityColumn(name=name, unit="au", channels=1, sampling_rate_hz=8.0, samples=40, encoding="f32")
        for name in names
    ]


PART = Part(name="patch_transformer", args={"width": 16, "depth": 1, "heads": 2})


def test_signals_begin_with_the_weights_that_they_have_without_it():
    torch.manual_seed(0)
    plain = ModalityEncoders(columns("ppg", "acc"), PART, {}, {"ppg": (0.0, 1.0), "acc": (0.0, 1.0)})
    torch.manual_seed(0)
    told = ModalityEncoders(
        columns("ppg", "static", "acc"), PART, {"static": {"columns": [SEX]}}, {"ppg": (0.0, 1.0), "acc": (0.0, 1.0)}
    )
    assert told.modalities == ("ppg", "static", "acc")
    assert told.width == 16
    own = told.state_dict()
    assert all(torch.equal(weight, own[name]) for name, weight in plain.state_dict().items())
    assert {name.split(".")[1] for name in own} == {"ppg", "acc", "static"}


def test_it_is_embedded_beside_signals_where_it_is_present():
    torch.manual_seed(0)
    model = ModalityEncoders(columns("ppg", "static"), PART, {"static": {"columns": [SEX]}}, {"ppg": (0.0, 1.0)}).eval()
    present = torch.tensor([[True, True], [True, False], [False, True]])
    signals = {
        "ppg": Signal(torch.randn(3, 1, 40) * present[:, :1, None], present[:, :1].expand(3, 40).clone(), 8.0),
        "static": Signal(torch.tensor([[[1.0]], [[0.0]], [[1.0]]]), present[:, 1:].clone(), 0.2),
    }
    row = torch.arange(3)
    batch = Batch(("ppg", "static"), signals, present, row, row.double(), row)
    found = model(batch)
    assert torch.equal(found.present, present)
    assert (found.values[~present] == 0).all()
    torch.testing.assert_close(found.values[0, 1], found.values[2, 1])


def test_it_is_no_encoder_of_signals():
    with pytest.raises(ConfigError, match=r"reads facts about people(?s:.)*covariates=\[age_band, sex\]"):
        ModalityEncoders(columns("ppg"), Part(name="static", args={"columns": [SEX]}), {}, {"ppg": (0.0, 1.0)})

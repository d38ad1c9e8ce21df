"""Encoders that begin with windows of several cohorts, of other lengths and rates."""

import pytest
import torch

from hdt_fm.encoders import ModalityEncoders
from hdt_fm.layers.readout import Pooled, start_readouts
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.manifest import Part
from hdt_fm.schema.shard import ModalityColumn

PART = Part(name="patch_transformer", args={"width": 16, "depth": 0, "heads": 2, "slots": 5, "slot_width": 3})


def model_of():
    columns = [
        ModalityColumn(name=name, unit="au", channels=1, sampling_rate_hz=8, samples=40, encoding="f32")
        for name in ("ppg", "acc", "eda")
    ]
    torch.manual_seed(0)
    return ModalityEncoders(columns, PART, {}, {column.name: (0.0, 1.0) for column in columns})


def cohort(names, rate, seconds, windows=60, seed=0):
    generator = torch.Generator().manual_seed(seed)
    course = torch.randn(windows, 5, generator=generator).exp()
    loud = course.repeat_interleave(seconds * rate // 5, dim=1)[:, None]
    signals = {
        name: Signal(
            loud * torch.randn(windows, 1, seconds * rate, generator=generator),
            torch.ones(windows, seconds * rate, dtype=torch.bool),
            float(rate),
        )
        for name in names
    }
    rows = torch.arange(windows)
    return Batch(tuple(names), signals, torch.ones(windows, len(names), dtype=torch.bool), rows, rows.double(), rows)


def test_calibration_is_the_mean_of_the_cohorts_and_alone_where_one_has_the_modality():
    first, second = cohort(("ppg", "acc"), 8, 10), cohort(("acc", "eda"), 16, 5, seed=1)
    both, one, other = model_of(), model_of(), model_of()
    both.calibrate(first, second)
    one.calibrate(first)
    other.calibrate(second)
    center = {
        key: [m.encoders[name].embed.spectra.standardise.center for m in (both, one, other)]
        for key, name in (("shared", "acc"), ("first", "ppg"), ("second", "eda"))
    }
    assert torch.allclose(center["shared"][0], (center["shared"][1] + center["shared"][2]) / 2)
    assert torch.equal(center["first"][0], center["first"][1])
    assert torch.equal(center["second"][0], center["second"][2])


def test_a_closed_form_start_serves_pairs_of_every_cohort():
    first, second = cohort(("ppg", "acc"), 8, 10, windows=200), cohort(("acc", "eda"), 16, 5, windows=200, seed=1)
    model = model_of()
    model.calibrate(first, second)
    model.start(first, second, shared=12)
    for batch, pair in (
        (cohort(("ppg", "acc"), 8, 10, seed=2), (0, 1)),
        (cohort(("acc", "eda"), 16, 5, seed=3), (1, 2)),
    ):
        values = model(batch).values[:, list(pair), :12]
        a, b = torch.nn.functional.normalize(values, dim=-1).unbind(1)
        scores = a @ b.T
        before = (scores > scores.diag()[:, None]).sum(1).float()
        assert float(before.median()) < 15  # of 59 others; chance puts half of them before the match


@pytest.mark.parametrize("shift", [0.0, 50.0])
def test_a_level_that_only_tells_cohorts_apart_has_no_say_in_the_start(shift):
    generator = torch.Generator().manual_seed(0)
    number = torch.arange(2).repeat_interleave(50)
    shared = torch.randn(100, 1, generator=generator)
    parts = {}
    for name in ("a", "b"):
        own = torch.Generator().manual_seed(ord(name))
        rows = torch.cat((shared + 0.1 * torch.randn(100, 1, generator=own), torch.randn(100, 7, generator=own)), 1)
        rows = (rows + shift * number[:, None]).double()
        parts[name] = Pooled(torch.nn.Linear(8, 4), [rows], torch.ones(100, dtype=torch.bool), 0, number)
    start_readouts(parts, 2)
    for part in parts.values():
        found = part.readout.double()(part.blocks[0]).detach()
        assert torch.allclose(found[:50].mean(0), found[50:].mean(0), atol=1e-3)
        for component in (0, 1):  # a cohort each
            told = torch.corrcoef(torch.stack((found[:, component], shared[:, 0].double())))[0, 1]
            assert abs(told) > 0.7, (component, told)

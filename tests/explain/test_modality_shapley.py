"""Exact Shapley values of modalities: by hand, by their axioms, and as a section of the report."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hdt_fm.explain.page as page
from hdt_fm.checkpoint import build_model
from hdt_fm.explain.attribution import attribute
from hdt_fm.explain.explanation import Check, Reliability, plain
from hdt_fm.explain.modality_section import section
from hdt_fm.explain.modality_shapley import MOST_PLAYERS, ModalityShapley, modality_shapley
from hdt_fm.explain.page.document import html
from hdt_fm.explain.page.report import Report
from hdt_fm.explain.targets.probe import probe_target
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.errors import ExplainError
from hdt_fm.schema.manifest import ModelConfig, Part
from hdt_fm.schema.shard import ModalityColumn


def there(batch: Batch, name: str) -> Tensor:
    return batch.column(name).float()


def known(batch: Batch) -> Tensor:
    """2 + 3 ppg - 1 acc + 4 ppg acc - 6 ppg acc temp, of who is there. It reads `present` and no sample."""
    ppg, acc, temp = (there(batch, name) for name in ("ppg", "acc", "temp"))
    return torch.stack([0 * ppg, 2 + 3 * ppg - acc + 4 * ppg * acc - 6 * ppg * acc * temp], 1)


def test_values_by_hand(batch: Batch) -> None:
    """A pair's 4 is halved, the triple's -6 goes in three: 3 + 2 - 2, -1 + 2 - 2, and -2."""
    found = modality_shapley(known, batch, target=1)
    np.testing.assert_allclose(found.values, np.tile([3.0, -1.0, -2.0], (4, 1)), atol=1e-6)
    np.testing.assert_allclose(found.base, 2.0)
    np.testing.assert_allclose(found.output, 2.0)
    np.testing.assert_allclose(found.shares(), np.tile([3 / 6, 1 / 6, 2 / 6], (4, 1)), atol=1e-6)


def test_windows_are_asked_about_what_they_hold(batch: Batch) -> None:
    keep = torch.tensor([[1, 1, 1], [1, 1, 0], [0, 1, 0], [1, 0, 1]], dtype=torch.bool)
    found = modality_shapley(known, batch.without(keep), target=1, batch_rows=3)
    want = [[3.0, -1.0, -2.0], [3 + 2, -1 + 2, 0.0], [0.0, -1.0, 0.0], [3.0, 0.0, 0.0]]
    np.testing.assert_allclose(found.values, want, atol=1e-6)
    assert not found.values[~keep.numpy()].any()
    assert found.gap.max() < 1e-6
    assert not found.shares()[~keep.numpy()].any()


@pytest.mark.parametrize("batch_rows", [1, 5, 64])
def test_values_add_up_and_do_not_depend_on_the_piece(batch: Batch, linear: nn.Module, batch_rows: int) -> None:
    """Of an additive model, a modality's value is its own part: absent, it is zeros, and adds nothing."""
    found = modality_shapley(linear, batch, target=0, batch_rows=batch_rows)
    for column, name in enumerate(batch.modalities):
        own = torch.einsum("bct,ct->b", batch.signals[name].values, linear.weights[name][0]).detach()
        np.testing.assert_allclose(found.values[:, column], own, rtol=1e-3, atol=1e-4)
    assert found.gap.max() < 1e-4


def test_twins_share_alike_and_a_dummy_gets_nothing(batch: Batch) -> None:
    def either(told: Batch) -> Tensor:
        return torch.maximum(there(told, "ppg"), there(told, "temp"))[:, None] * 5

    found = modality_shapley(either, batch, target=0)
    np.testing.assert_allclose(found.values, np.tile([2.5, 0.0, 2.5], (4, 1)), atol=1e-6)


def test_facts_about_the_person_stay_in_every_set(batch: Batch) -> None:
    facts = torch.tensor([[[3.0]], [[-2.0]], [[0.5]], [[7.0]]])
    signals = {**batch.signals, "static": Signal(facts, torch.ones(4, 1, dtype=torch.bool), 0.2)}
    told = replace(
        batch,
        modalities=("static", *batch.modalities),
        signals=signals,
        present=torch.ones(4, 4, dtype=torch.bool),
    )

    def model(one: Batch) -> Tensor:
        assert one.column("static").all()
        return (one.signals["static"].values[:, 0, 0] * (1 + there(one, "acc")))[:, None]

    found = modality_shapley(model, told, target=0)
    assert found.modalities == ("ppg", "acc", "temp")
    np.testing.assert_allclose(found.base, facts[:, 0, 0])
    np.testing.assert_allclose(found.values[:, 1], facts[:, 0, 0])


def test_a_base_can_be_given_where_the_model_has_none(batch: Batch) -> None:
    def mean_of_those_there(told: Batch) -> Tensor:
        level = torch.stack([there(told, name) * k for k, name in enumerate(told.modalities, 1)]).sum(0)
        return (level / told.present.sum(1))[:, None]

    with pytest.raises(ExplainError, match=r"no finite output[\s\S]*`base`"):
        modality_shapley(mean_of_those_there, batch, target=0)
    found = modality_shapley(mean_of_those_there, batch, target=0, base=2.0)
    # Alone they give 1, 2 and 3, pairs 1.5, 2 and 2.5, all 2. The first adds -1 to nothing (1/3 of the orders), -0.5
    # and -1 to one other (1/6 each), and -0.5 to both (1/3).
    np.testing.assert_allclose(found.values, np.tile([-0.75, 0.0, 0.75], (4, 1)), atol=1e-6)


def test_the_gap_tells_an_output_that_looks_at_its_neighbours(batch: Batch) -> None:
    def relative(told: Batch) -> Tensor:
        level = told.signals["ppg"].values.mean((1, 2))
        return (level - level.mean())[:, None]

    assert modality_shapley(relative, batch, target=0).gap.max() > 1e-3


def test_refusals(batch: Batch, new_batch: Callable[..., Batch]) -> None:
    names = tuple(
        f"acc_{place}" for place in ("wrist", "pocket", "chest", "ankle", "hip", "arm", "thigh", "back", "head")
    )
    signal = batch.signals["ppg"]
    many = replace(
        batch,
        modalities=names,
        signals=dict.fromkeys(names, signal),
        present=torch.ones(4, len(names), dtype=torch.bool),
    )
    assert len(names) == MOST_PLAYERS + 1
    with pytest.raises(ExplainError, match=r"at most 8[\s\S]*9 \(512 sets\)[\s\S]*shapley_sampling"):
        modality_shapley(known, many, target=0)
    with pytest.raises(ExplainError, match="no output 2"):
        modality_shapley(known, batch, target=2)
    keep = batch.present.clone()
    keep[0] = False
    with pytest.raises(ExplainError, match="no observed sample"):
        modality_shapley(known, batch.without(keep), target=0)


def test_a_real_encoder_knows_absence(new_batch: Callable[..., Batch]) -> None:
    """With two modalities present the values are half sums of differences between four calls of the model."""
    torch.manual_seed(0)
    batch = new_batch(2)
    columns = tuple(
        ModalityColumn(
            name=n,
            unit="au",
            channels=s.values.shape[1],
            sampling_rate_hz=s.sampling_rate_hz,
            samples=s.values.shape[2],
            encoding="f32",
        )
        for n, s in batch.signals.items()
    )
    config = ModelConfig(
        modalities=columns,
        encoder=Part(name="patch_transformer", args={"width": 16, "depth": 1, "heads": 2, "patch_points": 8}),
        projection=Part(name="projection", args={"dim": 8}),
        heads={"stress": Part(name="probe", args={"in_features": 3 * 17, "out_features": 3})},
        statistics={column.name: (1.0, 2.0) for column in columns},
        window_s=5.0,
    )
    model = probe_target(build_model(config), "stress").eval()
    batch = batch.without(torch.tensor([[True, True, False]] * 2))

    def at(ppg: bool, acc: bool) -> np.ndarray:
        with torch.no_grad():
            return model(batch.without(torch.tensor([[ppg, acc, False]] * 2)))[:, 1].double().numpy()

    found = modality_shapley(model, batch, target=1)
    none, both = at(False, False), at(True, True)
    ppg = ((at(True, False) - none) + (both - at(False, True))) / 2
    np.testing.assert_allclose(found.values[:, 0], ppg, atol=1e-5)
    np.testing.assert_allclose(found.values.sum(1), both - none, atol=1e-5)
    np.testing.assert_allclose(found.base, none, atol=1e-6)
    assert not found.values[:, 2].any()


def of_people(people: list[int], *, hide: int | None = None) -> ModalityShapley:
    """Values 1 and -2 of ppg and acc, a little different from window to window; temp is absent."""
    generator = np.random.default_rng(0)
    size = len(people)
    present = np.tile([True, True, False], (size, 1))
    if hide is not None:
        present[:, 1] = np.array(people) < hide
    values = np.where(present, [1.0, -2.0, 0.0] + 0.1 * generator.standard_normal((size, 3)), 0.0)
    base = np.full(size, 0.5)
    return ModalityShapley(
        target="stress, log-odds",
        modalities=("ppg", "acc", "temp"),
        present=present,
        values=values,
        base=base,
        output=base + values.sum(1),
        person=np.array(people),
    )


def fits(record: object) -> dict:
    schema = json.loads((Path(page.__file__).parent / "schema" / "modalities.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    told = json.loads(json.dumps(plain(record), allow_nan=False))
    jsonschema.validate(told, schema)
    return told


@pytest.fixture
def rendered(batch: Batch, linear: nn.Module) -> Callable[..., str]:
    made = attribute(linear, batch, target=0, methods=("integrated_gradients", "saliency"))
    passed = replace(made, reliability=Reliability((Check("noise", "pass", 1.0, "", ""),)))

    def render(found: ModalityShapley, unit: str = "") -> str:
        text = html(Report(passed, sections=[section(found, unit=unit, draws=200)]))
        return text[text.index('id="modalities"') : text.index('id="agreement"')]

    return render


def test_the_section_counts_people_and_not_windows(rendered: Callable[..., str]) -> None:
    """Six people, one of them with five windows, who must not weigh five times."""
    found = of_people([0, 0, 0, 0, 0, 1, 2, 3, 4, 5])
    found.values[:5, 0] += 12.0
    found = replace(found, output=found.base + found.values.sum(1))
    told = fits(section(found, draws=200).record)
    ppg, acc, temp = told["modalities"]
    means = [found.values[found.person == who, 0].mean() for who in range(6)]
    assert ppg["value"] == pytest.approx(np.mean(means), rel=1e-5)
    assert ppg["value_low"] < ppg["value"] < ppg["value_high"]
    assert (ppg["count"], told["over"]) == (6, "people")
    assert temp == {"name": "temp", "status": "absent", "count": 0} | dict.fromkeys(list(ppg)[3:])
    assert told["output"] - told["base"] == pytest.approx(ppg["value"] + acc["value"], rel=1e-4)
    text = rendered(found, "mg/dL")
    assert 'scope="col">People' in text
    assert "Worth, mg/dL" in text
    assert "absent: it was not worn" in text
    assert 'fill="#b35806"' in text  # ppg raises the output
    assert 'fill="#542788"' in text  # acc lowers it


def test_few_people_are_held_back_and_cannot_be_had_by_subtraction(rendered: Callable[..., str]) -> None:
    found = of_people(list(range(8)), hide=3)  # three of eight people hold acc
    told = fits(section(found, draws=200).record)
    ppg, acc, _ = told["modalities"]
    assert acc["status"] == "too few people"
    assert acc["value"] is None
    assert ppg["share"] == 1.0  # among those shown
    assert told["base"] is None
    assert told["output"] is None
    text = rendered(found)
    assert "held by fewer than 5 people" in text
    assert "among those shown" in text
    nobody = fits(section(of_people([0, 1, 2, 3]), draws=50).record)
    assert [one["status"] for one in nobody["modalities"]] == ["too few people", "too few people", "absent"]


def test_a_lone_persons_section_is_over_windows(rendered: Callable[..., str]) -> None:
    told = fits(section(of_people([0, 0, 0]), draws=200).record)
    assert (told["over"], told["modalities"][0]["count"]) == ("windows", 3)
    assert "narrower than they should be" in rendered(of_people([0, 0, 0]))
    single = fits(section(of_people([0]), draws=200).record)
    assert single["modalities"][0]["value_low"] is None
    assert "nan" not in rendered(of_people([0]))


def test_no_row_of_a_manifest_is_kept(batch: Batch) -> None:
    found = modality_shapley(known, replace(batch, subject=torch.tensor([4321, 17, 4321, 99])), target=1)
    assert found.person.tolist() == [2, 0, 2, 1]

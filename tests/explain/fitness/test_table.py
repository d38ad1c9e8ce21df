"""Verdicts by hand numbers, the table's round trip, and what ships."""

import json
from pathlib import Path

import numpy as np
import pytest

from hdt_fm.explain.fitness.architecture import architecture_of
from hdt_fm.explain.fitness.measure import Plot
from hdt_fm.explain.fitness.score import RANDOM_MAP, Found
from hdt_fm.explain.fitness.table import fit_methods, fitness_of, read_table, rows_of, write_table
from hdt_fm.explain.fitness.verdict import judge, spread_of
from hdt_fm.explain.methods import METHODS
from hdt_fm.schema.errors import ExplainError
from hdt_fm.schema.manifest import ModelConfig, Part
from hdt_fm.schema.shard import ModalityColumn

ARCHITECTURE = "resnet, depth 2"


def config(encoder: str = "resnet", per_modality: dict | None = None, **args: object) -> ModelConfig:
    columns = tuple(
        ModalityColumn(name=name, unit="au", channels=1, sampling_rate_hz=4.0, samples=80, encoding="f32")
        for name in ("ppg", "eda")
    )
    return ModelConfig(
        modalities=columns,
        encoder=Part(name=encoder, args=args),
        per_modality=per_modality or {},
        projection=Part(name="projection", args={"dim": 8}),
        statistics={"ppg": (0.0, 1.0), "eda": (0.0, 1.0)},
        window_s=20.0,
    )


def found(auprc: float, share: float) -> Found:
    two = np.ones(2)
    return Found(auprc * two, 0.1 * two, share * two, np.array([2, 2]), share * two, np.array([2, 2]), two, 0.0)


def plots(*numbers: tuple[str, float, float], method: str = "occlusion") -> list[Plot]:
    """One model each: kind, AUPRC, share on the true channel."""
    return [
        Plot(
            ARCHITECTURE,
            kind,
            seed,
            "ppg",
            0.99,
            100,
            {method: found(auprc, share), RANDOM_MAP: found(0.1, 0.5)},
            refused={"deep_lift": "It has no rule"},
        )
        for seed, (kind, auprc, share) in enumerate(numbers)
    ]


@pytest.mark.parametrize(
    ("numbers", "verdict", "word"),
    [
        ([("motif", 0.9, 0.9), ("level", 0.8, 0.9)], "pass", "hardest kind, 'level'"),
        ([("motif", 0.9, 0.9), ("level", 0.6, 0.9)], "warn", "may be below"),
        ([("motif", 0.99, 0.9)] * 9 + [("motif", 0.98, 0.9), ("level", 0.45, 0.9)], "warn", "of the kind 'level'"),
        ([("motif", 0.9, 0.9), ("level", 0.4, 0.9)], "fail", "more often wrong"),
        ([("motif", 0.9, 0.5), ("level", 0.9, 0.4)], "fail", "true channel"),
        ([("motif", 0.9, 0.9)], "fail", "0.00"),
    ],
)
def test_verdicts(numbers: list[tuple[str, float, float]], verdict: str, word: str) -> None:
    judged = judge(plots(*numbers), "occlusion")
    assert judged.fitness is not None
    assert judged.fitness.verdict == verdict
    assert word in judged.why
    assert judged.fitness.null == pytest.approx(0.1)
    assert judged.share_null == 0.5


def test_a_refusal_and_an_architecture_that_learned_nothing_are_not_measured() -> None:
    some = plots(("motif", 0.9, 0.9), ("level", 0.8, 0.9))
    refused = judge(some, "deep_lift")
    assert refused.fitness is None
    assert "no rule" in refused.why
    assert refused.refused
    dull = judge([Plot(ARCHITECTURE, "motif", 0, "ppg", 0.6, 200)], "occlusion")
    assert dull.fitness is None
    assert "AUROC" in dull.why
    assert not dull.refused


def test_the_interval_is_over_groups_and_not_over_windows() -> None:
    apart = spread_of([np.zeros(50), np.ones(50)])
    assert (apart.value, apart.low, apart.high) == (0.5, 0.0, 1.0)
    assert np.isnan(spread_of([np.ones(9)]).low)
    assert spread_of([np.ones(9)]).value == 1.0
    assert spread_of([np.array([1.0, np.nan]), np.array([3.0])]).value == 2.0
    assert np.isnan(spread_of([np.array([np.nan])]).value)


def test_the_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    write_table([*plots(("motif", 0.9, 0.9), ("level", 0.8, 0.9)), *plots(("motif", 0.2, 0.9), method="lime")], path)
    model = config(depth=2)
    one = fitness_of(model, "occlusion", path=path)
    assert one is not None
    assert one.verdict == "pass"
    assert one.architecture == ARCHITECTURE
    assert one.auprc == pytest.approx(0.85)
    assert one.low == pytest.approx(0.8)
    fit = fit_methods(model, ["occlusion", "lime", "deep_lift", "grad_cam"], path=path)
    assert fit.fit == ("occlusion",)
    assert set(fit.unfit) == {"lime", "deep_lift"}
    assert set(fit.unknown) == {"grad_cam"}
    assert "no rule" in fit.unfit["deep_lift"]
    assert "Never measured" in fit.unknown["grad_cam"]
    assert "'resnet, depth 2'; explain.fitness=measure" in fit.unknown["grad_cam"]
    assert [known.method for known in fit.fitness] == ["occlusion", "lime"]
    assert fitness_of(config(depth=3), "occlusion", path=path) is None


def test_a_table_of_ones_own_goes_before_the_shipped_one(tmp_path: Path) -> None:
    shipped, own, model = tmp_path / "table.json", tmp_path / "fitness.json", config(depth=2)
    good, bad = (("motif", 0.9, 0.9), ("level", 0.8, 0.9)), (("motif", 0.1, 0.9), ("level", 0.2, 0.9))
    write_table([*plots(*good), *plots(*good, method="lime")], shipped)
    write_table([*plots(*bad), *plots(*good, method="saliency")], own, command="by hand")
    names = ["occlusion", "lime", "saliency", "grad_cam"]
    assert fit_methods(model, names, path=shipped).fit == ("occlusion", "lime")
    fit = fit_methods(model, names, own=own, path=shipped)
    assert (fit.fit, set(fit.unfit), set(fit.unknown)) == (("lime", "saliency"), {"occlusion"}, {"grad_cam"})
    one = fitness_of(model, "occlusion", own=own, path=shipped)
    assert one is not None
    assert one.verdict == "fail"
    assert set(rows_of(model, own=own, path=shipped)) == {"occlusion", "lime", "saliency", "deep_lift"}
    assert json.loads(own.read_text())["command"] == "by hand"


def test_one_model_alone_has_no_interval_and_is_still_read(tmp_path: Path) -> None:
    path = tmp_path / "fitness.json"
    write_table(plots(("motif", 0.9, 0.9)), path)
    row = rows_of(config(depth=2), path=path)["occlusion"]
    assert row.auprc == (0.9, None, None)
    one = fitness_of(config(depth=2), "occlusion", path=path)
    assert one is not None
    assert (one.verdict, one.low) == ("fail", 0.9)


def test_a_method_has_a_row_even_where_nothing_could_be_taught(tmp_path: Path) -> None:
    """Or a report would ask to measure again what was measured."""
    path = tmp_path / "fitness.json"
    write_table([Plot(ARCHITECTURE, "motif", 0, "ppg", 0.6, 200)], path, methods=["occlusion"])
    fit = fit_methods(config(depth=2), ["occlusion"], path=path)
    assert set(fit.unknown) == {"occlusion"}
    assert "no model of this architecture reached" in fit.unknown["occlusion"]


WRONG = {
    "{": "JSONDecodeError",
    "[]": "version None",
    '{"version": 99}': "version 99",
    '{"version": 1, "verb": "explain"}': "command: Field required",
}


@pytest.mark.parametrize("content", WRONG)
def test_a_broken_table_says_so(tmp_path: Path, content: str) -> None:
    path = tmp_path / "fitness.json"
    with pytest.raises(ExplainError, match="FileNotFoundError"):
        read_table(path)
    path.write_text(content)
    with pytest.raises(ExplainError, match=WRONG[content]) as error:
        read_table(path)
    assert "explain.fitness=measure" in str(error.value.fix)
    assert error.value.where == "fitness.json"


def test_a_row_of_something_else_is_named(tmp_path: Path) -> None:
    path = tmp_path / "fitness.json"
    write_table(plots(("motif", 0.9, 0.9), ("level", 0.8, 0.9)), path)
    path.write_text(path.read_text().replace('"pass"', '"good"'))
    with pytest.raises(ExplainError, match=r"architectures\.resnet, depth 2\.methods\.occlusion\.verdict"):
        read_table(path)


def test_the_key_holds_what_turns_gradients_and_not_sizes() -> None:
    assert architecture_of(config(depth=2)) == architecture_of(config(depth=2, width=32)) == ARCHITECTURE
    assert architecture_of(config()) == "resnet, depth 3"
    plain = config("patch_transformer")
    assert architecture_of(plain) == "patch_transformer, depth 1"
    slow = config("patch_transformer", {"ppg": {"slow_s": 10.0}})
    assert architecture_of(slow) == "patch_transformer, depth 1, slow spectrum"
    mixed = config("patch_transformer", {"ppg": {"depth": 2, "rhythms": {"pulse": {}}}})
    assert architecture_of(mixed) == "patch_transformer, depth 1 and 2, rhythms"
    assert architecture_of(config("recurrent", ahead_s=5.0)) == "recurrent, depth 1, end not read"


def test_the_shipped_table_can_be_read_and_holds_every_family() -> None:
    shipped = read_table()
    assert {name.split(",")[0] for name in shipped} == {"patch_transformer", "resnet", "irregular", "recurrent"}
    assert len(shipped) == 7
    for one in shipped.values():
        assert set(one.methods) == set(METHODS)
        assert all(row.why for row in one.methods.values())
        assert sum(kind.models for kind in one.kinds.values()) >= 5

"""Verdicts by hand numbers, the table's round trip, and what ships."""

from pathlib import Path

import numpy as np
import pytest

from hdt_fm.explain.fitness.architecture import architecture_of
from hdt_fm.explain.fitness.measure import Plot
from hdt_fm.explain.fitness.score import RANDOM_MAP, Found
from hdt_fm.explain.fitness.table import fit_methods, fitness_of, read_table, write_table
from hdt_fm.explain.fitness.verdict import judge, spread_of
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
    assert [known.method for known in fit.fitness] == ["occlusion", "lime"]
    assert fitness_of(config(depth=3), "occlusion", path=path) is None


@pytest.mark.parametrize("content", ["{", "[]", '{"version": 99}'])
def test_a_broken_table_says_so(tmp_path: Path, content: str) -> None:
    path = tmp_path / "table.json"
    with pytest.raises(ExplainError, match="FileNotFoundError"):
        read_table(path)
    path.write_text(content)
    with pytest.raises(ExplainError, match="write-fitness"):
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
    told = [row for one in shipped.values() for row in one["methods"].values()]
    assert len(told) >= 40
    assert {row["verdict"] for row in told} <= {"pass", "warn", "fail", None}
    assert all(row["why"] for row in told)

"""A model that fuses: what its loss is given, in pieces too; a run that was broken off; what it has learned."""

from pathlib import Path
from types import ModuleType

import pytest
import torch

import hdt_fm
from hdt_fm.checkpoint import Model, build_model, model_digest
from hdt_fm.losses.info_nce import InfoNce
from hdt_fm.losses.leave_one_out import LeaveOneOut
from hdt_fm.losses.mix import Mix
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.manifest import Part
from hdt_fm.training.caching import encode_in_pieces
from hdt_fm.training.logs import read_metrics
from hdt_fm.training.module import encoding

CLOSE = 1e-5


def fusing(tiny: ModuleType, name: str = "attention", *, started: bool = False, **encoder) -> Model:
    plain = tiny.tiny_model(**encoder)
    model = build_model(plain.config.model_copy(update={"fusion": Part(name=name)}), seed=5)
    if started:
        with torch.no_grad():
            torch.nn.init.normal_(model.fusion.add.weight, std=0.3, generator=torch.Generator().manual_seed(1))
    return model


def asking(**settings) -> LeaveOneOut:
    return LeaveOneOut(others="fused", exclude_within_s=60.0, **settings)


def test_others_are_the_fusion_of_the_window_without_the_modality(tiny: ModuleType) -> None:
    model, batch = fusing(tiny, started=True).eval(), tiny.tiny_batch(0)
    encoded = encoding(model, asking())(batch)
    assert encoded.others is not None
    for k in range(len(tiny.NAMES)):
        keep = torch.ones_like(batch.present)
        keep[:, k] = False
        left = model.embed(batch.without(keep))
        there = left.present.any(1)
        assert torch.equal(encoded.others.present[:, k], there)
        want = model.fused_projection.parts[0](model.fuse(left))
        want = torch.where(there[:, None], torch.nn.functional.normalize(want, dim=-1), 0.0)
        torch.testing.assert_close(encoded.others.values[:, k], want, atol=CLOSE, rtol=CLOSE)


def test_a_loss_that_does_not_ask_costs_nothing(tiny: ModuleType) -> None:
    model, plain = fusing(tiny, "mean"), tiny.tiny_model()
    assert encoding(model, InfoNce())(tiny.tiny_batch(0)).others is None
    weights = model.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in plain.state_dict().items())


def test_a_fusion_that_nobody_teaches_and_one_that_is_not_there_are_refused(tiny: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Nothing would teach the fusion"):
        tiny.run(tmp_path, model=fusing(tiny))
    with pytest.raises(ConfigError, match="does not fuse them"):
        tiny.run(tmp_path, loss=asking())
    assert not (tmp_path / "checkpoint").exists()
    encoding(fusing(tiny), Mix(terms={"leave_one_out": {"others": "fused"}, "info_nce": {}}))


@pytest.mark.parametrize("piece", [1, 5, 100])
def test_pieces_equal_the_whole(tiny: ModuleType, piece: int) -> None:
    model, loss, batch = fusing(tiny, started=True, dropout=0.0).train(), asking(), tiny.tiny_batch(0, 23)
    encode, found = encoding(model, loss), []
    for given in (
        encode,
        lambda some: encode_in_pieces(encode, some, piece=piece, parameters=tuple(model.parameters())),
    ):
        model.zero_grad()
        value = loss(given(batch)).value
        value.backward()
        found.append(
            {"loss": value.detach(), **{name: weight.grad.clone() for name, weight in model.named_parameters()}}
        )
    assert sum(name.startswith(("fusion.", "fused_projection.")) for name in found[0]) > 10
    for name, want in found[0].items():
        assert float((found[1][name] - want).abs().max()) <= CLOSE * float(want.abs().max()) + 1e-7, name


def _numbers(folder: Path) -> list[tuple[int, str, float]]:
    return [row for row in read_metrics(folder / "metrics.csv") if row[1] != "train/windows_per_s"]


@pytest.mark.parametrize("piece", [None, 4])
def test_a_run_that_was_broken_off_ends_the_same(tiny: ModuleType, tmp_path: Path, piece: int | None) -> None:
    def die(done: int, total: int, note: str) -> None:
        if done == 7:
            raise OSError("the power went out")

    tiny.run(tmp_path / "whole", model=fusing(tiny), loss=asking(), piece=piece)
    with pytest.raises(OSError, match="power"):
        tiny.run(tmp_path / "broken", model=fusing(tiny), loss=asking(), piece=piece, progress=die)
    assert tiny.run(tmp_path / "broken", model=fusing(tiny), loss=asking(), piece=piece).resumed_from == 4
    first, second = (hdt_fm.load(tmp_path / name / "checkpoint") for name in ("broken", "whole"))
    assert model_digest(first) == model_digest(second)
    assert _numbers(tmp_path / "broken") == _numbers(tmp_path / "whole")
    assert second.fusion.add.weight.any()


def test_a_run_teaches_the_fusion_and_its_loss_falls_on_windows_that_it_was_not_trained_on(
    tiny: ModuleType, tmp_path: Path
) -> None:
    fresh, model = fusing(tiny, dropout=0.0), fusing(tiny, dropout=0.0)
    tiny.run(tmp_path, model=model, loss=asking(), steps=60, checkpoint_every=60, val_every=60, augment=None)
    loss = asking().eval()

    def mean_loss(one: Model) -> float:
        with torch.no_grad():
            encode = encoding(one.eval(), loss)
            return float(torch.stack([loss(encode(tiny.tiny_batch(5000 + k, 40))).value for k in range(5)]).mean())

    assert mean_loss(model) < 0.7 * mean_loss(fresh)
    before, after = fresh.fusion.state_dict(), model.fusion.state_dict()
    assert [name for name, value in after.items() if torch.equal(value, before[name])] == []

"""Pieces of a batch give the loss and the gradients of the whole."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

import hdt_fm
from hdt_fm.checkpoint import model_digest
from hdt_fm.ops.contrastive import contrastive_loss
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import CheckpointError, ConfigError, ShapeError
from hdt_fm.schema.protocols import Embeddings
from hdt_fm.training import caching
from hdt_fm.training.caching import encode_in_pieces
from hdt_fm.training.logs import read_metrics
from hdt_fm.training.rows import combine, cut, join_batches

# Of the largest number in a tensor: what another order of adding rows may change in float32.
CLOSE = 1e-5
SIZE = 23


@dataclass(frozen=True)
class Said:
    """What a model says of a batch, and the batch: a form that the library does not know."""

    embeddings: Embeddings
    projections: Embeddings
    seen: Batch


class Judge(nn.Module):
    """A loss over all of it, with two learned numbers of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(2.0))
        self.weight = nn.Parameter(torch.tensor(0.3))

    def forward(self, said: Said) -> Tensor:
        assert len(said.seen) == len(said.projections.values)
        contrast = contrastive_loss(
            said.projections.values.transpose(0, 1),
            said.projections.present,
            logit_scale=self.log_scale.exp(),
            subject=said.seen.subject,
            time_s=said.seen.time_s,
            exclude_within_s=60.0,
        ).loss
        # Rows under each other, not beside each other: as a covariance penalty does.
        flat = said.embeddings.values.flatten(1)
        return contrast + self.weight * (flat - flat.mean(0)).square().sum() / len(flat)


def _encode(model: nn.Module) -> Callable[[Batch], Said]:
    def encode(batch: Batch) -> Said:
        embeddings = model.embed(batch)
        return Said(embeddings, model.project(embeddings), batch)

    return encode


def _joined(model: nn.Module, batch: Batch, piece: int) -> Said:
    """The pieces one after another, all in one graph: the memory of the whole, the draws of the pieces."""
    parts = [_encode(model)(cut(batch, start, start + piece)) for start in range(0, len(batch), piece)]
    return combine(parts, torch.cat, join_batches)


def _gradients(said: Said, model: nn.Module, judge: Judge) -> dict[str, Tensor | None]:
    model.zero_grad()
    judge.zero_grad()
    value = judge(said)
    value.backward()
    named = [*model.named_parameters(), *judge.named_parameters()]
    return {"loss": value.detach(), **{name: None if p.grad is None else p.grad.clone() for name, p in named}}


def _assert_equal(got: dict, want: dict, close: float = CLOSE) -> None:
    assert got.keys() == want.keys()
    for name, value in want.items():
        assert (got[name] is None) == (value is None), name
        if value is not None:
            assert float((got[name] - value).abs().max()) <= close * float(value.abs().max()) + 1e-7, name
    assert sum(value is not None for value in want.values()) > 20


def _cached(model: nn.Module, batch: Batch, piece: int) -> Said:
    return encode_in_pieces(_encode(model), batch, piece=piece, parameters=tuple(model.parameters()))


@pytest.mark.parametrize("piece", [1, 5, 23, 100])
def test_pieces_equal_the_whole(tiny: ModuleType, piece: int) -> None:
    model, judge, batch = tiny.tiny_model(dropout=0.0).train(), Judge(), tiny.tiny_batch(0, SIZE)
    want = _gradients(_encode(model)(batch), model, judge)
    _assert_equal(_gradients(_cached(model, batch, piece), model, judge), want)


def test_with_dropout_each_piece_draws_the_same_twice(tiny: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    model, judge, batch = tiny.tiny_model(dropout=0.5).train(), Judge(), tiny.tiny_batch(0, SIZE)
    torch.manual_seed(3)
    want = _gradients(_joined(model, batch, 5), model, judge)
    torch.manual_seed(3)
    got = _gradients(_cached(model, batch, 5), model, judge)
    _assert_equal(got, want)
    # The bug to fear: other masks on the way back. The loss is the same, the gradients are of another network.
    monkeypatch.setattr(caching, "_set_generators", lambda device, states: None)
    torch.manual_seed(3)
    wrong = _gradients(_cached(model, batch, 5), model, judge)
    assert float(wrong["loss"]) == pytest.approx(float(want["loss"]), rel=CLOSE)
    with pytest.raises(AssertionError):
        _assert_equal(wrong, want)


def test_a_modality_may_lack_in_a_piece_or_in_all(tiny: ModuleType) -> None:
    model, judge = tiny.tiny_model(dropout=0.0).train(), Judge()
    batch = tiny.tiny_batch(0, SIZE)
    keep = torch.ones_like(batch.present)
    keep[:5, 1] = False
    keep[:, 2] = False
    batch = batch.without(keep)
    want = _gradients(_encode(model)(batch), model, judge)
    assert sum(value is None for value in want.values()) > 5
    _assert_equal(_gradients(_cached(model, batch, 5), model, judge), want)


def test_every_parameter_gets_its_gradient_once(tiny: ModuleType) -> None:
    model, judge, batch = tiny.tiny_model().train(), Judge(), tiny.tiny_batch(0, SIZE)
    calls: dict[str, int] = {}
    for name, parameter in [*model.named_parameters(), *judge.named_parameters()]:
        parameter.register_post_accumulate_grad_hook(lambda _, name=name: calls.update({name: calls.get(name, 0) + 1}))
    judge(_cached(model, batch, 4)).backward()
    assert set(calls.values()) == {1}
    assert {"log_scale", "weight"} <= calls.keys()


def test_memory_is_that_of_a_piece(tiny: ModuleType) -> None:
    model, judge = tiny.tiny_model().train(), Judge()
    held: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        held.append(tensor.numel())
        return tensor

    kept, sizes = {}, []
    for size in (24, 96):
        batch = tiny.tiny_batch(0, size)
        held.clear()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            said = encode_in_pieces(
                lambda part: sizes.append(len(part)) or _encode(model)(part),
                batch,
                piece=8,
                parameters=tuple(model.parameters()),
            )
        kept[size] = sum(held)
        judge(said).backward()
    assert kept == {24: 0, 96: 0}
    assert sizes == [8] * 2 * (3 + 12)


def test_draws_after_the_step_are_as_if_pieces_were_encoded_once(tiny: ModuleType) -> None:
    model, judge, batch = tiny.tiny_model().train(), Judge(), tiny.tiny_batch(0, SIZE)
    torch.manual_seed(1)
    _joined(model, batch, 5)
    want = torch.get_rng_state()
    torch.manual_seed(1)
    judge(_cached(model, batch, 5)).backward()
    assert torch.equal(torch.get_rng_state(), want)


def test_half_precision_comes_back_in_the_second_pass(tiny: ModuleType) -> None:
    model, judge, batch = tiny.tiny_model(dropout=0.0).train(), Judge(), tiny.tiny_batch(0, SIZE)

    def gradients(make: Callable[[], Said]) -> dict:
        with torch.autocast("cpu", torch.bfloat16):
            said = make()
            # Autocast keeps the weights that it casts: those of a pass without a graph must not serve this one.
            again = _encode(model)(batch)
        assert again.projections.values.requires_grad
        return _gradients(said, model, judge)

    want = gradients(lambda: _joined(model, batch, 5))
    _assert_equal(gradients(lambda: _cached(model, batch, 5)), want, close=5e-2)
    full = _gradients(_joined(model, batch, 5), model, judge)
    assert not torch.equal(full["loss"], want["loss"])


def test_the_batch_in_the_record_is_the_batch_itself(tiny: ModuleType) -> None:
    model, batch = tiny.tiny_model(), tiny.tiny_batch(0, SIZE)
    assert _cached(model, batch, 4).seen is batch
    hidden = encode_in_pieces(
        lambda part: replace(_encode(model)(part), seen=part.without(part.present & False)),
        batch,
        piece=4,
        parameters=tuple(model.parameters()),
    )
    assert torch.equal(hidden.seen.window_id, batch.window_id)
    assert not hidden.seen.present.any()
    assert hidden.seen.signals["acc"].values.shape == batch.signals["acc"].values.shape


def test_without_gradients_there_is_one_pass(tiny: ModuleType) -> None:
    model, batch, calls = tiny.tiny_model(), tiny.tiny_batch(0, SIZE), []
    with torch.no_grad():
        said = encode_in_pieces(
            lambda part: calls.append(1) or _encode(model)(part), batch, piece=8, parameters=tuple(model.parameters())
        )
    assert len(calls) == 3
    assert not said.projections.values.requires_grad


def test_a_piece_of_nothing_and_unlike_batches_are_refused(tiny: ModuleType) -> None:
    with pytest.raises(ConfigError, match="must hold a window"):
        _cached(tiny.tiny_model(), tiny.tiny_batch(0), 0)
    one = tiny.tiny_batch(0)
    with pytest.raises(ShapeError, match="different signals"):
        join_batches([one, replace(one, labels={})])


def _numbers(folder: Path) -> list[tuple[int, str, float]]:
    return [row for row in read_metrics(folder / "metrics.csv") if row[1] != "train/windows_per_s"]


def test_a_run_in_pieces_is_the_run_without(tiny: ModuleType, tmp_path: Path) -> None:
    sizes: dict[str, set[int]] = {}
    for name, piece in (("whole", None), ("pieces", 4)):
        model = tiny.tiny_model(dropout=0.0)
        sizes[name] = set()
        model.encoder.register_forward_pre_hook(
            lambda module, given, name=name: sizes[name].add(len(given[0])) if module.training else None
        )
        tiny.run(tmp_path / name, model=model, piece=piece)
    assert sizes == {"whole": {tiny.BATCH}, "pieces": {4, tiny.BATCH % 4}}
    want, got = (_numbers(tmp_path / name) for name in ("whole", "pieces"))
    assert [row[:2] for row in got] == [row[:2] for row in want]
    assert [row[2] for row in got] == pytest.approx([row[2] for row in want], rel=1e-3, abs=1e-4)
    assert [row[2] for row in got if row[0] == 1] == pytest.approx([row[2] for row in want if row[0] == 1], rel=CLOSE)
    weights, others = (hdt_fm.load(tmp_path / name / "checkpoint").state_dict() for name in ("pieces", "whole"))
    for name, value in others.items():
        # AdamW divides by the gradient's size, so rounding counts most where a gradient is near zero.
        assert float((weights[name] - value).abs().max()) <= 2e-3 * float(value.abs().max()) + 1e-4, name


def test_a_run_in_pieces_with_dropout_is_broken_off_without_a_trace(tiny: ModuleType, tmp_path: Path) -> None:
    tiny.run(tmp_path / "whole", piece=4)

    def die(done: int, total: int, note: str) -> None:
        if done == 7:
            raise OSError("the power went out")

    with pytest.raises(OSError, match="power"):
        tiny.run(tmp_path / "broken", piece=4, progress=die)
    # Other pieces would draw other masks.
    with pytest.raises(CheckpointError, match="piece 4"):
        tiny.run(tmp_path / "broken")
    assert tiny.run(tmp_path / "broken", piece=4).resumed_from == 4
    assert _numbers(tmp_path / "broken") == _numbers(tmp_path / "whole")
    first, second = (hdt_fm.load(tmp_path / name / "checkpoint") for name in ("broken", "whole"))
    assert model_digest(first) == model_digest(second)


def test_a_run_in_pieces_of_nothing_is_refused(tiny: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="piece must be at least 1"):
        tiny.run(tmp_path, piece=0)

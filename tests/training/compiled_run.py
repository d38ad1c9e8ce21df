"""What compiled blocks do, measured in a process of its own: the checker of shapes and the compiler disagree.

python compiled_run.py OUTPUT_FOLDER captured|inductor
"""

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import tiny_run as tiny
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

import hdt_fm
from hdt_fm.checkpoint import model_digest
from hdt_fm.losses.info_nce import InfoNce
from hdt_fm.training import blocks
from hdt_fm.training.caching import encode_in_pieces
from hdt_fm.training.module import encoding

# No two alike, with the smallest in the middle, and as many again.
SIZES = (9, 5, 17, 3, 30, 12, 8, 2, 21, 40, 11, 7)
LATER = (10, 33, 4, 26, 19, 6)


def gradients(model: nn.Module, number: int, size: int, piece: int | None = None) -> list[Tensor | None]:
    """Of the contrast of a batch; the loss comes first."""
    model.zero_grad()
    torch.manual_seed(number)
    loss, batch, learned = InfoNce(), tiny.tiny_batch(number, size), tuple(model.parameters())
    encode = encoding(model, loss)
    encoded = encode_in_pieces(encode, batch, piece=piece, parameters=learned) if piece else encode(batch)
    value = loss(encoded).value
    value.backward()
    return [value.detach(), *[weight.grad for weight in learned]]


def farthest(got: list[Tensor | None], want: list[Tensor | None]) -> float:
    """Largest difference over the largest number of each tensor."""
    assert [one is None for one in got] == [one is None for one in want]
    pairs = [(one, other) for one, other in zip(got, want, strict=True) if one is not None and other is not None]
    return max(float((one - other).abs().max() / other.abs().max().clamp(min=1e-3)) for one, other in pairs)


def of_blocks() -> dict[str, Any]:
    """Batches of many sizes, some of whose modalities are whole and some not, all at once and in pieces."""
    found: dict[str, Any] = {"far": 0.0, "forms": []}
    model = tiny.tiny_model(dropout=0.5, depth=2).train()
    want = {size: gradients(model, size, size) for size in (*SIZES, *LATER)}
    pieces = {recompute: gradients(model, 3, 30, piece=7) for recompute in (False, True)}
    names = list(model.state_dict())
    for recompute in (False, True):
        with blocks.changed_blocks(model, recompute=recompute, compiled=True):
            for size in LATER[:2] if recompute else (*SIZES, *LATER):
                found["far"] = max(found["far"], farthest(gradients(model, size, size), want[size]))
                found["forms"].append(counters["stats"]["unique_graphs"])
            found["far"] = max(found["far"], farthest(gradients(model, 3, 30, piece=7), pieces[recompute]))
            found["names"] = list(model.state_dict()) == names
            model.eval()
            before = counters["stats"]["unique_graphs"]
            gradients(model, 1, 8)
            found["in validation"] = counters["stats"]["unique_graphs"] - before
            model.train()
    found["left"] = [name for name, part in model.named_modules() if "forward" in vars(part)]
    return found


def of_run(folder: Path) -> dict[str, Any]:
    """A compiled run, and one that was broken off and went on with recomputed blocks."""
    settings = {"steps": 6, "checkpoint_every": 2, "val_every": 3, "warmup_steps": 1, "compile": True}

    def die(done: int, total: int, note: str) -> None:
        if done == 3:
            raise OSError("the power went out")

    whole = tiny.run(folder / "whole", **settings)
    with suppress(OSError):
        tiny.run(folder / "broken", progress=die, **settings)
    broken = tiny.run(folder / "broken", activation_checkpointing=True, **settings)
    models = [hdt_fm.load(one.checkpoint) for one in (whole, broken)]
    return {
        "resumed from": broken.resumed_from,
        "alike": model_digest(models[0]) == model_digest(models[1]),
        "forms": counters["stats"]["unique_graphs"],
    }


class Small(nn.Module):
    """One block that compiles in seconds, and draws."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(3, 5), nn.GELU(), nn.Dropout(0.5))])

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks[0](x)


def of_inductor() -> dict[str, Any]:
    """The real compiler: against the block as it is, between passes with and without a gradient, and run twice."""
    model = Small().train()
    inputs = [torch.randn(rows, 3) for rows in (4, 9, 3)]

    def draw(x: Tensor) -> list[Tensor | None]:
        model.zero_grad()
        torch.manual_seed(5)
        out = model(x)
        out.square().mean().backward()
        return [out.detach(), *[weight.grad for weight in model.parameters()]]

    def each(make: Callable[[Tensor], Any]) -> list[Any]:
        return [make(x) for x in inputs]

    def without(x: Tensor) -> Tensor:
        torch.manual_seed(5)
        with torch.no_grad():
            return model(x)

    with blocks.changed_blocks(model, recompute=False, compiled=True):
        compiled, passes = each(draw), each(without)
    with blocks.changed_blocks(model, recompute=True, compiled=True):
        twice = each(draw)
    # The compiled block draws masks of its own: what it kept tells which, and the block as it is must then agree.
    plain = model.blocks[0][:2]
    far = []
    for x, got in zip(inputs, compiled, strict=True):
        model.zero_grad()
        out = plain(x) * (got[0] != 0) * 2
        out.square().mean().backward()
        far.append(farthest(got, [out.detach(), *[weight.grad for weight in model.parameters()]]))
    return {
        "far": max(far),
        "kept": float(torch.cat([got[0].flatten() for got in compiled]).ne(0).float().mean()),
        "same without a gradient": all(torch.equal(got[0], one) for got, one in zip(compiled, passes, strict=True)),
        "same twice": all(
            torch.equal(one, other)
            for got, again in zip(compiled, twice, strict=True)
            for one, other in zip(got, again, strict=True)
        ),
        "forms": counters["stats"]["unique_graphs"],
    }


def of_captured(folder: Path) -> dict[str, Any]:
    """All that does not need the compiler itself: captures and guards are the same, and take seconds, not minutes."""
    blocks.BACKEND = "eager"
    return {"blocks": of_blocks(), "run": of_run(folder)}


def main(folder: Path, what: str) -> None:
    """Write what came of it to `WHAT.json`."""
    torch.set_num_threads(1)
    found = of_inductor() if what == "inductor" else of_captured(folder)
    (folder / f"{what}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])

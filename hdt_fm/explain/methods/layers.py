"""Which layer of an encoder still knows when: found by walking the model, and read without changing it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from einops import rearrange
from torch import Tensor, nn

from hdt_fm.explain.binding import Run
from hdt_fm.explain.methods.features import shared_out
from hdt_fm.schema.errors import ExplainError
from hdt_fm.schema.protocols import Stacked


def last_block(model: object, modality: str) -> nn.Module:
    """The last block of the encoder that is registered under a modality's name.

    Raises:
        ExplainError: If there is none: a plain function, an encoder without blocks, or a recurrent one, whose state
            at a moment holds all that came before it.
    """
    parts = dict(model.named_modules()) if isinstance(model, nn.Module) else {}
    own = [part for name, part in parts.items() if name.split(".")[-1] == modality]
    stacked = [part for part in own if isinstance(part, Stacked) and len(part.blocks)]
    if len(stacked) == 1:
        return stacked[0].blocks[-1]
    kind = ", ".join(sorted({type(part).__name__ for part in own})) or "no module of that name"
    raise ExplainError(
        "No layer of the model tells places in a window apart",
        where=f"modality {modality}",
        expected=f"one encoder named {modality!r} with blocks over time (patch_transformer, resnet, irregular)",
        got=kind if len(stacked) < 2 else f"{len(stacked)} such encoders",
        fix="use a method of samples or segments, such as integrated_gradients or occlusion",
    )


@contextmanager
def tapped(block: nn.Module) -> Iterator[nn.Module]:
    """A module through which the block's answer passes as (row, width, place), the layout that Captum expects.

    A block with convolutions answers in that layout; any other answers (row, place, width).
    """
    tap = nn.Identity()
    calls: list[int] = []

    def through(_block: nn.Module, _inputs: object, answer: Tensor) -> Tensor:
        calls.append(answer.ndim)
        if calls != [3]:
            raise ExplainError(
                "A layer cannot be read as places in a window",
                where="grad_cam, layer_activation",
                expected="a target that encodes each window once, by blocks that answer with (row, place, width)",
                got=f"{len(calls)} calls, the last one's answer of {answer.ndim} axes",
                fix="use a method of samples or segments for this target",
            )
        if convolves(block):
            return tap(answer)
        passed = tap(rearrange(answer, "row place width -> row width place"))
        return rearrange(passed, "row width place -> row place width")

    hook = block.register_forward_hook(through)
    try:
        yield tap
    finally:
        hook.remove()


def convolves(block: nn.Module) -> bool:
    """Whether places lie a stride apart from the first sample on, and not each in the middle of its patch."""
    return any(isinstance(part, nn.Conv1d) for part in block.modules())


def layer_credit(one: Run, read: Callable[[nn.Module], Tensor]) -> list[Tensor]:
    """Per modality of a run of one window: what `read` finds in its layer, at the samples that each place stands for.

    A place's number is shared out over its observed samples, so that a sum over them is the number again, whatever the
    sampling rate. Where the encoder merges channels it is spread over all of them alike.

    Args:
        read: Tap -> (1 or channel, 1, place).
    """
    found = []
    for name, values, seen in zip(one.names, one.inputs, one.observed, strict=True):
        block = last_block(one.model, name)
        with tapped(block) as tap:
            by_place = rearrange(read(tap), "row 1 place -> row place")
        channels, samples = values.shape[1:]
        if len(by_place) not in (1, channels):
            raise ExplainError(
                "A layer's rows cannot be told apart",
                where=f"modality {name}",
                expected=f"1 row, or {channels} for as many channels",
                got=str(len(by_place)),
                fix="use a method of samples or segments",
            )
        place = _place_of(samples, by_place.shape[-1], convolves(block), values.device)
        effect = by_place[:, place].expand(channels, -1)[None]
        apart = torch.arange(channels, device=values.device)[:, None] * (len(by_place) > 1)
        found.append(shared_out(effect, seen, (place + by_place.shape[-1] * apart).expand(channels, -1)[None]))
    return found


def _place_of(samples: int, places: int, convolves: bool, device: torch.device) -> Tensor:
    """The nearest place to each sample; up to half a place off where places do not divide the window."""
    at = torch.arange(samples, device=device, dtype=torch.float64)
    nearest = at * places / samples + 0.5 if convolves else (at + 0.5) * places / samples
    return nearest.long().clamp(max=places - 1)

"""How the blocks of a model run while it trains: made again in the backward pass, or compiled.

Only `forward` of each block is replaced, and given back at the end, so weights keep their names and a checkpoint does
not know how it was made.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.protocols import Stacked

BACKEND = "inductor"
# Forms of one block that may be compiled: modalities, widths, with or without a mask, with or without a gradient. Past
# it torch would go on without compiling.
FORMS = 64


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """Every block of every part that is `Stacked`."""
    return [block for part in model.modules() if isinstance(part, Stacked) for block in part.blocks]


def check_blocks(model: nn.Module, *, recompute: bool, compiled: bool) -> None:
    """Refuse what `changed_blocks` cannot do, before anything was waited for.

    Raises:
        ConfigError: If there is no block, or no compiler.
    """
    if (recompute or compiled) and not blocks_of(model):
        raise ConfigError(
            "The model has no blocks to run in another way",
            where="training.compile" if compiled else "training.activation_checkpointing",
            expected="an encoder of blocks, such as patch_transformer with depth 1 or more",
            fix="training.compile=false training.activation_checkpointing=false",
        )
    if compiled:
        _require_compiler()


@contextmanager
def changed_blocks(model: nn.Module, *, recompute: bool, compiled: bool) -> Iterator[None]:
    """Within, the blocks run as asked; only in training mode where they are compiled.

    Args:
        recompute: A block keeps its inputs alone, and is run again, with the same draws, when its gradient is due. The
            numbers are the same bit for bit wherever equal operations give equal numbers, as on a CPU.
        compiled: Each block is compiled by itself, for any number of windows and tokens. Other last bits, and dropout
            draws other masks.

    Raises:
        ConfigError: As `check_blocks`; within, if a block cannot be compiled.
    """
    check_blocks(model, recompute=recompute, compiled=compiled)
    blocks = blocks_of(model) if recompute or compiled else []
    for block in blocks:
        if compiled:
            _compile(block)
        if recompute:
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    try:
        with torch._dynamo.config.patch(recompile_limit=FORMS) if compiled else nullcontext():
            yield
    finally:
        for block in blocks:
            del block.forward


def _require_compiler() -> None:
    """Look for the C++ compiler that compiled blocks are built with, for a GPU too: its kernels are started by C code.

    Raises:
        ConfigError: If there is none.
    """
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise ConfigError(
            "There is no compiler to compile the blocks with",
            where="training.compile",
            expected="a C++ compiler, as g++ on the path or named by the environment variable CXX",
            got=" ".join(str(error).split())[:200],
            fix="install one (g++, clang++), or training.compile=false",
        ) from error


def _compile(block: nn.Module) -> None:
    plain, quick = block.forward, torch.compile(block.forward, dynamic=True, backend=BACKEND)

    def forward(*args: Any, **named: Any) -> Any:
        # Validation is rare, and each of its forms would be compiled once more.
        if not block.training:
            return plain(*args, **named)
        try:
            return quick(*args, **named)
        except torch._dynamo.exc.TorchDynamoException as error:
            raise ConfigError(
                "A block cannot be compiled",
                where="training.compile",
                got=f"{type(block).__name__}: {' '.join(str(error).split())[:300]}",
                fix="training.compile=false",
            ) from error

    block.forward = forward

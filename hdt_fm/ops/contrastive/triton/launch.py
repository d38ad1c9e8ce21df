"""How kernels are launched: on which device, with how many programs, compiled for what."""

import functools
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from hdt_fm.ops.contrastive.triton.configs import Config, Tile, config_for
from hdt_fm.ops.contrastive.triton.packed import Packed
from hdt_fm.schema.errors import ConfigError

# Of one processor of all NVIDIA GPUs since 2012.
REGISTERS = 65536


@functools.cache
def load() -> ModuleType:
    """The kernels; a room of their own, since Triton is needed only once they are.

    Raises:
        ConfigError: If Triton is missing.
    """
    try:
        from hdt_fm.ops.contrastive.triton import kernels
    except ModuleNotFoundError as error:
        raise ConfigError(
            "impl='triton' needs Triton, which cannot be imported",
            fix="install the triton that your torch names, or use impl='auto'",
        ) from error
    return kernels


def config_of(device: torch.device, dtype: torch.dtype, width: int, rule: bool) -> Config:
    """Sizes of tiles for rows of this width before they are packed."""
    return config_for(arch(device), "float32" if dtype == torch.float32 else "half", width, rule)


@functools.cache
def arch(device: torch.device) -> str:
    """The generation, as the table of configurations names it."""
    if device.type != "cuda":
        return "interpret"
    major, _ = torch.cuda.get_device_capability(device)
    return "sm90" if major >= 9 else f"sm{major}0"


def programs(like: Tensor, tiles: int, tile: Tile) -> int:
    """As many as the device's registers hold at once, so that tiles are begun in order; results do not depend on it."""
    together = max(1, REGISTERS // ((tile.registers or 256) * 32 * tile.warps))
    return max(1, min(tiles, together * _processors(like.device)))


@functools.cache
def _processors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def settings(packed: Packed, tile: Tile, *, many: bool, mask: bool) -> dict[str, Any]:
    """What a kernel is compiled for. `many`: it walks over all pairs' tiles; `mask`: it knows of near rows."""
    half, interpret = packed.query.dtype != torch.float32, load().INTERPRET
    found: dict[str, Any] = {
        "block_m": tile.rows,
        "block_n": tile.columns,
        "block_k": tile.depth,
        "precision": "tf32" if half else packed.precision,
        "upcast": interpret,
        "num_warps": tile.warps,
        "num_stages": tile.stages,
    }
    if tile.registers and not interpret:
        found["maxnreg"] = tile.registers
    if many:
        # One compiled kernel for up to 16 pairs.
        found["pairs_above"] = max(16, 1 << (len(packed.rows) - 1).bit_length())
    if mask:
        found["rule"] = packed.near.shape[2] > 0
    return found


def on_device(like: Tensor) -> AbstractContextManager[Any]:
    """Triton launches on the current device."""
    return torch.cuda.device(like.device) if like.is_cuda else nullcontext()

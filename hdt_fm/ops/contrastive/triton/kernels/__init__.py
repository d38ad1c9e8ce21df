"""Triton kernels of the contrastive losses: every pair of modalities in one launch of each stage.

A launch has a fixed number of programs, which walk over the tiles of all pairs; what a pair has is read from the
device, so the host never asks. Nothing is added atomically: each tile has a place of its own for what it adds, and
places are summed in order, so that runs repeat bit by bit, whatever the device's number of processors.
"""

from hdt_fm.ops.contrastive.triton.kernels.chip import chip_kernel
from hdt_fm.ops.contrastive.triton.kernels.forward import combine_kernel, repair_kernel, sums_kernel
from hdt_fm.ops.contrastive.triton.kernels.panel import pull_kernel, push_kernel
from hdt_fm.ops.contrastive.triton.kernels.rows import near_kernel, pack_kernel, unpack_kernel
from hdt_fm.ops.contrastive.triton.kernels.tiles import INTERPRET

__all__ = [
    "INTERPRET",
    "chip_kernel",
    "combine_kernel",
    "near_kernel",
    "pack_kernel",
    "pull_kernel",
    "push_kernel",
    "repair_kernel",
    "sums_kernel",
    "unpack_kernel",
]

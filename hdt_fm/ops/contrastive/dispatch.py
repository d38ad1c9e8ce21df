"""Which implementation computes a contrastive loss, by device, precision and rows: a table that can be read.

| device | rows of precision | batch | implementation |
|---|---|---|---|
| CPU | any | up to 128 | `reference`: a few (row x row) arrays are the fastest there is |
| CPU | any | more | `chunked`: tiles; up to 4,096 x 4,096 products of all pairs together are kept |
| CUDA | bfloat16, float16, float32 | any | `triton`, where Triton is installed |
| CUDA | float64, or without Triton | any | as on the CPU |

Rows that lie in several processes are computed by `spread`, with the tiles of `chunked`, or by `triton/spread.py` with
the kernels, by the same table. Gradients by kernels are made on chip or by panels as `triton/configs.py` says: on chip
for half-precision rows of up to 128 numbers (before sm90 only without an exclusion).
Nothing else is looked at (free memory, load, how many rows a pair has), so that a run repeats.
"""

import functools
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import torch

from hdt_fm.ops.contrastive import chunked, reference, spread
from hdt_fm.ops.contrastive.pairs import PairLosses, Pairs
from hdt_fm.schema.errors import unknown_name

Kind = Literal["softmax", "sigmoid"]
# Above this tiles are faster, in time and memory.
REFERENCE_ROWS = 128


class Implementation(NamedTuple):
    """Both losses, by the same means."""

    softmax: Callable[..., PairLosses]
    sigmoid: Callable[..., PairLosses]


def _later(function: str, room: str = "") -> Callable[..., PairLosses]:
    """A function of the folder `triton`, which registers operators when it is imported and needs Triton when called."""

    def call(*given: Any) -> PairLosses:
        return getattr(import_module(f"hdt_fm.ops.contrastive.triton{room}"), function)(*given)

    return call


IMPLEMENTATIONS: Mapping[str, Implementation] = MappingProxyType(
    {
        "reference": Implementation(reference.pair_losses, reference.sigmoid_losses),
        "chunked": Implementation(chunked.pair_losses, chunked.sigmoid_losses),
        "triton": Implementation(_later("pair_losses"), _later("sigmoid_losses")),
    }
)
# The same where rows lie in several processes.
SPREAD: Mapping[str, Implementation] = MappingProxyType(
    {
        "reference": Implementation(spread.pair_losses, spread.sigmoid_losses),
        "chunked": Implementation(spread.pair_losses, spread.sigmoid_losses),
        "triton": Implementation(_later("pair_losses", ".spread"), _later("sigmoid_losses", ".spread")),
    }
)


def choose(problem: Pairs, impl: str, kind: Kind) -> Callable[..., PairLosses]:
    """The function that computes it.

    Raises:
        UnknownNameError: If `impl` is not in the table.
    """
    name = automatic(problem) if impl == "auto" else impl
    if name not in IMPLEMENTATIONS:
        raise unknown_name("implementation", name, ("auto", *IMPLEMENTATIONS), where="ops/contrastive")
    return getattr((IMPLEMENTATIONS if problem.rows is None else SPREAD)[name], kind)


def automatic(problem: Pairs) -> str:
    """The table above."""
    rows = problem.embeddings
    if rows.is_cuda and rows.dtype != torch.float64 and _has_triton():
        return "triton"
    return "reference" if problem.embeddings.shape[1] <= REFERENCE_ROWS else "chunked"


@functools.cache
def _has_triton() -> bool:
    return find_spec("triton") is not None

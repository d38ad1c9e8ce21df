"""What the stages work on: the rows of all pairs side by side, and what the push between two rows is made of."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hdt_fm.ops.contrastive.triton.configs import Config


class Packed(NamedTuple):
    """Rows of all pairs, those that a pair has first.

    Attributes:
        query: Rows of this block; zeros from `rows[pair]` on. Contiguous, of a width that `config` chose.
        key: All rows; zeros from `columns[pair]` on. Query row i is key row `first[pair] + i`.
        own: Product of each key row with its partner, in float32, of all rows.
        near: Of each key row its place in an order of persons and times, and the places from which up to which other
            rows are near; of length 0 without exclusion.
        precision: Of products of float32: "tf32x3" (float32 but for the last bits) or "tf32".
        config: Of the tiles, and of the route of gradients.
    """

    query: Float[Tensor, "pair query_room width"]
    key: Float[Tensor, "pair key_room width"]
    own: Float[Tensor, "pair key_room"]
    rows: Int[Tensor, " pair"]
    columns: Int[Tensor, " pair"]
    first: Int[Tensor, " pair"]
    near: Int[Tensor, "pair 3 rule_room"]
    precision: str
    config: Config


class Pushes(NamedTuple):
    """What dL/ds is made of: a and b of `kernels.tiles.pushes`, and more.

    Attributes:
        shift: The offset of a search, the bias of questions.
        wide: Pairs of a search that need two exponentials; None for questions.
        pull: How strongly partners pull at each other.
        unit: What products of pushes are multiplied by.
    """

    scale: Float[Tensor, " pair"]
    shift: Float[Tensor, " pair"]
    row: Float[Tensor, "pair query_room"]
    column: Float[Tensor, "pair key_room"]
    wide: Int[Tensor, " pair"] | None
    pull: Float[Tensor, "pair query_room"]
    unit: Float[Tensor, " pair"]


class Sums(NamedTuple):
    """What a route answers.

    Attributes:
        query, key: Finished but for the scale and the upstream gradient.
        scale, bias: The pushes' part of dL/dscale and dL/dbias, before `unit`.
    """

    query: Float[Tensor, "pair query_room width"]
    key: Float[Tensor, "pair key_room width"]
    scale: Float[Tensor, " pair"]
    bias: Float[Tensor, " pair"]


def of_block(packed: Packed, values: Float[Tensor, "pair key_room"]) -> Float[Tensor, "pair query_room"]:
    """What key rows have, for the query rows that they belong to; 0 past these."""
    here = torch.arange(packed.query.shape[1], device=values.device)
    at = (packed.first[:, None] + here).clamp(max=values.shape[1] - 1)
    return values.gather(1, at).masked_fill(here >= packed.rows[:, None], 0.0)

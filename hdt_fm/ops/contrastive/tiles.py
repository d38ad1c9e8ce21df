"""Tiles of the products of some rows with all rows: their exponentials' sums, and what gradients are made of.

`query` are rows `first` and after of the pair's rows, `key` is all of them: one process's share, or everything.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from hdt_fm.ops.contrastive.pairs import Exclusion
from hdt_fm.schema.errors import ConfigError

# Tiles that stay in the shared cache between the product and what is done to it; smaller ones cost more in calls.
TILE_ROWS, TILE_COLUMNS = 1024, 1024
# Rows of a tile with all columns, where exponentials are kept.
KEPT_ROWS = 512

Tile = tuple[slice, slice, Tensor]


class Tiles:
    """Walks over the products of one pair; holds no tensor that autograd follows.

    Args:
        scale: A plain number, since a product takes it for nothing.
        first: Number of the first query row among the key's rows, where its positive stands.
        half: Products may round their inputs to bfloat16, where the CPU is faster so.
        keep: There is room for what would else be computed twice.
    """

    def __init__(
        self,
        query: Float[Tensor, "row dim"],
        key: Float[Tensor, "column dim"],
        scale: float,
        exclusion: Exclusion | None,
        *,
        first: int = 0,
        half: bool = False,
        keep: bool = False,
    ) -> None:
        self.query, self.key, self.scale, self.exclusion = query, key, scale, exclusion
        self.first, self.half, self.keep = first, half, keep
        self.rows, self.columns = len(query), len(key)
        # What is kept lies row by row, so a tile of it has all columns.
        self.height = max(1, min(KEPT_ROWS if keep else TILE_ROWS, self.rows))
        self.width = self.columns if keep else min(TILE_COLUMNS, self.columns)

    def logits(self, kept: Tensor | None = None) -> Iterator[Tile]:
        """Each tile of scale * query @ key.T, in the same memory each time, or in its place in `kept`."""
        turned, room = self.key.T, self.room() if kept is None else kept.view(-1)
        for i, j in self._walk():
            height, width = i.stop - i.start, j.stop - j.start
            start = 0 if kept is None else i.start * self.columns
            tile = room[start : start + height * width].view(height, width)
            torch.addmm(tile, self.query[i], turned[:, j], beta=0, alpha=self.scale, out=tile)
            yield i, j, tile

    def exponentials(self, offset: float, kept: Tensor | None = None) -> Iterator[Tile]:
        """exp(logit - offset) of negatives, 0 elsewhere."""
        for i, j, tile in self.logits(kept):
            if offset:
                tile.sub_(offset)
            yield i, j, self.drop_(tile.exp_(), i, j, 0.0)

    def sums(
        self, offset: float
    ) -> tuple[Float[Tensor, " row"], Float[Tensor, " column"], Float[Tensor, "row column"] | None]:
        """Row and column sums of exponentials, and the exponentials themselves where there is room for them."""
        row, column = self.query.new_zeros(self.rows), self.query.new_zeros(self.columns)
        kept = self.query.new_empty(self.rows, self.columns) if self.keep else None
        for i, j, tile in self.exponentials(offset, kept):
            row[i] += tile.sum(1)
            column[j] += tile.sum(0)
        return row, column, kept

    def log_sums(self) -> tuple[Float[Tensor, " row"], Float[Tensor, " column"]]:
        """Logs of row and column sums, each with a maximum of its own."""
        row = self.query.new_full((self.rows,), -torch.inf)
        column = self.query.new_full((self.columns,), -torch.inf)
        for i, j, tile in self.logits():
            self.drop_(tile, i, j, -torch.inf)
            row[i] = torch.logaddexp(row[i], torch.logsumexp(tile, dim=1))
            column[j] = torch.logaddexp(column[j], torch.logsumexp(tile, dim=0))
        return row, column

    def softmax_pushes(
        self,
        row_all: Float[Tensor, " row"],
        column_all: Float[Tensor, " column"],
        offset: float | None,
        kept: Tensor | None = None,
    ) -> Iterator[Tile]:
        """dL/dlogit of negatives: exp(logit - row_all) + exp(logit - column_all).

        Args:
            offset: That of `sums`: one exponential, times the sum of two factors. None takes both exponentials.
        """
        room = self.room()
        if offset is None:
            for i, j, tile in self.logits():
                self.drop_(tile, i, j, -torch.inf)
                push = torch.sub(tile, row_all[i, None], out=room[: tile.numel()].view_as(tile)).exp_()
                yield i, j, push.add_(tile.sub_(column_all[None, j]).exp_())
            return
        a, b = torch.exp(offset - row_all), torch.exp(offset - column_all)
        tiles = self.exponentials(offset) if kept is None else ((i, j, kept[i, j]) for i, j in self._walk())
        for i, j, tile in tiles:
            factor = torch.add(a[i, None], b[None, j], out=room[: tile.numel()].view_as(tile))
            yield i, j, factor.mul_(tile)

    def sigmoid_losses(
        self, bias: Tensor, row_weight: Float[Tensor, " row"], column_weight: Float[Tensor, " column"]
    ) -> Float[Tensor, ""]:
        """The weighted sum over all questions whose answer is no."""
        total = self.query.new_zeros(())
        for i, j, tile in self.logits():
            answers = self.drop_(softplus_(tile.add_(bias)), i, j, 0.0)
            total = total + row_weight[i] @ answers.sum(1) + column_weight[j] @ answers.sum(0)
        return total

    def sigmoid_pushes(
        self, bias: Tensor, row_weight: Float[Tensor, " row"], column_weight: Float[Tensor, " column"], total: Tensor
    ) -> Iterator[Tile]:
        """dL/dlogit of questions whose answer is no; their sum is added to `total`."""
        room = self.room()
        for i, j, tile in self.logits():
            answer = self.drop_(tile.add_(bias).sigmoid_(), i, j, 0.0)
            factor = torch.add(row_weight[i, None], column_weight[None, j], out=room[: tile.numel()].view_as(tile))
            total += factor.mul_(answer).sum()
            yield i, j, factor

    def gradients(self, pushes: Iterator[Tile]) -> tuple[Float[Tensor, "row dim"], Float[Tensor, "column dim"]]:
        """Pushes times keys, and times queries."""
        if self.rows == 0:
            return torch.zeros_like(self.query), torch.zeros_like(self.key)
        d_query, d_key = torch.empty_like(self.query), torch.empty_like(self.key)
        for i, j, push in pushes:
            # Factor 0 for what comes first: whatever the fresh memory holds is not read.
            d_query[i].addmm_(push, self.key[j], beta=int(j.start > 0))
            d_key[j].addmm_(push.T, self.query[i], beta=int(i.start > 0))
        return d_query, d_key

    def room(self) -> Tensor:
        """Memory of one tile."""
        return self.query.new_empty(self.height * self.width)

    def drop_(self, tile: Tensor, i: slice, j: slice, value: float) -> Tensor:
        """Put a value, in place, where there is no negative: the positives and rows that are too near."""
        top, stop = self.first + i.start, self.first + i.stop
        if self.exclusion is not None:
            tile.masked_fill_(self.exclusion.block(top, stop, j), value)
        if top < j.stop and j.start < stop:
            tile.diagonal(offset=top - j.start).fill_(value)
        return tile

    def empty(self) -> Int[Tensor, ""]:
        """How many rows have no negative."""
        alone = torch.zeros((), dtype=torch.long, device=self.query.device)
        if self.exclusion is None:
            return alone
        for top in range(0, self.rows, self.height):
            stop = min(top + self.height, self.rows)
            alone = alone + self.exclusion.block(self.first + top, self.first + stop).all(1).sum()
        return alone

    @contextmanager
    def rounding(self) -> Iterator[None]:
        """Products of float32 by the CPU's bfloat16 units, if they were asked for: sums and results stay float32."""
        settings = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
        before = settings.fp32_precision
        try:
            if self.half:
                settings.fp32_precision = "bf16"
            yield
        finally:
            settings.fp32_precision = before

    def _walk(self) -> Iterator[tuple[slice, slice]]:
        """Row and column ranges, rows outermost."""
        for top in range(0, self.rows, self.height):
            for left in range(0, self.columns, self.width):
                yield slice(top, min(top + self.height, self.rows)), slice(left, min(left + self.width, self.columns))


def first_order_only(backward: Callable[..., Any]) -> Callable[..., Any]:
    """A backward pass that raises where its own gradient is wanted. torch's `once_differentiable` says nothing when the
    gradient that comes in is a constant, as that of a loss is, and the second order would be silently wrong."""

    def checked(ctx: Any, *gradients: Tensor) -> Any:
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            raise ConfigError(
                "The gradient of this gradient is not computed here",
                where="ops/contrastive",
                expected="create_graph=False",
                fix='impl="reference" can be differentiated twice',
            )
        return once_differentiable(backward)(ctx, *gradients)

    return checked


def widest(dtype: torch.dtype, columns: int) -> float:
    """The largest logit whose exponential, added up over so many columns, is still a number."""
    return math.log(torch.finfo(dtype).max) - math.log(max(1, columns)) - 1


def softplus_(logits: Tensor) -> Tensor:
    """log(1 + exp(x)), in place, exact on both sides: torch's own drops exp(-x) past its threshold."""
    high = logits.clamp(min=0)
    return logits.abs_().neg_().exp_().log1p_().add_(high)

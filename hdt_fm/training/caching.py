"""Gradient caching: the contrast of one large batch in the memory of a small one, exactly.

A contrastive loss needs the projections of the whole batch, but not what the encoder held on the way to them. Pass 1
encodes piece after piece and keeps the results alone; the loss sees all of them; in the backward pass each piece is
encoded again, with the same draws, and takes its share of the gradient.

Source: Gao et al. 2021, "Scaling deep contrastive learning batch size under memory limited setup", section 3.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ConfigError
from hdt_fm.training.rows import Record, combine, cut, join_batches, outputs_of, with_outputs


def encode_in_pieces(
    encode: Callable[[Batch], Record], batch: Batch, *, piece: int, parameters: Sequence[nn.Parameter] | None
) -> Record:
    """What `encode(batch)` gives, with the memory of `piece` windows; gradients come by encoding each piece again.

    The record goes to any loss as it is, also through `gather_rows`: a loss's own parameters get their gradient once,
    and each of `parameters` gets the sum over pieces in one go, so that DDP's hooks see one gradient a step.

    Args:
        encode: Rows in, a record of rows out (see `rows.combine`); each row MUST depend on its own window alone, so
            no batch norm. Draws may come from the global generators only.
        batch: All windows; a Batch inside the record that is the piece itself becomes `batch` and is not copied.
        piece: Windows at a time.
        parameters: All that `encode` learns. None where autograd itself knows where their gradients belong, as with
            weights that processes share out: then each piece adds to them.

    Raises:
        ConfigError: If `piece` is not positive.

    Numerics: equal to encoding at once up to the order of float32 sums over rows. With dropout, equal to encoding
        the pieces one after another in one graph: a large batch draws other masks than its pieces do.
    """
    if piece < 1:
        raise ConfigError("A piece of a batch must hold a window", where="piece", got=str(piece))
    work = _Work(encode, batch, piece)
    work.adds = parameters is None
    # Where the gradients go elsewhere, something must still tell autograd that there is a way back.
    asked = (torch.zeros((), requires_grad=True),) if parameters is None else parameters
    learned = [parameter for parameter in asked if parameter.requires_grad]
    record = work.first_pass()
    if not torch.is_grad_enabled() or not learned:
        return record
    return with_outputs(record, _Encoded.apply(work, outputs_of(record), *learned))


class _Work:
    """One batch in pieces, and what must be as it was when a piece is encoded again."""

    def __init__(self, encode: Callable[[Batch], Any], batch: Batch, piece: int) -> None:
        self.encode, self.batch = encode, batch
        self.pieces = [cut(batch, start, start + piece) for start in range(0, len(batch), piece)]
        self.device = batch.present.device.type
        self.autocast = (torch.is_autocast_enabled(self.device), torch.get_autocast_dtype(self.device))
        self.draws: list[list[Tensor]] = []
        self.adds = False

    def first_pass(self) -> Any:
        """The joined record, without a graph."""
        records = []
        for part in self.pieces:
            self.draws.append(_generator_states(self.device))
            with torch.no_grad():
                records.append(self.encode(part))
        return combine(records, torch.cat, self._joined)

    def _joined(self, parts: list[Batch]) -> Batch:
        given = all(part is mine for part, mine in zip(parts, self.pieces, strict=True))
        return self.batch if given else join_batches(parts)

    def again(self, number: int) -> list[Tensor]:
        """Outputs of one piece with a graph, from the draws that it had."""
        enabled, dtype = self.autocast
        _set_generators(self.device, self.draws[number])
        with torch.enable_grad(), torch.autocast(self.device, dtype=dtype, enabled=enabled):
            return outputs_of(self.encode(self.pieces[number]))


class _Encoded(torch.autograd.Function):
    """Outputs that were made without a graph, and the way back through it, piece by piece."""

    @staticmethod
    def forward(ctx: Any, work: _Work, outputs: list[Tensor], *learned: Tensor) -> tuple[Tensor, ...]:
        ctx.work, ctx.learned = work, learned
        return tuple(output.detach() for output in outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        work, learned = ctx.work, ctx.learned
        total: list[Tensor | None] = [None] * len(learned)
        before, start = _generator_states(work.device), 0
        for number, part in enumerate(work.pieces):
            outputs = work.again(number)
            rows = slice(start, start + len(part))
            start = rows.stop
            # A modality that the whole piece lacks has no graph.
            through = [
                (one, gradient[rows]) for one, gradient in zip(outputs, gradients, strict=True) if one.requires_grad
            ]
            if through:
                results, shares = zip(*through, strict=True)
                if work.adds:
                    torch.autograd.backward(results, shares)
                    continue
                found = torch.autograd.grad(results, learned, shares, allow_unused=True)
                total = [_sum(one, other) for one, other in zip(total, found, strict=True)]
        _set_generators(work.device, before)
        return None, None, *total


def _sum(total: Tensor | None, part: Tensor | None) -> Tensor | None:
    if total is None or part is None:
        return part if total is None else total
    # Not in place: autograd may hand out one tensor as the gradient of two parameters.
    return total + part


def _generator_states(device: str) -> list[Tensor]:
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state()] if device == "cuda" else [])]


def _set_generators(device: str, states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    if device == "cuda":
        torch.cuda.set_rng_state(states[1])

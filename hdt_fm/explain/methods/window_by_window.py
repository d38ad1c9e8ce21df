"""One window at a time: what depends on draws, or on what a window holds, must not depend on its neighbours."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from hdt_fm.explain.binding import Run


def by_window(run: Run, credit: Callable[[Run], Sequence[Tensor]]) -> list[Tensor]:
    """Credit of every window by itself, side by side again; 0 for what a window lacks.

    Args:
        credit: Given a run of one window and only the modalities that were observed in it; one tensor for each.
    """
    whole = [torch.zeros_like(one, dtype=torch.float64) for one in run.inputs]
    for row, one in alone(run):
        for name, found in zip(one.names, credit(one), strict=True):
            whole[run.names.index(name)][row] = found[0].double()
    return whole


def alone(run: Run) -> Iterator[tuple[int, Run]]:
    """Each window as a run of its own, with the modalities that were observed in it."""
    for row in range(len(run.rows)):
        held = [k for k, seen in enumerate(run.observed) if bool(seen[row].any())]
        here = slice(row, row + 1)
        yield (
            row,
            replace(
                run,
                forward=_with_the_rest(run, held),
                names=tuple(run.names[k] for k in held),
                inputs=tuple(run.inputs[k][here] for k in held),
                references=tuple(run.references[k][here] for k in held),
                observed=tuple(run.observed[k][here] for k in held),
                rows=run.rows[here],
                windows=run.windows[here],
                output=run.output[here],
                reference_output=run.reference_output[here],
            ),
        )


def _with_the_rest(run: Run, held: Sequence[int]) -> Callable[..., Tensor]:
    def forward(*tensors: Tensor) -> Tensor:
        *values, rows = tensors
        whole = [one[rows] for one in run.inputs]
        for k, value in zip(held, values, strict=True):
            whole[k] = value
        return run.forward(*whole, rows)

    return forward

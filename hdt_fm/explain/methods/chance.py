"""Draws that repeat: Captum takes its own from global generators, which are put back as they were."""

from collections.abc import Iterator
from contextlib import contextmanager
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from hdt_fm.explain.binding import Run
from hdt_fm.explain.methods.saliency import spread

# Standard deviations of the channel. Enough to leave a kink, too little to hide a beat.
NOISE = 0.1


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """torch's and NumPy's global generators start at `seed`, and end where they were before."""
    numpy_state = np.random.get_state()  # noqa: NPY002 - Captum draws from it
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        if devices:
            torch.cuda.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002


def seed_of(seed: int, one: Run) -> int:
    """A seed for a run of one window: the same wherever that window is explained, another for other windows."""
    drawn = np.random.SeedSequence([seed, _number(int(one.windows[0]))]).generate_state(1)
    return int(drawn[0])


def noisy_inputs(run: Run, seed: int, draw: int) -> tuple[Tensor, ...]:
    """The inputs with noise on what was observed, in each channel's own spread in the window.

    Each window has draws of its own, which do not depend on its neighbours.
    """
    found = []
    for name, values, seen in zip(run.names, run.inputs, run.observed, strict=True):
        key, shape = [seed, draw, crc32(name.encode())], values.shape[1:]
        draws = [np.random.default_rng([*key, _number(one)]).standard_normal(shape) for one in run.windows.tolist()]
        noise = torch.from_numpy(np.stack(draws)).to(values)
        found.append(torch.where(seen, values + NOISE * spread(values, seen) * noise, values))
    return tuple(found)


def _number(window: int) -> int:
    """NumPy's seeds have no sign."""
    return window % 2**64

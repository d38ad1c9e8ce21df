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


def noisy_inputs(run: Run, seed: int, draw: int) -> tuple[Tensor, ...]:
    """The inputs with noise on what was observed, in each channel's own spread in the window.

    All windows get the same draw: a window's map then depends on that window alone, and windows can be compared
    without the noise between them.
    """
    found = []
    for name, values, seen in zip(run.names, run.inputs, run.observed, strict=True):
        generator = np.random.default_rng([seed, draw, crc32(name.encode())])
        noise = torch.from_numpy(generator.standard_normal(values.shape[1:])).to(values)
        found.append(torch.where(seen, values + NOISE * spread(values, seen) * noise, values))
    return tuple(found)

"""Questions about tumours, asked of a head that answers plans."""

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from hdt_fm.schema.outcome import OutcomeHead, Past
from hdt_fm.simulation.tumour import Course
from hdt_fm.simulation.tumour_protocol import Questions

# Types 2 and 3; the first is where both are 0.
TRAITS = 2
TREATMENTS = 2
PIECE = 32_768


def past_of(course: Course) -> Past:
    """Volumes in cm3, whether each treatment was given, and the type; no dose, rate or sensitivity is told."""
    days = np.arange(course.volume.shape[1])
    level = np.where(days <= course.length[:, None], course.volume, np.nan)
    kind = (course.kind[:, None] == np.array([2, 3])).astype(np.float32)
    return Past(torch.from_numpy(level), torch.from_numpy(course.given.astype(np.float32)), torch.from_numpy(kind))


@torch.no_grad()
def ask(head: nn.Module, questions: Questions) -> Float[np.ndarray, "subject day plan step mean_and_level"]:
    """Mean and quantiles under each plan, cm3; NaN where nothing is asked."""
    assert isinstance(head, OutcomeHead)
    states = head.encode(past_of(questions.course))
    places = torch.from_numpy(np.stack(np.nonzero(np.isfinite(questions.truth).all(axis=-1))))
    found: list[torch.Tensor] = []
    for subject, day, plan in (some.unbind(0) for some in places.split(PIECE, dim=1)):
        doses = torch.from_numpy(questions.plan[subject.numpy(), day.numpy(), plan.numpy()].astype(np.float32))
        found.append(head.answer(states.take(subject, day), doses).values)
    values = torch.cat(found).numpy()
    out = np.full((*questions.truth.shape, values.shape[-1]), np.nan, dtype=np.float32)
    out[tuple(places.numpy())] = values
    return out

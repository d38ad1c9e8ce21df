"""Shift: a tenth of a second earlier or later is the same window, so the map must move along."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hdt_fm.explain.explanation import Check
from hdt_fm.explain.gate.exam import Exam
from hdt_fm.explain.gate.judge import at_least, likeness
from hdt_fm.explain.gate.perturb import delayed
from hdt_fm.schema.modalities import STATIC

MARKS = (0.5, 0.2)
DELAY_S = 0.1

Values = Mapping[str, NDArray[np.float32]]


def check(exam: Exam) -> Check:
    """Delay all signals, make the map again, move it back, and compare it with the original."""
    # Signals that are all slower than the delay move by one sample of the fastest, which is the least there is.
    fastest = max(signal.sampling_rate_hz for name, signal in exam.few.signals.items() if name != STATIC)
    delay_s = max(DELAY_S, 1 / fastest)
    later, moved = delayed(exam.few, delay_s=delay_s)
    original, found = back(exam.original.values, exam.again(exam.model, later).values, moved)
    value = likeness(original, found)
    rule = f"rank correlation after a delay of {delay_s:g} s, moved back: pass >= {MARKS[0]}, warn >= {MARKS[1]}"
    meaning = f"Signals {delay_s:g} s later give a map that, moved back, has a rank correlation of {value:.2f}."
    return Check(
        "shift", at_least(value, MARKS), value, rule, meaning, {f"samples, {n}": float(k) for n, k in moved.items()}
    )


def back(original: Values, later: Values, moved: Mapping[str, int]) -> tuple[Values, Values]:
    """Both maps over the samples that are in both windows, the later one moved back."""
    first = {name: values[..., : values.shape[-1] - moved[name]] for name, values in original.items()}
    return first, {name: values[..., moved[name] :] for name, values in later.items()}

"""Agreement: methods that ask the same in other ways should rank the stretches of a window alike."""

from dataclasses import replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from hdt_fm.explain.explanation import Check, Explanation
from hdt_fm.explain.gate.exam import Exam
from hdt_fm.explain.gate.judge import at_least, mean_rank
from hdt_fm.explain.methods import METHODS

MARKS = (0.4, 0.1)


def check(exam: Exam) -> Check:
    """Rank the segments of a window by each method, and compare the ranks pair by pair."""
    explanation = exam.explanation
    rule = f"mean rank correlation over pairs of methods, by segment: pass >= {MARKS[0]}, warn >= {MARKS[1]}"
    asking = [one for one in explanation.maps if METHODS[one.method].of_output]
    if len(asking) < 2:
        meaning = "Only one method asks about the output, so none can disagree with it."
        return Check("agreement", "warn", float("nan"), rule, meaning)
    sizes = {one.method: segment_sizes(explanation, one.method) for one in asking}
    pairs = {f"{a} and {b}": mean_rank(sizes[a], sizes[b]) for a, b in combinations(sizes, 2)}
    value = float(np.mean(list(pairs.values())))
    meaning = f"Methods rank the segments of a window alike with a correlation of {value:.2f}."
    return Check("agreement", at_least(value, MARKS), value, rule, meaning, pairs)


def segment_sizes(explanation: Explanation, method: str) -> list[NDArray[np.float64]]:
    """Per window the size of each present (modality, channel, segment)."""
    source = explanation
    if not METHODS[method].signs:
        one = explanation.find(method)
        size = replace(one, values={name: np.abs(values) for name, values in one.values.items()})
        source = replace(explanation, maps=(size,))
    sums = source.by_segment(method)
    columns = {name: explanation.modalities.index(name) for name in sums}
    return [
        np.concatenate([np.abs(sums[m][k]).ravel() for m in sums if explanation.present[k, columns[m]]])
        for k in range(len(explanation))
    ]

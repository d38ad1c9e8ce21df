"""Rates that are read and not fitted: off a spectrum or an encoder's own rhythm, window by window or followed."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Num

from hdt_fm.evaluation.contenders import Role
from hdt_fm.evaluation.personal import RECENT_MINUTES, Knowledge
from hdt_fm.schema.embedding import EmbeddingTable

FOLLOWED = ", followed"
# Seconds after which what a window said counts 1/e: a breath's rate holds for about a minute.
FADE_S = 60.0


@dataclass(frozen=True)
class Estimate:
    """A value of each window that nothing was fitted for.

    Attributes:
        values: In the label's unit, (row,); NaN where there is no answer.
        knowledge: What it knows of the person besides the window.
    """

    model: str
    role: Role
    values: Float[np.ndarray, " row"]
    knowledge: Knowledge = "nothing"


def read_and_followed(
    model: str,
    role: Role,
    evidence: Num[np.ndarray, "row line"],
    read: Callable[[np.ndarray], np.ndarray],
    table: EmbeddingTable,
) -> tuple[Estimate, Estimate]:
    """A rate of each window by itself, and of all that was said of it in the last minutes.

    Args:
        evidence: What adds up over windows: power, or log share; NaN where a window says nothing.
        read: Evidence -> the rate of each row; NaN stays NaN.
    """
    alone = read(evidence)
    added = followed(evidence, table.subject, table.time_s)
    return Estimate(model, role, alone), Estimate(model + FOLLOWED, role, read(added), "recent")


def followed(
    evidence: Num[np.ndarray, "row line"],
    subject: Int[np.ndarray, " row"],
    time_s: Float[np.ndarray, " row"],
    *,
    minutes: float = RECENT_MINUTES,
    fade_s: float = FADE_S,
) -> Float[np.ndarray, "row line"]:
    """Evidence added up over the person's windows of the last minutes, this one included, older ones faded; causal.

    For log shares it is a filter of a rate that drifts: by Bayes, what windows say multiplies, and fading lets go of
    what was said before. Windows that overlap count the seconds that they share more than once.

    Returns:
        NaN where no window of these minutes says anything.
    """
    out = np.full(evidence.shape, np.nan)
    for person in np.unique(subject):
        rows = np.flatnonzero(subject == person)
        rows = rows[np.argsort(time_s[rows], kind="stable")]
        rows = rows[np.isfinite(evidence[rows]).all(axis=1)]
        known = time_s[rows]
        for row in np.flatnonzero(subject == person):
            # A hair of a second, so that rounding of times neither adds one nor loses the window itself.
            first = np.searchsorted(known, time_s[row] - minutes * 60 + 1e-6)
            end = np.searchsorted(known, time_s[row] + 1e-6)
            if end > first:
                weight = np.exp((known[first:end] - time_s[row]) / fade_s)
                out[row] = weight @ evidence[rows[first:end]]
    return out

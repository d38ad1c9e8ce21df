"""CUSUM of normal scores, and the threshold that a budget of false episodes asks for."""

import math

import numpy as np
from jaxtyping import Float

NIGHTS_PER_YEAR = 365.25
# Siegmund's correction for steps that jump over a threshold rather than touch it.
_OVERSHOOT = 1.166


def nights_between(threshold: float, slack: float) -> float:
    """Mean nights until a CUSUM of independent normal scores passes a threshold, from 0.

    Args:
        threshold: In SDs of a score, as `slack` is.
        slack: What CUSUM takes off each score.

    Source: Siegmund 1985, Sequential Analysis, eq. 2.57, with no shift.
    """
    edge = threshold + _OVERSHOOT
    return (math.exp(2 * slack * edge) - 2 * slack * edge - 1) / (2 * slack**2)


def threshold_for(per_year: float, slack: float) -> float:
    """The threshold, in SDs of a score, that independent normal scores pass so often a year."""
    wanted = NIGHTS_PER_YEAR / per_year
    low, high = 0.0, 60.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if nights_between(middle, slack) < wanted else (low, middle)
    return high


def widened(threshold: float, slack: float, count: Float[np.ndarray, " person"]) -> Float[np.ndarray, " person"]:
    """The same for scores whose level was learned from so few nights.

    A level that is off by b moves every score by b, and the log of the rate by 2 threshold b; with b normal of
    variance 1 / count the mean rate grows by exp(2 threshold^2 / count). The threshold that brings it back solves
    2 slack h - 2 h^2 / count = 2 slack h0; below 4 h0 / slack nights it is the one that comes nearest.
    """
    room = np.maximum(slack**2 - 4 * slack * threshold / np.maximum(count, 1.0), 0.0)
    found: Float[np.ndarray, " person"] = (slack - np.sqrt(room)) * np.maximum(count, 1.0) / 2
    return np.maximum(found, threshold)

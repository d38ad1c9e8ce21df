"""One person's threshold: what the budget asks of ideal scores, corrected by how high their own CUSUM climbs.

Peaks over a low level, as in the statistics of extremes: how often CUSUM climbs over the level, and by how much more
it then climbs, give the height that it passes as often as the budget says. Both start at what ideal scores would show
and move to what the person shows. An alert counts as a climb of at least its threshold, so illness does not teach.
"""

import math

import numpy as np
from jaxtyping import Float

from hdt_fm.twin.alert.cusum import NIGHTS_PER_YEAR, nights_between, threshold_for, widened

# Where a climb begins (or half-way to the threshold, if that is lower), and how many of them the ideal counts for.
LEVEL = 1.0
PRIOR_CLIMBS = 40.0


class Budget:
    """Thresholds of `people`, each from their own climbs.

    Args:
        per_year: How often each may be passed in a year that is watched.
        slack: What CUSUM takes off a night's score, in its SDs; so are all thresholds.
    """

    def __init__(self, people: int, *, per_year: float, slack: float) -> None:
        self._slack = slack
        self._ideal = threshold_for(per_year, slack)
        self._level = min(LEVEL, self._ideal / 2)
        self._rate = 1.0 / nights_between(self._level, slack)  # climbs a night, of ideal scores
        self._asked = NIGHTS_PER_YEAR / per_year
        self._nights, self._climbs, self._excess, self._ended = (np.zeros(people) for _ in range(4))
        self._peak, self._cut = np.zeros(people), np.zeros(people, dtype=np.bool_)

    def threshold(self, count: Float[np.ndarray, " person"]) -> Float[np.ndarray, " person"]:
        """For tonight, of a baseline learned from `count` nights."""
        ideal = widened(self._ideal, self._slack, count)
        typical = (ideal - self._level) / math.log(self._asked * self._rate)
        climbs = (self._climbs + PRIOR_CLIMBS) / (self._nights + PRIOR_CLIMBS / self._rate)
        excess = (self._excess + PRIOR_CLIMBS * typical) / (self._ended + PRIOR_CLIMBS)
        found: Float[np.ndarray, " person"] = self._level + excess * np.log(np.maximum(self._asked * climbs, 1.05))
        return found

    def learn(
        self,
        cusum: Float[np.ndarray, " person"],
        threshold: Float[np.ndarray, " person"],
        seen: np.ndarray,
    ) -> None:
        """Tonight's CUSUM of those who are watched and were `seen`, and the threshold it stood before."""
        self._nights += seen
        up = seen & (cusum > self._level)
        self._climbs += up & (self._peak == 0)
        self._cut |= up & (cusum >= threshold)
        over = seen & (cusum <= self._level) & (self._peak > 0)
        self._excess += np.where(over, self._peak - self._level, 0.0)
        # A climb that was cut off at its threshold is known to be at least that high: it adds height, not a case.
        self._ended += over & ~self._cut
        self._cut &= ~over
        self._peak = np.where(over, 0.0, np.where(up, np.maximum(self._peak, np.minimum(cusum, threshold)), self._peak))

    def drop(self, people: np.ndarray) -> None:
        """Forget the climb that goes on, of these people."""
        self._peak[people], self._cut[people] = 0.0, False

"""Two sessions of each person, parted so that no window of one shares a sample, or a moment nearby, with the other."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.schema.errors import ConfigError

ENROLLED, ASKED, NEITHER = 0, 1, -1
# Of a recording without a break, at most this share of it is left out between its halves.
LEFT_OUT = 0.1


@dataclass(frozen=True)
class Sessions:
    """Which session each window is of.

    Attributes:
        session: `ENROLLED`, `ASKED` or `NEITHER` for each window.
        kinds: How the people were parted, by words: how many of each; `left out` are those with too few windows.
    """

    session: Int[np.ndarray, " window"]
    kinds: dict[str, int]


def two_sessions(
    subject: Int[np.ndarray, " window"],
    time_s: Float[np.ndarray, " window"],
    *,
    window_s: float,
    gap_s: float,
    apart_s: float,
    least: int = 2,
) -> Sessions:
    """Part each person's windows in two.

    Where the recording breaks for `gap_s` or longer, the longest break parts it (visits, days). Otherwise its halves
    are taken, with `apart_s` between the end of one and the beginning of the other; less (a tenth of the recording,
    never less than a window) where it is short.

    Args:
        time_s: Start of each window; only differences within a person mean anything.
        least: Windows that a person must have in each session to be linked.

    Raises:
        ConfigError: If fewer than two people have two sessions.
    """
    session = np.full(len(subject), NEITHER)
    kinds: Counter[str] = Counter()
    for person in np.unique(subject):
        own = np.flatnonzero(subject == person)
        before, after, kind = _parted(time_s[own], window_s, gap_s, apart_s)
        if min(before.sum(), after.sum()) < least:
            kinds["left out"] += 1
            continue
        session[own[before]], session[own[after]] = ENROLLED, ASKED
        kinds[kind] += 1
    if sum(kinds.values()) - kinds["left out"] < 2:
        raise ConfigError(
            "Nobody can be told from anyone: fewer than two people have two sessions",
            where="audit.apart_s",
            expected=f"two people with {least} windows before and after a break",
            got=f"{len(np.unique(subject))} people, {kinds['left out']} of them with too few windows",
            fix="take more people or longer recordings, or a smaller audit.apart_s",
        )
    return Sessions(session, dict(kinds))


def _parted(start_s: np.ndarray, window_s: float, gap_s: float, apart_s: float) -> tuple[np.ndarray, np.ndarray, str]:
    order = np.sort(start_s)
    breaks = np.diff(order) - window_s
    if len(breaks) and breaks.max() >= gap_s:
        last = order[breaks.argmax()]
        return start_s <= last, start_s > last, "visits"
    first, end = order[0], order[-1] + window_s
    apart = max(window_s, min(apart_s, LEFT_OUT * (end - first)))
    middle = (first + end) / 2
    return start_s + window_s <= middle - apart / 2, start_s >= middle + apart / 2, "halves of a recording"

"""Simple rules on the resting heart rate, to stand beside ours: the NightSignal rule, and a self-scaled EWMA."""

import numpy as np
from jaxtyping import Bool, Float, Int

from hdt_fm.twin.alert.baseline import quantiles

YELLOW_BPM, RED_BPM = 3.0, 4.0
# Nights before a rule may speak, the same as ours needs.
START = 28


def night_signal(bpm: Float[np.ndarray, "person night"], *, literal: bool = False) -> Int[np.ndarray, "person night"]:
    """0 green, 1 yellow, 2 red: two nights in a row at least 3 (4) bpm over the running median.

    Args:
        literal: As the published script works: bpm and median are cut to whole numbers, tonight is in its own median,
            and a lone missing night is filled in from both sides, thus from tomorrow. Otherwise the rule that it
            stands for: the median of earlier nights, nothing cut, nothing filled in.

    Source: Alavi et al. 2022, Nature Medicine 28; the script is of 2021, Apache-2.0, read and not copied.
    """
    values = np.floor(_filled(np.floor(bpm))) if literal else bpm
    high = np.full((2, *values.shape), False)
    for night in range(START, values.shape[1]):
        usual = quantiles(values[:, : night + literal], (0.5,))[0]
        usual = np.floor(usual) if literal else usual
        for level, least in enumerate((YELLOW_BPM, RED_BPM)):
            high[level, :, night] = values[:, night] >= usual + least
    twice = high.copy()
    twice[:, :, 1:] &= high[:, :, :-1]
    twice[:, :, 0] = False
    found: Int[np.ndarray, "person night"] = np.where(twice[1], 2, np.where(twice[0], 1, 0))
    return found


def self_scaled_ewma(
    bpm: Float[np.ndarray, "person night"], *, share: float = 0.15, limit: float = 0.9
) -> Bool[np.ndarray, "person night"]:
    """An exponentially weighted mean of (night - median) / SD, both of earlier nights, over a limit.

    The defaults give about 2.4 false episodes a year in the plain world, whoever it is; what is fixed is the limit,
    not the budget. Missing nights leave the mean as it is and raise nothing.
    """
    mean = np.zeros(len(bpm))
    alert = np.zeros(bpm.shape, dtype=np.bool_)
    for night in range(START, bpm.shape[1]):
        past = bpm[:, :night]
        known = np.isfinite(past)
        number = np.maximum(known.sum(axis=1), 1)
        center = np.where(known, past, 0).sum(axis=1) / number
        sd = np.sqrt(np.where(known, (past - center[:, None]) ** 2, 0).sum(axis=1) / number)
        step = (bpm[:, night] - quantiles(past, (0.5,))[0]) / np.where(sd > 0, sd, np.nan)
        seen = np.isfinite(step)
        mean = np.where(seen, (1 - share) * mean + share * np.where(seen, step, 0), mean)
        alert[:, night] = seen & (mean > limit)
    return alert


def _filled(bpm: Float[np.ndarray, "person night"]) -> Float[np.ndarray, "person night"]:
    out = bpm.copy()
    lone = np.isnan(bpm[:, 1:-1]) & np.isfinite(bpm[:, :-2]) & np.isfinite(bpm[:, 2:])
    out[:, 1:-1][lone] = ((bpm[:, :-2] + bpm[:, 2:]) / 2)[lone]
    return out

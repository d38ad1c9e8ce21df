"""Whether prepared windows of one recording look like those that a model learned from: unit, way up, rate.

What is declared is compared exactly, and refused where it differs (`check_declared`). What is not declared, or wrongly,
shows in the values alone: `doubts` compares four robust numbers of the recording with those of the training people, and
says how far off they are and what that looks like. It doubts, it does not refuse: a person may be unlike all others.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32
from numpy.typing import NDArray

from hdt_fm.schema.errors import CheckpointError
from hdt_fm.schema.modalities import modality
from hdt_fm.schema.shard import ModalityColumn
from hdt_fm.schema.typical import LEAST_PEOPLE, Spread, Typical
from hdt_fm.signal.polarity import pulse_polarity

MAD_TO_SD = 1.4826
# So many spreads over people from their median is no person; and no less than these, where people are much alike.
FAR, LEAST_LEVEL, LEAST_PACE = 5.0, math.log(2.5), math.log(1.6)
# A side or a lean is one that people have if their median is so many spreads from zero; a recording is turned if it is
# at least this share of it the other way. Slopes of pulses have a sign of their own: there a little is enough.
CLEAR, TURNED, TURNED_PULSE = 1.5, 0.5, 0.1
LEAST_WINDOWS = 3
_PULSES = ("ppg",)


@dataclass(frozen=True)
class Look:
    """The four numbers of one recording (see `Typical`); None where nothing can be said."""

    level: float | None
    side: float | None
    lean: float | None
    pace: float | None


@dataclass(frozen=True)
class Doubt:
    """One thing that is unlike all training people.

    Attributes:
        what: "level", "side", "lean" or "pace".
        ratio: How many times larger or faster than usual; -1 where it is upside down.
        looks_like: In words.
    """

    modality: str
    what: str
    ratio: float
    looks_like: str

    def __str__(self) -> str:
        said = {"level": "as large", "pace": "as fast"}.get(self.what)
        far = f"{self.ratio:.3g} times {said} as in training" if said else "the other way up than in training"
        return f"{self.modality} is {far}: {self.looks_like}"


def look(
    name: str,
    values: Float32[np.ndarray, "window channel time"],
    observed: Bool[np.ndarray, "window time"],
    sampling_rate_hz: float,
) -> Look:
    """Of the windows of one recording, in the modality's unit."""
    known = observed.mean(axis=1) >= 0.5
    if known.sum() < LEAST_WINDOWS:
        return Look(None, None, None, None)
    values, observed = values[known], observed[known]
    one = values.shape[1] == 1
    with np.errstate(all="ignore"):
        inside = np.where(observed[:, None], values, np.nan).astype(np.float64)
        sizes = np.nanmedian(np.sqrt((inside**2).sum(axis=1)), axis=1)
        center = np.nanmedian(inside, axis=2)
        level = float(np.median(sizes))
        pace = _crossings(inside - center[:, :, None]) * sampling_rate_hz
        side = float(np.median(center[:, 0])) / level if one and level > 0 else None
    lean = None
    if one:
        pulses = modality(name).kind in _PULSES
        lean = _pulse(values, observed, sampling_rate_hz) if pulses else _skewness(inside[:, 0])
    return Look(_log(level), side, lean, _log(float(np.median(pace))))


def typical(looks: Sequence[Look]) -> Typical | None:
    """Over people; None of fewer than five."""
    spreads = {name: _spread([getattr(one, name) for one in looks]) for name in ("level", "side", "lean", "pace")}
    if spreads["level"] is None:
        return None
    people = sum(one.level is not None for one in looks)
    return Typical(people=people, **spreads)  # type: ignore[arg-type]


def doubts(name: str, found: Look, usual: Typical) -> tuple[Doubt, ...]:
    """What of a recording is unlike all training people."""
    said = []
    if found.level is not None and (off := _off(found.level, usual.level, LEAST_LEVEL)):
        said.append(Doubt(name, "level", math.exp(off), _unit_like(name, math.exp(off))))
    for what in ("side", "lean"):
        told, own = getattr(usual, what), getattr(found, what)
        if told is not None and own is not None and _turned(own, told, pulse=modality(name).kind in _PULSES):
            said.append(Doubt(name, what, -1.0, "upside down (wired or exported with the other sign)"))
            break
    if found.pace is not None and usual.pace is not None and (off := _off(found.pace, usual.pace, LEAST_PACE)):
        said.append(Doubt(name, "pace", math.exp(off), _rate_like(math.exp(off))))
    return tuple(said)


def from_statistics(center: float, scale: float, channels: int) -> Typical:
    """Of a model that was saved without: how large values are by their center and scale, give or take eight times."""
    level = math.log(math.sqrt(channels) * math.hypot(center, scale / MAD_TO_SD))
    return Typical(people=0, level=Spread(median=level, spread=math.log(8.0) / FAR))


def check_declared(ours: ModalityColumn, theirs: ModalityColumn, *, where: str) -> None:
    """Refuse windows that say themselves that they are of another unit or of other channels than the model's.

    Raises:
        CheckpointError: If they do.
    """
    for what, expected, got in (
        ("unit", ours.unit, theirs.unit),
        ("number of channels", str(ours.channels), str(theirs.channels)),
    ):
        if expected != got:
            raise CheckpointError(
                f"The windows are of another {what} than the model learned from",
                where=f"{where}: {ours.name}",
                expected=expected,
                got=got,
                fix="prepare the recordings as the checkpoint's preprocess.json says",
            )


def _off(found: float, usual: Spread, least: float) -> float:
    """How far off in the logarithm; 0 where it is not far."""
    off = found - usual.median
    return off if abs(off) > max(FAR * usual.spread, least) else 0.0


def _turned(found: float, usual: Spread, *, pulse: bool) -> bool:
    size = abs(usual.median)
    clear = size > CLEAR * usual.spread and size > TURNED_PULSE
    return clear and found * usual.median < 0 and abs(found) > (TURNED_PULSE if pulse else TURNED * size)


def _unit_like(name: str, ratio: float) -> str:
    """The unit that would explain it, of those that the modality is known in."""
    entry = modality(name)
    factors = {f"{unit} taken for {entry.unit}": 1 / scale for unit, (scale, _) in entry.units.items()}
    factors |= {"1000 times too large (milli taken for whole)": 1e3, "1000 times too small": 1e-3}
    best = min(factors, key=lambda words: abs(math.log(ratio / factors[words])))
    near = abs(math.log(ratio / factors[best])) < math.log(2)
    return best if near else "another unit, gain or device"


def _rate_like(ratio: float) -> str:
    return f"recorded at {1 / ratio:.2g} of the rate that it says" if ratio else "another rate"


def _spread(numbers: Sequence[float | None]) -> Spread | None:
    told = np.array([number for number in numbers if number is not None and math.isfinite(number)])
    if len(told) < LEAST_PEOPLE:
        return None
    median = float(np.median(told))
    return Spread(median=median, spread=float(MAD_TO_SD * np.median(np.abs(told - median))))


def _crossings(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the steps of each window that change the side, the mean over channels; unobserved ones do not count."""
    steps = np.sign(values[..., 1:]) * np.sign(values[..., :-1])
    known = np.isfinite(steps)
    changed: NDArray[np.float64] = ((steps < 0) & known).sum(axis=(1, 2)) / np.maximum(known.sum(axis=(1, 2)), 1)
    return changed


def _skewness(values: NDArray[np.float64]) -> float | None:
    with np.errstate(all="ignore"):
        off = values - np.nanmean(values, axis=1, keepdims=True)
        each = np.nanmean(off**3, axis=1) / np.nanmean(off**2, axis=1) ** 1.5
    told = each[np.isfinite(each)]
    return float(np.median(told)) if len(told) else None


def _pulse(values: NDArray[np.float32], observed: NDArray[np.bool_], sampling_rate_hz: float) -> float | None:
    """Skewness of the slopes of pulses; windows are apart, so that no slope is from one to the next."""
    gap = np.zeros((len(values), 1, 1), np.float32)
    joined = np.concatenate([values, gap], axis=2).transpose(1, 0, 2).reshape(1, -1)
    known = np.concatenate([observed, gap[:, 0].astype(np.bool_)], axis=1).reshape(-1)
    return pulse_polarity(joined, known, sampling_rate_hz) or None


def _log(number: float) -> float | None:
    return math.log(number) if math.isfinite(number) and number > 0 else None

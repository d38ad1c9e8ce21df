"""What an explanation holds: maps, the windows that they belong to, and the checks that they had to pass."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

EXPLANATION_VERSION = 2
Verdict = Literal["pass", "warn", "fail"]
_ORDER: tuple[Verdict, ...] = ("pass", "warn", "fail")


def worst(verdicts: list[Verdict]) -> Verdict:
    """The worst of some verdicts; `fail` when there is none, since nothing was checked."""
    return max(verdicts, key=_ORDER.index, default="fail")


@dataclass(frozen=True)
class Check:
    """One test of the maps.

    Attributes:
        value: The number that was judged; NaN where the test could not be run.
        rule: The thresholds in words.
        meaning: What the number says, in one plain sentence.
        detail: Further numbers, e.g. one a stage or a pair.
    """

    name: str
    verdict: Verdict
    value: float
    rule: str
    meaning: str
    detail: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Reliability:
    """All tests; the verdict is the worst of them."""

    checks: tuple[Check, ...]

    @property
    def verdict(self) -> Verdict:
        return worst([check.verdict for check in self.checks])

    def find(self, name: str) -> Check:
        """The test of a name; raises KeyError when it was not run."""
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(f"no check {name!r}")


@dataclass(frozen=True)
class SignalView:
    """One modality of the explained windows, in its canonical unit."""

    label: str
    unit: str
    sampling_rate_hz: float
    values: NDArray[np.float32]  # (window, channel, time)
    observed: NDArray[np.bool_]  # (window, time)


@dataclass(frozen=True)
class MethodMap:
    """Signed credit of one method for every sample; exactly 0 where nothing was observed.

    Attributes:
        values: Per modality (window, channel, time). A sum over samples is in the unit of the output (of occlusion
            nearly); for saliency it is output per standard deviation, for layer activation it has no such unit.
        delta: |sum - (output - reference output)| per window, for methods that promise a sum.
        path: How finely the line from the reference had to be read (0 is plain).
    """

    method: str
    values: Mapping[str, NDArray[np.float32]]
    delta: NDArray[np.float64] | None = None
    path: int = 0


@dataclass(frozen=True)
class Explanation:
    """Maps of some windows of one subject or cohort, for one output.

    Attributes:
        target: What the output is, in words. `target_index`: its column.
        reference: How the reference input was made.
        segments: Stretches of equal length that a window is cut into for occlusion and for comparisons.
        person: (window,) whose it is, numbered from 0 in order of appearance; in no file.
        output, reference_output: The output for each window and for its reference.
        provenance: Digests and versions; nothing about a person.
        against: The reference as `attribute` was given it, to make the same map again; in no file.
    """

    target: str
    target_index: int
    reference: str
    segments: int
    window_s: float
    modalities: tuple[str, ...]
    present: NDArray[np.bool_]
    person: NDArray[np.int64]
    signals: Mapping[str, SignalView]
    output: NDArray[np.float64]
    reference_output: NDArray[np.float64]
    maps: tuple[MethodMap, ...]
    settings: Mapping[str, int | str] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
    reliability: Reliability | None = None
    against: Any = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.output)

    def find(self, method: str) -> MethodMap:
        """The map of a method; raises KeyError when it was not made."""
        for one in self.maps:
            if one.method == method:
                return one
        raise KeyError(f"no map by {method!r}")

    def shares(self, method: str) -> NDArray[np.float64]:
        """Share of |credit| per (window, modality): sums to 1, 0 where absent, all 0 for a map of zeros."""
        total = np.zeros(self.present.shape)
        for column, name in enumerate(self.modalities):
            if name in self.find(method).values:
                total[:, column] = np.abs(self.find(method).values[name]).sum((1, 2), dtype=np.float64)
        whole = total.sum(1, keepdims=True)
        return np.divide(total, whole, out=np.zeros_like(total), where=whole > 0)

    def by_segment(self, method: str) -> dict[str, NDArray[np.float64]]:
        """Credit summed over segments: per modality (window, channel, segment)."""
        return {name: segment_sums(values, self.segments) for name, values in self.find(method).values.items()}

    def examples(self, count: int = 3) -> tuple[int, ...]:
        """Windows to show: those of the lowest, the middle and the highest output (fewer when there are fewer)."""
        order = np.argsort(self.output, kind="stable")
        picks = np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)
        return tuple(int(order[pick]) for pick in picks)

    def mean_shares(self, method: str) -> dict[str, tuple[float, int]]:
        """Per modality: mean share over the windows that hold it, and how many those are; NaN and 0 for none."""
        shares = self.shares(method)
        out = {}
        for column, name in enumerate(self.modalities):
            here = self.present[:, column]
            out[name] = (float(shares[here, column].mean()) if here.any() else float("nan"), int(here.sum()))
        return out

    def to_dict(self, *, withhold_waveforms: bool = False) -> dict[str, Any]:
        """Plain data of the report; samples are given for the example windows only, and not when withheld."""
        shown = () if withhold_waveforms else self.examples()
        segments = {one.method: self.by_segment(one.method) for one in self.maps}
        return {
            "version": EXPLANATION_VERSION,
            "target": {"name": self.target, "index": self.target_index},
            "reference": self.reference,
            "window_s": self.window_s,
            "segments": self.segments,
            "settings": dict(self.settings),
            "reliability": _reliability(self.reliability),
            "shares": {
                one.method: {
                    name: {"mean": _number(m), "n": n} for name, (m, n) in self.mean_shares(one.method).items()
                }
                for one in self.maps
            },
            "windows": [self._window(k, segments, samples=k in shown) for k in range(len(self))],
            "provenance": dict(self.provenance),
        }

    def _window(
        self, row: int, segments: Mapping[str, Mapping[str, NDArray[np.float64]]], *, samples: bool
    ) -> dict[str, Any]:
        here = {name: bool(self.present[row, column]) for column, name in enumerate(self.modalities)}
        window: dict[str, Any] = {
            "output": _number(self.output[row]),
            "reference_output": _number(self.reference_output[row]),
            "present": here,
            "by_segment": {
                method: {m: _numbers(v[row]) for m, v in found.items() if here[m]} for method, found in segments.items()
            },
            "completeness_delta": {m.method: _number(m.delta[row]) for m in self.maps if m.delta is not None},
        }
        if samples:
            window["samples"] = {m: self._samples(m, row) for m in self.signals if here[m]}
        return window

    def _samples(self, name: str, row: int) -> dict[str, Any]:
        signal = self.signals[name]
        seen = signal.observed[row]
        values = np.where(seen, signal.values[row], np.nan)
        return {
            "unit": signal.unit,
            "sampling_rate_hz": signal.sampling_rate_hz,
            "values": _numbers(values),
            "credit": {one.method: _numbers(one.values[name][row]) for one in self.maps},
        }


def segment_of(samples: int, segments: int) -> NDArray[np.int64]:
    """Which segment each sample belongs to; never more segments than samples."""
    return np.arange(samples) * min(segments, samples) // samples


def segment_sums(values: NDArray[np.float32], segments: int) -> NDArray[np.float64]:
    """Sum over each segment of the last axis."""
    index = segment_of(values.shape[-1], segments)
    first = np.flatnonzero(np.diff(index, prepend=-1))
    return np.add.reduceat(values.astype(np.float64), first, axis=-1)


def _reliability(reliability: Reliability | None) -> dict[str, Any] | None:
    if reliability is None:
        return None
    checks = [
        {
            "name": check.name,
            "verdict": check.verdict,
            "value": _number(check.value),
            "rule": check.rule,
            "meaning": check.meaning,
            "detail": {key: _number(value) for key, value in check.detail.items()},
        }
        for check in reliability.checks
    ]
    return {"verdict": reliability.verdict, "checks": checks}


def _number(value: float) -> float | None:
    return float(f"{value:.6g}") if np.isfinite(value) else None


def _numbers(values: NDArray[Any]) -> list[Any]:
    return [_numbers(row) for row in values] if values.ndim > 1 else [_number(value) for value in values.tolist()]


def plain(value: Any) -> Any:
    """Data that JSON can hold: arrays become lists, numbers six digits, and what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    return _number(value) if isinstance(value, float) else value

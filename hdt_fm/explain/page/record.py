"""The report as data: what its JSON file holds, and the versions of what made it."""

from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdt_fm import __version__
from hdt_fm.explain.explanation import Explanation, SignalView, plain
from hdt_fm.explain.page.report import Report
from hdt_fm.explain.page.shares import Share, modality_shares
from hdt_fm.explain.page.summary import agreement_of_references, summary

_SOFTWARE = ("torch", "captum", "numpy")
# A report is no export of a recording: longer windows are told in blocks, so that a day of ECG stays a small file.
MOST_SAMPLES = 2048


def record_of(report: Report) -> dict[str, Any]:
    """Plain data; samples of the example windows only, and none where waveforms are withheld.

    Of a cohort only the example windows are told one by one: the others are in the shares.
    """
    made = replace(report.explanation, reliability=report.reliability)
    told = made.to_dict(withhold_waveforms=True)
    intervals, shown = report.output_interval, () if report.withheld else made.examples()
    for row, window in enumerate(told["windows"]):
        window["output_interval"] = None if intervals is None else plain(intervals[row])
        window["events"] = {} if report.withheld else {kind: plain(times[row]) for kind, times in report.events.items()}
        if row in shown:
            here = [name for name in made.signals if made.present[row, made.modalities.index(name)]]
            window["samples"] = {name: _samples(made, made.signals[name], name, row) for name in here}
    if report.scope == "cohort":
        told["windows"] = [told["windows"][row] for row in made.examples()]
    words = summary(report)
    return told | {
        "title": report.title,
        "scope": report.scope,
        "window_count": len(made),
        "people": report.people if report.scope == "cohort" else None,
        "output_unit": report.output_unit,
        "summary": [words.asked, words.trust, *words.carries],
        "cautions": [*words.cautions, *(one for section in report.sections for one in section.cautions)],
        "shares": _shares(report, made, tuple(report.methods)),
        "alternative": _alternative(report),
        "software": software(),
        "sections": {one.key: plain(one.record) for one in report.sections},
    }


def software() -> dict[str, str]:
    """Versions of what computes credit; `not installed` where a library is not there."""
    found = {"hdt_fm": __version__}
    for name in _SOFTWARE:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _samples(made: Explanation, signal: SignalView, name: str, row: int) -> dict[str, Any]:
    """Values and credit of a window: each block's mean of what was measured, and its sum of credit."""
    every = -(-signal.values.shape[-1] // MOST_SAMPLES)
    return {
        "unit": signal.unit,
        "sampling_rate_hz": signal.sampling_rate_hz,
        "block": every,
        "values": plain(_block_means(signal.values[row], signal.observed[row], every)),
        "credit": {one.method: plain(_block_sums(one.values[name][row], every)) for one in made.maps},
    }


def _block_sums(values: NDArray[np.floating], every: int) -> NDArray[np.float64]:
    return np.add.reduceat(values.astype(np.float64), np.arange(0, values.shape[-1], every), axis=-1)


def _block_means(values: NDArray[np.float32], seen: NDArray[np.bool_], every: int) -> NDArray[np.float64]:
    """NaN for a block of which nothing was measured."""
    count = _block_sums(seen.astype(np.float64), every)
    total = _block_sums(np.where(seen, values, 0.0), every)
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def _shares(report: Report, made: Explanation, methods: tuple[str, ...]) -> dict[str, Any]:
    return {
        method: {name: _share(one) for name, one in modality_shares(made, method, report.scope).items()}
        for method in methods
    }


def _share(share: Share) -> dict[str, Any]:
    """Nothing but its being hidden of a share that rests on too few people."""
    there = not share.hidden
    return {
        "mean": plain(float(share.mean)),
        "low": plain(float(share.low)),
        "high": plain(float(share.high)),
        "n": share.windows if there else None,
        "people": share.people if there else None,
        "hidden": share.hidden,
    }


def _alternative(report: Report) -> dict[str, Any] | None:
    other = report.alternative
    if other is None:
        return None
    return {
        "reference": other.reference,
        "rank_correlation": plain(agreement_of_references(report)),
        "reference_output": plain(other.reference_output[list(report.explanation.examples())]),
        "shares": _shares(report, other, (report.lead.name,)),
    }

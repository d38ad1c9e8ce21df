"""The report in a few plain sentences: what was asked, how far to trust the answer, and the answer."""

from dataclasses import dataclass

import numpy as np

from hdt_fm.explain.explanation import Check, Reliability
from hdt_fm.explain.gate.judge import mean_rank
from hdt_fm.explain.page.axis import TimeAxis
from hdt_fm.explain.page.report import Report
from hdt_fm.explain.page.shares import MINIMUM_CELL, Share, channel_shares, modality_shares

REFERENCES = {
    "window_mean": "each channel's mean over the window, that is the same level without a waveform",
    "zero": "zero in the unit of each signal",
    "others": "windows of other people, one after the other",
}
_NAMED = {"others": "windows of other people"}


@dataclass(frozen=True)
class Summary:
    """Sentences of the report's head. `carries` is empty where no credit was found."""

    asked: str
    trust: str
    carries: tuple[str, ...]
    cautions: tuple[str, ...]


def summary(report: Report) -> Summary:
    """In plain words, without a number that the page does not show."""
    return Summary(_asked(report), _trust(report), tuple(_carries(report)), tuple(_cautions(report)))


def percent(share: Share) -> str:
    """A share, and in brackets its 95 % interval where there is one."""
    if not np.isfinite(share.mean):
        return "not shown"
    if not np.isfinite(share.low):
        return f"{100 * share.mean:.0f} %"
    return f"{100 * share.mean:.0f} % ({100 * share.low:.0f} to {100 * share.high:.0f} %)"


def whose(report: Report) -> str:
    """How many windows of whom."""
    count, length = len(report.explanation), TimeAxis.of(report.explanation.window_s).words
    windows = f"{count} window{'s' if count != 1 else ''} of {length}"
    if report.scope == "cohort":
        return f"{windows}, of {report.people} people"
    return f"{windows} of one person" if report.scope else windows


def named(reference: str) -> str:
    """A reference in a word or two."""
    return _NAMED.get(reference, reference.replace("_", " "))


def over(report: Report) -> str:
    """What the intervals of the report are over."""
    return {"cohort": "over people", "person": "over windows"}.get(report.scope or "", "")


def agreement_of_references(report: Report) -> float | None:
    """Mean over windows of the rank correlation, by segment, of the leading map against both references."""
    if report.alternative is None:
        return None
    maps = [one.by_segment(report.lead.name) for one in (report.explanation, report.alternative)]
    names = [name for name in maps[0] if name in maps[1]]
    flat = [np.concatenate([m[n].reshape(len(m[n]), -1) for n in names], axis=1) for m in maps]
    rows = [(a != 0) | (b != 0) for a, b in zip(*flat, strict=True)]
    return mean_rank(*([one[r] for one, r in zip(side, rows, strict=True)] for side in flat))


def _asked(report: Report) -> str:
    return f"What moved the model's output “{report.explanation.target}” in {whose(report)}."


def _trust(report: Report) -> str:
    told = {
        "pass": "All tests passed: the maps are consistent with the model. That does not make the model right.",
        "warn": "No test failed, but not every test gave full assurance.",
        "fail": "At least one test failed: do not use the figures to understand a person.",
    }[report.verdict]
    failed = [f"{check.name.capitalize()}: {check.meaning}" for check in _short_of(report, "fail")]
    warned = [check.name for check in _short_of(report, "warn")]
    return " ".join([told, *failed, *([f"With a warning: {', '.join(warned)}."] if warned else [])]).replace("_", " ")


def worst_first(reliability: Reliability) -> list[Check]:
    """Tests that failed, then those with a warning, then the others, else in the order of the gate."""
    return sorted(reliability.checks, key=lambda check: ("fail", "warn", "pass").index(check.verdict))


def _short_of(report: Report, verdict: str) -> list[Check]:
    return [check for check in report.reliability.checks if check.verdict == verdict]


def _carries(report: Report) -> list[str]:
    shares = {
        name: modality_shares(report.explanation, name, report.scope)
        for name, method in report.methods.items()
        if method.of_output or method is report.lead
    }
    lead = report.lead
    known = {name: one for name, one in shares[lead.name].items() if np.isfinite(one.mean) and one.mean > 0}
    if not known:
        return []
    top = max(known, key=lambda name: known[name].mean)
    label = known[top].label
    found = [f"By {lead.title}, most credit lies on {label}: {percent(known[top])}{_explained(report, known[top])}."]
    found += _channel(report, known[top])
    if len(shares) > 1 and len(known) > 1:
        same = sum(_first(one) == top for one in shares.values())
        found.append(f"{same} of {len(shares)} methods put {label} first.")
    alike = agreement_of_references(report)
    if report.alternative is not None and alike is not None:
        other = modality_shares(report.alternative, lead.name, report.scope)[top]
        found.append(
            f"Against another reference ({named(report.alternative.reference)}) {label} holds "
            f"{percent(other)}; the two rank stretches alike to {alike:.2f} (1 is the same order)."
        )
    return found


def _channel(report: Report, top: Share) -> list[str]:
    """Which of its channels, where the signal that carries most has several."""
    channels = channel_shares(report.explanation, report.lead.name, report.scope)
    own = {channel: one for (name, channel), one in channels.items() if (name,) == top.modalities}
    if len(own) < 2:
        return []
    best = max(own, key=lambda channel: own[channel].mean)
    return [f"Of its {len(own)} channels channel {best + 1} holds most: {percent(own[best])}."]


def _explained(report: Report, share: Share) -> str:
    return f"; in brackets the 95 % interval {over(report)}" if np.isfinite(share.low) else ""


def _first(shares: dict[str, Share]) -> str:
    return max(shares, key=lambda name: shares[name].mean if np.isfinite(shares[name].mean) else -1.0)


def _cautions(report: Report) -> list[str]:
    found = []
    if report.scope == "person":
        few = len(report.explanation) < MINIMUM_CELL
        found.append(
            "There are too few windows for an interval."
            if few
            else "Intervals are over the windows of this one person, which resemble each other: they say nothing about "
            "another day or another person."
        )
    if report.scope == "cohort":
        found.append(
            "Shares are means over people, each counted once. The example windows are of single people: they are "
            "examples, not the cohort."
        )
    return found

"""Planted signal: a method that misses what is known to be there cannot be read where nothing is known."""

from hdt_fm.explain.explanation import Check
from hdt_fm.explain.gate.exam import Exam

_WORDS = {"pass": "finds", "warn": "finds only in part", "fail": "does not find"}


def check(exam: Exam) -> Check:
    """Repeat what was measured for the leading method; what was not measured is never a pass."""
    rule = "as measured on planted signals with this architecture; warn when not measured"
    found = [one for one in exam.fitness if one.method == exam.lead]
    if not found:
        meaning = "Not measured for this method and this architecture: it may miss what is there."
        return Check("planted signal", "warn", float("nan"), rule, meaning)
    one = found[0]
    meaning = (
        f"In models of this kind ({one.architecture}) the method {_WORDS[one.verdict]} what was planted: AUPRC "
        f"{one.auprc:.2f}, at least {one.low:.2f}, where a random map scores {one.null:.2f}."
    )
    detail = {"AUPRC": one.auprc, "low": one.low, "random map": one.null, "share on the true channel": one.share}
    return Check("planted signal", one.verdict, one.auprc, rule, meaning, detail)

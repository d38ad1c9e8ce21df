"""Numbers: never without a baseline or an interval, and in the card the same as in result.json."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from hdt_fm.report.documents.readme import NAME, RESULTS_END, RESULTS_START, evaluation, in_header
from hdt_fm.report.facts import RESULT_NAME
from hdt_fm.report.rules.folder import Folder
from hdt_fm.schema.errors import PublishError
from hdt_fm.schema.result import Result


def baselines(folder: Folder) -> Iterator[str]:
    """Numbers of ours that stand alone."""
    if folder.facts:
        yield from result_problems(folder.facts.results)


def result_problems(results: Sequence[Result]) -> list[str]:
    """Numbers of ours without a baseline beside them, or without an interval."""
    problems = []
    for result in results:
        beside = {(row.what, row.metric) for row in result.rows if row.role != "ours"}
        ours = [row for row in result.rows if row.role == "ours"]
        alone = [row for row in ours if (row.what, row.metric) not in beside]
        bare = [row for row in ours if math.isfinite(row.value) and not _has_interval(row.low, row.high)]
        if not ours:
            problems.append(f"{result.name} holds no number of this model")
        if alone:
            problems.append(f"{result.name} has {len(alone)} numbers without a baseline, e.g. {_row_name(alone[0])}")
        if bare:
            problems.append(f"{result.name} has {len(bare)} numbers without an interval, e.g. {_row_name(bare[0])}")
    return problems


def card_numbers(folder: Folder) -> Iterator[str]:
    """The card's tables and header against the results that they claim to show."""
    path = folder.path / NAME
    if not folder.facts or not path.is_file():
        return
    card, results = path.read_text(encoding="utf-8", errors="replace"), folder.facts.results
    start, end = card.find(RESULTS_START), card.find(RESULTS_END)
    try:
        wanted = evaluation(results)
    except PublishError:
        return  # `baselines` says why
    if start < 0 or end < start:
        yield f"{NAME} has lost the marks around its tables"
    elif folder.of_today and card[start : end + len(RESULTS_END)] != wanted:
        yield f"a number in the tables of {NAME} differs from {RESULT_NAME}"
    if _metric_values(card) != sorted(row.value for one in results for row in one.rows if in_header(one, row)):
        yield f"a number in the header of {NAME} differs from {RESULT_NAME}"


def _has_interval(low: float | None, high: float | None) -> bool:
    return low is not None and high is not None and math.isfinite(low) and math.isfinite(high)


def _row_name(row: Any) -> str:
    return f"{row.what} / {row.model} / {row.metric}"


def _metric_values(card: str) -> list[float]:
    from huggingface_hub import ModelCard

    try:
        results = getattr(ModelCard(card).data, "eval_results", None) or []
        return sorted(float(one.metric_value) for one in results)
    except Exception:  # whatever a hand-edited header makes its parser raise, the numbers are not there
        return []

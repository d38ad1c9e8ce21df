"""What stands between a folder and its publication: every reason why it may not go out, in words."""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, model_serializer

from hdt_fm.report.card import (
    RESULTS_END,
    RESULTS_START,
    CardFacts,
    DataFacts,
    evaluation,
    in_header,
    refuse_unready,
    render,
)
from hdt_fm.report.updates import Updates
from hdt_fm.schema.errors import HdtError, PublishError
from hdt_fm.schema.manifest import (
    CONFIG_NAME,
    PREPROCESS_NAME,
    PROBE_NAME,
    SUMS_NAME,
    WEIGHTS_NAME,
    ModelConfig,
    Preprocess,
)
from hdt_fm.schema.preparation import Plain
from hdt_fm.schema.privacy import private_traces
from hdt_fm.schema.result import RESULT_VERSION, Result, RunRecord

CARD_NAME, RESULT_NAME, PROVENANCE_NAME, LICENCE_NAME = "README.md", "result.json", "provenance.json", "LICENSE"
CHECKPOINT_NAMES = (WEIGHTS_NAME, CONFIG_NAME, PREPROCESS_NAME, PROBE_NAME)
MADE_NAMES = (CARD_NAME, RESULT_NAME, PROVENANCE_NAME, LICENCE_NAME)
_PLACEHOLDER = re.compile(
    r"\b(?:TODO|TBD|FIXME|XXX)\b|\?\?\?|\[more information needed\]|lorem ipsum|\bchange me\b"
    r"|<(?:your|fill|insert|add|name|describe)\b[^>]*>",
    re.IGNORECASE,
)
_MOST_HEADER_BYTES = 2**26


class Published(Plain):
    """`result.json` of a published folder: every Result of the evaluation, unrounded, with its intervals."""

    version: int = RESULT_VERSION
    results: tuple[Result, ...] = Field(min_length=1)


class Provenance(Plain):
    """`provenance.json`: all that the card was made from, besides the checkpoint and the results.

    Attributes:
        updates: Of heads that went on learning after these records.
    """

    version: int = RESULT_VERSION
    card: CardFacts
    data: tuple[DataFacts, ...]
    records: tuple[RunRecord, ...]
    updates: Updates | None = None

    @model_serializer(mode="wrap")
    def _plain(self, handler: Any) -> dict[str, Any]:
        # A model without updates is written as it always was, so that an earlier hdt_fm can read it.
        written = handler(self)
        return written if self.updates else {key: value for key, value in written.items() if key != "updates"}


def check(folder: Path, *, forbidden: Iterable[str] = ()) -> list[str]:
    """Every problem that a published folder has; empty when it may go out.

    Args:
        forbidden: Words that must not stand in any text, such as the raw ids of a cohort.
    """
    folder = Path(folder)
    missing = [name for name in (*CHECKPOINT_NAMES, *MADE_NAMES, SUMS_NAME) if not (folder / name).is_file()]
    if missing:
        return [f"missing: {', '.join(missing)}"]
    return [*verify_sums(folder), *_texts(folder, tuple(forbidden)), *_contents(folder)]


def verify_sums(folder: Path) -> list[str]:
    """Files that SHA256SUMS does not list, lists without need, or no longer fits."""
    listed = dict(_sum_lines(folder / SUMS_NAME))
    there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    there.pop(SUMS_NAME, None)
    problems = [f"{name} is not listed in {SUMS_NAME}" for name in sorted(there.keys() - listed.keys())]
    problems += [f"{SUMS_NAME} lists {name}, which is not there" for name in sorted(listed.keys() - there.keys())]
    for name in sorted(there.keys() & listed.keys()):
        if digest_of(there[name]) != listed[name]:
            problems.append(f"{name} differs from its digest in {SUMS_NAME}")
    return problems


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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


def _has_interval(low: float | None, high: float | None) -> bool:
    return low is not None and high is not None and math.isfinite(low) and math.isfinite(high)


def _row_name(row: Any) -> str:
    return f"{row.what} / {row.model} / {row.metric}"


def _sum_lines(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        digest, _, name = line.partition("  ")
        yield name, digest


def _texts(folder: Path, forbidden: tuple[str, ...]) -> Iterator[str]:
    for name in (CONFIG_NAME, PREPROCESS_NAME, *MADE_NAMES, SUMS_NAME):
        text = (folder / name).read_text(encoding="utf-8", errors="replace")
        yield from (f"{name} holds {kind}" for kind in private_traces(text, forbidden=forbidden))
        if _PLACEHOLDER.search(text):
            yield f"{name} holds a placeholder that was not filled in"
    for name in (WEIGHTS_NAME, PROBE_NAME):
        header = _safetensors_header(folder / name)
        if header is None:
            yield f"{name} is not a safetensors file"
        else:
            yield from (f"the header of {name} holds {kind}" for kind in private_traces(header, forbidden=forbidden))


def _safetensors_header(path: Path) -> str | None:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if not 2 <= size <= min(_MOST_HEADER_BYTES, path.stat().st_size - 8):
            return None
        header = file.read(size).decode("utf-8", errors="replace")
    try:
        return header if isinstance(json.loads(header), dict) else None
    except ValueError:
        return None


def _contents(folder: Path) -> Iterator[str]:
    try:
        results = Published.model_validate_json((folder / RESULT_NAME).read_bytes()).results
        provenance = Provenance.model_validate_json((folder / PROVENANCE_NAME).read_bytes())
        config = ModelConfig.model_validate_json((folder / CONFIG_NAME).read_bytes())
        preprocess = Preprocess.model_validate_json((folder / PREPROCESS_NAME).read_bytes())
    except (ValueError, HdtError) as error:
        yield f"a file breaks its contract: {_first_line(error)}"
        return
    if config.modalities != preprocess.modalities:
        yield f"{CONFIG_NAME} and {PREPROCESS_NAME} describe other signals"
    yield from result_problems(results)
    try:
        refuse_unready(provenance.card, provenance.data)
        made_from = provenance.card, provenance.data, provenance.records, results, config, preprocess
        wanted = render(*made_from, updates=provenance.updates)
    except HdtError as error:
        yield f"the card cannot be made: {_first_line(error)}"
        return
    yield from _card_problems((folder / CARD_NAME).read_text(encoding="utf-8"), wanted, results)


def _card_problems(card: str, wanted: str, results: Sequence[Result]) -> Iterator[str]:
    """The card against the results that it claims to show, and against the records as a whole."""
    start, end = card.find(RESULTS_START), card.find(RESULTS_END)
    if start < 0 or end < start:
        yield f"{CARD_NAME} has lost the marks around its tables"
    elif card[start : end + len(RESULTS_END)] != evaluation(results):
        yield f"a number in the tables of {CARD_NAME} differs from {RESULT_NAME}"
    if _metric_values(card) != sorted(row.value for one in results for row in one.rows if in_header(one, row)):
        yield f"a number in the header of {CARD_NAME} differs from {RESULT_NAME}"
    if card != wanted:
        lines = zip(card.splitlines(), wanted.splitlines(), strict=False)
        place = next((k for k, (a, b) in enumerate(lines, start=1) if a != b), len(card.splitlines()))
        yield f"{CARD_NAME} is not what the records give; it first differs in line {place}"


def _metric_values(card: str) -> list[float]:
    from huggingface_hub import ModelCard

    try:
        results = getattr(ModelCard(card).data, "eval_results", None) or []
        return sorted(float(one.metric_value) for one in results)
    except Exception:  # whatever a hand-edited header makes its parser raise, the numbers are not there
        return []


def _first_line(error: Exception) -> str:
    if isinstance(error, PublishError):
        return error.problem
    return (str(error).splitlines() or [type(error).__name__])[0]

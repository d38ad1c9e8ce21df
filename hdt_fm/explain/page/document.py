"""The report as files: a page that needs nothing else, its data, and pictures of it; all of them or none."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hdt_fm.explain.page.axis import TimeAxis, short, signed
from hdt_fm.explain.page.drawing import share_bar
from hdt_fm.explain.page.examples import examples
from hdt_fm.explain.page.glossary import TESTS
from hdt_fm.explain.page.palette import COLOURS
from hdt_fm.explain.page.record import record_of, software
from hdt_fm.explain.page.report import Report
from hdt_fm.explain.page.shares import MINIMUM_CELL, modality_shares
from hdt_fm.explain.page.stamp import FAILED, stamped
from hdt_fm.explain.page.summary import REFERENCES, named, over, percent, summary, whose, worst_first
from hdt_fm.explain.page.windows import waves_of, windows_of
from hdt_fm.schema.errors import ExplainError
from hdt_fm.schema.privacy import private_traces

HTML_NAME, JSON_NAME = "explanation.html", "explanation.json"
PDF_NAME, PNG_NAME = "explanation.pdf", "explanation.png"
# What a reader needs to find the same thing again; the page says of each one that was not given that it was not.
STATED = {
    "checkpoint": "Checkpoint digest",
    "config": "Config digest",
    "shards": "Data manifest digest",
    "split": "Split",
    "consent": "Consent scope",
}
_TEMPLATES = Path(__file__).parent / "templates"


def html(report: Report) -> str:
    """The page as text: no script, no outside resource, no id, no clock time.

    Raises:
        ExplainError: If a text given for it holds a private trace.
    """
    return _page(report)


def write_report(report: Report, folder: Path, *, pictures: bool = True) -> tuple[Path, Path]:
    """Write `explanation.html` and `.json`, and `.pdf` and `.png` unless `pictures` is False; all of them or none.

    Returns:
        The page and the record; pictures lie beside them under `PDF_NAME` and `PNG_NAME`.

    Raises:
        ExplainError: As `html`.
    """
    record = _screened(json.dumps(record_of(report), separators=(",", ":"), allow_nan=False) + "\n", JSON_NAME).encode()
    page = _page(report, digest=hashlib.sha256(record).hexdigest())
    files = {HTML_NAME: page.encode(), JSON_NAME: record}
    if pictures:
        # The page was screened, and pictures hold no word that it does not.
        from hdt_fm.explain.page import picture

        files |= {PDF_NAME: picture.pdf(report), PNG_NAME: picture.png(report)}
    _write_together(folder, files)
    return folder / HTML_NAME, folder / JSON_NAME


def _page(report: Report, *, digest: str = "") -> str:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"short": short, "signed": signed}
    made = report.explanation
    page = environment.get_template("page.html.j2").render(
        report=report,
        title=report.title,
        explanation=made,
        reliability=report.reliability,
        sections=report.sections,
        withheld=report.withheld,
        summary=summary(report),
        whose=whose(report),
        over=over(report),
        reference=REFERENCES.get(made.reference, named(made.reference)),
        named=named,
        stated={words: made.provenance.get(key, "not stated") for key, words in STATED.items()},
        further={key: value for key, value in made.provenance.items() if key not in STATED},
        software=software(),
        shares=_share_rows(report),
        minimum_cell=MINIMUM_CELL,
        axis=TimeAxis.of(made.window_s),
        waves=waves_of(report, examples(report)),
        windows=windows_of(report),
        test_words=TESTS,
        worst_first=worst_first,
        colour=COLOURS,
        failed=FAILED,
        digest=digest,
    )
    return _screened(stamped(page) if report.verdict == "fail" else page, HTML_NAME)


def _screened(text: str, where: str) -> str:
    traces = private_traces(text, dates=True)
    if traces:
        raise ExplainError(
            f"The report would hold {', '.join(traces)}",
            where=where,
            expected="no id, path, address or date of a person or machine",
            fix="leave it out of the title, the target's name, the sections and the provenance",
        )
    return text


def _share_rows(report: Report) -> list[dict[str, Any]]:
    """Per modality: its share by the leading method with a bar, and by each further one in words."""
    lead, *further = (modality_shares(report.explanation, name, report.scope) for name in report.methods)
    rows = []
    for name, share in lead.items():
        shown = share.windows > 0 and not share.hidden
        rows.append(
            {
                "label": share.label,
                "share": share,
                "count": share.people if report.scope == "cohort" else share.windows,
                "words": percent(share) if shown else "",
                "bar": share_bar(share.mean, share.low, share.high) if shown else "",
                "further": [percent(one[name]) if shown else "not shown" for one in further],
            }
        )
    return rows


def _write_together(folder: Path, files: Mapping[str, bytes]) -> None:
    """All contents are on disk before the first file takes its name."""
    folder.mkdir(parents=True, exist_ok=True)
    fresh = {name: folder / f".{name}.{os.getpid()}" for name in files}
    try:
        for name, content in files.items():
            fresh[name].write_bytes(content)
        for name in files:
            os.replace(fresh[name], folder / name)
    finally:
        for path in fresh.values():
            path.unlink(missing_ok=True)

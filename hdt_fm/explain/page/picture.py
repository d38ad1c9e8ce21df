"""The report as a PDF of a few pages and as one PNG, for those who print it or send pictures."""

from io import BytesIO

import numpy as np

from hdt_fm.explain.page.axis import short
from hdt_fm.explain.page.channel_sheet import MARGIN, block, draw_channels
from hdt_fm.explain.page.examples import Example, examples, scales
from hdt_fm.explain.page.palette import COLOURS, SIZE
from hdt_fm.explain.page.report import Report
from hdt_fm.explain.page.shares import modality_shares
from hdt_fm.explain.page.sheet import Sheet
from hdt_fm.explain.page.stamp import FAILED
from hdt_fm.explain.page.summary import named, over, percent, summary, worst_first
from hdt_fm.explain.page.windows import directed, with_unit

_PAPER = (8.27, 11.69)
_DPI = 120
# Of a channel's sheet what its head and foot take (inches); most channels in the PNG.
_HEAD_AND_FOOT, _MOST_IN_PNG = 2.2, 7
FOOT = "Research use only: not a medical device. A map shows what moved a model's output, not what causes anything."


def pdf(report: Report) -> bytes:
    """Summary and tests, shares, then the example windows; equal reports give equal bytes."""
    from matplotlib.backends.backend_pdf import PdfPages

    out = BytesIO()
    unsaid = {"CreationDate": None, "Creator": None, "Producer": None}
    with PdfPages(out, metadata={**unsaid, "Title": report.title}) as pages:
        for sheet in sheets(report):
            pages.savefig(sheet.figure)
    return out.getvalue()


def png(report: Report) -> bytes:
    """The window of the highest output under the verdict, so that neither is sent without the other."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    sheet = leading_window(report)
    sheet.figure.dpi = _DPI
    out = BytesIO()
    FigureCanvasAgg(sheet.figure).print_png(out, metadata={"Software": None})
    return out.getvalue()


def sheets(report: Report) -> list[Sheet]:
    """The pages of the PDF."""
    shown = examples(report)
    scale = scales(shown)
    found = [*_summary_sheets(report), *_share_sheets(report)]
    for example in shown:
        fit = int((_PAPER[1] - _HEAD_AND_FOOT) / block(example.channels))
        for first in range(0, len(example.channels), fit):
            sheet, y = _opened(report, *_PAPER)
            y = _window_words(sheet, report, example, y)
            draw_channels(sheet, report, example, example.channels[first : first + fit], scale, y)
            found.append(sheet)
    return found


def leading_window(report: Report) -> Sheet:
    """The sheet of the PNG."""
    shown = examples(report)
    example = shown[-1]
    channels = example.channels[:_MOST_IN_PNG]
    sheet, y = _opened(report, 9.6, 2.6 + len(channels) * block(example.channels))
    y = sheet.paragraph(MARGIN, y, " ".join(summary(report).carries[:1]), width=sheet.width - 2 * MARGIN) + 0.1
    y = _window_words(sheet, report, example, y)
    draw_channels(sheet, report, example, channels, scales(shown), y)
    return sheet


def _opened(report: Report, width: float, height: float) -> tuple[Sheet, float]:
    """A sheet with the title, the verdict and the foot that every one has."""
    sheet = Sheet(width, height)
    y = sheet.paragraph(MARGIN, 0.45, report.title, width=width - 2 * MARGIN, size=14.0, weight="bold")
    verdict = report.verdict
    words = f"Verdict: {verdict.upper()}" + (
        f", {FAILED.lower()}: at least one test failed" if verdict == "fail" else ""
    )
    sheet.box(MARGIN, y + 0.12, width - 2 * MARGIN, 0.32, fill=COLOURS[f"{verdict}_paper"], line=verdict)
    sheet.words(MARGIN + 0.12, y + 0.33, words, size=10.5, colour=verdict, weight="bold")
    sheet.words(MARGIN, height - 0.3, FOOT, size=7.0, colour="soft")
    return sheet, y + 0.55


def _summary_sheets(report: Report) -> list[Sheet]:
    """What the page says before its figures, on as many sheets as the tests need."""
    found = [_opened(report, *_PAPER)]
    wide, told = _PAPER[0] - 2 * MARGIN, summary(report)
    carries = told.carries or ("No credit was found anywhere.",)
    for text in (told.asked, told.trust, " ".join(carries)):
        sheet, y = _room_on(report, found)
        found[-1] = sheet, sheet.paragraph(MARGIN, y, text, width=wide, size=10.0) + 0.08
    for check in worst_first(report.reliability):
        sheet, y = _room_on(report, found)
        sheet.words(MARGIN, y + 0.17, check.name.replace("_", " "), weight="bold")
        sheet.words(MARGIN + 1.5, y + 0.17, check.verdict, colour=check.verdict, weight="bold")
        found[-1] = sheet, sheet.paragraph(MARGIN + 2.1, y, check.meaning, width=wide - 2.1, size=8.5) + 0.07
    provenance = [f"{key.replace('_', ' ')}: {value}" for key, value in report.explanation.provenance.items()]
    for text in (*told.cautions, *provenance):
        sheet, y = _room_on(report, found)
        found[-1] = sheet, sheet.paragraph(MARGIN, y, f"• {text}", width=wide, size=8.5) + 0.03
    return [sheet for sheet, _ in found]


def _share_sheets(report: Report) -> list[Sheet]:
    found = [_opened(report, *_PAPER)]
    sheet, y = found[0]
    wide, left, room = sheet.width - 2 * MARGIN, MARGIN + 2.0, 2.6
    lines = f"; lines are 95 % intervals {over(report)}" if over(report) else ""
    y = sheet.paragraph(MARGIN, y, f"Mean share of the size of credit by {report.lead.title}{lines}", width=wide)
    lead, *further = (modality_shares(report.explanation, name, report.scope) for name in report.methods)
    for share in lead.values():
        y += 0.3
        # A joined name takes several lines; its bar stands beside the last one.
        y = sheet.paragraph(MARGIN, y - 0.17, share.label, width=left - MARGIN - 0.1)
        if share.windows and not share.hidden:
            sheet.box(left, y - 0.13, room, 0.16, fill=COLOURS["track"])
            sheet.box(left, y - 0.13, room * share.mean, 0.16, fill=SIZE)
            if np.isfinite(share.low):
                sheet.line([left + room * share.low, left + room * share.high], [y - 0.05] * 2, linewidth=2.0)
            sheet.words(left + room + 0.12, y, percent(share))
        else:
            sheet.words(left, y, "held by too few people to be shown" if share.hidden else "absent", colour="soft")
    if report.verdict == "fail":
        sheet.stamp(left + room / 2, y - 0.15 * len(lead) + 0.1, FAILED, size=22.0)
    found[0] = sheet, y + 0.3
    for method, shares in zip(list(report.methods.values())[1:], further, strict=True):
        told = [f"{one.label} {percent(one)}" for one in shares.values() if np.isfinite(one.mean)]
        sheet, y = _room_on(report, found)
        found[-1] = (
            sheet,
            sheet.paragraph(MARGIN, y, f"{method.title}: {', '.join(told)}", width=wide, size=8.5) + 0.06,
        )
    return [sheet for sheet, _ in found]


def _room_on(report: Report, found: list[tuple[Sheet, float]]) -> tuple[Sheet, float]:
    """The last sheet and where to go on; a fresh one where that has no room for a paragraph."""
    if found[-1][1] > _PAPER[1] - 1.4:
        found.append(_opened(report, *_PAPER))
    return found[-1]


def _window_words(sheet: Sheet, report: Report, example: Example, y: float) -> float:
    interval = (
        ""
        if example.interval is None
        else f" (95 % interval {short(example.interval[0])} to {short(example.interval[1])})"
    )
    told = [
        f"Window {example.number}: output {with_unit(report, example.output)}{interval}, "
        f"at the reference {with_unit(report, example.reference_output)}; by {report.lead.title}."
    ]
    if example.absent:
        told.append(f"Absent: {', '.join(example.absent)}.")
    if directed(report.lead):
        told.append("Orange: towards a higher output; purple: towards a lower one. Hatched: not measured.")
    if report.alternative is not None:
        told.append(f"Lower bars: against another reference ({named(report.alternative.reference)}), on its own scale.")
    if report.withheld:
        told.append("Waveforms are withheld.")
    return sheet.paragraph(MARGIN, y, " ".join(told), width=sheet.width - 2 * MARGIN) + 0.12

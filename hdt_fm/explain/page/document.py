"""One self-contained HTML file of an explanation: how far to trust it first, the picture after that."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hdt_fm.explain.explanation import Explanation, plain, segment_sums
from hdt_fm.explain.methods import METHODS
from hdt_fm.explain.page.drawing import channel_figure, share_bar
from hdt_fm.explain.page.section import Section
from hdt_fm.schema.errors import ExplainError
from hdt_fm.schema.modalities import modality as look_up_modality
from hdt_fm.schema.privacy import private_traces

HTML_NAME, JSON_NAME = "explanation.html", "explanation.json"
STAMPS = {"pass": "", "warn": "", "fail": "NOT RELIABLE HERE"}
_TEMPLATES = Path(__file__).parent / "templates"


def html(
    explanation: Explanation,
    *,
    title: str = "Attribution report",
    sections: Sequence[Section] = (),
    withhold_waveforms: bool = False,
) -> str:
    """The page as text: no script, no outside resource, no id, no clock time.

    Args:
        sections: Further parts, in their order on the page, after the example windows.
        withhold_waveforms: Leave out all that draws a waveform, in the windows and in the sections' own figures.

    Raises:
        ExplainError: If the explanation was not examined, or a text given for it holds a private trace.
    """
    if explanation.reliability is None:
        raise ExplainError(
            "An explanation is not shown before it was examined",
            expected="`reliability` from hdt_fm.explain.checks.examine",
            fix="dataclasses.replace(explanation, reliability=examine(...))",
        )
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("page.html.j2").render(
        title=title,
        explanation=explanation,
        reliability=explanation.reliability,
        methods={one.method: METHODS[one.method] for one in explanation.maps},
        sections=sections,
        shares=_share_rows(explanation),
        windows=_windows(explanation, with_wave=not withhold_waveforms),
        withheld=withhold_waveforms,
        lead=explanation.maps[0].method,
    )
    return _screened(page, HTML_NAME)


def write_report(
    explanation: Explanation,
    folder: Path,
    *,
    title: str = "Attribution report",
    sections: Sequence[Section] = (),
    withhold_waveforms: bool = False,
) -> tuple[Path, Path]:
    """Write `explanation.html` and `explanation.json`; neither appears unless both could be made.

    Raises:
        ExplainError: As `html`.
    """
    page = html(explanation, title=title, sections=sections, withhold_waveforms=withhold_waveforms)
    told = {
        **explanation.to_dict(withhold_waveforms=withhold_waveforms),
        "sections": {one.key: plain(one.record) for one in sections},
    }
    record = _screened(json.dumps(told, indent=1, allow_nan=False) + "\n", JSON_NAME)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in ((HTML_NAME, page), (JSON_NAME, record)):
        fresh = folder / f".{name}.new"
        fresh.write_text(text, encoding="utf-8")
        os.replace(fresh, folder / name)
    return folder / HTML_NAME, folder / JSON_NAME


def _screened(text: str, where: str) -> str:
    traces = private_traces(text, dates=True)
    if traces:
        raise ExplainError(
            f"The report would hold {', '.join(traces)}",
            where=where,
            expected="no id, path, address or date of a person or machine",
            fix="leave it out of the title, the target's name and the provenance",
        )
    return text


def _share_rows(explanation: Explanation) -> list[dict[str, Any]]:
    """Per modality: mean share and count by each method; `absent` where no window holds it."""
    by_method = {one.method: explanation.mean_shares(one.method) for one in explanation.maps}
    rows = []
    for name in explanation.modalities:
        found = {method: shares[name] for method, shares in by_method.items()}
        count = next(iter(found.values()))[1]
        cells = [{"mean": mean, "bar": share_bar(mean)} for mean, _ in found.values()] if count else []
        rows.append({"label": look_up_modality(name).label, "count": count, "cells": cells})
    return rows


def _windows(explanation: Explanation, *, with_wave: bool) -> list[dict[str, Any]]:
    assert explanation.reliability is not None
    lead = explanation.maps[0]
    # Withheld waveforms get no finer credit than the segments either: a fine map draws the waveform's outline.
    bins = explanation.segments * (4 if with_wave and METHODS[lead.method].grain == "sample" else 1)
    shown = explanation.examples()
    sums = [np.abs(segment_sums(v[list(shown)], bins)).max(initial=0.0) for v in lead.values.values()]
    scale = float(max(sums, default=0.0))
    stamp = STAMPS[explanation.reliability.verdict]
    windows = []
    for place, row in enumerate(shown):
        figures, absent = [], []
        for column, name in enumerate(explanation.modalities):
            if not explanation.present[row, column]:
                absent.append(look_up_modality(name).label)
                continue
            signal = explanation.signals[name]
            figures.append(
                {
                    "label": signal.label,
                    "rate": signal.sampling_rate_hz,
                    "channels": [
                        channel_figure(
                            signal,
                            row,
                            channel,
                            lead.values[name][row, channel],
                            bins=bins,
                            scale=scale,
                            window_s=explanation.window_s,
                            with_wave=with_wave,
                            stamp=stamp,
                        )
                        for channel in range(signal.values.shape[1])
                    ],
                }
            )
        windows.append(
            {
                "number": place + 1,
                "output": float(explanation.output[row]),
                "reference": float(explanation.reference_output[row]),
                "figures": figures,
                "absent": absent,
            }
        )
    return windows

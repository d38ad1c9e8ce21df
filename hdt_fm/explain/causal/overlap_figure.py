"""The overlap of both arms as inline SVG: rows by their chance of being treated, one arm above and one below."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
from markupsafe import Markup, escape

from hdt_fm.explain.causal.estimand import listed
from hdt_fm.explain.causal.overlap import COMMON, Overlap
from hdt_fm.explain.page.palette import AGAINST, COLOURS, FOR, SIZE

WIDTH, LEFT, RIGHT, HALF, MIDDLE = 900, 110.0, 890.0, 90.0, 100.0
# Of a bin that too few people are in: its height tells nothing.
_HIDDEN = 6.0
Across = Callable[[float], float]


def overlap_figure(overlap: Overlap, *, labels: tuple[str, str], axis: str) -> Markup:
    """Rows by bin, each side by its own highest; a bin of too few people is outlined at one height, whatever it holds.

    Args:
        labels: Of the side above and of that below.
        axis: What stands under the bins.
    """
    first, last = float(overlap.edges[0]), float(overlap.edges[-1])
    binary = len(overlap.arms) == 2

    def across(value: float) -> float:
        return LEFT + (RIGHT - LEFT) * (value - first) / (last - first)

    parts = list(_beyond(across)) if binary else []
    for below, colour in enumerate((FOR, AGAINST) if binary else (SIZE, COLOURS["soft"])):
        parts += _bars(overlap, across, below=bool(below), colour=colour)
    parts.append(f'<line class="zero" x1="{LEFT}" x2="{RIGHT}" y1="{MIDDLE}" y2="{MIDDLE}"/>')
    parts += [_text(4.0, MIDDLE - 40, labels[0], "start"), _text(4.0, MIDDLE + 48, labels[1], "start")]
    parts += [_text(across(at), MIDDLE + HALF + 16, f"{at:g}", "middle") for at in np.linspace(first, last, 5)]
    parts.append(_text((LEFT + RIGHT) / 2, MIDDLE + HALF + 32, axis, "middle"))
    return Markup(
        f'<svg viewBox="0 0 {WIDTH} {MIDDLE + HALF + 40:.0f}" role="img" class="channel"><title>Overlap</title>'
        f"<desc>{escape(in_words(overlap, labels))}</desc>{''.join(parts)}</svg>"
    )


def in_words(overlap: Overlap, labels: tuple[str, str]) -> str:
    """From where to where each side reaches, and how many bins are not told."""
    said = []
    for label, counts in zip(labels, overlap.counts, strict=True):
        seen = np.flatnonzero(counts > 0)
        if len(seen):
            said.append(f"{label} from {overlap.edges[seen[0]]:.2g} to {overlap.edges[seen[-1] + 1]:.2g}")
    hidden = int((overlap.counts < 0).sum())
    return f"{listed(said)}. {hidden} bins hold too few people and are outlined only."


def _bars(overlap: Overlap, across: Across, *, below: bool, colour: str) -> Iterator[str]:
    counts = overlap.counts[int(below)]
    # Arms differ in size, and what matters is where each one lies.
    most = max(int(counts.max()), 1)
    for (low, high), count in zip(pairwise(overlap.edges.tolist()), counts.tolist(), strict=True):
        if not count:
            continue
        size = _HIDDEN if count < 0 else HALF * count / most
        look = 'fill="none" stroke="#777" stroke-dasharray="2 2"' if count < 0 else f'fill="{colour}"'
        yield (
            f'<rect x="{across(low) + 0.5:.1f}" y="{MIDDLE if below else MIDDLE - size:.1f}" '
            f'width="{across(high) - across(low) - 1:.1f}" height="{size:.1f}" {look}/>'
        )


def _beyond(across: Across) -> Iterator[str]:
    for low, high in ((0.0, COMMON[0]), (COMMON[1], 1.0)):
        yield (
            f'<rect x="{across(low):.1f}" y="{MIDDLE - HALF:.1f}" width="{across(high) - across(low):.1f}" '
            f'height="{2 * HALF:.1f}" fill="{COLOURS["track"]}"/>'
        )


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text class="label" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'

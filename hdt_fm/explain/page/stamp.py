"""Words across every figure of a page that failed, those of other rooms too, as its readers see and hear them."""

import re
from html import escape

FAILED = "NOT RELIABLE HERE"
_TAG = re.compile(r"<svg\b[^>]*>|</svg>")
_BOX = re.compile(r'viewBox="\s*([-\d.e]+)[\s,]+([-\d.e]+)[\s,]+([-\d.e]+)[\s,]+([-\d.e]+)\s*"')
_TITLE = re.compile(r"<title>")


def stamped(page: str, words: str = FAILED) -> str:
    """The page with `words` across each figure, and before its title, where a screen reader starts.

    A figure is an SVG with `role="img"`; one that is hidden from screen readers repeats a number of the text beside it
    and is left as it is.
    """
    parts, end, depth, start = [], 0, 0, 0
    for tag in _TAG.finditer(page):
        if tag.group() == "</svg>":
            depth -= 1
            if depth == 0:
                parts += [page[end:start], _figure(page[start : tag.start()], words), tag.group()]
                end = tag.end()
        else:
            start = tag.start() if depth == 0 else start
            depth += 1
    return "".join([*parts, page[end:]])


def _figure(figure: str, words: str) -> str:
    opening = figure[: figure.index(">")]
    if 'role="img"' not in opening:
        return figure
    box = _BOX.search(opening)
    left, top, width, height = (float(one) for one in box.groups()) if box else (0.0, 0.0, 300.0, 150.0)
    # Capitals are about 0.75 of their size wide, with the letter spacing of the style sheet. It crosses the figure but
    # leaves its ends free, where ranges and names stand, and a flat figure its lines.
    size = min(28.0, width / (1.2 * len(words)), height / 5)
    text = (
        f'<text class="stamp" x="{left + width / 2:.0f}" y="{top + height / 2 + size / 3:.0f}" '
        f'font-size="{size:.0f}" aria-hidden="true">{escape(words)}</text>'
    )
    return _TITLE.sub(f"<title>{escape(words.capitalize())}: ", figure, count=1) + text

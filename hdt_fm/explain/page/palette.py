"""The colours of the report, by their role; the page, its figures and its pictures take them from here."""

from collections.abc import Mapping

# A pair that colour-blind readers can tell apart, and a third hue for sizes without a sign.
FOR, AGAINST, SIZE = "#b35806", "#542788", "#2c5f8a"

COLOURS: Mapping[str, str] = {
    "ink": "#1a1a1a",
    "soft": "#444444",
    "link": "#1f4e79",
    "rule": "#bbbbbb",
    "paper": "#ffffff",
    "shade": "#f4f5f6",
    "track": "#e6e6e6",
    "pass": "#17602f",
    "pass_paper": "#eef8f1",
    "warn": "#7a4f00",
    "warn_paper": "#fff7e5",
    "fail": "#a01919",
    "fail_paper": "#fdeeee",
    "for": FOR,
    "against": AGAINST,
    "size": SIZE,
}

_GROUNDS = ("paper", "shade", "pass_paper", "warn_paper", "fail_paper")
# Which text stands on which grounds; every pair has a contrast of at least 4.5 to 1 (WCAG 2.2, criterion 1.4.3).
TEXTS: Mapping[str, tuple[str, ...]] = {
    "ink": _GROUNDS,
    "soft": _GROUNDS,
    "link": _GROUNDS,
    "pass": ("paper", "pass_paper"),
    "warn": ("paper", "warn_paper"),
    "fail": ("paper", "fail_paper"),
    "paper": ("link",),
}


def contrast(first: str, second: str) -> float:
    """Contrast of two colours #rrggbb by WCAG 2.2: 1 for equal ones, 21 for black on white."""
    low, high = sorted((_luminance(first), _luminance(second)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

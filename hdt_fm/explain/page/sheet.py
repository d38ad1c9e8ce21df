"""One sheet of paper for pictures, in inches from its top left corner; drawn by matplotlib, without a screen."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdt_fm.explain.page.palette import COLOURS

# Mean width of a letter of the default font, as a share of its size, and an inch in points.
_LETTER, _POINTS = 0.52, 72.0


class Sheet:
    """A figure with one pair of axes over all of it, since many axes are what makes matplotlib slow."""

    def __init__(self, width: float, height: float) -> None:
        # It comes with captum; a second to import, so only here.
        from matplotlib.figure import Figure

        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height), facecolor="white")
        self._axes = self.figure.add_axes((0, 0, 1, 1))
        self._axes.set(xlim=(0, width), ylim=(height, 0))
        self._axes.axis("off")

    def words(self, x: float, y: float, text: str, *, size: float = 9.0, colour: str = "ink", **given: Any) -> None:
        """A line of text; `y` is its base line."""
        self._axes.text(x, y, text, size=size, color=COLOURS[colour], parse_math=False, **given)

    def paragraph(
        self, x: float, y: float, text: str, *, width: float, size: float = 9.0, colour: str = "ink", **given: Any
    ) -> float:
        """Text broken into lines; returns where the next one may start."""
        for line in textwrap.wrap(text, max(10, int(width * _POINTS / (_LETTER * size)))):
            y += 1.35 * size / _POINTS
            self.words(x, y, line, size=size, colour=colour, **given)
        return y

    def box(self, x: float, y: float, width: float, height: float, *, fill: str, line: str = "none") -> None:
        from matplotlib.patches import Rectangle

        edge = "none" if line == "none" else COLOURS[line]
        self._axes.add_patch(Rectangle((x, y), width, height, facecolor=fill, edgecolor=edge, linewidth=1.5))

    def hatched(self, x: float, y: float, width: float, height: float) -> None:
        from matplotlib.patches import Rectangle

        self._axes.add_patch(
            Rectangle((x, y), width, height, facecolor="white", edgecolor="#777777", hatch="/////", linewidth=0)
        )

    def line(self, x: Sequence[float] | NDArray[Any], y: Sequence[float] | NDArray[Any], **given: Any) -> None:
        look: dict[str, Any] = {"color": COLOURS["ink"], "linewidth": 0.6, "solid_joinstyle": "round"}
        self._axes.plot(x, y, **(look | given))

    def bars(self, x: NDArray[Any], y: float, widths: float, heights: NDArray[Any], colours: Sequence[Any]) -> None:
        """Rectangles that stand on `y`, upwards where a height is above 0, each in its own colour."""
        from matplotlib.collections import PolyCollection

        tops = y - heights
        corners = np.stack(
            [
                np.stack([x, np.full_like(tops, y)], 1),
                np.stack([x, tops], 1),
                np.stack([x + widths, tops], 1),
                np.stack([x + widths, np.full_like(tops, y)], 1),
            ],
            axis=1,
        )
        self._axes.add_collection(PolyCollection(list(corners), facecolors=colours, linewidths=0), autolim=False)

    def stamp(self, x: float, y: float, text: str, *, size: float) -> None:
        """Words across a figure, with a white edge so that no line hides them."""
        from matplotlib.patheffects import withStroke

        self._axes.text(
            x,
            y,
            text,
            size=size,
            color=COLOURS["fail"],
            weight="bold",
            ha="center",
            va="center",
            path_effects=[withStroke(linewidth=size / 5, foreground="white")],
        )

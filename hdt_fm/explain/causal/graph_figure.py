"""The assumed graph as inline SVG: causes to the left of what they act on."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from textwrap import wrap

from markupsafe import Markup, escape

from hdt_fm.explain.causal.back_door import BackDoor
from hdt_fm.explain.causal.graph import Graph, Role
from hdt_fm.explain.page.palette import COLOURS, SIZE

WIDTH, BOX, LINE, GAP = 900, 150, 15, 22
_MARGIN, _LETTERS = 8, 20
_GREY = "#555555"
# Fill, edge of the box, its width, its dashes.
LOOKS: dict[Role, tuple[str, str, float, str]] = {
    "treatment": (COLOURS["paper"], SIZE, 2.5, ""),
    "outcome": (COLOURS["paper"], SIZE, 2.5, ""),
    "model": (COLOURS["paper"], SIZE, 2.5, ""),
    "adjusted": (COLOURS["track"], _GREY, 1, ""),
    "mediator": (COLOURS["paper"], _GREY, 1, ""),
    "other": (COLOURS["paper"], _GREY, 1, ""),
    "unmeasured": (COLOURS["paper"], _GREY, 1.5, "5 4"),
}
ROLES: dict[Role, str] = {
    "treatment": "treatment",
    "outcome": "outcome",
    "model": "",
    "adjusted": "held fixed",
    "mediator": "on the way",
    "other": "",
    "unmeasured": "not measured",
}
Said = Callable[[str], str]
Place = tuple[float, float]


def graph_figure(graph: Graph, *, said: Said, door: BackDoor | None = None) -> Markup:
    """Causes left, what they act on right; arrows of a back door that is left open are drawn heavy.

    Args:
        said: A node's name in words.
    """
    layers = layers_of(graph)
    tall = {name: _height(said(name), role) for name, role in graph.nodes.items()}
    high = max(sum(tall[name] + GAP for name in layer) for layer in layers) + 2 * GAP
    places = _places(layers, tall, high)
    opened = _opened(door)
    parts = [
        '<defs><marker id="causal-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto-start-reverse"><path d="M0 0L8 4L0 8z" fill="#333"/></marker></defs>'
    ]
    parts += [_arrow(graph, places, tall, layers, edge, heavy=frozenset(edge) in opened) for edge in graph.edges]
    for name, role in graph.nodes.items():
        parts += _box(said(name), role, places[name], tall[name])
    words = " ".join(f"{said(cause)} acts on {said(effect)}." for cause, effect in graph.edges)
    return Markup(
        f'<svg viewBox="0 0 {WIDTH} {high:.0f}" role="img" class="channel"><title>The assumed graph</title>'
        f"<desc>{escape(words)}</desc>{''.join(map(str, parts))}</svg>"
    )


def layers_of(graph: Graph) -> list[list[str]]:
    """Nodes by the longest way to them; those without a cause stand right before what they first act on."""
    depth: dict[str, int] = {}

    def deep(name: str) -> int:
        if name not in depth:
            depth[name] = max((deep(one) + 1 for one in graph.parents(name)), default=0)
        return depth[name]

    for name in graph.nodes:
        deep(name)
    for name in graph.nodes:
        if not graph.parents(name) and graph.children(name):
            depth[name] = min(depth[one] for one in graph.children(name)) - 1
    layers: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    for name in graph.nodes:
        layers[depth[name]].append(name)
    return layers


def _opened(door: BackDoor | None) -> set[frozenset[str]]:
    paths = door.paths if door else ()
    return {frozenset(pair) for path in paths for pair in pairwise(path)}


def _lines(words: str) -> list[str]:
    return wrap(words, _LETTERS) or [""]


def _height(words: str, role: Role) -> float:
    return LINE * (len(_lines(words)) + bool(ROLES[role])) + 14.0


def _places(layers: Sequence[Sequence[str]], tall: dict[str, float], high: float) -> dict[str, Place]:
    """Middles of boxes: layers spread across, each centred from top to bottom."""
    step = (WIDTH - BOX - 2 * _MARGIN) / max(len(layers) - 1, 1)
    places = {}
    for number, layer in enumerate(layers):
        y = (high - sum(tall[name] + GAP for name in layer) + GAP) / 2
        for name in layer:
            places[name] = (_MARGIN + BOX / 2 + number * step, y + tall[name] / 2)
            y += tall[name] + GAP
    return places


def _arrow(
    graph: Graph,
    places: dict[str, Place],
    tall: dict[str, float],
    layers: Sequence[Sequence[str]],
    edge: tuple[str, str],
    *,
    heavy: bool,
) -> str:
    """From a box's right side to the next one's left; past a layer it goes round, over it or under it."""
    layer = {name: number for number, names in enumerate(layers) for name in names}
    (x, y), (to_x, to_y) = places[edge[0]], places[edge[1]]
    x, to_x = x + BOX / 2, to_x - BOX / 2 - 2
    passed = [name for names in layers[layer[edge[0]] + 1 : layer[edge[1]]] for name in names]
    bend = (y + to_y) / 2
    if passed:
        above = y <= to_y
        reach = [places[name][1] + (-1 if above else 1) * (tall[name] / 2 + GAP) for name in passed]
        far = min(reach) if above else max(reach)
        # Where the curve's middle is to be, its handles lie farther out.
        bend = (far - 0.25 * (y + to_y) / 2) / 0.75
        to_y += (-1 if above else 1) * min(10.0, tall[edge[1]] / 4)
    third = (to_x - x) / 3
    look = 'stroke="#1a1a1a" stroke-width="2.5" stroke-dasharray="7 4"' if heavy else 'stroke="#777" stroke-width="1.3"'
    return (
        f'<path d="M{x:.1f} {y:.1f}C{x + third:.1f} {bend if passed else y:.1f} {to_x - third:.1f} '
        f'{bend if passed else to_y:.1f} {to_x:.1f} {to_y:.1f}" fill="none" {look} marker-end="url(#causal-arrow)"/>'
    )


def _box(words: str, role: Role, place: Place, tall: float) -> Iterator[str]:
    fill, edge, width, dashes = LOOKS[role]
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    x, y = place[0], place[1] - tall / 2
    yield (
        f'<rect x="{x - BOX / 2:.1f}" y="{y:.1f}" width="{BOX}" height="{tall:.1f}" rx="4" fill="{fill}" '
        f'stroke="{edge}" stroke-width="{width}"{dashed}/>'
    )
    for number, line in enumerate(_lines(words), start=1):
        yield (
            f'<text x="{x:.1f}" y="{y + LINE * number + 2:.1f}" text-anchor="middle" font-size="13" '
            f'fill="#1a1a1a">{escape(line)}</text>'
        )
    if ROLES[role]:
        yield _text(x, y + tall - 8, ROLES[role], "middle")


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text class="label" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'

"""Back doors: ways by which treatment and outcome go together though the one does nothing to the other."""

from collections.abc import Iterator, Set
from dataclasses import dataclass
from itertools import islice

from hdt_fm.explain.causal.graph import Graph, reached

# A graph with more open ways than that is not read by them.
MOST_TOLD = 20


@dataclass(frozen=True)
class BackDoor:
    """Whether what is held fixed closes every back door: a path to the outcome by an arrow into the treatment.

    Attributes:
        paths: Those left open, the first twenty, each as its nodes from the treatment to the outcome.
        unmeasured: Of these nodes, the ones that nobody measured.
        fixable: Measured nodes on an open path that could be held fixed too.
    """

    closed: bool
    paths: tuple[tuple[str, ...], ...]
    unmeasured: tuple[str, ...]
    fixable: tuple[str, ...]


def back_door(graph: Graph) -> BackDoor:
    """Which back doors stay open between the treatment and the outcome.

    Source: Pearl 2009, the back-door criterion. Whether is asked of the moral graph; by which way, path by path.
    """
    treatment, outcome = graph.of_role("treatment")[0], graph.of_role("outcome")[0]
    into = Graph(graph.nodes, tuple(edge for edge in graph.edges if edge[0] != treatment))
    closed = separated(into, treatment, outcome, graph.held)
    opened = () if closed else tuple(islice(open_paths(into, (treatment,), outcome, graph.held), MOST_TOLD))
    between = dict.fromkeys(name for path in opened for name in path[1:-1])
    below = graph.descendants(treatment) | graph.descendants(outcome)
    return BackDoor(
        closed=closed,
        paths=opened,
        unmeasured=tuple(name for name in between if graph.nodes[name] == "unmeasured"),
        fixable=tuple(n for n in between if graph.nodes[n] == "other" and n not in below),
    )


def open_paths(graph: Graph, walked: tuple[str, ...], end: str, held: Set[str]) -> Iterator[tuple[str, ...]]:
    """Paths that carry an association when some nodes are held fixed, by going on from those walked so far."""
    here = walked[-1]
    if here == end:
        yield walked
        return
    for name in dict.fromkeys((*graph.parents(here), *graph.children(here))):
        if name not in walked and (len(walked) == 1 or passes(graph, walked[-2], here, name, held)):
            yield from open_paths(graph, (*walked, name), end, held)


def passes(graph: Graph, before: str, name: str, after: str, held: Set[str]) -> bool:
    """Whether an association gets through a node in the middle of a path.

    One that is held fixed stops it. One that both arrows point at stops it unless it, or something that it acts on, is
    held fixed.
    """
    if {before, after} <= set(graph.parents(name)):
        return bool((graph.descendants(name) | {name}) & held)
    return name not in held


def separated(graph: Graph, first: str, second: str, held: Set[str]) -> bool:
    """Whether two nodes are d-separated, by the moral graph of their ancestors; no path is listed for it.

    Source: Lauritzen et al. 1990.
    """
    kept = graph.ancestors([first, second, *held])
    beside: dict[str, set[str]] = {name: set() for name in kept}
    for name in kept:
        family = [*graph.parents(name), name]
        for one in family:
            beside[one] |= set(family) - {one}
    return second not in reached([first], lambda name: [one for one in beside[name] if one not in held])

"""The assumed graph: what causes what, by the question's own arrows or the usual ones."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from hdt_fm.explain.causal.question import Question
from hdt_fm.schema.errors import ExplainError, unknown_name

Role = Literal["treatment", "outcome", "adjusted", "mediator", "unmeasured", "other", "model"]
Edge = tuple[str, str]
Onward = Callable[[str], Iterable[str]]
# All that does not change within a person: held fixed when people are compared with themselves alone.
PERSON = "who the person is"
# Paths between two nodes grow fast; a graph to be read by people is smaller.
MOST_NODES = 20
# The model itself, when no question is asked of the body.
BODY, UNSEEN, SIGNALS, MODEL, OUTPUT = "the body", "all else", "the signals", "this model", "its output"


@dataclass(frozen=True)
class Graph:
    """Nodes with their roles, and arrows (cause, effect) in the order they were given."""

    nodes: Mapping[str, Role]
    edges: tuple[Edge, ...]

    def of_role(self, role: Role) -> tuple[str, ...]:
        return tuple(name for name, one in self.nodes.items() if one == role)

    @property
    def held(self) -> frozenset[str]:
        """What is held fixed."""
        return frozenset(self.of_role("adjusted"))

    def parents(self, name: str) -> tuple[str, ...]:
        return tuple(cause for cause, effect in self.edges if effect == name)

    def children(self, name: str) -> tuple[str, ...]:
        return tuple(effect for cause, effect in self.edges if cause == name)

    def descendants(self, name: str) -> frozenset[str]:
        """All that a node acts on, itself left out."""
        return frozenset(reached([name], self.children)) - {name}

    def ancestors(self, names: Iterable[str]) -> frozenset[str]:
        """All that acts on any of these, these included."""
        return frozenset(reached(names, self.parents))


def model_graph() -> Graph:
    """What stands behind any output when nothing is asked of the body."""
    nodes: dict[str, Role] = {BODY: "other", UNSEEN: "unmeasured", SIGNALS: "other", MODEL: "model", OUTPUT: "model"}
    edges = ((BODY, SIGNALS), (UNSEEN, BODY), (UNSEEN, SIGNALS), (SIGNALS, MODEL), (MODEL, OUTPUT))
    return Graph(nodes, edges)


def question_graph(question: Question) -> Graph:
    """The graph of a question: its own arrows, or where it has none the usual ones.

    The usual ones: all that is held fixed or unmeasured acts on both, the treatment on mediators, these on the outcome.

    Raises:
        ExplainError: If names clash or are not in the graph, arrows run in a circle, or something that the treatment
            acts on would be held fixed.
    """
    nodes = _roles(question)
    graph = Graph(nodes, question.edges or tuple(_usual(question)))
    if question.edges and question.within_people:
        graph = Graph(nodes, (*question.edges, (PERSON, question.treatment), (PERSON, question.outcome)))
    _check(graph)
    changed = sorted(graph.descendants(question.treatment) & graph.held)
    if changed:
        raise ExplainError(
            f"{', '.join(changed)} would be held fixed, though the treatment acts on it",
            where="causal.adjusted",
            expected="columns that the treatment does not act on",
            fix="name it under mediators instead, or draw the arrow the other way if that is what you mean",
        )
    return graph


def arrows(graph: Graph, path: tuple[str, ...], *, said: Callable[[str], str] = str) -> str:
    """A path in words, its arrows as they point."""
    edges = set(graph.edges)
    steps = [f" {'→' if (one, other) in edges else '←'} {said(other)}" for one, other in pairwise(path)]
    return said(path[0]) + "".join(steps)


def _roles(question: Question) -> dict[str, Role]:
    given: list[tuple[str, Role]] = [
        (question.treatment, "treatment"),
        (question.outcome, "outcome"),
        *((name, "adjusted") for name in question.adjusted),
        *((name, "mediator") for name in question.mediators),
        *((name, "unmeasured") for name in question.unmeasured),
        *((name, "other") for name in question.others),
    ]
    if question.within_people:
        given.append((PERSON, "adjusted"))
    names = [name for name, _ in given]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ExplainError(
            f"{', '.join(twice)} has two places in the causal question",
            where="causal",
            expected="each name once: treatment, outcome, adjusted, mediators, others or unmeasured",
        )
    nodes = dict(given)
    for name in (end for edge in question.edges for end in edge):
        if name not in nodes:
            raise unknown_name("node of the causal graph", name, nodes, where="causal.edges")
    return nodes


def _usual(question: Question) -> Iterator[Edge]:
    person = (PERSON,) if question.within_people else ()
    for name in (*person, *question.adjusted, *question.unmeasured):
        yield name, question.treatment
        yield name, question.outcome
    for name in question.mediators:
        yield question.treatment, name
        yield name, question.outcome
    yield question.treatment, question.outcome


def _check(graph: Graph) -> None:
    if len(graph.nodes) > MOST_NODES:
        raise ExplainError(
            "The causal graph is too large to be read",
            where="causal",
            expected=f"at most {MOST_NODES} nodes",
            got=str(len(graph.nodes)),
            fix="join causes that act alike into one node",
        )
    touched = {end for edge in graph.edges for end in edge}
    alone = [name for name, role in graph.nodes.items() if role in ("treatment", "outcome") and name not in touched]
    if alone:
        raise ExplainError(
            f"No arrow of the causal graph touches {', '.join(alone)}",
            where="causal.edges",
            expected="a graph that holds the treatment and the outcome",
            fix="add their arrows, or leave edges out for the usual ones",
        )
    round_about = sorted(name for name in graph.nodes if _on_circle(graph, name))
    if round_about:
        raise ExplainError(
            f"The causal graph runs in a circle through {', '.join(round_about)}",
            where="causal.edges",
            expected="arrows that never lead back",
            fix="split what acts back on its cause into before and after",
        )


def _on_circle(graph: Graph, name: str) -> bool:
    return name in reached(graph.children(name), graph.children)


def reached(starts: Iterable[str], onward: Onward) -> set[str]:
    found: set[str] = set()
    waiting = list(starts)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += onward(name)
    return found

"""The assumed graph: hand cases of open and closed back doors, and d-separation beside networkx."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from hdt_fm.explain.causal.back_door import MOST_TOLD, back_door, open_paths, separated
from hdt_fm.explain.causal.graph import MOST_NODES, PERSON, Edge, Graph, Role, arrows, model_graph, question_graph
from hdt_fm.explain.causal.question import Question
from hdt_fm.schema.errors import ExplainError, UnknownNameError


def asked(edges: str, *, adjusted: str = "", unmeasured: str = "", others: str = "", mediators: str = "") -> Question:
    """Of a on y; people are compared with each other, so that nothing is added."""
    return Question(
        treatment="a",
        outcome="y",
        form="binary",
        adjusted=tuple(adjusted),
        unmeasured=tuple(unmeasured),
        others=tuple(others),
        mediators=tuple(mediators),
        edges=tuple((one[0], one[1]) for one in edges.split()),
        within_people=False,
    )


# Edges "xy" for x -> y; what is held fixed, what is not measured, what else is; open ways in words.
CASES: Mapping[str, tuple[Question, tuple[str, ...]]] = {
    "one common cause, held fixed": (asked("xa xy ay", adjusted="x"), ()),
    "one common cause, measured but not held fixed": (asked("xa xy ay", others="x"), ("a ← x → y",)),
    "one common cause, unmeasured": (asked("ua uy ay", unmeasured="u"), ("a ← u → y",)),
    "unmeasured, but all through what is held fixed": (asked("ux xa uy ay", adjusted="x", unmeasured="u"), ()),
    "a collider closes": (asked("ua uc vc vy ay", unmeasured="uv", others="c"), ()),
    "a collider held fixed opens": (asked("ua uc vc vy ay", unmeasured="uv", adjusted="c"), ("a ← u → c ← v → y",)),
    "what a collider acts on opens too": (
        asked("ua uc vc vy cd ay", unmeasured="uv", others="c", adjusted="d"),
        ("a ← u → c ← v → y",),
    ),
    "a mediator is no back door": (asked("am my", mediators="m"), ()),
    "a cause of the treatment alone": (asked("ia ay", others="i"), ()),
    "two ways": (asked("ua uy xa xy ay", unmeasured="u", others="x"), ("a ← u → y", "a ← x → y")),
}


@pytest.mark.parametrize("name", CASES)
def test_back_doors_by_hand(name: str) -> None:
    question, ways = CASES[name]
    graph = question_graph(question)
    door = back_door(graph)
    assert door.closed is (not ways)
    assert {arrows(graph, path) for path in door.paths} == set(ways)


def test_what_is_open_is_told_apart_by_what_can_be_done() -> None:
    door = back_door(question_graph(CASES["two ways"][0]))
    assert door.unmeasured == ("u",)
    assert door.fixable == ("x",)


def random_graph(generator: np.random.Generator, size: int = 7) -> Graph:
    names = [chr(ord("a") + at) for at in range(size)]
    edges: list[Edge] = [pair for pair in combinations(names, 2) if generator.random() < 0.35]
    roles: dict[str, Role] = dict.fromkeys(names, "other")
    return Graph(roles, tuple(edges))


def test_separation_is_that_of_networkx_and_of_the_paths() -> None:
    networkx = pytest.importorskip("networkx", reason="a second algorithm to compare with")
    generator, closed = np.random.default_rng(0), 0
    for _ in range(25):
        graph = random_graph(generator)
        other = networkx.DiGraph()
        other.add_nodes_from(graph.nodes)
        other.add_edges_from(graph.edges)
        for first, second in combinations(graph.nodes, 2):
            held = {name for name in graph.nodes if name not in (first, second) and generator.random() < 0.3}
            mine = separated(graph, first, second, held)
            assert mine is bool(networkx.is_d_separator(other, {first}, {second}, held))
            assert mine is not any(open_paths(graph, (first,), second, held))
            closed += mine
    assert 80 < closed < 450


def test_usual_arrows_and_the_person() -> None:
    question = Question(treatment="a", outcome="y", form="binary", adjusted=("x",), unmeasured=("u",), mediators=("m",))
    graph = question_graph(question)
    assert set(graph.edges) == {
        *((PERSON, "a"), (PERSON, "y"), ("x", "a"), ("x", "y"), ("u", "a"), ("u", "y")),
        *(("a", "m"), ("m", "y"), ("a", "y")),
    }
    assert back_door(graph).paths == (("a", "u", "y"),)
    own = replace(question, edges=(("x", "a"), ("x", "y"), ("a", "y"), ("u", "y"), ("a", "m"), ("m", "y")))
    assert {(PERSON, "a"), (PERSON, "y")} < set(question_graph(own).edges)
    assert back_door(question_graph(own)).closed


@pytest.mark.parametrize(
    ("question", "words"),
    [
        (asked("am my ay", adjusted="m"), "m would be held fixed, though the treatment acts on it"),
        (asked("am mx xy", mediators="m", adjusted="x"), "x would be held fixed"),
        (asked("ay ya"), "runs in a circle through a, y"),
        (asked("xa xy ay", adjusted="x", unmeasured="x"), "x has two places"),
        (asked("xy", adjusted="x"), "No arrow of the causal graph touches a"),
        (
            Question(
                treatment="a",
                outcome="y",
                form="binary",
                adjusted=tuple(f"x{at}" for at in range(MOST_NODES)),
                unmeasured=(),
            ),
            "too large to be read",
        ),
    ],
)
def test_graphs_that_cannot_be(question: Question, words: str) -> None:
    with pytest.raises(ExplainError, match=words):
        question_graph(question)


def test_an_arrow_to_nowhere_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="causal graph 'z'"):
        question_graph(asked("za ay"))


def test_a_graph_full_of_ways_is_told_by_some() -> None:
    causes = "bcdefghijklmnopq"
    edges = " ".join(
        [*(f"{one}{other}" for one, other in combinations(causes, 2)), *(f"{one}a {one}y" for one in causes)]
    )
    door = back_door(question_graph(asked(edges, unmeasured=causes)))
    assert len(door.paths) == MOST_TOLD
    assert not door.closed


def test_the_model_has_a_graph_of_its_own() -> None:
    graph = model_graph()
    assert [graph.nodes[name] for name in ("this model", "its output")] == ["model", "model"]
    assert graph.descendants("the body") == {"the signals", "this model", "its output"}

"""The named ways to learn one more domain: what is kept of earlier ones, what trains, what holds it."""

from dataclasses import dataclass
from typing import Literal

from hdt_fm.training.updating.memory import Memory, RowMemory
from hdt_fm.training.updating.prototypes import PrototypeMemory
from hdt_fm.training.updating.rows import Layout


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """One way.

    Attributes:
        keeps: Rows of people, prototypes of groups of them, or nothing.
        trains, anchor, distil: As of `UpdateSettings`.
        summary: What a person reads.
    """

    summary: str
    keeps: Literal["rows", "prototypes", "nothing"] = "nothing"
    trains: Literal["all", "last", "adapter"] = "all"
    anchor: float = 0.0
    distil: float = 0.0

    def memory(self, layout: Layout, *, most_bytes: int, seed: int) -> Memory | None:
        """An empty one of its kind."""
        if self.keeps == "rows":
            return RowMemory(layout, most_bytes=most_bytes, seed=seed)
        return PrototypeMemory(layout, seed=seed) if self.keeps == "prototypes" else None


# Strengths by the streams of `scripts/reproduce_evolve.py --part stream`.
STRATEGIES = {
    "prototypes": Strategy(keeps="prototypes", summary="rehearses prototypes of groups; keeps no row of anyone"),
    "rows": Strategy(keeps="rows", summary="rehearses rows of people as they were"),
    "ewc": Strategy(anchor=100.0, summary="keeps no data; holds the weights that mattered"),
    "lwf": Strategy(distil=5.0, summary="keeps no data; holds what the head says on the new rows"),
    "adapter": Strategy(
        trains="adapter", summary="keeps no data; a domain has changes of its own beside a shared head"
    ),
    "last_layer": Strategy(trains="last", summary="keeps no data; moves the last layer alone"),
    "going_on": Strategy(summary="keeps and holds nothing: the floor"),
}

"""What a protocol may know of a test person besides a window: nothing, minutes before it or all. Never a label."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Num

from hdt_fm.evaluation.standardise import (
    after_own_start,
    minus_own_start,
    recent_mean,
    scaled_per_person,
    side_by_side,
)
from hdt_fm.schema.embedding import EmbeddingTable
from hdt_fm.schema.errors import unknown_name

Knowledge = Literal["nothing", "recent", "own session", "own start"]
KNOWLEDGE: tuple[Knowledge, ...] = ("nothing", "recent", "own session", "own start")
RECENT_MINUTES = 5.0
OWN_START_MINUTES = 5.0


@dataclass(frozen=True)
class PersonalView:
    """How features are made under one kind of knowledge, and which windows remain.

    Attributes:
        suffix: Added to the task's name, so that such numbers never share a table with unaided ones.
        columns: Flags that every row carries.
    """

    knowledge: Knowledge
    table: EmbeddingTable

    @property
    def suffix(self) -> str:
        return {
            "nothing": "",
            "recent": f", last {RECENT_MINUTES:g} min beside",
            "own session": ", own-session scaling (transductive)",
            "own start": f", first {OWN_START_MINUTES:g} min as own baseline",
        }[self.knowledge]

    @property
    def columns(self) -> dict[str, str | bool]:
        if self.knowledge == "nothing":
            return {}
        return {"own_data": self.knowledge, "transductive": self.knowledge == "own session"}

    def features(self, features: Num[np.ndarray, "row _"]) -> Float[np.ndarray, "row _"]:
        """The features as this kind of knowledge allows."""
        if self.knowledge == "recent":
            recent = recent_mean(features, self.table.subject, self.table.time_s, minutes=RECENT_MINUTES)
            return side_by_side(features, recent)
        if self.knowledge == "own session":
            return scaled_per_person(features, self.table.subject)
        if self.knowledge == "own start":
            subject, time_s, window_s = self.table.subject, self.table.time_s, self.table.window_s
            return minus_own_start(features, subject, time_s, minutes=OWN_START_MINUTES, window_s=window_s)
        return np.asarray(features, dtype=np.float64)

    def kept(self) -> Bool[np.ndarray, " row"]:
        """Windows that may be fitted and scored; the own baseline's minutes are neither."""
        if self.knowledge == "own start":
            return after_own_start(self.table.subject, self.table.time_s, minutes=OWN_START_MINUTES)
        return np.ones(len(self.table), dtype=np.bool_)


def personal_views(table: EmbeddingTable, knowledge: Sequence[str]) -> list[PersonalView]:
    """One view for each kind of knowledge.

    Raises:
        UnknownNameError: If a kind is not known.
    """
    for name in knowledge:
        if name not in KNOWLEDGE:
            raise unknown_name("kind of personal data", name, KNOWLEDGE, where="evaluate.personal")
    return [PersonalView(one, table) for one in KNOWLEDGE if one in knowledge]

"""What a head that answers plans is given, and what it must do to be trained."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Past:
    """What is known of people, step by step on an even grid.

    Attributes:
        level: What is to be foretold; NaN where unknown.
        given: Doses given at a step, after its level; what was not given is 0. An unknown dose is no 0: it is refused.
        traits: Of the person.
        features: Of the moment, such as embeddings; None for none.
    """

    level: Float[Tensor, "person time"]
    given: Float[Tensor, "person time treatment"]
    traits: Float[Tensor, "person traits"]
    features: Float[Tensor, "person time feature"] | None = None

    def take(self, rows: Tensor | slice) -> "Past":
        features = None if self.features is None else self.features[rows]
        return Past(self.level[rows], self.given[rows], self.traits[rows], features)


@runtime_checkable
class OutcomeHead(Protocol):
    """A head that says what plans lead to.

    `encode` MUST give states (person, time) of which the one at a step knows nothing of that step's treatments or of
    anything later, with `hidden` (person, time, width) and `take(person, time)`. An answer at a step of a plan MUST NOT
    depend on the plan after it.
    """

    horizon: int

    def learn(self, past: Past) -> None:
        """Take from training people what is learned without gradients: units, scales, what people have in common."""
        ...

    def encode(self, past: Past) -> Any: ...

    def answer(self, states: Any, plan: Float[Tensor, "row horizon treatment"]) -> Any: ...

    def loss(self, answered: Any, target: Float[Tensor, "row horizon"]) -> Float[Tensor, ""]:
        """Mean over known targets (NaN where unknown)."""
        ...

    def missed(self, answered: Any, target: Float[Tensor, "row horizon"]) -> Float[Tensor, "row horizon"]:
        """Target less mean, in units that make rows alike; NaN where unknown."""
        ...

    def assignment(self, hidden: Tensor, *, reverse: float = 0.0) -> Tensor:
        """Log-odds that each treatment is given next; with `reverse`, its gradient comes back to `hidden` times that,
        negative."""
        ...

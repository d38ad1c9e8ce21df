"""What rooms promise each other. Training and evaluation know these, never a class behind them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor, nn

from hdt_fm.schema.batch import Batch
from hdt_fm.schema.recording import Visit


@runtime_checkable
class Cohort(Protocol):
    """Visits of a cohort, one at a time, in an order that does not change between runs."""

    name: str
    licence: str
    source: str

    def visits(self) -> Iterator[Visit]:
        """Read each visit; memory holds one at a time."""
        ...

    def inputs(self) -> list[Path]:
        """Files that the visits come from, for digests; empty for a simulated cohort."""
        ...


@runtime_checkable
class Encoder(Protocol):
    """One modality's window -> embedding. Any rate, channel count and length; absent samples are ignored.

    A window without one observed sample MUST give a finite embedding that does not depend on `values`.
    """

    width: int

    def __call__(
        self,
        values: Float[Tensor, "batch channel time"],
        observed: Bool[Tensor, "batch time"],
        sampling_rate_hz: float,
    ) -> Float[Tensor, "batch width"]: ...


@runtime_checkable
class Calibrated(Protocol):
    """An encoder that must see typical windows of training people once, before its weights learn.

    What it learns MUST be buffers, so that they travel with the weights.
    """

    def calibrate(
        self,
        values: Float[Tensor, "batch channel time"],
        observed: Bool[Tensor, "batch time"],
        sampling_rate_hz: float,
    ) -> None: ...


@runtime_checkable
class LinearReadout(Protocol):
    """An encoder whose embedding is a linear layer over pooled features, so that it can start from a closed form."""

    readout: nn.Linear

    def pooled(
        self,
        values: Float[Tensor, "batch channel time"],
        observed: Bool[Tensor, "batch time"],
        sampling_rate_hz: float,
    ) -> list[Float[Tensor, "batch _"]]:
        """What `readout` reads side by side, one block for each kind of thing."""
        ...


@dataclass(frozen=True)
class Embeddings:
    """Per-modality vectors of a batch; rows of absent modalities are zeros."""

    values: Float[Tensor, "batch modality width"]
    present: Bool[Tensor, "batch modality"]


@dataclass(frozen=True)
class LossReport:
    """A loss and what it rested on; `parts` and `counts` are detached and logged."""

    value: Float[Tensor, ""]
    parts: dict[str, Tensor]
    counts: dict[str, Tensor]


@runtime_checkable
class ContrastiveLoss(Protocol):
    """Projections of a batch -> loss; `log_logit_scale` is its own learned parameter."""

    def __call__(self, projections: Embeddings, batch: Batch) -> LossReport: ...


@dataclass(frozen=True)
class HeadInput:
    """What every head sees: frozen embeddings of the context, nothing of the future.

    Attributes:
        context: Features of the last windows, newest last; zeros where not observed.
        observed: Which context windows exist (no window across a gap counts as seen).
        recent: The target's own past values on the context grid; NaN where unknown. Empty for a probe.
        plan: Interventions over the horizon; None when the track has no plan.
    """

    context: Float[Tensor, "batch context feature"]
    observed: Bool[Tensor, "batch context"]
    recent: Float[Tensor, "batch context"] | None = None
    plan: Float[Tensor, "batch horizon treatment"] | None = None


@runtime_checkable
class Head(Protocol):
    """Frozen embeddings -> answer. Intervention and exposure heads have this same form."""

    def __call__(self, inputs: HeadInput) -> Tensor: ...

    def loss(self, output: Tensor, target: Tensor, counts: Tensor) -> Tensor:
        """Mean loss where `counts` (bool, like `target`) is True; 0 with zero gradient when nowhere."""
        ...

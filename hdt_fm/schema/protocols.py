"""What rooms promise each other. Training and evaluation know these, never a class behind them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.recording import Visit
from hdt_fm.schema.rhythm import RhythmFound
from hdt_fm.schema.shard import ModalityColumn


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

    What it learns MUST be buffers, so that they travel with the weights, and their mean over several calls MUST make
    sense, since of several cohorts each is shown by itself.
    """

    def calibrate(
        self,
        values: Float[Tensor, "batch channel time"],
        observed: Bool[Tensor, "batch time"],
        sampling_rate_hz: float,
    ) -> None: ...


@runtime_checkable
class LinearReadout(Protocol):
    """An encoder whose embedding is a linear layer over pooled features, so that it can start from a closed form.

    The last `direct` of the features are answers already: the embedding ends with them, beside what `readout` gives.
    """

    readout: nn.Linear
    direct: int

    def pooled(
        self,
        values: Float[Tensor, "batch channel time"],
        observed: Bool[Tensor, "batch time"],
        sampling_rate_hz: float,
    ) -> list[Float[Tensor, "batch _"]]:
        """What `readout` reads side by side, one block for each kind of thing."""
        ...


@runtime_checkable
class Stacked(Protocol):
    """An encoder or fusion of blocks that hold most of its memory and time; none of them where depth is 0.

    What a block gives MUST be one tensor that follows from its arguments, its weights and the global generators alone:
    so training may run it twice, compile it by itself, or share its weights out.
    """

    blocks: nn.ModuleList


@runtime_checkable
class Taught(Protocol):
    """An encoder with small parts that other modalities of the same windows can teach before training begins.

    `teachers` names those modalities. No label is used.
    """

    @property
    def teachers(self) -> frozenset[str]: ...

    def learn_from(self, teacher: str, own: Signal, other: Signal, subject: Int[Tensor, " batch"]) -> None:
        """Its own signal and the teacher's in windows that hold both, and whose they are."""
        ...


@runtime_checkable
class FindsRhythms(Protocol):
    """An encoder that can say what windows hold of a rhythm that it looks for, by the name that its config gave it."""

    def find_rhythm(
        self,
        name: str,
        values: Float[Tensor, "batch channel time"],
        observed: Bool[Tensor, "batch time"],
        sampling_rate_hz: float,
    ) -> RhythmFound: ...


@dataclass(frozen=True)
class Embeddings:
    """Per-modality vectors of a batch; rows of absent modalities are zeros."""

    values: Float[Tensor, "batch modality width"]
    present: Bool[Tensor, "batch modality"]


@runtime_checkable
class Fusion(Protocol):
    """The embeddings of a window's modalities, whichever are present -> one embedding of the window.

    What the slot of an absent modality holds MUST change nothing, not even NaN. A window of no modality MUST give one
    fixed finite vector. With fresh weights it MUST be the mean of those present.
    """

    width: int

    def __call__(
        self, values: Float[Tensor, "batch modality width"], present: Bool[Tensor, "batch modality"]
    ) -> Float[Tensor, "batch width"]: ...


@dataclass(frozen=True)
class Encoded:
    """All that a loss may look at: what the encoders made of a batch, what they saw, and what there was to see.

    Attributes:
        embeddings: What the encoders give, before the projection head.
        projections: In the shared space, of unit length.
        seen: What the encoders saw.
        whole: The same windows before modalities or stretches were hidden on purpose. Augmentation comes before
            both, so where `seen` is observed the values agree; `seen` is `whole` where nothing is hidden.
        others: For each modality what the fusion makes of the others of its window, in the shared space; None where
            the loss does not ask for it (`ReadsOthers`).
        spread: These are one process's rows of a batch that all processes have together, and the loss is to ask the
            others for theirs (`Spreads`).
    """

    embeddings: Embeddings
    projections: Embeddings
    seen: Batch
    whole: Batch
    others: Embeddings | None = None
    spread: bool = False


@dataclass(frozen=True)
class LossReport:
    """A loss and what it rested on; `parts` and `counts` are detached and logged."""

    value: Float[Tensor, ""]
    parts: dict[str, Tensor]
    counts: dict[str, Tensor]


@runtime_checkable
class Objective(Protocol):
    """A training loss; its learned parameters are its own. MUST be exactly 0, with zero gradients, where no window
    counts, and MUST NOT read a row of an absent modality or a sample that was not observed, not even to multiply it
    by zero."""

    def __call__(self, encoded: Encoded) -> LossReport: ...


@runtime_checkable
class Spreads(Protocol):
    """An `Objective` that can be given one process's rows (`Encoded.spread`) and compute its part of the whole loss.

    Where `spreads` is False it is given the rows of all processes. MUST report the loss, parts and counts of the whole
    batch on every process; the gradient of rows times the number of processes, since their mean is taken; and the
    whole gradient of its own parameters.
    """

    spreads: bool


@runtime_checkable
class Shaped(Protocol):
    """An `Objective` with weights that depend on the model, such as a decoder.

    `shape` MUST be called before the first loss and before an optimizer takes the parameters; called again with equal
    arguments it MUST give equal weights, and it MUST leave the global generator as it was.
    """

    def shape(self, columns: Sequence[ModalityColumn], width: int, seed: int) -> None:
        """Make the weights.

        Args:
            columns: The model's modalities, in the order of its embeddings.
            width: Components of an embedding.
            seed: Of the weights.
        """
        ...


@runtime_checkable
class Scaled(Protocol):
    """An `Objective` that must see typical windows of training people once, for the scale of its targets.

    Called after `shape`. What it learns MUST be buffers, so that they travel with a run's checkpoints.
    """

    def learn_scale(self, batch: Batch) -> None: ...


@runtime_checkable
class ReadsOthers(Protocol):
    """An `Objective` that may ask for `Encoded.others`, and so teach the fusion; `reads_others` says if it does."""

    reads_others: bool


@dataclass(frozen=True)
class HeadInput:
    """What every head sees: frozen embeddings of the context, nothing of the future.

    Attributes:
        context: Features of the last windows, newest last; zeros where not observed.
        observed: Which context windows exist (no window across a gap counts as seen).
        recent: The target's own past values, newest last, on the context grid or a finer one; NaN where unknown.
            Empty for a probe.
        plan: Interventions over the horizon; None when the track has no plan.
        known: What is known of the moment without any encoder (the last readings, the person's own week), for heads
            that read it; NaN where unknown.
    """

    context: Float[Tensor, "batch context feature"]
    observed: Bool[Tensor, "batch context"]
    recent: Float[Tensor, "batch past"] | None = None
    plan: Float[Tensor, "batch horizon treatment"] | None = None
    known: Float[Tensor, "batch feature_of_moment"] | None = None


@runtime_checkable
class Head(Protocol):
    """Frozen embeddings -> answer. Intervention and exposure heads have this same form."""

    def __call__(self, inputs: HeadInput) -> Tensor: ...

    def loss(self, output: Tensor, target: Tensor, counts: Tensor) -> Tensor:
        """Mean loss where `counts` (bool, like `target`) is True; 0 with zero gradient when nowhere."""
        ...


@runtime_checkable
class Ensemble(Protocol):
    """A head of several members, each taught with other people kept apart and asked together.

    `scaled` MUST be applied to what members are given; they answer in the unit that `learn_scale` found.
    """

    members: nn.ModuleList
    spread: Tensor

    def learn_scale(self, inputs: HeadInput, change: Float[Tensor, "batch horizon"]) -> None:
        """Take the scale of inputs and of the change ahead (NaN where unknown) from training people, as buffers."""
        ...

    def learn_unseen(self, inputs: HeadInput) -> int:
        """Scale of features that did not vary in those people, from others in whom they do; how many these are."""
        ...

    def scaled(self, inputs: HeadInput) -> HeadInput: ...

    def learn_hidden(self, inputs: HeadInput) -> None:
        """As `learn_scale`, of what the last layers read; called when the members are trained."""
        ...

    def member_loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Of one member's output; targets in `spread`, NaN where unknown."""
        ...

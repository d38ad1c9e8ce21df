"""A batch whose int16 members are still codes: half the bytes on the way to the device, decoded there.

It is a type of its own, without `signals`, so that nothing can take codes for values by mistake.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int16
from torch import Tensor

from hdt_fm.schema.batch import Batch, Signal, moved, moved_observed


@dataclass(frozen=True)
class CodedSignal:
    """One modality of a batch of windows: value = code * lsb + offset in its canonical unit.

    Attributes:
        whole: Whether everything was observed; known here, so that no device has to be asked.
    """

    codes: Int16[Tensor, "batch channel time"]
    observed: Bool[Tensor, "batch time"]
    sampling_rate_hz: float
    lsb: float
    offset: float
    whole: bool

    def decoded(self) -> Signal:
        """The signal in float32, on the device where the codes are."""
        seen = None if self.whole else self.observed
        values = dequantise(self.codes, lsb=self.lsb, offset=self.offset, observed=seen)
        return Signal(values, self.observed, self.sampling_rate_hz)


@dataclass(frozen=True)
class CodedBatch:
    """Windows of which some modalities are codes.

    Attributes:
        rest: The batch without these modalities' signals; its `present` tells of all.
        codes: By modality.
    """

    rest: Batch
    codes: Mapping[str, CodedSignal]

    def __len__(self) -> int:
        return len(self.rest)

    def to(self, device: torch.device | str) -> Batch:
        """The batch on a device, decoded there (Lightning calls this)."""
        codes = {
            name: replace(one, codes=moved(one.codes, device), observed=moved_observed(one.observed, device))
            for name, one in self.codes.items()
        }
        return CodedBatch(self.rest.to(device), codes).decoded()

    def decoded(self) -> Batch:
        """The batch where it is."""
        found = {**self.rest.signals, **{name: one.decoded() for name, one in self.codes.items()}}
        return replace(self.rest, signals={name: found[name] for name in self.rest.modalities if name in found})

    def over(self, modalities: Sequence[str]) -> "CodedBatch":
        """As of `Batch`."""
        codes = {name: one for name, one in self.codes.items() if name in modalities}
        return CodedBatch(self.rest.over(modalities), codes)


def dequantise(
    codes: Int16[Tensor, "batch channel time"],
    *,
    lsb: float,
    offset: float,
    observed: Bool[Tensor, "batch time"] | None = None,
) -> Float[Tensor, "batch channel time"]:
    """float32(code) * lsb + offset in one pass; 0 where not observed, in a second pass if there is such a place.

    Numerics: the product may not be rounded before the sum (FMA), so it is within one rounding of numpy's two steps,
    and equal where offset is 0.
    """
    values = torch.add(torch.tensor(offset, dtype=torch.float32), codes, alpha=lsb)
    return values if observed is None else values.masked_fill_(~observed[:, None], 0.0)

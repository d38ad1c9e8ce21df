"""Door 3: the Batch, the one object that encoders, losses and heads see.

Contract, version 1: `present[b, m]` MUST be True exactly when window b holds modality `modalities[m]`;
signals of absent modalities MUST be zeros with `observed` all False; a modality absent from the whole
batch MAY be missing from `signals`. No field ever holds a raw id. All windows MUST be of one cohort: a rate
and a length hold for a batch. `static` (facts about the person) MUST be equal in all of a person's windows; its time
axis is a place for each column, unobserved where the column is not known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hdt_fm.schema.errors import ShapeError
from hdt_fm.schema.modalities import STATIC


@dataclass(frozen=True)
class Signal:
    """One modality of a batch of windows, in its canonical unit.

    `observed` may be one column spread over time (stride 0) where it says the same of all samples of a window: read it
    as any mask, and make a new one rather than write into it (torch refuses to).
    """

    values: Float[Tensor, "batch channel time"]
    observed: Bool[Tensor, "batch time"]
    sampling_rate_hz: float


@dataclass(frozen=True)
class Batch:
    """Windows of any subset of modalities.

    Attributes:
        modalities: Order of the columns of `present`.
        subject: Row of the subject in the shard manifest (or any integer that is equal for one person).
        time_s: Start of the window in seconds; only differences within a subject mean anything.
        window_id: Unique in its shard folder.
        labels: One value a window; NaN where unknown.
        cohort: Whose windows these are where cohorts train together; empty where there is one.
    """

    modalities: tuple[str, ...]
    signals: Mapping[str, Signal]
    present: Bool[Tensor, "batch modality"]
    subject: Int[Tensor, " batch"]
    time_s: Float[Tensor, " batch"]
    window_id: Int[Tensor, " batch"]
    labels: Mapping[str, Float[Tensor, " batch"]] = field(default_factory=dict)
    cohort: str = ""

    def __post_init__(self) -> None:
        size = len(self)
        if self.present.shape != (size, len(self.modalities)):
            raise ShapeError(
                "`present` does not fit the batch",
                expected=f"({size}, {len(self.modalities)})",
                got=str(tuple(self.present.shape)),
            )
        for name, signal in self.signals.items():
            if signal.values.shape[0] != size or signal.observed.shape != signal.values.shape[::2]:
                raise ShapeError(
                    f"Signal {name!r} does not fit the batch",
                    expected=f"values ({size}, channel, time) and observed ({size}, time)",
                    got=f"{tuple(signal.values.shape)} and {tuple(signal.observed.shape)}",
                )

    def __len__(self) -> int:
        return int(self.subject.shape[0])

    def column(self, modality: str) -> Bool[Tensor, " batch"]:
        """Which windows hold the modality."""
        return self.present[:, self.modalities.index(modality)]

    @property
    def of_person(self) -> tuple[int, ...]:
        """Numbers of the modalities that are the same in all of a person's windows."""
        return tuple(number for number, name in enumerate(self.modalities) if name == STATIC)

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device (Lightning calls this)."""
        signals = {
            name: replace(signal, values=moved(signal.values, device), observed=moved_observed(signal.observed, device))
            for name, signal in self.signals.items()
        }
        return replace(
            self,
            signals=signals,
            present=moved(self.present, device),
            subject=moved(self.subject, device),
            time_s=moved(self.time_s, device),
            window_id=moved(self.window_id, device),
            labels={name: moved(value, device) for name, value in self.labels.items()},
        )

    def select(self, index: Tensor) -> "Batch":
        """The windows at `index` (long or bool), in that order."""
        signals = {
            name: replace(signal, values=signal.values[index], observed=signal.observed[index])
            for name, signal in self.signals.items()
        }
        return replace(
            self,
            signals=signals,
            present=self.present[index],
            subject=self.subject[index],
            time_s=self.time_s[index],
            window_id=self.window_id[index],
            labels={name: value[index] for name, value in self.labels.items()},
        )

    def over(self, modalities: Sequence[str]) -> "Batch":
        """The same windows with the columns of `modalities`; what they lack is absent, what is not named is gone."""
        present = self.present.new_zeros(len(self), len(modalities))
        for column, name in enumerate(modalities):
            if name in self.modalities:
                present[:, column] = self.column(name)
        signals = {name: signal for name, signal in self.signals.items() if name in modalities}
        return replace(self, modalities=tuple(modalities), signals=signals, present=present)

    def without(self, keep: Bool[Tensor, "batch modality"]) -> "Batch":
        """The same windows with every modality absent where `keep` is False (values zeroed, unobserved)."""
        present = self.present & keep
        signals = {}
        for name, signal in self.signals.items():
            here = present[:, self.modalities.index(name)]
            values = torch.where(here[:, None, None], signal.values, torch.zeros_like(signal.values))
            signals[name] = replace(signal, values=values, observed=signal.observed & here[:, None])
        return replace(self, signals=signals, present=present)


def moved(tensor: Tensor, device: torch.device | str) -> Tensor:
    """On a device; to a GPU without waiting, which page-locked memory allows and other memory ignores."""
    return tensor.to(device, non_blocking=torch.device(device).type == "cuda")


def moved_observed(observed: Bool[Tensor, "batch time"], device: torch.device | str) -> Bool[Tensor, "batch time"]:
    """As `moved`; of a mask that says the same of all samples of a window, one column travels."""
    if observed.shape[1] > 1 and observed.stride(1) == 0:
        return moved(observed[:, 0], device)[:, None].expand(observed.shape)
    return moved(observed, device)

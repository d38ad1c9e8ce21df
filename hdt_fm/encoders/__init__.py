"""Batch -> embeddings: one encoder per modality, and the module that runs them over a batch."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hdt_fm.layers.readout import Pooled, start_readouts
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.errors import ConfigError, ShapeError, unknown_name
from hdt_fm.schema.manifest import Part
from hdt_fm.schema.modalities import STATIC, own_or_of_kind
from hdt_fm.schema.modalities import modality as look_up_modality
from hdt_fm.schema.protocols import Calibrated, Embeddings, FindsRhythms, LinearReadout, Taught
from hdt_fm.schema.registry import build
from hdt_fm.schema.rhythm import RhythmFound
from hdt_fm.schema.shard import ModalityColumn

# Windows that are pooled at a time; it bounds memory and changes nothing.
PIECE = 256


class ModalityEncoders(nn.Module):
    """One encoder per modality; each sees only the windows that hold its modality.

    Parameters are named `encoders.<modality>.<...>`, so a weight keeps its name when modalities are added.

    Args:
        modalities: The signal contract; its order is the order of the embeddings.
        encoder: Registered name and shared arguments.
        per_modality: Arguments of one modality, over those of its kind (`acc` for `acc_pocket`), over the shared
            ones; other known modalities are ignored. `static` has an encoder of its own (`static.py`) and none of the
            shared ones but the width.
        statistics: Per signal (center, scale) of the training people, given to its encoder.

    Raises:
        ConfigError: If statistics are missing or encoders differ in width.
        UnknownNameError: If `per_modality` names something that is no modality.
    """

    def __init__(
        self,
        modalities: Sequence[ModalityColumn],
        encoder: Part,
        per_modality: Mapping[str, Mapping],
        statistics: Mapping[str, tuple[float, float]],
    ) -> None:
        super().__init__()
        for name in per_modality:
            look_up_modality(name)
        self.modalities = tuple(column.name for column in modalities)
        signals = [name for name in self.modalities if name != STATIC]
        missing = [name for name in signals if name not in statistics]
        if missing:
            raise ConfigError(
                f"No input statistics for: {', '.join(missing)}",
                where="statistics",
                expected="(center, scale) for every modality",
                fix="compute them from the training people",
            )
        if encoder.name == STATIC:
            raise ConfigError(
                f"The encoder {STATIC!r} reads facts about people, not signals",
                where="encoder.name",
                expected="an encoder of signals, such as patch_transformer",
                fix="covariates=[age_band, sex] adds it beside the encoder of signals",
            )
        self.encoders = nn.ModuleDict()
        for name in signals:
            center, scale = statistics[name]
            args = {"center": center, "scale": scale, **encoder.args, **own_or_of_kind(per_modality, name)}
            self.encoders[name] = build("encoders", encoder.name, args)
            for teacher in getattr(self.encoders[name], "teachers", ()):
                look_up_modality(teacher)
        if STATIC in self.modalities:
            # Last, whatever its place, so that signals begin with the weights that they have without it.
            shared = {"width": self.encoders[signals[0]].width} if signals else {}
            self.encoders[STATIC] = build("encoders", STATIC, {**shared, **per_modality.get(STATIC, {})})
        widths: dict[str, Any] = {name: part.width for name, part in self.encoders.items()}
        if len(set(widths.values())) != 1:
            raise ConfigError("Encoders differ in width", expected="one width for all modalities", got=str(widths))
        self.width = int(next(iter(widths.values())))

    def forward(self, batch: Batch) -> Embeddings:
        """Embeddings in the order of `self.modalities`, in the dtype of the parameters.

        Modalities of the batch that the model does not know are ignored; those that the batch lacks are absent.

        Raises:
            ShapeError: If batch and model share no modality.
        """
        shared = [name for name in self.modalities if name in batch.modalities]
        if not shared:
            raise ShapeError(
                "The batch has none of the model's modalities",
                expected=f"one of: {', '.join(self.modalities)}",
                got=", ".join(batch.modalities),
            )
        present = torch.zeros(len(batch), len(self.modalities), dtype=torch.bool, device=batch.present.device)
        for column, name in enumerate(self.modalities):
            if name in shared and name in batch.signals:
                present[:, column] = batch.column(name)
        rows = [self._encode(name, batch.signals.get(name), present[:, k]) for k, name in enumerate(self.modalities)]
        return Embeddings(values=torch.stack(rows, dim=1), present=present)

    @torch.no_grad()
    def find_rhythm(self, batch: Batch, name: str, rhythm: str) -> RhythmFound:
        """What each window says of a rhythm of one modality, read off directly; NaN where the modality is absent.

        Raises:
            UnknownNameError: If the model has no such modality, or looks for no such rhythm in it.
            ShapeError: If the batch has not this modality.
        """
        if name not in self.encoders:
            raise unknown_name("modality", name, self.modalities, where="find_rhythm")
        encoder = self.encoders[name]
        if not isinstance(encoder, FindsRhythms):
            raise unknown_name("rhythm", rhythm, (), where=f"{name}: {type(encoder).__name__} looks for none")
        if name not in batch.signals:
            raise ShapeError(
                f"The batch has no {name}", expected=name, got=", ".join(batch.modalities), where="find_rhythm"
            )
        signal, here = batch.signals[name], batch.column(name)
        found = encoder.find_rhythm(rhythm, signal.values[here], signal.observed[here], signal.sampling_rate_hz)
        log_share = found.log_share.new_full((len(batch), len(found.hz)), torch.nan)
        log_share[here] = found.log_share
        return RhythmFound(found.hz, log_share)

    def calibrate(self, *batches: Batch) -> None:
        """Show each encoder that asks for it the windows that hold its modality.

        Of several cohorts, a batch each, it keeps the mean of what it learned from each by itself: a rate and a length
        hold for one cohort, and how far cohorts lie apart must not pass for how far windows do.
        """
        for name, encoder in self.encoders.items():
            if isinstance(encoder, Calibrated):
                learned = []
                for batch in batches:
                    if name in batch.signals:
                        signal, here = batch.signals[name], batch.column(name)
                        encoder.calibrate(signal.values[here], signal.observed[here], signal.sampling_rate_hz)
                        learned.append([buffer.clone() for buffer in encoder.buffers()])
                if len(learned) > 1:
                    _take_mean(encoder, learned)

    @torch.no_grad()
    def start(self, *batches: Batch, shared: int) -> None:
        """Let every linear readout start in closed form from windows of training people.

        The first `shared` components of an embedding become what its modality shares with the others (multiview
        CCA), the rest what is its own. What another modality can teach an encoder is learned first. Modalities
        without a linear readout, or with fewer than two windows, stay.

        Args:
            batches: One a cohort. What is pooled of a modality is as wide in each, whatever its rate and length.

        Raises:
            ConfigError: If no two of the modalities are present together.
        """
        self._teach(batches)
        parts = {}
        was_training = self.training
        self.eval()
        for name, encoder in self.encoders.items():
            if isinstance(encoder, LinearReadout):
                part = _pooled_of_all(name, encoder, batches)
                if part is not None:
                    parts[name] = part
        self.train(was_training)
        start_readouts(parts, shared)

    @torch.enable_grad()
    def _teach(self, batches: Sequence[Batch]) -> None:
        """Let encoders learn what another modality of the same windows knows outright, in the cohort with most."""
        for name, encoder in self.encoders.items():
            if not isinstance(encoder, Taught):
                continue
            for teacher in sorted(encoder.teachers):
                both = [_both(batch, name, teacher) for batch in batches]
                most = max(range(len(batches)), key=lambda number: len(both[number]))
                if len(both[most]):
                    some = batches[most].select(both[most])
                    encoder.learn_from(teacher, some.signals[name], some.signals[teacher], some.subject)

    def _encode(self, name: str, signal: Signal | None, here: Tensor) -> Float[Tensor, "batch width"]:
        dtype = next(self.encoders[name].parameters()).dtype
        if signal is None or not bool(here.any()):
            return torch.zeros(len(here), self.width, dtype=dtype, device=here.device)
        if bool(here.all()):
            return self.encoders[name](signal.values, signal.observed, signal.sampling_rate_hz).to(dtype)
        index = here.nonzero().squeeze(1)
        encoded = self.encoders[name](signal.values[index], signal.observed[index], signal.sampling_rate_hz)
        zeros = torch.zeros(len(here), self.width, dtype=dtype, device=here.device)
        return zeros.index_copy(0, index, encoded.to(dtype))


def _take_mean(encoder: nn.Module, learned: Sequence[Sequence[Tensor]]) -> None:
    for buffer, *each in zip(encoder.buffers(), *learned, strict=True):
        if buffer.is_floating_point():
            buffer.copy_(torch.stack(each).mean(0))


def _both(batch: Batch, name: str, other: str) -> Int[Tensor, " row"]:
    if name not in batch.signals or other not in batch.signals:
        return torch.zeros(0, dtype=torch.long)
    return (batch.column(name) & batch.column(other)).nonzero().squeeze(1)


def _pooled_of_all(name: str, encoder: LinearReadout, batches: Sequence[Batch]) -> Pooled | None:
    """A modality's pooled features in the windows of all batches; None where fewer than two windows have it."""
    here = [batch.over((name,)).present[:, 0] & (name in batch.signals) for batch in batches]
    counts = [int(rows.sum()) for rows in here]
    if sum(counts) < 2:
        return None
    found = [
        _pooled(encoder, batch.signals[name], rows)
        for batch, rows, count in zip(batches, here, counts, strict=True)
        if count
    ]
    blocks = [torch.cat(some) for some in zip(*found, strict=True)]
    cohort = torch.arange(len(batches)).repeat_interleave(torch.tensor(counts))
    return Pooled(encoder.readout, blocks, torch.cat(here), encoder.direct, cohort if len(batches) > 1 else None)


def _pooled(encoder: LinearReadout, signal: Signal, here: Tensor) -> list[Float[Tensor, "row _"]]:
    rate, pieces = signal.sampling_rate_hz, here.nonzero().squeeze(1).split(PIECE)
    found = [encoder.pooled(signal.values[rows], signal.observed[rows], rate) for rows in pieces]
    return [torch.cat(blocks).double().cpu() for blocks in zip(*found, strict=True)]

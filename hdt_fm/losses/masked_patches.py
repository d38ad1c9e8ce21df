"""Reconstruction of patches that were measured and hidden on purpose. What was never measured has no say."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from hdt_fm.ops.patch_energy import Patches, bands_of_patch, by_patch, patch_energy, points_of_patch
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.modalities import STATIC
from hdt_fm.schema.protocols import Embeddings, Encoded, LossReport
from hdt_fm.schema.shard import ModalityColumn

# Of a typical band's energy: what is weaker is taken as rounding of the device.
ENERGY_FLOOR = 1e-4
# In standardised units. An artefact must not outweigh all other patches.
LARGEST = 5.0
# As for levels that never change, and log energies that stay at their floor.
MIN_SCALE = 1e-6
MIN_LOG_SCALE = 0.1


class MaskedPatches(nn.Module):
    """Say from a window's embeddings what its hidden patches hold: level and log band energies, standardised.

    A patch counts when `whole` observed all of it and `seen` none of it, be it in a hidden stretch or in a hidden
    modality (which the others must then tell of). Facts about people (`static`) have no patches and are not read: of a
    moment they say nothing. The decoder reads the mean of a linear map of each modality that
    was seen, with a learned query for each patch. It is small, so that what it needs must stand in the embeddings.

    Args:
        patch_s: Seconds of a patch. A hidden stretch should hold at least one.
        bands: Bands of a patch's spectrum, equally wide on a logarithmic axis.
        hidden_width: Of the decoder.

    Source: Xu et al. 2025 (LSM-2), the union of inherited and artificial masks with the loss on the artificial
        alone; targets and decoder are our own.
    """

    def __init__(self, *, patch_s: float = 2.0, bands: int = 6, hidden_width: int = 64) -> None:
        super().__init__()
        if not patch_s > 0 or bands < 1 or hidden_width < 1:
            raise ConfigError(
                "masked_patches cannot be built",
                where="losses/masked_patches",
                expected="patch_s > 0, bands and hidden_width at least 1",
                got=f"patch_s {patch_s}, bands {bands}, hidden_width {hidden_width}",
            )
        self.patch_s, self.bands, self.hidden_width = float(patch_s), bands, hidden_width
        self.parts = nn.ModuleDict()
        self.mixer: nn.Module = nn.Identity()

    def shape(self, columns: Sequence[ModalityColumn], width: int, seed: int) -> None:
        """Make the decoder for a model's modalities; equal arguments give equal weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.parts = nn.ModuleDict(
                {
                    column.name: PatchDecoder(
                        column, patch_s=self.patch_s, bands=self.bands, width=width, hidden_width=self.hidden_width
                    )
                    for column in columns
                    if column.name != STATIC
                }
            )
            self.mixer = nn.Sequential(nn.GELU(), nn.Linear(self.hidden_width, self.hidden_width), nn.GELU())

    def learn_scale(self, batch: Batch) -> None:
        """Take center and scale of every target from windows of training people."""
        for name, part in self._decoders().items():
            if name in batch.signals:
                part.target.learn(batch.signals[name])

    def forward(self, encoded: Encoded) -> LossReport:
        """Mean over modalities of the mean squared error of their patches that count, in standardised units.

        1 is what the training people's mean gets; `parts` are the modalities' errors, `counts` their patches.

        Raises:
            ConfigError: If `shape` was not called.
            ShapeError: If the embeddings or windows are not those of the model that it was shaped for.
        """
        decoders, encoded = self._decoders(), _of_moments(encoded)
        embeddings = encoded.embeddings
        dtype = next(self.parameters()).dtype
        if embeddings.values.shape[1] != len(decoders):
            raise ShapeError(
                "Embeddings do not fit the decoder",
                expected=f"{len(decoders)} modalities",
                got=str(embeddings.values.shape[1]),
            )
        with torch.autocast(embeddings.values.device.type, enabled=False):
            seen = seen_modalities(encoded, tuple(decoders))
            context = self._context(embeddings.values.to(dtype), seen)
            # 0 with a path to every weight and to the embeddings, whatever rows that do not count hold.
            value = sum((weight.sum() * 0.0 for weight in self.parameters()), embeddings.values[:0].sum().to(dtype))
            parts, counts = {}, {}
            for name, decoder in decoders.items():
                pair = _signals(encoded, name)
                errors = None if pair is None else self._errors(decoder, context, seen.any(1), *pair)
                counts[name] = torch.tensor(0 if errors is None else len(errors), device=embeddings.values.device)
                parts[name] = value.detach() * 0 if errors is None or not len(errors) else errors.mean()
            counted = [parts[name] for name in decoders if int(counts[name])]
            value = value + (torch.stack(counted).mean() if counted else 0.0)
        return LossReport(value=value, parts={name: part.detach() for name, part in parts.items()}, counts=counts)

    def _decoders(self) -> dict[str, "PatchDecoder"]:
        if not self.parts:
            raise ConfigError(
                "masked_patches does not know the model yet",
                where="losses/masked_patches",
                fix="call shape(columns, width, seed) before training",
            )
        return dict(self.parts.items())  # type: ignore[arg-type]

    def _context(
        self, values: Float[Tensor, "batch modality width"], seen: Bool[Tensor, "batch modality"]
    ) -> Float[Tensor, "batch hidden"]:
        """Mean over seen modalities of their linear maps; zeros where nothing was seen."""
        total = values.new_zeros(len(values), self.hidden_width)
        for column, part in enumerate(self._decoders().values()):
            here = seen[:, column].nonzero().squeeze(1)
            # Gathered, not masked: a row that is never read cannot leak its NaN.
            total = total.index_add(0, here, part.read(values[here, column]))
        return total / seen.sum(1, keepdim=True).clamp(min=1)

    def _errors(
        self,
        decoder: "PatchDecoder",
        context: Tensor,
        known: Bool[Tensor, " batch"],
        whole: Signal,
        seen: Signal | None,
    ) -> Float[Tensor, " counted"]:
        patches = decoder.target.measure(whole)
        counts = patches.observed & known[:, None]
        if seen is not None:
            counts = counts & ~by_patch(seen.observed, decoder.target.points).any(-1)
        row, place = counts.nonzero(as_tuple=True)
        target = decoder.target.standardised(patches)[row, place].to(context.dtype)
        said = decoder.answer(self.mixer(context[row] + decoder.query[place]))
        return F.mse_loss(said, target, reduction="none").mean(1)


class PatchDecoder(nn.Module):
    """One modality's part: how its embedding is read, a query for each of its patches, and the answer's last layer."""

    def __init__(self, column: ModalityColumn, *, patch_s: float, bands: int, width: int, hidden_width: int) -> None:
        super().__init__()
        self.target = PatchTarget(column, patch_s=patch_s, bands=bands)
        self.read = nn.Linear(width, hidden_width)
        self.query = nn.Parameter(torch.randn(self.target.patches, hidden_width) * 0.5)
        self.answer = nn.Linear(hidden_width, self.target.size)


class PatchTarget(nn.Module):
    """Level of each channel and log energy of each band of a patch, by center and scale of training people."""

    floor: Tensor
    center: Tensor
    scale: Tensor
    weights: Tensor

    def __init__(self, column: ModalityColumn, *, patch_s: float, bands: int) -> None:
        super().__init__()
        self.points = min(points_of_patch(patch_s, column.sampling_rate_hz), column.samples)
        self.patches = column.samples // self.points
        self.channels, self.samples = column.channels, column.samples
        self.register_buffer("weights", bands_of_patch(self.points, bands), persistent=False)
        self.size = column.channels + len(self.weights)
        self.register_buffer("floor", torch.full((len(self.weights),), ENERGY_FLOOR))
        self.register_buffer("center", torch.zeros(self.size))
        self.register_buffer("scale", torch.ones(self.size))

    def measure(self, signal: Signal) -> Patches:
        """Patches of a signal of this modality.

        Raises:
            ShapeError: If it has other channels or another length than the model's.
        """
        if signal.values.shape[1:] != (self.channels, self.samples):
            raise ShapeError(
                "A signal does not fit the decoder",
                expected=f"(channel, time) = {(self.channels, self.samples)}",
                got=str(tuple(signal.values.shape[1:])),
            )
        return patch_energy(signal.values, signal.observed, self.points, self.weights)

    def raw(self, patches: Patches) -> Float[Tensor, "batch patch feature"]:
        """Level and log energy."""
        return torch.cat((patches.level, torch.log(patches.energy + self.floor)), dim=-1)

    def standardised(self, patches: Patches) -> Float[Tensor, "batch patch feature"]:
        """What is to be said, of a size of about 1."""
        return ((self.raw(patches) - self.center) / self.scale).clamp(-LARGEST, LARGEST)

    @torch.no_grad()
    def learn(self, signal: Signal) -> None:
        """Floor, center and scale from patches that were fully observed; fewer than two change nothing."""
        patches = self.measure(signal)
        if int(patches.observed.sum()) < 2:
            return
        typical = patches.energy[patches.observed].mean(0)
        self.floor.copy_((ENERGY_FLOOR * typical).clamp(min=torch.finfo(torch.float32).tiny))
        rows = self.raw(patches)[patches.observed].double()
        least = torch.full_like(rows[0], MIN_LOG_SCALE)
        least[: self.channels] = MIN_SCALE
        self.center.copy_(rows.mean(0))
        self.scale.copy_(torch.maximum(rows.std(0), least))


def _of_moments(encoded: Encoded) -> Encoded:
    """The same without the embeddings of what is the same in all of a person's windows."""
    of_person = encoded.seen.of_person
    if not of_person:
        return encoded
    kept = [column for column in range(len(encoded.seen.modalities)) if column not in of_person]
    values, present = encoded.embeddings.values[:, kept], encoded.embeddings.present[:, kept]
    return replace(encoded, embeddings=Embeddings(values, present))


def seen_modalities(encoded: Encoded, names: Sequence[str]) -> Bool[Tensor, "batch modality"]:
    """Which embeddings rest on at least one sample that was seen."""
    seen = encoded.embeddings.present.clone()
    for column, name in enumerate(names):
        signal = encoded.seen.signals.get(name)
        if signal is None:
            seen[:, column] = False
        else:
            seen[:, column] &= signal.observed.any(1)
    return seen


def _signals(encoded: Encoded, name: str) -> tuple[Signal, Signal | None] | None:
    """A modality as it was and as it was seen; None where no window of the batch holds it."""
    whole = encoded.whole
    if name not in whole.modalities or not bool(whole.column(name).any()):
        return None
    if name not in whole.signals:
        raise ShapeError(
            f"Windows hold {name!r} but came without its signal",
            where="losses/masked_patches",
            fix="gather batches of several processes with the model's columns (`training.distributed.gather`)",
        )
    return whole.signals[name], encoded.seen.signals.get(name)

"""What heads of a moment share: inputs on one scale by training people's numbers, and a reader of windows before."""

from dataclasses import replace
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from hdt_fm.layers.attention import TransformerBlock
from hdt_fm.layers.rotary import rotary_angles
from hdt_fm.schema.errors import ShapeError
from hdt_fm.schema.protocols import HeadInput

Kind = Literal["gru", "lstm", "transformer"]
# Standardised features beyond this are held there: one wild reading must not carry an answer away.
FAR = 8.0
# Of a feature that does not vary.
LEAST_SPREAD = 1e-6
HEADS = 4


@runtime_checkable
class HoldsScale(Protocol):
    """A module with the buffers of `hold_scale`."""

    center: Tensor
    scale: Tensor
    flagged: Tensor
    context_center: Tensor
    context_scale: Tensor


def hold_scale(module: nn.Module, known: int, in_features: int) -> None:
    """Register center and scale of the features of a moment and of embeddings, and which features are unknown at
    times; until `learn_input_scale` they change nothing."""
    for name, size in (("center", known), ("context_center", in_features)):
        module.register_buffer(name, torch.zeros(size))
    for name, size in (("scale", known), ("context_scale", in_features)):
        module.register_buffer(name, torch.ones(size))
    module.register_buffer("flagged", torch.zeros(known))


@torch.no_grad()
def learn_input_scale(held: HoldsScale, inputs: HeadInput) -> None:
    """Take center, scale and flags from training people."""
    center, scale, flagged = _spread_of(known_of(inputs))
    held.center.copy_(center)
    held.scale.copy_(scale)
    held.flagged.copy_(flagged)
    if len(held.context_center):
        center, scale, _ = _spread_of(inputs.context[inputs.observed])
        held.context_center.copy_(center)
        held.context_scale.copy_(scale)


@torch.no_grad()
def learn_unseen_scale(held: HoldsScale, inputs: HeadInput) -> int:
    """Scale of features that did not vary until now, from the first people in whom they do; how many these are.

    Centers stay, and scales that were learned: what was read before is read as it was where nobody had the feature, or
    all had it alike and always. (One that all had alike but not always gets a flag that was never trained.)
    """
    rows = known_of(inputs)
    seen = rows.isfinite()
    apart = torch.where(seen, rows - held.center, 0.0).double()
    spread = (apart.square().sum(0) / seen.sum(0).clamp(min=1)).sqrt()
    # Centers are of single precision: what that rounds off is no spread.
    rounded = 1e-6 * held.center.abs().double()
    opened = (held.scale <= 2 * LEAST_SPREAD) & (spread > LEAST_SPREAD + rounded)
    held.scale.copy_(torch.where(opened, spread.to(held.scale.dtype), held.scale))
    return int(opened.sum())


def scaled_inputs(held: HoldsScale, inputs: HeadInput) -> HeadInput:
    """Features in units of training people's spread, with flags of what is known beside; embeddings alike."""
    known = known_of(inputs)
    # What did not vary among training people has no scale: it is not read, as it was not then.
    seen = known.isfinite() & (held.scale > 2 * LEAST_SPREAD)
    values = torch.where(seen, (known.nan_to_num() - held.center) / held.scale, 0.0).clamp(-FAR, FAR)
    both = torch.cat((values, torch.where(seen, 1.0, 0.0) * held.flagged), dim=-1)
    context = inputs.context
    if len(held.context_center):
        context = ((context - held.context_center) / held.context_scale).clamp(-FAR, FAR)
        context = torch.where(inputs.observed[..., None], context, 0.0)
    return replace(inputs, known=both.float(), context=context.float())


class MomentReader(nn.Module):
    """Embeddings in order -> one vector; beside the scaled features of the moment into a network.

    Args:
        known: Features of the moment and their flags.
        in_features: Components of an embedding; 0 reads no embeddings.
        kind: What reads them.
        width: Of that vector, divisible by 8 for the transformer.
        network: Takes `known + width` features (`known` alone without embeddings); its `hidden` is what its last
            layer reads.
    """

    def __init__(
        self, *, known: int, in_features: int, kind: Kind, width: int, network: nn.Module, dropout: float
    ) -> None:
        super().__init__()
        self.in_features, self.kind, self.head_width = in_features, kind, width // HEADS
        self.network = network
        if in_features:
            self.enter = nn.Linear(in_features + 1, width)
            self.drop = nn.Dropout(dropout)
        if in_features and kind == "transformer":
            self.blocks = nn.ModuleList([TransformerBlock(width=width, heads=HEADS, dropout=dropout) for _ in range(2)])
            self.norm = nn.LayerNorm(width)
        elif in_features:
            self.steps = (nn.GRU if kind == "gru" else nn.LSTM)(width, width, batch_first=True)

    def forward(self, inputs: HeadInput) -> Float[Tensor, "batch ..."]:
        return self.network(self._all(inputs))

    def hidden(self, inputs: HeadInput) -> Float[Tensor, "batch hidden"]:
        return self.network.hidden(self._all(inputs))  # type: ignore[operator]

    def _all(self, inputs: HeadInput) -> Float[Tensor, "batch feature"]:
        assert inputs.known is not None
        if not self.in_features:
            return inputs.known
        return torch.cat((inputs.known, self.drop(self._read(inputs))), dim=-1)

    def _read(self, inputs: HeadInput) -> Float[Tensor, "batch width"]:
        x = self.enter(torch.cat((inputs.context, inputs.observed[..., None].to(inputs.context.dtype)), dim=-1))
        if self.kind != "transformer":
            return self.steps(F.gelu(x))[0][:, -1]
        keys = inputs.observed | ~inputs.observed.any(1, keepdim=True)
        # Counted back from the newest window, so that a longer context does not move the near past.
        position = torch.arange(1 - x.shape[1], 1, device=x.device, dtype=torch.float32)
        angles = rotary_angles(position, self.head_width)
        for block in self.blocks:
            x = block(x, angles, keys)
        return self.norm(x)[:, -1]


def known_of(inputs: HeadInput) -> Tensor:
    """Features of the moment.

    Raises:
        ShapeError: If there are none.
    """
    if inputs.known is None:
        raise ShapeError("This head needs features of the moment", expected="inputs.known")
    return inputs.known


def _spread_of(rows: Float[Tensor, "row feature"]) -> tuple[Tensor, Tensor, Tensor]:
    """Center, spread, and whether a feature is unknown at times, over rows."""
    seen = rows.isfinite()
    count = seen.sum(0).clamp(min=1)
    values = torch.where(seen, rows, 0.0).double()
    center = values.sum(0) / count
    spread = (torch.where(seen, (values - center) ** 2, 0.0).sum(0) / count).sqrt() + LEAST_SPREAD
    return center, spread, (~seen.all(0)).double()

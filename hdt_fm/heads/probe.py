"""The smallest head: one linear map, so that what it finds was already in the embedding."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from hdt_fm.layers.context import masked_mean
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.protocols import HeadInput

Kind = Literal["class", "value"]


class Probe(nn.Module):
    """Mean of the observed context windows -> logits of classes, or values.

    Args:
        in_features: Components of a context feature.
        out_features: Classes (two or more), or values.
        kind: "class" gives logits and learns by cross-entropy; "value" gives values and learns by squared error.
        center, scale: Of the target in training people, so that a value in any unit starts near its mean.
    """

    def __init__(
        self, *, in_features: int, out_features: int, kind: Kind = "class", center: float = 0.0, scale: float = 1.0
    ) -> None:
        super().__init__()
        if kind not in ("class", "value") or out_features < (2 if kind == "class" else 1) or not scale > 0:
            raise ConfigError(
                "The probe cannot be built",
                where="heads/probe",
                expected='kind "class" with out_features >= 2, or kind "value" with out_features >= 1; scale > 0',
                got=f"kind {kind!r}, out_features {out_features}, scale {scale}",
            )
        self.kind, self.center, self.scale = kind, float(center), float(scale)
        self.linear = nn.Linear(in_features, out_features)

    def forward(self, inputs: HeadInput) -> Float[Tensor, "batch out"]:
        raw = self.linear(masked_mean(inputs.context, inputs.observed))
        return raw if self.kind == "class" else self.center + self.scale * raw

    def loss(self, output: Float[Tensor, "batch out"], target: Tensor, counts: Tensor) -> Float[Tensor, ""]:
        """Cross-entropy in nats, or mean squared error in units of `scale`, where `counts`.

        Args:
            target: Class numbers (batch,), or values (batch,) or (batch, out); anything where not counted.
            counts: Bool, like `target`.

        Raises:
            ShapeError: If `target` or `counts` does not fit the output.
        """
        if self.kind == "class":
            return self._class_loss(output, target, counts)
        if target.numel() != output.numel() or counts.shape != target.shape:
            raise ShapeError(
                "The target does not fit the probe's output",
                expected=f"{tuple(output.shape)} values, and counts like them",
                got=f"target {tuple(target.shape)}, counts {tuple(counts.shape)}",
            )
        counted: Bool[Tensor, "batch out"] = counts.reshape(output.shape)
        wrong = torch.where(counted, output - target.reshape(output.shape).to(output.dtype), 0.0) / self.scale
        return wrong.square().sum() / counted.sum().clamp(min=1)

    def _class_loss(self, output: Tensor, target: Tensor, counts: Tensor) -> Tensor:
        if target.shape != output.shape[:1] or counts.shape != target.shape:
            raise ShapeError(
                "The target does not fit the probe's output",
                expected=f"({len(output)},) class numbers, and counts like them",
                got=f"target {tuple(target.shape)}, counts {tuple(counts.shape)}",
            )
        number = torch.where(counts, target, torch.zeros_like(target)).long()
        each = F.cross_entropy(output, number, reduction="none")
        return torch.where(counts, each, 0.0).sum() / counts.sum().clamp(min=1)

"""What is explained: an encoder and a head as one function of a batch, differentiable down to the samples."""

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

from hdt_fm.checkpoint import Model
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import unknown_name
from hdt_fm.schema.protocols import HeadInput


class ProbeTarget(nn.Module):
    """Encoder, then head; features are laid out as in `EmbeddingTable.features`.

    Registered in the order of the data (encoder first), which cascading randomisation walks backwards.
    """

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, batch: Batch) -> Float[Tensor, "batch target"]:
        """Values, or the log-odds of each class against the rest, for windows taken one at a time.

        Log-odds and not logits: a number added to all logits changes no answer, so credit for it means nothing.
        """
        embeddings = self.encoder(batch)
        flat = rearrange(embeddings.values, "batch modality width -> batch (modality width)")
        features = torch.cat([flat, embeddings.present.to(flat.dtype)], dim=1)
        observed = torch.ones(len(batch), 1, dtype=torch.bool, device=flat.device)
        output = self.head(
            HeadInput(context=rearrange(features, "batch feature -> batch 1 feature"), observed=observed)
        )
        if output.ndim != 2:
            return rearrange(output, "batch ... -> batch (...)")
        return log_odds(output) if getattr(self.head, "kind", "value") == "class" else output


def log_odds(logits: Float[Tensor, "batch target"]) -> Float[Tensor, "batch target"]:
    """log(p / (1 - p)) of each class under softmax, without ever forming p."""
    own = torch.eye(logits.shape[1], dtype=torch.bool, device=logits.device)
    others = repeat(logits, "batch target -> batch own target", own=len(own)).masked_fill(own, -torch.inf)
    return logits - others.logsumexp(-1)


def probe_target(model: Model, head: str | nn.Module) -> ProbeTarget:
    """The function Batch -> (batch, target) of a model and a head that reads one window.

    Args:
        model: As `hdt_fm.load` gives it.
        head: Name of one of the model's heads, or a head of one's own.

    Raises:
        UnknownNameError: If the model has no head of that name.
    """
    if isinstance(head, nn.Module):
        return ProbeTarget(model.encoder, head)
    if head not in model.heads:
        raise unknown_name("head", head, model.heads.keys(), where="config.json, heads")
    return ProbeTarget(model.encoder, model.heads[head])

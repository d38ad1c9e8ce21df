"""Pre-norm transformer block with rotary positions and a key mask."""

from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from hdt_fm.layers.rotary import rotate
from hdt_fm.schema.errors import ConfigError


class SelfAttention(nn.Module):
    """Multi-head self-attention; keys whose mask is False, or whose log weight is -inf, are not seen by anyone."""

    def __init__(self, *, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if width % (2 * heads):
            raise ConfigError(
                "Heads do not fit the width",
                expected="width divisible by 2 * heads (rotary positions turn pairs of components)",
                got=f"width {width}, heads {heads}",
                fix=f"use width {2 * heads * max(1, round(width / (2 * heads)))} or another number of heads",
            )
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        x: Float[Tensor, "batch token width"],
        angles: Float[Tensor, "token half"],
        keys: Bool[Tensor, "batch token"] | Float[Tensor, "batch token"] | None = None,
    ) -> Float[Tensor, "batch token width"]:
        """`keys` None means that all are seen, which lets the fastest kernel run. Each row needs one True.

        Floats are log weights: a key of log weight log(2) counts as two equal keys.
        """
        query, key, value = rearrange(self.qkv(x), "b t (n h d) -> n b h t d", n=3, h=self.heads)
        mask = None if keys is None else keys[:, None, None, :]
        if mask is not None and mask.is_floating_point():
            mask = mask.to(query.dtype)
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(
            rotate(query, angles), rotate(key, angles), value, attn_mask=mask, dropout_p=dropout
        )
        return self.out(rearrange(mixed, "b h t d -> b t (h d)"))


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)).

    Args:
        width: Components of a token; divisible by 2 * heads.
        expansion: Hidden units of the mlp per component.
    """

    def __init__(self, *, width: int, heads: int, dropout: float = 0.0, expansion: int = 4) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = SelfAttention(width=width, heads=heads, dropout=dropout)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, expansion * width), nn.GELU(), nn.Linear(expansion * width, width), nn.Dropout(dropout)
        )

    def forward(
        self,
        x: Float[Tensor, "batch token width"],
        angles: Float[Tensor, "token half"],
        keys: Bool[Tensor, "batch token"] | Float[Tensor, "batch token"] | None = None,
    ) -> Float[Tensor, "batch token width"]:
        x = x + self.attention(self.attention_norm(x), angles, keys)
        return x + self.mlp(self.mlp_norm(x))

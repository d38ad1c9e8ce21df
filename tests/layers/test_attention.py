"""Attention against the written-out formula, and masks that really hide."""

import pytest
import torch

from hdt_fm.layers.attention import SelfAttention, TransformerBlock
from hdt_fm.layers.rotary import rotary_angles, rotate
from hdt_fm.schema.errors import ConfigError


def test_attention_is_the_formula():
    torch.manual_seed(0)
    layer = SelfAttention(width=12, heads=3).double()
    x, angles = torch.randn(2, 5, 12).double(), rotary_angles(torch.arange(5.0), 4)
    keys = torch.rand(2, 5) < 0.7
    keys[:, 0] = True
    parts = (x @ layer.qkv.weight.T + layer.qkv.bias).reshape(2, 5, 3, 3, 4)
    query, key = (rotate(parts[:, :, n].transpose(1, 2), angles) for n in (0, 1))
    logits = (query @ key.transpose(-1, -2) / 2).masked_fill(~keys[:, None, None, :], -torch.inf)
    mixed = (logits.softmax(-1) @ parts[:, :, 2].transpose(1, 2)).transpose(1, 2).reshape(2, 5, 12)
    torch.testing.assert_close(layer(x, angles, keys), mixed @ layer.out.weight.T + layer.out.bias)


def test_a_key_of_log_weight_log_two_counts_as_two_equal_keys():
    torch.manual_seed(0)
    layer = SelfAttention(width=12, heads=3).double()
    x = torch.randn(2, 4, 12).double()
    angles = rotary_angles(torch.tensor([0.0, 1.0, 2.0, 5.0]), 4)
    twice = [0, 1, 1, 2, 3]
    weight = torch.tensor([1.0, 2.0, 1.0, 1.0]).double().expand(2, 4).log()
    torch.testing.assert_close(layer(x, angles, weight)[:, twice], layer(x[:, twice], angles[twice]))
    # No weight at all is a mask.
    keys = torch.tensor([[True, False, True, True]] * 2)
    gone = torch.where(keys, 0.0, -torch.inf).double()
    torch.testing.assert_close(layer(x, angles, gone), layer(x, angles, keys))


def test_masked_tokens_do_not_reach_others_and_no_mask_equals_all_true():
    torch.manual_seed(0)
    block = TransformerBlock(width=16, heads=2).double().eval()
    x, angles = torch.randn(3, 7, 16).double(), rotary_angles(torch.arange(7.0), 8)
    keys = torch.ones(3, 7, dtype=torch.bool)
    torch.testing.assert_close(block(x, angles, keys), block(x, angles))
    keys[:, 4] = False
    changed = x.clone()
    changed[:, 4] += 10
    others = [0, 1, 2, 3, 5, 6]
    assert torch.equal(block(x, angles, keys)[:, others], block(changed, angles, keys)[:, others])


def test_heads_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="width divisible by 2"):
        SelfAttention(width=96, heads=5)

"""What every implementation of every op promises."""

import torch

from hdt_fm.ops import contrastive


def test_the_table_has_three_implementations_with_one_signature():
    assert sorted(contrastive.IMPLEMENTATIONS) == ["chunked", "reference", "triton"]
    z = torch.nn.functional.normalize(torch.randn(3, 9, 4), dim=-1)
    answers = [
        contrastive.contrastive_loss(z, torch.ones(9, 3, dtype=torch.bool), logit_scale=torch.tensor(5.0), impl=impl)
        for impl in ("reference", "chunked")  # triton has a GPU's or an interpreter's tests
    ]
    for answer in answers:
        assert answer.pair_loss.shape == answer.pair_rows.shape == (3,)
        torch.testing.assert_close(answer.loss, answers[0].loss)

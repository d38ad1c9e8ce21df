"""Channel identity: told apart up to the table's end, shared past it."""

import torch

from hdt_fm.layers.channels import ChannelTable, SummaryToken


def test_numbers_past_the_table_share_its_last_row():
    rows = ChannelTable(width=5, size=3)(6)
    assert rows.shape == (6, 5)
    assert torch.equal(rows[2], rows[5])
    assert not torch.equal(rows[1], rows[2])


def test_the_summary_tells_axes_apart_and_is_invariant_when_rows_move_along():
    torch.manual_seed(0)
    token = SummaryToken(width=7)
    summary = torch.randn(2, 3, 2)
    order = torch.tensor([2, 0, 1])
    before = token(summary)
    assert not torch.allclose(before, token(summary[:, order]), atol=1e-4)
    with torch.no_grad():
        token.channel.table.weight[:3] = token.channel.table.weight[order].clone()
    torch.testing.assert_close(before, token(summary[:, order]))

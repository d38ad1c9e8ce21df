"""DeepLIFT by hand on one rectifier, and every way in which it is refused."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hdt_fm.explain.attribution import attribute
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.errors import ExplainError


def two_samples(values: list[float]) -> Batch:
    row = torch.zeros(1, dtype=torch.int64)
    signal = Signal(torch.tensor([[values]]), torch.ones(1, len(values), dtype=torch.bool), 1.0)
    return Batch(("ppg",), {"ppg": signal}, torch.ones(1, 1, dtype=torch.bool), row, row.float(), row)


class Bent(nn.Module):
    """bend(2 a - b - 1), as a module or in passing."""

    def __init__(self, bend: nn.Module, *, times: int = 1, in_passing: bool = False) -> None:
        super().__init__()
        self.bend, self.times, self.in_passing = bend, times, in_passing
        self.mix = nn.Linear(2, 1)
        self.mix.weight.data, self.mix.bias.data = torch.tensor([[2.0, -1.0]]), torch.tensor([-1.0])

    def forward(self, batch: Batch) -> Tensor:
        mixed = self.mix(batch.signals["ppg"].values[:, 0])
        for _ in range(self.times):
            mixed = torch.relu(mixed) if self.in_passing else self.bend(mixed)
        return mixed


def test_the_rescale_rule_by_hand() -> None:
    """From (0, 0) the sum goes from -1 to 4, the rectifier from 0 to 4: every unit of the way in counts 4/5."""
    found = attribute(Bent(nn.ReLU()), two_samples([3.0, 1.0]), target=0, methods=("deep_lift",), reference="zero")
    np.testing.assert_allclose(found.find("deep_lift").values["ppg"], [[[6 * 0.8, -1 * 0.8]]], rtol=1e-6)
    np.testing.assert_allclose(found.find("deep_lift").delta, [0.0], atol=1e-6)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Bent(nn.GELU()), "no rule for some of its parts"),
        (Bent(nn.Sequential(nn.LayerNorm(1), nn.SiLU())), "LayerNorm, SiLU"),
        (Bent(nn.TransformerEncoderLayer(1, 1, dim_feedforward=2)), "MultiheadAttention"),
        (Bent(nn.Identity(), in_passing=True), "do not add up"),
        (Bent(nn.Sigmoid(), times=2), "used more than once"),
        (lambda batch: batch.signals["ppg"].values[:, 0], "only as modules"),
    ],
)
def test_what_it_has_no_rule_for_is_refused(model: nn.Module, words: str) -> None:
    with pytest.raises(ExplainError, match=words):
        attribute(model, two_samples([3.0, 1.0]), target=0, methods=("deep_lift",), reference="zero")


def test_a_refused_model_is_left_as_it_was() -> None:
    model = Bent(nn.Sigmoid(), times=2)
    with pytest.raises(ExplainError):
        attribute(model, two_samples([3.0, 1.0]), target=0, methods=("deep_lift",), reference="zero")
    assert not model.bend._forward_hooks
    assert not model.bend._backward_hooks
    assert not {"input", "output"} & set(vars(model.bend))

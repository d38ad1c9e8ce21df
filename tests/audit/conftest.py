"""A model of two modalities, and windows for it, without an encoder: what an audit hears is made by hand."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.protocols import Embeddings

RATE_HZ = 4.0


class MeansModel(nn.Module):
    """The mean of what is observed of each modality, as an angle on the circle."""

    modalities = ("ppg", "acc")

    def __init__(self, turned: float = 0.0) -> None:
        super().__init__()
        self.turned = nn.Parameter(torch.tensor(turned))

    def embed(self, batch: Batch) -> Embeddings:
        present = torch.stack(
            [
                batch.present[:, batch.modalities.index(name)]
                if name in batch.modalities
                else torch.zeros(len(batch), dtype=torch.bool)
                for name in self.modalities
            ],
            dim=1,
        )
        values = torch.zeros(len(batch), 2, 2)
        for number, name in enumerate(self.modalities):
            if name in batch.signals:
                signal = batch.signals[name]
                weight = signal.observed.float()
                mean = (signal.values[:, 0] * weight).sum(1) / weight.sum(1).clamp_min(1)
                angle = mean + (self.turned if number else 0.0)
                values[:, number] = torch.stack([angle.cos(), angle.sin()], dim=1)
        return Embeddings(values * present[:, :, None], present)

    def project(self, embeddings: Embeddings) -> Embeddings:
        return embeddings


@dataclass(frozen=True)
class Made:
    """Makers of models and windows."""

    model = MeansModel

    @staticmethod
    def windows(angles: list[float], *, modalities: tuple[str, ...] = ("ppg", "acc"), every_s: float = 10.0) -> Batch:
        """One window an angle, the same in all modalities."""
        size = len(angles)
        values = torch.tensor(angles)[:, None, None].expand(size, 1, 8).clone()
        signals = {name: Signal(values, torch.ones(size, 8, dtype=torch.bool), RATE_HZ) for name in modalities}
        return Batch(
            modalities=modalities,
            signals=signals,
            present=torch.ones(size, len(modalities), dtype=torch.bool),
            subject=torch.zeros(size, dtype=torch.long),
            time_s=torch.arange(size) * every_s,
            window_id=torch.arange(size),
        )


@pytest.fixture
def made() -> type[Made]:
    return Made

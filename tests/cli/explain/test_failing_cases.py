"""What must never look like an answer, from the model to the page: a failure is told, and the impossible refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hdt_fm.explain.attribution import attribute
from hdt_fm.explain.gate.examine import examine
from hdt_fm.explain.gate.skill import skill_of
from hdt_fm.explain.page.document import write_report
from hdt_fm.explain.page.report import Report
from hdt_fm.explain.page.stamp import FAILED
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.errors import ExplainError

PEOPLE, EACH, SAMPLES = 6, 4, 32
Model = Callable[[Batch], Tensor]


@pytest.fixture
def windows() -> tuple[Batch, np.ndarray]:
    """Two signals of six people: noise, and in half of the windows a bump in the pulse wave; and the label."""
    generator = torch.Generator().manual_seed(0)
    rows = PEOPLE * EACH
    label = torch.arange(rows) % 2
    ppg, temp = (torch.randn(rows, 1, SAMPLES, generator=generator) for _ in range(2))
    ppg[label == 1, 0, 12:20] += 3.0 * torch.hann_window(8)
    seen = torch.ones(rows, SAMPLES, dtype=torch.bool)
    signals = {"ppg": Signal(ppg, seen, 8.0), "temp": Signal(temp, seen, 8.0)}
    row = torch.arange(rows)
    held = torch.ones(rows, 2, dtype=torch.bool)
    return Batch(tuple(signals), signals, held, row // EACH, row.double(), row), label.numpy().astype(float)


class Reads(nn.Module):
    """Weighs the samples of both signals, each after a bend; weights by seed."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.first, self.head = nn.Linear(2 * SAMPLES, 6), nn.Linear(6, 2)
        with torch.no_grad():
            for weight in self.parameters():
                weight.copy_(torch.randn(weight.shape, generator=generator) / weight.shape[-1] ** 0.5)

    def forward(self, batch: Batch) -> Tensor:
        values = torch.cat([batch.signals[name].values[:, 0] for name in ("ppg", "temp")], dim=1)
        return self.head(torch.tanh(self.first(values)))


def verdict_and_page(model: Model, batch: Batch, label: np.ndarray, folder: Path) -> tuple[str, str]:
    """The whole way, as `hdt-fm explain` goes it for a cohort."""
    with torch.no_grad():
        said = model(batch)[:, 0].numpy()
    skill = skill_of(said, label, batch.subject.numpy(), positive_class=1)
    made = attribute(model, batch, target=0, methods=("integrated_gradients", "occlusion"), steps=8, segments=8)
    made = replace(made, reliability=examine(model, batch, made, skill=skill, labels=label, stages=2, draws=1))
    assert made.reliability is not None
    page, _ = write_report(Report(made, scope="cohort"), folder, pictures=False)
    return made.reliability.verdict, page.read_text()


def test_random_weights_fail_and_every_figure_is_stamped(windows: tuple[Batch, np.ndarray], tmp_path: Path) -> None:
    verdict, page = verdict_and_page(Reads(3), *windows, tmp_path)
    assert verdict == "fail"
    figures = page.count('role="img"')
    assert figures > 0
    assert page.count(f">{FAILED}</text>") == figures
    assert "do not use the figures" in page


def test_a_label_among_the_inputs_is_the_first_thing_that_the_page_says(
    windows: tuple[Batch, np.ndarray], tmp_path: Path
) -> None:
    batch, label = windows
    values = torch.from_numpy(label).float()[:, None, None].expand(-1, 1, SAMPLES).clone()
    leaked = Signal(values, torch.ones(len(batch), SAMPLES, dtype=torch.bool), 8.0)
    batch = replace(batch, signals={**batch.signals, "temp": leaked})

    class Copies(Reads):
        """Says what the leak says, and hardly anything else."""

        def forward(self, batch: Batch) -> Tensor:
            return super().forward(batch) * 0.01 + 4 * batch.signals["temp"].values[:, 0, :1]

    verdict, page = verdict_and_page(Copies(0), batch, label, tmp_path)
    assert verdict == "fail"
    assert "THE LABEL IS AMONG THE INPUTS" in page
    assert page.index("THE LABEL IS AMONG THE INPUTS") < page.index("<svg")


def test_the_same_answer_to_everything_fails(windows: tuple[Batch, np.ndarray], tmp_path: Path) -> None:
    class Constant(Reads):
        """Reads, and says nothing."""

        def forward(self, batch: Batch) -> Tensor:
            return super().forward(batch) * 0.0 + 1.0

    verdict, page = verdict_and_page(Constant(0), *windows, tmp_path)
    assert verdict == "fail"
    assert f">{FAILED}</text>" in page


def test_a_window_of_nothing_is_refused_with_advice(windows: tuple[Batch, np.ndarray]) -> None:
    batch, _ = windows
    signals = {
        name: replace(one, observed=one.observed & (torch.arange(len(batch)) != 5)[:, None])
        for name, one in batch.signals.items()
    }
    with pytest.raises(ExplainError, match="1 of 24 windows without") as error:
        attribute(Reads(0), replace(batch, signals=signals), target=0)
    assert error.value.fix == "choose windows that hold a signal"


def test_nan_that_was_observed_is_refused_and_nan_that_was_not_is_no_credit(
    windows: tuple[Batch, np.ndarray],
) -> None:
    batch, _ = windows
    ppg = batch.signals["ppg"]
    values = ppg.values.clone()
    values[2, 0, 7] = torch.nan
    broken = replace(batch, signals={**batch.signals, "ppg": replace(ppg, values=values)})
    with pytest.raises(ExplainError, match="modality ppg") as error:
        attribute(Reads(0), broken, target=0)
    assert "not observed" in str(error.value.fix)
    known = ppg.observed.clone()
    known[2, 7] = False
    marked = replace(batch, signals={**batch.signals, "ppg": replace(ppg, values=values, observed=known)})
    made = attribute(Reads(0), marked, target=0, methods=("integrated_gradients",), steps=8)
    assert made.maps[0].values["ppg"][2, 0, 7] == 0.0

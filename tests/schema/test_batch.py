"""Door 3: presence and signals say the same."""

import pytest
import torch

from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.errors import ShapeError


def batch(size: int = 3) -> Batch:
    signals = {
        "ppg": Signal(torch.ones(size, 1, 7), torch.ones(size, 7, dtype=torch.bool), 1.0),
        "acc": Signal(torch.ones(size, 2, 5), torch.ones(size, 5, dtype=torch.bool), 1.0),
    }
    return Batch(
        modalities=("ppg", "acc"),
        signals=signals,
        present=torch.ones(size, 2, dtype=torch.bool),
        subject=torch.arange(size),
        time_s=torch.arange(size, dtype=torch.float64),
        window_id=torch.arange(size) + 10,
        labels={"stress": torch.tensor([0.0, 1.0, torch.nan])},
    )


def test_without_zeroes_what_is_hidden_and_leaves_the_rest() -> None:
    keep = torch.tensor([[True, False], [True, True], [False, True]])
    seen = batch().without(keep)
    assert torch.equal(seen.present, keep)
    assert seen.signals["acc"].values[0].abs().sum() == 0
    assert not seen.signals["acc"].observed[0].any()
    assert torch.equal(seen.signals["acc"].values[1], torch.ones(2, 5))
    assert batch().signals["acc"].values[0].sum() == 10, "the batch itself is not changed"


def test_select_keeps_rows_together() -> None:
    few = batch().select(torch.tensor([2, 0]))
    assert few.window_id.tolist() == [12, 10]
    assert few.subject.tolist() == [2, 0]
    assert few.labels["stress"].isnan().tolist() == [True, False]
    assert len(few) == 2


def test_column_finds_the_modality() -> None:
    keep = torch.tensor([[True, False], [True, True], [False, True]])
    assert batch().without(keep).column("acc").tolist() == [False, True, True]


def test_a_signal_of_another_length_is_refused() -> None:
    good = batch()
    short = {"ppg": Signal(torch.ones(2, 1, 7), torch.ones(2, 7, dtype=torch.bool), 1.0)}
    with pytest.raises((ShapeError, Exception), match=r"ppg|present|batch"):
        Batch(
            modalities=("ppg", "acc"),
            signals=short,
            present=good.present,
            subject=good.subject,
            time_s=good.time_s,
            window_id=good.window_id,
        )

"""A made-up cohort whose truth is known, as an embedding table. Each axis has its own size."""

from collections.abc import Callable

import numpy as np
import pytest

from hdt_fm.schema.embedding import EmbeddingTable
from hdt_fm.schema.shard import LabelColumn


def _make_table(
    people: int = 9,
    windows: int = 22,
    *,
    modalities: tuple[str, ...] = ("ppg", "eda", "acc"),
    width: int = 5,
    signal: float = 0.0,
    person_shift: float = 0.0,
    hop_s: float = 60.0,
    seed: int = 0,
) -> EmbeddingTable:
    """Random embeddings; `signal` adds the class to one feature, `person_shift` a constant of each person.

    Labels: `stress` (classes at random within each person), `rate` (a value), `who` (class = person's number
    modulo 2, which only a person's identity tells).
    """
    rng = np.random.default_rng(seed)
    size = people * windows
    subject = np.repeat(np.arange(people), windows)
    stress = (rng.random(size) < 0.4).astype(np.float32)
    values = rng.normal(size=(size, len(modalities), width)) + person_shift * rng.normal(size=(people, 1, 1))[subject]
    values[:, 0, 0] += signal * (stress - 0.5)
    present = rng.random((size, len(modalities))) < 0.9
    present[:, 0] = True
    values *= present[:, :, None]
    projections = values / np.maximum(np.linalg.norm(values, axis=2, keepdims=True), 1e-9)
    rate = 15 + 2 * values[:, 0, 1] + 0.1 * rng.normal(size=size)
    return EmbeddingTable(
        modalities=modalities,
        embeddings=values.astype(np.float32),
        projections=projections.astype(np.float32),
        present=present,
        subject=subject.astype(np.int64),
        group=(subject + 100).astype(np.int64),
        time_s=np.tile(np.arange(windows) * hop_s, people).astype(np.float64),
        window_id=np.arange(size).astype(np.int64),
        labels={
            "stress": stress,
            "rate": rate.astype(np.float32),
            "who": (subject % 2).astype(np.float32),
        },
        label_columns=(
            LabelColumn(name="stress", kind="class", classes=("rest", "stress")),
            LabelColumn(name="rate", kind="value", unit="breaths/min"),
            LabelColumn(name="who", kind="class", classes=("even", "odd")),
        ),
        subjects=tuple(f"s{row:032x}" for row in range(people)),
        window_s=60.0,
        hop_s=hop_s,
        model_digest="m",
        data_digest="d",
    )


@pytest.fixture(scope="session")
def make_table() -> Callable[..., EmbeddingTable]:
    """Makes a cohort; see `_make_table` for its settings."""
    return _make_table

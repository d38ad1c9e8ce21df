"""A tiny model that forecasts glucose, and tables of readings to tell it: what tests of a twin's words share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hdt_fm.checkpoint import build_model, save_model
from hdt_fm.evaluation.backtest.floors import LEVELS
from hdt_fm.schema.manifest import ModelConfig, Part, Preprocess
from hdt_fm.schema.preparation import ModalityPreparation, Preparation
from hdt_fm.schema.shard import ModalityColumn

STEP_S, DAY = 900.0, 86_400
# So that three hours of context are full at midnight UTC: the days of a forecast of the whole then begin there too.
BEGIN = int(np.datetime64("2026-02-28T21:15:00").astype("datetime64[s]").astype(np.int64))
COUNT = 6 * 96 + 12
ASKED = {
    "modality": "glucose",
    "unit": "mg/dL",
    "step_s": STEP_S,
    "context_s": 10_800.0,
    "horizons_s": [1800.0, 3600.0],
    "every_s": 1800.0,
    "windows": 2,
    "apart_s": 86_400.0,
}
# Context, changes and the own past; the tasks of `cli/series.py` say how many that is.
KNOWN = 15 + 12 + 9
USUAL = [[110.0, 170.0], [15.0, 45.0], [0.8, 1.0]]


def saved(
    folder: Path,
    heads: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    modality: str = "glucose",
    unit: str = "mg/dL",
    risk: Mapping[str, Any] | None = None,
    seed: int = 0,
    resampling: str = "filter",
    lively: bool = False,
) -> Path:
    """A checkpoint of a model that saw nothing.

    Args:
        heads: By name, what each is asked; a forecast of glucose if left out.
        risk: Arguments of a head of risks beside.
        lively: Answers move with what is told; one that says nothing is fitted by nothing.
    """
    heads = {"forecast_glucose": ASKED} if heads is None else heads
    rate = 1 / STEP_S
    column = ModalityColumn(name=modality, unit=unit, channels=1, sampling_rate_hz=rate, samples=104, encoding="f32")
    part = {"levels": list(LEVELS), "known": KNOWN, "in_features": 8, "horizons": 2, "width": 8, "hidden": 8}
    parts = {
        name: Part(name="series_forecast", args={**part, "members": 1, "asked": dict(asked)})
        for name, asked in heads.items()
    }
    if risk is not None:
        parts["risk_glucose"] = Part(name="event_risk", args=dict(risk))
    config = ModelConfig(
        modalities=(column,),
        encoder=Part(name="recurrent", args={"width": 8, "patch_s": 3600.0, "points": 4, "ahead_s": 7200.0}),
        projection=Part(name="projection", args={"dim": 4}),
        heads=parts,
        statistics={modality: (140.0, 40.0)},
        window_s=93_600.0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build_model(config).eval()
    for name in heads:
        made = model.heads[name]
        made.spread.fill_(20.0)
        made.score_spread.fill_(10.0)
        made.usual.copy_(torch.tensor(USUAL))
        if lively:
            last = list(made.members[0].network.parameters())[-2]
            torch.nn.init.normal_(last, std=0.1, generator=torch.Generator().manual_seed(seed))
    if risk is not None:
        model.heads["risk_glucose"].members[0].network.begin_at(torch.tensor([[0.02, 0.2], [0.05, 0.3]]))
        model.heads["risk_glucose"].start.copy_(torch.tensor([[0.0, 1.0], [0.0, 1.0]]))
    one = ModalityPreparation(sampling_rate_hz=rate, resampling=resampling)
    preparation = Preparation(window_s=93_600.0, hop_s=1800.0, min_coverage=0.3, modalities={modality: one})
    save_model(model, folder, preprocess=Preprocess(preparation=preparation, modalities=(column,)))
    return folder


def wave(
    seed: int = 0, level: float = 140.0, rough: float = 5.0, count: int = COUNT, step_s: float = STEP_S
) -> np.ndarray:
    """mg/dL: a daily wave, and slow noise that grows with `rough`."""
    draws, noise = np.random.default_rng(seed), np.zeros(count)
    for at in range(1, count):
        noise[at] = 0.9 * noise[at - 1] + draws.normal(0, rough)
    return level + 25 * np.sin(2 * np.pi * np.arange(count) * step_s / DAY) + noise


def table(
    folder: Path,
    first: int = 0,
    last: int = COUNT,
    values: np.ndarray | None = None,
    name: str = "glucose",
    modality: str = "glucose",
    step_s: float = STEP_S,
) -> Path:
    """A mapped table of these readings; its path."""
    values = wave() if values is None else values
    folder.mkdir(exist_ok=True)
    rows = [f"{BEGIN + round(at * step_s)},{values[at]:.1f}" for at in range(first, last)]
    (folder / f"{name}.csv").write_text("\n".join(["t,g", *rows]) + "\n")
    unit = "mg/dL" if modality == "glucose" else "bpm"
    told = f"time: {{column: t, unit: s}}\nsampling_rate_hz: {1 / step_s!r}\nutc_offset_s: 3600\nsignals:\n"
    (folder / f"{name}.yaml").write_text(told + f"  {modality}: {{columns: [g], unit: {unit}}}\n")
    return folder / f"{name}.csv"

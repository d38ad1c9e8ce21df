"""Frozen-encoder outputs of the windows that end at moments of series: made once, kept in one file, read by heads."""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.errors import ConfigError, CorruptShardError
from hdt_fm.schema.series import Series

VERSION = "1"
PIECE = 1024


@dataclass(frozen=True)
class SeriesEmbeddings:
    """A row for each moment of a grid at which the window behind it holds a reading.

    Attributes:
        values: What the encoder makes of the window that ends at the row's moment.
        series, place: Of which series, and the last place that was seen.
        stride: Places between two rows of a series.
        step_s: Of the series.
        made_of: Digests of the encoder and of the series.
    """

    values: Float32[np.ndarray, "row width"]
    series: Int[np.ndarray, " row"]
    place: Int[np.ndarray, " row"]
    stride: int
    step_s: float
    made_of: tuple[str, str]

    def before(
        self, series: Int[np.ndarray, " origin"], place: Int[np.ndarray, " origin"], *, windows: int, apart_s: float
    ) -> Float32[np.ndarray, "origin window width"]:
        """The windows that end at each moment, `apart_s` before it, twice that, and so on; newest last, NaN where none.

        A moment between two rows takes the row before it.
        """
        count = int(self.series.max(initial=0)) + 1
        longest = int(max(self.place.max(initial=0), np.max(place, initial=0))) // self.stride + 2
        row_of = np.full((count, longest), -1)
        row_of[self.series, self.place // self.stride] = np.arange(len(self.place))
        phase = np.zeros(count, dtype=np.int64)
        phase[self.series] = self.place % self.stride
        back = np.round(np.arange(windows - 1, -1, -1) * apart_s / self.step_s).astype(np.int64)
        cell = (place[:, None] - back - phase[series][:, None]) // self.stride
        row = np.where(cell >= 0, row_of[series[:, None], cell.clip(min=0)], -1)
        return np.where(row[..., None] >= 0, self.values[row], np.float32(np.nan))


@torch.no_grad()
def embed_series(
    model: Any,
    series: Sequence[Series],
    modality: str,
    *,
    model_digest: str,
    window_s: float,
    ahead_s: float,
    places: Sequence[Int[np.ndarray, " _"]],
    progress: Callable[[int, int, str], None] | None = None,
) -> SeriesEmbeddings:
    """Embed the windows that end at places of each series, where there is a reading in them.

    Args:
        model: A module with `embed(batch)` and `modalities`.
        places: Of each series, rising and evenly apart (`hdt_fm.signal.moments.places_of`).
        window_s: The model's windows, of which the encoder does not read the last `ahead_s`: what comes after a moment
            is not put there.

    Raises:
        ConfigError: If the model does not know the modality, or windows are not longer than their end.
    """
    if modality not in model.modalities or window_s <= ahead_s:
        raise ConfigError(
            "These series cannot be embedded",
            expected=f"a model of {modality}, whose windows are longer than the {ahead_s:g} s that it does not read",
            got=f"a model of {', '.join(model.modalities)}, windows of {window_s:g} s",
        )
    was_training, column = model.training, model.modalities.index(modality)
    model.eval()
    found: list[np.ndarray] = []
    where: list[tuple[np.ndarray, np.ndarray]] = []
    for number, (one, asked) in enumerate(zip(series, places, strict=True)):
        own = _with_readings(one, asked, window_s - ahead_s)
        for first in range(0, len(own), PIECE):
            batch = _windows(one, own[first : first + PIECE], modality, window_s, ahead_s)
            found.append(model.embed(batch).values[:, column].float().cpu().numpy())
        where.append((np.full(len(own), number), own))
        if progress:
            progress(number + 1, len(series), "embed")
    model.train(was_training)
    step_s = series[0].step_s if series else 1.0
    return SeriesEmbeddings(
        values=np.concatenate(found) if found else np.zeros((0, 0), dtype=np.float32),
        series=np.concatenate([one[0] for one in where]) if where else np.zeros(0, dtype=np.int64),
        place=np.concatenate([one[1] for one in where]) if where else np.zeros(0, dtype=np.int64),
        stride=int(min((np.diff(own).min() for own in places if len(own) > 1), default=1)),
        step_s=step_s,
        made_of=(model_digest, series_digest(series)),
    )


def _with_readings(one: Series, places: Int[np.ndarray, " place"], context_s: float) -> Int[np.ndarray, " kept"]:
    seen = np.concatenate([[0], np.cumsum(one.observed)])
    first = np.maximum(places + 1 - round(context_s / one.step_s), 0)
    return places[seen[places + 1] > seen[first]]


def _windows(one: Series, places: Int[np.ndarray, " place"], modality: str, window_s: float, ahead_s: float) -> Batch:
    """Windows up to each place, with an end in which nothing is observed."""
    whole, end = round(window_s / one.step_s), round(ahead_s / one.step_s)
    index = places[:, None] + np.arange(1 - (whole - end), end + 1)
    there = (index >= 0) & (index <= places[:, None])
    index = np.where(there, index, 0)
    observed = one.observed[index] & there
    values = np.where(observed, one.values[index], np.float32(0))
    rows = torch.arange(len(places))
    signal = Signal(torch.from_numpy(values)[:, None], torch.from_numpy(observed), 1 / one.step_s)
    return Batch(
        (modality,),
        {modality: signal},
        torch.ones(len(places), 1, dtype=torch.bool),
        torch.full((len(places),), one.subject),
        torch.from_numpy(places * one.step_s).double(),
        rows,
    )


def series_digest(series: Sequence[Series]) -> str:
    """Names series by what they hold."""
    digest = hashlib.sha256()
    for one in series:
        digest.update(f"{one.step_s!r} {one.start_s!r} {len(one)}".encode())
        digest.update(np.where(one.observed, one.values, 0).astype(np.float32).tobytes() + one.observed.tobytes())
    return digest.hexdigest()


def save_series_embeddings(table: SeriesEmbeddings, path: Path) -> None:
    """Write one file; an interrupted write leaves what was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: np.ascontiguousarray(getattr(table, name)) for name in ("values", "series", "place")}
    facts = {"version": VERSION, "stride": str(table.stride), "step_s": repr(table.step_s)}
    facts |= {"model": table.made_of[0], "series": table.made_of[1]}
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(save(arrays, metadata=facts))
    os.replace(temporary, path)


def load_series_embeddings(path: Path, made_of: tuple[str, str]) -> SeriesEmbeddings | None:
    """What was kept of this encoder and these series; None where there is nothing, or of something else.

    Raises:
        CorruptShardError: If the file cannot be read.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="np") as held:
            facts = held.metadata() or {}
            if (facts.get("version"), facts.get("model"), facts.get("series")) != (VERSION, *made_of):
                return None
            arrays = {name: held.get_tensor(name) for name in ("values", "series", "place")}
    except SafetensorError:
        raise CorruptShardError(
            "Kept embeddings of series cannot be read", where=path.name, fix="delete the file; it is made again"
        ) from None
    return SeriesEmbeddings(
        **arrays, stride=int(facts["stride"]), step_s=float(facts["step_s"]), made_of=(facts["model"], facts["series"])
    )

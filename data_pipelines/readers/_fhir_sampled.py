"""FHIR SampledData -> recordings."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_pipelines.readers._fhir_codes import WAVES
from data_pipelines.readers._json import items, number, texts
from data_pipelines.readers._recordings import make_recording
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.modalities import modality as look_up_modality
from hdt_fm.schema.recording import NS_PER_S, Recording

# What UCUM calls the interval between samples (R5); R4 has milliseconds under `period`.
_INTERVALS_S = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "min": 60.0}
_MAX_SAMPLES = 50_000_000
_MARKS = {"E", "U", "L"}


class Waves:
    """Sampled data of one person, channel by channel; pieces that follow one another become one recording."""

    def __init__(self) -> None:
        self._pieces: dict[tuple[str, str], list[tuple[int, float, NDArray[np.float64], str]]] = {}
        self._offsets: dict[str, int | None] = {}

    @staticmethod
    def knows(part: Mapping[str, Any], whole: Mapping[str, Any]) -> bool:
        """Whether the part, or the observation around it, has a code of a wave."""
        return _wave(part) is not None or _wave(whole) is not None

    def add(self, part: Mapping[str, Any], whole: Mapping[str, Any], begin_ns: int, offset_s: int | None) -> None:
        """One piece.

        Raises:
            ReaderError: If its rate, unit or data are missing or make no sense.
        """
        wave = _wave(part) or _wave(whole)
        assert wave is not None
        data = part["valueSampledData"]
        period_s = number(data.get("period")) / 1e3
        if math.isnan(period_s):
            period_s = number(data.get("interval")) * _INTERVALS_S.get(texts(data, "intervalUnit"), math.nan)
        factor = number(data.get("factor", 1))
        origin = number(data["origin"].get("value")) if isinstance(data.get("origin"), dict) else math.nan
        if not (period_s > 0 and math.isfinite(factor) and math.isfinite(origin)) or data.get("dimensions", 1) != 1:
            raise ReaderError(
                "Sampled data lack their rate, origin or factor",
                where=f"valueSampledData of {wave[1]}",
                expected="origin, period above 0 and one dimension",
                fix="correct it where the file was made",
            )
        unit = texts(data["origin"], "code") or texts(data["origin"], "unit")
        values = _samples(texts(data, "data"), wave[1]) * factor + origin
        self._pieces.setdefault(wave, []).append((begin_ns, period_s, values, unit))
        self._offsets.setdefault(wave[0], offset_s)

    def recordings(self, subject: str) -> dict[str, Recording]:
        """By modality; channels of one modality share rate and time.

        Raises:
            ReaderError: If pieces overlap, or differ in rate or unit.
            UnitError: If most samples cannot be in the unit.
        """
        made: dict[str, Recording] = {}
        for modality in dict.fromkeys(modality for modality, _ in self._pieces):
            channels = {name: pieces for (kind, name), pieces in self._pieces.items() if kind == modality}
            every = [piece for pieces in channels.values() for piece in pieces]
            start, period_s, unit = min(piece[0] for piece in every), every[0][1], every[0][3]
            if any(piece[1] != period_s or piece[3] != unit for piece in every):
                raise ReaderError("Sampled data of one modality differ in rate or unit", where=modality)
            rows = [_joined(pieces, start, period_s, modality) for pieces in channels.values()]
            size = max(len(row) for row in rows)
            values = np.full((len(rows), size), np.nan)
            for row, one in zip(values, rows, strict=True):
                row[: len(one)] = one
            entry = look_up_modality(modality)
            made[modality] = make_recording(
                values,
                modality=modality,
                unit={"uV": "uV", "mV": "mV", "V": "V"}.get(unit, unit or entry.unit),
                channels=tuple(channels),
                sampling_rate_hz=1 / period_s,
                start_ns=start,
                subject=subject,
                device="fhir",
                where=modality,
                utc_offset_s=self._offsets[modality],
            )
        return made


def _joined(
    pieces: list[tuple[int, float, NDArray[np.float64], str]], start: int, period_s: float, where: str
) -> NDArray[np.float64]:
    places = [(round((begin - start) / (period_s * NS_PER_S)), values) for begin, _, values, _ in pieces]
    places.sort(key=lambda piece: piece[0])
    size = max(place + len(values) for place, values in places)
    if size > _MAX_SAMPLES:
        raise ReaderError("Sampled data lie too far apart for one recording", where=where, got=f"{size} samples")
    joined = np.full(size, np.nan)
    end = 0
    for place, values in places:
        if place < end:
            raise ReaderError("Sampled data overlap in time", where=where, fix="leave out the repeated observation")
        joined[place : place + len(values)] = values
        end = place + len(values)
    return joined


def _samples(data: str, where: str) -> NDArray[np.float64]:
    words = data.split()
    try:
        values = np.array([math.nan if word in _MARKS else float(word) for word in words], dtype=np.float64)
    except ValueError:
        raise ReaderError("Sampled data hold something that is no number", where=where) from None
    if len(values) == 0:
        raise ReaderError("Sampled data are empty", where=where)
    return values


def _wave(part: Mapping[str, Any]) -> tuple[str, str] | None:
    codings = items(part.get("code"), "coding")
    keys = [(texts(coding, "system"), texts(coding, "code")) for coding in codings]
    return next((WAVES[key] for key in reversed(keys) if key in WAVES), None)

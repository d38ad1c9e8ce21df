"""Fitbit: the JSON files of an account export."""

import re
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from data_pipelines.readers._clock import local_seconds, local_to_utc_ns
from data_pipelines.readers._exports import LOOK, head, own_files
from data_pipelines.readers._files import read_bytes
from data_pipelines.readers._json import items, load, number, texts
from data_pipelines.readers._slow import Worn, averaged, intervals, spread
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import NS_PER_S, Recording, Visit

_SERIES = re.compile(rb'\s*\[\s*\{\s*"dateTime"\s*:\s*"\d\d/\d\d/\d\d \d\d:\d\d:\d\d"\s*,\s*"value"')
_SLEEP = re.compile(rb'\s*\[\s*\{\s*"logId"\s*:.{0,200}"dateOfSleep"', re.DOTALL)
_KIND = re.compile(r"(heart_rate|steps|calories|sleep)-\d{4}-\d{2}-\d{2}.*\.json", re.IGNORECASE)
_FOLDERS = ("", "Physical Activity", "Sleep", "Global Export Data", "user-site-export")
SLEEP_STAGES = ("wake", "light", "deep", "rem", "asleep", "restless")
_LEVELS = {"awake": "wake"}
_SERIES_OF = {
    "heart_rate": ("heart_rate", "bpm", "ppg"),
    "steps": ("steps", "1/min", "steps"),
    "calories": ("energy", "kcal/min", "total"),
}
_NONE = (np.nan, 0.0)
_Piece: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


class FitbitJson:
    """Reads one person's files: a folder of them (also as the archive has it), or one file.

    Format: Account export (fitbit.com, "Export your account archive", also Google Takeout): heart_rate-, steps-,
        calories- and sleep-YYYY-MM-DD.json; minutes as 06/24/95 16:00:00, month first.
    Units: heart_rate bpm, steps 1/min, energy kcal/min (total, with the resting share); label sleep_stage.
    Lossy: All other files (weight has no unit: it is that of the account's setting). Heart rate of a confidence below
        `min_confidence` is unobserved; the rest becomes its mean in each `step_s`. Short awakenings inside a stage
        (`shortData`), and summaries of nights.

    Two clocks: the series of heart rate, steps and calories are in UTC, nights are in local time. With `utc_offset_s`
    both are on UTC; without it the track is named sleep_stage_local, as it does not lie on the clock of the series.

    Args:
        utc_offset_s: Of the local time, if known.
        min_confidence: Of heart rate, from 0 (a guess) to 3.
        step_s: Of the grid of heart rate; a grid holds four years at 15 s.
    """

    def __init__(self, *, utc_offset_s: int | None = None, min_confidence: int = 1, step_s: int = 15) -> None:
        self._offset, self._confidence, self._step_s = utc_offset_s, min_confidence, step_s

    @staticmethod
    def detect(path: Path) -> bool:
        """Whether it is a JSON file that begins as one of the series or as nights, or a folder with one."""
        return bool(_files(path, LOOK))

    def read(self, path: Path, *, subject: str) -> Visit:
        """Read heart rate, steps, energy and sleep.

        Raises:
            ReaderError: If a file is cut off, or of another kind than its name says.
            UnitError: If most values cannot be in their unit.
        """
        found: dict[str, list[_Piece]] = {}
        for file in _files(path) or [path]:
            match = _KIND.fullmatch(file.name)
            rows = items(load(read_bytes(file), where=match[1].lower())) if match is not None else []
            if match is not None and rows:
                # File by file, since ten years of objects are many times ten years of numbers.
                found.setdefault(match[1].lower(), []).append(self._piece(match[1].lower(), rows))
        if not found:
            raise ReaderError(
                "No file of the export is of a known kind, or all are empty",
                expected="names such as heart_rate-2026-03-05.json, steps-, calories- or sleep-",
                fix="keep the names of the export: they say what a file holds",
            )
        worn = Worn(subject, "fitbit", body_site="wrist", utc_offset_s=self._offset)
        recordings = [self._recording(kind, found[kind], worn) for kind in _SERIES_OF if kind in found]
        nights = _joined(found["sleep"]) if "sleep" in found else None
        if not recordings and (nights is None or len(nights[0]) == 0):
            raise ReaderError(
                "The files hold nothing of use", expected="heart rate, steps, calories or stages of sleep"
            )
        name = "sleep_stage" if self._offset is not None else "sleep_stage_local"
        return Visit(
            subject=subject,
            recordings={made.modality: made for made in recordings},
            labels={} if nights is None else {name: intervals(name, *nights, classes=SLEEP_STAGES)},
            source="fitbit_json",
        )

    def _piece(self, kind: str, rows: list[Any]) -> _Piece:
        """Begins, ends and numbers of one file."""
        if kind == "sleep":
            return self._nights(rows)
        begins = _times(rows, kind)
        held = [row.get("value") if isinstance(row, dict) else None for row in rows]
        if kind == "heart_rate":
            pairs = [
                (number(v.get("bpm")), number(v.get("confidence"))) if isinstance(v, dict) else _NONE for v in held
            ]
            bpm, confidence = np.array(pairs, dtype=np.float64).T
            return begins, begins, np.where(confidence >= self._confidence, bpm, np.nan)
        values = np.array([number(value) for value in held])
        if not np.isfinite(values).all():
            raise ReaderError("A value is no number", where=kind, got=f"{int((~np.isfinite(values)).sum())} other")
        return begins, begins + 60 * NS_PER_S, values

    def _nights(self, rows: list[Any]) -> _Piece:
        data = [entry for row in rows for entry in items(row.get("levels") if isinstance(row, dict) else None, "data")]
        values = np.array([_stage(texts(entry, "level")) for entry in data], dtype=np.float64)
        seconds = np.array([number(entry.get("seconds")) if isinstance(entry, dict) else np.nan for entry in data])
        if not ((seconds > 0) & (seconds < 2 * 86_400)).all():
            raise ReaderError("A stage of sleep has no length", where="sleep", expected="seconds above 0")
        begins = local_to_utc_ns(local_seconds([texts(e, "dateTime") for e in data], where="sleep"), self._offset)
        return begins, begins + seconds.astype(np.int64) * NS_PER_S, values

    def _recording(self, kind: str, pieces: list[_Piece], worn: Worn) -> Recording:
        begins, ends, values = _joined(pieces)
        modality, unit, channel = _SERIES_OF[kind]
        about: dict[str, Any] = {"modality": modality, "unit": unit, "channel": channel, "worn": worn, "where": kind}
        if kind == "heart_rate":
            return averaged(begins, values, step_s=self._step_s, **about)
        return spread(begins, ends, values, step_s=60, **about)


def _joined(pieces: list[_Piece]) -> _Piece:
    begins, ends, values = (np.concatenate(column) for column in zip(*pieces, strict=True))
    return begins, ends, values


def _stage(level: str) -> float:
    word = _LEVELS.get(level, level)
    return float(SLEEP_STAGES.index(word)) if word in SLEEP_STAGES else np.nan


def _times(rows: list[Any], where: str) -> NDArray[np.int64]:
    seconds = local_seconds([texts(row, "dateTime") for row in rows], where=where, order="month_first")
    return local_to_utc_ns(seconds, None)


def _files(path: Path, look: int | None = None) -> list[Path]:
    def is_own(file: Path) -> bool:
        begin = head(file, 1024)
        return bool(_SERIES.match(begin) or _SLEEP.match(begin))

    return [file for name in _FOLDERS for file in own_files(path / name if name else path, (".json",), is_own, look)]

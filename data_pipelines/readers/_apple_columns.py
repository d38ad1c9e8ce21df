"""Records of Apple Health as the stream brings them -> numbers, block by block, so that no text is kept."""

import re
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_pipelines.readers._apple_types import KEPT, SDNN, SLEEP, SLEEP_VALUES
from data_pipelines.readers._clock import seconds_with_offset
from data_pipelines.readers._points import SLEEP_STAGES
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import NS_PER_S

_MAX_NAMES = 4096
_Row: TypeAlias = tuple[str, str, str, str, str]
# Begin, end, value, source, unit: of a record's texts all that is used.
_NEEDED = itemgetter("startDate", "endDate", "value", "sourceName", "unit")
_WITHOUT_UNIT = itemgetter("startDate", "endDate", "value", "sourceName", "type")
_BEAT = re.compile(r"\s*(\d{1,2})[:.](\d{2})[:.](\d{2})(?:[.,](\d{1,3}))?\b.*")
# A beat's time says neither day nor zone; its series lasts a minute, so its place within half an hour is enough.
_FOLD_S = 1800


class Numbers:
    """Records of one type, as numbers: time, end, value, unit, source, offset."""

    def __init__(self) -> None:
        self.begins, self.ends, self.values = array("q"), array("q"), array("d")
        self.units, self.sources, self.offsets = array("H"), array("H"), array("i")

    def arrays(self) -> tuple[NDArray, NDArray, NDArray, NDArray, NDArray, NDArray]:
        """Without a copy; times in nanoseconds."""
        begins, ends = (np.frombuffer(column, dtype=np.int64) * NS_PER_S for column in (self.begins, self.ends))
        return (
            begins,
            ends,
            np.frombuffer(self.values, dtype=np.float64),
            np.frombuffer(self.units, dtype=np.uint16),
            np.frombuffer(self.sources, dtype=np.uint16),
            np.frombuffer(self.offsets, dtype=np.int32),
        )


class Columns:
    """What the stream leaves behind."""

    def __init__(self) -> None:
        self.waiting: dict[str, list[_Row]] = {name: [] for name in KEPT}
        self.numbers: dict[str, Numbers] = {}
        self.units: dict[str, int] = {}
        self.sources: dict[str, int] = {}
        self.ranks: dict[int, int] = {}
        self.workouts: list[dict[str, str]] = []
        self.series: _Row | None = None
        self.beats: list[tuple[_Row, str, str]] = []
        self.beat_times, self.beat_gaps = array("q"), array("d")
        self.start = self._handler()

    def _handler(self) -> Callable[[str, dict[str, str]], None]:
        """What expat calls for each element; local names, as this is the inner loop of a file of many GB."""
        keeps = {
            name: (rows.append, _WITHOUT_UNIT if name == SLEEP else _NEEDED) for name, rows in self.waiting.items()
        }
        keep_of, sources, rare = keeps.get, self.sources, self._rare

        def start(name: str, attributes: dict[str, str]) -> None:
            if name == "Record":
                kept = keep_of(attributes.get("type", ""))
                if kept is not None:
                    row = kept[1](attributes)
                    kept[0](row)
                    if row[3] not in sources:
                        self._add_source(row[3], attributes)
            elif name != "MetadataEntry":
                rare(name, attributes)

        return start

    def _rare(self, name: str, attributes: dict[str, str]) -> None:
        if name == "Workout":
            self.workouts.append(
                {key: attributes.get(key, "") for key in ("workoutActivityType", "startDate", "endDate")}
            )
        elif name == "InstantaneousBeatsPerMinute":
            rows = self.waiting[SDNN]
            series = rows[-1] if rows else self.series
            if series is not None:
                self.beats.append((series, attributes.get("time", ""), attributes.get("bpm", "")))

    def after_block(self) -> None:
        """Texts to numbers, so that no text outlives its block."""
        for name, rows in self.waiting.items():
            if rows:
                self._keep(name, rows)
                if name == SDNN:
                    self.series = rows[-1]
                rows.clear()
        if self.beats:
            self._keep_beats()
            self.beats.clear()

    def _keep(self, name: str, rows: list[_Row]) -> None:
        where = short(name)
        starts, stops, texts, sources, units = zip(*rows, strict=True)
        begins, offsets = seconds_with_offset(starts, where=where)
        ends = begins if stops == starts else seconds_with_offset(stops, where=where)[0]
        kept = self.numbers.setdefault(name, Numbers())
        kept.begins.frombytes(begins.tobytes())
        kept.ends.frombytes(ends.tobytes())
        kept.values.frombytes(_values(name, texts).tobytes())
        kept.offsets.frombytes(offsets.astype(np.int32).tobytes())
        for unit in {*units} - {*self.units}:
            self.units[unit] = min(len(self.units), _MAX_NAMES)
        kept.units.extend(_indices(self.units, units))
        kept.sources.extend(_indices(self.sources, sources))

    def _add_source(self, name: str, row: Mapping[str, str]) -> None:
        # Names past the bound share the last index: they are told apart for the rank only.
        index = self.sources[name] = min(len(self.sources), _MAX_NAMES)
        made = f"{name} {row.get('device', '')}".lower()
        self.ranks[index] = 0 if "watch" in made else 1 if "iphone" in made else 2

    def _keep_beats(self) -> None:
        starts, offsets = seconds_with_offset([series[0] for series, _, _ in self.beats], where="beats")
        for start, offset, (_, time, bpm) in zip(starts.tolist(), offsets.tolist(), self.beats, strict=True):
            match = _BEAT.fullmatch(time)
            try:
                rate = float(bpm)
            except ValueError:
                rate = 0.0
            if match is None or not 10 < rate < 400:
                raise ReaderError("A beat has no time or no rate", where="InstantaneousBeatsPerMinute")
            fraction = int((match[4] or "0").ljust(3, "0"))
            of_day = (int(match[1]) * 3600 + int(match[2]) * 60 + int(match[3])) * 1000 + fraction
            after = (of_day - (start + offset) * 1000 + _FOLD_S * 500) % (_FOLD_S * 1000) - _FOLD_S * 500
            self.beat_times.append((start * 1000 + after) * 1_000_000)
            self.beat_gaps.append(60 / rate)


def _indices(table: Mapping[str, int], names: Sequence[str]) -> Iterable[int]:
    # Nearly always one name in a block, and comparing is quicker than looking each up.
    if names.count(names[0]) == len(names):
        return array("H", [table[names[0]]]) * len(names)
    return map(table.__getitem__, names)


def _values(name: str, texts: Sequence[str]) -> NDArray[np.float64]:
    if name == SLEEP:
        stages = [SLEEP_VALUES.get(text, "?") for text in texts]
        numbers = [-1 if s is None else SLEEP_STAGES.index(s) if s in SLEEP_STAGES else np.nan for s in stages]
        return np.array(numbers, dtype=np.float64)
    try:
        return pa.array(texts, pa.string()).cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        raise ReaderError("A record's value is no number", where=short(name), fix="export it again") from None


def short(name: str) -> str:
    """A type without its prefix."""
    return re.sub(r"^HK(Quantity|Category)TypeIdentifier", "", name)

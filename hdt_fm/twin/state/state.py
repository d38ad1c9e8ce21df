"""The state of one person's twin: what is kept of them, as arrays and plain JSON, of a size that does not grow.

Contract, version 1. A folder holds `twin.json` and `twin.safetensors`. It MUST hold no id, no path of data and nothing
that runs. Readings and treatments reach `kept_s` back from the newest reading, what was told a week and the longest
horizon; all else is sums, but for a year of days of each exposure (`exposures.py`), whose accumulators are arrays by
name and never looked into. The law that says what exposures do is kept whole, as plain JSON; it is nobody's data.
Where there is no state of a drift watch, as in files that are older than it, the watch begins at the newest reading.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from hdt_fm.schema.errors import CheckpointError, ConfigError
from hdt_fm.schema.series import DAY_S, ForecastTask
from hdt_fm.twin.nights.night import Nights
from hdt_fm.twin.state.learned import Learned
from hdt_fm.twin.state.tracks import Events, Track
from hdt_fm.twin.state.watched import Watched, watch_for

FORMAT = 1
FACTS_NAME, ARRAYS_NAME = "twin.json", "twin.safetensors"
OWN_PAST_S = 7.0 * DAY_S
# Lines across gaps reach 45 minutes further back than what is asked of them.
MARGIN_S = 3600.0


@dataclass(frozen=True)
class Reference:
    """The checkpoint that a twin was made with, and what it asks for.

    Attributes:
        digest: Of the model, heads and all: no other one is taken in its place.
        place: Where it was, or its published name.
        how: What a step of the head's grid holds: its newest reading, or the mean.
        needed_s: How far a forecast looks back.
        kept_s: How much is kept; more than is needed where other heads look further.
    """

    digest: str
    place: str
    task: ForecastTask
    how: str
    needed_s: float
    kept_s: float


def needed_s(task: ForecastTask, window_s: float) -> float:
    """How far back a forecast looks: the own week, the embedded windows, the context; and a margin."""
    windows = (task.windows - 1) * task.apart_s + window_s if task.windows else 0.0
    return max(OWN_PAST_S, windows, task.context_s) + task.every_s + MARGIN_S + 2 * task.step_s


@dataclass
class TwinState:
    """One person's twin between two windows of data.

    Attributes:
        reference: The checkpoint.
        learned: What the person's truths have taught.
        readings: On the clock of the recordings, as they were read.
        step_s: Between two readings of the newest recording.
        recorded, events: Treatments that were recorded as a signal; those that were written down.
        offset_s: How far the local clock is ahead, as of the newest window.
        clock: Of `hdt_fm.twin.forecast.told.CLOCKS`.
        source: Formats or cohorts that were read.
        whose: Digest of (salt, who) by what was read; never an id.
        salt: Of these digests, so that nobody else's table of them tells who it is.
        learned_until_s: The last half hour of the clock that a forecast was made at.
        taken: How many entries came in so far, by what became of them.
        exposures: Arrays of each exposure, as `Exposed` has them.
        exposure_law: What exposures do, as `hdt-fm exposure learn` wrote it; None where none was given.
        nights: For alerts; at most the last two years.
        watch: For drift; None is no watch, as of anything but glucose.
    """

    reference: Reference
    learned: Learned
    salt: str
    readings: Track = field(default_factory=Track.empty)
    step_s: float = 0.0
    recorded: dict[str, Track] = field(default_factory=dict)
    events: dict[str, Events] = field(default_factory=dict)
    offset_s: int = 0
    clock: str = "utc"
    source: tuple[str, ...] = ()
    whose: dict[str, str] = field(default_factory=dict)
    learned_until_s: float = -np.inf
    taken: dict[str, int] = field(default_factory=dict)
    exposures: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    exposure_law: dict[str, Any] | None = None
    nights: Nights | None = None
    watch: Watched | None = None

    @property
    def newest_s(self) -> float:
        """Of the readings."""
        return self.readings.newest_s


def bytes_kept(state: TwinState) -> int:
    """Of all arrays."""
    return sum(one.nbytes for one in _arrays(state).values())


def save_state(state: TwinState, folder: Path) -> None:
    """Write both files into a folder that is there.

    Raises:
        OSError: If they cannot be written.
    """
    arrays, nights = _arrays(state), state.nights
    facts: dict[str, Any] = {
        "format": FORMAT,
        "reference": asdict(state.reference),
        "learned": state.learned.facts(),
        "learned_until_s": state.learned_until_s if np.isfinite(state.learned_until_s) else None,
        "nights": None if nights is None else {"names": list(nights.names), "devices": nights.devices},
        "watch": None if state.watch is None else state.watch.state(),
        **{name: getattr(state, name) for name in _PLAIN},
        "source": list(state.source),
        "exposure_law": state.exposure_law,
    }
    (folder / ARRAYS_NAME).write_bytes(save(arrays))
    (folder / FACTS_NAME).write_text(json.dumps(facts, allow_nan=False, indent=1) + "\n")


def load_state(folder: Path) -> TwinState:
    """What `save_state` wrote.

    Raises:
        CheckpointError: If a file is missing, of a later version, or not what it says.
    """
    facts = _facts(folder)
    try:
        with safe_open(folder / ARRAYS_NAME, framework="np") as held:
            arrays = {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118
        return _state(facts, arrays)
    except (OSError, SafetensorError, LookupError, TypeError, ValueError, RecursionError, ConfigError) as error:
        raise CheckpointError(
            "The twin's state cannot be read",
            where=f"{FACTS_NAME} and {ARRAYS_NAME}",
            expected="both as they were written, together",
            got=type(error).__name__,
            fix="go back to an earlier version, or copy the whole folder again",
        ) from None


_PLAIN = ("salt", "step_s", "offset_s", "clock", "whose", "taken")


def _facts(folder: Path) -> dict[str, Any]:
    try:
        facts = json.loads((folder / FACTS_NAME).read_text())
        number = facts["format"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(
            "There is no twin's state here",
            where=FACTS_NAME,
            expected="a twin's folder, as `hdt-fm twin create` makes it",
            got=type(error).__name__,
            fix="give the folder that create made",
        ) from None
    if not isinstance(number, int) or number > FORMAT:
        raise CheckpointError(
            "The twin was written by a later hdt_fm",
            where=FACTS_NAME,
            expected=f"format {FORMAT} or earlier",
            got=f"format {number}" if isinstance(number, int) else "no number",
            fix="install the newest hdt_fm",
        )
    return dict(facts)


def _arrays(state: TwinState) -> dict[str, np.ndarray]:
    found = {f"learned/{name}": one for name, one in state.learned.arrays().items()}
    found |= {"readings/times_s": state.readings.times_s, "readings/values": state.readings.values}
    for name, track in state.recorded.items():
        found |= {f"recorded/{name}/times_s": track.times_s, f"recorded/{name}/values": track.values}
    for name, events in state.events.items():
        found |= {f"events/{name}/times_s": events.times_s, f"events/{name}/values": events.amounts}
    for kind, arrays in state.exposures.items():
        found |= {f"exposures/{kind}/{name}": one for name, one in arrays.items()}
    if state.nights is not None:
        found |= {"nights/dates": state.nights.dates.astype(np.int64), "nights/values": state.nights.values}
    # As the file has them: whole and in the machine's order of bytes.
    return {name: np.ascontiguousarray(one) for name, one in found.items()}


def _state(facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> TwinState:
    reference = dict(facts["reference"])
    until, nights = facts["learned_until_s"], None
    if facts["nights"] is not None:
        devices = facts["nights"]["devices"]
        nights = Nights(
            arrays["nights/dates"].astype("datetime64[D]"),
            arrays["nights/values"],
            tuple(facts["nights"]["names"]),
            None if devices is None else tuple(devices),
        )
    recorded, events = (_pairs(arrays, room) for room in ("recorded", "events"))
    task, readings = ForecastTask.of(reference["task"]), Track(arrays["readings/times_s"], arrays["readings/values"])
    return TwinState(
        reference=Reference(**{**reference, "task": task}),
        learned=Learned.of(facts["learned"], _under(arrays, "learned/")),
        readings=readings,
        recorded={name: Track(*pair) for name, pair in recorded.items()},
        events={name: Events(*pair) for name, pair in events.items()},
        source=tuple(facts["source"]),
        learned_until_s=-np.inf if until is None else float(until),
        exposures=_exposures(arrays),
        exposure_law=_law(facts.get("exposure_law")),
        nights=nights,
        watch=_watch(facts.get("watch"), task, readings),
        **{name: facts[name] for name in _PLAIN},
    )


def _watch(told: Mapping[str, Any] | None, task: ForecastTask, readings: Track) -> Watched | None:
    made = watch_for(task)
    if made is not None and told is not None:
        made.restore(told)
    elif made is not None and len(readings):
        made.begin(readings.newest_s)
    return made


def _law(told: Any) -> dict[str, Any] | None:
    if told is not None and not isinstance(told, dict):
        raise ValueError("a law is an object")
    return told


def _under(arrays: Mapping[str, np.ndarray], room: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(room): one for name, one in arrays.items() if name.startswith(room)}


def _pairs(arrays: Mapping[str, np.ndarray], room: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    found = _under(arrays, f"{room}/")
    names = sorted({name.split("/")[0] for name in found})
    return {name: (found[f"{name}/times_s"], found[f"{name}/values"]) for name in names}


def _exposures(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    found: dict[str, dict[str, np.ndarray]] = {}
    for name, one in _under(arrays, "exposures/").items():
        kind, _, part = name.partition("/")
        found.setdefault(kind, {})[part] = one
    return found

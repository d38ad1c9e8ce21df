"""codecarbon's one door: energy of this process, offline, with no file, no line of a log and no name of a machine.

Its processor power is read from counters of the whole package where the system lets it (RAPL), and otherwise estimated:
load of this process times the rated power of the model of processor, or 4 W a thread where its table does not know the
model. Memory is a model of slots (on x86 never under 10 W, whatever the process holds). A GPU is read from its own
counter, all of it. So kWh compares runs on one machine better than machines.
"""

import json
import logging
import threading
from collections.abc import Callable
from functools import lru_cache
from importlib import resources
from importlib.util import find_spec
from typing import Any, NamedTuple, Protocol, runtime_checkable

NOT_INSTALLED = "codecarbon is not installed (pip install 'hdt-fm[energy]')"
NO_NUMBER = "codecarbon gave no number on this machine"
# It reads when it is asked to, since two readings at once would count the same seconds twice: its clock never rings.
NEVER_S = 1e6


class Energy(NamedTuple):
    """What was metered so far.

    Attributes:
        kwh: `pue` included.
        hours: That the meter ran.
        kg_co2e: By codecarbon's yearly mean of the country; means nothing where none was told.
    """

    kwh: float
    hours: float
    parts: dict[str, float]
    kg_co2e: float
    how: str


@runtime_checkable
class Tracker(Protocol):
    """What is asked of codecarbon's tracker."""

    def start(self) -> None: ...
    def flush(self) -> Any: ...
    def stop(self) -> Any: ...


class Received:
    """The newest numbers that a tracker handed out: codecarbon calls this an output handler."""

    def __init__(self) -> None:
        self.total: Any = None

    def out(self, total: Any, delta: Any) -> None:
        self.total = total

    def live_out(self, total: Any, delta: Any) -> None:
        self.total = total

    def task_out(self, data: Any, experiment_name: str) -> None:
        pass

    def exit(self) -> None:
        pass


MakeTracker = Callable[[Received, str | None, float], Tracker]


class EnergyMeter:
    """A meter that may be started from a thread of its own and is stopped without waiting for that."""

    def __init__(self, country: str | None, pue: float, make: MakeTracker | None = None) -> None:
        self._country, self._pue = country, pue
        self._make = make or offline_tracker
        self._received = Received()
        self._running: Tracker | None = None
        self._over = False
        self._lock = threading.Lock()

    def start(self) -> None:
        """Takes 2 s of processor the first time in a process, in which codecarbon looks at the machine."""
        tracker = self._make(self._received, self._country, self._pue)
        tracker.start()
        with self._lock:
            if not self._over:
                self._running = tracker
                return
        tracker.stop()

    def read(self) -> Energy | None:
        """What was metered until now; None before the meter runs."""
        with self._lock:
            if self._running is None:
                return None
            self._running.flush()
            return self._told(self._running)

    def stop(self) -> Energy | None:
        """The last reading. A meter that is still starting is left to itself, so that nobody waits for it."""
        with self._lock:
            self._over = True
            if self._running is None:
                return None
            tracker, self._running = self._running, None
            tracker.stop()
            return self._told(tracker)

    def _told(self, tracker: Tracker) -> Energy | None:
        total = self._received.total
        if total is None:
            return None
        parts = {"cpu": total.cpu_energy, "gpu": total.gpu_energy, "memory": total.ram_energy}
        return Energy(
            kwh=float(total.energy_consumed),
            hours=float(total.duration) / 3600,
            parts={name: float(value) for name, value in parts.items()},
            kg_co2e=float(total.emissions),
            how=how(tracker, total),
        )


def how(tracker: Tracker, total: Any) -> str:
    """What metered, and what of it is an estimate; of the machine no more than that."""
    kinds = " ".join(getattr(tracker, "_conf", {}).get("hardware", ())).lower()
    counted = any(word in kinds for word in ("rapl", "windows_emi", "windows emi", "powermetrics", "power gadget"))
    processor = "processor by counters of the whole package" if counted else "processor estimated from load"
    parts = [processor, "memory estimated"] + (["GPU by its counter"] if total.gpu_count else [])
    return f"codecarbon {total.codecarbon_version} of this process: {', '.join(parts)}"


def installed() -> bool:
    """Whether there is a codecarbon; does not import it."""
    return find_spec("codecarbon") is not None


@lru_cache(maxsize=1)
def countries() -> frozenset[str]:
    """ISO codes whose electricity codecarbon knows; empty where it is not installed or keeps them elsewhere."""
    if not installed():
        return frozenset()
    table = resources.files("codecarbon") / "data" / "private_infra" / "global_energy_mix.json"
    try:
        return frozenset(json.loads(table.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return frozenset()


def offline_tracker(received: Received, country: str | None, pue: float) -> Tracker:
    """codecarbon's offline tracker. What its own config files and environment could ask for (sending to a service,
    writing a file, looking up a place) is told here, so that they cannot."""
    import codecarbon

    # Importing sets its level to INFO and its handler to stderr; its first lines come before it heeds `log_level`.
    logging.getLogger("codecarbon").setLevel(logging.CRITICAL)
    tracker: Tracker = codecarbon.OfflineEmissionsTracker(
        # Without a country its mean of the world is taken, which `Cost` does not tell.
        country_iso_code=country,
        country_2letter_iso_code=None,
        region=None,
        cloud_provider=None,
        cloud_region=None,
        project_name="hdt_fm",
        experiment_id="",
        measure_power_secs=NEVER_S,
        api_call_interval=-1,
        output_dir=".",
        output_methods=[],
        output_handlers=[received],
        emissions_endpoint=None,
        electricitymaps_api_token="",
        force_carbon_intensity_g_co2e_kwh=None,
        gpu_ids=None,
        tracking_mode="process",
        log_level="critical",
        allow_multiple_runs=True,
        pue=pue,
        metadata=None,
    )
    return tracker

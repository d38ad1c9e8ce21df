"""What a verb spends, around it: hours always; energy once the verb has run for a while (`cost.energy`)."""

import contextlib
import os
import resource
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from hdt_fm.cli.cost_energy import NO_NUMBER, NOT_INSTALLED, Energy, EnergyMeter, MakeTracker, countries, installed
from hdt_fm.cli.cost_sessions import NAME, NOT_KEPT, Session, Sessions, counting, read_sessions
from hdt_fm.cli.settings import CostSettings
from hdt_fm.schema.cost import Cost, added_up
from hdt_fm.schema.errors import ConfigError

SAVED_EVERY_S = 30.0
SHORTER = "over before the meter runs (cost.after_s, {:g} s)"
SWITCHED_OFF = "switched off (cost.energy=never)"
FIRST_OF = "processor time and energy of {} further processes"


class Meter:
    """Around one verb; `close` gives what it and the sessions before it spent."""

    def __init__(
        self,
        settings: CostSettings,
        folder: Path,
        *,
        config: str,
        write: Callable[[Path, str], None],
        make: MakeTracker | None = None,
        saved_every_s: float = SAVED_EVERY_S,
    ) -> None:
        """Args: `config` is the digest of the run's `config.yaml`; `write` writes a file whole or not at all."""
        self._settings, self._folder, self._config, self._write = settings, folder, config, write
        self._every_s = saved_every_s
        self._earlier, self._missing = read_sessions(folder)
        self._energy, self._reason = _energy_of(settings, make)
        self._told: Cost | None = None
        self._closed = threading.Event()
        self._saving = threading.Lock()
        self._wall, self._cpu = time.monotonic(), cpu_seconds()

    def __enter__(self) -> "Meter":
        if self._settings.energy == "always":
            self._begin()
        threading.Thread(target=self._watch, name="cost", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """A verb that left no record leaves what it spent; a full disk does not hide why it ended."""
        if not self._closed.is_set():
            with contextlib.suppress(OSError):
                self.close(finished=False, resumed=True)

    def close(self, *, finished: bool, resumed: bool) -> Cost:
        """End the session and write it down.

        Args:
            finished: Whether the verb did all that it was asked for.
            resumed: Whether it went on from where an earlier session was.
        """
        self._closed.set()
        with self._saving:
            if self._told:
                return self._told
            before = counting(self._earlier, self._config, resumed=resumed)
            missing = self._missing or (NOT_KEPT if resumed and finished and not before else "")
            own = self._spent(self._energy.stop() if self._energy else None, missing)
            self._keep(before, own, finished=finished)
            self._told = added_up([*(one.cost for one in before), own])
            return self._told

    def _watch(self) -> None:
        """In a thread of its own: starts the energy meter when it is worth it, and writes down what was spent."""
        starts = self._energy is not None and self._settings.energy == "auto"
        begun = time.monotonic()
        while True:
            left = self._settings.after_s - (time.monotonic() - begun) if starts else self._every_s
            if self._closed.wait(max(0.0, min(left, self._every_s))):
                return
            if starts and time.monotonic() - begun >= self._settings.after_s:
                self._begin()
                starts = False
            self._save()

    def _begin(self) -> None:
        if self._energy:
            try:
                self._energy.start()
            except Exception as error:  # whatever a machine makes it stumble over, the verb has other work to do
                self._energy, self._reason = None, f"{NO_NUMBER} ({type(error).__name__})"

    def _save(self) -> None:
        with self._saving, contextlib.suppress(OSError):
            # Whether the session goes on from a checkpoint is known at its end: until then all earlier ones are kept.
            if not self._closed.is_set():
                own = self._spent(self._energy.read() if self._energy else None, self._missing)
                self._keep(self._earlier, own, finished=False)

    def _keep(self, before: Sequence[Session], own: Cost, *, finished: bool) -> None:
        last = Session(config=self._config, finished=finished, cost=own)
        kept = Sessions(sessions=(*before, last))
        self._write(self._folder / NAME, kept.model_dump_json(indent=1) + "\n")

    def _spent(self, energy: Energy | None, missing: str) -> Cost:
        """This session until now."""
        settings, processes = self._settings, int(os.environ.get("WORLD_SIZE", "1"))
        hours = (time.monotonic() - self._wall) / 3600
        others = FIRST_OF.format(processes - 1) if processes > 1 else ""
        kwh = energy.kwh if energy else None
        told: dict[str, Any] = {"reason": self._reason or self._why_nothing(hours)}
        if energy:
            parts = {name: round(value, 9) for name, value in energy.parts.items()}
            told = {"metered_hours": round(energy.hours, 9), "parts": parts, "how": energy.how}
            if settings.country:
                told |= {"kg_co2e": round(energy.kg_co2e, 9), "country": settings.country}
        money = _money(settings, kwh, hours * processes)
        return Cost(
            hours=round(hours, 9),
            cpu_hours=round((cpu_seconds() - self._cpu) / 3600, 9),
            processes=processes,
            device_hours=round(hours * processes, 9),
            kwh=None if kwh is None else round(kwh, 9),
            pue=settings.pue,
            money=None if money is None else round(money, 6),
            currency=settings.currency,
            missing="; ".join(text for text in (missing, others) if text),
            **told,
        )

    def _why_nothing(self, hours: float) -> str:
        # The meter takes some seconds to start, and is not waited for.
        early = self._settings.energy == "auto" and hours * 3600 < self._settings.after_s + 10
        return SHORTER.format(self._settings.after_s) if early else NO_NUMBER


def cpu_seconds() -> float:
    """Processor time of this process and of those that it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _energy_of(settings: CostSettings, make: MakeTracker | None) -> tuple[EnergyMeter | None, str]:
    """The meter, or why there is none.

    Raises:
        ConfigError: If energy must be metered and cannot be, or nothing is known of the country's electricity.
    """
    if settings.energy == "never":
        return None, SWITCHED_OFF
    if os.environ.get("RANK", "0") != "0":  # of several processes the first one writes the record
        return None, ""
    if make is None and not installed():
        if settings.energy == "always":
            raise ConfigError(
                "Energy cannot be metered: codecarbon is not installed",
                where="cost.energy",
                got="always",
                fix="pip install 'hdt-fm[energy]', or cost.energy=auto, which does without",
            )
        return None, NOT_INSTALLED
    if settings.country and countries() and settings.country not in countries():
        raise ConfigError(
            "Nothing is known of this country's electricity",
            where="cost.country",
            expected="an ISO code of three letters, such as SWE, or null, which tells no CO2",
            got=settings.country,
        )
    return EnergyMeter(settings.country, settings.pue, make), ""


def _money(settings: CostSettings, kwh: float | None, device_hours: float) -> float | None:
    """What it comes to; None where no price was told, or one cannot be applied."""
    if settings.price_per_kwh is None and settings.price_per_device_hour is None:
        return None
    if settings.price_per_kwh is not None and kwh is None:
        return None
    return (settings.price_per_kwh or 0.0) * (kwh or 0.0) + (settings.price_per_device_hour or 0.0) * device_hours

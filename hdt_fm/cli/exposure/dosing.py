"""What accumulators make of a twin's days: leaky doses of each exposure, and those of a law with its effect."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from hdt_fm.cli.exposure.law import Law
from hdt_fm.cli.exposure.unseen import unseen_reach
from hdt_fm.heads.exposure_dose import DoseState
from hdt_fm.layers.accumulators import Held, leaky
from hdt_fm.schema.exposure import exposure_kind
from hdt_fm.twin.state.exposures import Exposed

BANK_D = (1.0, 3.0, 7.0, 14.0, 30.0)
# Share of a dose's weights that must rest on days that were seen; a law has its own.
ENOUGH = 0.5
_BANK, _LAW = "bank", "law"


def folded(one: Exposed, closed: Float[np.ndarray, " day"], law: Law | None) -> dict[str, np.ndarray]:
    """What accumulators hold once they were told of days that are closed.

    A law that is new here is told of the days that are kept, these among them; where nothing was held yet, of all that
    are closed, which may be more than are kept.
    """
    held = dict(_bank(closed, one.held)[1])
    if law is not None and one.kind in law.kinds:
        known = not one.held or any(name.startswith(_LAW) for name in one.held)
        held |= _of_law(law, law.kinds.index(one.kind), closed if known else one.days, one.held)
    return held


def without_law(one: Exposed) -> dict[str, np.ndarray]:
    """What accumulators hold but for those of a law."""
    return {name: values for name, values in one.held.items() if not name.startswith(_LAW)}


def as_of(kept: Mapping[str, Exposed]) -> int:
    """The newest day of which anything is known."""
    return max(one.day for one in kept.values())


def doses(one: Exposed, day: int) -> list[dict[str, Any]]:
    """Its leaky doses at the end of a day, with what their unseen share leaves open (`unseen.py`)."""
    ends, _ = _bank(_upto(one, day), one.held)
    kept = np.concatenate([one.days, _upto(one, day)])
    low, high = exposure_kind(one.kind).plausible
    found = []
    for tau, value, mass in zip(BANK_D, ends["dose"], ends["seen"], strict=True):
        told, reach = (value, unseen_reach(kept, tau)) if mass >= ENOUGH else (np.nan, np.nan)
        sides = {"low": max(told - reach, low), "high": min(told + reach, high)}
        found.append(
            {
                "time_constant_d": tau,
                "value": _told(told),
                **{name: _told(side) for name, side in sides.items()},
                "seen": round(float(mass), 3),
            }
        )
    return found


def effect(kept: Mapping[str, Exposed], law: Law, day: int) -> dict[str, Any]:
    """The law's own doses at the end of a day, and what it says that they do."""
    head, arrays = law.head, law.head.begin(1).arrays()
    last = np.full((1, len(law.kinds), 1), np.nan)
    for place, kind in enumerate(law.kinds):
        if kind not in kept:
            continue
        days = _upto(kept[kind], day)
        last[0, place, 0] = days[-1]
        for name, values in _of_law(law, place, days[:-1], kept[kind].held).items():
            arrays[name.removeprefix(f"{_LAW}_")][:, place] = values
    state = DoseState.of(arrays)
    dosed, effects = head.dose(last, state)[0], head.effect(last, state)[0]
    numbers = head.numbers()
    rows = []
    for place, kind in enumerate(law.kinds):
        tau = numbers[f"time constant of {kind}"]
        rows.append(
            {
                "kind": kind,
                "unit": unit_told(kind),
                "time_constant_d": {name: _told(getattr(tau, name)) for name in ("value", "low", "high")},
                **{name: _told(getattr(dosed, name)[0, place, 0]) for name in ("value", "low", "high")},
                "seen": round(float(dosed.seen[0, place, 0]), 3),
                **law.verdict(kind),
            }
        )
    sides = {name: _told(getattr(effects, name)[0, 0]) for name in ("value", "low", "high")}
    return {"exposures": rows, "effect": None if sides["value"] is None else sides}


def unit_told(kind: str) -> str:
    """Of a dose: an amount's is that of a day."""
    entry = exposure_kind(kind)
    return f"{entry.unit} a day" if entry.amount else entry.unit


def _bank(
    days: Float[np.ndarray, " day"], held: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    before = {name: held.get(f"{_BANK}_{name}", np.zeros(len(BANK_D))) for name in ("total", "mass")}
    tau = torch.tensor(BANK_D, dtype=torch.float64)
    lengths = torch.ones(len(days), dtype=torch.float64)
    _, after = leaky(torch.from_numpy(np.ascontiguousarray(days)), lengths, tau, start=Held.of(before))
    ends = {"dose": after.dose.numpy(), "seen": after.mass.numpy()}
    return ends, {f"{_BANK}_{name}": values for name, values in after.arrays().items()}


def _of_law(
    law: Law, place: int, days: Float[np.ndarray, " day"], held: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The head's state of one exposure alone: exposures are told up to days of their own."""
    arrays = law.head.begin(1).arrays()
    for name in arrays:
        if f"{_LAW}_{name}" in held:
            arrays[name][:, place] = held[f"{_LAW}_{name}"]
    told = np.full((1, len(law.kinds), len(days)), np.nan)
    told[0, place] = days
    after = law.head.dose(told, DoseState.of(arrays))[1].arrays()
    return {f"{_LAW}_{name}": values[:, place].copy() for name, values in after.items() if name != "taus"}


def _upto(one: Exposed, day: int) -> Float[np.ndarray, " day"]:
    """The open day, and unknown ones from there to a day."""
    out = np.full(day - one.day + 1, np.nan)
    out[0] = one.value
    return out


def _told(value: float) -> float | None:
    """As JSON has it; seven digits, so that rounding of sums shows in no answer."""
    return float(f"{value:.7g}") if np.isfinite(value) else None

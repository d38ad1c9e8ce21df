"""A made-up answer about two plans, and the record of it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hdt_fm.schema.treatment import Plan
from hdt_fm.schema.what_if import Compared, DoseResponse, Refuter, Support
from hdt_fm.twin.what_if.told import record

# 2026-03-05 14:40, twelve hours of readings and some before.
NEWEST_S = 1_772_721_600.0
TIMES_S = NEWEST_S + 300.0 * np.arange(-150, 1)
VALUES = 150 + 30 * np.cos(np.arange(-150, 1) / 20)
MINUTES = tuple(range(15, 241, 15))


@pytest.fixture(scope="session")
def compared() -> Callable[..., Compared]:
    """(fields that are other) -> the plan takes half a mg/dL a minute off; 15 to 30 % wrong to either side."""

    def made(**other: Any) -> Compared:
        minutes = np.array(other.get("minutes", MINUTES), dtype=np.float64)
        fall = -0.5 * minutes
        level = 180 + np.stack([fall, 0 * fall])
        known = Compared(
            minutes=MINUTES,
            level=level,
            level_low=level - 20,
            level_high=level + 30,
            effect=fall,
            effect_low=1.3 * fall,
            effect_high=0.7 * fall,
            support=(support(), support(density=1.0)),
            curves=(curve("bolus", "U", [0.0, 1.0, 2.0, 4.0, 6.0], -15.0), curve("carbs", "g", [0.0, 30.0, 60.0], 2.0)),
            refuters=(refuter("placebo treatment", 0.04, 0.0), refuter("subset of days", 0.8, 0.85)),
            own_actions=142,
            own_share=(0.85, 0.6, 1.1),
            sensitivity=0.21,
        )
        return replace(known, **other)

    return made


@pytest.fixture(scope="session")
def told(compared) -> Callable[..., dict[str, Any]]:
    """(plan, other plan, settings of `record`, other fields of the answer) -> the record."""

    def made(plan="bolus 4 U", against="nothing", shown=(TIMES_S, VALUES), settings=None, **other: Any):
        plans = (Plan.spoken(plan), Plan.spoken(against))
        return record(compared(**other), plans, shown, **(settings or {}))

    return made


@pytest.fixture(scope="session")
def parts():
    """Makers of what an answer holds."""
    return support, refuter, curve


def support(verdict="inside", treatment="bolus", density=0.8, effective_size=23.4, low=1.5, high=6.2, widen=1.0):
    return Support(verdict, treatment, density, effective_size, low, high, widen)


def refuter(name="placebo treatment", found=0.04, expected=0.0, allowed=0.2, passed=True):
    return Refuter(name, found, expected, allowed, passed, f"The {name} was tried.")


def curve(treatment, unit, doses, slope, supported=None):
    dose = np.array(doses)
    known = (dose > dose.min()) & (dose < dose.max()) if supported is None else np.array(supported)
    return DoseResponse(
        treatment=treatment,
        unit=unit,
        minute=120,
        dose=dose,
        effect=slope * dose,
        low=slope * dose - 10,
        high=slope * dose + 10,
        supported=known,
    )

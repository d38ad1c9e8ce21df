"""A plan's effect, read from the record that the twin writes."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hdt_fm.explain.causal.plan_effect import plan_effect_from
from hdt_fm.schema.errors import ExplainError
from hdt_fm.schema.treatment import Plan
from hdt_fm.schema.what_if import Compared, Refuter, Support
from hdt_fm.twin.what_if.told import record

SUPPORT = Support(verdict="thin", treatment="bolus", density=0.2, effective_size=3.5, low=2.0, high=8.0, widen=1.4)
MINUTES = (5, 30, 60, 120)


def told(**changed: Any) -> dict[str, Any]:
    effect = np.array([-1.0, -10.0, -20.0, -40.0])
    level = np.stack([140 + effect, np.full(4, 140.0)])
    compared = Compared(
        minutes=MINUTES,
        level=level,
        level_low=level - 20,
        level_high=level + 20,
        effect=effect,
        effect_low=effect - 10,
        effect_high=effect + 10,
        support=(SUPPORT, replace(SUPPORT, verdict="inside", treatment="carbs", widen=1.0)),
        curves=(),
        refuters=(Refuter("placebo treatment", 0.7, 0.0, 0.2, False, "Doses of other days."),),
        own_actions=40,
        own_share=(0.9, 0.5, 1.3),
        sensitivity=float("nan"),
    )
    plans = Plan.spoken("bolus 4 U"), Plan()
    shown = np.array([1.7e9 - 300, 1.7e9]), np.array([150.0, 140.0])
    return {**record(replace(compared, **changed), plans, shown), "notes": ["read from a file"]}


def test_the_twins_record_is_read_and_its_times_are_not() -> None:
    made = plan_effect_from(told())
    assert (made.verdict, made.stamp, made.reasons) == ("does not hold up", "fail", ("placebo treatment",))
    assert [row["min"] for row in made.effects] == [30, 60, 120]
    assert made.effects[2] == {"min": 120, "point": -40.0, "low": -50.0, "high": -30.0}
    assert made.support["plan"] == {"verdict": "thin", "treatment": "bolus", "effective_size": 3.5, "widen": 1.4}
    assert made.sensitivity is None
    assert "2023-11" in json.dumps(told())
    assert "2023" not in repr(made)
    assert "read from a file" not in repr(made)


def test_what_is_not_whole_is_refused() -> None:
    for name in ("verdict", "own", "overlap", "refuters"):
        with pytest.raises(ExplainError, match=f"lacks '{name}'"):
            plan_effect_from({key: one for key, one in told().items() if key != name})
    with pytest.raises(ExplainError, match="is of another form"):
        plan_effect_from({**told(), "verdict": "holds up"})
    outside = told()
    outside["overlap"]["plan"]["verdict"] = "outside"
    with pytest.raises(ExplainError, match="outside what people do"):
        plan_effect_from(outside)

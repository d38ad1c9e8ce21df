"""Our thin layer beside dowhy on one table: effect, placebo, random common cause, subset."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hdt_fm.explain.causal import refute as refuters
from hdt_fm.explain.causal.study import study

NewTable = Callable[..., tuple[dict[str, np.ndarray], np.ndarray]]
DRAWS = 10
TRIED = {
    "placebo treatment": ("placebo_treatment_refuter", {"placebo_type": "permute"}),
    "random common cause": ("random_common_cause", {}),
    "subset of people": ("data_subset_refuter", {"subset_fraction": 0.8}),
}


@pytest.mark.parametrize(("form", "kind"), [("binary", bool), ("continuous", float)])
def test_effect_and_refuters_are_those_of_dowhy(
    question: Any, new_table: NewTable, monkeypatch: pytest.MonkeyPatch, form: str, kind: type
) -> None:
    dowhy = pytest.importorskip("dowhy", reason="a peer to compare with; it brings much, so that `dev` goes without")
    for name in ("PLACEBOS", "CAUSES", "SUBSETS"):
        monkeypatch.setattr(refuters, name, DRAWS)
    columns, person = new_table(0, people=40, binary=form == "binary")
    asked = replace(question, form=form, within_people=False, negative_control=None)
    mine = study(asked, columns, person)
    assert mine.effect is not None
    table = pd.DataFrame(columns).astype({"activity": kind})
    model = dowhy.CausalModel(table, treatment="activity", outcome="heart_rate", common_causes=["hour", "posture"])
    wanted = model.identify_effect(proceed_when_unidentifiable=True)
    theirs = model.estimate_effect(wanted, method_name="backdoor.linear_regression")
    error = (mine.effect.high - mine.effect.value) / 2
    # Of one table, so that only the ways differ: by less than half a standard error, and that of a tenth of what is
    # confounded.
    assert mine.effect.value == pytest.approx(theirs.value, abs=error / 2)
    assert abs(mine.effect.naive - mine.effect.value) > 3 * error
    scale = mine.effect.standardised[0] / mine.effect.value
    for one in mine.refuters:
        if one.name in TRIED:
            name, how = TRIED[one.name]
            tried = model.refute_estimate(
                wanted, theirs, method_name=name, num_simulations=DRAWS, random_seed=0, show_progress_bar=False, **how
            )
            assert one.passed is True
            # They tell the mean of their draws, we the one that is farthest off, but for the placebo.
            assert one.found == pytest.approx(scale * tried.new_effect, abs=2 * scale * error)

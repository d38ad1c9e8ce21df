"""A question put to rows: one verdict by a fixed rule, and words for all of it."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from hdt_fm.explain.causal import refute as refuters
from hdt_fm.explain.causal import words
from hdt_fm.explain.causal.back_door import BackDoor
from hdt_fm.explain.causal.design import design_of
from hdt_fm.explain.causal.effect import estimate, told
from hdt_fm.explain.causal.estimand import listed, of_body, untestable
from hdt_fm.explain.causal.observed import observed
from hdt_fm.explain.causal.overlap import WIDEN_THIN, Overlap
from hdt_fm.explain.causal.question import Question
from hdt_fm.explain.causal.study import Study, study, verdict
from hdt_fm.schema.what_if import Refuter

NewTable = Callable[..., tuple[dict[str, np.ndarray], np.ndarray]]
CLOSED = BackDoor(closed=True, paths=(), unmeasured=(), fixable=())
OPEN = BackDoor(closed=False, paths=(("a", "u", "y"),), unmeasured=("u",), fixable=())


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PLACEBOS", "CAUSES", "SUBSETS"):
        monkeypatch.setattr(refuters, name, 5)


def overlap(name: str) -> Overlap:
    return Overlap(
        verdict=name,  # type: ignore[arg-type]
        reasons=() if name == "inside" else ("few rows",),
        outside=0.1,
        left=0.5,
        effective=(9.0, 9.0),
        arms=(20, 20),
        balance=(),
        edges=np.linspace(0, 1, 3),
        counts=np.zeros((2, 2), dtype=int),
    )


def ended(*ways: bool | None) -> list[Refuter]:
    return [Refuter(f"r{at}", 0.0, 0.0, 0.1, way, "") for at, way in enumerate(ways)]


@pytest.mark.parametrize(
    ("tried", "support", "door", "name", "reasons"),
    [
        (ended(True, True), "inside", CLOSED, "holds up", ()),
        (ended(True, True), "thin", CLOSED, "holds up on thin support", ("few rows",)),
        (ended(True, None), "inside", CLOSED, "partly tested", ("r1",)),
        (ended(None, None), "thin", CLOSED, "not tested", ("r0", "r1")),
        (ended(True, True), "inside", OPEN, "left open by its own graph", ("u",)),
        (ended(True, False), "inside", OPEN, "does not hold up", ("r1",)),
        ([], "none", OPEN, "no estimate", ("few rows",)),
    ],
)
def test_the_verdict_by_its_rule(
    tried: Sequence[Refuter], support: str, door: BackDoor, name: str, reasons: tuple[str, ...]
) -> None:
    assert verdict(tried, overlap(support), door) == (name, reasons)


@pytest.fixture
def found(question: Question, new_table: NewTable) -> Study:
    return study(question, *new_table(0))


def test_an_effect_in_words(found: Study) -> None:
    assert found.effect is not None
    assert found.verdict == "holds up"
    said = words.effect(found)
    assert f"Heart rate would be {found.effect.value:.3g} bpm higher if there were high activity" in said
    assert f"interval over people {found.effect.low:+.3g} to {found.effect.high:+.3g} bpm, it does not hold 0" in said
    assert "600 windows of 30 people" in said
    assert words.stamp(found) == "pass"
    assert "closes every back door" in words.doors(found)


def test_the_e_value_in_words(found: Study, question: Question, new_table: NewTable) -> None:
    assert found.e_value is not None
    said = words.e_value(found)
    assert "would have to be associated with both high activity and heart rate by a factor of at least" in said
    assert f"{found.e_value.estimate:.2f} each" in said
    assert f"at least {found.e_value.interval:.2f} to bring the end" in said
    nothing = study(question, *new_table(0, effect=0.0))
    assert nothing.effect is not None
    assert nothing.effect.low < 0 < nothing.effect.high
    assert "nothing unmeasured is needed" in words.e_value(nothing)


def test_no_overlap_no_effect(question: Question, new_table: NewTable) -> None:
    made = study(question, *new_table(0, lift=12.0))
    assert (made.verdict, made.effect, made.e_value, made.refuters) == ("no estimate", None, None, ())
    assert (words.effect(made), words.e_value(made), words.stamp(made)) == ("", "", "fail")
    assert words.judged(made).startswith("There is no estimate")


def test_thin_overlap_widens_the_interval(question: Question, new_table: NewTable) -> None:
    columns, person = new_table(0, lift=2.0)
    columns["heart_rate"] = (columns["heart_rate"] > 0).astype(float)
    made = study(question, columns, person)
    assert made.overlap.verdict == "thin"
    assert made.effect is not None
    assert made.effect.risk_ratio is not None
    some = observed(question, columns, person)
    design = design_of(some, within=True, seed=0)
    plain = told(design, some, estimate(design))
    assert plain.risk_ratio is not None
    assert made.effect.high - made.effect.low == pytest.approx(WIDEN_THIN * (plain.high - plain.low))
    logs = [np.log(one[2] / one[1]) for one in (made.effect.risk_ratio, plain.risk_ratio)]
    assert logs[0] == pytest.approx(WIDEN_THIN * logs[1])
    assert "1.3 times as wide" in words.overlap(made)


def test_a_named_cause_leaves_it_open(question: Question, new_table: NewTable) -> None:
    made = study(replace(question, unmeasured=("caffeine", "stress"), others=("light",)), *new_table(0))
    assert made.verdict == "left open by its own graph"
    assert words.judged(made).endswith("(caffeine, stress). Read it as an association.")
    assert words.doors(made) == "By these arrows, 2 back doors stay open, through caffeine and stress."
    assert words.open_paths(made) == ["high activity ← caffeine → heart rate", "high activity ← stress → heart rate"]
    edges = (("light", "activity"), ("light", "heart_rate"), ("activity", "heart_rate"))
    drawn = study(replace(question, adjusted=(), others=("light",), edges=edges), *new_table(0))
    assert words.doors(drawn).endswith(
        "one back door stays open, through light. Holding light fixed too may close some of them."
    )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "if there were high activity in every window, instead of in none, with hour and posture as they were?"),
        (
            {"form": "above_own_median", "adjusted": ("hour",)},
            "above a person's own median in every window, instead of in none, with hour as it was?",
        ),
        ({"form": "continuous", "adjusted": ()}, "for one unit more of high activity in every window? Each person"),
        ({"within_people": False}, "People are compared with each other too"),
    ],
)
def test_the_estimand_in_words(question: Question, more: dict[str, object], said: str) -> None:
    assert said in of_body(replace(question, **more))


def test_what_cannot_be_tested_is_named(question: Question) -> None:
    assert "The question claims so." in untestable(question)[0]
    assert "names what may: illness and sport." in untestable(replace(question, unmeasured=("illness", "sport")))[0]
    assert [listed([]), listed(["a"]), listed(["a", "b", "c"])] == ["", "a", "a, b and c"]

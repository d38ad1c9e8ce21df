"""The sentences at the head of the page."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from markupsafe import escape

import hdt_fm.explain
from hdt_fm.explain.explanation import Check, Explanation, MethodMap, Reliability
from hdt_fm.explain.page.document import html
from hdt_fm.explain.page.glossary import TESTS
from hdt_fm.explain.page.report import Report
from hdt_fm.explain.page.summary import agreement_of_references, summary, worst_first

# Of the tests in the order of the gate: the eighth fails, the first and the tenth warn.
ORDER = ("warn", *["pass"] * 6, "fail", "pass", "warn", *["pass"] * 6)


def test_what_failed_is_said_in_its_own_words(fabricated: Callable[..., Explanation]) -> None:
    checks = (
        Check("skill", "fail", 0.5, "", "It guesses."),
        Check("noise", "warn", 0.7, "", "It moves."),
        Check("agreement", "pass", 0.5, "", "They agree."),
    )
    told = summary(Report(replace(fabricated(), reliability=Reliability(checks)))).trust
    assert "do not use the figures to understand a person" in told
    assert "Skill: It guesses." in told
    assert "With a warning: noise." in told
    assert "agree" not in told


def test_the_top_is_the_largest_mean_share(fabricated: Callable[..., Explanation]) -> None:
    made = fabricated(windows=2)
    acc = np.zeros((2, 3, 20), np.float32)
    acc[:, 1] = -0.6
    other = {"ppg": np.full((2, 1, 40), 0.1, np.float32), "temp": np.zeros((2, 2, 5), np.float32)}
    maps = (
        MethodMap("integrated_gradients", {**other, "acc": acc}),
        MethodMap("saliency", {**other, "acc": acc * 0}),
        MethodMap("layer_activation", {**other, "acc": acc}),  # not about the output: has no vote
    )
    told = summary(Report(replace(made, maps=maps), scope="person"))
    assert told.carries[0] == "By Integrated gradients, most credit lies on Acceleration: 75 %."
    assert told.carries[1] == "Of its 3 channels channel 2 holds most: 75 %."
    assert told.carries[2] == "1 of 2 methods put Acceleration first."
    assert "too few windows for an interval" in told.cautions[0]


def test_two_references_that_agree_and_that_do_not(fabricated: Callable[..., Explanation]) -> None:
    made = fabricated()
    assert agreement_of_references(Report(made)) is None
    assert agreement_of_references(Report(made, alternative=made)) == pytest.approx(1.0)
    turned = replace(made.maps[0], values={name: -one for name, one in made.maps[0].values.items()})
    assert agreement_of_references(Report(made, alternative=replace(made, maps=(turned,)))) == pytest.approx(-1.0)


def test_the_worst_test_comes_first_and_each_has_its_words(fabricated: Callable[..., Explanation]) -> None:
    checks = tuple(Check(name, verdict, 0.5, "", name) for name, verdict in zip(TESTS, ORDER, strict=True))
    reliability = Reliability(checks)
    assert [one.name for one in worst_first(reliability)][:3] == ["seeds", "skill", "noise"]
    page = html(Report(replace(fabricated(), reliability=reliability)))
    for name, words in TESTS.items():
        assert f"<dt>Test: {name}</dt><dd>{escape(words)}</dd>" in page
    assert page.index('<th scope="row">seeds</th>') < page.index('<th scope="row">skill</th>')


def test_the_glossary_knows_every_test_of_the_gate() -> None:
    """By the name that its file gives: a new test needs words too."""
    gate = Path(hdt_fm.explain.__file__).parent / "gate"
    named = {name for file in gate.glob("*.py") for name in re.findall(r'Check\(\s*"([^"]+)"', file.read_text())}
    assert len(named) == 16
    assert named == set(TESTS)

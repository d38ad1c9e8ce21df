"""The sentences at the head of the page."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from hdt_fm.explain.explanation import Check, Explanation, MethodMap, Reliability
from hdt_fm.explain.page.report import Report
from hdt_fm.explain.page.summary import agreement_of_references, summary


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
    assert told.carries[1] == "The most credited channel is Acceleration, channel 2: 75 %."
    assert told.carries[2] == "1 of 2 methods put Acceleration first."
    assert "too few windows for an interval" in told.cautions[0]


def test_two_references_that_agree_and_that_do_not(fabricated: Callable[..., Explanation]) -> None:
    made = fabricated()
    assert agreement_of_references(Report(made)) is None
    assert agreement_of_references(Report(made, alternative=made)) == pytest.approx(1.0)
    turned = replace(made.maps[0], values={name: -one for name, one in made.maps[0].values.items()})
    assert agreement_of_references(Report(made, alternative=replace(made, maps=(turned,)))) == pytest.approx(-1.0)

"""Credit near events: by hand, against chance, and refused where places do not fit."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from hdt_fm.explain.attribution import attribute
from hdt_fm.explain.gate import physiology
from hdt_fm.explain.gate.events import Events
from hdt_fm.explain.gate.exam import Exam
from hdt_fm.explain.gate.examine import examine
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ExplainError, UnknownNameError

METHODS = ("integrated_gradients",)


def events_at(places: torch.Tensor, **given: object) -> Events:
    middle = tuple(np.array([int(place) + 4]) for place in places)
    return Events("humps", "ppg", middle, 9 / 32, **given)


def test_near_counts_samples_by_hand() -> None:
    events = Events("feet", "ppg", (np.array([0, 10]), np.array([], dtype=int)), 0.25)
    assert np.flatnonzero(events.near(0, 20, 16.0)).tolist() == [0, 1, 2, 8, 9, 10, 11, 12]
    assert not events.near(1, 20, 16.0).any()


def test_enrichment_by_hand(planted: Batch, finder: nn.Module) -> None:
    """All credit on one sample of 96: near an event of one sample, 96 times what chance gives."""
    made = attribute(finder, planted, target=0, methods=METHODS)
    values = np.zeros((6, 1, 96), np.float32)
    values[:, 0, 40] = -2.0
    made = replace(made, maps=(replace(made.maps[0], values={"ppg": values}),))
    exam = Exam.of(finder, planted, made)
    hit = physiology.enrichment(exam, Events("beats", "ppg", (np.array([40]),) * 6, 1e-6))
    assert hit.ratio == pytest.approx(96.0, rel=0.2)  # the chance is drawn, 200 times in each of six windows
    assert physiology.enrichment(exam, Events("beats", "ppg", (np.array([50]),) * 6, 1e-6)).ratio == 0.0
    assert np.isnan(physiology.enrichment(exam, Events("beats", "acc", (np.array([5]),) * 6, 1.0)).ratio)


def test_truth_that_is_known_is_judged(new_planted, finder: nn.Module) -> None:
    batch, _, places = new_planted(6)
    made = attribute(finder, batch, target=0, methods=METHODS)
    draw = np.random.default_rng(3)
    elsewhere = Events("random places", "ppg", tuple(draw.integers(0, 96, 1) for _ in range(6)), 0.1, must_carry=False)

    def verdict(*events: Events) -> str:
        return physiology.check(Exam.of(finder, batch, made, events=events)).verdict

    assert verdict(events_at(places, must_carry=True)) == "pass"
    assert verdict(events_at(places, must_carry=False)) == "fail"
    assert verdict(events_at(places)) == "pass"
    assert verdict(events_at(places, must_carry=True), elsewhere) == "pass"
    assert verdict(replace(elsewhere, must_carry=True)) == "fail"
    assert physiology.check(Exam.of(finder, batch, made)).verdict == "warn"


def test_unjudged_events_say_so_and_no_events_leave_the_test_out(new_planted, finder: nn.Module) -> None:
    batch, _, places = new_planted(6)
    made = attribute(finder, batch, target=0, methods=METHODS)
    check = examine(finder, batch, made, events=[events_at(places)], orders=19).find("physiology")
    assert "Not judged" in check.meaning
    assert check.value > 3
    with pytest.raises(KeyError, match="physiology"):
        examine(finder, batch, made, orders=19).find("physiology")


def test_places_that_do_not_fit_are_refused(planted: Batch, finder: nn.Module) -> None:
    made = attribute(finder, planted, target=0, methods=METHODS)

    def ask(events: Events) -> None:
        physiology.check(Exam.of(finder, planted, made, events=[events]))

    with pytest.raises(ExplainError, match="0 to 95"):
        ask(Events("beats", "ppg", (np.array([96]),) * 6, 0.1))
    with pytest.raises(ExplainError, match="too few windows"):
        ask(Events("beats", "ppg", (np.array([5]),) * 2, 0.1))
    with pytest.raises(UnknownNameError, match="eda"):
        ask(Events("responses", "eda", (np.array([5]),) * 6, 0.1))
    with pytest.raises(ExplainError, match="above 0"):
        Events("beats", "ppg", (), 0.0)

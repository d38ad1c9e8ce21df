"""A person's loss by hand: only own windows count, near ones are no wrong answers, halves serve a lone modality."""

from math import cos, exp, log, pi

import pytest
import torch

from hdt_fm.audit.signals import TEMPERATURE, half_windows, person_losses


def test_contrast_by_hand(made) -> None:
    """Two windows half a turn apart: own cosine 1, the other's -1."""
    batch = made.windows([0.0, pi])
    expected = log(exp(1 / TEMPERATURE) + exp(-1 / TEMPERATURE)) - 1 / TEMPERATURE - log(2)
    found = person_losses(made.model(), [batch], kind="contrast", near_s=5.0)
    assert found.tolist() == [pytest.approx(expected, abs=1e-5)]


def test_windows_that_are_all_alike_are_guessing(made) -> None:
    found = person_losses(made.model(), [made.windows([0.3] * 5), made.windows([0.3] * 9)], kind="contrast", near_s=5.0)
    assert found.tolist() == [pytest.approx(0.0, abs=1e-5)] * 2


def test_alignment_is_one_less_the_cosine_and_worsens_with_the_model(made) -> None:
    batch = made.windows([0.0, 1.0, 2.0])
    for turned in (0.0, 0.7):
        found = person_losses(made.model(turned), [batch], kind="alignment", near_s=5.0)
        assert found[0] == pytest.approx(1 - cos(turned), abs=1e-6)


def test_near_windows_are_no_wrong_answers(made) -> None:
    """Windows 0 and 1 are alike and near; what is left to be told apart is easy."""
    batch = made.windows([0.0, 0.0, pi, pi], every_s=10.0)
    strict = person_losses(made.model(), [batch], kind="contrast", near_s=5.0)
    lenient = person_losses(made.model(), [batch], kind="contrast", near_s=15.0)
    assert lenient[0] < strict[0]


def test_nothing_can_be_asked_of_one_window_or_of_windows_all_near(made) -> None:
    model = made.model()
    one, near = made.windows([0.0]), made.windows([0.0, 1.0, 2.0], every_s=1.0)
    found = person_losses(model, [one, near, made.windows([0.0, 2.0])], kind="contrast", near_s=60.0)
    assert torch.isnan(torch.from_numpy(found)).tolist() == [True, True, True]


def test_other_people_in_the_list_change_nothing(made) -> None:
    model, mine = made.model(0.4), made.windows([0.0, 1.0, 2.5])
    alone = person_losses(model, [mine], kind="contrast", near_s=5.0)
    among = person_losses(model, [made.windows([2.0, 2.1]), mine], kind="contrast", near_s=5.0)
    assert among[1] == alone[0]


def test_halves_share_no_sample_and_serve_a_lone_modality(made) -> None:
    batch = made.windows([0.0, pi], modalities=("ppg",))
    first, second = half_windows(batch)
    both = first.signals["ppg"].observed.int() + second.signals["ppg"].observed.int()
    assert (both == 1).all()
    assert (first.signals["ppg"].values[..., 4:] == 0).all()
    found = person_losses(made.model(), [batch], kind="contrast", near_s=5.0)
    assert found[0] == pytest.approx(-log(2), abs=1e-5)


def test_the_model_stays_in_the_mode_it_was_in(made) -> None:
    model = made.model().train()
    person_losses(model, [made.windows([0.0, 1.0])], kind="contrast", near_s=5.0)
    assert model.training

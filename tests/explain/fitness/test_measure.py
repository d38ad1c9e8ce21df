"""A fresh model is taught what was planted, and its maps are scored; what cannot be taught is not measured."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hdt_fm.explain.fitness.cost import models_of, most_seconds
from hdt_fm.explain.fitness.linear import measure_linear
from hdt_fm.explain.fitness.measure import Asked, Plot, best_width, carrier, measure, noise_of
from hdt_fm.explain.fitness.planted import plant
from hdt_fm.explain.fitness.score import RANDOM_MAP, WIDTHS
from hdt_fm.explain.fitness.train import SKILL, fresh, skill
from hdt_fm.schema.errors import UnknownNameError
from hdt_fm.schema.manifest import ModelConfig, Part
from hdt_fm.schema.shard import ModalityColumn


def config() -> ModelConfig:
    columns = tuple(
        ModalityColumn(name=name, unit="au", channels=channels, sampling_rate_hz=4.0, samples=60, encoding="f32")
        for name, channels in (("ppg", 1), ("acc", 3))
    )
    return ModelConfig(
        modalities=columns,
        encoder=Part(name="resnet", args={"width": 16, "depth": 1, "rate_hz": 4.0}),
        projection=Part(name="projection", args={"dim": 8}),
        statistics={"ppg": (0.0, 1.0), "acc": (0.0, 1.0)},
        window_s=15.0,
    )


@pytest.fixture(scope="module")
def plots() -> list[Plot]:
    asked = Asked(kinds=("level",), seeds=(0,), windows=6, steps=150, draws=1)
    return measure(config(), ("integrated_gradients", "occlusion", "deep_lift"), asked=asked)


def test_a_plateau_is_taught_and_found(plots: list[Plot]) -> None:
    (plot,) = plots
    assert plot.measured
    assert plot.auroc >= SKILL
    assert plot.modality == "ppg"
    guess = np.nanmean(plot.found[RANDOM_MAP].auprc)
    for name in ("integrated_gradients", "occlusion"):
        assert np.nanmean(plot.found[name].auprc) > guess + 0.2
        # Absent modalities and unobserved stretches get exactly nothing.
        assert plot.found[name].spill == 0.0
    assert plot.found["integrated_gradients"].modality.mean() > 0.7


def test_a_refusal_is_kept_with_its_reason(plots: list[Plot]) -> None:
    assert set(plots[0].refused) == {"deep_lift"}
    assert "no rule" in plots[0].refused["deep_lift"]


def test_a_model_without_skill_is_not_asked_and_the_kind_not_tried_again() -> None:
    asked = Asked(kinds=("motif",), seeds=(0, 1, 2), windows=2, steps=2)
    told: list[str] = []
    (plot,) = measure(config(), ("saliency",), asked=asked, progress=told.append)
    assert not plot.measured
    assert plot.found == {}
    assert told == ["resnet: motif"]


def test_carriers_take_turns_and_channels_need_two() -> None:
    assert [carrier(config(), "motif", seed) for seed in range(3)] == ["ppg", "acc", "ppg"]
    assert [carrier(config(), "channel", seed) for seed in range(2)] == ["acc", "acc"]
    narrow = config().model_copy(update={"modalities": config().modalities[:1]})
    assert carrier(narrow, "channel", 0) is None
    assert measure(narrow, ("saliency",), asked=Asked(kinds=("channel",))) == []


def test_nothing_is_planted_where_a_model_does_not_look() -> None:
    end_s, generator = 2.0, torch.Generator().manual_seed(0)
    unread = config().model_copy(update={"encoder": Part(name="recurrent", args={"patch_s": 3.0, "ahead_s": end_s})})
    planted = plant(noise_of(unread)(200, generator, "ppg"), "motif", "ppg", generator)
    for signal in planted.batch.signals.values():
        kept = signal.observed.shape[1] - 8  # 2 s at 4 Hz
        assert not signal.observed[:, kept:].any()
        assert signal.observed[:, kept - 1].any()
    assert not planted.truth[..., -8:].any()
    assert noise_of(config())(200, generator, "ppg").signals["ppg"].observed[:, -1].any()


def test_the_cost_is_of_all_models_and_grows_with_what_is_asked() -> None:
    assert models_of(config(), Asked()) == 15
    narrow = config().model_copy(update={"modalities": config().modalities[:1]})
    assert models_of(narrow, Asked()) == 12
    few = Asked(kinds=("channel", "level"), seeds=(0,), windows=2, steps=20, draws=1)
    least = most_seconds(config(), ("saliency",), asked=few)
    assert least > 0
    many = replace(few, seeds=tuple(range(50)), steps=400)
    assert most_seconds(config(), ("saliency",), asked=many) > 50 * least


def test_a_fresh_model_knows_nothing_and_depends_on_its_seed_alone() -> None:
    generator = torch.Generator().manual_seed(5)
    windows = plant(noise_of(config())(300, generator, "acc"), "channel", "acc", generator)
    state = torch.random.get_rng_state()
    one, two, other = fresh(config(), seed=1), fresh(config(), seed=1), fresh(config(), seed=2)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(one(windows.batch), two(windows.batch))
    assert not torch.equal(one(windows.batch), other(windows.batch))
    assert 0.35 < skill(one, windows) < 0.65


def test_the_width_is_the_one_that_finds_most() -> None:
    best = [0.1] * len(WIDTHS)
    best[3] = 0.9
    plot = Plot("x", "motif", 0, "ppg", 1.0, 1, by_width={"occlusion": tuple(best)})
    worse = replace(plot, by_width={"occlusion": (0.3,) * len(WIDTHS)})
    assert best_width([plot, worse]) == WIDTHS[3]


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="saliency"):
        measure(config(), ("salience",))


def test_on_a_known_linear_model_every_method_that_runs_lands_on_the_stretch() -> None:
    asked = Asked(seeds=(0, 1), windows=4, draws=4)
    names = ("integrated_gradients", "saliency", "occlusion", "deep_lift", "lime", "grad_cam")
    for plot in measure_linear(config(), names, asked=asked):
        assert set(plot.refused) == {"grad_cam"}
        for name in ("integrated_gradients", "saliency", "deep_lift", "occlusion"):
            # No other channel is read, and point maps end where the stretch ends.
            np.testing.assert_allclose(plot.found[name].channel, 1.0, atol=1e-6)
            assert plot.by_width[name][0] > (0.9 if name == "occlusion" else 0.99)
        assert np.nanmean(plot.found["lime"].auprc) > np.nanmean(plot.found[RANDOM_MAP].auprc) + 0.3

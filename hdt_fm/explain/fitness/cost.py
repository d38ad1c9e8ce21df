"""How long `measure` takes at most: said before the work begins."""

from collections.abc import Sequence
from time import perf_counter

import torch

from hdt_fm.explain.fitness.measure import Asked, Plot, carrier, explained, noise_of
from hdt_fm.explain.fitness.planted import Planted, plant
from hdt_fm.explain.fitness.train import EVERY, teach
from hdt_fm.schema.manifest import ModelConfig

# Batches of the lesson that is timed, after one that is not: the first is slow.
TRIAL = 3


def models_of(config: ModelConfig, asked: Asked) -> int:
    """How many models are taught, where each kind of event can be."""
    return sum(carrier(config, kind, seed) is not None for kind in asked.kinds for seed in asked.seeds)


def most_seconds(config: ModelConfig, methods: Sequence[str], *, asked: Asked | None = None) -> float:
    """Seconds by the clock, from a lesson of few batches and the maps of a model that learned nothing from it.

    Most models learn their event in fewer batches than they may have, and a kind of event that cannot be taught is
    given up early.

    Args:
        methods: As in `measure`.
    """
    asked = asked or Asked()
    kind, seed = next(
        (kind, seed) for kind in asked.kinds for seed in asked.seeds if carrier(config, kind, seed) is not None
    )
    modality, background = carrier(config, kind, seed), noise_of(config)
    assert modality is not None

    def draw(windows: int, generator: torch.Generator) -> Planted:
        return plant(background(windows, generator, modality), kind, modality, generator)

    teach(config, draw, seed=seed, steps=1)
    began = perf_counter()
    teach(config, draw, seed=seed, steps=1)
    fixed = perf_counter() - began
    began = perf_counter()
    taught = teach(config, draw, seed=seed, steps=1 + TRIAL)
    batch = max(0.0, perf_counter() - began - fixed) / TRIAL
    began = perf_counter()
    planted = draw(asked.windows, torch.Generator().manual_seed(seed))
    explained(Plot("", kind, seed, modality, taught.auroc, taught.steps), taught, planted, methods, asked)
    maps = perf_counter() - began
    # Twice in `fixed`, and every so many batches, the model is asked about windows that were held back.
    looks = asked.steps / EVERY * fixed / 2
    return models_of(config, asked) * (fixed + asked.steps * batch + looks + maps)

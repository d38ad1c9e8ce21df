"""A fresh model of one architecture, taught a planted event from its samples to the answer."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from hdt_fm.checkpoint import build_model
from hdt_fm.explain.fitness.planted import Planted
from hdt_fm.explain.targets.probe import ProbeTarget
from hdt_fm.metrics.classification import auroc
from hdt_fm.schema import registry
from hdt_fm.schema.manifest import ModelConfig

# A map of a model that errs shows its errors: only models as good as this say what a method can do.
SKILL = 0.95
# Models that had just become good still answered to artefacts: after 50 batches integrated gradients of a convolution
# scored .60 to .89 where after 150 they scored .90 to .98.
ENOUGH, LEAST = 0.999, 100
HOPELESS = 0.6  # after half of the steps
EVERY, HELD = 25, 256


@dataclass(frozen=True)
class Taught:
    """A model after its lessons.

    Attributes:
        auroc: On windows that it never saw.
        steps: Batches that it was taught on.
    """

    model: nn.Module
    auroc: float
    steps: int


def teach(
    config: ModelConfig,
    draw: Callable[[int, torch.Generator], Planted],
    *,
    seed: int,
    steps: int = 400,
    rows: int = 48,
    rate: float = 3e-3,
) -> Taught:
    """Teach encoder and probe together until new windows are told apart, or until the steps are spent.

    Args:
        config: Whose encoders are built, with fresh weights. Its heads and its fusion are left out.
        draw: So many windows by a generator; every batch is drawn anew, so that none can be learned by heart.
        seed: Of weights and windows.
        steps, rows, rate: Most batches, windows in each, and the rate of AdamW at its height.
    """
    generator = torch.Generator().manual_seed(seed)
    model = fresh(config, seed=seed)
    held = draw(HELD, generator)
    model.encoder.calibrate(held.batch)  # type: ignore[operator]
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=1e-2)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=rate, total_steps=steps + 1, pct_start=0.15)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for step in range(1, steps + 1):
            some = draw(rows, generator)
            model.train()
            loss = F.binary_cross_entropy_with_logits(model(some.batch)[:, 1], some.label.float())
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            plan.step()
            if step % EVERY == 0 and _is_over(skill(model, held), step, steps):
                break
    model.eval()
    return Taught(model, skill(model, draw(HELD, generator)), step)


def _is_over(auroc: float, step: int, steps: int) -> bool:
    return (auroc >= ENOUGH and step >= LEAST) or (auroc < HOPELESS and 2 * step >= steps)


def fresh(config: ModelConfig, *, seed: int) -> ProbeTarget:
    """Encoders of the config and a probe of two classes, with weights by the seed."""
    built = build_model(config.model_copy(update={"heads": {}, "fusion": None}), seed=seed)
    width = built.encoder.width
    assert isinstance(width, int)
    features = len(config.modalities) * (width + 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = registry.build("heads", "probe", {"in_features": features, "out_features": 2})
    return ProbeTarget(built.encoder, head)


@torch.no_grad()
def skill(model: nn.Module, planted: Planted) -> float:
    """AUROC of the two classes."""
    model.eval()
    return auroc(model(planted.batch)[:, 1].numpy(), planted.label.numpy())

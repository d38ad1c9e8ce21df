"""Every method on models of one architecture that were taught a planted event."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import process_time

import numpy as np
import torch
from numpy.typing import NDArray

from hdt_fm.explain.attribution import attribute
from hdt_fm.explain.fitness.architecture import architecture_of, arguments_of
from hdt_fm.explain.fitness.planted import KINDS, Planted, noise, plant
from hdt_fm.explain.fitness.score import RANDOM_MAP, WIDTHS, Found, random_map, score
from hdt_fm.explain.fitness.train import SKILL, Taught, teach
from hdt_fm.explain.methods import METHODS
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ExplainError, unknown_name
from hdt_fm.schema.manifest import ModelConfig
from hdt_fm.schema.modalities import STATIC

# (windows, generator, modality that is always there) -> windows without an event.
Background = Callable[[int, torch.Generator, str], Batch]
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Plot:
    """One kind of event, taught to one fresh model of an architecture.

    Attributes:
        seed: Of weights, windows and places; `modality` carries the event, and takes turns by the seed.
        auroc: Of the model on new windows; below `SKILL` no map was made.
        found: Per method its scores on new windows, the random map among them.
        by_width: Per method its mean AUPRC after smoothing over each of `WIDTHS`.
        refused: Methods that cannot explain this architecture, with the reason.
        seconds: CPU seconds of each method.
        person: Whose windows the maps are of.
    """

    architecture: str
    kind: str
    seed: int
    modality: str
    auroc: float
    steps: int
    found: Mapping[str, Found] = field(default_factory=dict)
    by_width: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    person: tuple[int, ...] = ()

    @property
    def measured(self) -> bool:
        return self.auroc >= SKILL


@dataclass(frozen=True)
class Asked:
    """How `measure` goes about it.

    Attributes:
        windows: New windows that each model is explained on.
        steps: Most batches in teaching one model.
        points, draws: `steps` and `draws` of `attribute`.
    """

    kinds: tuple[str, ...] = tuple(KINDS)
    seeds: tuple[int, ...] = (0, 1, 2)
    windows: int = 8
    steps: int = 400
    points: int = 16
    draws: int = 4


def measure(
    config: ModelConfig,
    methods: Sequence[str] | None = None,
    *,
    asked: Asked | None = None,
    background: Background | None = None,
    unseen: Background | None = None,
    progress: Progress | None = None,
) -> list[Plot]:
    """Teach fresh models of a config's architecture one planted event each, and ask every method where it is.

    A kind that the first seed cannot be taught is not tried again: what no model finds, no map can show.

    Args:
        methods: Names in `METHODS`; None for all.
        background: Windows to plant in while teaching; None for noise of the config's own signals.
        unseen: Windows to plant in while explaining, e.g. of other people; None for `background`.
        progress: Told before each model what it is.

    Raises:
        UnknownNameError: If a method or a kind is not known.
    """
    asked = asked or Asked()
    names = tuple(METHODS) if methods is None else tuple(methods)
    for name in names:
        if name not in METHODS:
            raise unknown_name("attribution method", name, METHODS)
    background = background or noise_of(config)
    plots = []
    for kind in asked.kinds:
        for seed in asked.seeds:
            modality = carrier(config, kind, seed)
            if modality is None:
                break
            if progress:
                progress(f"{config.encoder.name}: {kind}")
            plots.append(_plot(config, kind, seed, modality, names, asked, background, unseen or background))
            if not plots[-1].measured and seed == asked.seeds[0]:
                break
    return plots


def noise_of(config: ModelConfig) -> Background:
    """Noise with the modalities, rates, lengths and scales of a config; what is not read of a window is unobserved."""
    unread_s = {name: float(args.get("ahead_s", 0.0)) for name, args in arguments_of(config).items()}

    def draw(windows: int, generator: torch.Generator, always: str) -> Batch:
        return _as_read(noise(config.modalities, config.statistics, windows, generator, always=always), unread_s)

    return draw


def _as_read(batch: Batch, unread_s: Mapping[str, float]) -> Batch:
    """Nothing can be found where a model does not look, and nothing is planted in what was not observed."""
    signals = {}
    for name, signal in batch.signals.items():
        kept = signal.observed.shape[1] - round(unread_s[name] * signal.sampling_rate_hz)
        read = torch.arange(signal.observed.shape[1]) < kept
        signals[name] = replace(signal, observed=signal.observed & read)
    return replace(batch, signals=signals)


def carrier(config: ModelConfig, kind: str, seed: int) -> str | None:
    """Which modality carries the event; None where the kind needs two channels and none has them."""
    least = 2 if kind == "channel" else 1
    able = [one.name for one in config.modalities if one.name != STATIC and one.channels >= least]
    return able[seed % len(able)] if able else None


def _plot(
    config: ModelConfig,
    kind: str,
    seed: int,
    modality: str,
    names: Sequence[str],
    asked: Asked,
    background: Background,
    unseen: Background,
) -> Plot:
    def draw(windows: int, generator: torch.Generator) -> Planted:
        return plant(background(windows, generator, modality), kind, modality, generator)

    taught = teach(config, draw, seed=seed, steps=asked.steps)
    plot = Plot(architecture_of(config), kind, seed, modality, taught.auroc, taught.steps)
    if not plot.measured:
        return plot
    generator = torch.Generator().manual_seed(10_000 + seed)
    planted = plant(unseen(asked.windows, generator, modality), kind, modality, generator)
    return explained(plot, taught, planted, names, asked)


def explained(plot: Plot, taught: Taught, planted: Planted, names: Sequence[str], asked: Asked) -> Plot:
    """The plot with what every method shows of the planted windows."""
    credits: dict[str, Mapping[str, NDArray[np.floating]]] = {}
    refused, seconds = {}, {}
    for name in names:
        begin = process_time()
        try:
            made = attribute(
                taught.model,
                planted.batch,
                target=1,
                methods=(name,),
                steps=asked.points,
                draws=asked.draws,
                seed=plot.seed,
            )
        except ExplainError as error:
            refused[name] = error.problem
            continue
        credits[name] = made.find(name).values
        seconds[name] = process_time() - begin
    credits[RANDOM_MAP] = random_map(planted, plot.seed)
    return replace(
        plot,
        found={name: score(planted, one) for name, one in credits.items()},
        by_width={name: tuple(_auprc(planted, one, width) for width in WIDTHS) for name, one in credits.items()},
        refused=refused,
        seconds=seconds,
        person=tuple(planted.batch.subject.tolist()),
    )


def _auprc(planted: Planted, credits: Mapping[str, NDArray[np.floating]], width: float) -> float:
    return float(np.nanmean(score(planted, credits, width=width).auprc))


def best_width(plots: Sequence[Plot], methods: Sequence[str] = ("integrated_gradients", "occlusion")) -> float:
    """The width of smoothing with the highest AUPRC, mean over plots and methods."""
    found = [plot.by_width[name] for plot in plots for name in methods if name in plot.by_width]
    return WIDTHS[int(np.mean(found, axis=0).argmax())]

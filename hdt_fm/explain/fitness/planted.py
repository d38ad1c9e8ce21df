"""Windows in which it is known what the answer rests on: noise as sensors have it, and one planted event in each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.errors import ExplainError, unknown_name
from hdt_fm.schema.modalities import STATIC
from hdt_fm.schema.shard import ModalityColumn

# Lengths in shares of the window, so that they mean the same in 20 s of a pulse and in a day of glucose.
HUMP, NARROW, STRETCH, SHORT, LONG, JITTER = 0.10, 0.06, 0.20, 0.12, 0.30, 0.02
CYCLES = (3.0, 6.0)
# In standard deviations of the channel in its window.
HEIGHT = 4.0
ARTEFACT = 0.5  # of that height
ABSENT, GAP_CHANCE, GAP = 0.15, 0.3, 0.05


@dataclass(frozen=True)
class Planted:
    """Windows of two classes, and which samples tell them apart.

    Attributes:
        label: 0 or 1, by what was planted.
        truth: True where something was planted and observed, in the planted modality alone.
        channel: Which channel of it carries the event.
    """

    batch: Batch
    kind: str
    modality: str
    label: Int[Tensor, " batch"]
    truth: Bool[Tensor, "batch channel time"]
    channel: Int[Tensor, " batch"]


def noise(
    columns: Sequence[ModalityColumn],
    statistics: Mapping[str, tuple[float, float]],
    windows: int,
    generator: torch.Generator,
    *,
    always: str,
) -> Batch:
    """Windows without any event: half 1/f noise, half white, a level of their own, modalities and stretches missing.

    Args:
        statistics: Per signal (center, scale): its level and its size.
        always: A modality that is present in every window.
    """
    columns = [column for column in columns if column.name != STATIC]
    names = tuple(column.name for column in columns)
    present = torch.rand(windows, len(names), generator=generator) >= ABSENT
    present[:, names.index(always)] = True
    signals = {}
    for column, here in zip(columns, present.T, strict=True):
        center, scale = statistics[column.name]
        shape = (windows, column.channels, column.samples)
        course = (_one_over_f(shape, generator) + torch.randn(shape, generator=generator)) / 2**0.5
        level = 0.5 * torch.randn(windows, column.channels, 1, generator=generator)
        observed = here[:, None] & ~_gap(windows, column.samples, generator)
        values = torch.where(here[:, None, None], center + scale * (level + course), 0.0)
        signals[column.name] = Signal(values, observed, column.sampling_rate_hz)
    row = torch.arange(windows)
    return Batch(names, signals, present, row, torch.zeros(windows), row)


def _one_over_f(shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    lines = torch.fft.rfft(torch.randn(shape, generator=generator))
    lines = lines / torch.arange(lines.shape[-1]).clamp(min=1).sqrt()
    course = torch.fft.irfft(lines, n=shape[-1])
    course = course - course.mean(-1, keepdim=True)
    return course / course.std(-1, keepdim=True).clamp(min=1e-6)


def _gap(windows: int, samples: int, generator: torch.Generator) -> Bool[Tensor, "windows samples"]:
    """In some windows one stretch that was not observed."""
    start = torch.rand(windows, 1, generator=generator) * (1 - GAP)
    place = _places(samples)
    has = torch.rand(windows, 1, generator=generator) < GAP_CHANCE
    return has & (place >= start) & (place < start + GAP)


def plant(batch: Batch, kind: str, modality: str, generator: torch.Generator, *, height: float = HEIGHT) -> Planted:
    """Add one event of a random class at a random place to every window.

    Args:
        kind: One of `KINDS`. `motif`: one wide hump or two narrow ones. `channel`: a hump in the first or the second
            channel. `band`: a burst of 3 or of 6 cycles. `lag`: two humps close by or far apart. `level`: a plateau
            up or down.
        modality: Which modality carries it; present in every window.
        height: In standard deviations of the channel in its window.

    Raises:
        UnknownNameError: If the kind is not known.
        ExplainError: If a window lacks the modality, or `channel` is asked of a modality with one channel.
    """
    if kind not in KINDS:
        raise unknown_name("kind of planted event", kind, KINDS)
    signal = batch.signals.get(modality)
    if signal is None or not bool(batch.column(modality).all()):
        raise ExplainError(
            "An event cannot be planted in a modality that is absent",
            where=f"modality {modality}",
            expected="windows that all hold it",
            fix="choose another modality, or other windows",
        )
    windows, channels, samples = signal.values.shape
    if kind == "channel" and channels < 2:
        raise ExplainError(
            "Which channel carries an event cannot be asked of one channel",
            where=f"modality {modality}",
            expected="two channels or more",
            got=str(channels),
        )
    label = torch.randint(0, 2, (windows,), generator=generator)
    channel = label if kind == "channel" else torch.randint(0, channels, (windows,), generator=generator)
    place, start = _places(samples), _start(windows, LENGTHS[kind], generator)
    course, there = KINDS[kind](place, start, label, generator)
    own = torch.nn.functional.one_hot(channel, channels).bool()[..., None]
    added = own * course[:, None] + _artefact(place, start, generator)[:, None]
    values = signal.values + torch.where(signal.observed[:, None], height * _spread(signal) * added, 0.0)
    planted = replace(batch, signals={**batch.signals, modality: replace(signal, values=values.to(signal.values))})
    return Planted(planted, kind, modality, label, own & (there & signal.observed)[:, None], channel)


def _spread(signal: Signal) -> Float[Tensor, "batch channel 1"]:
    seen = signal.observed[:, None]
    count = seen.sum(-1, keepdim=True).clamp(min=1)
    mean = torch.where(seen, signal.values, 0.0).sum(-1, keepdim=True) / count
    return (torch.where(seen, signal.values - mean, 0.0).square().sum(-1, keepdim=True) / count).sqrt()


def _places(samples: int) -> Float[Tensor, "1 samples"]:
    """The middle of each sample, in shares of the window."""
    return rearrange((torch.arange(samples) + 0.5) / samples, "time -> 1 time")


def _start(windows: int, length: float, generator: torch.Generator) -> Float[Tensor, "windows 1"]:
    return torch.rand(windows, 1, generator=generator) * (1 - length)


Course = tuple[Tensor, Tensor]


def _artefact(place: Tensor, start: Tensor, generator: torch.Generator) -> Tensor:
    """White noise over all channels for a while, far from the event: a map may not take what stands out for a cause."""
    begin = (start + 0.4 + 0.2 * torch.rand(start.shape, generator=generator)) % (1 - HUMP)
    there = _humps(place, begin, HUMP)[1]
    return torch.where(there, ARTEFACT * torch.randn(there.shape, generator=generator), 0.0)


def _humps(place: Tensor, start: Tensor, length: float, count: Tensor | float = 1.0) -> Course:
    along = (place - start) / length
    there = (along >= 0) & (along < 1)
    return torch.where(there, torch.sin(torch.pi * count * along).square(), 0.0), there


def _motif(place: Tensor, start: Tensor, label: Tensor, generator: torch.Generator) -> Course:
    return _humps(place, start, HUMP, 1.0 + label[:, None])


def _channel(place: Tensor, start: Tensor, label: Tensor, generator: torch.Generator) -> Course:
    return _humps(place, start, HUMP)


def _band(place: Tensor, start: Tensor, label: Tensor, generator: torch.Generator) -> Course:
    taper, there = _humps(place, start, STRETCH)
    phase = torch.rand(len(label), 1, generator=generator)
    cycles = torch.tensor(CYCLES)[label][:, None]
    return taper * torch.sin(2 * torch.pi * (cycles * (place - start) / STRETCH + phase)), there


def _lag(place: Tensor, start: Tensor, label: Tensor, generator: torch.Generator) -> Course:
    apart = torch.tensor((SHORT, LONG))[label][:, None] + JITTER * torch.rand(len(label), 1, generator=generator)
    first, second = _humps(place, start, NARROW), _humps(place, start + apart, NARROW)
    return first[0] + second[0], first[1] | second[1]


def _level(place: Tensor, start: Tensor, label: Tensor, generator: torch.Generator) -> Course:
    along, there = _humps(place, start, STRETCH)
    return (2.0 * label[:, None] - 1) * along.sqrt(), there


KINDS: Mapping[str, Callable[[Tensor, Tensor, Tensor, torch.Generator], Course]] = {
    "motif": _motif,
    "channel": _channel,
    "band": _band,
    "lag": _lag,
    "level": _level,
}
LENGTHS = {"motif": HUMP, "channel": HUMP, "band": STRETCH, "lag": LONG + JITTER + NARROW, "level": STRETCH}

"""The slow rhythm of a window (breathing), found among the lines of its spectrum and not read off them linearly."""

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from hdt_fm.layers.patches import patches

# Points a second at which the signal is read: twice the highest pulse, whose strength would else fold into breathing.
READ_HZ = 6.0
# Lines for each one that a span resolves, read between them: a rate then moves its peak by whole lines.
FINE = 3
# Share of the band's power below which a line is taken as empty.
SHARE_FLOOR = 1e-4
# Power in the band below which a window holds nothing but rounding; a breath of 1e-4 beside a pulse of 1 has 1e-3.
EMPTY = 1e-6
# Cosines over the band that tell where the shares lie: the first says fast or slow, the next ones the finer place.
MOMENTS = 5
# The other signal's spectrum is raised to this power before it teaches: it names one rhythm, not a mixture.
SHARPNESS = 2.0


class Rhythm(nn.Module):
    """A distribution over rates, and a few numbers that say where it lies. Which rhythm is meant, `fit_rhythm` teaches.

    Convolutions run along frequency, so that what a rhythm looks like (a peak, its harmonics, the skirt of a stronger
    one) is learned once for all rates; then a softmax, because a rate is where evidence is strongest.

    Args:
        span_s: Seconds of signal in a spectrum; of a longer window the mean over such spans is taken.
        low_hz, high_hz: Band in which the rhythm is looked for.
        channels, reach, layers: Of the convolutions; each sees `reach` lines to both sides.
    """

    hz: Tensor
    taper: Tensor
    cosines: Tensor

    def __init__(
        self, *, span_s: float, low_hz: float, high_hz: float, channels: int = 16, reach: int = 4, layers: int = 3
    ) -> None:
        super().__init__()
        self.span_s, self.points = span_s, round(READ_HZ * span_s)
        hz = torch.fft.rfftfreq(FINE * self.points, span_s / self.points)
        self.register_buffer("hz", hz[(hz >= low_hz) & (hz <= high_hz)], persistent=False)
        self.first = int((hz < low_hz).sum())
        self.lines = len(self.hz)
        angle = torch.linspace(0, torch.pi, self.lines)
        cosines = torch.cos(angle[:, None] * torch.arange(1, MOMENTS + 1))
        self.register_buffer("cosines", cosines, persistent=False)
        self.register_buffer("taper", torch.hann_window(self.points, periodic=False), persistent=False)
        stack: list[nn.Module] = []
        for size in (1, *[channels] * (layers - 1)):
            stack += [nn.Conv1d(size, channels, 2 * reach + 1, padding=reach), nn.GELU()]
        self.evidence = nn.Sequential(*stack, nn.Conv1d(channels, 1, 1))
        # How common each rate is; convolutions cannot know where they are.
        self.common = nn.Parameter(torch.zeros(self.lines))

    def shares(
        self, waveform: Float[Tensor, "batch channel time"], observed: Bool[Tensor, "batch time"], rate_hz: float
    ) -> Float[Tensor, "batch line"]:
        """Share of the band's power at each line; equal shares where nothing was observed or nothing moved."""
        points, seen = patches(waveform, observed, rate_hz, self.span_s, self.points)
        points = points.to(torch.promote_types(points.dtype, torch.float32))
        spectrum = torch.fft.rfft((points - points.mean(-1, keepdim=True)) * self.taper, n=FINE * self.points)
        lines = spectrum[..., self.first : self.first + self.lines]
        power = ((lines.real.square() + lines.imag.square()) * seen[:, None, :, None]).sum((1, 2))
        total = power.sum(-1, keepdim=True)
        known = total > EMPTY
        return torch.where(known, power / torch.where(known, total, 1.0), 1.0 / self.lines)

    def scores(self, shares: Float[Tensor, "batch line"]) -> Float[Tensor, "batch line"]:
        """Log evidence at each rate."""
        log = torch.log(shares * self.lines + SHARE_FLOOR * self.lines)
        return rearrange(self.evidence(log[:, None]), "batch 1 line -> batch line") + self.common

    def forward(
        self, waveform: Float[Tensor, "batch channel time"], observed: Bool[Tensor, "batch time"], rate_hz: float
    ) -> tuple[Float[Tensor, "batch line"], Float[Tensor, "batch moment"]]:
        """Share of each rate (mean 1 over lines), and the shares' mean cosines over the band, -1 to 1."""
        weight = torch.softmax(self.scores(self.shares(waveform, observed, rate_hz)), dim=-1)
        return weight * self.lines, weight @ self.cosines


def fit_rhythm(
    rhythm: Rhythm,
    shares: Float[Tensor, "row line"],
    teacher: Float[Tensor, "row line"],
    person: Int[Tensor, " row"],
    *,
    steps: int = 600,
    per_person: int = 4,
    noise: float = 0.3,
    learning_rate: float = 3e-3,
    seed: int = 0,
) -> None:
    """Let one signal's rhythm be found where another's, recorded with it, is strongest. No label is used.

    Args:
        shares, teacher: `Rhythm.shares` of the same windows' two signals.
        person: Everyone is drawn equally often.
        per_person: Windows of everyone in a step.
        noise: Log-normal jitter of each line, against learning windows by heart.
    """
    generator = torch.Generator().manual_seed(seed)
    sharp = teacher**SHARPNESS
    target = sharp / sharp.sum(-1, keepdim=True)
    rows = [(person == one).nonzero().squeeze(1) for one in person.unique()]
    optimizer = torch.optim.AdamW(rhythm.parameters(), learning_rate, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        pick = torch.cat([own[torch.randint(len(own), (per_person,), generator=generator)] for own in rows])
        jitter = torch.randn(len(pick), rhythm.lines, generator=generator).to(shares.device) * noise
        said = torch.log_softmax(rhythm.scores(shares[pick] * torch.exp(jitter)), dim=-1)
        loss = -(target[pick] * said).sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()

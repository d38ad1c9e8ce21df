"""A rhythm of a window (breath, pulse), found among the lines of its spectrum and not read off them linearly."""

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from hdt_fm.layers.patches import patches
from hdt_fm.schema.errors import ConfigError

# Points a second at which the signal is read: twice the highest pulse, whose strength would else fold into breathing.
READ_HZ = 6.0
# Lines for each one that a span resolves, read between them: a rate then moves its peak by whole lines.
FINE = 3
# Share of the band's power below which a line is taken as empty.
SHARE_FLOOR = 1e-4
# Power in the band below which a window holds nothing but rounding; a breath of 1e-4 beside a pulse of 1 has 1e-3.
EMPTY = 1e-6
# Numbers that tell where the shares lie: the rate itself, then cosines over the band, for finer places.
MOMENTS = 6
# The other signal's spectrum is raised to this power before it teaches: it names one rhythm, not a mixture.
SHARPNESS = 2.0


class Rhythm(nn.Module):
    """A distribution over rates, and a few numbers that say where it lies.

    Which rhythm is meant, another signal teaches (`fit_rhythm`), or it is the strongest one of the band (`peak`).
    Convolutions run along frequency, so that what a rhythm looks like (a peak, its harmonics, the skirt of a stronger
    one) is learned once for all rates; then a softmax, because a rate is where evidence is strongest.

    Args:
        span_s: Seconds of signal in a spectrum; of a longer window the mean over such spans is taken.
        low_hz, high_hz: Band in which the rhythm is looked for.
        peak: Evidence starts as this times a line's log power: 0 knows nothing, 4 takes the strongest line.
        taught_by: Modality that teaches at the start of pretraining which rhythm is meant. Without one a rhythm stays
            the peak; with one that never came it stays what it started as.
        channels, reach, layers: Of the convolutions; each sees `reach` lines to both sides.
    """

    hz: Tensor
    taper: Tensor
    moments: Tensor

    def __init__(
        self,
        *,
        span_s: float,
        low_hz: float,
        high_hz: float,
        peak: float = 0.0,
        taught_by: str | None = None,
        channels: int = 16,
        reach: int = 4,
        layers: int = 3,
    ) -> None:
        super().__init__()
        self.span_s, self.points = span_s, round(READ_HZ * span_s)
        if taught_by is None and peak <= 0:
            raise ConfigError(
                "Nothing says which rhythm is meant",
                where="rhythm",
                expected="taught_by: a modality that shows it, or peak above 0: the strongest of the band",
                got=f"taught_by null, peak {peak:g}",
                fix="taught_by: resp for a breath, peak: 4.0 for a pulse in PPG",
            )
        self.taught_by = taught_by
        hz = torch.fft.rfftfreq(FINE * self.points, span_s / self.points)
        self.register_buffer("hz", hz[(hz >= low_hz) & (hz <= high_hz)], persistent=False)
        self.first = int((hz < low_hz).sum())
        self.lines = len(self.hz)
        if self.lines < 2:
            raise ConfigError(
                "The band of a rhythm holds no two lines of its spectrum",
                where="rhythm",
                expected=f"low_hz {1 / span_s / FINE:.3g} Hz or more below high_hz, both in 0 to {READ_HZ / 2:g} Hz",
                got=f"low_hz {low_hz:g}, high_hz {high_hz:g}, span_s {span_s:g}",
                fix="widen the band or lengthen span_s",
            )
        angle = torch.linspace(0, torch.pi, self.lines)
        cosines = torch.cos(angle[:, None] * torch.arange(1, MOMENTS))
        self.register_buffer("moments", torch.cat((1 - 2 * angle[:, None] / torch.pi, cosines), 1), persistent=False)
        self.register_buffer("taper", torch.hann_window(self.points, periodic=False), persistent=False)
        stack: list[nn.Module] = []
        for size in (1, *[channels] * (layers - 1)):
            stack += [nn.Conv1d(size, channels, 2 * reach + 1, padding=reach), nn.GELU()]
        last = nn.Conv1d(channels, 1, 1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self.evidence = nn.Sequential(*stack, last)
        # How common each rate is; convolutions cannot know where they are.
        self.common = nn.Parameter(torch.zeros(self.lines))
        self.peak = nn.Parameter(torch.tensor(float(peak)))

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
        return rearrange(self.evidence(log[:, None]), "batch 1 line -> batch line") + self.common + self.peak * log

    def log_share(
        self, waveform: Float[Tensor, "batch channel time"], observed: Bool[Tensor, "batch time"], rate_hz: float
    ) -> Float[Tensor, "batch line"]:
        """Log share of each rate; equal shares where nothing was observed or nothing moved."""
        return torch.log_softmax(self.scores(self.shares(waveform, observed, rate_hz)), dim=-1)

    def forward(
        self, waveform: Float[Tensor, "batch channel time"], observed: Bool[Tensor, "batch time"], rate_hz: float
    ) -> tuple[Float[Tensor, "batch line"], Float[Tensor, "batch moment"]]:
        """Share of each rate (mean 1 over lines), and where in the band they lie: `MOMENTS` numbers of -1 to 1."""
        weight = torch.softmax(self.scores(self.shares(waveform, observed, rate_hz)), dim=-1)
        return weight * self.lines, weight @ self.moments


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

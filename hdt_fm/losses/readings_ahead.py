"""What a window's end holds, told from an embedding of what comes before it: forecasting as self-supervision."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hdt_fm.ops.quantiles import forecast_loss, middle_of, rising
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.modalities import STATIC
from hdt_fm.schema.protocols import Encoded, LossReport
from hdt_fm.schema.shard import ModalityColumn

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
# A reading at most so old, in shares of the nearest horizon, may stand for now.
OLDEST = 0.5
# Changes beyond this many spreads are held there: an artefact must not outweigh all other windows.
LARGEST = 8.0


class ReadingsAhead(nn.Module):
    """From a modality's embedding, mean and quantiles of the change from its newest reading to those `horizons_s` on.

    Windows must end `ahead_s` (the furthest horizon) after the moment that they are about, and that end must be hidden
    from the encoder (`encoder.ahead_s`): a reading that was shown does not count. Windows are of any rate and length,
    so of several cohorts.

    Args:
        horizons_s: Seconds ahead, rising; multiples of the sampling interval of all cohorts.
        hidden_width: Of the small decoder.

    Raises:
        ConfigError: If horizons do not rise from above 0.

    Source: next-step pretraining as in van den Oord et al. 2018 and autoregressive models of glucose (Lutsker et al.
        2026), here of readings themselves, at the times that forecasts are asked for.
    """

    any_rate = True

    def __init__(self, *, horizons_s: Sequence[float] = (1800.0, 3600.0, 7200.0), hidden_width: int = 128) -> None:
        super().__init__()
        horizons = tuple(float(one) for one in horizons_s)
        if not horizons or list(horizons) != sorted(set(horizons)) or not horizons[0] > 0 or hidden_width < 1:
            raise ConfigError(
                "readings_ahead cannot be built",
                where="losses/readings_ahead",
                expected="horizons_s that rise from above 0, hidden_width of 1 or more",
                got=f"horizons_s {list(horizons_s)}, hidden_width {hidden_width}",
            )
        self.horizons_s, self.hidden_width = horizons, hidden_width
        self.parts = nn.ModuleDict()

    @property
    def ahead_s(self) -> float:
        """Seconds at the end of a window that are asked for."""
        return self.horizons_s[-1]

    def shape(self, columns: Sequence[ModalityColumn], width: int, seed: int) -> None:
        """Make the decoder for a model's modalities; equal arguments give equal weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.parts = nn.ModuleDict(
                {
                    column.name: _Decoder(column.channels, width, self.hidden_width, len(self.horizons_s))
                    for column in columns
                    if column.name != STATIC
                }
            )

    def learn_scale(self, batch: Batch) -> None:
        """Take the spread of every change from windows of training people."""
        for name, part in self._decoders().items():
            if name in batch.signals:
                whole = batch.signals[name]
                nothing = replace(whole, observed=torch.zeros_like(whole.observed))
                part.learn(self._change(whole, whole, shown=nothing))

    def forward(self, encoded: Encoded) -> LossReport:
        """Mean over modalities of `forecast_loss` in spreads; `parts` are the modalities', `counts` their readings.

        Raises:
            ConfigError: If `shape` was not called.
            ShapeError: If a window is not longer than the furthest horizon.
        """
        decoders, embeddings = self._decoders(), encoded.embeddings
        dtype = next(self.parameters()).dtype
        with torch.autocast(embeddings.values.device.type, enabled=False):
            # 0 with a path to every weight and to the embeddings, whatever rows that do not count hold.
            value = sum((weight.sum() * 0.0 for weight in self.parameters()), embeddings.values[:0].sum().to(dtype))
            parts, counts = {}, {}
            for name, decoder in decoders.items():
                column = encoded.seen.modalities.index(name)
                parts[name], counts[name] = value.detach() * 0, torch.tensor(0, device=embeddings.values.device)
                seen, whole = encoded.seen.signals.get(name), encoded.whole.signals.get(name)
                if seen is None or whole is None:
                    continue
                change = self._change(seen, whole)
                rows = (embeddings.present[:, column] & change.isfinite().flatten(1).any(1)).nonzero().squeeze(1)
                if len(rows):
                    # Gathered, not masked: a row that is never read cannot leak its NaN.
                    parts[name] = decoder(embeddings.values[rows, column].to(dtype), change[rows].to(dtype))
                    counts[name] = change[rows].isfinite().sum()
            counted = [parts[name] for name in decoders if int(counts[name])]
            value = value + (torch.stack(counted).mean() if counted else 0.0)
        return LossReport(value=value, parts={name: part.detach() for name, part in parts.items()}, counts=counts)

    def _decoders(self) -> dict[str, "_Decoder"]:
        if not self.parts:
            raise ConfigError(
                "readings_ahead does not know the model yet",
                where="losses/readings_ahead",
                fix="call shape(columns, width, seed) before training",
            )
        return dict(self.parts.items())  # type: ignore[arg-type]

    def _change(
        self, seen: Signal, whole: Signal, shown: Signal | None = None
    ) -> Float[Tensor, "batch channel horizon"]:
        """From the newest reading that was seen to those ahead; NaN where either is unknown, or was shown."""
        shown = seen if shown is None else shown
        rate, samples = whole.sampling_rate_hz, whole.values.shape[-1]
        steps = [round(one * rate) for one in self.horizons_s]
        now = samples - steps[-1] - 1
        if now < 0 or steps[0] < 1:
            raise ShapeError(
                "A window does not hold what is asked of it",
                where="losses/readings_ahead",
                expected=f"more than {self.ahead_s:g} s, sampled every {self.horizons_s[0]:g} s or oftener",
                got=f"{samples / rate:g} s at every {1 / rate:g} s",
            )
        last = _newest_within(seen, now, max(0, int(OLDEST * steps[0])))
        places = torch.tensor([now + step for step in steps], device=whole.values.device)
        there = whole.observed[:, places]
        # What the encoder was shown is no forecast.
        there = there & ~shown.observed[:, places]
        ahead = torch.where(there[:, None], whole.values[..., places], torch.nan)
        return ahead - last[..., None]


def _newest_within(signal: Signal, now: int, back: int) -> Float[Tensor, "batch channel"]:
    """The newest of the last samples up to `now`; NaN where none of them was observed."""
    first = max(0, now - back)
    observed = signal.observed[:, first : now + 1]
    values = torch.where(observed[:, None], signal.values[..., first : now + 1], torch.nan)
    place = torch.where(observed, torch.arange(observed.shape[1], device=observed.device), 0).amax(1)
    return values.gather(2, place[:, None, None].expand(-1, values.shape[1], 1)).squeeze(2)


class _Decoder(nn.Module):
    """One modality's embedding -> mean and quantiles of each channel's change, in spreads."""

    spread: Tensor

    def __init__(self, channels: int, width: int, hidden_width: int, horizons: int) -> None:
        super().__init__()
        self.shape = (channels, horizons, 1 + len(LEVELS))
        self.layers = nn.Sequential(
            nn.Linear(width, hidden_width),
            nn.SiLU(),
            nn.Linear(hidden_width, channels * horizons * (1 + len(LEVELS))),
        )
        self.register_buffer("spread", torch.ones(channels))

    @torch.no_grad()
    def learn(self, change: Float[Tensor, "batch channel horizon"]) -> None:
        for channel, found in enumerate(change.unbind(1)):
            known = found[found.isfinite()].double()
            if len(known) > 1:
                self.spread[channel] = known.std().clamp(min=1e-6)

    def forward(
        self, embedding: Float[Tensor, "row width"], change: Float[Tensor, "row channel horizon"]
    ) -> Float[Tensor, ""]:
        raw = self.layers(embedding).view(len(embedding), *self.shape)
        said = torch.cat((raw[..., :1], rising(raw[..., 1:], middle_of(LEVELS))), dim=-1)
        target = (change / self.spread[:, None]).clamp(-LARGEST, LARGEST)
        return forecast_loss(said.flatten(0, 1), target.flatten(0, 1), LEVELS)

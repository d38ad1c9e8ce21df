"""How recordings become windows: one plain record, written into the shard manifest and every checkpoint.

The same record drives sharding, training and use on one person's folder, so what a model sees in
use is made by the code and the numbers that made its training windows.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.modalities import recorded


class Plain(BaseModel):
    """A record that refuses unknown keys and is never changed after it was made."""

    # JSON has no NaN; as text a number that is none is read back as what it was, as null it would be refused.
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")


class ModalityPreparation(Plain):
    """Target rate and filter of one modality; `None` leaves a side of the band open."""

    sampling_rate_hz: float = Field(gt=0)
    highpass_hz: float | None = Field(default=None, gt=0)
    lowpass_hz: float | None = Field(default=None, gt=0)
    order: int = Field(default=4, ge=1, le=10)
    channels: int = Field(default=1, ge=1)
    invert: bool = False

    @model_validator(mode="after")
    def _band_fits(self) -> "ModalityPreparation":
        nyquist = self.sampling_rate_hz / 2
        low, high = self.highpass_hz or 0.0, self.lowpass_hz or nyquist
        if not low < high <= nyquist:
            raise ValueError(f"the band must satisfy 0 <= highpass < lowpass <= {nyquist} Hz (half the sampling rate)")
        return self


class Preparation(Plain):
    """Windows on one grid (t0 + k * hop) over a visit, and how each modality is prepared for them.

    A modality is present in a window when at least `min_coverage` of its samples were observed; a
    window is kept when at least `min_modalities` are present. A class or value label is known where it covers at
    least `min_label_cover` of the window.
    """

    window_s: float = Field(gt=0)
    hop_s: float = Field(gt=0)
    min_coverage: float = Field(default=0.8, gt=0, le=1)
    min_modalities: int = Field(default=1, ge=1)
    min_label_cover: float = Field(default=0.5, ge=0.5, le=1)
    modalities: dict[str, ModalityPreparation]

    @model_validator(mode="after")
    def _known_modalities(self) -> "Preparation":
        if not self.modalities:
            raise ValueError("name at least one modality")
        for name, settings in self.modalities.items():
            recorded(name)
            samples = self.window_s * settings.sampling_rate_hz
            if samples < 2 or abs(samples - round(samples)) > 1e-6:
                raise ConfigError(
                    f"A window of {self.window_s} s does not hold a whole number of {name} samples",
                    expected="window_s * sampling_rate_hz whole and at least 2",
                    got=f"{samples:g}",
                    where=f"preparation.modalities.{name}.sampling_rate_hz",
                    fix="change window_s or the modality's sampling_rate_hz",
                )
        return self

    def samples(self, name: str) -> int:
        """Samples per window of one modality."""
        return round(self.window_s * self.modalities[name].sampling_rate_hz)


LabelKind = Literal["class", "value", "event"]

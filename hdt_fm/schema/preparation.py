"""How recordings become windows: one plain record, written into the shard manifest and every checkpoint.

The same record drives sharding, training and use on one person's folder, so what a model sees in
use is made by the code and the numbers that made its training windows.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_serializer, model_validator

from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.modalities import recorded


class Plain(BaseModel):
    """A record that refuses unknown keys and is never changed after it was made."""

    # JSON has no NaN; as text a number that is none is read back as what it was, as null it would be refused.
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")


ArtefactClass = Literal["motion", "contact", "saturation", "dropout", "powerline"]
ARTEFACT_CLASSES: tuple[ArtefactClass, ...] = ("motion", "contact", "saturation", "dropout", "powerline")


class ArtefactSettings(Plain):
    """Which artefacts are looked for in a modality, and what becomes of them.

    Attributes:
        classes: Those looked for; what a kind of signal cannot have is never found in it.
        lowers: "quality" lowers the window's `sqi` alone; "observed" makes the samples unobserved as well.
        reference: Modality of the same visit that shows movement; without it movement is told by the signal alone.
    """

    classes: tuple[ArtefactClass, ...] = Field(default=ARTEFACT_CLASSES, min_length=1)
    lowers: Literal["quality", "observed"] = "quality"
    reference: str | None = "acc"

    @model_validator(mode="after")
    def _known_reference(self) -> "ArtefactSettings":
        if self.reference is not None:
            recorded(self.reference)
        return self


class NoiseCancelling(Plain):
    """How what a reference explains is taken out of a signal; see `hdt_fm/signal/adaptive_noise.py`.

    Attributes:
        reference: Modality of the same visit on the same device: an accelerometer, or what a microphone heard.
        method: "rls", "nlms", or "ridge" (weights of the last 8 s, solved once a second).
        taps: Past samples of each reference channel, at the prepared rate, that a sample may follow.
        gated: Only where there is motion and the signal is coherent with it. Without, clean signals are harmed.
        motion_floor: RMS of the band-limited reference, in its own unit, below which nothing is touched.
        min_coherence: Of the signal with a reference channel, 0.5 to 8 Hz, below which nothing is touched.
    """

    reference: str = "acc"
    method: Literal["rls", "nlms", "ridge"] = "rls"
    taps: int = Field(default=8, ge=1, le=64)
    gated: bool = True
    motion_floor: float = Field(default=0.03, gt=0)
    min_coherence: float = Field(default=0.4, gt=0, lt=1)

    @model_validator(mode="after")
    def _known_reference(self) -> "NoiseCancelling":
        recorded(self.reference)
        return self


class ModalityPreparation(Plain):
    """Target rate and filter of one modality; `None` leaves a side of the band open.

    `causal` filters forwards only, so that no sample knows of a later one, at the price of the filter's delay.
    `source` names the recording, where it is not the one of the modality's own name: so windows hold a signal raw and
    cleaned, `ppg` and, from the same recording, `ppg_wrist`. `own_start_s` puts a recording on the scale of its own
    first seconds (median 0, interquartile range that of a normal distribution of SD 1), which are spent on it.
    `resampling` is by soxr's filter, which looks some samples ahead; or, for slow signals that are forecast, by what
    was read up to each new sample: the "newest" reading of a step, or the "mean" of all.
    """

    sampling_rate_hz: float = Field(gt=0)
    highpass_hz: float | None = Field(default=None, gt=0)
    lowpass_hz: float | None = Field(default=None, gt=0)
    order: int = Field(default=4, ge=1, le=10)
    channels: int = Field(default=1, ge=1)
    invert: bool = False
    causal: bool = False
    source: str | None = None
    own_start_s: float | None = Field(default=None, gt=0)
    artefacts: ArtefactSettings | None = None
    cancel_noise: NoiseCancelling | None = None
    resampling: Literal["filter", "newest", "mean"] = "filter"

    @model_serializer(mode="wrap")
    def _written(self, handler: Any) -> dict[str, Any]:
        # Without the later settings a preparation is written as it always was: digests of shards stay.
        written = handler(self)
        later = {
            "causal": False,
            "source": None,
            "own_start_s": None,
            "artefacts": None,
            "cancel_noise": None,
            "resampling": "filter",
        }
        return {key: value for key, value in written.items() if key not in later or getattr(self, key) != later[key]}

    @model_validator(mode="after")
    def _band_fits(self) -> "ModalityPreparation":
        nyquist = self.sampling_rate_hz / 2
        low, high = self.highpass_hz or 0.0, self.lowpass_hz or nyquist
        if not low < high <= nyquist:
            raise ValueError(f"the band must satisfy 0 <= highpass < lowpass <= {nyquist} Hz (half the sampling rate)")
        if self.cancel_noise is not None and (self.highpass_hz is None or self.sampling_rate_hz < 16):
            raise ValueError(
                "cancel_noise needs highpass_hz, since the reference goes through the same filter and its gravity "
                "would be taken for movement, and a sampling rate of 16 Hz or more, since the gate asks up to 8 Hz"
            )
        return self


class Preparation(Plain):
    """Windows on one grid (t0 + k * hop) over a visit, and how each modality is prepared for them.

    A modality is present in a window when at least `min_coverage` of its samples were observed; a
    window is kept when at least `min_modalities` are present. A class or value label is known where it covers at
    least `min_label_cover` of the window. `align_to` names a recording of movement (`acc`): all devices of a visit are
    put on the clock of the one that made it.
    """

    window_s: float = Field(gt=0)
    hop_s: float = Field(gt=0)
    min_coverage: float = Field(default=0.8, gt=0, le=1)
    min_modalities: int = Field(default=1, ge=1)
    min_label_cover: float = Field(default=0.5, ge=0.5, le=1)
    align_to: str | None = None
    modalities: dict[str, ModalityPreparation]

    @model_serializer(mode="wrap")
    def _written(self, handler: Any) -> dict[str, Any]:
        written = handler(self)
        return {key: value for key, value in written.items() if key != "align_to" or value is not None}

    @model_validator(mode="after")
    def _known_modalities(self) -> "Preparation":
        if not self.modalities:
            raise ValueError("name at least one modality")
        if self.align_to is not None and recorded(self.align_to).kind not in ("acc", "gyro"):
            raise ConfigError(
                "Clocks are compared by movement",
                where="preparation.align_to",
                expected="acc or gyro, or one of them at a place",
                got=self.align_to,
            )
        for name, settings in self.modalities.items():
            kind = recorded(name).kind
            if settings.source is not None and recorded(settings.source).kind != kind:
                raise ConfigError(
                    f"{name} cannot be made from a recording of another kind",
                    expected=f"{kind}, or {kind} at a place",
                    got=settings.source,
                    where=f"preparation.modalities.{name}.source",
                )
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

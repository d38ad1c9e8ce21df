"""The kinds of a verb's settings. Values stand in configs/; what they may be stands here."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from hdt_fm.schema.codec import Codec
from hdt_fm.schema.preparation import Plain


class ShardSettings(Plain):
    seed: int
    encoding: Literal["i16", "f32"]
    block_windows: int = Field(ge=1)
    shard_mb: float = Field(gt=0)
    on_error: Literal["quarantine", "strict"]
    consent: str | None
    purpose: str | None = None
    codec: Codec | dict[str, Codec] = "none"
    sealed: bool = False


class SplitSettings(Plain):
    test: float = Field(ge=0, lt=1)
    validation: float = Field(ge=0, lt=1)

    @property
    def fractions(self) -> dict[str, float]:
        """Shares by name; what is left trains. A share of zero makes no part."""
        parts = {"test": self.test, "validation": self.validation, "train": 1 - self.test - self.validation}
        return {name: share for name, share in parts.items() if share > 0}


class AugmentSettings(Plain):
    amplitude: float = Field(ge=0)
    noise: float = Field(ge=0)
    time_mask: float = Field(ge=0, lt=1)


class HideSettings(Plain):
    share: float = Field(ge=0, lt=1)
    stretch_s: float = Field(gt=0)


class PrivateSettings(Plain):
    """Of differential privacy; see configs/training/private.yaml."""

    epsilon: float | None = Field(gt=0)
    delta: float | None = Field(gt=0, lt=1)
    noise: float | None = Field(ge=0)
    clip: float | None = Field(gt=0)
    people_per_step: int = Field(ge=1)
    windows_per_person: int = Field(ge=2)
    public: str | None


class TrainingSettings(Plain):
    steps: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    warmup_steps: int = Field(ge=0)
    clip_norm: float = Field(gt=0)
    precision: Literal["32-true", "bf16-mixed"]
    checkpoint_every: int = Field(ge=1)
    val_every: int = Field(ge=1)
    people_per_pool: int | None = Field(ge=1)
    cohort_alpha: float = Field(default=0.5, ge=0, le=1)
    modality_dropout: float = Field(ge=0, lt=1)
    hide: HideSettings
    augment: AugmentSettings
    start: Literal["closed_form", "random"]
    resume: str
    piece: int | None = Field(default=None, ge=1)
    fused: bool = False
    activation_checkpointing: bool = False
    compile: bool = False
    sharded: bool = False
    private: PrivateSettings | None = None


class LauncherSettings(Plain):
    name: Literal["here", "slurm"]
    nodes: int = Field(default=1, ge=1)
    gpus_per_node: int = Field(default=1, ge=1)
    cpus_per_task: int = Field(default=1, ge=1)
    time: str = ""
    partition: str | None = None
    account: str | None = None
    memory_gb: int | None = Field(default=None, ge=1)
    more: tuple[str, ...] = ()


class CostSettings(Plain):
    energy: Literal["auto", "always", "never"]
    after_s: float = Field(ge=0)
    country: str | None = Field(default=None, pattern=r"^[A-Z]{3}$")
    pue: float = Field(ge=1, allow_inf_nan=False)
    price_per_kwh: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    price_per_device_hour: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    currency: str | None = Field(default=None, pattern=r"^[A-Z]{3}$")

    @model_validator(mode="after")
    def _a_price_is_in_a_currency(self) -> "CostSettings":
        if self.currency is None and not (self.price_per_kwh is None and self.price_per_device_hour is None):
            raise ValueError("a price needs its currency (cost.currency=EUR)")
        return self


class LoggerSettings(Plain):
    tensorboard: bool
    wandb: Literal["disabled", "offline", "online"]
    wandb_project: str


class EmbedSettings(Plain):
    batch_size: int = Field(ge=1)


class Estimate(Plain):
    """Rates that nothing is fitted for, beside the models: the strongest line of a modality's spectrum in a band, and
    what the encoder says of the rhythm of that name, if it looks for one."""

    modality: str
    low_hz: float = Field(gt=0)
    high_hz: float = Field(gt=0)
    rhythm: str | None = None


Also = Literal["missing_modalities", "own_baseline", "few_shot", "zero_shot", "personalisation", "subgroups"]

Knows = Literal["nothing", "recent", "own session", "own start"]


class TuningSettings(Plain):
    """Of encoders that are moved towards one person."""

    rank: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    ridge: float = Field(ge=0)
    people: int = Field(ge=1)


class ProtocolSettings(Plain):
    kind: Literal["classification", "regression"]
    label: str
    folds: Annotated[int, Field(ge=2)] | Literal["all", "published"]
    people: Literal["held_out", "per_fold", "unseen"]
    draws: int = Field(ge=10)
    scratch_steps: int = Field(ge=1)
    max_pool: int = Field(ge=2)
    personal: tuple[Knows, ...] = ("nothing",)
    only: str | tuple[str, ...] | None = None
    estimate: Estimate | None = None
    also: tuple[Also, ...] = ()
    fine_tune: bool
    tuning: TuningSettings

    @property
    def alone(self) -> tuple[str, ...] | None:
        """The modalities that are used alone; None takes all."""
        return (self.only,) if isinstance(self.only, str) else self.only


class FinetuneSettings(Plain):
    label: str
    context: int = Field(ge=1)
    epochs: int = Field(ge=1)
    early_stop: int | None = Field(ge=1)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)


class SeriesSettings(Plain):
    modality: str | None
    context_s: float = Field(gt=0)
    horizons_s: tuple[float, ...] = Field(min_length=1)
    every_s: float = Field(gt=0)
    windows: int = Field(ge=0)
    apart_s: float = Field(gt=0)
    treatments: str | None = None


class ExplainSettings(Plain):
    checkpoint: str
    head: str
    scope: Literal["window", "person", "cohort"]
    subject: int | None = Field(ge=0)
    window: int | None = Field(ge=0)
    people: Literal["unseen", "all"]
    windows: int = Field(ge=1)
    methods: tuple[str, ...] = Field(min_length=1)
    fitness: str = Field(min_length=1)
    steps: int = Field(ge=2)
    occlusion_s: float = Field(gt=0)
    reference: Literal["window_mean", "zero", "others"]
    alternative: Literal["window_mean", "zero", "others"] | None
    sections: tuple[Literal["modalities", "routes", "bands", "events", "curves", "cohort", "students", "causal"], ...]
    subgroups: tuple[str, ...]
    question: dict[str, Any] | None
    what_if: str | None
    withhold_waveforms: bool
    pictures: bool
    seed: int
    horizon_s: float = Field(gt=0)
    quantile: float | None = Field(gt=0, lt=1)
    event: str | None
    plan: str
    against: str
    similar: str
    to_subject: int = Field(ge=0)
    to_window: int = Field(ge=0)
    treatments: str | None


class AuditSettings(Plain):
    what: Literal["privacy", "fairness"] | None
    checkpoint: str
    references: int = Field(ge=0)
    reference_steps: int | None = Field(ge=1)
    attacks: tuple[Literal["threshold", "lira", "rmia"], ...] = Field(min_length=1)
    signal: Literal["contrast", "alignment"]
    gamma: float = Field(ge=1)
    false_shares: tuple[Annotated[float, Field(gt=0, lt=1)], ...]
    windows: int = Field(ge=2)
    link_windows: int = Field(ge=4)
    gap_s: float = Field(gt=0)
    apart_s: float = Field(ge=0)
    by: tuple[str, ...] | None
    min_people: int = Field(ge=2)
    permutations: int = Field(ge=20)
    remedies: tuple[Literal["inverse_frequency", "group_dro"], ...]
    fine_tune: bool
    fine_tune_steps: int = Field(ge=1)
    fine_tune_rate: float = Field(gt=0)
    draws: int = Field(ge=10)
    seed: int


class PublishSettings(Plain):
    checkpoint: str
    card: str | tuple[str, ...] | None
    consent: str | None
    attribution: bool
    evaluations: tuple[str, ...]
    repo_id: str | None
    private: bool

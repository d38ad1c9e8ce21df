"""Door 4: what a checkpoint says of itself: plain data that rebuilds the model and names what made it.

Contract, version 1: `config.json` MUST hold registered names and plain arguments only, never an import
path; `model.safetensors` MUST hold exactly the tensors the rebuilt model has, by name, shape and dtype;
loading MUST refuse anything else and say what share matched. Nothing here is pickled.
"""

from typing import Any

from pydantic import Field, model_serializer

from hdt_fm.schema.covariates import Covariate
from hdt_fm.schema.modalities import STATIC
from hdt_fm.schema.preparation import ModalityPreparation, Plain, Preparation
from hdt_fm.schema.shard import ModalityColumn
from hdt_fm.schema.typical import Typical

MANIFEST_VERSION = 1
WEIGHTS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"
PREPROCESS_NAME = "preprocess.json"
PROBE_NAME = "stored_embedding.safetensors"
SUMS_NAME = "SHA256SUMS"


class Part(Plain):
    """One buildable part: a registered name and its plain arguments."""

    name: str
    args: dict[str, Any] = {}


class ModelConfig(Plain):
    """`config.json`: everything needed to rebuild the model before its weights are filled in.

    Attributes:
        modalities: The signal contract, in the order of `present`.
        encoder: Shared settings of the encoders; one encoder is built per modality.
        per_modality: Arguments that differ for a modality, merged over `encoder.args`. Those of `static` are all of its
            own encoder's, among them `columns`: what was learned of the facts about people, and of no single one.
        projection: The training-time head to the shared space.
        fusion: What makes one embedding of the modalities present; None where there is none.
        heads: Heads trained on the frozen encoder, by name.
        statistics: Per signal (center, scale) from training people; the encoder's input scale.
    """

    version: int = MANIFEST_VERSION
    modalities: tuple[ModalityColumn, ...]
    encoder: Part
    per_modality: dict[str, dict[str, Any]] = {}
    projection: Part
    fusion: Part | None = None
    heads: dict[str, Part] = {}
    statistics: dict[str, tuple[float, float]]
    window_s: float = Field(gt=0)

    @property
    def covariates(self) -> tuple[Covariate, ...]:
        """What the model knows of the columns that `static` holds; empty where it reads none."""
        columns = self.per_modality.get(STATIC, {}).get("columns", ())
        return tuple(Covariate.model_validate(column) for column in columns)

    @model_serializer(mode="wrap")
    def _plain(self, handler: Any) -> dict[str, Any]:
        # A model without a fusion is written as it always was: its digest stays, and an earlier hdt_fm can read it.
        written = handler(self)
        return written if self.fusion else {key: value for key, value in written.items() if key != "fusion"}


class Contract(Plain):
    """How one cohort's recordings became windows, and what lies in them."""

    preparation: Preparation
    modalities: tuple[ModalityColumn, ...]


class Preprocess(Plain):
    """`preprocess.json`: the signal contract a user's recording must meet.

    Attributes:
        preparation: Of the cohort that the model was trained on; of several, of the first.
        modalities: Of all cohorts, each as in the first cohort that has it.
        cohorts: Where several trained together, the contract of each, by name; any of them may be met.
        typical: By modality, what prepared windows of the training people look like, over five of them or more.
    """

    version: int = MANIFEST_VERSION
    preparation: Preparation
    modalities: tuple[ModalityColumn, ...]
    cohorts: dict[str, Contract] = {}
    typical: dict[str, Typical] = {}

    def prepared(self, modality: str) -> ModalityPreparation:
        """How a modality is prepared, in the first cohort that has it."""
        everyone = [self.preparation, *(contract.preparation for contract in self.cohorts.values())]
        return next(one.modalities[modality] for one in everyone if modality in one.modalities)

    @model_serializer(mode="wrap")
    def _plain(self, handler: Any) -> dict[str, Any]:
        # What there is nothing of is left out, so that an earlier hdt_fm can read it.
        return {key: value for key, value in handler(self).items() if value or key not in ("cohorts", "typical")}

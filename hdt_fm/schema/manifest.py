"""Door 4: what a checkpoint says of itself: plain data that rebuilds the model and names what made it.

Contract, version 1: `config.json` MUST hold registered names and plain arguments only, never an import
path; `model.safetensors` MUST hold exactly the tensors the rebuilt model has, by name, shape and dtype;
loading MUST refuse anything else and say what share matched. Nothing here is pickled.
"""

from typing import Any

from pydantic import Field

from hdt_fm.schema.preparation import Plain, Preparation
from hdt_fm.schema.shard import ModalityColumn

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
        per_modality: Arguments that differ for a modality, merged over `encoder.args`.
        projection: The training-time head to the shared space.
        heads: Heads trained on the frozen encoder, by name.
        statistics: Per modality (center, scale) from training people; the encoder's input scale.
    """

    version: int = MANIFEST_VERSION
    modalities: tuple[ModalityColumn, ...]
    encoder: Part
    per_modality: dict[str, dict[str, Any]] = {}
    projection: Part
    heads: dict[str, Part] = {}
    statistics: dict[str, tuple[float, float]]
    window_s: float = Field(gt=0)


class Preprocess(Plain):
    """`preprocess.json`: the signal contract a user's recording must meet."""

    version: int = MANIFEST_VERSION
    preparation: Preparation
    modalities: tuple[ModalityColumn, ...]

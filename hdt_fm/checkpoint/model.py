"""The model as one module, how it is rebuilt from plain data, and its digest."""

import hashlib
import json
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from hdt_fm.schema import registry
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.manifest import ModelConfig
from hdt_fm.schema.protocols import Embeddings


class Model(nn.Module):
    """Encoder, projection head and the heads trained on it, with the config that rebuilds them.

    Parameter names start with `encoder.`, `projection.` or `heads.<name>.`.
    """

    def __init__(
        self, config: ModelConfig, encoder: nn.Module, projection: nn.Module, heads: Mapping[str, nn.Module]
    ) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.projection = projection
        self.heads = nn.ModuleDict(dict(heads))

    @property
    def modalities(self) -> tuple[str, ...]:
        """What the model knows, in the order of its embeddings."""
        return tuple(column.name for column in self.config.modalities)

    def calibrate(self, *batches: Batch) -> None:
        """Tell the encoder what typical windows look like, once, before any weight learns; a batch a cohort."""
        self.encoder.calibrate(*batches)  # type: ignore[operator]

    def start(self, *batches: Batch) -> None:
        """Let the encoder start where a closed form ends: its first components, which the projection head reads
        first, become what the modalities of these windows share; a batch a cohort.

        Raises:
            ConfigError: If no two modalities are present together.
        """
        self.encoder.start(*batches, shared=self.projection.dim)  # type: ignore[operator]

    def embed(self, batch: Batch) -> Embeddings:
        """Per-modality embeddings of a batch; zeros where a modality is absent."""
        return self.encoder(batch)

    def project(self, embeddings: Embeddings) -> Embeddings:
        """Embeddings into the shared space, unit length; zeros where a modality is absent."""
        return self.projection(embeddings)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device


def build_model(config: ModelConfig, *, seed: int = 0) -> Model:
    """A model with fresh weights that depend on the config and the seed only; the global generator is left as it was.

    Raises:
        UnknownNameError: If the config names a part that is not registered.
        ConfigError: If a part's argument is unknown or missing.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = registry.body()(
            modalities=config.modalities,
            encoder=config.encoder,
            per_modality=config.per_modality,
            statistics=config.statistics,
        )
        settings = {"modalities": len(config.modalities), "width": encoder.width, **config.projection.args}
        projection = registry.build("heads", config.projection.name, settings)
        heads = {name: registry.build("heads", part.name, part.args) for name, part in config.heads.items()}
    return Model(config, encoder, projection, heads)


def model_digest(model: Model, *, heads: bool = True) -> str:
    """SHA-256 over the config and every tensor's name, type, shape and bytes.

    Args:
        model: On any device.
        heads: False leaves the heads out: what names the maker of a cache of embeddings, which they do not change.
    """
    config = model.config if heads else model.config.model_copy(update={"heads": {}})
    digest = hashlib.sha256(canonical(config).encode())
    for name, tensor in sorted(tensors(model).items()):
        if heads or not name.startswith("heads."):
            digest.update(f"\x00{name}\x00{tensor.dtype}\x00{tuple(tensor.shape)}\x00".encode())
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def canonical(record: ModelConfig) -> str:
    """One text for equal configs."""
    return json.dumps(record.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """State of the model as contiguous copies on the CPU."""
    # Clones: safetensors refuses tensors that share memory, and a view of a larger one would be written whole.
    state = model.state_dict()
    return {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in state.items()}

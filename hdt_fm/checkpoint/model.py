"""The model as one module, how it is rebuilt from plain data, and its digest."""

import hashlib
import json
from collections.abc import Mapping

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from hdt_fm.checkpoint.loaded import Loaded
from hdt_fm.schema import registry
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ConfigError, HdtError
from hdt_fm.schema.manifest import ModelConfig
from hdt_fm.schema.protocols import Embeddings
from hdt_fm.schema.rhythm import RhythmFound


class Model(nn.Module):
    """Encoder, projection head and the heads trained on it, with the config that rebuilds them.

    Parameter names start with `encoder.`, `projection.`, `fusion.`, `fused_projection.` or `heads.<name>.`.

    Args:
        fusion: A `Fusion` and the projection head of what it makes; None where each modality stays by itself.
    """

    def __init__(
        self,
        config: ModelConfig,
        encoder: nn.Module,
        projection: nn.Module,
        heads: Mapping[str, nn.Module],
        fusion: tuple[nn.Module, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        # How a file filled it (`hdt_fm.checkpoint.Loaded`); None for a model that was built and not loaded.
        self.loaded: Loaded | None = None
        self.encoder = encoder
        self.projection = projection
        self.heads = nn.ModuleDict(dict(heads))
        self.fusion: nn.Module | None
        self.fused_projection: nn.Module | None
        self.fusion, self.fused_projection = fusion or (None, None)

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

    def find_rhythm(self, batch: Batch, modality: str, rhythm: str) -> RhythmFound:
        """What each window of a batch says of a rhythm that the config named (breath, pulse): no label, no probe.

        `find_rhythm(batch, "ppg", "breath").per_minute()` is the rate, NaN where the modality is absent.

        Raises:
            UnknownNameError: If the model looks for no such rhythm in the modality.
            ShapeError: If the batch has not the modality.
        """
        return self.encoder.find_rhythm(batch, modality, rhythm)  # type: ignore[operator]

    def project(self, embeddings: Embeddings) -> Embeddings:
        """Embeddings into the shared space, unit length; zeros where a modality is absent."""
        return self.projection(embeddings)

    def fuse(self, embeddings: Embeddings) -> Float[Tensor, "batch width"]:
        """One embedding of each window, of the modalities present.

        Raises:
            ConfigError: If the model has no fusion.
        """
        if self.fusion is None:
            raise ConfigError(
                "The model has no fusion",
                where="fusion",
                expected="a model that was pretrained with one",
                fix="hdt-fm pretrain fusion=attention loss=leave_one_out loss.others=fused",
            )
        return self.fusion(embeddings.values, embeddings.present)

    def others(self, embeddings: Embeddings) -> Embeddings:
        """For each modality what the others of its window say together: their fusion in the shared space, unit length;
        zeros where there is no other.

        Raises:
            ConfigError: If the model has no fusion.
        """
        batch, modalities, _ = embeddings.values.shape
        own = torch.eye(modalities, dtype=torch.bool, device=embeddings.present.device)
        rest = rearrange(embeddings.present[:, None] & ~own, "b out m -> (b out) m")
        fused = self.fuse(Embeddings(embeddings.values.repeat_interleave(modalities, dim=0), rest))
        assert self.fused_projection is not None, "fuse has refused a model without a fusion"
        projected = self.fused_projection(Embeddings(fused[:, None], rest.any(1, keepdim=True)))
        return Embeddings(
            values=rearrange(projected.values, "(b out) 1 dim -> b out dim", b=batch),
            present=rearrange(projected.present, "(b out) 1 -> b out", b=batch),
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device


def build_model(config: ModelConfig, *, seed: int = 0) -> Model:
    """A model with fresh weights that depend on the config and the seed only; the global generator is left as it was.

    Raises:
        UnknownNameError: If the config names a part that is not registered.
        ConfigError: If a part's argument is unknown, missing, or no number that such a part can be made of.
    """
    try:
        return fresh_model(config, seed=seed)
    except (ArithmeticError, RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, HdtError):
            raise
        # What torch says of a width of -1, or Python of no heads at all.
        raise ConfigError(
            "A model cannot be made of these settings",
            where="encoder, projection, fusion or heads",
            expected="sizes above zero that go together, shares between 0 and 1",
            got=" ".join(str(error).split())[:200] or type(error).__name__,
            fix="compare with `--cfg job` of an experiment, which has settings that do",
        ) from error


def fresh_model(config: ModelConfig, *, seed: int = 0) -> Model:
    """`build_model`, whose parts fail in their own words."""
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
        # Last, so that all else begins with the weights that it has without a fusion.
        fusion = _fusion(config, encoder.width) if config.fusion else None
    return Model(config, encoder, projection, heads, fusion)


def _fusion(config: ModelConfig, width: int) -> tuple[nn.Module, nn.Module]:
    """The fusion and its projection: one more head of the kind that modalities have."""
    assert config.fusion is not None
    names = [column.name for column in config.modalities]
    fusion = registry.build("fusion", config.fusion.name, {"modalities": names, "width": width, **config.fusion.args})
    settings = {"modalities": 1, "width": width, **config.projection.args}
    return fusion, registry.build("heads", config.projection.name, settings)


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

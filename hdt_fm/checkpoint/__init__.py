"""Weights and the manifest that rebuilds them: save, load, refuse. Nothing here is pickled, nothing read is run.

A checkpoint is a folder: `model.safetensors`, `config.json`, `preprocess.json`, `stored_embedding.safetensors`
(simulated noise and what the model made of it) and `SHA256SUMS`. Its contract is in `hdt_fm/schema/manifest.py`.
"""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from hdt_fm.checkpoint.bounds import bounded, check_asked
from hdt_fm.checkpoint.folder import (
    FILES,
    check_files,
    check_replaceable,
    check_sums,
    read_record,
    restore_interrupted_swap,
    sha256,
    short,
    swap,
)
from hdt_fm.checkpoint.loaded import Loaded
from hdt_fm.checkpoint.model import Model, build_model, fresh_model, model_digest, tensors
from hdt_fm.checkpoint.reproduce import check_reproduced, stored_embedding
from hdt_fm.checkpoint.weights import fill, stored_forms
from hdt_fm.schema.errors import CheckpointError, HdtError
from hdt_fm.schema.manifest import (
    CONFIG_NAME,
    PREPROCESS_NAME,
    PROBE_NAME,
    SUMS_NAME,
    WEIGHTS_NAME,
    ModelConfig,
    Preprocess,
)
from hdt_fm.schema.published import find_model

__all__ = ["Loaded", "Model", "build_model", "load", "load_preprocess", "model_digest", "save_model"]
# What the stored embedding speaks of; heads are beside it.
OF_THE_BODY = ("encoder.", "projection.", "fusion.", "fused_projection.")
_log = logging.getLogger(__name__)


def save_model(model: Model, folder: Path, *, preprocess: Preprocess) -> None:
    """Write the checkpoint folder as a whole: a reader sees the old one or the new one, never a mix.

    The stored input is noise drawn here around `statistics`, never a person's window.

    Raises:
        CheckpointError: If `folder` exists and is not a checkpoint, if the preprocess names other modalities, or if
            the model is not the one that its config rebuilds.
    """
    if preprocess.modalities != model.config.modalities:
        raise CheckpointError(
            "The preprocess record describes other modalities than the model",
            expected=", ".join(column.name for column in model.config.modalities),
            got=", ".join(column.name for column in preprocess.modalities),
            fix="make both from the header of the shards that the model was trained on",
        )
    folder = Path(folder)
    check_replaceable(folder)
    weights = tensors(model)
    twin = _rebuilt(model.config, weights)
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    # One key only: safetensors writes several in no fixed order, and equal models must give equal bytes.
    save_file(weights, fresh / WEIGHTS_NAME, metadata={"format": "pt"})
    (fresh / CONFIG_NAME).write_text(model.config.model_dump_json(indent=2) + "\n")
    (fresh / PREPROCESS_NAME).write_text(preprocess.model_dump_json(indent=2) + "\n")
    save_file(stored_embedding(twin), fresh / PROBE_NAME)
    sums = "".join(f"{sha256(fresh / name)}  {name}\n" for name in sorted(FILES))
    (fresh / SUMS_NAME).write_text(sums)
    swap(fresh, folder)


def _rebuilt(config: ModelConfig, weights: dict[str, Tensor]) -> Model:
    """The model as a reader will rebuild it: on the CPU, whatever device it was trained on."""
    twin = build_model(config)
    try:
        twin.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise CheckpointError(
            "The model is not the one that its config describes, so it could not be loaded again",
            got=str(error).splitlines()[-1].strip()[:200],
            fix="change a model through its config: build_model(config), then fill in the weights",
        ) from error
    return twin.eval()


def load(folder: Path | str, *, device: str | torch.device = "cpu", allow_fresh: Sequence[str] = ()) -> Model:
    """Rebuild a model from its folder, in evaluation mode, or refuse.

    Args:
        folder: What `save_model` or `hdt-fm publish` wrote, or the name of a model that comes with hdt_fm
            (`hdt-fm list model`).
        device: Where the model goes after it was checked (the check itself runs on the CPU).
        allow_fresh: Prefixes of parameter names, e.g. "heads", that may keep fresh weights where the file has none
            that fit.

    Returns:
        The model; its `loaded` says how many of its tensors the file filled, and which are fresh. All of them, unless
        parts were allowed to be fresh: then a line of the log says the share too.

    Raises:
        CheckpointError: If a file is missing, of a later version, changed (SHA256SUMS), not what its name says or
            does not fit the model in name, shape or type; or if the stored embedding is not reproduced to 1e-5.
        UnknownNameError: If the config names a part that is not registered here.
        ConfigError: If the config gives a part an argument it does not have.
    """
    restore_interrupted_swap(Path(folder))
    folder = find_model(folder)
    check_files(folder)
    check_sums(folder)
    config = read_record(folder / CONFIG_NAME, ModelConfig)
    read_record(folder / PREPROCESS_NAME, Preprocess)
    model = _build_checked(config, folder, may_be_fresh=bool(allow_fresh))
    model.loaded = fill(model, folder / WEIGHTS_NAME, tuple(allow_fresh))
    _log.log(logging.WARNING if model.loaded.fresh else logging.INFO, "%s: %s", folder.name, model.loaded)
    model.eval()
    if not any(name.startswith(OF_THE_BODY) for name in model.loaded.fresh):
        check_reproduced(model, folder / PROBE_NAME)
    return model.to(device)


def load_preprocess(folder: Path | str) -> Preprocess:
    """The signal contract of a checkpoint folder.

    Raises:
        CheckpointError: As `load`.
    """
    folder = find_model(folder)
    check_files(folder)
    check_sums(folder)
    return read_record(folder / PREPROCESS_NAME, Preprocess)


def _build_checked(config: ModelConfig, folder: Path, *, may_be_fresh: bool) -> Model:
    where = str(folder / CONFIG_NAME)
    check_asked(config, where)
    stored_forms(folder / WEIGHTS_NAME)
    try:
        with bounded((folder / WEIGHTS_NAME).stat().st_size, where, may_be_fresh=may_be_fresh):
            return fresh_model(config)
    except HdtError:
        raise
    except Exception as error:  # a part of any lab may fail in its own way on arguments of a wrong kind
        raise CheckpointError(
            "The model cannot be built from its config",
            where=where,
            got=short(error),
            fix="do not edit a checkpoint by hand; load it with the hdt_fm that wrote it",
        ) from error

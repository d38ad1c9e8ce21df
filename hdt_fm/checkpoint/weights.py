"""Filling a rebuilt model with exactly the tensors that were saved."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from hdt_fm.checkpoint.folder import short
from hdt_fm.checkpoint.loaded import Loaded
from hdt_fm.checkpoint.model import Model
from hdt_fm.schema.errors import CheckpointError

Form = tuple[tuple[int, ...], str]


def stored_forms(path: Path) -> dict[str, Form]:
    """Shape and type of each tensor of a file, by name, from its header alone.

    Raises:
        CheckpointError: If it is no safetensors.
    """
    try:
        with safe_open(path, framework="pt") as file:
            stored = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (it is not a mapping)
            return {name: (tuple(view.get_shape()), view.get_dtype()) for name, view in stored.items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            "The weights file is damaged or not safetensors", where=path.name, got=short(error), fix="copy it again"
        ) from error


def fill(model: Model, path: Path, allow_fresh: tuple[str, ...]) -> Loaded:
    """Fill in the weights.

    Raises:
        CheckpointError: If the file is no safetensors, or a tensor does not fit and may not be fresh.
    """
    found, weights = stored_forms(path), load_file(path)
    own = model.state_dict()
    may_be_fresh = lambda name: any(f"{name}.".startswith(f"{prefix.rstrip('.')}.") for prefix in allow_fresh)
    fits = [n for n, t in own.items() if n in weights and (t.shape, t.dtype) == (weights[n].shape, weights[n].dtype)]
    fresh = [name for name in own if name not in fits and may_be_fresh(name)]
    extra = [name for name in found if name not in own and not may_be_fresh(name)]
    missing = [name for name in own if name not in found and name not in fresh]
    differing = [name for name in own if name in found and name not in fits and name not in fresh]
    if extra or missing or differing:
        raise _mismatch(own, found, len(fits), missing, extra, differing, path)
    model.load_state_dict({name: own[name] if name in fresh else weights[name] for name in own}, strict=True)
    left_out = sum(name not in own or name in fresh for name in found)
    return Loaded(len(fits), len(own), tuple(fresh), left_out)


def _mismatch(
    own: Mapping[str, Tensor],
    found: Mapping[str, Form],
    matched: int,
    missing: list[str],
    extra: list[str],
    differing: list[str],
    path: Path,
) -> CheckpointError:
    shapes = [f"{n} is {found[n][0]} {found[n][1]}, not {tuple(own[n].shape)} {own[n].dtype}" for n in differing]
    kinds = (("missing", missing), ("not of this model", extra), ("of another shape or type", shapes))
    got = "; ".join(f"{len(n)} {kind}: {', '.join(n[:3])}{' …' if len(n) > 3 else ''}" for kind, n in kinds if n)
    return CheckpointError(
        f"The weights do not fit the model: {matched} of {len(own)} tensors ({100 * matched // len(own)} %) matched",
        where=path.name,
        expected="exactly the tensors of the model that config.json describes",
        got=got,
        fix="take weights and config of one run; allow_fresh=('heads',), or fresh=heads of `import`, starts heads anew",
    )

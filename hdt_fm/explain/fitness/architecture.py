"""What counts as the same architecture when a measured fitness is looked up."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from hdt_fm.schema import registry
from hdt_fm.schema.manifest import ModelConfig
from hdt_fm.schema.modalities import STATIC, own_or_of_kind

# Paths of the gradient beside the blocks, and what a window's end is told apart by. Off when None, 0 or empty.
SWITCHES = {"slow_s": "slow spectrum", "rhythms": "rhythms", "ahead_s": "end not read"}
DEPTHS = ("depth", "layers")


def architecture_of(config: ModelConfig) -> str:
    """The encoder's family, how many blocks, and which paths beside them: `patch_transformer, depth 1`.

    Widths, heads of attention, patch lengths and rates are left out: they move scores less than seeds do. A fusion and
    heads are left out too, since encoders alone are taught.

    Raises:
        UnknownNameError: If the encoder is not registered.
    """
    args = list(arguments_of(config).values())
    depths = sorted({one[key] for one in args for key in DEPTHS if key in one})
    parts = [config.encoder.name, *([f"depth {' and '.join(str(one) for one in depths)}"] if depths else [])]
    return ", ".join([*parts, *(words for key, words in SWITCHES.items() if _any_on(args, key))])


def arguments_of(config: ModelConfig) -> dict[str, dict[str, Any]]:
    """What each signal's encoder is built with, defaults among it, by the name of the signal.

    Raises:
        UnknownNameError: If the encoder is not registered.
    """
    known = {
        key: one.default
        for key, one in inspect.signature(registry.find("encoders", config.encoder.name)).parameters.items()
        if one.default is not one.empty
    }
    names = [column.name for column in config.modalities if column.name != STATIC]
    return {name: {**known, **config.encoder.args, **own_or_of_kind(config.per_modality, name)} for name in names}


def _any_on(args: Sequence[Mapping[str, Any]], key: str) -> bool:
    return any(bool(one.get(key)) for one in args)

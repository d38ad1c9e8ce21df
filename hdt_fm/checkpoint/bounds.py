"""Bounds on what a config may ask for before a byte of its weights was seen: numbers are cheap to write down."""

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

from hdt_fm.schema.errors import CheckpointError
from hdt_fm.schema.manifest import ModelConfig

# A day of three axes at 1 kHz: no model reads a longer window.
MAX_WINDOW = 1 << 28
# Bytes of tables that are made anew and not stored, and of parts that may start anew. The few of weights are for a part
# that the file lacks: that is told by name, once the model is built.
MAX_UNSTORED, MAX_FRESH, MAX_LACKING = 1 << 26, 1 << 30, 1 << 24
_MAX_DEPTH, _MAX_VALUES = 16, 100_000


def check_asked(config: ModelConfig, where: str) -> None:
    """Refuse windows and settings that no model has.

    Raises:
        CheckpointError: If a window is longer than any, or settings are nested or many beyond reason.
    """
    for column in config.modalities:
        if column.samples * column.channels > MAX_WINDOW:
            raise _too_much(
                where, f"windows of {column.name} of at most {MAX_WINDOW} numbers", f"{column.samples} samples"
            )
    parts = [config.encoder, config.projection, *config.heads.values(), *([config.fusion] if config.fusion else [])]
    left = [_MAX_VALUES]
    for args in (*(part.args for part in parts), config.per_modality):
        _walk(args, _MAX_DEPTH, left, where)


@contextlib.contextmanager
def bounded(stored_bytes: int, where: str, *, may_be_fresh: bool = False) -> Iterator[None]:
    """Refuse a module that grows past what its file of weights can fill, while it is built and not after.

    torch asks the system for memory when a weight is made and touches it when it is drawn; the hook stands between.

    Args:
        stored_bytes: Of the file of weights, which holds every weight in the type that it is made in.
        may_be_fresh: Parts may be asked for that the file does not hold.

    Raises:
        CheckpointError: When the weights made so far are more, or the system has not so much memory.
    """
    lacking = MAX_FRESH if may_be_fresh else MAX_LACKING
    left = {"weights": 2 * stored_bytes + lacking, "tables": stored_bytes + MAX_UNSTORED}
    expected = f"a model that the {stored_bytes} bytes of its weights can fill"

    def count(kind: str, made: Tensor | None) -> None:
        left[kind] -= made.numel() * made.element_size() if made is not None else 0
        if left[kind] < 0:
            raise _too_much(where, expected, f"more {kind}")

    hooks = [
        register_module_parameter_registration_hook(lambda module, name, made: count("weights", made)),
        register_module_buffer_registration_hook(lambda module, name, made: count("tables", made)),
    ]
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, MemoryError) or "allocate" in str(error):
            raise _too_much(where, expected, "more memory than there is") from error
        raise
    finally:
        for hook in hooks:
            hook.remove()


def _walk(value: Any, depth: int, left: list[int], where: str) -> None:
    left[0] -= 1
    if depth < 0 or left[0] < 0:
        raise _too_much(where, f"settings at most {_MAX_DEPTH} deep and {_MAX_VALUES} in number", "more")
    if isinstance(value, dict | list | tuple):
        for one in value.values() if isinstance(value, dict) else value:
            _walk(one, depth - 1, left, where)


def _too_much(where: str, expected: str, got: str) -> CheckpointError:
    return CheckpointError(
        "The config asks for more than its weights can be",
        where=where,
        expected=expected,
        got=got,
        fix="do not trust this folder; get it from its maker again",
    )

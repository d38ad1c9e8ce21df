"""hdt_fm: foundation models of the human body from wearables, grown into digital twins.

Importing this package loads nothing heavy: `hdt-fm --help` must answer at once.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "load"]

_LAZY = {"load": "hdt_fm.checkpoint"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'hdt_fm' has no attribute {name!r}")

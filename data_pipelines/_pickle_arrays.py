"""What a name in a pickle may stand for: functions of ours that build plain arrays, never numpy's own.

No import of `hdt_fm` here and in the other files of the worker: its process must be up at once.
"""

import math
import re
from collections.abc import Callable

import numpy as np

CORES = ("numpy.core.multiarray", "numpy._core.multiarray")
NUMERICS = ("numpy.core.numeric", "numpy._core.numeric")
TYPES = re.compile(r"b1|[iu][1248]|f[248]|c8|c16|[SU][1-9][0-9]{0,5}")
AGAIN = "copy or download the file again"
OTHERWISE = "ask its maker for arrays of numbers (.npz, .csv) instead"
DISTRUST = "do not trust this file; ask its maker for arrays (.npz, .csv) instead"


class RefusedError(Exception):
    """What is wrong, in words that may be shown: `problem`, and if known `expected`, `got`, `where`, `fix`."""

    def __init__(self, problem: str, **more: str) -> None:
        super().__init__(problem)
        self.said = {"problem": problem, **more}


def printable(text: str) -> str:
    return "".join(sign if " " <= sign <= "~" else "?" for sign in text[:80])


class Name:
    """What a name in the stream stands for: it can be called and handed on, and nothing else."""

    __slots__ = ("make",)
    make: Callable[..., object]

    def __init__(self, make: Callable[..., object]) -> None:
        object.__setattr__(self, "make", make)

    def __setattr__(self, name: str, value: object) -> None:
        raise RefusedError("The pickle tries to change a function", fix=DISTRUST)


class Type:
    """A numpy dtype while its state is on the way."""

    __slots__ = ("dtype",)

    def __init__(self, code: object, *_: object) -> None:
        if isinstance(code, bytes):
            code = code.decode("latin1")
        if not isinstance(code, str) or not TYPES.fullmatch(code):
            what = "an array of Python objects" if str(code)[:1] == "O" else "another type"
            raise RefusedError(
                "The pickle holds an array that is not of numbers or text",
                expected="plain arrays",
                got=what,
                fix=OTHERWISE,
            )
        self.dtype = np.dtype(code)

    def build(self, state: object) -> None:
        plain = isinstance(state, tuple) and len(state) >= 5 and not any(part is not None for part in state[2:5])
        order = state[1] if isinstance(state, tuple) and plain else None
        order = order.decode("latin1") if isinstance(order, bytes) else order
        if not isinstance(order, str) or order not in ("<", ">", "|", "="):
            raise RefusedError("The pickle holds an array with named fields", expected="plain arrays", fix=DISTRUST)
        self.dtype = self.dtype.newbyteorder(order)  # type: ignore[arg-type]


class Array:
    """A numpy array while its state is on the way."""

    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values: np.ndarray | None = None

    def build(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise _odd_array()
        shape, kind, fortran, raw = state[-4:]
        self.values = array(raw, kind, shape, "F" if fortran is True or fortran == 1 else "C")


def array(raw: object, kind: object, shape: object, order: object) -> np.ndarray:
    """A plain array from bytes, type and shape that all must agree."""
    if isinstance(raw, str):
        raw = raw.encode("latin1")
    if not isinstance(raw, bytes | bytearray) or not isinstance(kind, Type) or not isinstance(shape, tuple):
        raise _odd_array()
    if len(shape) > 8 or not all(type(size) is int and size >= 0 for size in shape) or order not in ("C", "F"):
        raise _odd_array()
    if math.prod(shape) * kind.dtype.itemsize != len(raw):
        raise RefusedError(
            "An array of the pickle is not as long as it says",
            expected=f"{len(raw)} bytes",
            got=f"a shape of {min(math.prod(shape) * kind.dtype.itemsize, 10**18)} bytes",
            fix=AGAIN,
        )
    values = np.frombuffer(bytes(raw), kind.dtype)
    return values.reshape(shape, order="F" if order == "F" else "C")


def scalar(kind: object, raw: object) -> object:
    return array(raw, kind, (1,), "C")[0]


def reconstruct(subtype: object, shape: object, code: object) -> Array:
    if subtype is not NDARRAY or shape != (0,) or code not in (b"b", "b"):
        raise RefusedError("The pickle asks for something else than a plain numpy array", fix=DISTRUST)
    return Array()


def encode(text: object, encoding: object) -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise RefusedError("The pickle asks for an encoding that no array needs", expected="latin1", fix=DISTRUST)
    return text.encode("latin1")


def no_bytes() -> bytes:
    """How protocols below 3 spell an empty byte string."""
    return b""


def _not_called(*_: object) -> object:
    raise RefusedError("The pickle makes an array in a way that numpy does not", fix=DISTRUST)


def _odd_array() -> RefusedError:
    return RefusedError("An array of the pickle is not as numpy writes it", fix=AGAIN)


NDARRAY = Name(_not_called)
NAMES: dict[tuple[str, str], Name] = {
    **{(module, "_reconstruct"): Name(reconstruct) for module in CORES},
    **{(module, "scalar"): Name(scalar) for module in CORES},
    **{(module, "_frombuffer"): Name(array) for module in NUMERICS},
    ("numpy", "ndarray"): NDARRAY,
    ("numpy", "dtype"): Name(Type),
    ("_codecs", "encode"): Name(encode),
    ("__builtin__", "bytes"): Name(no_bytes),
    ("builtins", "bytes"): Name(no_bytes),
}

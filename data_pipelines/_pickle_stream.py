"""Python's own pure unpickler with all taken away that could reach code.

An instruction that makes or changes objects of other people's classes is not in the table. A name is looked up in
`NAMES`. Only what stands there can be called, and only arrays and their types take a state.
"""

import pickle
from collections.abc import Callable
from typing import Any, BinaryIO

from data_pipelines._pickle_arrays import AGAIN, DISTRUST, NAMES, Array, Name, RefusedError, Type, printable

# What plain data and arrays need (protocols 0 to 5). Not among them: persistent ids, extension codes, instances of
# classes (INST, OBJ, NEWOBJ), buffers from outside.
_DATA = "MARK STOP POP POP_MARK DUP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT"
_TEXT = "STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8"
_BYTES = "BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8"
_HOLDERS = "LIST EMPTY_LIST APPEND APPENDS TUPLE EMPTY_TUPLE TUPLE1 TUPLE2 TUPLE3 DICT EMPTY_DICT SETITEM SETITEMS"
_REST = "GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE PROTO FRAME GLOBAL STACK_GLOBAL REDUCE BUILD"
INSTRUCTIONS = " ".join((_DATA, _TEXT, _BYTES, _HOLDERS, _REST)).split()


class Stream:
    """The file, which never gives more than it holds: a declared size alone makes no memory."""

    def __init__(self, handle: BinaryIO, size: int) -> None:
        self._handle, self._left = handle, size

    def read(self, count: int) -> bytes:
        if count > self._left:
            raise EOFError
        return self._kept(self._handle.read(count))

    def readline(self) -> bytes:
        return self._kept(self._handle.readline())

    def _kept(self, data: bytes) -> bytes:
        self._left -= len(data)
        return data


# The pure Python class, whose table of instructions can be cut; its type stubs do not know it.
_Pure: Any = vars(pickle)["_Unpickler"]


class Unpickler(_Pure):
    """Python's unpickler without all that could reach code."""

    dispatch: Any = {code: _Pure.dispatch[code] for code in (getattr(pickle, name)[0] for name in INSTRUCTIONS)}

    def __init__(self, stream: Stream, steps: int) -> None:
        super().__init__(stream, fix_imports=False, encoding="latin1")
        self._steps = steps
        self.dispatch = _Counted(self)

    def step(self) -> None:
        self._steps -= 1
        if self._steps < 0:
            raise RefusedError("The pickle holds too many small pieces", expected="arrays of numbers", fix=DISTRUST)

    def find_class(self, module: str, name: str) -> Name:
        found = NAMES.get((module, name))
        if found is None:
            raise RefusedError(
                "The pickle asks for something that is not plain data; nothing of it was run",
                expected="dictionaries, numbers, text and numpy arrays",
                got=printable(f"{module}.{name}"),
                fix=DISTRUST,
            )
        return found

    def load_reduce(self) -> None:
        arguments, called = self.stack.pop(), self.stack[-1]
        if not isinstance(called, Name) or not isinstance(arguments, tuple):
            raise RefusedError("The pickle calls something that cannot be called", fix=DISTRUST)
        self.stack[-1] = called.make(*arguments)

    def load_build(self) -> None:
        state, built = self.stack.pop(), self.stack[-1]
        if not isinstance(built, Array | Type):
            raise RefusedError("The pickle sets the state of something that has none", fix=DISTRUST)
        built.build(state)

    def load_stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if type(name) is not str or type(module) is not str:
            raise RefusedError("The pickle asks for something without a name", fix=DISTRUST)
        self.append(self.find_class(module, name))

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _put(self.stack[-1], [key, value])

    def load_setitems(self) -> None:
        items = self.pop_mark()  # what is below them is the top again only now
        _put(self.stack[-1], items)

    def load_dict(self) -> None:
        made: dict[Any, Any] = {}
        _put(made, self.pop_mark())
        self.append(made)

    def load_append(self) -> None:
        value = self.stack.pop()
        _extend(self.stack[-1], [value])

    def load_appends(self) -> None:
        items = self.pop_mark()
        _extend(self.stack[-1], items)

    def load_bytearray8(self) -> None:
        # Python's own makes room for the declared size before it looks whether the file has as much.
        self.append(self.read(int.from_bytes(self.read(8), "little")))

    for _name in ("reduce", "build", "stack_global", "setitem", "setitems", "dict", "append", "appends", "bytearray8"):
        dispatch[getattr(pickle, _name.upper())[0]] = locals()[f"load_{_name}"]


class _Counted:
    """The table of instructions, which counts what is taken from it."""

    def __init__(self, owner: Unpickler) -> None:
        self._owner, self._table = owner, type(owner).dispatch

    def __getitem__(self, code: int) -> Callable[[Any], None]:
        self._owner.step()
        if code in self._table:
            return self._table[code]
        known = {value: name for name, value in vars(pickle).items() if isinstance(value, bytes) and name.isupper()}
        if bytes([code]) in known:
            raise RefusedError(
                "The pickle holds an instruction that plain data does not need; nothing of it was run",
                got=known[bytes([code])],
                fix=DISTRUST,
            )
        raise RefusedError("The file is no pickle, or it is damaged", expected="a pickle of arrays", fix=AGAIN)


def _put(target: object, items: list[Any]) -> None:
    if type(target) is not dict or len(items) % 2:
        raise RefusedError("The pickle puts entries into something that is no dictionary", fix=DISTRUST)
    for key, value in zip(items[::2], items[1::2], strict=True):
        if type(key) not in (str, bytes, int):
            raise RefusedError("A name in the pickle is neither text nor a whole number", fix=DISTRUST)
        target[key] = value


def _extend(target: object, items: list[Any]) -> None:
    if type(target) is not list:
        raise RefusedError("The pickle puts entries into something that is no list", fix=DISTRUST)
    target.extend(items)

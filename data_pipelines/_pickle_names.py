"""Nested dictionaries -> arrays by name, with a price on each step: a few bytes can stand for endless data."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from data_pipelines._pickle_arrays import DISTRUST, OTHERWISE, Array, RefusedError, printable


def flat(found: object, limits: dict[str, int]) -> dict[str, np.ndarray]:
    """Names joined with "/" -> arrays; each step into the data is paid from the limits."""
    if type(found) is not dict:
        raise RefusedError(
            "The pickle holds no dictionary", expected="names with arrays", got=printable(_kind(found)), fix=OTHERWISE
        )
    left, arrays, visited = limits["array_bytes"], {}, 0
    for path, value in _walk(found, (), limits["depth"]):
        visited += 1
        if visited > limits["entries"]:
            raise RefusedError(
                "The pickle holds too many entries", expected=f"at most {limits['entries']}", fix=DISTRUST
            )
        if value is None:
            continue
        values = _array_of(value, path)
        left -= values.nbytes
        if left < 0:
            raise RefusedError(
                "The arrays of the pickle are too large",
                expected=f"at most {limits['array_bytes']} bytes in all",
                fix="split the file, or do not trust it",
            )
        name = "/".join(path)
        if name in arrays:
            raise RefusedError("Two entries of the pickle have one name", where=_place(path), fix="rename one of them")
        arrays[name] = values
    return arrays


def _walk(value: object, path: tuple[str, ...], depth: int) -> Iterator[tuple[tuple[str, ...], object]]:
    if depth < 0:
        raise RefusedError("The pickle is nested too deeply", expected="a few levels of dictionaries", fix=DISTRUST)
    if type(value) is dict:
        for key, inner in value.items():
            yield from _walk(inner, (*path, _word(key, path)), depth - 1)
        # An empty dictionary also costs a step: a bomb may hold nothing else.
        yield path, None
    elif type(value) in (list, tuple) and not _is_series(value):
        for number, inner in enumerate(value):  # type: ignore[arg-type]
            yield from _walk(inner, (*path, str(number)), depth - 1)
        yield path, None
    else:
        yield path, value


def _word(key: object, path: tuple[str, ...]) -> str:
    word = key.decode("latin1") if isinstance(key, bytes) else str(key)
    if not word or len(word) > 200 or "/" in word or not word.isprintable():
        raise RefusedError(
            "A name in the pickle cannot be used",
            expected="1 to 200 printable signs without '/'",
            where=f"a name below {_place(path)}",
            fix="rename it where the file was made",
        )
    return word


def _is_series(value: Any) -> bool:
    return all(_is_number(one) for one in value) or all(isinstance(one, str | bytes) for one in value)


def _is_number(value: object) -> bool:
    return isinstance(value, bool | int | float | np.bool_ | np.integer | np.floating | np.complexfloating)


def _array_of(value: Any, path: tuple[str, ...]) -> np.ndarray:
    if isinstance(value, Array):
        value = value.values
    if isinstance(value, bytes | str):
        return np.array(_text(value))
    if type(value) in (list, tuple):
        value = np.array([_text(one) if isinstance(one, bytes | str) else one for one in value])
    elif _is_number(value):
        value = np.array(value)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biufcSU":
        raise RefusedError(
            "An entry of the pickle is not plain data",
            expected="numbers, text, lists of them, or arrays",
            got=printable(_kind(value)),
            where=_place(path),
            fix=DISTRUST,
        )
    return np.asarray(value, value.dtype.newbyteorder("="))


def _text(value: bytes | str) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else value


def _kind(value: object) -> str:
    return "a number that is too large" if isinstance(value, np.ndarray | int) else f"a {type(value).__name__}"


def _place(path: tuple[str, ...]) -> str:
    """Names of signals may be told; whatever has a digit in it may be a person's."""
    return "/".join(part if re.fullmatch("[A-Za-z_]{1,32}", part) else "?" for part in path) or "the top"

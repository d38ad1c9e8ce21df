"""Triton's interpreter, without what it does over and over."""

import inspect

import triton.language as tl
from triton.runtime import interpreter


def wrap_once() -> None:
    """Let the interpreter wrap Triton's language once in this process, instead of anew in each call of a function.

    Only where all kernels are interpreted. Does nothing where this Triton is made otherwise: then tests are slower.
    """
    wrap = getattr(interpreter, "_patch_lang", None)
    nothing_to_undo = getattr(interpreter, "_LangPatchScope", None)
    if wrap is None or nothing_to_undo is None:
        return
    wrapped: set[frozenset[str]] = set()

    def once(function: object) -> object:
        names = function.__globals__.values()  # type: ignore[attr-defined]
        seen = frozenset(one.__name__ for one in names if inspect.ismodule(one) and one in (tl, tl.core))
        if seen not in wrapped:
            wrap(function)
            wrapped.add(seen)
        return nothing_to_undo()

    interpreter._patch_lang = once

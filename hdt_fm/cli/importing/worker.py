"""Reads one file of weights in a process that can do nothing else; `read.py` starts it.

The file is standard input; `tensors.safetensors` and `answer.json` in the working folder are the answer. torch reads
with weights_only=True or not at all, and no scanner is asked: one that finds nothing proves nothing.
"""

import contextlib
import ctypes
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save_file

from data_pipelines._pickle_worker import limit_resources

ANSWER, TENSORS = "answer.json", "tensors.safetensors"
ASK = "ask its author for model.safetensors, or for torch.save(model.state_dict(), FILE) and nothing else in it"
# Where people keep the weights beside an optimizer and the rest.
_PLACES = ("state_dict", "model_state_dict", "model", "module", "weights")
# What marks a resume file of ours; its weights are those of model and loss.
_OURS, _MODEL = "hdt_fm_run", "model."
_ACTS = ("open", "os.", "subprocess.", "socket.", "shutil.", "ctypes.", "exec", "compile", "import", "pty.", "urllib.")
_NEW_USER, _NEW_NET = 0x10000000, 0x40000000
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")


class RefusedError(Exception):
    """What is told of a file that is not read: the arguments of a CheckpointError."""

    def __init__(self, problem: str, **said: str) -> None:
        super().__init__(problem)
        self.said = {"problem": problem, **said}


def main() -> None:
    """Standard input -> tensors and what they were found in."""
    answer: dict[str, Any]
    data = sys.stdin.buffer.read()
    _leave_the_network()
    # What torch imports when it first reads is imported now: afterwards nothing may be opened.
    first = io.BytesIO()
    torch.save({"w": torch.zeros(1)}, first)
    torch.load(io.BytesIO(first.getvalue()), weights_only=True)
    limit_resources(json.loads(sys.argv[1]))
    lift = _seal()
    try:
        kind, tensors, others = _tensors(data)
        answer = {"kind": kind, "others": others}
    except RefusedError as error:
        answer, tensors = error.said, {}
    except (MemoryError, RecursionError):
        answer, tensors = {"problem": "The file needs more memory than its size allows", "fix": "do not trust it"}, {}
    finally:
        lift()
    if "kind" in answer:
        save_file(tensors, TENSORS)
    Path(ANSWER).write_text(json.dumps(answer))


def _leave_the_network() -> None:
    """A network of its own, in which there is none, where the system lets us; the seal stands in any case."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).unshare(_NEW_USER | _NEW_NET)


def _seal() -> Any:
    """From now on what acts on the outside is an error; returns what lifts that."""
    sealed = [True]

    def watch(event: str, _: tuple[object, ...]) -> None:
        if sealed[0] and event.startswith(_ACTS):
            raise RefusedError("The file tried to act on this machine; it was stopped", got=event, fix=ASK)

    sys.addaudithook(watch)
    return lambda: sealed.__setitem__(0, False)


def _tensors(data: bytes) -> tuple[str, dict[str, torch.Tensor], int]:
    """What kind of file it is, its tensors, and how many entries beside them were none."""
    if data[8:9] == b"{" and not data.startswith(b"PK"):
        try:
            return "safetensors", load_safetensors(data), 0
        except Exception as error:
            raise RefusedError(
                "The file is damaged or not safetensors", got=type(error).__name__, fix="copy it again"
            ) from None
    content = _unpickled(data)
    kind, state = "state_dict", content
    if isinstance(content, dict):
        place = next((name for name in _PLACES if isinstance(content.get(name), dict)), None)
        state = content[place] if place else content
        kind = "resume file of hdt_fm" if _OURS in content else f"state_dict under {place!r}" if place else kind
    if not isinstance(state, dict):
        raise RefusedError("The file holds no named weights", got=type(state).__name__, fix=ASK)
    found = {str(name): value for name, value in state.items() if isinstance(value, torch.Tensor)}
    if _OURS in (content if isinstance(content, dict) else ()):
        found = {name.removeprefix(_MODEL): value for name, value in found.items() if name.startswith(_MODEL)}
    if not found:
        raise RefusedError("The file holds no named weights", got=f"{len(state)} entries, no tensor", fix=ASK)
    odd = [name for name, value in found.items() if value.layout != torch.strided or value.is_quantized]
    if odd:
        raise RefusedError("The file holds tensors of another layout", got=odd[0], expected="dense tensors", fix=ASK)
    # Copies: weights that share memory are no safetensors.
    plain = {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in found.items()}
    return kind, plain, len(state) - len(found)


def _unpickled(data: bytes) -> Any:
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (RefusedError, MemoryError, RecursionError):
        raise
    except Exception as error:
        asked = _GLOBAL.search(str(error))
        if asked:
            raise RefusedError(
                "The pickle needs more than numbers, and to read it would be to run it",
                expected="tensors by name, which torch reads with weights_only=True",
                got=f"it names {asked[1]}",
                fix=ASK,
            ) from None
        raise RefusedError(
            "The file cannot be read without running what is in it, or it is damaged",
            expected="safetensors, or a state_dict that torch reads with weights_only=True",
            got=type(error).__name__,
            fix=ASK,
        ) from None


if __name__ == "__main__":
    main()

"""`hdt-fm import`: the one door for files of others. More of it in tests/cli/importing."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hdt_fm.cli.importing.read import apart
from hdt_fm.schema.errors import CheckpointError, HdtError

SURFACE = "hdt-fm import"

FILES: dict[str, tuple[Callable[[Path, object], object], type[Exception], str]] = {
    "a payload among the weights of a .pth": (
        lambda path, payload: torch.save({"state_dict": {"w": torch.zeros(2)}, "epoch": payload}, path),
        CheckpointError,
        "to read it would be to run it",
    ),
    "a whole module, pickled": (
        lambda path, payload: torch.save(torch.nn.Linear(2, 2), path),
        CheckpointError,
        "to read it would be to run it",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_is_refused(case: str, room: Path, payload: object) -> None:
    make, error, words = FILES[case]
    make(room / "theirs.pth", payload)
    with pytest.raises(error, match=words), apart(room / "theirs.pth"):
        pytest.fail("it was read")


GOT: dict[str, tuple[str, str]] = {}


def test_every_error_is_one_for_users() -> None:
    assert issubclass(CheckpointError, HdtError)

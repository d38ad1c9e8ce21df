"""Files that training goes on from: torch's zip, which holds a pickle, read with weights_only=True."""

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hdt_fm.schema.errors import CheckpointError
from hdt_fm.training.resume import find_checkpoint, path_of

SURFACE = "resume file (.ckpt)"


def _saved(content: Callable[[object], object]) -> Callable[[Path, object], object]:
    return lambda path, payload: torch.save(content(payload), path)


def _zip_bomb(path: Path, payload: object) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1 << 26))


FILES: dict[str, tuple[Callable[[Path, object], object], str]] = {
    "a payload among the weights": (
        _saved(lambda payload: {"global_step": 1, "state_dict": {"w": payload}}),
        "UnpicklingError",
    ),
    "a payload among the hyperparameters": (
        _saved(lambda payload: {"global_step": 1, "hyper_parameters": payload, "state_dict": {}}),
        "UnpicklingError",
    ),
    "a payload as the whole file": (lambda path, payload: path.write_bytes(pickle.dumps(payload)), "BadZipFile"),
    "torch's old form, without a zip": (
        lambda path, payload: torch.save({"w": payload}, path, _use_new_zipfile_serialization=False),
        "BadZipFile",
    ),
    "a zip bomb by the name of a resume file": (_zip_bomb, "Error"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_run_does_not_go_on_from_it(case: str, room: Path, payload: object) -> None:
    make, words = FILES[case]
    make(path_of(room, 1), payload)
    with pytest.raises(CheckpointError, match="cannot be read") as caught:
        find_checkpoint(room / "run", path_of(room, 1), say=print)
    assert words in str(caught.value)


GOT = {case: ("CheckpointError", f"cannot be read ({words})") for case, (_, words) in FILES.items()}

"""That the payload works, and what opens the door that we keep shut: a canary that cannot sing proves nothing."""

import contextlib
import pickle
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
import torch
import webdataset

ALL = ["a file", "a variable", "an attribute"]
# Not ours: what these do is why nobody here calls them.
CONTROLS = {
    "pickle.loads": lambda room, data: pickle.loads(data),
    "torch.load(weights_only=False)": lambda room, data: torch.load(BytesIO(data), weights_only=False),
    "webdataset's own decode()": lambda room, data: list(webdataset.WebDataset(str(_tar(room, data))).decode()),
}


def _tar(room: Path, data: bytes) -> Path:
    with tarfile.open(room / "shard-000000.tar", "w") as tar:
        info = tarfile.TarInfo("b000000.extra.pth")
        info.size = len(data)
        tar.addfile(info, BytesIO(data))
    return room / "shard-000000.tar"


@pytest.mark.parametrize("name", CONTROLS)
def test_the_payload_runs_where_it_may(
    name: str, room: Path, payload: object, fires: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webdataset.utils, "enforce_security", False)
    data = BytesIO()
    torch.save(payload, data) if "torch" in name else data.write(pickle.dumps(payload))
    with contextlib.suppress(Exception):  # a wrong value comes of it, after it ran
        CONTROLS[name](room, data.getvalue())
    assert fires() == ALL

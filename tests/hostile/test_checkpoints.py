"""Checkpoint folders whose maker is not to be trusted; their sums agree, so that what lies behind is met."""

import hashlib
import json
import os
import pickle
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import hdt_fm
from hdt_fm.schema.errors import CheckpointError, ConfigError, HdtError, UnknownNameError

SURFACE = "checkpoint folder"
WEIGHTS, CONFIG, PREPROCESS, STORED = (
    "model.safetensors",
    "config.json",
    "preprocess.json",
    "stored_embedding.safetensors",
)
FILES = (WEIGHTS, CONFIG, PREPROCESS, STORED)
Change = Callable[[Path, object], object]


def resum(folder: Path) -> None:
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in sorted(FILES)]
    (folder / "SHA256SUMS").write_text("".join(lines))


def config(**changes: object) -> Change:
    """Other values in config.json; two underscores in a name go into what stands there."""

    def edit(folder: Path, payload: object) -> None:
        record = json.loads((folder / CONFIG).read_text())
        for key, value in changes.items():
            *way, last = key.split("__")
            place = record
            for step in way:
                place = place[step]
            place[last] = value
        (folder / CONFIG).write_text(json.dumps(record))

    return edit


def raw(name: str, make: Callable[[bytes, object], bytes]) -> Change:
    return lambda folder, payload: (folder / name).write_bytes(make((folder / name).read_bytes(), payload))


def weights(change: Callable[[dict], object], name: str = WEIGHTS) -> Change:
    def edit(folder: Path, payload: object) -> None:
        tensors = load_file(folder / name)
        change(tensors)
        save_file(tensors, folder / name)

    return edit


def _first(tensors: dict) -> str:
    return next(name for name in sorted(tensors) if name.startswith("encoder."))


def _nudge(tensors: dict) -> None:
    name = next(name for name in sorted(tensors) if name.startswith("encoder.") and name.endswith("leave.weight"))
    tensors[name] = tensors[name] * 1.001


def _reshape(tensors: dict) -> None:
    tensors[_first(tensors)] = torch.zeros(*tensors[_first(tensors)].shape, 2)


def _halve(tensors: dict) -> None:
    tensors[_first(tensors)] = tensors[_first(tensors)].half()


def _alias(data: bytes, payload: object) -> bytes:
    """Two names on the same bytes."""
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    one, two = sorted(name for name in header if name != "__metadata__")[:2]
    header[two] = header[one]
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


def _pickle_instead(folder: Path, payload: object) -> None:
    (folder / WEIGHTS).unlink()
    torch.save({"state_dict": payload}, folder / "pytorch_model.bin")


def _resume_file_instead(folder: Path, payload: object) -> None:
    (folder / WEIGHTS).unlink()
    torch.save({"state_dict": payload}, folder / "last.ckpt")


def _link(folder: Path, payload: object) -> None:
    outside = folder.parent / "elsewhere.safetensors"
    (folder / WEIGHTS).rename(outside)
    (folder / WEIGHTS).symlink_to(outside)


def _deep(data: bytes, payload: object) -> bytes:
    record = json.loads(data)
    record["encoder"]["args"]["dropout"] = 1
    return json.dumps(record).replace('"dropout": 1', '"dropout": ' + '{"a": ' * 5000 + "1" + "}" * 5000).encode()


SPOILT: dict[str, tuple[Change, type[Exception], str]] = {
    "a pickle by the name model.safetensors": (
        raw(WEIGHTS, lambda data, payload: pickle.dumps(payload)),
        CheckpointError,
        "damaged or not safetensors",
    ),
    "a pickle in place of the weights (.bin)": (_pickle_instead, CheckpointError, "a pickle, which may run code"),
    "a resume file in place of the weights (.ckpt)": (
        _resume_file_instead,
        CheckpointError,
        "a pickle, which may run code",
    ),
    "a pickle by the name config.json": (
        raw(CONFIG, lambda data, payload: pickle.dumps(payload)),
        CheckpointError,
        "not a JSON object",
    ),
    "a pickle by the name stored_embedding.safetensors": (
        raw(STORED, lambda data, payload: pickle.dumps(payload)),
        CheckpointError,
        "stored embedding cannot be checked",
    ),
    "weights changed by a thousandth": (weights(_nudge), CheckpointError, "does not reproduce its stored embedding"),
    "a stored embedding that was changed": (
        weights(lambda t: t["embeddings"].mul_(1.001), STORED),
        CheckpointError,
        "does not reproduce its stored embedding",
    ),
    "a stored embedding of NaN": (
        weights(lambda t: t["embeddings"].fill_(torch.nan), STORED),
        CheckpointError,
        "does not reproduce its stored embedding",
    ),
    "a stored input of another length": (
        weights(lambda t: t.update({"input.acc.values": torch.zeros(3, 3, 5)}), STORED),
        CheckpointError,
        "stored embedding cannot be checked",
    ),
    "a header that says it has 100 MB": (
        raw(WEIGHTS, lambda data, payload: struct.pack("<Q", 100 << 20) + data[8:]),
        CheckpointError,
        "damaged or not safetensors",
    ),
    "a header that says it has 2^63 bytes": (
        raw(WEIGHTS, lambda data, payload: struct.pack("<Q", 1 << 63) + data[8:]),
        CheckpointError,
        "damaged or not safetensors",
    ),
    "two names on one tensor": (raw(WEIGHTS, _alias), CheckpointError, "damaged or not safetensors"),
    "a tensor of another shape": (weights(_reshape), CheckpointError, "of another shape or type"),
    "a tensor of another type": (weights(_halve), CheckpointError, "of another shape or type"),
    "a tensor too many": (
        weights(lambda t: t.update(backdoor=torch.zeros(2))),
        CheckpointError,
        "not of this model: backdoor",
    ),
    "a tensor too few": (weights(lambda t: t.pop(_first(t))), CheckpointError, "1 missing"),
    "an encoder named os.system": (config(encoder__name="os.system"), UnknownNameError, "Unknown encoders part"),
    "an encoder named torch.load": (config(encoder__name="torch.load"), UnknownNameError, "Unknown encoders part"),
    "an encoder named ../evil": (config(encoder__name="../evil"), UnknownNameError, "Unknown encoders part"),
    "an encoder named _private": (config(encoder__name="__init__"), UnknownNameError, "Unknown encoders part"),
    "`_target_: torch.load` as an argument": (
        config(encoder__args___target_="torch.load"),
        ConfigError,
        "Unknown setting '_target_'",
    ),
    "`_target_: os.system` as a section": (
        config(trainer={"_target_": "os.system"}),
        CheckpointError,
        "does not fit its contract",
    ),
    "an encoder 10^9 wide": (config(encoder__args__width=10**9), CheckpointError, "more than its weights can be"),
    "an encoder 10^7 deep": (config(encoder__args__depth=10**7), CheckpointError, "more than its weights can be"),
    "a width of 10^400": (config(encoder__args__width=10**400), CheckpointError, "cannot be built from its config"),
    "windows of 10^12 samples": (
        lambda folder, payload: _samples(folder, 10**12),
        CheckpointError,
        "more than its weights can be",
    ),
    "settings nested 5,000 deep": (raw(CONFIG, _deep), CheckpointError, "not a JSON object"),
    "settings nested 100 deep": (
        config(per_modality__eda__patch_s=json.loads("[" * 100 + "]" * 100)),
        CheckpointError,
        "more than its weights can be",
    ),
    "a scale of NaN": (
        config(statistics__acc=[0.0, float("nan")]),
        CheckpointError,
        "does not reproduce its stored embedding",
    ),
    "a window of NaN seconds": (config(window_s=float("nan")), CheckpointError, "does not fit its contract"),
    "a later version": (config(version=99), CheckpointError, "written by a later hdt_fm"),
    "a file that is a link out of the folder": (_link, CheckpointError, "a link to somewhere else"),
}


def _samples(folder: Path, samples: int) -> None:
    record = json.loads((folder / CONFIG).read_text())
    record["modalities"][0]["samples"] = samples
    (folder / CONFIG).write_text(json.dumps(record))


@pytest.mark.parametrize("case", SPOILT)
def test_a_folder_is_refused(case: str, checkpoint: Path, payload: object) -> None:
    change, error, words = SPOILT[case]
    change(checkpoint, payload)
    if all((checkpoint / name).is_file() for name in FILES):
        resum(checkpoint)
    began = time.process_time()
    with pytest.raises(error, match=words):
        hdt_fm.load(checkpoint)
    # What is refused is refused before it was worked on.
    assert time.process_time() - began < 5


SUMS = {
    "SHA256SUMS with a path ../../evil": ("0" * 64 + "  ../../evil\n", "not a digest and a plain name"),
    "SHA256SUMS with a path /etc/passwd": ("0" * 64 + "  /etc/passwd\n", "not a digest and a plain name"),
    "SHA256SUMS of 2 MB": ("0" * (2 << 20), "far too large"),
}


@pytest.mark.parametrize("case", SUMS)
def test_sums_that_point_elsewhere(case: str, checkpoint: Path) -> None:
    lines, words = SUMS[case]
    with (checkpoint / "SHA256SUMS").open("a") as file:
        file.write(lines)
    with pytest.raises(CheckpointError, match=words):
        hdt_fm.load(checkpoint)


@pytest.mark.parametrize("name", FILES)
def test_a_byte_changed_under_its_sums(name: str, checkpoint: Path) -> None:
    data = bytearray((checkpoint / name).read_bytes())
    data[len(data) // 2] ^= 1
    (checkpoint / name).write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match=f"SHA256SUMS does not match {name}"):
        hdt_fm.load(checkpoint)


def test_a_pipe_in_place_of_the_weights_does_not_hang(checkpoint: Path) -> None:
    (checkpoint / WEIGHTS).unlink()
    os.mkfifo(checkpoint / WEIGHTS)
    with pytest.raises(CheckpointError, match=r"has no model\.safetensors"):
        hdt_fm.load(checkpoint)


def test_code_beside_a_good_checkpoint_is_not_looked_at(checkpoint: Path, payload: object) -> None:
    """As a repository on a hub may bring it: files outside of the list are neither read nor imported."""
    (checkpoint / "__init__.py").write_text("raise SystemExit('imported')")
    (checkpoint / "patch_transformer.py").write_text("raise SystemExit('imported')")
    (checkpoint / "modeling_evil.py").write_text("raise SystemExit('imported')")
    (checkpoint / "pytorch_model.bin").write_bytes(pickle.dumps(payload))
    (checkpoint / "tokenizer.pkl").write_bytes(pickle.dumps(payload))
    assert hdt_fm.load(checkpoint).loaded.share == 1.0


def test_links_of_the_hub_s_cache_are_followed(checkpoint: Path, room: Path) -> None:
    """Its snapshots are links to blobs beside them; to anywhere else they are refused."""
    home = room / "models--lab--model"
    (home / "snapshots").mkdir(parents=True)
    (home / "blobs").mkdir()
    snapshot = checkpoint.rename(home / "snapshots" / "main")
    for number, name in enumerate(FILES):
        (snapshot / name).rename(home / "blobs" / str(number))
        (snapshot / name).symlink_to(Path("../../blobs") / str(number))
    assert hdt_fm.load(snapshot).loaded.share == 1.0
    (home / "blobs" / "0").rename(room / "elsewhere")
    (snapshot / WEIGHTS).unlink()
    (snapshot / WEIGHTS).symlink_to(room / "elsewhere")
    with pytest.raises(CheckpointError, match="a link to somewhere else"):
        hdt_fm.load(snapshot)


GOT = {
    **{case: ("CheckpointError", words) for case, (_, words) in SUMS.items()},
    "a byte changed in any of the four files": ("CheckpointError", "SHA256SUMS does not match <file>"),
    "a named pipe in place of the weights": ("CheckpointError", "has no model.safetensors"),
    "code and pickles beside a good checkpoint (modeling_evil.py, pytorch_model.bin)": (
        "(none)",
        "not looked at; the model loads",
    ),
}


def test_every_error_is_one_for_users() -> None:
    assert all(issubclass(error, HdtError) for _, error, _ in SPOILT.values())

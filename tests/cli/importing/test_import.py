"""Files of weights become checkpoints, whole and recorded, or are refused with the share that fitted."""

import io
import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import hdt_fm
from data_pipelines import isolated
from hdt_fm.checkpoint import build_model, model_digest, save_model
from hdt_fm.cli.importing import read, worker
from hdt_fm.cli.importing.convert import renamed
from hdt_fm.cli.main import EXIT_OK, EXIT_USER_ERROR, main
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.manifest import ModelConfig, Part, Preprocess
from hdt_fm.schema.preparation import ModalityPreparation, Preparation
from hdt_fm.schema.shard import ModalityColumn
from hdt_fm.training.resume import SETTINGS_KEY

COLUMN = ModalityColumn(name="eda", unit="uS", channels=1, sampling_rate_hz=4, samples=16, encoding="f32")


def config(*, heads: bool = True) -> ModelConfig:
    return ModelConfig(
        modalities=(COLUMN,),
        encoder=Part(name="patch_transformer", args={"width": 8, "depth": 1, "heads": 2, "patch_s": 2.0}),
        projection=Part(name="projection", args={"dim": 3}),
        heads={"second": Part(name="projection", args={"modalities": 1, "width": 8, "dim": 5})} if heads else {},
        statistics={"eda": (2.0, 1.5)},
        window_s=4.0,
    )


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder that says what weights are to become."""
    prepared = {"eda": ModalityPreparation(sampling_rate_hz=4)}
    preprocess = Preprocess(preparation=Preparation(window_s=4, hop_s=2, modalities=prepared), modalities=(COLUMN,))
    folder = tmp_path_factory.mktemp("theirs") / "checkpoint"
    save_model(build_model(config(), seed=1), folder, preprocess=preprocess)
    return folder


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in build_model(config(), seed=7).state_dict().items()}


def imported(capsys: pytest.CaptureFixture[str], source: Path, folder: Path, *more: str) -> dict:
    assert main(["import", str(source), "--to", str(folder), *more, "--json"]) == EXIT_OK
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["import", *words]) == EXIT_USER_ERROR
    return capsys.readouterr().err


def test_a_state_dict_comes_back_bit_for_bit_and_says_where_from(theirs, weights, tmp_path, capsys) -> None:
    torch.save(weights, tmp_path / "a.pth")
    told = imported(capsys, tmp_path / "a.pth", tmp_path / "model", f"model={theirs}", "as=theirs")
    model = hdt_fm.load(tmp_path / "model")
    assert model_digest(model) == model_digest(build_model(config(), seed=7))
    assert (told["matched"], told["total"], told["fresh"]) == (len(weights), len(weights), [])
    record = json.loads((tmp_path / "model" / "imported.json").read_text())
    assert record["source"] == "a.pth"
    assert len(record["source_sha256"]) == 64
    assert record["name"] == "theirs"
    # What it says is under the sums of the folder.
    (tmp_path / "model" / "imported.json").write_text("{}")
    with pytest.raises(hdt_fm.schema.errors.CheckpointError, match=r"does not match imported\.json"):
        hdt_fm.load(tmp_path / "model")


def test_names_by_a_table_half_precision_widened_and_the_rest_left_out(theirs, weights, tmp_path, capsys) -> None:
    foreign = {name.replace("encoder.encoders.eda.", "backbone."): value for name, value in weights.items()}
    foreign = {name: value.half() if value.is_floating_point() else value for name, value in foreign.items()}
    foreign["classifier.weight"] = torch.zeros(3)
    torch.save({"epoch": 3, "state_dict": foreign}, tmp_path / "a.pt")
    table = {"rename": {"backbone.": "encoder.encoders.eda.", "classifier.weight": None}}
    (tmp_path / "names.yaml").write_text(yaml.safe_dump(table))
    more = (f"model={theirs}", f"rename={tmp_path / 'names.yaml'}")
    told = imported(capsys, tmp_path / "a.pt", tmp_path / "model", *more)
    assert told["kind"] == "state_dict under 'state_dict'"
    assert told["left_out"] == 1
    assert told["widened"] == sum(value.is_floating_point() for value in weights.values())
    model = hdt_fm.load(tmp_path / "model")
    name = next(name for name in weights if name.startswith("encoder.encoders.eda.") and weights[name].ndim == 2)
    assert torch.equal(model.state_dict()[name], weights[name].half().float())


def test_a_resume_file_of_ours_gives_its_model(theirs, weights, tmp_path, capsys) -> None:
    state = {f"model.{name}": value for name, value in weights.items()} | {"loss.log_logit_scale": torch.zeros(())}
    torch.save({"global_step": 5, SETTINGS_KEY: {"seed": 0}, "state_dict": state}, tmp_path / "step-00000005.ckpt")
    told = imported(capsys, tmp_path / "step-00000005.ckpt", tmp_path / "model", f"model={theirs}")
    assert told["kind"] == "resume file of hdt_fm"
    assert model_digest(hdt_fm.load(tmp_path / "model")) == model_digest(build_model(config(), seed=7))


def test_an_older_folder_is_written_anew(theirs, tmp_path, capsys) -> None:
    imported(capsys, theirs, tmp_path / "model")
    assert model_digest(hdt_fm.load(tmp_path / "model")) == model_digest(hdt_fm.load(theirs))


def test_an_older_folder_whose_weights_were_changed_is_not_blessed(theirs, tmp_path, capsys) -> None:
    old = Path(shutil.copytree(theirs, tmp_path / "old"))
    (old / "SHA256SUMS").unlink()
    weights = load_file(old / "model.safetensors")
    name = next(name for name in sorted(weights) if name.endswith("leave.weight"))
    save_file(weights | {name: weights[name] * 1.01}, old / "model.safetensors")
    assert "does not reproduce its stored embedding" in refused(capsys, str(old), "--to", str(tmp_path / "model"))
    assert not (tmp_path / "model").exists()


def test_less_than_all_is_refused_unless_told_which_parts_are_fresh(theirs, weights, tmp_path, capsys) -> None:
    body = {name: value for name, value in weights.items() if not name.startswith("heads.")}
    save_file(body, tmp_path / "a.safetensors")
    asked = (str(tmp_path / "a.safetensors"), "--to", str(tmp_path / "model"), f"model={theirs}")
    told = refused(capsys, *asked)
    assert f"{len(body)} of {len(weights)} tensors ({100 * len(body) // len(weights)} %) matched" in told
    assert "missing: heads.second" in told
    assert not (tmp_path / "model").exists()
    told = imported(capsys, tmp_path / "a.safetensors", tmp_path / "model", f"model={theirs}", "fresh=heads")
    assert all(name.startswith("heads.") for name in told["fresh"])
    assert hdt_fm.load(tmp_path / "model").loaded.share == 1.0


def test_shapes_that_differ_are_told(theirs, weights, tmp_path, capsys) -> None:
    name = next(name for name in weights if weights[name].ndim == 2)
    weights[name] = weights[name][:, :1].clone()
    torch.save(weights, tmp_path / "a.pth")
    told = refused(capsys, str(tmp_path / "a.pth"), "--to", str(tmp_path / "model"), f"model={theirs}")
    assert "1 of another shape or type" in told
    assert name in told


class _Bomb:
    def __reduce__(self) -> tuple:
        return Path.touch, (Path("exploded"),)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path, weights: torch.save({"w": _Bomb()}, path), "to read it would be to run it"),
        (lambda path, weights: path.write_bytes(b""), "no file of weights"),
        (lambda path, weights: torch.save(_with_nan(weights), path), "are no numbers"),
    ],
)
def test_what_is_no_file_of_weights(make, words, theirs, weights, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "a.bin", weights)
    told = refused(capsys, "a.bin", "--to", "model", f"model={theirs}")
    assert words in told
    assert "Traceback" not in told
    assert not Path("exploded").exists()
    assert not Path("model").exists()


def _saved(content: object) -> bytes:
    out = io.BytesIO()
    torch.save(content, out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (_saved({"w": _Bomb()}), "to read it would be to run it"),
        (_saved(torch.nn.Linear(2, 2)), "to read it would be to run it"),
        (pickle.dumps(_Bomb()), "without running what is in it"),
        (_saved([1, 2]), "holds no named weights"),
        (_saved({"a": 1}), "holds no named weights"),
        (_saved({"a": torch.eye(2).to_sparse()}), "another layout"),
        (b"\x10" + bytes(7) + b"{" + bytes(50), "damaged or not safetensors"),
        (b"PK\x03\x04" + bytes(50), "cannot be read without running"),
    ],
)
def test_what_the_process_refuses(data: bytes, words: str, tmp_path, monkeypatch) -> None:
    """As its function, in this process: a new one takes seconds to begin."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(worker.RefusedError) as caught:
        worker._tensors(data)
    assert words in caught.value.said["problem"]
    assert not Path("exploded").exists()


def _with_nan(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    name = next(iter(sorted(weights)))
    return weights | {name: torch.full_like(weights[name], torch.nan)}


def test_what_is_asked_wrongly_is_told(theirs, tmp_path, capsys) -> None:
    (tmp_path / "a.pth").write_bytes(b"x")
    here, to = str(tmp_path / "a.pth"), ("--to", str(tmp_path / "model"))
    assert "no --to" in refused(capsys, here)
    assert "not said what the weights are to become" in refused(capsys, here, *to)
    assert "Unknown setting 'modal'" in refused(capsys, here, *to, f"modal={theirs}", f"model={theirs}")
    (tmp_path / "names.yaml").write_text("rename: !!python/object/apply:os.system ['true']\n")
    told = refused(capsys, here, *to, f"model={theirs}", f"rename={tmp_path / 'names.yaml'}")
    assert "table of names cannot be read" in told
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "a.txt").write_text("years")
    told = refused(capsys, here, "--to", str(tmp_path / "thesis"), f"model={theirs}")
    assert "would replace something that is not one" in told
    assert main(["import", "--help"]) == EXIT_OK
    assert "usage: hdt-fm import" in capsys.readouterr().out


def test_a_table_is_taken_by_the_longest_line_and_refuses_what_it_cannot_mean() -> None:
    one, two, three = (torch.full((1,), float(value)) for value in (1, 2, 3))
    found, left_out = renamed({"a.b.c": one, "a.d": two, "e": three}, {"a.": "x.", "a.b.": "y.", "e": None})
    assert found == {"y.c": one, "x.d": two}
    assert left_out == 1
    with pytest.raises(ConfigError, match="Two tensors would have one name"):
        renamed({"a.w": one, "b.w": two}, {"a.": "x.", "b.": "x."})
    with pytest.raises(ConfigError, match="fits no tensor"):
        renamed({"a.w": one}, {"z.": "x."})


def test_weights_are_read_by_a_process_without_network_or_files(theirs, tmp_path, monkeypatch) -> None:
    """The seal is of the process, whatever torch's own reader lets through."""
    # A reader with a hole: it runs what the file says.
    hole = isolated.START.replace(
        "main()",
        "import hdt_fm.cli.importing.worker as w, io, torch\n"
        "w._unpickled = lambda data: torch.load(io.BytesIO(data), weights_only=False)\nmain()",
    )
    monkeypatch.setattr(isolated, "START", hole)
    torch.save({"w": _Bomb()}, tmp_path / "a.pth")
    monkeypatch.chdir(tmp_path)
    with (
        pytest.raises(hdt_fm.schema.errors.CheckpointError, match="tried to act on this machine"),
        read.apart(tmp_path / "a.pth"),
    ):
        pass
    assert not list(tmp_path.rglob("exploded"))


def test_the_file_that_was_read_is_left_as_it_was(theirs, weights, tmp_path, capsys) -> None:
    save_file(weights, tmp_path / "a.safetensors")
    before = (tmp_path / "a.safetensors").read_bytes()
    imported(capsys, tmp_path / "a.safetensors", tmp_path / "model", f"model={theirs}")
    assert (tmp_path / "a.safetensors").read_bytes() == before
    assert load_file(tmp_path / "model" / "model.safetensors").keys() == weights.keys()

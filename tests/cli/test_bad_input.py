"""Bad input through the command line: status 2, a message that says what to do, nothing half-written."""

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from hdt_fm.cli.compose import compose_config
from hdt_fm.cli.evaluate import check_label
from hdt_fm.cli.main import EXIT_OK, EXIT_USER_ERROR, main
from hdt_fm.cli.settings import ProtocolSettings
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.shard import LabelColumn

TINY = ["debug=tiny", "split.validation=0", "name=bad"]
WRIST = ["cohort=folder", "preparation=wrist_60s", "cohort.subject_key=public"]


def e4_zip(path: Path, *, seconds: int = 130, start: int = 1_700_000_000, seed: int = 0, temp: float = 33.0) -> Path:
    """A small E4 session; `temp` is the level that TEMP.csv holds."""
    generator = np.random.default_rng(seed)
    files = {
        "BVP.csv": (64, generator.normal(0, 40, (64 * seconds, 1)), "%.2f"),
        "ACC.csv": (32, generator.integers(-60, 60, (32 * seconds, 3)), "%d"),
        "EDA.csv": (4, generator.uniform(0.5, 2, (4 * seconds, 1)), "%.6f"),
        "TEMP.csv": (4, generator.uniform(temp, temp + 1, (4 * seconds, 1)), "%.2f"),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, (rate, values, form) in files.items():
            text = io.StringIO()
            head = [", ".join([f"{x:.6f}"] * values.shape[1]) for x in (start, rate)]
            text.write("\n".join(head) + "\n")
            np.savetxt(text, values, fmt=form, delimiter=",")
            archive.writestr(name, text.getvalue())
    return path


def people(folder: Path, count: int = 3) -> Path:
    for number in range(count):
        e4_zip(folder / f"P{number:02d}.zip", seed=number)
    return folder


def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run `shard`, expect a refusal, return its text; no shard folder may be left."""
    root = tmp_path / "run"
    assert main(["shard", *TINY, *WRIST, f"root={root}", *arguments]) == EXIT_USER_ERROR
    text = capsys.readouterr().err
    assert "Traceback" not in text
    left = [
        path
        for path in root.rglob("*")
        if path.is_file() and path.name not in ("config.yaml", "report.json", "cost.json")
    ]
    assert not left, left
    return text


def test_good_input_passes_so_that_the_refusals_mean_something(tmp_path: Path) -> None:
    source = people(tmp_path / "in")
    assert main(["shard", *TINY, *WRIST, f"root={tmp_path}/run", f"source={source}"]) == EXIT_OK


def test_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "what to do" in refused(tmp_path, capsys, f"source={tmp_path}/nowhere")


def test_an_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    text = refused(tmp_path, capsys, f"source={tmp_path}/in")
    assert "no recording" in text.lower() or "empty" in text.lower()


def test_a_truncated_zip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = people(tmp_path / "in")
    whole = (source / "P01.zip").read_bytes()
    (source / "P01.zip").write_bytes(whole[: len(whole) // 2])
    text = refused(tmp_path, capsys, f"source={source}")
    assert "zip" in text.lower()
    assert "P01" not in text, "a file may be named after a person"


def test_a_wrong_unit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = people(tmp_path / "in", 2)
    e4_zip(source / "P09.zip", seed=9, temp=306.0)
    text = refused(tmp_path, capsys, f"source={source}")
    assert "temp" in text
    assert "kelvin" in text


def test_an_unknown_modality(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = people(tmp_path / "in")
    text = refused(tmp_path, capsys, f"source={source}", "+preparation.modalities.ppgg={sampling_rate_hz: 32}")
    assert "ppg" in text


def test_a_modality_that_is_no_word_of_ours_in_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "in" / "A"
    folder.mkdir(parents=True)
    (folder / "walk.csv").write_text("t,x\n0,1\n1,2\n2,3\n")
    (folder / "walk.yaml").write_text(
        "time: {column: t, unit: s}\ndevice: d\nbody_site: chest\nsignals: {eccg: {columns: [x], unit: mV}}\n"
    )
    text = refused(tmp_path, capsys, f"source={tmp_path}/in")
    assert "did you mean 'ecg'?" in text


def test_two_people_under_one_id(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "in"
    e4_zip(source / "P01_morning.zip", seed=1)
    e4_zip(source / "P01_evening.zip", seed=2, start=1_700_000_030)
    e4_zip(source / "P02.zip", seed=3)
    text = refused(tmp_path, capsys, f"source={source}")
    assert "overlap" in text.lower() or "same time" in text.lower()


def test_one_person_under_two_ids(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = people(tmp_path / "in")
    shutil.copy(source / "P00.zip", source / "P07.zip")
    assert "two" in refused(tmp_path, capsys, f"source={source}").lower()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("trained") / "run"
    source = people(tmp_path_factory.mktemp("people"), 4)
    for verb in ("shard", "pretrain"):
        assert main([verb, *TINY, *WRIST, f"root={root}", f"source={source}"]) == EXIT_OK
    return root


def test_a_flipped_byte_in_a_shard(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "run"
    shutil.copytree(trained, root)
    tar = next((root / "shard" / "windows").rglob("*.tar"))
    data = bytearray(tar.read_bytes())
    data[len(data) // 2] ^= 1
    tar.write_bytes(bytes(data))
    assert main(["embed", *TINY, *WRIST, f"root={root}", "source=unused"]) == EXIT_USER_ERROR
    text = capsys.readouterr().err
    assert tar.name in text
    assert not (root / "embed" / "table").exists()


def test_a_checkpoint_with_a_missing_tensor(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "run"
    shutil.copytree(trained, root)
    folder = root / "pretrain" / "checkpoint"
    tensors = load_file(folder / "model.safetensors")
    gone = sorted(tensors)[0]
    save_file({name: value for name, value in tensors.items() if name != gone}, folder / "model.safetensors")
    assert main(["embed", *TINY, *WRIST, f"root={root}", "source=unused"]) == EXIT_USER_ERROR
    assert "SHA256SUMS" in capsys.readouterr().err
    (folder / "SHA256SUMS").unlink()
    assert main(["embed", *TINY, *WRIST, f"root={root}", "source=unused"]) == EXIT_USER_ERROR
    text = capsys.readouterr().err
    assert gone in text
    assert "%" in text, "the share of tensors that matched"
    assert not (root / "embed" / "table").exists()


@pytest.mark.parametrize(
    ("values", "words"),
    [([1.0, np.nan, 1.0], ["fewer than two classes", "walking", "shorter windows"]), ([np.nan] * 3, ["no window"])],
)
def test_a_label_that_tells_nothing_is_refused_before_anything_is_trained(values, words) -> None:
    columns = (LabelColumn(name="activity", kind="class", classes=("seated", "walking")),)
    protocol = compose_config("evaluate", ["protocol.label=activity"]).section("protocol", ProtocolSettings)
    with pytest.raises(ConfigError) as error:
        check_label(protocol, columns, {"activity": np.array(values)})
    assert all(word in str(error.value) for word in words), str(error.value)
    check_label(protocol, columns, {"activity": np.array([0.0, 1.0, np.nan])})
    other = compose_config("evaluate", ["protocol.label=stress"]).section("protocol", ProtocolSettings)
    with pytest.raises(ConfigError, match="no label 'stress'"):
        check_label(other, columns, {"activity": np.array([0.0, 1.0])})

"""Which checkpoint a run goes on from, and what is said when there is none."""

import pickle
from pathlib import Path

import pytest
import torch

from hdt_fm.schema.errors import CheckpointError, ConfigError
from hdt_fm.training.resume import SETTINGS_KEY, check_settings, checkpoints, damage, find_checkpoint, path_of


def _write(folder: Path, step: int, **settings: object) -> Path:
    folder.mkdir(exist_ok=True)
    content = {"global_step": step, SETTINGS_KEY: settings, "state_dict": {"w": torch.arange(999.0)}}
    torch.save(content, path_of(folder, step))
    return path_of(folder, step)


def test_newest_by_step_and_other_files_are_ignored(tmp_path: Path) -> None:
    for step in (5, 100, 20):
        _write(tmp_path, step)
    (tmp_path / ".step-00000200.ckpt.tmp").write_bytes(b"half")
    (tmp_path / "step-9.ckpt").write_bytes(b"not ours")
    assert [path.name for path in checkpoints(tmp_path)] == [f"step-{step:08d}.ckpt" for step in (100, 20, 5)]
    assert find_checkpoint(tmp_path, "auto", say=print) == path_of(tmp_path, 100)


def test_nothing_there_starts_anew(tmp_path: Path) -> None:
    assert find_checkpoint(tmp_path / "none", "auto", say=print) is None
    assert find_checkpoint(tmp_path / "none", "never", say=print) is None


@pytest.mark.parametrize("cut", [0, 1, 100, 2000])
def test_a_cut_file_is_passed_over(tmp_path: Path, cut: int) -> None:
    older, newer = _write(tmp_path, 1), _write(tmp_path, 2)
    data, lines = newer.read_bytes(), []
    newer.write_bytes(data[:cut] if cut < 2 else data[:-cut])
    assert find_checkpoint(tmp_path, "auto", say=lines.append) == older
    assert len(lines) == 1
    assert newer.name in lines[0]


def test_a_flipped_bit_in_a_weight_is_seen(tmp_path: Path) -> None:
    path = _write(tmp_path, 1)
    data = bytearray(path.read_bytes())
    data[data.index(torch.tensor(500.0).numpy().tobytes() + torch.tensor(501.0).numpy().tobytes())] ^= 1
    path.write_bytes(bytes(data))
    assert damage(path) == "a part of it does not match its checksum"


class _Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


def test_nothing_in_a_checkpoint_runs(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"global_step": 1, "bomb": _Bomb()}, path_of(tmp_path, 1))
    path_of(tmp_path, 2).write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(CheckpointError, match="No checkpoint of the run can be read"):
        find_checkpoint(tmp_path, "auto", say=lambda line: None)
    assert not (tmp_path / "exploded").exists()


def test_a_path_must_be_readable_and_not_rewind_its_own_run(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        find_checkpoint(tmp_path, tmp_path / "step-00000009.ckpt", say=print)
    older, newer = _write(tmp_path / "a", 1), _write(tmp_path / "a", 2)
    assert find_checkpoint(tmp_path / "a", str(newer), say=print) == newer
    assert find_checkpoint(tmp_path / "b", older, say=print) == older
    with pytest.raises(ConfigError, match="Going back inside a run"):
        find_checkpoint(tmp_path / "a", older, say=print)


def test_never_refuses_and_settings_are_compared(tmp_path: Path) -> None:
    path = _write(tmp_path, 7, seed=1, model="abc")
    with pytest.raises(ConfigError, match="earlier run"):
        find_checkpoint(tmp_path, "never", say=print)
    assert check_settings(path, {"seed": 1, "model": "abc"}) == 7
    assert check_settings(path, {"seed": 2, "model": "abc"}, must_match=("model",)) == 7
    with pytest.raises(CheckpointError, match="other settings") as caught:
        check_settings(path, {"seed": 2, "model": "abc"})
    assert "seed 1" in str(caught.value)
    assert "abc" not in str(caught.value)


def test_a_foreign_checkpoint_is_named_as_such(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match="not a checkpoint of a pretraining run"):
        check_settings(tmp_path / "other.ckpt", {})

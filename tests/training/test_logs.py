"""Numbers survive a kill and are not written twice; nothing that is left names the machine or its user."""

import getpass
import socket
from pathlib import Path
from types import ModuleType

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hdt_fm.training.callbacks import WandbSink
from hdt_fm.training.logs import CsvSink, TensorBoardSink, read_metrics


def test_csv_round_trip_is_exact(tmp_path: Path) -> None:
    sink = CsvSink(tmp_path / "metrics.csv")
    sink.start(0)
    sink.write(1, {"a/b": 0.1 + 0.2, "c": float("nan")})
    sink.write(20, {"a/b": -1e-300})
    rows = read_metrics(tmp_path / "metrics.csv")
    assert rows[0] == (1, "a/b", 0.1 + 0.2)
    assert rows[1][2] != rows[1][2]
    assert rows[2] == (20, "a/b", -1e-300)
    assert (tmp_path / "metrics.csv").read_text().splitlines()[0] == "step,metric,value"


def test_csv_goes_on_without_later_steps_and_without_a_cut_line(tmp_path: Path) -> None:
    sink = CsvSink(tmp_path / "metrics.csv")
    sink.start(0)
    for step in (1, 2, 3):
        sink.write(step, {"loss": step / 7})
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("2,loss,0.2857")
    assert len(read_metrics(tmp_path / "metrics.csv")) == 3
    sink.start(2)
    sink.write(3, {"loss": 9.0})
    assert read_metrics(tmp_path / "metrics.csv") == [(1, "loss", 1 / 7), (2, "loss", 2 / 7), (3, "loss", 9.0)]
    sink.start(0)
    assert read_metrics(tmp_path / "metrics.csv") == []
    assert read_metrics(tmp_path / "none.csv") == []


def test_tensorboard_reads_our_events_and_a_resumed_run_replaces_later_ones(tmp_path: Path) -> None:
    for resumed, steps in ((0, (10, 20, 30)), (20, (30, 40))):
        sink = TensorBoardSink(tmp_path)
        sink.start(resumed)
        for step in steps:
            sink.write(step, {"train/loss": step + resumed / 1000})
        sink.close()
    events = EventAccumulator(str(tmp_path)).Reload().Scalars("train/loss")
    assert [(event.step, round(event.value, 3)) for event in events] == [
        (10, 10.0),
        (20, 20.0),
        (30, 30.02),
        (40, 40.02),
    ]
    assert socket.gethostname() not in {part for path in tmp_path.iterdir() for part in path.name.split(".")}


def _traces(folder: Path, words: list[str]) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [f"{word} in {path.name}" for path in files for word in words if word.encode() in path.read_bytes()]


def test_wandb_offline_keeps_its_id_and_names_nobody(tmp_path: Path, monkeypatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    for key, value in (
        ("HOME", str(home)),
        ("USER", "maria_curie"),
        ("LOGNAME", "maria_curie"),
        ("WANDB_SILENT", "true"),
        ("WANDB_USERNAME", "maria_curie"),
        ("WANDB_USER_EMAIL", "maria_curie@ward.example"),
        ("WANDB_HOST", "ward-seven-laptop"),
        ("WANDB_GIT_REMOTE_URL", "https://maria_curie:sesame@git.example/ward"),
        ("WANDB_GIT_COMMIT", "c0ffee"),
        ("WANDB_DISABLE_GIT", "false"),
        ("WANDB_ERROR_REPORTING", "true"),
    ):
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(socket, "gethostname", lambda: "ward-seven-laptop")
    monkeypatch.setattr("sys.argv", ["hdt-fm", "pretrain", "subject=patient_0042"])
    assert getpass.getuser() == "maria_curie"
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    for step in (0, 5):
        sink = WandbSink(run_dir, mode="offline")
        sink.start(step)
        sink.write(step + 1, {"train/loss": 0.5})
        sink.close()
    identity = (run_dir / "wandb_id").read_text().strip()
    recorded = list(run_dir.rglob("*.wandb"))
    # Folders of runs begun in the same second differ by a count after the id; the file is named by the id alone.
    assert len(recorded) == 2
    assert {path.name for path in recorded} == {f"run-{identity}.wandb"}
    assert all(b"train/loss" in path.read_bytes() for path in recorded)
    words = ["maria_curie", "ward-seven-laptop", "patient_0042", str(tmp_path), "pytest", "sesame", "c0ffee"]
    assert not _traces(run_dir, words)


def test_wandb_reports_nothing_to_its_makers(tmp_path: Path, monkeypatch) -> None:
    """Errors within it go to them else, offline too, with their text and the places of its files."""
    from wandb.env import error_reporting_enabled

    monkeypatch.setenv("WANDB_ERROR_REPORTING", "true")
    monkeypatch.setattr("wandb.init", lambda **_: None)
    assert error_reporting_enabled()
    WandbSink(tmp_path, mode="offline").start(0)
    assert not error_reporting_enabled()


def test_wandb_is_off_unless_asked(tiny: ModuleType, tmp_path: Path) -> None:
    tiny.run(tmp_path, steps=2, warmup_steps=0, val_every=0, tensorboard=True)
    assert not (tmp_path / "wandb").exists()
    assert not (tmp_path / "wandb_id").exists()
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1

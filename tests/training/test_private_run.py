"""A private run from start to end: broken off and gone on with, refused with other settings, and deaf under noise."""

import json
import os
import signal
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import hdt_fm
from hdt_fm.checkpoint import model_digest
from hdt_fm.losses.info_nce import InfoNce
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import CheckpointError, ConfigError
from hdt_fm.training.logs import read_metrics
from hdt_fm.training.private import Private
from hdt_fm.training.private_account import Budget
from hdt_fm.training.private_secret import KEY_BYTES, KEY_NAME

PEOPLE, WINDOWS = 8, 6


class TinyPeople:
    """Each person has a batch of the tiny run as their own windows."""

    def __init__(self, tiny: ModuleType, first: int = 0) -> None:
        self.tiny, self.first, self.identity = tiny, first, f"tiny {first}"

    def __len__(self) -> int:
        return PEOPLE

    def batch(self, number: int, most: int, generator: np.random.Generator) -> Batch:
        batch = self.tiny.tiny_batch(self.first + number)
        chosen = np.sort(generator.choice(len(batch), size=min(most, len(batch)), replace=False))
        batch.subject[:] = number
        return batch.select(torch.from_numpy(chosen))


def private(tiny: ModuleType, *, noise: float = 0.8, clip: float | None = 1.0, first: int = 0) -> Private:
    budget = Budget(noise=noise, rate=0.5, steps=tiny.STEPS, delta=0.1, accountant="prv")
    return Private(people=TinyPeople(tiny, first), budget=budget, clip=clip, windows=WINDOWS)


@pytest.fixture
def one_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every new secret is the same one, so that runs can be compared."""
    monkeypatch.setattr("secrets.token_bytes", lambda count: bytes(range(count)))


def run(tiny: ModuleType, folder: Path, asked: Private | None = None, **changes: Any):
    return tiny.run(folder, private=asked or private(tiny), **changes)


def digest(folder: Path) -> str:
    return model_digest(hdt_fm.load(folder / "checkpoint"))


def last(folder: Path, tiny: ModuleType) -> dict[str, Any]:
    return torch.load(folder / "checkpoints" / f"step-{tiny.STEPS:08d}.ckpt", weights_only=True)


def stop_at(step: int, number: int | None = None):
    def progress(done: int, total: int, note: str) -> None:
        assert note == ""
        if done == step and number is None:
            raise OSError("the power went out")
        if done == step:
            os.kill(os.getpid(), number)

    return progress


@pytest.mark.parametrize("number", [None, signal.SIGTERM])
def test_a_run_that_was_broken_off_ends_as_one_that_was_not(
    tiny: ModuleType, tmp_path: Path, one_key: None, number: int | None
) -> None:
    run(tiny, tmp_path / "whole")
    if number is None:
        with pytest.raises(OSError):
            run(tiny, tmp_path / "broken", progress=stop_at(7))
    else:
        assert run(tiny, tmp_path / "broken", progress=stop_at(7, number)).stopped_by == "SIGTERM"
    assert (tmp_path / "broken" / "checkpoints" / KEY_NAME).is_file()
    assert run(tiny, tmp_path / "broken").resumed_from == (4 if number is None else 7)
    assert digest(tmp_path / "broken") == digest(tmp_path / "whole")
    one, other = (last(tmp_path / name, tiny) for name in ("whole", "broken"))
    for moment in ("exp_avg", "exp_avg_sq"):
        states = [part["optimizer_states"][0]["state"] for part in (one, other)]
        assert all(torch.equal(states[0][key][moment], states[1][key][moment]) for key in states[0])
    assert one["lr_schedulers"] == other["lr_schedulers"]
    assert one["global_step"] == other["global_step"] == tiny.STEPS


def test_two_runs_of_one_seed_differ_and_no_key_stays(tiny: ModuleType, tmp_path: Path) -> None:
    for name in ("one", "two"):
        run(tiny, tmp_path / name)
        assert not (tmp_path / name / "checkpoints" / KEY_NAME).exists()
    assert digest(tmp_path / "one") != digest(tmp_path / "two")
    # Nor does it stand in what a finished run keeps, and a finished run needs none.
    before = digest(tmp_path / "one")
    assert run(tiny, tmp_path / "one").finished
    assert digest(tmp_path / "one") == before


def test_the_key_is_in_no_other_file(tiny: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(OSError):
        run(tiny, tmp_path, progress=stop_at(9))
    key = (tmp_path / "checkpoints" / KEY_NAME).read_bytes()
    assert len(key) == KEY_BYTES
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.name != KEY_NAME:
            data = path.read_bytes()
            assert key not in data
            assert key.hex().encode() not in data


def test_other_settings_other_people_or_no_privacy_are_another_run(tiny: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(OSError):
        run(tiny, tmp_path, progress=stop_at(7))
    for other in (private(tiny, noise=0.7), private(tiny, clip=2.0), private(tiny, first=100)):
        with pytest.raises(CheckpointError, match="other settings"):
            run(tiny, tmp_path, other)
    with pytest.raises(CheckpointError, match="other settings"):
        tiny.run(tmp_path)
    with pytest.raises(ConfigError, match="resume"):
        run(tiny, tmp_path / "elsewhere", resume=tmp_path / "checkpoints" / "step-00000004.ckpt")
    (tmp_path / "checkpoints" / KEY_NAME).unlink()
    with pytest.raises(CheckpointError, match="secret"):
        run(tiny, tmp_path)


def test_a_run_that_is_not_private_cannot_go_on_privately(tiny: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(OSError):
        tiny.run(tmp_path, progress=lambda done, total, note: stop_at(7)(done, total, ""))
    with pytest.raises(CheckpointError, match="other settings"):
        run(tiny, tmp_path)


def test_no_number_of_the_training_people_is_left(tiny: ModuleType, tmp_path: Path) -> None:
    outcome = run(tiny, tmp_path)
    names = {name for _, name, _ in read_metrics(tmp_path / "metrics.csv") if name.startswith("train/")}
    assert names == {"train/learning_rate", "train/windows_per_s"}
    assert not [name for name in outcome.metrics if name.startswith("train/loss")]
    assert outcome.windows == tiny.STEPS * PEOPLE // 2 * WINDOWS
    stored = last(tmp_path, tiny)["hdt_fm_run"]["private"]
    assert stored == private(tiny).settings
    assert json.dumps(stored)


def test_under_much_noise_nothing_is_learned_and_without_it_the_same_loop_learns(
    tiny: ModuleType, tmp_path: Path, one_key: None
) -> None:
    """The canary: with huge noise the weights hardly depend on whose data they were taught with; without, they do."""
    ends: dict[tuple[float, int], torch.Tensor] = {}
    losses = {}
    for noise in (0.0, 1e4):
        for first in (0, 100):
            folder = tmp_path / f"{noise}_{first}"
            asked = private(tiny, noise=noise, first=first)
            losses[noise, first] = run(tiny, folder, asked, val_every=tiny.STEPS).metrics["val/loss"]
            model = hdt_fm.load(folder / "checkpoint")
            ends[noise, first] = torch.cat([weight.detach().reshape(-1) for weight in model.parameters()])
    start = torch.cat([weight.detach().reshape(-1) for weight in tiny.tiny_model().parameters()])

    def apart(noise: float) -> float:
        one, other = ends[noise, 0], ends[noise, 100]
        return float((one - other).norm() / (one - start).norm())

    assert apart(0.0) > 0.2
    assert apart(1e4) < 1e-2
    assert losses[0.0, 0] < losses[1e4, 0]


@pytest.mark.parametrize(
    ("changes", "where"), [({"piece": 2}, "piece"), ({"devices": 2}, "sharded"), ({"strategy": "ddp"}, "sharded")]
)
def test_other_forms_of_runs_are_refused(tiny: ModuleType, tmp_path: Path, changes: dict, where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        run(tiny, tmp_path, **changes)
    assert caught.value.where == f"training.{where}"
    assert caught.value.fix


def test_running_statistics_are_noticed_in_a_part_of_another_lab(tiny: ModuleType, tmp_path: Path) -> None:
    class Remembers(InfoNce):
        def __init__(self) -> None:
            super().__init__(exclude_within_s=60.0)
            self.register_buffer("mean", torch.zeros(()))

        def forward(self, encoded):
            self.mean += encoded.projections.values.detach().mean()
            return super().forward(encoded)

    with pytest.raises(ConfigError, match="without a gradient"):
        run(tiny, tmp_path, loss=Remembers())

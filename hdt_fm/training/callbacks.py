"""What goes on beside the steps: atomic checkpoints, a clean stop by signal, numbers and progress, wandb."""

import os
import secrets
import shutil
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from pytorch_lightning import Callback, LightningModule, Trainer

from hdt_fm.schema.errors import CheckpointError
from hdt_fm.training.logs import Sink
from hdt_fm.training.resume import SETTINGS_KEY, checkpoints, path_of

Progress = Callable[[int, int, str], None]
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequested(Exception):  # noqa: N818 (nothing went wrong)
    """The run was asked to stop and has saved itself."""

    def __init__(self, name: str, step: int) -> None:
        super().__init__(f"stopped by {name} after step {step}")
        self.name, self.step = name, step


class RollingCheckpoint(Callback):
    """Saves at step boundaries under `step-XXXXXXXX.ckpt`: a temporary file, then a rename; the last `keep` stay.

    A save comes after the validation of its step, so that a run that goes on neither repeats nor skips one.
    SIGTERM and SIGINT save at the next boundary and raise `StopRequested`; a second SIGINT stops at once.
    """

    def __init__(
        self,
        folder: Path,
        *,
        every: int,
        steps: int,
        val_every: int,
        settings: Mapping[str, Any],
        keep: int = 2,
        say: Callable[[str], None] = print,
    ) -> None:
        self.folder, self.every, self.steps, self.val_every = Path(folder), every, steps, val_every
        self.settings, self.keep, self.say = dict(settings), keep, say
        self._asked: str | None = None
        # Taken before Lightning puts its own in place, which it leaves behind when something is raised.
        self._before = {number: signal.getsignal(number) for number in SIGNALS}

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[SETTINGS_KEY] = self.settings

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if threading.current_thread() is threading.main_thread():
            # After Lightning has set its own: its SIGTERM would stop without a checkpoint.
            for number in SIGNALS:
                signal.signal(number, self._on_signal)

    def release(self) -> None:
        """Give the signals back. Lightning tears callbacks down only when nothing was raised, so the caller does."""
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._before.items():
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._asked = signal.Signals(number).name
        self.say(f"{self._asked}: saving after this step, then stopping")

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *rest: Any) -> None:
        step = trainer.global_step
        if not (self.val_every and step % self.val_every == 0):
            self._boundary(trainer, step)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._boundary(trainer, trainer.global_step)

    def _boundary(self, trainer: Trainer, step: int) -> None:
        asked = trainer.strategy.reduce_boolean_decision(self._asked is not None, all=False)
        if asked or step % self.every == 0 or step >= self.steps:
            self._save(trainer, step)
        if asked and step < self.steps:
            raise StopRequested(self._asked or "another process", step)

    def _save(self, trainer: Trainer, step: int) -> None:
        path = path_of(self.folder, step)
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            trainer.save_checkpoint(temporary)
            if trainer.is_global_zero:
                _put_in_place(temporary, path)
        except OSError as error:
            # Half a file on a full disk would stand in the way of the next attempt.
            temporary.unlink(missing_ok=True)
            raise CheckpointError(
                f"The checkpoint of step {step} cannot be written",
                where=str(self.folder),
                got=error.strerror or type(error).__name__,
                fix="make room, then start again with resume=auto: the checkpoint before this one is whole",
            ) from error
        if trainer.is_global_zero:
            for old in [*checkpoints(self.folder)[self.keep :], *self.folder.glob(".step-*.tmp")]:
                old.unlink()
        trainer.strategy.barrier("checkpoint")


def _put_in_place(temporary: Path, path: Path) -> None:
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)


class MetricsLog(Callback):
    """Numbers of the module's `report` every `every` steps and of each validation go to every sink."""

    def __init__(
        self,
        sinks: Sequence[Sink],
        *,
        every: int,
        steps: int,
        progress: Progress | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sinks, self.every, self.steps, self.progress, self.clock = tuple(sinks), every, steps, progress, clock
        self.last: dict[str, float] = {}
        self.windows = 0
        self._windows_then, self._then, self._rate = 0, 0.0, 0.0
        self._open: list[Sink] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._then, self._windows_then = self.clock(), self.windows
        if trainer.is_global_zero:
            for sink in self.sinks:
                sink.start(trainer.global_step)
                self._open.append(sink)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = trainer.global_step
        self.windows += len(batch) * trainer.world_size
        if step % self.every == 0 or step >= self.steps:
            now = self.clock()
            self._rate = (self.windows - self._windows_then) / max(now - self._then, 1e-9)
            self._then, self._windows_then = now, self.windows
            report: dict[str, Any] = pl_module.report  # type: ignore[assignment]
            self._write(trainer, step, {**_numbers("train", report), "train/windows_per_s": self._rate})
        if self.progress and trainer.is_global_zero:
            loss = float(pl_module.report["loss"])  # type: ignore[index]
            rate = f"  {self._rate:.0f} windows/s" if self._rate else ""
            self.progress(step, self.steps, f"loss {loss:.4f}{rate}")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        report: dict[str, Any] = pl_module.validation_report  # type: ignore[assignment]
        self._write(trainer, trainer.global_step, _numbers("val", report))
        # Time spent here is not the training's.
        self._then, self._windows_then = self.clock(), self.windows

    def _write(self, trainer: Trainer, step: int, values: dict[str, float]) -> None:
        self.last.update(values)
        if trainer.is_global_zero:
            for sink in self.sinks:
                sink.write(step, values)

    def release(self) -> None:
        """Close the sinks that were opened; called however the run ended."""
        while self._open:
            self._open.pop().close()


class CollapseWatch(Callback):
    """Tells the user, once for each modality, when a validation finds its windows all on a line or a point."""

    def __init__(self, *, say: Callable[[str], None]) -> None:
        self.say = say
        self._told: set[str] = set()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        collapsed: dict[str, float] = pl_module.collapsed  # type: ignore[assignment]
        for name, rank in collapsed.items():
            if name not in self._told:
                self._told.add(name)
                self.say(
                    f"{name} has collapsed by step {trainer.global_step}: its validation windows fill "
                    f"{rank:.1f} directions of the shared space; look at its signal, or lower learning_rate"
                )


def _numbers(prefix: str, report: Mapping[str, Any]) -> dict[str, float]:
    return {f"{prefix}/{name}": float(value) for name, value in report.items()}


class WandbSink:
    """Weights & Biases. The run's id stays in `<run_dir>/wandb_id`, so a run that is resumed goes on in it.

    Git, code, machine, command line, console and package list are left out: an offline file would otherwise hold the
    host's name and every argument. Nothing is reported to the makers of wandb: without a word it would send them
    errors of its own, offline too, with what stands in their text.
    """

    def __init__(
        self, run_dir: Path, *, mode: Literal["offline", "online"], project: str = "hdt_fm", name: str | None = None
    ) -> None:
        self.run_dir, self.mode, self.project, self.name = Path(run_dir), mode, project, name

    def start(self, step: int) -> None:
        """Open the run, or go on in the one whose id is stored."""
        # The only switch that it has for this; the process that it starts reads it too.
        os.environ["WANDB_ERROR_REPORTING"] = "false"
        import wandb

        settings = wandb.Settings(
            disable_git=True,
            # Else taken from the environment all the same; an address of git may hold a password.
            git_commit="",
            git_remote_url="",
            disable_code=True,
            x_disable_meta=True,
            x_disable_machine_info=True,
            x_disable_stats=True,
            x_disable_viewer=self.mode == "offline",
            x_save_requirements=False,
            console="off",
            program="hdt-fm",
            host="",
            silent=True,
        )
        self._run = wandb.init(
            dir=str(self.run_dir),
            mode=self.mode,
            project=self.project,
            name=self.name,
            id=self._id(),
            resume="allow" if self.mode == "online" else None,
            settings=settings,
        )

    def _id(self) -> str:
        path = self.run_dir / "wandb_id"
        if not path.is_file():
            temporary = path.with_name(".wandb_id.tmp")
            temporary.write_text(secrets.token_hex(4) + "\n")
            os.replace(temporary, path)
        return path.read_text().strip()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers of one step."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """End the run; its own diary, which names this machine's folders, is not kept."""
        self._run.finish()
        for diary in (self.run_dir / "wandb").glob("*run-*/logs"):
            shutil.rmtree(diary, ignore_errors=True)

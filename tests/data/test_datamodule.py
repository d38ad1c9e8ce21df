"""With a real Trainer: a run that is cut off anywhere goes on with exactly the windows that were left."""

import itertools

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from hdt_fm.data.datamodule import ShardDataModule
from hdt_fm.data.selection import subject_split
from hdt_fm.schema.errors import LeakError

STEPS = 23


class Recorder(pl.LightningModule):
    """Writes down the windows of each finished step; may break off in the middle of one."""

    def __init__(self, break_at: int | None = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[int, ...]] = []
        self.validated: list[tuple[int, ...]] = []
        self.break_at = break_at

    def training_step(self, batch, index):
        if self.global_step == self.break_at:
            raise KeyboardInterrupt
        self.seen.append(tuple(batch.window_id.tolist()))
        return self.weight * batch.present.float().mean()

    def validation_step(self, batch, index):
        self.validated.append(tuple(batch.window_id.tolist()))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class SaveAt(pl.Callback):
    """Saves at the end of the n-th batch, where Lightning has already fetched the next one."""

    def __init__(self, path, step):
        self.path, self.step = path, step

    def on_train_batch_end(self, trainer, module, outputs, batch, index):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def trainer(callbacks=(), **change):
    settings = {"max_steps": STEPS, "logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return pl.Trainer(
        **(settings | {"accelerator": "cpu", "enable_model_summary": False, "callbacks": list(callbacks)} | change)
    )


def data(folder, **change):
    split = subject_split(folder.manifest, fractions={"train": 0.7, "val": 0.3}, seed=0)
    settings = {"batch_size": 16, "val_batch_size": 10, "val_windows": 25, "seed": 5}
    return ShardDataModule(
        folder=folder, train_subjects=split["train"], val_subjects=split["val"], **(settings | change)
    )


@pytest.fixture(scope="module")
def unbroken(f32_folder):
    model = Recorder()
    trainer().fit(model, datamodule=data(f32_folder))
    return model.seen


def test_a_run_covers_its_people_and_nobody_else(f32_folder, unbroken):
    module = data(f32_folder)
    flat = list(itertools.chain(*unbroken))
    assert len(flat) == STEPS * 16 > len(module.train_positions)
    assert set(flat) == set(f32_folder.window_ids[module.train_positions].tolist())


@pytest.mark.parametrize("limits", [{}, {"limit_train_batches": 5, "max_epochs": -1}])
@pytest.mark.parametrize("step", [1, 5, 12])
def test_a_run_saved_after_a_step_and_dropped_resumes_exactly(f32_folder, unbroken, tmp_path, step, limits):
    path = tmp_path / "run.ckpt"
    first = Recorder(break_at=step + 2)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        trainer([SaveAt(path, step)], **limits).fit(first, datamodule=data(f32_folder))
    assert first.seen == unbroken[: step + 2]
    second = Recorder()
    trainer(**limits).fit(second, datamodule=data(f32_folder), ckpt_path=path, weights_only=True)
    assert second.seen == unbroken[step:]


def test_a_checkpoint_taken_inside_a_broken_step_does_not_count_that_step(f32_folder, unbroken, tmp_path):
    class SaveOnBreak(pl.Callback):
        def on_exception(self, trainer, module, exception):
            trainer.save_checkpoint(tmp_path / "run.ckpt")

    with pytest.raises((KeyboardInterrupt, SystemExit)):
        trainer([SaveOnBreak()]).fit(Recorder(break_at=7), datamodule=data(f32_folder))
    second = Recorder()
    trainer().fit(second, datamodule=data(f32_folder), ckpt_path=tmp_path / "run.ckpt", weights_only=True)
    assert second.seen == unbroken[7:]


def test_a_resumed_run_can_be_cut_off_and_resumed_again(f32_folder, unbroken, tmp_path):
    seen, path = [], None
    for stop in (4, 11, 17, STEPS):
        model, new = Recorder(), tmp_path / f"{stop}.ckpt"
        run = trainer(max_steps=stop)
        run.fit(model, datamodule=data(f32_folder), ckpt_path=path, weights_only=True)
        run.save_checkpoint(new)
        seen, path = seen + model.seen, new
    assert seen == unbroken


def test_validation_is_the_same_each_time_and_disjoint(f32_folder):
    model, module = Recorder(), data(f32_folder)
    trainer(val_check_interval=6, check_val_every_n_epoch=None, num_sanity_val_steps=0).fit(model, datamodule=module)
    per_run = [model.validated[first : first + 3] for first in range(0, len(model.validated), 3)]
    assert len(per_run) == STEPS // 6
    assert all(run == per_run[0] for run in per_run)
    assert [len(batch) for batch in per_run[0]] == [10, 10, 5]
    assert not set(itertools.chain(*per_run[0])) & set(itertools.chain(*model.seen))
    assert data(f32_folder, val_windows=0).val_dataloader() == []


def test_a_group_in_both_parts_is_refused(f32_folder, tiny):
    names = [row.subject for row in f32_folder.manifest.subjects]
    tied = [names.index(tiny.KEY.pseudonym("tiny", f"rawid-{person}")) for person in (4, 5)]
    with pytest.raises(LeakError, match="1 groups"):
        ShardDataModule(folder=f32_folder, train_subjects=np.array(tied[:1]), val_subjects=np.array(tied[1:]))
    path_module = ShardDataModule(folder=str(f32_folder.path), batch_size=8)
    assert path_module.batches_per_epoch == f32_folder.windows / 8
    assert len(next(iter(path_module.train_dataloader()))) == 8

"""However batches are made, they are the same in the same order; memory is bounded, and nothing is left behind."""

import itertools
import logging
import os
import random
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from hdt_fm.data.datamodule import ShardDataModule
from hdt_fm.data.loading import Loading
from hdt_fm.data.mixture import CohortMixture
from hdt_fm.data.stream import OrderedBatches, WindowStream
from hdt_fm.data.views import Augment
from hdt_fm.data.workers import WorkerError
from hdt_fm.schema.errors import ConfigError, HdtError

WAYS = {
    "one thread": Loading(threads=1),
    "three threads": Loading(threads=3, slots=2),
    "no ring": Loading(slots=0),
    "two processes": Loading(workers=2),
}


def stream(folder, **change):
    settings = {"batch_size": 24, "seed": 8, "pool_blocks": 3, "batches": 14}
    return WindowStream(folder, np.arange(folder.windows), **(settings | change))


def copied(batch):
    """A batch's numbers, apart from its memory."""
    signals = {name: (one.values.clone(), one.observed.clone()) for name, one in batch.signals.items()}
    return batch.window_id.tolist(), batch.present.tolist(), batch.time_s.tolist(), signals, batch.labels["stress"]


def same(one, other):
    assert one[:3] == other[:3]
    assert one[3].keys() == other[3].keys()
    for name, parts in one[3].items():
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(parts, other[3][name], strict=True))
    assert torch.equal(one[4].nan_to_num(-1), other[4].nan_to_num(-1))


@pytest.fixture(autouse=True)
def small_signals_stay_in_their_slots(monkeypatch):
    """The tiny cohort's signals are as small as ids elsewhere."""
    monkeypatch.setattr("hdt_fm.data.tables.COPIED_BYTES", 256)


@pytest.fixture(scope="module")
def plain(f32_folder):
    return [copied(batch) for batch in stream(f32_folder)]


@pytest.mark.parametrize("way", WAYS)
def test_threads_processes_and_buffers_change_nothing(f32_folder, plain, way):
    found = [copied(batch) for batch in stream(f32_folder, loading=WAYS[way])]
    assert len(found) == len(plain) == 14
    for one, other in zip(found, plain, strict=True):
        same(one, other)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_plain_dataloader_gives_the_same_sequence(f32_folder, plain, workers):
    loader = DataLoader(stream(f32_folder), batch_size=None, num_workers=workers, multiprocessing_context="fork")
    for one, other in zip(loader, plain, strict=True):
        same(copied(one), other)


@pytest.mark.parametrize("way", ["plain", *WAYS])
def test_batches_that_are_held_stay_as_they_were(f32_folder, plain, way):
    """Also past the end of the ring, and when only a view of each is held."""
    loading = WAYS.get(way, Loading())
    held = list(stream(f32_folder, loading=loading))
    views = [batch.signals["acc"].values[3] for batch in stream(f32_folder, loading=loading)]
    for batch, view, other in zip(held, views, plain, strict=True):
        same(copied(batch), other)
        assert torch.equal(view, other[3]["acc"][0][3])


@pytest.mark.parametrize("way", ["one thread", "two processes"])
def test_resume_at_any_batch_on_any_number_of_threads_workers_and_ranks(f32_folder, plain, way):
    chance = random.Random(way)
    whole = [one[0] for one in plain]
    for _ in range(4 if WAYS[way].threads else 1):
        stop, world = chance.randrange(14), chance.choice([1, 2, 4])
        first = stream(f32_folder, loading=chance.choice(list(WAYS.values())))
        seen = [batch.window_id.tolist() for batch in itertools.islice(first, stop)]
        ranks = [stream(f32_folder, loading=WAYS[way], rank=rank, world=world) for rank in range(world)]
        for one in ranks:
            one.load_state_dict(first.state_dict())
        for parts in zip(*ranks, strict=True):
            seen.append(list(itertools.chain(*(part.window_id.tolist() for part in parts))))
        assert seen == whole
        assert ranks[0].state_dict()["global_batch"] == 14


def test_what_is_made_ahead_does_not_count(f32_folder):
    made = []
    source = stream(f32_folder, loading=Loading(threads=2))
    make = source.maker.make
    source.maker.make = lambda positions, number: made.append(number) or make(positions, number)
    iterator = iter(source)
    next(iterator)
    deadline = time.monotonic() + 10
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(made) >= 4
    assert source.global_batch == 1
    iterator.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("gather")]


def test_memory_is_bounded_over_many_batches(f32_folder):
    """By where the batches lie, and by what the process holds."""
    for loading in (Loading(), Loading(threads=2), Loading(workers=1)):
        source = stream(f32_folder, batches=None, batch_size=2400, pool_blocks=100, loading=loading)
        batches = iter(source)
        first = {next(batches).signals["acc"].values.untyped_storage().data_ptr() for _ in range(6)}
        before = resident_kb()
        later = {batch.signals["acc"].values.untyped_storage().data_ptr() for batch in itertools.islice(batches, 16)}
        assert len(first | later) <= loading.slots
        # A batch is 1.7 MB.
        assert resident_kb() - before < 9_000
        batches.close()


def resident_kb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def test_too_few_slots_for_processes_give_copies_and_one_warning(f32_folder, plain, caplog):
    with caplog.at_level(logging.WARNING):
        held = [copied(batch) and batch for batch in stream(f32_folder, loading=Loading(workers=1, slots=3))]
    assert sum("batch buffers are held" in record.message for record in caplog.records) == 1
    for batch, other in zip(held, plain, strict=True):
        same(copied(batch), other)


@pytest.mark.parametrize("way", ["plain", "one thread", "two processes"])
def test_a_transform_hangs_on_the_batch_and_its_number_alone(f32_folder, way):
    augment = Augment(5)
    expected = [copied(augment.apply(batch, number)) for number, batch in enumerate(stream(f32_folder, batches=5))]
    found = stream(f32_folder, batches=5, loading=WAYS.get(way, Loading()), transform=augment.apply)
    for one, other in zip(found, expected, strict=True):
        same(copied(one), other)


def test_a_transform_may_change_what_a_batch_is_but_not_outgrow_its_buffer(f32_folder):
    def shorter(batch, number):
        signals = {
            "acc": replace(one := batch.signals["acc"], values=one.values[..., :9], observed=one.observed[:, :9])
        }
        return replace(batch.over(("acc",)), signals=signals, labels={})

    def longer(batch, number):
        signals = {
            name: replace(one, values=one.values.repeat(1, 1, 4), observed=one.observed.repeat(1, 4))
            for name, one in batch.signals.items()
        }
        return replace(batch, signals=signals)

    found = list(stream(f32_folder, batches=3, loading=Loading(workers=1), transform=shorter))
    assert [batch.signals["acc"].values.shape for batch in found] == [(24, 3, 9)] * 3
    assert all(batch.modalities == ("acc",) and not batch.labels for batch in found)
    with pytest.raises(ConfigError, match="larger than a buffer"):
        list(stream(f32_folder, batches=3, loading=Loading(workers=1), transform=longer))


@pytest.mark.parametrize("way", ["plain", "one thread", "two processes"])
def test_an_error_comes_in_its_turn(f32_folder, way):
    def breaks(batch, number):
        if number == 3:
            raise HdtError("The fourth batch cannot be made", fix="nothing")
        return batch

    before = set(children())
    batches = iter(stream(f32_folder, loading=WAYS.get(way, Loading()), transform=breaks))
    assert len([next(batches) for _ in range(3)]) == 3
    with pytest.raises(HdtError, match="fourth"):
        next(batches)
    assert not set(children()) - before


def children():
    task = Path(f"/proc/{os.getpid()}/task")
    return [int(word) for one in task.glob("*/children") for word in one.read_text().split()]


def test_a_worker_that_dies_is_named_and_nothing_is_left(f32_folder):
    shared = set(Path("/dev/shm").iterdir())
    before = set(children())
    source = stream(f32_folder, batches=None, loading=Loading(workers=2))
    batches = iter(source)
    next(batches)
    team = set(children()) - before
    assert len(team) == 2
    os.kill(min(team), signal.SIGKILL)
    with pytest.raises(WorkerError, match="exit code -9"):
        for _ in itertools.islice(batches, 50):
            pass
    assert not set(children()) & team
    assert set(Path("/dev/shm").iterdir()) == shared
    # What was handed out counts; the stream goes on from there.
    resumed = stream(f32_folder)
    resumed.load_state_dict(source.state_dict())
    assert next(iter(resumed)).window_id.tolist() == stream(f32_folder).batch(source.global_batch).window_id.tolist()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_parent_that_is_killed_leaves_no_worker_and_no_shared_memory(f32_folder, how):
    shared = set(Path("/dev/shm").iterdir())
    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            batches = iter(stream(f32_folder, batches=None, loading=Loading(workers=2)))
            next(batches)
            os.write(writer, " ".join(map(str, children())).encode())
            os.close(writer)
            for _ in batches:
                time.sleep(0.01)
        except KeyboardInterrupt:
            batches.close()
            os._exit(3)
        os._exit(1)
    os.close(writer)
    # One read: the workers have inherited the other end, which stays open as long as they live.
    team = [int(word) for word in os.read(reader, 4096).split()]
    os.close(reader)
    os.kill(parent, how)
    assert os.waitstatus_to_exitcode(os.waitpid(parent, 0)[1]) == (-9 if how == signal.SIGKILL else 3)
    assert len(team) == 2
    deadline = time.monotonic() + 10
    while any(lives(pid) for pid in team) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(lives(pid) for pid in team)
    assert set(Path("/dev/shm").iterdir()) == shared


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_fork_in_the_middle_reads_on_by_itself(f32_folder, plain):
    """Threads and leases of the parent are not the child's; both see the whole rest."""
    source = stream(f32_folder, loading=Loading(threads=2, slots=3))
    batches = iter(source)
    held = [next(batches) for _ in range(4)]
    child = os.fork()
    if child == 0:
        try:
            rest = [batch.window_id.tolist() for batch in source]
            good = rest == [one[0] for one in plain[4:]]
            del held
            os._exit(0 if good else 4)
        except BaseException:
            os._exit(5)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [batch.window_id.tolist() for batch in batches] == [one[0] for one in plain[4:]]
    same(copied(held[0]), plain[0])


def test_gather_threads_leave_the_models_threads_alone(f32_folder):
    before = torch.get_num_threads()
    inside = []
    source = stream(f32_folder, loading=Loading(threads=1), transform=lambda batch, number: (
        inside.append(torch.get_num_threads()) or batch
    ))  # fmt: skip
    try:
        torch.set_num_threads(2)
        list(source)
        later = []
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert (set(inside), later, torch.get_num_threads()) == ({1}, [2], 2)
    finally:
        torch.set_num_threads(before)


def test_fixed_batches_are_the_same_by_threads(f32_folder):
    plain = OrderedBatches(f32_folder, np.arange(3, 50), batch_size=20)
    ahead = OrderedBatches(f32_folder, np.arange(3, 50), batch_size=20, loading=Loading(threads=2))
    for one, other in zip(ahead, plain, strict=True):
        same(copied(one), copied(other))


def test_a_mixture_by_threads_is_the_same_and_has_no_processes(f32_folder, i16_folder):
    def mixture(loading, threads):
        streams = {"a": stream(f32_folder, loading=loading), "b": stream(i16_folder, loading=loading)}
        return CohortMixture(streams, modalities=("acc", "ppg", "temp"), alpha=1.0, seed=3, batches=12, threads=threads)

    for one, other in zip(mixture(Loading(slots=3), 2), mixture(Loading(), 0), strict=True):
        assert one.cohort == other.cohort
        same(copied(one), copied(other))
    coded = {batch.to("cpu").cohort for batch in mixture(Loading(keep_int16=True), 1)}
    assert coded == {"a", "b"}
    with pytest.raises(ConfigError, match="no worker processes"):
        mixture(Loading(workers=1), 0)


def test_what_cannot_be_is_refused():
    for settings in ({"threads": -1}, {"threads": 1, "workers": 1}, {"slots": -2}):
        with pytest.raises(ConfigError, match="cannot be made so"):
            Loading(**settings)


class Seen(pl.LightningModule):
    """Writes down each step's windows and a sum of its values, as they are on the device."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = []

    def training_step(self, batch, index):
        self.seen.append((batch.window_id.tolist(), float(batch.signals["acc"].values.sum())))
        return self.weight * batch.present.float().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_a_trainer_sees_the_same_batches_however_they_are_made(i16_folder):
    found = []
    for loading in (None, Loading(slots=0), Loading(threads=2, keep_int16=True), Loading(workers=1)):
        model = Seen()
        trainer = pl.Trainer(
            max_steps=7,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(model, datamodule=ShardDataModule(folder=i16_folder, batch_size=16, seed=5, loading=loading))
        found.append(model.seen)
    assert len(found[0]) == 7
    for other in found[1:]:
        assert [one[0] for one in other] == [one[0] for one in found[0]]
        assert np.allclose([one[1] for one in other], [one[1] for one in found[0]], rtol=1e-4)

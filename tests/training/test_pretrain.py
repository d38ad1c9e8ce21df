"""A run that was broken off ends as one that was not; a run that goes wrong says so."""

import os
import signal
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch.utils.data import DataLoader

import hdt_fm
from hdt_fm.checkpoint import load_preprocess, model_digest
from hdt_fm.losses.info_nce import InfoNce
from hdt_fm.losses.mix import Mix
from hdt_fm.schema.errors import CheckpointError, ConfigError, HdtError
from hdt_fm.schema.protocols import Encoded
from hdt_fm.training.logs import read_metrics
from hdt_fm.training.module import seed_draws
from hdt_fm.training.pretrain import fingerprint, step_seed

HERE = Path(__file__).parent
TIMED = {"train/windows_per_s"}


@pytest.fixture(scope="module")
def unbroken(tiny: ModuleType, tmp_path_factory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("unbroken")
    tiny.run(folder)
    return folder


def _final(tiny: ModuleType, folder: Path) -> dict:
    return torch.load(folder / "checkpoints" / f"step-{tiny.STEPS:08d}.ckpt", weights_only=True)


def _same(one, other) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other


def _assert_same_end(tiny: ModuleType, unbroken: Path, folder: Path) -> None:
    want, got = _final(tiny, unbroken), _final(tiny, folder)
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "TinyData", "hdt_fm_run"):
        assert _same(want[part], got[part]), part
    assert model_digest(hdt_fm.load(folder / "checkpoint")) == model_digest(hdt_fm.load(unbroken / "checkpoint"))
    rows = [[row for row in read_metrics(path / "metrics.csv") if row[1] not in TIMED] for path in (unbroken, folder)]
    assert rows[0] == rows[1]


def _raise_at(step: int):
    def progress(done: int, total: int, note: str) -> None:
        if done == step:
            raise OSError("the power went out")

    return progress


def _signal_at(step: int, number: int):
    def progress(done: int, total: int, note: str) -> None:
        if done == step:
            os.kill(os.getpid(), number)

    return progress


def test_an_unbroken_run_leaves_a_model_numbers_and_two_checkpoints(tiny: ModuleType, unbroken: Path) -> None:
    model = hdt_fm.load(unbroken / "checkpoint")
    assert load_preprocess(unbroken / "checkpoint") == tiny.tiny_preprocess()
    assert [path.name for path in sorted((unbroken / "checkpoints").iterdir())] == [
        "step-00000012.ckpt",
        "step-00000014.ckpt",
    ]
    assert model_digest(model) != model_digest(tiny.tiny_model())
    rows = read_metrics(unbroken / "metrics.csv")
    found = {(step, name): value for step, name, value in rows}
    assert len(found) == len(rows)
    assert {step for step, name in found if name == "train/loss"} == set(range(1, tiny.STEPS + 1))
    assert {step for step, name in found if name == "val/loss"} == {6, 12}
    for name in ("acc-eda", "acc-temp", "eda-temp"):
        assert 0 <= found[12, f"val/r1/{name}"] <= 1
        assert found[12, f"val/pool/{name}"] <= 14
        assert found[3, f"train/rows/{name}"] <= tiny.BATCH
    assert 1 < found[12, "val/effective_rank/acc"] <= 5
    assert found[1, "train/logit_scale"] == pytest.approx(10.0)
    assert found[2, "train/logit_scale"] != found[1, "train/logit_scale"]


def _shaped(tiny: ModuleType, weight: float = 0.5) -> Mix:
    """With a decoder, so that the loss has weights and buffers of its own."""
    loss = Mix(terms={"info_nce": {"weight": 1.0}, "masked_patches": {"weight": weight, "patch_s": 1.0}})
    loss.shape(tiny.COLUMNS, 8, 0)
    loss.learn_scale(tiny.tiny_batch(500, size=40))
    return loss


def test_a_loss_with_a_decoder_resumes_to_the_same_end_and_is_judged_on_what_is_hidden(
    tiny: ModuleType, tmp_path: Path
) -> None:
    settings = {"val_drop": tiny.drop}
    tiny.run(tmp_path / "whole", loss=_shaped(tiny), **settings)
    with pytest.raises(OSError):
        tiny.run(tmp_path / "broken", loss=_shaped(tiny), progress=_raise_at(7), **settings)
    assert tiny.run(tmp_path / "broken", loss=_shaped(tiny), **settings).resumed_from == 4
    _assert_same_end(tiny, tmp_path / "whole", tmp_path / "broken")
    found = {name: value for step, name, value in read_metrics(tmp_path / "whole" / "metrics.csv") if step == 12}
    assert found["train/rows/masked_patches/acc"] > 0
    assert found["val/hidden/masked_patches"] > 0
    # Without anything hidden there is nothing to tell again, and no mean of nothing.
    assert "val/masked_patches" not in found
    assert found["val/loss"] == pytest.approx(found["val/info_nce"])
    with pytest.raises(CheckpointError, match="other settings") as caught:
        tiny.run(tmp_path / "broken", loss=_shaped(tiny, weight=0.25), **settings)
    assert "0.25" in str(caught.value)


def test_the_loss_is_told_of_the_batch_before_and_after_hiding(tiny: ModuleType, tmp_path: Path) -> None:
    class Spy(InfoNce):
        told: list[Encoded]

        def forward(self, encoded: Encoded):
            self.told.append(encoded)
            return super().forward(encoded)

    loss = Spy()
    loss.told = []
    tiny.run(tmp_path, steps=2, warmup_steps=0, val_every=2, checkpoint_every=2, loss=loss)
    for step, encoded in enumerate(loss.told[:2]):
        whole = tiny.augment(tiny.tiny_batch(step), step)
        assert torch.equal(encoded.whole.signals["acc"].values, whole.signals["acc"].values)
        assert torch.equal(encoded.seen.present, tiny.drop(whole, step).present)
        assert torch.equal(encoded.embeddings.present, encoded.seen.present)
        assert encoded.embeddings.values.shape[2] == 8
    assert loss.told[2].seen is loss.told[2].whole


def test_a_collapsed_space_is_told_once(tiny: ModuleType, tmp_path: Path) -> None:
    class ManyWindows(tiny.TinyData):
        def val_dataloader(self) -> DataLoader:
            return DataLoader([tiny.tiny_batch(10_000 + k, size=40) for k in range(2)], batch_size=None)

    model, lines = tiny.tiny_model(), []
    torch.nn.init.zeros_(model.projection.parts[1].weight)
    torch.nn.init.ones_(model.projection.parts[1].bias)
    settings = {"steps": 4, "warmup_steps": 0, "val_every": 2, "learning_rate": 1e-9, "weight_decay": 0.0}
    outcome = tiny.run(tmp_path, model=model, datamodule=ManyWindows(), say=lines.append, **settings)
    said = [line for line in lines if "has collapsed" in line]
    assert len(said) == 1
    assert said[0].startswith("eda has collapsed by step 2")
    assert said[0] in outcome.notices
    assert outcome.metrics["val/effective_rank/eda"] < 1e-3
    assert outcome.metrics["val/uniformity/eda"] == pytest.approx(0, abs=1e-4)
    assert "val/alignment/acc-eda" in outcome.metrics


def test_learning_rates_of_a_run_are_the_cosine(tiny: ModuleType, unbroken: Path) -> None:
    found = {step: value for step, name, value in read_metrics(unbroken / "metrics.csv") if "learning_rate" in name}
    assert [found[k] for k in (1, 2, 3, 4)] == pytest.approx([1e-2 / 3, 2e-2 / 3, 1e-2, 1e-2])
    assert found[tiny.STEPS] == pytest.approx(1e-4)


def test_broken_off_anywhere_ends_the_same(tiny: ModuleType, unbroken: Path, tmp_path: Path) -> None:
    # Before the first checkpoint, on one that is also a validation (12), and three times in one run.
    for number, breaks in enumerate([(2,), (12,), (5, 9, 10)]):
        folder = tmp_path / str(number)
        for step in breaks:
            with pytest.raises(OSError, match="power"):
                tiny.run(folder, progress=_raise_at(step))
            assert not (folder / "checkpoint").exists()
        outcome = tiny.run(folder)
        assert outcome.finished
        assert outcome.resumed_from == ((breaks[-1] - 1) // 4 * 4 or None)
        _assert_same_end(tiny, unbroken, folder)


@pytest.mark.parametrize("step", [7])
def test_killed_without_warning_ends_the_same(
    tiny: ModuleType, warm: ModuleType, unbroken: Path, tmp_path: Path, step: int
) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parents[1])}
    done = warm.run([str(HERE / "tiny_run.py"), str(tmp_path), str(step)], env=environment, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / "checkpoint").exists()
    outcome = tiny.run(tmp_path)
    assert outcome.resumed_from == step // 4 * 4
    _assert_same_end(tiny, unbroken, tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_this_step_and_says_how_to_go_on(tiny: ModuleType, unbroken, tmp_path: Path, number) -> None:
    before, lines = signal.getsignal(number), []
    outcome = tiny.run(tmp_path, progress=_signal_at(6, number), say=lines.append)
    assert not outcome.finished
    assert (outcome.stopped_by, outcome.steps, outcome.checkpoint) == (signal.Signals(number).name, 6, None)
    assert (tmp_path / "checkpoints" / "step-00000006.ckpt").is_file()
    assert not (tmp_path / "checkpoint").exists()
    assert signal.getsignal(number) == before
    assert any("step 6 of 14 is saved, resume=auto goes on" in line for line in lines)
    assert tiny.run(tmp_path).resumed_from == 6
    _assert_same_end(tiny, unbroken, tmp_path)


def test_a_second_interrupt_stops_at_once(tiny: ModuleType, tmp_path: Path) -> None:
    def twice(done: int, total: int, note: str) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    # A runner may have started us with SIGINT ignored; whatever stood there must stand there again.
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        tiny.run(tmp_path, progress=twice)
    assert signal.getsignal(signal.SIGINT) == before


def test_a_truncated_checkpoint_is_passed_over_with_a_notice(tiny: ModuleType, unbroken: Path, tmp_path: Path) -> None:
    with pytest.raises(OSError):
        tiny.run(tmp_path, progress=_raise_at(11))
    newest, older = tmp_path / "checkpoints" / "step-00000008.ckpt", tmp_path / "checkpoints" / "step-00000004.ckpt"
    assert older.is_file()
    newest.write_bytes(newest.read_bytes()[:-1000])
    outcome = tiny.run(tmp_path)
    assert outcome.resumed_from == 4
    assert any("step-00000008.ckpt is damaged" in notice for notice in outcome.notices)
    _assert_same_end(tiny, unbroken, tmp_path)


def test_a_run_that_is_done_does_nothing_again(tiny: ModuleType, unbroken: Path, tmp_path: Path) -> None:
    tiny.run(tmp_path)
    outcome = tiny.run(tmp_path)
    assert (outcome.finished, outcome.windows, outcome.resumed_from) == (True, 0, tiny.STEPS)
    _assert_same_end(tiny, unbroken, tmp_path)


def test_checkpoints_hold_plain_data_only(tiny: ModuleType, unbroken: Path) -> None:
    def plain(value) -> bool:
        if isinstance(value, dict):
            return all(isinstance(key, str | int) and plain(item) for key, item in value.items())
        if isinstance(value, list | tuple):
            return all(map(plain, value))
        return type(value) in (int, float, str, bool, type(None), torch.Tensor)

    content = _final(tiny, unbroken)
    assert plain({key: value for key, value in content.items() if key != "state_dict"})
    assert plain(dict(content["state_dict"]))
    assert "loss.log_logit_scale" in content["state_dict"]
    assert content["TinyData"] == {"consumed": tiny.STEPS}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"learning_rate": 2e-2}, "learning_rate 0.01"),
        ({"seed": 1}, "seed 0"),
        ({"steps": 20}, "steps 14"),
        ({"piece": 4}, "piece None"),
        ({"fused": True}, "fused None"),
    ],
)
def test_going_on_with_other_settings_is_refused(
    tiny: ModuleType, unbroken: Path, tmp_path: Path, change: dict, words: str
) -> None:
    (tmp_path / "checkpoints").symlink_to(unbroken / "checkpoints")
    with pytest.raises(CheckpointError, match="other settings") as caught:
        tiny.run(tmp_path, **change)
    assert words in str(caught.value)


def test_a_fused_run_that_was_broken_off_ends_the_same(tiny: ModuleType, tmp_path: Path) -> None:
    tiny.run(tmp_path / "whole", fused=True)
    with pytest.raises(OSError):
        tiny.run(tmp_path / "broken", fused=True, progress=_raise_at(7))
    assert tiny.run(tmp_path / "broken", fused=True).resumed_from == 4
    _assert_same_end(tiny, tmp_path / "whole", tmp_path / "broken")


def test_the_draws_of_a_step_are_those_of_torch_manual_seed() -> None:
    torch.manual_seed(step_seed(3, 9))
    want = torch.rand(5)
    seed_draws(step_seed(3, 9), torch.device("cpu"))
    assert torch.equal(torch.rand(5), want)


def test_a_path_may_change_settings_but_not_the_model(tiny: ModuleType, unbroken: Path, tmp_path: Path) -> None:
    start = unbroken / "checkpoints" / "step-00000012.ckpt"
    outcome = tiny.run(tmp_path, resume=start, steps=16, learning_rate=5e-3)
    assert (outcome.resumed_from, outcome.steps, outcome.finished) == (12, 16, True)
    with pytest.raises(CheckpointError, match="other settings"):
        tiny.run(tmp_path / "other", resume=start, model=tiny.tiny_model(width=16))


def test_what_a_run_begins_with_is_called_once_and_a_resume_must_match_it(tiny: ModuleType, tmp_path: Path) -> None:
    model, calls = tiny.tiny_model(), []

    def begin() -> None:
        calls.append(1)
        torch.nn.init.constant_(model.projection.parts[0].bias, 3.0)

    tiny.run(tmp_path / "run", model=model, begin=begin, steps=4)
    assert calls == [1]
    assert (model.projection.parts[0].bias.abs() > 2).all()
    tiny.run(tmp_path / "run", begin=begin, steps=4)
    assert calls == [1]
    with pytest.raises(CheckpointError, match="other settings"):
        tiny.run(tmp_path / "run", steps=4)


def test_never_refuses_a_used_folder(tiny: ModuleType, unbroken: Path) -> None:
    with pytest.raises(ConfigError, match="checkpoints of an earlier run"):
        tiny.run(unbroken, resume="never")


def test_a_loss_that_is_not_finite_stops_and_names_the_batch(tiny: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(HdtError, match="is not finite at step 7") as caught:
        tiny.run(tmp_path, datamodule=tiny.TinyData(poisoned=6))
    assert fingerprint(tiny.tiny_batch(6)) in str(caught.value)
    checkpoints = sorted((tmp_path / "checkpoints").iterdir())
    assert [path.name for path in checkpoints] == ["step-00000004.ckpt"]
    state = torch.load(checkpoints[0], weights_only=True)["state_dict"]
    assert all(bool(value.isfinite().all()) for value in state.values())
    assert not (tmp_path / "checkpoint").exists()


def test_the_run_leaves_the_process_as_it_was(tiny: ModuleType, tmp_path: Path) -> None:
    torch.manual_seed(3)
    state = torch.get_rng_state()
    tiny.run(tmp_path, steps=4, warmup_steps=0, val_every=0, deterministic=True)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_loaded_model_in_evaluation_mode_trains_with_dropout(tiny: ModuleType, tmp_path: Path) -> None:
    one = tiny.run(tmp_path / "a", steps=4, warmup_steps=0, val_every=0, model=tiny.tiny_model().train())
    other = tiny.run(tmp_path / "b", steps=4, warmup_steps=0, val_every=0, model=tiny.tiny_model().eval())
    assert one.metrics["train/loss"] == other.metrics["train/loss"]


def test_bfloat16_runs_and_keeps_float32_weights(tiny: ModuleType, tmp_path: Path) -> None:
    outcome = tiny.run(tmp_path, steps=4, warmup_steps=0, val_every=2, precision="bf16-mixed")
    exact = tiny.run(tmp_path / "exact", steps=4, warmup_steps=0, val_every=2)
    assert outcome.metrics["train/loss"] == pytest.approx(exact.metrics["train/loss"], rel=0.05)
    assert outcome.metrics["train/loss"] != exact.metrics["train/loss"]
    assert {value.dtype for value in hdt_fm.load(tmp_path / "checkpoint").state_dict().values()} == {torch.float32}


def test_step_seeds_differ_by_place_and_repeat() -> None:
    seeds = [step_seed(seed, step, rank) for seed in range(3) for step in range(5) for rank in range(2)]
    assert len(set(seeds)) == 30
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert step_seed(1, 2, 0) == seeds[14]


def test_fingerprint_is_of_the_ids_alone(tiny: ModuleType) -> None:
    batch = tiny.tiny_batch(3)
    assert fingerprint(batch) == fingerprint(tiny.augment(batch, 1))
    assert fingerprint(batch) != fingerprint(tiny.tiny_batch(4))


@pytest.mark.parametrize("name", ["steps", "checkpoint_every", "log_every"])
def test_zero_is_refused_by_name(tiny: ModuleType, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be at least 1"):
        tiny.run(tmp_path, **{name: 0})

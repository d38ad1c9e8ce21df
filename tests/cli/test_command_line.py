"""The command line as a user types it: answers at once, speaks of mistakes, names the nearest known word."""

import errno
import json
import os
import resource
import subprocess
import sys
from importlib.util import find_spec
from itertools import zip_longest
from pathlib import Path

import pytest

from data_pipelines.engine.settings import EngineSettings
from hdt_fm.cli import embed, sweep
from hdt_fm.cli.compose import Config, compose_config
from hdt_fm.cli.config_files import config_root, group_names, groups
from hdt_fm.cli.main import EXIT_INTERRUPTED, EXIT_OK, EXIT_USER_ERROR, VERBS, main
from hdt_fm.schema import registry
from hdt_fm.schema.result import RunRecord


def test_every_configured_verb_has_a_config_and_a_module() -> None:
    configured = [name for name, verb in VERBS.items() if verb.configured]
    assert len(configured) == 10
    for name in configured:
        assert (config_root() / f"{name}.yaml").is_file()
    for name in VERBS:
        assert find_spec(f"hdt_fm.cli.{name}") is not None


@pytest.mark.parametrize(
    "arguments", [["--help"], ["list"], ["doctor"], ["fetch"], ["pretrain", "--help"], ["--version"]]
)
def test_quick_verbs_load_neither_torch_nor_hydra(arguments: list[str]) -> None:
    code = (
        "import sys; from hdt_fm.cli.main import main; status = main(sys.argv[1:]);"
        "heavy = [m for m in ('torch', 'hydra', 'numpy', 'pandas') if m in sys.modules];"
        "print('HEAVY', heavy, status)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    out = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert "HEAVY [] 0" in out.stdout.splitlines()[-1]
    # A loose bound on processor time, which a busy machine does not stretch: seconds of torch import are not in it.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 5


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (["pretrian"], "did you mean 'pretrain'?"),
        (["pretrain", "experiment=stres_predict"], "did you mean 'stress_predict'?"),
        (["pretrain", "training.step=3"], "did you mean 'training.steps'?"),
        (["pretrain", "+typo=1"], "Unknown setting 'typo'"),
        (["pretrain", "encodr=resnet"], "did you mean 'encoder'?"),
        (["pretrain", "--dryrun"], "did you mean '--dry-run'?"),
        (["list", "encodrs"], "did you mean 'encoder'?"),
        (["pretrain", "training.steps"], "Cannot read the override"),
        (["pretrain", "~training"], "Cannot read the override"),
        (["pretrain", "training.steps=[1"], "cannot be composed"),
        (["shard", "cohort.subjets=3"], "did you mean 'subjects'?"),
        (["shard", "cohort=folder"], "The setting 'source' is required"),
        (["shard", "shard.encoding=i17"], "shard.encoding"),
        (["shard", "preparation.window_s=-1"], "preparation.window_s"),
        (["evaluate", "protocol.people=everyone"], "protocol.people"),
        (["pretrain", "seed=0,1"], "add --multirun"),
        (["shard", "loss=info_nce,sigmoid_pairs"], "'loss' has several values"),
        (["pretrain", "--multirun", "seed=0"], "found no override with several values"),
        (["pretrain", "--multirun", "seed=interval(0,1)"], "cannot be listed"),
        (["pretrain", "--multirun", "loss=info_nce,sigmod_pairs"], "did you mean 'sigmoid_pairs'?"),
        (["pretrain", "fusion=attenton"], "did you mean 'attention'?"),
        (["pretrain", "--multirun", "--dry-run", "seed=0,1"], "neither --dry-run nor --cfg"),
        (["embed", "--multirun", "seed=0,1"], "embed takes no --multirun"),
    ],
)
def test_a_mistake_is_named_with_what_to_do(
    arguments: list[str], suggestion: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    status = main([*arguments, f"root={tmp_path}/run"] if arguments[0] in ("shard", "evaluate") else arguments)
    captured = capsys.readouterr()
    assert status == EXIT_USER_ERROR
    assert suggestion in captured.err
    assert "Traceback" not in captured.err


def test_an_error_is_plain_json_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pretrain", "experiment=nope", "--json"]) == EXIT_USER_ERROR
    answer = json.loads(capsys.readouterr().out)
    assert answer["error"] == "UnknownNameError"
    assert "demo" in answer["expected"]


def test_show_config_prints_what_would_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pretrain", "experiment=stress_predict", "training.steps=7", "--cfg", "job"]) == EXIT_OK
    out = capsys.readouterr().out
    assert "steps: 7" in out
    assert "name: stress_predict" in out


def test_every_config_of_every_group_composes() -> None:
    """One of each group at once, as often as the longest group has names: a group's files set nothing of another's.
    Those that choose from other groups themselves are alone, so that what they choose is read."""
    alone = ("experiment", "debug")
    columns = [[f"{group}={name}" for name in group_names(group)] for group in groups() if group not in alone]
    rows = [[one for one in row if one] for row in zip_longest(*columns)]
    rows += [[f"{group}={name}"] for group in alone for name in group_names(group)]
    for row in rows:
        config = compose_config("pretrain", row)
        assert config.value("name"), row
    # Each of them stood in a row.
    assert sum(len(row) for row in rows) == sum(len(group_names(group)) for group in groups()) >= 18


def test_what_one_verb_was_told_the_next_one_takes() -> None:
    """The command that `shard` names as the next one repeats its settings."""
    told = ["engine.workers=2", "shard.codec=b2", "plan=null"]
    for verb in ("shard", "pretrain", "embed", "evaluate", "finetune", "explain"):
        assert compose_config(verb, told).section("engine", EngineSettings).workers == 2


def test_configs_name_registered_parts_and_hold_no_target() -> None:
    rooms = {"cohort": "cohorts", "encoder": "encoders", "projection": "heads", "loss": "losses", "head": "heads"}
    for group, room in rooms.items():
        for name in group_names(group):
            assert name in registry.names(room)
    assert {"none", *registry.names("fusion")} == set(group_names("fusion"))
    for path in config_root().rglob("*.yaml"):
        assert "_target_" not in path.read_text(), path


def test_list_names_every_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == EXIT_OK
    tables = json.loads(capsys.readouterr().out)
    assert set(tables) == {*groups(), "modality", "model"}
    assert all(summary for table in tables.values() for summary in table.values())


def test_list_tells_of_each_model_what_its_card_says(capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, card in (("one", "---\nlicense: mit\n---\n\n# one\n\nA model of wrists.\n"), ("two", None)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        if card is not None:
            (tmp_path / name / "README.md").write_text(card)
    monkeypatch.setattr("hdt_fm.schema.published._rooms", lambda: iter([tmp_path]))
    assert main(["list", "models", "--json"]) == EXIT_OK
    assert json.loads(capsys.readouterr().out) == {"model": {"one": "A model of wrists.", "two": ""}}


@pytest.fixture
def swept(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """The configs that a sweep asks for, without running any; the third one is stopped."""
    configs: list[Config] = []

    def call(verb: str, config: Config) -> RunRecord:
        configs.append(config)
        summary = {"val/loss": len(configs), "stopped by": "SIGTERM" if len(configs) == 3 else None}
        return RunRecord(verb=verb, name="run", outputs={}, seconds=1.0, summary=summary)

    monkeypatch.setattr(sweep, "call", call)
    return configs


def test_a_sweep_is_a_folder_for_each_combination(
    swept: list[Config], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "a run's folder"
    overrides = ["loss=info_nce,sigmoid_pairs", "training.steps=7", f'root="{root}"']
    assert main(["pretrain", "-m", *overrides]) == EXIT_OK
    names = ["loss=info_nce", "loss=sigmoid_pairs"]
    assert [config.value("root") for config in swept] == [str(root / "sweep" / name) for name in names]
    assert {config.value("shards") for config in swept} == {str(root / "shard" / "windows")}
    # What evaluates a swept encoder finds it by the same overrides.
    assert [config.value("checkpoint") for config in swept] == [
        str(root / "sweep" / name / "pretrain" / "checkpoint") for name in names
    ]
    assert [config.value("loss.name") for config in swept] == ["info_nce", "sigmoid_pairs"]
    assert {config.value("training.steps") for config in swept} == {7}
    out = capsys.readouterr().out
    assert "2 of 2 runs done" in out
    assert all(name in out for name in names)


def test_a_sweep_takes_every_combination_and_ends_where_it_is_stopped(
    swept: list[Config], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = ["seed=0,1", "protocol.only=[ppg],[ecg,ppg]", f"root={tmp_path}"]
    assert main(["evaluate", "--multirun", "--json", *overrides]) == EXIT_INTERRUPTED
    assert [(config.value("seed"), list(config.value("protocol.only"))) for config in swept] == [
        (0, ["ppg"]),
        (0, ["ecg", "ppg"]),
        (1, ["ppg"]),
    ]
    folders = {Path(config.value("root")).name for config in swept}
    assert len(folders) == 3
    assert not [name for name in folders if set(name) & set("[]' /")]
    assert set(json.loads(capsys.readouterr().out)) == folders


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        RuntimeError(f"I/O error: {os.strerror(errno.ENOSPC)} (os error 28)"),
    ],
)
def test_a_full_disk_is_one_message(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(run: object) -> None:
        raise error

    monkeypatch.setattr(embed, "run", full)
    assert main(["embed", f"root={tmp_path}/run"]) == EXIT_USER_ERROR
    said = capsys.readouterr().err
    assert "The disk is full" in said
    assert f"{tmp_path}/run/embed" in said
    assert "make room" in said
    assert "Traceback" not in said
    monkeypatch.setattr(embed, "run", lambda run: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["embed", f"root={tmp_path}/run"])


def test_of_several_processes_the_first_one_speaks_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(embed, "run", lambda run: run.say("said") or run.finish(outputs={}))
    for rank, speaks in (("1", False), ("0", True)):
        monkeypatch.setenv("RANK", rank)
        assert main(["embed", f"root={tmp_path}"]) == EXIT_OK
        captured = capsys.readouterr()
        assert bool(captured.out) == bool(captured.err) == speaks
        assert bool(list((tmp_path / "embed").iterdir())) == speaks

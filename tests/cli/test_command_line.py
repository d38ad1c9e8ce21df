"""The command line as a user types it: answers at once, speaks of mistakes, names the nearest known word."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from hdt_fm.cli.compose import compose_config
from hdt_fm.cli.config_files import config_root, group_names, groups
from hdt_fm.cli.main import EXIT_OK, EXIT_USER_ERROR, VERBS, main
from hdt_fm.schema import registry


def test_every_configured_verb_has_a_config_and_a_module() -> None:
    configured = [name for name, verb in VERBS.items() if verb.configured]
    assert len(configured) == 8
    for name in configured:
        assert (config_root() / f"{name}.yaml").is_file()
    for name in VERBS:
        assert (Path(__file__).parents[2] / "hdt_fm" / "cli" / f"{name}.py").is_file()


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["doctor"], ["pretrain", "--help"], ["--version"]])
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
    composed = 0
    for group in groups():
        for name in group_names(group):
            config = compose_config("pretrain", [f"{group}={name}"])
            assert config.value("name")
            composed += 1
    assert composed >= 18


def test_configs_name_registered_parts_and_hold_no_target() -> None:
    rooms = {"cohort": "cohorts", "encoder": "encoders", "projection": "heads", "loss": "losses", "head": "heads"}
    for group, room in rooms.items():
        for name in group_names(group):
            assert name in registry.names(room)
    for path in config_root().rglob("*.yaml"):
        assert "_target_" not in path.read_text(), path


def test_list_names_every_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == EXIT_OK
    tables = json.loads(capsys.readouterr().out)
    assert set(tables) == {*groups(), "modality"}
    assert all(summary for table in tables.values() for summary in table.values())

"""Overrides as somebody might be told to type them, YAML as somebody might be sent it, and names of parts."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from data_pipelines.build_plan import read_plan
from data_pipelines.readers._mapping import read_mapping
from hdt_fm.cli.compose import compose_config
from hdt_fm.cli.main import EXIT_OK, EXIT_USER_ERROR, main
from hdt_fm.schema import registry
from hdt_fm.schema.errors import ConfigError, HdtError, UnknownNameError

SURFACE = "config"
SECRET = "a-secret-of-twenty-four"
NAMES = ("HDT_FM_SUBJECT_KEY", "HDT_FM_LEDGER_KEY", "HDT_FM_IDENTITY", "HDT_FM_SHARDS_QUERY", "WANDB_API_KEY")

OVERRIDES = {
    "+x._target_=os.system": "Unknown setting 'x._target_'",
    "_target_=torch.load": "Unknown setting '_target_'",
    "encoder=../../evil": "Unknown encoder '../../evil'",
    "encoder=/etc/passwd": "Unknown encoder '/etc/passwd'",
    "experiment=http://evil/x": "Unknown experiment",
    "+experiment@x=demo": "Unknown setting 'experiment@x'",
    "hydra.run.dir=/tmp/evil": "Unknown setting 'hydra.run.dir'",
    "hydra.searchpath=[file:///tmp]": "Unknown setting 'hydra.searchpath'",
    "~training": "Cannot read the override",
    "name=!!python/object/apply:os.system [true]": "cannot be composed",
    "loss.name=os.system": "Unknown loss 'os.system'",
}


@pytest.mark.parametrize("override", OVERRIDES)
def test_an_override_is_refused(override: str, room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = OVERRIDES[override]
    if override.startswith("loss.name"):
        with pytest.raises(UnknownNameError, match=re.escape(words)):
            compose_config("pretrain", [override]).part("loss")
        return
    assert main(["pretrain", override, f"root={room / 'run'}"]) == EXIT_USER_ERROR
    told = capsys.readouterr().err
    assert words in told
    assert "Traceback" not in told


def test_a_target_among_the_arguments_of_a_part_is_only_a_word_that_it_does_not_know() -> None:
    part = compose_config("pretrain", ["++encoder._target_=torch.load", "encoder=patch_transformer"]).part("encoder")
    with pytest.raises(ConfigError, match="Unknown setting '_target_'"):
        registry.build("encoders", part.name, {"_target_": part.args["_target_"]})


ENVIRONMENT = {
    **{f"${{oc.env:{name}}}": "may not hold a secret" for name in NAMES},
    "${oc.env:HDT_FM_SUBJECT_KEY,x}": "may not hold a secret",
    "${oc.env:NOT_SET_ANYWHERE}": "cannot be resolved",
}


@pytest.mark.parametrize("text", ENVIRONMENT)
def test_no_secret_of_the_environment_comes_into_a_run(
    text: str, room: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, SECRET)
    assert main(["shard", "experiment=demo", f"name={text}", f"root={room / 'run'}"]) == EXIT_USER_ERROR
    said = capsys.readouterr()
    assert ENVIRONMENT[text] in said.err
    assert SECRET not in said.out + said.err
    assert not [path for path in room.rglob("*") if path.is_file() and SECRET in path.read_text(errors="ignore")]


def test_places_of_the_environment_may_be_named_and_are_not_written_out(
    room: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HDT_FM_REAL_DATA", str(room / "somewhere"))
    assert main(["shard", "experiment=stress_predict", "--cfg", "job"]) == EXIT_OK
    assert "${oc.env:HDT_FM_REAL_DATA" in capsys.readouterr().out


TAG = "!!python/object/apply:os.system ['true']"
YAMLS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "plan.yaml with a python/object tag": (read_plan, f"version: {TAG}\n", "cannot be read"),
    "plan.yaml that is an anchor bomb": (
        read_plan,
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
        "A value of the plan cannot be",
    ),
    "a table's mapping with a python/object tag": (
        lambda path: read_mapping(path, str(path)),
        f"signals: {TAG}\n",
        "mapping cannot be read",
    ),
    "a table's mapping with a `_target_`": (
        lambda path: read_mapping(path, str(path)),
        "_target_: os.system\nsignals: {}\n",
        "mapping is not as it should be",
    ),
}


@pytest.mark.parametrize("case", YAMLS)
def test_yaml_runs_nothing(case: str, room: Path) -> None:
    read, text, words = YAMLS[case]
    (room / "given.yaml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        read(room / "given.yaml")


PARTS = ("os.system", "__init__", "_private", "../evil", "Projection", "projection.Projection", "")


@pytest.mark.parametrize("name", PARTS)
def test_a_name_that_is_none_of_the_table(name: str) -> None:
    for room in registry.ROOMS:
        with pytest.raises(UnknownNameError, match="Unknown"):
            registry.find(room, name)


GOT = {
    **{f"override `{text}`": ("UnknownNameError, ConfigError", words) for text, words in OVERRIDES.items()},
    "override `++encoder._target_=torch.load`": ("ConfigError", "Unknown setting '_target_'"),
    **{f"override `name={text}`": ("ConfigError", words) for text, words in ENVIRONMENT.items()},
    **{case: ("ConfigError", words or "is not as it should be") for case, (_, _, words) in YAMLS.items()},
    f"part names {', '.join(repr(name) for name in PARTS)}": ("UnknownNameError", "Unknown <room> part"),
}


def test_every_error_is_one_for_users() -> None:
    assert issubclass(ConfigError, HdtError)

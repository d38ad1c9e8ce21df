"""A composed config is the one that Hydra makes of all overrides at once; its files are read once."""

import os
import shutil
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from hdt_fm.cli import compose as door
from hdt_fm.cli.compose import compose_config
from hdt_fm.cli.config_files import config_root
from hdt_fm.schema.errors import ConfigError


@pytest.mark.parametrize(
    ("verb", "overrides", "hydras"),
    [
        ("pretrain", ["seed=3"], ["seed=3"]),
        ("pretrain", ["encoder=resnet", "encoder.width=8"], ["encoder=resnet", "++encoder.width=8"]),
        ("pretrain", ["encoder.unheard={a: [1, 2], b: null}"], ["++encoder.unheard={a: [1, 2], b: null}"]),
        ("pretrain", ["experiment=demo", "debug=tiny", "root=/a b"], ["experiment=demo", "debug=tiny", "root='/a b'"]),
        ("pretrain", ["+training.steps=7", "++seed=4"], ["training.steps=7", "seed=4"]),
        ("pretrain", ["seed=3", "seed=5", "debug=tiny"], ["seed=3", "seed=5", "debug=tiny"]),
        ("pretrain", ["root='${oc.env:HOME}/x'"], ["root='${oc.env:HOME}/x'"]),
        ("pretrain", ["encoder.copied=${seed}"], ["++encoder.copied=${seed}"]),
        ("explain", ["explain.methods=[occlusion,saliency]"], ["explain.methods=[occlusion,saliency]"]),
        ("evaluate", ["protocol.label=activity", "root=null"], ["protocol.label=activity", "root=null"]),
    ],
)  # fmt: skip
def test_it_is_what_hydra_makes_of_all_overrides(verb: str, overrides: list[str], hydras: list[str]) -> None:
    with initialize_config_dir(str(config_root()), version_base="1.3"):
        expected = OmegaConf.to_yaml(compose(config_name=verb, overrides=hydras))
    for _ in range(2):
        assert compose_config(verb, overrides).yaml() == expected


def test_what_one_asks_for_does_not_reach_another() -> None:
    before = compose_config("pretrain", ["encoder=resnet"]).yaml()
    changed = compose_config("pretrain", ["encoder=resnet", "encoder.width=8", "encoder.other=1", "seed=77"])
    assert changed.value("seed") == 77
    assert compose_config("pretrain", ["encoder=resnet"]).yaml() == before != changed.yaml()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("encoder.width@other=3", "encoder.width@other"),
        ("seed=choice(1)", "one value is meant"),
        ("encoder.width=[1", "cannot be composed"),
        ("seed.below=3", "seed.below"),
        ("hydra.run.dir=x", "hydra.run.dir"),
    ],
)
def test_what_hydra_refuses_is_refused(override: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        compose_config("pretrain", [override])
    assert words in str(error.value)


def test_a_file_that_has_changed_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within one process; and a file that has not is not."""
    folder = shutil.copytree(config_root(), tmp_path / "configs")
    monkeypatch.setattr(door, "config_root", lambda: folder)
    seed = compose_config("pretrain", []).value("seed")
    read = door._composed.cache_info().misses
    assert compose_config("pretrain", ["root=elsewhere"]).value("seed") == seed
    assert door._composed.cache_info().misses == read
    base = folder / "base.yaml"
    text = base.read_text()
    assert f"\nseed: {seed}" in text
    was = base.stat()
    base.write_text(text.replace(f"\nseed: {seed}", f"\nseed: {seed + 1}"))
    os.utime(base, ns=(was.st_atime_ns, was.st_mtime_ns + 1))
    assert compose_config("pretrain", []).value("seed") == seed + 1

# ruff: noqa: N999 (the verb is called so; `main.py` finds modules by the verb's name)
"""`hdt-fm import FILE --to FOLDER`: a foreign or older file of weights becomes a checkpoint of ours."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hdt_fm.cli.main import EXIT_OK, Options
from hdt_fm.schema.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from hdt_fm.cli.importing.convert import Target

USAGE = """\
usage: hdt-fm import FILE --to FOLDER (model=FOLDER | experiment=NAME ...) [rename=TABLE.yaml] [fresh=heads] [as=NAME]

  Reads weights in a process of its own, without network and within bounds, and writes a checkpoint folder with a stored
  embedding of its own, and `imported.json`: digest of the file, what it was, table, share of tensors matched.

  FILE             .safetensors; a state_dict (.pt, .pth, .bin); a resume file of ours (step-00000100.ckpt); or an older
                   checkpoint folder, which is checked and written anew
  --to FOLDER      a new folder, or an earlier checkpoint
  model=FOLDER     what it is to become: config.json and preprocess.json of a checkpoint folder
  experiment=NAME  and other overrides of `hdt-fm pretrain`, instead: the config as it would train, over its shards
  rename=FILE      YAML; a name, or the beginning of names that ends with a dot, -> ours; null leaves it out:
                     rename:
                       backbone.: encoder.encoders.ppg.
                       classifier.weight: null
  fresh=heads      parts that may start fresh (names apart by commas); all else must match, name, shape and type
  as=NAME          what it is called in imported.json
  --json           one JSON object, and nothing else

  A pickle that needs more than tensors is refused: to read it would be to run it, and no scanner is trusted to tell.

examples:
  hdt-fm import runs/demo/pretrain/checkpoints/step-00000100.ckpt --to model experiment=demo
  hdt-fm import theirs.pth --to model model=hdt-fm-wrist-s rename=names.yaml fresh=heads
"""
_OWN = ("to", "model", "rename", "fresh", "as")


def run(options: Options, arguments: list[str]) -> int:
    """Read apart, convert, say."""
    if options.help or not arguments:
        print(USAGE, end="")
        return EXIT_OK
    source, settings, overrides = _asked(arguments)
    from hdt_fm import __version__
    from hdt_fm.checkpoint.folder import check_replaceable
    from hdt_fm.cli.importing.convert import convert, read_table, told
    from hdt_fm.cli.importing.read import apart

    folder, table = Path(settings["to"]), read_table(Path(settings["rename"]) if "rename" in settings else None)
    check_replaceable(folder)
    target, weights = _target(source, settings, overrides)
    with apart(weights) as foreign:
        _, record = convert(
            foreign,
            target,
            folder,
            table=table,
            fresh=_fresh(settings),
            source=weights.name,
            name=settings.get("as") or folder.resolve().name,
            version=__version__,
        )
    if options.json:
        print(json.dumps({"checkpoint": str(folder), **record.model_dump(mode="json")}))
    else:
        lines = [f"  {key}: {value}" for key, value in told(record).items() if value is not None]
        print("\n".join(["import: done", *lines, f"  checkpoint -> {folder}"]))
    return EXIT_OK


def _asked(arguments: Sequence[str]) -> tuple[Path, dict[str, str], list[str]]:
    """The file, settings of this verb, and overrides of `pretrain`."""
    paths = [one for one in arguments if "=" not in one or Path(one).exists()]
    pairs = [one.split("=", 1) for one in arguments if one not in paths]
    settings = {key: value for key, value in pairs if key in _OWN}
    overrides = [f"{key}={value}" for key, value in pairs if key not in _OWN]
    if len(paths) != 1 or not settings.get("to"):
        raise ConfigError(
            "import takes one file and where the checkpoint goes",
            expected="FILE --to FOLDER, and settings as NAME=VALUE",
            got=f"{len(paths)} path{'s' * (len(paths) != 1)}{'' if settings.get('to') else ', and no --to'}",
            fix="see `hdt-fm import --help`",
        )
    if "model" in settings and overrides:
        raise unknown_name("setting", overrides[0].split("=")[0], _OWN, where="hdt-fm import")
    return Path(paths[0]), settings, overrides


def _fresh(settings: dict[str, str]) -> list[str]:
    return [part for part in settings.get("fresh", "").split(",") if part]


def _target(source: Path, settings: dict[str, str], overrides: list[str]) -> tuple["Target", Path]:
    """What the weights are to become, and where they are."""
    from hdt_fm.checkpoint import load, load_preprocess
    from hdt_fm.checkpoint.folder import check_files, check_sums, read_record
    from hdt_fm.cli.importing.convert import Target
    from hdt_fm.schema.manifest import CONFIG_NAME, WEIGHTS_NAME, ModelConfig
    from hdt_fm.schema.published import find_model

    weights = source
    if source.is_dir():
        # An older folder must be whole as what it was. Unless it becomes another model, it must also answer as it did:
        # a new stored embedding would bless whatever weights are there.
        check_files(source)
        check_sums(source)
        weights = source / WEIGHTS_NAME
        if not overrides and "model" not in settings:
            load(source, allow_fresh=_fresh(settings))
            settings = {**settings, "model": str(source)}
    if "model" in settings:
        place = find_model(settings["model"])
        return Target(read_record(place / CONFIG_NAME, ModelConfig), load_preprocess(place)), weights
    if not overrides:
        raise ConfigError(
            "It is not said what the weights are to become",
            where="model",
            expected="model=FOLDER, a checkpoint whose config fits, or experiment=NAME",
            fix="a file of weights does not say which model it is of; see `hdt-fm import --help`",
        )
    return _composed(overrides), weights


def _composed(overrides: list[str]) -> "Target":
    """The model that `hdt-fm pretrain` would train with these overrides, over its shards."""
    from hdt_fm.cli.compose import compose_config
    from hdt_fm.cli.contract import typical_of_people
    from hdt_fm.cli.environment import guarded_environment
    from hdt_fm.cli.importing.convert import Target
    from hdt_fm.cli.workflow import asked_covariates, model_over, open_cohorts

    with guarded_environment():
        config = compose_config("pretrain", overrides)
        cohorts = open_cohorts(config).with_covariates(asked_covariates(config), strict=False)
        return Target(model_over(config, cohorts).config, cohorts.preprocess(typical_of_people(cohorts)))

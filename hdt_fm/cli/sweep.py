"""`--multirun`: overrides with several values become a run for each combination, each in a folder that says which."""

import hashlib
import json
import os
import re
from itertools import product
from pathlib import Path

from hdt_fm.cli.compose import Config, compose_config, values_of
from hdt_fm.cli.launch import HERE, launcher_of, submit
from hdt_fm.cli.main import EXIT_INTERRUPTED, EXIT_OK, SWEPT, Options
from hdt_fm.cli.run import Run, call, leads
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.result import RunRecord

FOLDER = "sweep"
LONGEST_NAME = 120


def run_sweep(verb: str, options: Options, overrides: list[str]) -> int:
    """Run every combination, one after another; the first that is stopped or goes wrong ends the sweep. With another
    launcher they are handed over, and run at once.

    Raises:
        ConfigError: If there is nothing to combine, or the verb or an option does not go with several runs.
    """
    if verb not in SWEPT:
        raise ConfigError(f"hdt-fm {verb} takes no --multirun", expected=f"one of: {', '.join(SWEPT)}")
    if options.dry_run or options.show_config:
        raise ConfigError("--multirun goes with neither --dry-run nor --cfg", fix="try one combination without it")
    # All are composed before the first one runs: a wrong value of the last must not show after hours.
    configs = combinations(verb, overrides)
    if launcher_of(configs).name != HERE:
        jobs = submit(verb, configs)
        print(json.dumps({"jobs": jobs}, indent=1) if options.json else _submitted(configs, jobs))
        return EXIT_OK
    records: dict[str, RunRecord] = {}
    stopped = False
    for number, (name, config) in enumerate(configs.items(), start=1):
        Run(verb, config, Path(config.value("root"))).say(f"\n== {number} of {len(configs)}: {name}")
        records[name] = call(verb, config)
        stopped = bool(records[name].summary.get("stopped by"))
        if stopped:
            break
    if leads():
        print(_as_json(records) if options.json else _as_text(verb, configs, records))
    return EXIT_INTERRUPTED if stopped else EXIT_OK


def combinations(verb: str, overrides: list[str]) -> dict[str, Config]:
    """Configs by the name of their folder; the shards are those of the run without a sweep.

    Raises:
        ConfigError: If no override has several values.
    """
    values = [values_of(override) for override in overrides]
    if all(len(some) == 1 for some in values):
        raise ConfigError(
            "--multirun found no override with several values",
            expected="at least one, e.g. seed=0,1 or loss=info_nce,sigmoid_pairs",
            fix="give one, or leave --multirun out",
        )
    found = {}
    for one in product(*values):
        name = _folder_name([override for override, some in zip(one, values, strict=True) if len(some) > 1])
        plain = compose_config(verb, list(one))
        places = {"root": Path(plain.value("root")) / FOLDER / name, "shards": plain.value("shards")}
        found[name] = compose_config(verb, [*one, *[f"{key}={_quoted(str(path))}" for key, path in places.items()]])
    return found


def _folder_name(chosen: list[str]) -> str:
    text = ",".join(override.lstrip("+") for override in chosen)
    safe = re.sub(r"[^A-Za-z0-9_.,=+-]", "_", text)
    if safe == text and len(text) <= LONGEST_NAME:
        return text
    # What was left out may be all that tells two combinations apart.
    return f"{safe[:LONGEST_NAME]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", r"\'") + "'"


def _submitted(configs: dict[str, Config], jobs: dict[str, str]) -> str:
    return "\n".join(f"job {job}: {name} -> {configs[name].value('root')}" for name, job in jobs.items())


def _as_json(records: dict[str, RunRecord]) -> str:
    return json.dumps({name: record.model_dump(mode="json") for name, record in records.items()}, indent=1)


def _as_text(verb: str, configs: dict[str, Config], records: dict[str, RunRecord]) -> str:
    lines = [f"{verb}: {len(records)} of {len(configs)} runs done"]
    for name, record in records.items():
        lines.append(f"{name} -> {os.path.join(configs[name].value('root'), verb)}")
        lines += [f"  {key}: {value}" for key, value in record.summary.items() if value is not None]
    return "\n".join(lines)

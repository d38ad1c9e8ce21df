"""`hdt-fm inspect PATH`: what a recording holds, in aggregates: no id, no clock time, no single value."""

import json
from pathlib import Path

from data_pipelines.inspect import inspect
from hdt_fm.cli.main import EXIT_OK, Options
from hdt_fm.schema import registry
from hdt_fm.schema.errors import ConfigError


def run(options: Options, arguments: list[str]) -> int:
    """Detect the format, read, describe."""
    if options.help or not arguments:
        readers = " | ".join(registry.names("readers"))
        print(f"usage: hdt-fm inspect PATH [reader=auto | {readers}] [--json]")
        return EXIT_OK
    paths = [word for word in arguments if "=" not in word]
    settings = dict(word.split("=", 1) for word in arguments if "=" in word)
    if len(paths) != 1 or set(settings) - {"reader"}:
        raise ConfigError("`inspect` takes one path, and reader=NAME", got=" ".join(arguments))
    found = inspect(Path(paths[0]), settings.get("reader", "auto")).to_dict()
    if options.json:
        print(json.dumps(found))
        return EXIT_OK
    print(f"format: {found['format']}")
    for signal in found["signals"]:
        print(_block(signal))
    for label in found["labels"]:
        print(_block(label, "label "))
    for warning in found["warnings"]:
        print(f"warning: {warning}")
    return EXIT_OK


def _block(facts: dict, prefix: str = "") -> str:
    head, *rest = facts.items()
    return "\n".join([f"{prefix}{head[1]}:", *[f"  {key:<22} {_short(value)}" for key, value in rest]])


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(_short(one) for one in value) or "none"
    return str(value)

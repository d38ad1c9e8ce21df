"""`hdt-fm doctor`: is this machine ready? Answers at once, so it reads versions without importing anything."""

import json
import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from hdt_fm.cli.main import EXIT_OK, EXIT_USER_ERROR, Options
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.keys import KEYRING, KEYS, find_key, from_keyring, named_keyring
from hdt_fm.schema.subject import KEY_VARIABLE, own_key_file

NEEDED = ("torch", "pytorch-lightning", "hydra-core", "webdataset", "einops", "captum", "wandb", "safetensors")
MIN_PYTHON = (3, 11)
MIN_FREE_GB = 2
Check = tuple[str, str, str]


def run(options: Options, arguments: list[str]) -> int:
    """Print one line a check; exit status 2 when something needed is missing or a key that is told cannot be had."""
    if options.help:
        print("usage: hdt-fm doctor [--json]")
        return EXIT_OK
    checks = [_python(), *[_package(name) for name in NEEDED], _machine(), _gpu(), _disk(), *_keys()]
    if options.json:
        print(json.dumps([{"check": name, "state": state, "detail": text} for name, state, text in checks]))
    else:
        for name, state, text in checks:
            print(f"{state:<5} {name:<20} {text}")
    return EXIT_USER_ERROR if any(state == "fail" for _, state, _ in checks) else EXIT_OK


def _python() -> Check:
    good = sys.version_info[:2] >= MIN_PYTHON
    return (
        "python",
        "ok" if good else "fail",
        platform.python_version() + ("" if good else " (3.11 or newer is needed)"),
    )


def _package(name: str) -> Check:
    try:
        return name, "ok", version(name)
    except PackageNotFoundError:
        return name, "fail", f"not installed: pip install {name}"


def _machine() -> Check:
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return "machine", "ok", f"{os.cpu_count()} cores, {memory_gb:.0f} GiB memory"


def _gpu() -> Check:
    devices = sorted(path.name for path in Path("/dev").glob("nvidia[0-9]*"))
    return "gpu", "ok", f"{len(devices)} CUDA device(s)" if devices else "none: everything runs on the CPU"


def _disk() -> Check:
    free_gb = shutil.disk_usage(Path.cwd()).free / 2**30
    return "disk", "ok" if free_gb > MIN_FREE_GB else "warn", f"{free_gb:.0f} GiB free here"


def _keys() -> list[Check]:
    """Which keys are set and from where, never what they are; a keyring that does not answer is said once."""
    service, checks = named_keyring(), []
    answers = service is not None
    if service is not None:
        try:
            from_keyring(service, KEY_VARIABLE)
        except ConfigError as error:
            checks, answers = [("keyring", "fail", f"{error.problem} ({KEYRING}): {error.fix}")], False
    return checks + [_key(variable, what, keyring=answers) for variable, what in KEYS.items()]


def _key(variable: str, what: str, *, keyring: bool) -> Check:
    name = variable.removeprefix("HDT_FM_").lower().replace("_", " ")
    try:
        found = find_key(variable, keyring=keyring)
    except ConfigError as error:
        return name, "fail", f"{error.problem} ({error.where}): {error.fix}"
    if found is not None:
        return name, "ok", f"from the {found.place} ({variable}); {what}"
    if variable == KEY_VARIABLE:
        made = "from the user's key file" if own_key_file().exists() else "none yet: made on first use"
        return name, "ok", f"{made}; {what}"
    return name, "ok", f"not set ({variable}); {what}"

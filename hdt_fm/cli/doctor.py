"""`hdt-fm doctor`: is this machine ready? Answers at once, so it reads versions without importing anything."""

import json
import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from hdt_fm.cli.main import EXIT_OK, EXIT_USER_ERROR, Options
from hdt_fm.schema.subject import KEY_FILE_VARIABLE, KEY_VARIABLE

NEEDED = ("torch", "pytorch-lightning", "hydra-core", "webdataset", "einops", "captum", "wandb", "safetensors")
MIN_PYTHON = (3, 11)
MIN_FREE_GB = 2


def run(options: Options, arguments: list[str]) -> int:
    """Print one line a check; exit status 2 when something needed is missing."""
    if options.help:
        print("usage: hdt-fm doctor [--json]")
        return EXIT_OK
    checks = [_python(), *[_package(name) for name in NEEDED], _machine(), _gpu(), _disk(), _key()]
    if options.json:
        print(json.dumps([{"check": name, "state": state, "detail": text} for name, state, text in checks]))
    else:
        for name, state, text in checks:
            print(f"{state:<5} {name:<18} {text}")
    return EXIT_USER_ERROR if any(state == "fail" for _, state, _ in checks) else EXIT_OK


def _python() -> tuple[str, str, str]:
    good = sys.version_info[:2] >= MIN_PYTHON
    return (
        "python",
        "ok" if good else "fail",
        platform.python_version() + ("" if good else " (3.11 or newer is needed)"),
    )


def _package(name: str) -> tuple[str, str, str]:
    try:
        return name, "ok", version(name)
    except PackageNotFoundError:
        return name, "fail", f"not installed: pip install {name}"


def _machine() -> tuple[str, str, str]:
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return "machine", "ok", f"{os.cpu_count()} cores, {memory_gb:.0f} GiB memory"


def _gpu() -> tuple[str, str, str]:
    devices = sorted(path.name for path in Path("/dev").glob("nvidia[0-9]*"))
    return "gpu", "ok", f"{len(devices)} CUDA device(s)" if devices else "none: everything runs on the CPU"


def _disk() -> tuple[str, str, str]:
    free_gb = shutil.disk_usage(Path.cwd()).free / 2**30
    return "disk", "ok" if free_gb > MIN_FREE_GB else "warn", f"{free_gb:.0f} GiB free here"


def _key() -> tuple[str, str, str]:
    if KEY_VARIABLE in os.environ or KEY_FILE_VARIABLE in os.environ:
        return "subject key", "ok", "from the environment"
    path = Path.home() / ".config" / "hdt_fm" / "subject.key"
    return "subject key", "ok", "from the user's key file" if path.exists() else "none yet: made on first use"

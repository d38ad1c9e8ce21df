"""Where the YAML files are and what they are called; no Hydra here, so that `list` answers at once."""

from functools import cache
from pathlib import Path

import hdt_fm
from hdt_fm.schema.errors import ConfigError


@cache
def config_root() -> Path:
    """The folder of configs: beside the package in a checkout, inside it in a wheel."""
    package = Path(hdt_fm.__file__).parent
    for folder in (package / "configs", package.parent / "configs"):
        if (folder / "base.yaml").is_file():
            return folder
    raise ConfigError(
        "The configs are missing from this installation",
        where=str(package),
        fix="install hdt-fm again, or run inside a checkout",
    )


def groups() -> tuple[str, ...]:
    """Names of the config groups."""
    return tuple(sorted(path.name for path in config_root().iterdir() if path.is_dir()))


def group_names(group: str) -> tuple[str, ...]:
    """Names one group offers."""
    return tuple(sorted(path.stem for path in (config_root() / group).glob("*.yaml")))


def summary_of(path: Path) -> str:
    """The first comment of a config file that is not a Hydra directive."""
    for line in path.read_text().splitlines():
        if line.startswith("#") and "@package" not in line:
            return line.lstrip("# ").strip()
    return ""

"""The mapping that explains a table: which columns are which signals, in what unit, on what clock."""

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from data_pipelines.readers._files import read_bytes
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.modalities import modality as look_up_modality
from hdt_fm.schema.preparation import LabelKind, Plain

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", ".h5", ".hdf5")
# One with a thousand columns is below 100 KB; what follows after that is no mapping, and is not read.
MAX_MAPPING_BYTES = 1 << 20


class TimeColumn(Plain):
    """Which column is the time, and how it is written: UNIX time in a unit, ISO 8601, or a date as people write it.

    `day_first` says of a `date` such as 05/03/2026 whether it is of March or of May; without it, a table in which no
    day is past the twelfth is refused. `format`, in the signs of strptime, is for dates of any other form.
    """

    column: str
    unit: Literal["s", "ms", "us", "ns", "iso", "date"] = "s"
    day_first: bool | None = None
    format: str = Field(default="", max_length=64)


class SignalColumns(Plain):
    """One modality: its columns become channels, in that order."""

    columns: tuple[str, ...] = Field(min_length=1)
    unit: str


class LabelColumns(Plain):
    """One label track from a column; an empty cell says nothing."""

    column: str
    kind: LabelKind
    unit: str = ""
    classes: tuple[str, ...] = ()


class Mapping(Plain):
    """What a table means. `start` is ISO 8601 or UNIX seconds, for a table without a time column."""

    signals: dict[str, SignalColumns]
    time: TimeColumn | None = None
    sampling_rate_hz: float | None = None
    start: str | float = 0.0
    utc_offset_s: int | None = None
    device: str = "table"
    body_site: str = ""
    missing: tuple[float, ...] = ()
    labels: dict[str, LabelColumns] = Field(default_factory=dict)


def mapped_tables(path: Path) -> list[Path]:
    """Tables with a mapping of the same name beside them: the path itself, or those in the folder."""
    candidates = sorted(path.iterdir()) if path.is_dir() else [path]
    return [p for p in candidates if p.is_file() and p.name.endswith(SUFFIXES) and _yaml_beside(p).is_file()]


def _yaml_beside(path: Path) -> Path:
    suffix = next(suffix for suffix in sorted(SUFFIXES, key=len, reverse=True) if path.name.endswith(suffix))
    return path.with_name(path.name.removesuffix(suffix) + ".yaml")


def read_mapping(table: Path, given: str | dict[str, Any] | None) -> Mapping:
    """The mapping that was given, or the one beside the table.

    Raises:
        ConfigError: If it is missing or malformed, or names an unknown modality.
    """
    if isinstance(given, dict):
        content: Any = given
    else:
        source = Path(given) if given is not None else _yaml_beside(table)
        try:
            content = yaml.safe_load(read_bytes(source)[:MAX_MAPPING_BYTES])
        except (OSError, yaml.YAMLError, RecursionError) as error:
            raise ConfigError("The mapping cannot be read", expected="YAML", got=type(error).__name__) from None
    try:
        mapping = Mapping.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(
            "The mapping is not as it should be", got=problems, fix="see data_pipelines/readers/README.md"
        ) from None
    for name in mapping.signals:
        look_up_modality(name)
    if mapping.time is None and mapping.sampling_rate_hz is None:
        raise ConfigError("The mapping has no clock", expected="`time`, or `sampling_rate_hz` with `start`")
    return mapping

"""Foreign tensors -> a model of ours, by a table of names; the folder says where it came from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor

from hdt_fm.checkpoint import Loaded, Model, build_model, save_model
from hdt_fm.checkpoint.bounds import check_asked
from hdt_fm.checkpoint.folder import sha256
from hdt_fm.checkpoint.weights import fill
from hdt_fm.cli.importing.read import Foreign
from hdt_fm.schema.errors import CheckpointError, ConfigError
from hdt_fm.schema.imported import IMPORTED_NAME, Imported
from hdt_fm.schema.manifest import SUMS_NAME, ModelConfig, Preprocess
from hdt_fm.schema.preparation import Plain

_MAX_TABLE_BYTES = 1 << 22


class RenameTable(Plain):
    """`rename:` of a YAML file: a name, or the beginning of names that ends with a dot, -> ours; null leaves it out."""

    rename: dict[str, str | None]


@dataclass(frozen=True)
class Target:
    """What the file is to become: the model's config and its signal contract."""

    config: ModelConfig
    preprocess: Preprocess


def read_table(path: Path | None) -> dict[str, str | None]:
    """The table of names; empty where none is given.

    Raises:
        ConfigError: If it is no such YAML.
    """
    if path is None:
        return {}
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_TABLE_BYTES + 1)
        found = RenameTable.model_validate(yaml.safe_load(data) if len(data) <= _MAX_TABLE_BYTES else None)
    except (OSError, yaml.YAMLError, ValidationError, RecursionError, ValueError) as error:
        raise ConfigError(
            "The table of names cannot be read",
            where="rename",
            expected="YAML: `rename:` with lines such as `backbone.: encoder.` or `fc.weight: null`",
            got=type(error).__name__,
            fix="see `hdt-fm import --help`",
        ) from None
    return found.rename


def renamed(tensors: Mapping[str, Tensor], table: Mapping[str, str | None]) -> tuple[dict[str, Tensor], int]:
    """Tensors under our names, and how many the table left out; whole names go before the longest beginning.

    Raises:
        ConfigError: If two would have one name, or a line of the table fits nothing.
    """
    found: dict[str, Tensor] = {}
    used: set[str] = set()
    left_out = 0
    beginnings = sorted((key for key in table if key.endswith(".")), key=len, reverse=True)
    for name, tensor in tensors.items():
        line = name if name in table else next((key for key in beginnings if name.startswith(key)), None)
        ours: str | None = name
        if line is not None:
            used.add(line)
            to = table[line]
            ours = to if to is None or line == name else to + name.removeprefix(line)
        if ours is None:
            left_out += 1
        elif ours in found:
            raise ConfigError("Two tensors would have one name", where="rename", got=ours, fix="correct the table")
        else:
            found[ours] = tensor
    unused = sorted(table.keys() - used)
    if unused:
        raise ConfigError(
            "A line of the table fits no tensor",
            where="rename",
            got=", ".join(unused[:3]),
            expected=f"names such as {', '.join(sorted(tensors)[:3])}",
            fix="correct the table; a beginning of names ends with a dot",
        )
    return found, left_out


def convert(
    foreign: Foreign,
    target: Target,
    folder: Path,
    *,
    table: Mapping[str, str | None],
    fresh: Sequence[str],
    source: str,
    name: str,
    version: str,
) -> tuple[Model, Imported]:
    """Build, fill, save with a stored embedding of its own, and write down what was done.

    Raises:
        CheckpointError: If a tensor does not fit and may not start fresh, a weight is no number, or something else is
            in the folder.
        ConfigError: As `renamed`.
    """
    tensors, left_out = renamed(load_file(foreign.tensors), table)
    check_asked(target.config, "model")
    model = build_model(target.config)
    _refuse_no_numbers({key: value for key, value in tensors.items() if key in model.state_dict()})
    wide = {key: _widened(value, model.state_dict().get(key)) for key, value in tensors.items()}
    # By the same door as any weights: what does not fit is told by name, and the share with it.
    ours = foreign.tensors.with_name("renamed.safetensors")
    save_file(wide, ours)
    loaded: Loaded = fill(model, ours, tuple(fresh))
    model.eval()
    save_model(model, folder, preprocess=target.preprocess)
    record = Imported(
        name=name,
        source=source,
        source_sha256=foreign.digest,
        kind=foreign.kind,
        rename=dict(table),
        matched=loaded.matched,
        total=loaded.total,
        fresh=loaded.fresh,
        widened=sum(wide[key] is not value for key, value in tensors.items()),
        left_out=left_out + loaded.left_out,
        others=foreign.others,
        hdt_fm=version,
    )
    _write(folder, record)
    return model, record


def _refuse_no_numbers(tensors: Mapping[str, Tensor]) -> None:
    wrong = [name for name, value in tensors.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if wrong:
        raise CheckpointError(
            "Weights of the file are no numbers",
            where=wrong[0],
            expected="finite weights",
            got=f"NaN or infinity in {len(wrong)} of {len(tensors)} tensors",
            fix="ask its author for a file from before the training went wrong",
        )


def _widened(value: Tensor, own: Tensor | None) -> Tensor:
    """Half precision as float32, which holds each of its numbers; nothing else is converted."""
    half = value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if half and own is not None and own.dtype == torch.float32 else value


def _write(folder: Path, record: Imported) -> None:
    path = folder / IMPORTED_NAME
    path.write_text(record.model_dump_json(indent=1) + "\n")
    lines = [*(folder / SUMS_NAME).read_text().splitlines(), f"{sha256(path)}  {IMPORTED_NAME}"]
    (folder / SUMS_NAME).write_text("\n".join(sorted(lines, key=lambda line: line.split("  ")[1])) + "\n")


def told(record: Imported) -> dict[str, Any]:
    """The record as a line each."""
    return {
        "weights": f"{record.matched} of {record.total} tensors matched",
        "fresh": ", ".join(record.fresh[:5]) + (" …" if len(record.fresh) > 5 else "") or None,
        "widened to float32": record.widened or None,
        "left out": record.left_out or None,
        "read from": f"{record.source} ({record.kind}, sha256 {record.source_sha256[:12]})",
    }

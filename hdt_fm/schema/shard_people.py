"""Nobody is on two sides: what the subject table of a shard folder says, and what its shards hold."""

import numpy as np
from numpy.typing import NDArray

from hdt_fm.schema.errors import LeakError
from hdt_fm.schema.shard import ShardManifest

FIX = "do not train on this folder; build it again with `hdt-fm shard`"


def check_apart(manifest: ShardManifest) -> None:
    """No person and no group of the subject table is in two splits. Older tables do not say, and pass.

    Raises:
        LeakError: If one is.
    """
    homes: dict[tuple[str, str], str] = {}
    for row in manifest.subjects:
        for kind, name in (("person", row.subject), ("group", row.group)):
            if row.split and homes.setdefault((kind, name), row.split) != row.split:
                raise LeakError(f"A {kind} is in two splits of a shard folder", where=f"subject {row.subject}", fix=FIX)
        if row.split and row.split not in manifest.splits:
            raise LeakError("A person is in a split that is not there", where=f"subject {row.subject}", fix=FIX)


def strangers(manifest: ShardManifest, split: str, rows: NDArray[np.integer]) -> list[int]:
    """Rows of the subject table, among those that the shards of a split name, that do not belong there."""
    table = manifest.subjects
    return [int(row) for row in np.unique(rows) if not 0 <= row < len(table) or table[row].split not in ("", split)]

"""Does a recording of another unit, way up or rate show in its values? Real recordings, people never seen.

python scripts/reproduce_contract.py [--quick] [--json FILE] [--root runs/contract]

Recordings are those of HDT_FM_REAL_DATA, sharded here if they are not yet (stress_predict: wrist, 28 people; bidmc:
bedside, 36 people). People are dealt into five folds; what is usual is learned from the others (`Typical`), and each
person's prepared windows are asked as they are, which should raise no doubt, and spoilt in one way at a time, which
should. The table counts people. The rate is spoilt on the windows: two neighbours become one at half their samples, as
a recording does that says 64 Hz and has 32. Nothing is trained. --quick: one fold in five.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from hdt_fm.cli.compose import compose_config  # noqa: E402
from hdt_fm.cli.run import call  # noqa: E402
from hdt_fm.data.selection import fold_subjects, positions_of  # noqa: E402
from hdt_fm.data.shards import ShardFolder  # noqa: E402
from hdt_fm.signal.contract import Look, doubts, look, typical  # noqa: E402

SETS = ("stress_predict", "bidmc")
WINDOWS = 64
Windows = tuple[NDArray[np.float32], NDArray[np.bool_]]
Change = Callable[[Windows], Windows]


def _times(factor: float) -> Change:
    return lambda windows: (windows[0] * np.float32(factor), windows[1])


def _halved(windows: Windows) -> Windows:
    """Two windows in the samples of one: what was recorded at half the rate that it says."""
    values, observed = windows
    count = len(values) // 2 * 2
    joined = np.concatenate([values[0:count:2], values[1:count:2]], axis=2)[..., ::2]
    seen = np.concatenate([observed[0:count:2], observed[1:count:2]], axis=1)[:, ::2]
    return np.ascontiguousarray(joined), np.ascontiguousarray(seen)


def _doubled(windows: Windows) -> Windows:
    """Half a window in the samples of a whole one: what was recorded at twice the rate that it says."""
    values, observed = windows
    half = values.shape[2] // 2
    return values[..., :half].repeat(2, axis=2), observed[:, :half].repeat(2, axis=1)


CHANGES: dict[str, Change] = {
    "as it is": lambda windows: windows,
    "x 9.81": _times(9.80665),
    "x 1000": _times(1000),
    "x 0.001": _times(0.001),
    "x -1": _times(-1),
    "half the rate": _halved,
    "twice the rate": _doubled,
}


def looks_of(folder: ShardFolder, rows: NDArray[np.int64], change: Change) -> dict[str, list[Look]]:
    """Of each modality, one of each of these people who have it."""
    found: dict[str, list[Look]] = {name: [] for name in folder.modalities}
    for row in rows:
        batch = folder.gather(positions_of(folder, np.array([row]))[:WINDOWS])
        for name, signal in batch.signals.items():
            here = batch.column(name).numpy()
            if here.sum() < 8:
                continue
            windows = change((signal.values.numpy()[here], signal.observed.numpy()[here]))
            found[name].append(look(name, *windows, signal.sampling_rate_hz))
    return found


def measured(name: str, root: Path, *, quick: bool) -> list[dict[str, object]]:
    """A row for each modality: of how many people each change raised a doubt."""
    overrides = [f"experiment={name}", f"root={root / name}"]
    shards = Path(compose_config("shard", overrides).value("shards"))
    if not (shards / "manifest.json").is_file():
        call("shard", compose_config("shard", overrides))
    folder = ShardFolder.open(shards)
    people = np.arange(len(folder.manifest.subjects))
    folds = fold_subjects([row.group for row in folder.manifest.subjects], 5, seed=0)
    counted = {modality: {change: [0, 0] for change in CHANGES} for modality in folder.modalities}
    clean = {row: looks_of(folder, np.array([row]), CHANGES["as it is"]) for row in people}
    for fold in folds[: 1 if quick else None]:
        others = np.setdiff1d(people, fold)
        for modality in folder.modalities:
            usual = typical([one for row in others for one in clean[row][modality]])
            if usual is None:
                continue
            for change, spoil in CHANGES.items():
                for found in looks_of(folder, fold, spoil)[modality]:
                    counted[modality][change][0] += bool(doubts(modality, found, usual))
                    counted[modality][change][1] += 1
    return [{"set": name, "modality": modality, **changes} for modality, changes in counted.items()]


def markdown(rows: list[dict[str, object]]) -> str:
    """People in doubt of people asked."""
    head = ["set", "modality", *CHANGES]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in rows:
        cells = [str(row["set"]), str(row["modality"])]
        cells += [f"{row[change][0]} of {row[change][1]}" for change in CHANGES]  # type: ignore[index]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--root", type=Path, default=Path("runs/contract"))
    asked = parser.parse_args()
    rows = [row for name in SETS for row in measured(name, asked.root, quick=asked.quick)]
    print(markdown(rows))
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

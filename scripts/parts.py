"""A reproduction in parts, a file a part: what `--part`, `--quick`, `--json` and `--seeds` do (not to be started)."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
from hdt_fm.cli.progress import reporter  # noqa: E402
from hdt_fm.report.tables import flat_rows, markdown  # noqa: E402


def measure(doc: str, stem: str, parts: Sequence[str], *, further: Sequence[str] = (), seeds: int = 2) -> None:
    """Measure the parts that the command line names, and print them.

    Args:
        doc: Of the script; its first line is the help.
        stem: Part `x` is the file `STEM_x.py` with `table(quick=, seeds=, progress=) -> Result`.
        parts: Those that run when none is named.
        further: Those that run by name alone.
    """
    options = _options(doc, parts, further, seeds)
    results, begin = [], time.process_time()
    for part in options.parts:
        before = time.process_time()
        asked = 1 if options.quick else options.seeds
        found = import_module(f"{stem}_{part}").table(quick=options.quick, seeds=asked, progress=reporter(part))
        results.append(found)
        print(f"\n{markdown(found)}\n\n{part}: {time.process_time() - before:.0f} CPU-s\n", flush=True)
    print(f"all: {time.process_time() - begin:.0f} CPU-s")
    if options.json:
        options.json.write_text(json.dumps(flat_rows(results), indent=1) + "\n")


def _options(doc: str, parts: Sequence[str], further: Sequence[str], seeds: int) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    beside = f"; further ones: {','.join(further)}" if further else ""
    parser.add_argument("--part", default=",".join(parts), help=f"by commas{beside}")
    parser.add_argument("--quick", action="store_true", help="few people, one seed: numbers mean nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as a flat list")
    parser.add_argument("--seeds", type=int, default=seeds, help=f"{seeds}; tables of the README say theirs")
    options = parser.parse_args()
    options.parts = [one.strip() for one in options.part.split(",") if one.strip()]
    known = (*parts, *further)
    if not options.parts or (strange := [one for one in options.parts if one not in known]):
        named = ", ".join(strange) if options.parts else "none named"
        parser.error(f"--part: no such part: {named}; there are {', '.join(known)}")
    return options

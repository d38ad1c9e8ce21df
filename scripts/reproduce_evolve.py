"""Level 4 against floors: dose, domains in turn, drift, killed updates, a streamed twin, real exposure.

python scripts/reproduce_evolve.py [--part dose,stream,drift,kills,twin,world] [--quick] [--json FILE] [--seeds 2]
python scripts/reproduce_evolve.py --part expose,heads

dose    what has accumulated of an exposure, on simulated people whose dose is known (scripts/evolve_dose.py)
stream  one cohort after the other: what is learned, and what is forgotten (scripts/evolve_stream.py)
drift   a sensor, a body or a record that changes on a known day (scripts/evolve_drift.py)
kills   updates killed at random points (scripts/evolve_kills.py)
twin    what one more window of a person costs (scripts/evolve_twin.py)
world   weather, place and light beside the next day's body, with a placebo (scripts/evolve_world.py)

Further, by name alone:

expose  exposures from a table to a twin: verdicts, doses, however a record is cut (scripts/evolve_expose.py)
heads   probes that learn one more site (scripts/evolve_heads.py)

`stream`, `drift`, `world` and `heads` read the recordings of HDT_FM_REAL_DATA; all but `world` shard them first
(runs/NAME/shard).
"""

import argparse
import json
import sys
import time
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
from hdt_fm.cli.progress import reporter  # noqa: E402
from hdt_fm.report.tables import flat_rows, markdown  # noqa: E402

PARTS = ("dose", "stream", "drift", "kills", "twin", "world")
FURTHER = ("expose", "heads")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", default=",".join(PARTS), help=f"by commas; further ones: {','.join(FURTHER)}")
    parser.add_argument("--quick", action="store_true", help="few people, one seed: numbers mean nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as a flat list")
    parser.add_argument("--seeds", type=int, default=2, help="2; tables of the README say theirs")
    options = parser.parse_args()
    chosen = [one.strip() for one in options.part.split(",") if one.strip()]
    known = (*PARTS, *FURTHER)
    if not chosen or (strange := [one for one in chosen if one not in known]):
        named = ", ".join(strange) if chosen else "none named"
        parser.error(f"--part: no such part: {named}; there are {', '.join(known)}")
    results, begin = [], time.process_time()
    for part in chosen:
        before = time.process_time()
        seeds = 1 if options.quick else options.seeds
        found = import_module(f"evolve_{part}").table(quick=options.quick, seeds=seeds, progress=reporter(part))
        results.append(found)
        print(f"\n{markdown(found)}\n\n{part}: {time.process_time() - before:.0f} CPU-s\n", flush=True)
    print(f"all: {time.process_time() - begin:.0f} CPU-s")
    if options.json:
        options.json.write_text(json.dumps(flat_rows(results), indent=1) + "\n")


if __name__ == "__main__":
    main()

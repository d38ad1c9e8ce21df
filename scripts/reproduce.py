"""Shards, pretrains per fold and prints the full table of one experiment; reproduce_*.py call this."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from hdt_fm.cli.compose import compose_config
from hdt_fm.cli.run import call
from hdt_fm.report.tables import flat_rows, markdown
from hdt_fm.schema.result import Result

RETRIEVAL = "cross-modal retrieval"
# Small enough for a minute: the numbers of a quick run only show that the path works.
QUICK = ["debug=tiny", "cohort.limit=6", "protocol.also=[]", "protocol.personal=[nothing]"]


def reproduce(experiment: str, about: str, *, always: Sequence[str] = (), further: Sequence[str] = ()) -> None:
    """Command line of one table: `--quick`, `--json FILE`, then overrides.

    Args:
        always: Overrides that the table is made with, before those of the command line.
        further: Overrides of a second evaluation of the same encoders, whose tables follow the first ones.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="six people, a few steps, the first tables: under a minute, numbers mean nothing",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as a flat list")
    parser.add_argument("overrides", nargs="*", help="settings as for hdt-fm, e.g. training.steps=500")
    options = parser.parse_args()
    quick = [*QUICK, f"name={experiment}_quick"] if options.quick else []
    overrides = [f"experiment={experiment}", *always, *quick, *options.overrides]
    # Another seed is another split and other weights, over the same shards.
    call("shard", compose_config("shard", [*overrides, "shard.seed=0"]))
    # Beside the run of the published checkpoint and those of other seeds, so that no table overwrites another.
    shards = compose_config("shard", overrides).value("shards")
    folds = [f"shards={shards}", "protocol.people=per_fold", "root=runs/${name}/per_fold/seed_${seed}"]
    results: list[Result] = []
    for passed in ((), further) if further and not options.quick else ((),):
        record = call("evaluate", compose_config("evaluate", [*overrides, *folds, *passed]))
        # The second pass would print the same retrieval again.
        results += [result for result in record.results if not passed or result.name != RETRIEVAL]
    for result in results:
        print(markdown(result), end="\n\n")
    if options.json:
        options.json.write_text(json.dumps(flat_rows(results), indent=1) + "\n")

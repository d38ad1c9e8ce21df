"""`hdt-fm demo`: every station in turn on a simulated cohort; ends with a table, a report and a card."""

import json
from pathlib import Path
from typing import Any

from hdt_fm.cli.compose import Config, compose_config
from hdt_fm.cli.run import Run, call, ending
from hdt_fm.schema.result import RunRecord

PATH: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("shard", ()),
    ("pretrain", ()),
    ("embed", ()),
    ("finetune", ()),
    ("finetune", ("head=forecast", "finetune.label=heart_rate")),
    ("evaluate", ()),
    ("explain", ()),
    ("publish", ()),
)


def run(run: Run) -> RunRecord:
    """Walk the path; each station is the verb itself, with the settings of this command line."""
    own = run.config.overrides
    chosen = own if any(word.startswith("experiment=") for word in own) else ["experiment=demo", *own]
    seconds: dict[str, float] = {}
    outputs: dict[str, Path] = {}
    for verb, more in PATH:
        run.say(f"\n== hdt-fm {verb} {' '.join([*chosen, *more])}")
        config = compose_config(verb, [*chosen, *more])
        record = call(verb, config)
        run.say(ending(record, Path(config.value("root")) / verb))
        if record.summary.get("stopped by"):
            raise KeyboardInterrupt
        seconds[verb] = round(seconds.get(verb, 0) + record.seconds, 1)
        outputs |= {f"{verb} {name}": Path(config.value("root")) / verb / path for name, path in record.outputs.items()}
    run.say("\n" + first_table(outputs["evaluate table"].read_text()))
    shown = ("evaluate table", "explain report", "publish published")
    return run.finish(
        outputs={name: outputs[name] for name in shown},
        following=("hdt-fm list", "hdt-fm shard cohort=folder source=FOLDER_OF_RECORDINGS name=my_cohort"),
        summary={"seconds by station": json.dumps(seconds)},
    )


def first_table(text: str) -> str:
    """The head and the first task of a report's markdown; the file holds the rest."""
    return "\n\n**".join(text.split("\n\n**")[:2])


def plan(config: Config) -> dict[str, Any]:
    """Name the stations."""
    return {"stations": " -> ".join(verb for verb, _ in PATH), "root": config.value("root")}

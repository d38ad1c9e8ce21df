"""`hdt-fm update`: a head goes on learning with one more cohort, site, device or season, and shows what it forgot.

The path: `settings.py` what is told; `begin.py` the first version; `go_on.py` one more domain;
`heads.py` which kinds of heads can (`series.py`, `risk.py`, `probe.py`);
`people.py` who teaches and who is asked; `score.py`, `judged.py` what was forgotten and what is
refused; `line.py` what a version holds; `words.py` the words `take` and `withdraw`.
"""

from pathlib import Path
from typing import Any

from hdt_fm.checkpoint.versions import Versions
from hdt_fm.cli.compose import Config
from hdt_fm.cli.run import Run
from hdt_fm.cli.update.begin import begin as begin_line
from hdt_fm.cli.update.begin import check_beginning
from hdt_fm.cli.update.go_on import check_new
from hdt_fm.cli.update.go_on import go_on as go_on_with
from hdt_fm.cli.update.heads import name_of
from hdt_fm.cli.update.line import State
from hdt_fm.cli.update.settings import DEFAULT, settings_of
from hdt_fm.cli.workflow import open_shards, prepare_machine
from hdt_fm.schema.result import RunRecord
from hdt_fm.training.updating.strategies import STRATEGIES


def run(run: Run) -> RunRecord:
    """Begin a line with a checkpoint and the cohort that taught it, or go on with a line and a new cohort."""
    prepare_machine(run.config)
    settings = settings_of(run.config)
    line = Path(settings.line)
    if line.exists():
        return go_on_with(run, settings, Versions(line))
    return begin_line(run, settings, line)


def plan(config: Config) -> dict[str, Any]:
    """What would be learned, and of whom; refuses what can be refused before anything is taught."""
    settings, folder = settings_of(config), open_shards(config)
    line = Path(settings.line)
    of_it: dict[str, Any] = {"domain": settings.domain, "people": len(folder.manifest.subjects)}
    if not line.exists():
        check_beginning(config, settings, folder)
        chosen = settings.strategy or DEFAULT
        words = f"{chosen}: {STRATEGIES[chosen].summary}"
        return {"line": "begins", "head": name_of(config), **of_it, "strategy": words}
    with Versions(line).opened() as files:
        before = State.read(files)
    check_new(before, settings, folder)
    kept = before.domains
    return {
        "line": "goes on",
        "head": kept.head,
        **of_it,
        "strategy": f"{kept.strategy}: {STRATEGIES[kept.strategy].summary}",
        "domains before": ", ".join(one.name for one in kept.domains),
    }

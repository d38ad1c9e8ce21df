"""`explain.fitness`: by which table methods are judged; the shipped one, one measured now, or one of an earlier run."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from hdt_fm.cli.explain.mapping import NO_ENCODER, by_encoder, chosen
from hdt_fm.cli.explain.told import Told
from hdt_fm.cli.run import Run
from hdt_fm.explain.fitness.architecture import architecture_of
from hdt_fm.explain.fitness.cost import models_of, most_seconds
from hdt_fm.explain.fitness.measure import Asked, measure
from hdt_fm.explain.fitness.table import REMEDY, read_table, rows_of, write_table
from hdt_fm.schema.errors import ConfigError

SHIPPED, MEASURE = "table", "measure"
FITNESS_NAME = "fitness.json"
# As the shipped table was measured.
ASKED = Asked()


def own_table(told: Told, run: Run) -> Path | None:
    """The table that goes before the shipped one; measured first where that is asked and methods have no row.

    Raises:
        ConfigError: If the answer is made without the encoder, or a named table knows no models of this kind.
        ExplainError: If a named table cannot be read.
        UnknownNameError, ConfigError, ExplainError: As `chosen` does, before anything is measured.
    """
    if told.settings.fitness != MEASURE:
        return _named(told)
    lacking = _lacking(told)
    if not lacking:
        run.say("fitness: every method was measured on models of this kind; nothing to measure")
        return None
    config, progress = told.model.config, run.progress("fitness")
    most, models = most_seconds(config, lacking, asked=ASKED), models_of(config, ASKED)
    run.say(f"measuring the fitness of {', '.join(lacking)} on {models} models: at most about {most:.0f} s")
    begun: list[str] = []

    def tell(what: str) -> None:
        progress(len(begun), models, what)
        begun.append(what)

    plots = measure(config, lacking, asked=ASKED, progress=tell)
    progress(models, models, "")
    settings = {**asdict(ASKED), "kinds": list(ASKED.kinds), "seeds": list(ASKED.seeds)}
    path = run.folder / FITNESS_NAME
    write_table(plots, path, methods=lacking, settings=settings, command=f"hdt-fm explain {run.config.chosen}")
    run.say(f"fitness -> {path}; explain.fitness={path} reads it again")
    return path


def planned_table(told: Told) -> tuple[Path | None, dict[str, Any]]:
    """For a dry run: the table that is named, or how long it would take at most to measure one.

    Raises:
        As `own_table`.
    """
    if told.settings.fitness != MEASURE:
        return _named(told), {}
    lacking = _lacking(told)
    if not lacking:
        return None, {}
    most = round(most_seconds(told.model.config, lacking, asked=ASKED))
    return None, {"methods to measure": ", ".join(lacking), "seconds to measure them, at most": most}


def _lacking(told: Told) -> list[str]:
    """Methods that can be had, and that nobody asked where a planted signal is in models of this kind."""
    _refuse_without_encoder(told)
    rows = rows_of(told.model.config)
    return [name for name in chosen(told).names if name not in rows]


def _named(told: Told) -> Path | None:
    if told.settings.fitness == SHIPPED:
        return None
    _refuse_without_encoder(told)
    path, architecture = Path(told.settings.fitness), architecture_of(told.model.config)
    known = read_table(path)
    if architecture not in known:
        raise ConfigError(
            "This table of fitness is of models of another kind",
            where="explain.fitness",
            expected=architecture,
            got="; ".join(known) or "an empty table",
            fix=f"{REMEDY}, or explain.fitness={SHIPPED} for the shipped table",
        )
    return path


def _refuse_without_encoder(told: Told) -> None:
    if not by_encoder(told):
        raise ConfigError(
            "No fitness can be measured for this answer",
            where="explain.fitness",
            expected=SHIPPED,
            got=f"{told.settings.fitness}; {NO_ENCODER}",
            fix=f"explain.fitness={SHIPPED}",
        )

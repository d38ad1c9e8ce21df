"""The first version of a line: the checkpoint as it is, and what is kept of those who taught it."""

import time
from pathlib import Path
from typing import Any

from hdt_fm.checkpoint import load, load_preprocess
from hdt_fm.checkpoint.versions import Versions
from hdt_fm.cli.run import Run
from hdt_fm.cli.settings import SeriesSettings
from hdt_fm.cli.update.heads import check_strategy, name_of, teaching
from hdt_fm.cli.update.judged import judged_asked, scores_of, shown_scores
from hdt_fm.cli.update.line import Domain, Domains, State
from hdt_fm.cli.update.people import sides
from hdt_fm.cli.update.settings import DEFAULT, UpdateVerbSettings
from hdt_fm.cli.workflow import encoder_digest, open_shards
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.ledger import Told
from hdt_fm.schema.result import RunRecord
from hdt_fm.training.updating.anchors import anchors_of
from hdt_fm.training.updating.strategies import STRATEGIES


def begin(run: Run, settings: UpdateVerbSettings, line: Path) -> RunRecord:
    """Judge the head on those who never taught it, and take in those who did.

    Raises:
        CheckpointError: If the checkpoint has no such head.
        ConfigError: If it cannot be updated, or not so; if nobody knows who taught it.
    """
    checkpoint, name = Path(settings.checkpoint), name_of(run.config)
    model, folder, chosen = load(checkpoint), open_shards(run.config), settings.strategy or DEFAULT
    way = teaching(run.config, model, name)
    check_strategy(way, chosen)
    if not Path(run.config.value("checkpoint")).is_dir():
        raise ConfigError(
            "It is not known who taught the head and who was kept apart",
            where="checkpoint",
            expected="the folder that pretrain made, with people.json beside it",
            got=str(run.config.value("checkpoint")),
            fix="name it as finetune did: checkpoint=FOLDER",
        )
    began, seed, beside = time.monotonic(), int(run.config.value("seed")), treatments_of(run)
    label = way.label(folder)
    # From here on by the label as the line keeps it.
    way = teaching(run.config, model, name, label)
    here = way.people(folder, beside)
    teach, asked = sides(run.config, here)
    rows, strategy = way.taught(here, here.rows(teach)), STRATEGIES[chosen]
    memory = strategy.memory(rows.layout, most_bytes=settings.most_bytes, seed=seed)
    if memory is not None:
        memory.add(settings.domain, rows)
    judged = judged_asked(way, here, asked)
    first = Domain(
        name=settings.domain,
        shards=folder.digest,
        asked=tuple(asked),
        teachers=tuple(teach),
        treatments=beside is not None,
        score=judged.value,
    )
    scores = scores_of(way.score, settings.domain, judged)
    state = State(
        model,
        load_preprocess(checkpoint),
        Domains(head=name, strategy=chosen, domains=(first,), label=label, newest=scores),
        memory,
        anchors_of(way.lesson(rows, memory), rows) if strategy.anchor else (),
    )
    told = Told(
        data=(folder.digest,),
        scores=scores,
        facts={"head": name, "strategy": chosen, "encoder": encoder_digest(model), **cost(state, began)},
        note=f"begins with {settings.domain}",
    )
    Versions.create(line, state.write, told)
    return finish(run, settings, scores, {"version": 1})


def treatments_of(run: Run) -> str | None:
    """Shards of what was given to the people of the config's own shards."""
    return run.config.section("series", SeriesSettings).treatments


def cost(state: State, began: float) -> dict[str, Any]:
    """Seconds since `began`, and how large the memory is."""
    kept = state.memory.bytes if state.memory is not None else 0
    return {"seconds": round(time.monotonic() - began, 2), "memory MB": round(kept / 1e6, 3)}


def finish(run: Run, settings: UpdateVerbSettings, scores: dict[str, float], shown: dict[str, Any]) -> RunRecord:
    """The run's record."""
    return run.finish(
        outputs={"line": Path(settings.line)},
        following=(
            f"hdt-fm update take {settings.line} --to FOLDER",
            f"hdt-fm twin log {settings.line}",
            f"hdt-fm twin rollback {settings.line}",
        ),
        summary={**shown_scores(scores), **shown},
    )

"""The first version of a line: the checkpoint as it is, and what is kept of those who taught it."""

import time
from pathlib import Path
from typing import Any

from hdt_fm.checkpoint import load, load_preprocess
from hdt_fm.checkpoint.versions import Versions
from hdt_fm.cli.compose import Config
from hdt_fm.cli.run import Run
from hdt_fm.cli.settings import SeriesSettings
from hdt_fm.cli.update.heads import Teaching, check_strategy, name_of, teaching
from hdt_fm.cli.update.judged import judged_asked, scores_of, shown_scores
from hdt_fm.cli.update.line import Domain, Domains, State
from hdt_fm.cli.update.people import sides
from hdt_fm.cli.update.settings import DEFAULT, UpdateVerbSettings
from hdt_fm.cli.workflow import encoder_digest, open_shards
from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.ledger import Told
from hdt_fm.schema.result import RunRecord
from hdt_fm.training.updating.anchors import anchors_of
from hdt_fm.training.updating.strategies import STRATEGIES

# What a verb leaves in its folder; finetune's says which shards it read.
RECORD = "result.json"


def begin(run: Run, settings: UpdateVerbSettings, line: Path) -> RunRecord:
    """Judge the head on those who never taught it, and take in those who did.

    Raises:
        CheckpointError: If the checkpoint has no such head.
        ConfigError: If it cannot be updated, or not so; if nobody knows who taught it, or others did.
    """
    checkpoint, name, chosen = Path(settings.checkpoint), name_of(run.config), settings.strategy or DEFAULT
    folder = open_shards(run.config)
    way = check_beginning(run.config, settings, folder)
    model = way.model
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


def check_beginning(config: Config, settings: UpdateVerbSettings, folder: ShardFolder) -> Teaching:
    """Whether a line can begin with a checkpoint and these shards; how its head goes on learning.

    Raises:
        CheckpointError: If the checkpoint has no such head.
        ConfigError: As `begin`.
    """
    checkpoint, taught_by = Path(settings.checkpoint), "hdt-fm update experiment=FIRST update.line=FOLDER"
    if not checkpoint.is_dir():
        raise ConfigError(
            "There is no line to go on with, and no checkpoint to begin one",
            where="update.line, update.checkpoint",
            expected="the folder of a line, or a finetuned checkpoint and the shards of those who taught it",
            got=f"{settings.line} and {settings.checkpoint}",
            fix=f"begin with the first cohort: {taught_by}, after its finetune",
        )
    way = teaching(config, load(checkpoint), name_of(config))
    check_strategy(way, settings.strategy or DEFAULT)
    if not Path(config.value("checkpoint")).is_dir():
        raise ConfigError(
            "There is no line here yet, and a new one begins with those who taught the head, who are not known",
            where="update.line, checkpoint",
            expected="a line that was begun; or the folder that pretrain made, with people.json beside it",
            got=f"{settings.line} and {config.value('checkpoint')}",
            fix=f"begin with the cohort that taught the head: {taught_by}; or name its encoder as finetune did: "
            "checkpoint=FOLDER",
        )
    others, manifest = _taught_by(checkpoint, name_of(config)), folder.manifest
    # People who have left since change the digest of a folder: it is the same cohort all the same.
    if others not in (None, folder.digest) and not manifest.revoked_windows and manifest.data_version == 1:
        raise ConfigError(
            "A new line begins with the cohort that taught the head, and these shards did not",
            where="shards",
            expected="the shards that finetune read",
            got=f"those of {settings.domain}",
            fix=f"begin with them: {taught_by}; then come back with these and the same update.line",
        )
    return way


def _taught_by(checkpoint: Path, head: str) -> str | None:
    """Digest of the shards that `hdt-fm finetune` taught a head, by the record beside the checkpoint; None without."""
    try:
        record = RunRecord.model_validate_json((checkpoint.parent / RECORD).read_bytes())
    except (OSError, ValueError):
        return None
    found = record.provenance.get("shards") if record.summary.get("head") == head else None
    return found if isinstance(found, str) else None


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

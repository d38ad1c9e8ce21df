"""One more domain for a line: learned, judged on its own people and on earlier ones, refused where it forgets."""

import copy
import time
from dataclasses import replace

from hdt_fm.checkpoint.versions import Versions
from hdt_fm.cli.run import Run
from hdt_fm.cli.update.begin import cost, finish, treatments_of
from hdt_fm.cli.update.heads import teaching
from hdt_fm.cli.update.judged import Forgetting, Found, earlier_shards, judged_asked, refuse, scores_of
from hdt_fm.cli.update.line import Domain, State
from hdt_fm.cli.update.people import check_cut, sides
from hdt_fm.cli.update.settings import UpdateVerbSettings
from hdt_fm.cli.workflow import open_shards
from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.ledger import Told
from hdt_fm.schema.result import RunRecord
from hdt_fm.training.updating.adapters import change_of
from hdt_fm.training.updating.anchors import anchors_of
from hdt_fm.training.updating.strategies import STRATEGIES
from hdt_fm.training.updating.update import UpdateSettings, learn_domain


def go_on(run: Run, settings: UpdateVerbSettings, versions: Versions) -> RunRecord:
    """Learn the config's shards, or leave the line as it was.

    Raises:
        ConfigError: If they were learned already, do not fit the head, or too much would be forgotten.
    """
    with versions.opened() as files:
        before = State.read(files)
    folder = open_shards(run.config)
    check_new(before, settings, folder)
    began, seed, strategy = time.monotonic(), int(run.config.value("seed")), STRATEGIES[before.domains.strategy]
    model, kept = copy.deepcopy(before.model), before.domains
    was, way = (teaching(run.config, one, kept.head, kept.label) for one in (before.model, model))
    here = way.people(folder, treatments_of(run))
    teach, asked = sides(run.config, here, _ever(before))
    run.say(f"{settings.domain}: {len(teach)} people teach {kept.head}, {len(asked)} are asked")
    forgetting = Forgetting(before, way, before.memory, earlier_shards(before, settings), seed)
    judged_before = judged_asked(was, here, asked)
    apart = here.apart(teach, way.apart, seed)
    rows = way.taught(here, here.rows([one for one in teach if one not in apart]))
    memory = copy.deepcopy(before.memory)
    if memory is not None:
        memory.add(settings.domain, rows)
    lesson, alone = way.lesson(rows, before.memory), strategy.trains == "adapter"
    learn_domain(lesson, rows, settings.learning(strategy), memory=before.memory, anchors=before.anchors, seed=seed)
    way.calibrate(here, apart, rows, before.memory, seed, alone=alone)
    judged = judged_asked(way, here, asked)
    found = Found({}, {}, {}, ()) if alone else forgetting.after()
    scores = {
        **scores_of(way.score, settings.domain, judged),
        **scores_of(way.score, f"{settings.domain} before it was learned", judged_before),
        **found.scores,
    }
    accepted = refuse(found, settings, way.score)
    learned = Domain(
        name=settings.domain,
        shards=folder.digest,
        asked=tuple(asked),
        teachers=tuple(teach),
        treatments=treatments_of(run) is not None,
        score=judged.value,
    )
    domains = (*(found.onto(one) for one in kept.domains), learned)
    state = replace(before, model=model, memory=memory).with_domains(domains, updates=kept.updates + 1, newest=scores)
    if alone:
        own = change_of(was.head, way.head, UpdateSettings().rank)
        state = replace(state, model=before.model, adapters={**before.adapters, settings.domain: own})
    if strategy.anchor:
        state = replace(state, anchors=anchors_of(lesson, rows, before.anchors))
    facts = {"head": kept.head, "strategy": kept.strategy, "accepted": accepted, **cost(state, began)}
    facts |= {f"updates not judged on {one.name}": one.unjudged for one in domains if one.unjudged}
    told = Told(data=(folder.digest,), scores=scores, facts=facts, note=f"learns {settings.domain}")
    entry = versions.append(state.write, told)
    return finish(run, settings, scores, {"version": entry.version, **found.shown})


def _ever(before: State) -> tuple[set[str], set[str]]:
    """Who was ever asked, and who ever taught."""
    domains = before.domains.domains
    return {who for one in domains for who in one.asked}, {who for one in domains for who in one.teachers}


def check_new(before: State, settings: UpdateVerbSettings, folder: ShardFolder) -> None:
    """Whether a line can go on with these shards.

    Raises:
        ConfigError: If it knows them or a domain of this name, holds to another strategy, or they were cut otherwise.
    """
    if settings.domain in [one.name for one in before.domains.domains]:
        raise ConfigError(
            "The line has learned a domain of this name",
            where="update.domain",
            expected="another name than " + ", ".join(one.name for one in before.domains.domains),
            got=settings.domain,
            fix=f"update.domain={settings.domain}_2, or go back: hdt-fm twin rollback {settings.line}",
        )
    if settings.strategy not in (None, before.domains.strategy):
        raise ConfigError(
            "A line keeps the strategy that it began with",
            where="update.strategy",
            expected=before.domains.strategy,
            got=settings.strategy,
            fix="leave it out, or begin another line",
        )
    _check_unknown(before, folder.digest)
    check_cut(before.preprocess, folder)


def _check_unknown(before: State, digest: str) -> None:
    for one in before.domains.domains:
        if one.shards == digest:
            raise ConfigError(
                "The line has learned these very shards",
                where="shards",
                expected="others than those of " + one.name,
                fix="name the shards of the new cohort: experiment=NAME or shards=FOLDER",
            )

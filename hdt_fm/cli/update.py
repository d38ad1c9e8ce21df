"""`hdt-fm update`: a head goes on learning with one more cohort, site, device or season, and shows what it forgot."""

import copy
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hdt_fm.checkpoint import load, load_preprocess
from hdt_fm.checkpoint.versions import Versions
from hdt_fm.cli.compose import Config
from hdt_fm.cli.run import Run
from hdt_fm.cli.series import COVERAGE, HEAD, head_name, usual
from hdt_fm.cli.settings import SeriesSettings, UpdateVerbSettings
from hdt_fm.cli.update_judged import (
    DRAWN,
    Forgetting,
    Found,
    earlier_shards,
    refuse,
    said_of_rows,
    score_name,
    unit_of,
)
from hdt_fm.cli.update_line import Domain, Domains, State
from hdt_fm.cli.update_people import People, sides
from hdt_fm.cli.workflow import encoder_digest, open_shards, prepare_machine
from hdt_fm.metrics.conformal import scores_of, split_shift
from hdt_fm.schema.errors import CheckpointError, ConfigError, unknown_name
from hdt_fm.schema.ledger import Told
from hdt_fm.schema.result import RunRecord
from hdt_fm.training.forecasts import ask
from hdt_fm.training.heads import take
from hdt_fm.training.updating.adapters import change_of
from hdt_fm.training.updating.anchors import anchors_of
from hdt_fm.training.updating.rows import Taught, read
from hdt_fm.training.updating.strategies import STRATEGIES, Strategy
from hdt_fm.training.updating.update import UpdateSettings, learn_domain

# People of the new domain who teach nobody, and say how wide intervals must be.
APART = 0.2
DEFAULT = "prototypes"
# As `hdt_fm.heads.series_forecast` has it: a hidden feature that hardly moves is not blown up.
LEAST_SCALE = 1e-3


def run(run: Run) -> RunRecord:
    """Begin a line with a checkpoint and the cohort that taught it, or go on with a line and a new cohort."""
    prepare_machine(run.config)
    settings = _settings(run.config)
    line = Path(settings.line)
    if line.exists():
        return _go_on(run, settings, Versions(line))
    if not Path(settings.checkpoint).is_dir():
        raise ConfigError(
            "There is no line to go on with, and no checkpoint to begin one",
            where="update.line, update.checkpoint",
            expected="the folder of a line, or a finetuned checkpoint and the shards of those who taught it",
            got=f"{settings.line} and {settings.checkpoint}",
            fix="begin with the first cohort: hdt-fm update experiment=FIRST update.line=FOLDER, after its finetune",
        )
    return _begin(run, settings, line)


def plan(config: Config) -> dict[str, Any]:
    """What would be learned, and of whom."""
    settings, folder = _settings(config), open_shards(config)
    line = Path(settings.line)
    if not line.exists():
        chosen = settings.strategy or DEFAULT
        return {
            "line": "begins",
            "domain": settings.domain,
            "people": len(folder.manifest.subjects),
            "strategy": f"{chosen}: {STRATEGIES[chosen].summary}",
        }
    with Versions(line).opened() as files:
        state = State.read(files)
    return {
        "line": "goes on",
        "domain": settings.domain,
        "people": len(folder.manifest.subjects),
        "strategy": f"{state.domains.strategy}: {STRATEGIES[state.domains.strategy].summary}",
        "domains before": ", ".join(one.name for one in state.domains.domains),
    }


def _settings(config: Config) -> UpdateVerbSettings:
    settings = config.section("update", UpdateVerbSettings)
    if settings.strategy is not None and settings.strategy not in STRATEGIES:
        raise unknown_name("strategy", settings.strategy, STRATEGIES, where="update.strategy")
    return settings


def _begin(run: Run, settings: UpdateVerbSettings, line: Path) -> RunRecord:
    """The first version: the checkpoint as it is, and what is kept of those who taught it."""
    checkpoint, modality = Path(settings.checkpoint), run.config.section("series", SeriesSettings).modality
    model, name = load(checkpoint), head_name(str(modality))
    if name not in model.heads or model.config.heads[name].name != HEAD:
        raise CheckpointError(
            "The checkpoint has no head that could go on learning",
            where="update.checkpoint",
            expected=f"the head {name}",
            got=", ".join(model.heads) or "no head",
            fix="teach one: hdt-fm finetune experiment=NAME",
        )
    if not Path(run.config.value("checkpoint")).is_dir():
        raise ConfigError(
            "It is not known who taught the head and who was kept apart",
            where="checkpoint",
            expected="the folder that pretrain made, with people.json beside it",
            got=str(run.config.value("checkpoint")),
            fix="name it as finetune did: checkpoint=FOLDER",
        )
    began, chosen = time.monotonic(), settings.strategy or DEFAULT
    head: Any = model.heads[name]
    here = People.of(model, head, open_shards(run.config), _treatments(run.config))
    teach, asked = sides(run.config, here)
    rows = here.taught(head, here.rows(teach))
    strategy = STRATEGIES[chosen]
    memory = strategy.memory(rows.layout, most_bytes=settings.most_bytes, seed=_seed(run))
    if memory is not None:
        memory.add(settings.domain, rows)
    error = here.errors(head, asked)
    first = Domain(
        name=settings.domain,
        shards=here.folder.digest,
        asked=tuple(asked),
        teachers=tuple(teach),
        treatments=_treatments(run.config) is not None,
        score=float(error.mean()),
    )
    state = State(
        model,
        load_preprocess(checkpoint),
        Domains(head=name, strategy=chosen, domains=(first,)),
        memory,
        anchors_of(head, rows) if strategy.anchor else (),
    )
    scores = {score_name(head, settings.domain): float(error.mean())}
    told = Told(
        data=(here.folder.digest,),
        scores=scores,
        facts={"strategy": chosen, "encoder": encoder_digest(model), **_cost(state, began)},
        note=f"begins with {settings.domain}",
    )
    Versions.create(line, state.write, told)
    return _finish(run, settings, scores, {"version": 1})


def _go_on(run: Run, settings: UpdateVerbSettings, versions: Versions) -> RunRecord:
    """One more domain, judged on its own people and on those of earlier ones; refused where it forgets."""
    with versions.opened() as files:
        before = State.read(files)
    _check_new(before, settings)
    began, strategy = time.monotonic(), STRATEGIES[before.domains.strategy]
    model = copy.deepcopy(before.model)
    after = replace(before, model=model)
    folder = open_shards(run.config)
    _check_unknown(before, folder.digest)
    here = People.of(model, after.head, folder, _treatments(run.config))
    ever = [{who for one in before.domains.domains for who in getattr(one, part)} for part in ("asked", "teachers")]
    teach, asked = sides(run.config, here, (ever[0], ever[1]))
    apart = here.apart(teach, APART, _seed(run))
    run.say(f"{settings.domain}: {len(teach)} people teach, {len(asked)} are asked")
    earlier = earlier_shards(before, settings)
    worse = Forgetting(before, after, earlier, _seed(run))
    new_before = here.errors(before.head, asked)
    rows = here.taught(after.head, here.rows([one for one in teach if one not in apart]))
    memory = copy.deepcopy(after.memory)
    if memory is not None:
        memory.add(settings.domain, rows)
    learn_domain(
        after.head, rows, _learning(settings, strategy), memory=after.memory, anchors=after.anchors, seed=_seed(run)
    )
    _calibrate(after, here, apart, rows, _seed(run), alone=strategy.trains == "adapter")
    new_after = here.errors(after.head, asked)
    apart_from_it = strategy.trains == "adapter"
    found = Found({}, {}, {}, ()) if apart_from_it else worse.after()
    scores = {
        score_name(after.head, settings.domain): float(new_after.mean()),
        score_name(after.head, f"{settings.domain} before it was learned"): float(new_before.mean()),
        **found.scores,
    }
    accepted = refuse(found, settings, unit_of(after.head))
    learned = Domain(
        name=settings.domain,
        shards=here.folder.digest,
        asked=tuple(asked),
        teachers=tuple(teach),
        treatments=_treatments(run.config) is not None,
        score=float(new_after.mean()),
    )
    state = replace(after, memory=memory).with_domains((*before.domains.domains, learned))
    if apart_from_it:
        own = change_of(before.head, after.head, UpdateSettings().rank)
        state = replace(state, model=before.model, adapters={**before.adapters, settings.domain: own})
    if strategy.anchor:
        state = replace(state, anchors=anchors_of(after.head, rows, after.anchors))
    facts = {"strategy": before.domains.strategy, "accepted": accepted, **_cost(state, began)}
    told = Told(data=(here.folder.digest,), scores=scores, facts=facts, note=f"learns {settings.domain}")
    entry = versions.append(state.write, told)
    return _finish(run, settings, scores, {"version": entry.version, **found.shown})


def _check_new(before: State, settings: UpdateVerbSettings) -> None:
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


def _check_unknown(before: State, digest: str) -> None:
    for one in before.domains.domains:
        if one.shards == digest:
            raise ConfigError(
                "The line has learned these very shards",
                where="shards",
                expected="others than those of " + one.name,
                fix="name the shards of the new cohort: experiment=NAME or shards=FOLDER",
            )


def _learning(settings: UpdateVerbSettings, strategy: Strategy) -> UpdateSettings:
    return UpdateSettings(
        trains=strategy.trains,
        anchor=strategy.anchor,
        distil=strategy.distil,
        steps=settings.steps,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
    )


def _calibrate(after: State, here: People, apart: set[str], rows: Taught, seed: int, *, alone: bool) -> None:
    """Intervals hold for people apart and for rows drawn of earlier domains, alike; habits are those of all.

    Without rows of earlier domains nobody speaks for them: an interval then gets no narrower than it was.

    Args:
        alone: The head is the new domain's own.
    """
    head, memory = after.head, after.memory
    own = here.rows(apart) if apart else np.zeros(0, dtype=np.int64)
    some = take(here.inputs, torch.from_numpy(own))
    said = [ask(head, some) - here.moments.last[own, None, None]] if len(own) else []
    truth = [here.moments.target[own] - here.moments.last[own, None]] if len(own) else []
    person = [np.unique(here.name[own], return_inverse=True)[1]] if len(own) else []
    many = max(1, len(apart))
    for number, name in enumerate(memory.domains if memory else ()):
        inputs, target = memory.draw(DRAWN, np.random.default_rng([seed, 12, number]), domain=name)  # type: ignore[union-attr]
        spread = float(head.spread)
        said.append(said_of_rows(head, read(rows.layout, torch.from_numpy(inputs))).astype(np.float64) * spread)
        truth.append(target.astype(np.float64) * spread)
        # As many shares as there are people apart, so that domains weigh alike.
        person.append(np.arange(DRAWN) % many + many * (number + 1))
    if said:
        answers, came, who = np.concatenate(said), np.concatenate(truth), np.concatenate(person)
        for column in range(answers.shape[1]):
            low, high = answers[:, column, 1], answers[:, column, -1]
            known = np.isfinite(came[:, column])
            shift = split_shift(low, high, came[:, column], who, COVERAGE)
            head.shift[column] = (
                shift if alone or (memory and memory.domains) else max(shift, float(head.shift[column]))
            )
            head.score_spread[column] = float(np.std(scores_of(low, high, came[:, column])[known]))
    _scale_hidden(after, rows, seed)
    groups = sorted({int(one) for one in here.moments.group[np.isin(here.name, np.unique(rows.person))]})
    both = np.stack([head.usual.numpy(), usual(here.series, groups)])
    head.usual.copy_(torch.from_numpy(np.stack([both[..., 0].min(axis=0), both[..., 1].max(axis=0)], axis=1)))


@torch.no_grad()
def _scale_hidden(after: State, rows: Taught, seed: int) -> None:
    """What a person's own layer reads is scaled anew, by rows of the new domain and of earlier ones, alike."""
    head, memory, draws = after.head, after.memory, np.random.default_rng([seed, 13])
    parts = [rows.inputs[draws.integers(len(rows), size=DRAWN)]]
    parts += [memory.draw(DRAWN, draws, domain=name)[0] for name in (memory.domains if memory else ())]  # type: ignore[union-attr]
    inputs = read(rows.layout, torch.from_numpy(np.concatenate(parts)))
    found = torch.cat([member.hidden(inputs) for member in head.members], dim=-1).double()
    head.hidden_center.copy_(found.mean(0))
    head.hidden_scale.copy_(found.std(0) + LEAST_SCALE)


def _treatments(config: Config) -> str | None:
    return config.section("series", SeriesSettings).treatments


def _seed(run: Run) -> int:
    return int(run.config.value("seed"))


def _cost(state: State, began: float) -> dict[str, Any]:
    kept = state.memory.bytes if state.memory is not None else 0
    return {"seconds": round(time.monotonic() - began, 2), "memory MB": round(kept / 1e6, 3)}


def _finish(run: Run, settings: UpdateVerbSettings, scores: dict[str, float], shown: dict[str, Any]) -> RunRecord:
    return run.finish(
        outputs={"line": Path(settings.line)},
        following=(
            f"hdt-fm update take {settings.line} --to FOLDER",
            f"hdt-fm twin log {settings.line}",
            f"hdt-fm twin rollback {settings.line}",
        ),
        summary={**{name: round(value, 2) for name, value in scores.items()}, **shown},
    )

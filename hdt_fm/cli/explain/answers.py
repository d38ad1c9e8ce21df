"""The answers of a checkpoint that can be explained, by the name of the head."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from hdt_fm.checkpoint import Model
from hdt_fm.cli.explain import ahead, planned
from hdt_fm.cli.explain.answer import Answer, Source, Wanted, not_measured
from hdt_fm.cli.explain.windows import Asked, windows_asked
from hdt_fm.cli.settings import ExplainSettings
from hdt_fm.data.shards import ShardFolder
from hdt_fm.data.stream import OrderedBatches
from hdt_fm.explain.gate.skill import Skill, skill_of
from hdt_fm.explain.targets.probe import probe_target
from hdt_fm.explain.targets.similarity import SimilarityTarget
from hdt_fm.schema.errors import ConfigError, unknown_name

SIMILARITY = "similarity"


def answers(
    model: Model, folder: ShardFolder, settings: ExplainSettings, wanted: Wanted | None = None, *, pretrained: Path
) -> Answer:
    """The answer that the settings name.

    Args:
        folder: With the facts about people that the model reads (`with_static`).
        pretrained: The encoder's checkpoint.

    Raises:
        UnknownNameError: If the checkpoint has no such head, or the head no such answer.
        ConfigError: If a head of that name has nothing to explain, or the shards do not hold what it reads.
    """
    source = Source(model, folder, settings, wanted or Wanted(), pretrained)
    if settings.head == SIMILARITY:
        return _similarity(source)
    if settings.head not in model.heads:
        raise unknown_name("head", settings.head, [*model.heads, SIMILARITY], where="explain.head")
    for prefix, make in KINDS.items():
        if settings.head.startswith(prefix):
            return make(source)
    raise ConfigError(
        "A head of this name cannot be explained",
        where="explain.head",
        got=settings.head,
        expected=f"{', '.join(f'{prefix}NAME' for prefix in KINDS)} or {SIMILARITY}",
    )


def _probe(source: Source) -> Answer:
    """The last class of a class probe in log-odds, or the value."""
    folder, name = source.folder, source.settings.head
    label = name.removeprefix("probe_")
    column = next((one for one in folder.header.labels if one.name == label), None)
    target = len(column.classes) - 1 if column and column.classes else 0
    words = f"log-odds of {column.classes[target]}" if column and column.classes else label
    function = probe_target(source.model, name)
    answer = Answer(
        function=function,
        target=target,
        words=words,
        unit="log-odds" if column and column.classes else "",
        label=label,
        window_s=folder.header.window_s,
        windows=partial(windows_asked, folder, source.settings, source.pretrained),
        skill=not_measured,
    )
    return answer if column is None else replace(answer, skill=partial(_skill_of_probe, source, answer))


def _skill_of_probe(source: Source, answer: Answer) -> Skill | None:
    """By the labels of people whom encoder and head were kept from."""
    folder, label = source.folder, str(answer.label)
    labelled = np.isfinite(folder.labels[label])
    positions = np.flatnonzero(np.isin(folder.subject_rows, list(source.unseen())) & labelled)
    if not len(positions):
        return None
    with torch.no_grad():
        found = [
            answer.function(batch)[:, answer.target] for batch in OrderedBatches(folder, positions, batch_size=256)
        ]
    column = next(one for one in folder.header.labels if one.name == label)
    return skill_of(
        torch.cat(found).numpy(),
        folder.labels[label][positions],
        folder.subject_rows[positions],
        positive_class=answer.target if column.kind == "class" else None,
    )


def _similarity(source: Source) -> Answer:
    """How alike each window is to one that is named."""
    folder, wanted = source.folder, source.wanted
    named = {"scope": "window", "subject": wanted.to_subject, "window": wanted.to_window}
    to = windows_asked(folder, source.settings.model_copy(update=named), source.pretrained)
    function = SimilarityTarget(source.model, to.batch)
    target, words = function.column_of(wanted.similar)

    def others() -> Asked:
        """The reference itself is left out: it is as like as can be, and has nothing to tell."""
        asked = windows_asked(folder, source.settings, source.pretrained)
        kept = np.flatnonzero(asked.positions != to.positions[0])
        if not len(kept):
            raise ConfigError(
                "A window is compared with itself",
                where="explain.to_window",
                expected="another window than the one that is explained",
            )
        return Asked(asked.batch.select(torch.from_numpy(kept)), asked.positions[kept], asked.scope)

    return Answer(
        function=function,
        target=target,
        words=words,
        unit="cosine",
        label=None,
        window_s=folder.header.window_s,
        windows=others,
        skill=not_measured,
    )


KINDS: Mapping[str, Callable[[Source], Answer]] = {
    "probe_": _probe,
    "forecast_": ahead.forecast,
    "risk_": ahead.risk,
    "plans_": planned.effect,
}

"""Emergent zero-shot: a probe learns on one modality's projections and answers on another's, never labelled.

Across cohorts: a probe learns on one cohort and answers on another, of which nobody's label was seen.
"""

from collections.abc import Mapping, Sequence
from itertools import permutations

import numpy as np
from jaxtyping import Float

from hdt_fm.evaluation.audit import refuse_fitted_on_test, row_digests
from hdt_fm.evaluation.baselines import DUMMY, RANDOM_ENCODER
from hdt_fm.evaluation.contenders import Contender, Role
from hdt_fm.evaluation.contest import Contest
from hdt_fm.evaluation.folds import Fold
from hdt_fm.evaluation.standardise import check_same_windows
from hdt_fm.schema.embedding import EmbeddingTable
from hdt_fm.schema.errors import ConfigError, LeakError
from hdt_fm.schema.modalities import STATIC
from hdt_fm.schema.result import Result

SHARED = "shared space"
HEADLINE = SHARED
CENTRED = ", each modality centred"
CEILING = "labelled there (ceiling)"
REQUIRED = (DUMMY, RANDOM_ENCODER)
MIN_PEOPLE = 2


def zero_shot(contest: Contest, *, extra_tables: Mapping[str, Sequence[EmbeddingTable]] | None = None) -> Result:
    """Every ordered pair of signals: labels of the first teach, the second is asked, on other people.

    `..., each modality centred` subtracts each modality's mean over the TRAINING people (their unlabelled windows
    of the second modality are seen then, test people's never): projections of two modalities lie in two cones,
    and a probe of one can otherwise answer the other with a constant.

    Args:
        contest: Audited inputs, of classes or of a value.
        extra_tables: Further shared spaces as baselines, such as multiview CCA, one a fold.

    Returns:
        For each pair the transfer of ours, beside the same transfer of a random encoder (the floor), a probe that
        was taught on the asked modality itself (`labelled there`, a reference: the ceiling), and the dummy.

    Raises:
        ConfigError: If the table has one modality only.
    """
    modalities = contest.table.modalities
    signals = [number for number, name in enumerate(modalities) if name != STATIC]
    if len(signals) < 2:
        raise ConfigError(
            "A shared space needs two modalities",
            expected="at least 2 modalities of signals",
            got=str(len(signals)),
            fix="leave zero_shot out of protocol.also, or protocol.only",
        )
    spaces: list[tuple[str, Role, Sequence[EmbeddingTable]]] = [
        (SHARED, "ours", contest.own_tables),
        (RANDOM_ENCODER, "baseline", contest.random_tables),
        *((name, "baseline", tables) for name, tables in (extra_tables or {}).items()),
    ]
    for name, _, tables in spaces:
        check_same_windows(contest.table, tables, where=name)
    kinds = {"": False, CENTRED: True}
    answers = {
        (name, suffix): _answers(contest, tables, centred=centred)
        for name, _, tables in spaces
        for suffix, centred in kinds.items()
    }
    dummy, rows = contest.dummy(), []
    for source, asked in permutations(signals, 2):
        scores = {key: found[source, asked] for key, found in answers.items()}
        # A modality that a fold's training people lack has no probe there; its windows cannot be asked.
        answered = np.isfinite(np.stack([*scores.values()])).all(axis=(0, 2))
        scored = np.flatnonzero(contest.target.scored & contest.table.present[:, asked] & answered)
        if len(np.unique(contest.table.group[scored])) < MIN_PEOPLE:
            continue
        contenders = [Contender(f"{name}{k}", role, scores[name, k]) for name, role, _ in spaces for k in kinds]
        ceiling = answers[SHARED, ""][asked, asked]
        if np.isfinite(ceiling[scored]).all():
            contenders.append(Contender(CEILING, "reference", ceiling))
        what = f"{contest.target.name}, taught on {modalities[source]}, asked on {modalities[asked]}"
        rows += contest.rows(what, [*contenders, dummy], headline=HEADLINE, rows=scored)
    record = contest.record("zero-shot across modalities", headline=HEADLINE)
    name = f"zero-shot across modalities, {contest.target.name}"
    return Result(name=name, protocol=record, rows=tuple(rows), required_baselines=REQUIRED)


def across_cohorts(source: Contest, other: Contest) -> Result:
    """A probe on all labelled people of one cohort, asked about every person of another.

    Args:
        source: The cohort whose labels teach; its training people are everyone, its folds are not used.
        other: The cohort that is asked. Both must come from one encoder, and share label, classes and modalities.

    Raises:
        ConfigError: If encoders, classes or modalities differ.
        LeakError: If a person is in both cohorts, or windows of one lie in the other, by pseudonym or by content.
    """
    _refuse_other_kind(source, other)
    _refuse_shared_people(source.table, other.table)
    rows = np.flatnonzero(np.isfinite(source.target.values))
    y, group = source.target.values[rows], source.table.group[rows]
    contenders: list[Contender] = []
    for maker, asked in zip(source.makers, other.makers, strict=True):
        fitted = source.base()(maker.in_fold(0).values[rows], y, group)
        name = f"{maker.name} + linear probe"
        contenders.append(Contender(name, maker.role, fitted.predict(asked.in_fold(0).values)))
    scored = np.flatnonzero(np.isfinite(other.target.values))
    even = np.full((len(other.table), other.outputs), 1.0 / other.outputs if other.is_class else float(np.median(y)))
    contenders.append(Contender(DUMMY, "baseline", even))
    headline = contenders[0].model
    found = other.rows(f"{other.target.name}, taught in another cohort", contenders, headline=headline, rows=scored)
    record = other.record("zero-shot across cohorts", headline=headline)
    record |= {
        "split": "every person of one cohort teaches, every person of the other is asked",
        "people_who_teach": len(np.unique(group)),
        "data_digest_of_teachers": source.table.data_digest,
    }
    return Result(
        name=f"zero-shot across cohorts, {other.target.name}",
        protocol=record,
        rows=tuple(found),
        required_baselines=(DUMMY, *(one.model for one in contenders if one.role == "baseline" and one.model != DUMMY)),
    )


def _answers(
    contest: Contest, tables: Sequence[EmbeddingTable], *, centred: bool
) -> Float[np.ndarray, "modality modality row output"]:
    """Out-of-fold scores of each modality's probe (first axis) asked about each modality (second)."""
    count = len(contest.table.modalities)
    scores = np.full((count, count, len(contest.table), contest.outputs), np.nan)
    for number, fold in enumerate(contest.folds):
        table = tables[0 if len(tables) == 1 else number]
        moved = [_projected(table, m, fold, centred=centred) for m in range(count)]
        for source in range(count):
            rows = contest.training(fold)
            rows = rows[table.present[rows, source]]
            if not len(rows):
                continue
            fitted = contest.base()(moved[source][rows], contest.target.values[rows], contest.table.group[rows])
            refuse_fitted_on_test(fitted.fitted_on, test_groups=fold.test_groups, what="a probe of a modality")
            for asked in range(count):
                scores[source, asked, fold.test] = fitted.predict(moved[asked][fold.test])
    return scores


def _projected(table: EmbeddingTable, modality: int, fold: Fold, *, centred: bool) -> Float[np.ndarray, "row dim"]:
    """Projections of a modality, less its mean over the training people's windows when asked."""
    values = table.projections[:, modality].astype(np.float64)
    known = fold.train[table.present[fold.train, modality]]
    return values - values[known].mean(axis=0) if centred and len(known) else values


def _refuse_other_kind(source: Contest, other: Contest) -> None:
    for what, first, second in (
        ("encoder", source.table.model_digest, other.table.model_digest),
        ("classes", source.target.classes, other.target.classes),
        ("modalities", source.table.modalities, other.table.modalities),
    ):
        if first != second:
            raise ConfigError(
                f"Two cohorts do not have the same {what}",
                expected="tables of one encoder, with one label scheme and the same modalities in the same order",
                where="zero-shot across cohorts",
                fix="embed both cohorts with one checkpoint; keep the modalities and classes that both have",
            )


def _refuse_shared_people(source: EmbeddingTable, other: EmbeddingTable) -> None:
    """Pseudonyms are keyed by cohort, so one person can have two; equal content gives such a copy away."""
    shared = len(set(source.subjects) & set(other.subjects))
    content = [row_digests(table.embeddings.reshape(len(table), -1)) for table in (source, other)]
    copies = int(np.isin(content[1][content[1] != 0], content[0]).sum())
    if shared or copies:
        raise LeakError(
            "The cohort that is asked is not strange to the one that teaches",
            expected="no person and no window in both",
            got=f"{shared} shared people, {copies} equal windows",
            where="zero-shot across cohorts",
            fix="leave the shared people out of one of them",
        )

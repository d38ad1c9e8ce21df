"""Subject-level membership inference: who taught the model, of those who might have?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from hdt_fm.audit.attacks import lira, rmia, standardised, threshold
from hdt_fm.audit.scores import area, caught_at, caught_by_chance, resolvable, smallest_share
from hdt_fm.evaluation.people import Score, interval, people_draws
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.result import Result, Row, Scalar

Attack = Literal["threshold", "lira", "rmia"]
NAMES: dict[Attack, str] = {"threshold": "threshold", "lira": "LiRA-lite", "rmia": "RMIA"}
THIS_MODEL, IN_TURN = "this model", "references in turn"
# A target's own and one more: LiRA and RMIA compare with references.
LEAST_REFERENCES = 2


@dataclass(frozen=True)
class Evidence:
    """Losses of models on people.

    Attributes:
        losses: (model, person); the audited model is the first, references follow.
        member: (model, person); True where the model learned from the person.
        counted: People who are scored under the audited model. Those who watched over its training, but did not
            teach it, are neither members nor others.
        cohort: Of each person, any integers.
    """

    losses: Float[np.ndarray, "model person"]
    member: Bool[np.ndarray, "model person"]
    counted: Bool[np.ndarray, " person"]
    cohort: Int[np.ndarray, " person"]

    def known(self) -> "Evidence":
        """Without the people of whom some model could be asked nothing."""
        here = np.isfinite(self.losses).all(axis=0)
        return Evidence(self.losses[:, here], self.member[:, here], self.counted[here], self.cohort[here])


@dataclass(frozen=True)
class Unresolved:
    """A share of false alarms that so few people cannot show, and the smallest that they can."""

    what: str
    model: str
    false_share: float
    smallest: float
    others: int


@dataclass(frozen=True)
class Membership:
    """The table, and what it cannot hold."""

    result: Result
    unresolved: tuple[Unresolved, ...]


@dataclass(frozen=True)
class _Pairs:
    """Scores of (model, person) pairs of one attack."""

    scores: Float[np.ndarray, " pair"]
    member: Bool[np.ndarray, " pair"]
    person: Int[np.ndarray, " pair"]
    target: Int[np.ndarray, " pair"]

    @property
    def others(self) -> int:
        return int((~self.member).sum())

    @property
    def people(self) -> int:
        return len(np.unique(self.person))


def membership(
    evidence: Evidence,
    *,
    attacks: Sequence[Attack],
    gamma: float,
    false_shares: Sequence[float],
    draws: int,
    seed: int,
) -> Membership:
    """Area under the ROC curve and the share of members caught at few false alarms.

    Twice: of the audited model; and, where there are references, of each of them in turn as the target of the others
    (`references in turn`), which gives many more pairs of a model and a person from the same people. Intervals draw
    people, with all their pairs.

    Raises:
        ConfigError: If under the audited model there is no member or nobody else.
    """
    evidence = evidence.known()
    _refuse_one_sided(evidence)
    tables = {THIS_MODEL: _of_the_model(evidence, attacks, gamma)}
    if len(evidence.losses) - 1 >= LEAST_REFERENCES:
        tables[IN_TURN] = _in_turn(evidence, attacks, gamma)
    rows: list[Row] = []
    unresolved: list[Unresolved] = []
    for what, pairs in tables.items():
        for attack, one in pairs.items():
            found, not_found = _scored(what, NAMES[attack], one, false_shares, draws, seed)
            rows += found
            unresolved += not_found
        rows += _chance(what, next(iter(pairs.values())), false_shares)
    references = len(evidence.losses) - 1
    result = Result(
        name="membership inference",
        protocol={
            "people": _in_words(evidence),
            "references": references,
            "gamma": gamma,
            "intervals": "over people, each with all of their pairs",
            "seed": seed,
        },
        rows=tuple(rows),
        required_baselines=("chance",),
    )
    return Membership(result, tuple(unresolved))


def _of_the_model(evidence: Evidence, attacks: Sequence[Attack], gamma: float) -> dict[Attack, _Pairs]:
    losses = standardised(evidence.losses, evidence.cohort)
    own, who = evidence.counted, np.arange(int(evidence.counted.sum()))
    usable = attacks if len(losses) > 1 else [one for one in attacks if one == "threshold"]
    found = {attack: _attacked(attack, losses[0], losses[1:], evidence.member[1:], gamma)[own] for attack in usable}
    return {attack: _Pairs(scores, evidence.member[0][own], who, 0 * who) for attack, scores in found.items()}


def _in_turn(evidence: Evidence, attacks: Sequence[Attack], gamma: float) -> dict[Attack, _Pairs]:
    losses, member = standardised(evidence.losses, evidence.cohort)[1:], evidence.member[1:]
    people = np.arange(losses.shape[1])
    pairs = {}
    for attack in attacks:
        scores = []
        for target in range(len(losses)):
            rest = np.arange(len(losses)) != target
            scores.append(_attacked(attack, losses[target], losses[rest], member[rest], gamma))
        targets = np.repeat(np.arange(len(losses)), len(people))
        pairs[attack] = _Pairs(np.concatenate(scores), member.ravel(), np.tile(people, len(losses)), targets)
    return pairs


def _attacked(
    attack: Attack, losses: np.ndarray, references: np.ndarray, member: np.ndarray, gamma: float
) -> Float[np.ndarray, " person"]:
    if attack == "threshold":
        return threshold(losses)
    return lira(losses, references, member) if attack == "lira" else rmia(losses, references, member, gamma=gamma)


def _scored(
    what: str, model: str, pairs: _Pairs, false_shares: Sequence[float], draws: int, seed: int
) -> tuple[list[Row], list[Unresolved]]:
    counts = people_draws(int(pairs.person.max()) + 1, draws=draws, seed=seed)
    smallest = smallest_share(pairs.others)
    rows = [_row(what, model, "auroc", area(pairs.scores, pairs.member, pairs.person, pairs.target), counts, pairs)]
    unresolved = []
    for share in (*false_shares, smallest):
        if resolvable(share, pairs.others):
            score = caught_at(pairs.scores, pairs.member, pairs.person, false_share=share)
            rows.append(_row(what, model, _metric(share, smallest), score, counts, pairs))
        else:
            unresolved.append(Unresolved(what, model, share, smallest, pairs.others))
    return rows, unresolved


def _row(what: str, model: str, metric: str, score: Score, counts: np.ndarray, pairs: _Pairs) -> Row:
    values = score.over(counts)
    low, high = interval(values)
    columns: dict[str, Scalar] = {"members": int(pairs.member.sum()), "others": pairs.others}
    return Row(
        what=what,
        model=model,
        metric=metric,
        value=float(values[0]),
        low=low,
        high=high,
        n=pairs.people,
        columns=columns,
    )


def _chance(what: str, pairs: _Pairs, false_shares: Sequence[float]) -> list[Row]:
    smallest = smallest_share(pairs.others)
    values = {"auroc": 0.5}
    for share in (*false_shares, smallest):
        if resolvable(share, pairs.others):
            values[_metric(share, smallest)] = caught_by_chance(share, pairs.others)
    return [
        Row(what=what, model="chance", metric=name, value=value, n=pairs.people, role="reference")
        for name, value in values.items()
    ]


def _metric(share: float, smallest: float) -> str:
    return (
        "caught at the smallest share of false alarms" if share == smallest else f"caught at {share:.1%} false alarms"
    )


def _refuse_one_sided(evidence: Evidence) -> None:
    own = evidence.member[0][evidence.counted]
    if not own.any() or own.all():
        raise ConfigError(
            "Membership cannot be asked of one side alone",
            where="audit",
            expected="people whom the model learned from, and people whom it was kept from, in these shards",
            got=f"{int(own.sum())} of the first, {int((~own).sum())} of the second",
            fix="use the shards that the encoder was pretrained on, with split.test above 0",
        )


def _in_words(evidence: Evidence) -> str:
    own = evidence.member[0][evidence.counted]
    taught, did_not, watched = int(own.sum()), int((~own).sum()), int((~evidence.counted).sum())
    return f"{taught} taught the model, {did_not} did not, {watched} watched over it"

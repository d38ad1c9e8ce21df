"""Re-identification from embeddings: can a person be linked across two sessions, beside chance and beside floors?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from hdt_fm.audit.linkage import ATTACKERS, TOP, Linked, chance, equal_error_rate, link, rank_scores
from hdt_fm.audit.sessions import ASKED, ENROLLED, NEITHER, Sessions
from hdt_fm.evaluation.people import Counts, Score, interval, people_draws
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.result import Result, Row

TOGETHER: tuple[int | None, ...] = (1, 10, None)
EVERYTHING = "all modalities"
MAKERS = ("encoder", "hand features", "random encoder")
METRICS = ("rank-1", f"top-{TOP}", "mean reciprocal rank", "equal error rate")
# Share of people who must have a modality for it to be among all of them that are asked together.
USUAL = 0.8
# An interval over fewer people would say more of the draws than of people.
LEAST_FOR_INTERVAL = 3


@dataclass(frozen=True)
class Seen:
    """Windows of some people, as makers of features give them.

    Attributes:
        whom: Which people these are, in words: `people of pretraining`, `people never seen`.
        cohort: Name of their cohort.
        subject: Person of each window, any integers.
        features: Maker to modality to (window, feature), of the same modalities for each maker.
        present: Modality to whether a window holds it.
    """

    whom: str
    cohort: str
    subject: Int[np.ndarray, " window"]
    sessions: Sessions
    features: Mapping[str, Mapping[str, np.ndarray]]
    present: Mapping[str, Bool[np.ndarray, " window"]]


def reidentification(
    groups: Sequence[Seen], *, draws: int, seed: int, together: Sequence[int | None] = TOGETHER
) -> Result:
    """Rank-1, top-5, mean reciprocal rank and equal error rate of each group of people.

    Each modality alone, and all side by side; windows asked by ones, by tens and all at once. `ours` are the
    encoder's embeddings, the others floors: hand-made features, a random encoder of the same form, and chance.
    Intervals are over the people who are asked; who is enrolled stays.

    Raises:
        ConfigError: If in no group two people hold a modality in both sessions.
    """
    rows: list[Row] = []
    for group in groups:
        for modality in (*group.present, EVERYTHING):
            parts = _parts(group, modality)
            if parts is None:
                continue
            for number in together:
                what = f"{group.cohort}, {group.whom}, {modality}, {_in_words(number)}"
                rows += _rows(what, group, parts, modality, number, draws=draws, seed=seed)
    if not rows:
        raise ConfigError(
            "Nobody can be linked",
            where="audit",
            expected="two people or more with windows of a modality in both sessions",
            got=", ".join(f"{group.cohort}, {group.whom}: {len(np.unique(group.subject))}" for group in groups),
        )
    return Result(
        name="re-identification from embeddings",
        protocol={
            "people": "; ".join(f"{group.cohort}, {group.whom}: {_kinds(group.sessions)}" for group in groups),
            "windows": "an earlier session is enrolled, a later one asked; no window, nor its neighbours, is in both",
            "intervals": "over the people who are asked",
            "seed": seed,
        },
        rows=tuple(rows),
        required_baselines=("chance",),
    )


@dataclass(frozen=True)
class _Parts:
    """Windows that are enrolled and asked, and the person of each, counted from 0."""

    enrolled: Int[np.ndarray, " enrolled"]
    asked: Int[np.ndarray, " asked"]
    enrolled_of: Int[np.ndarray, " enrolled"]
    asked_of: Int[np.ndarray, " asked"]
    people: int


def _parts(group: Seen, modality: str) -> _Parts | None:
    """People who hold the modality in both sessions; for all modalities, windows that hold each usual one."""
    names = _usual(group) if modality == EVERYTHING else (modality,)
    if modality == EVERYTHING and len(names) < 2:
        return None
    parts, people = _holders(group, names)
    if len(people) < 2:
        return None
    enrolled, asked = (part[np.isin(group.subject[part], people)] for part in parts)
    of = [np.searchsorted(people, group.subject[part]) for part in (enrolled, asked)]
    return _Parts(enrolled, asked, of[0], of[1], len(people))


def _holders(group: Seen, names: Sequence[str]) -> tuple[list[np.ndarray], np.ndarray]:
    """Windows of each session that hold all of these, and the people who have both."""
    held = np.logical_and.reduce([group.present[name] for name in names])
    parts = [np.flatnonzero(held & (group.sessions.session == one)) for one in (ENROLLED, ASKED)]
    return parts, np.intersect1d(group.subject[parts[0]], group.subject[parts[1]])


def _usual(group: Seen) -> tuple[str, ...]:
    """Modalities of nearly everyone: one that few have would leave few to be linked."""
    least = USUAL * len(np.unique(group.subject[group.sessions.session != NEITHER]))
    return tuple(name for name in group.present if len(_holders(group, (name,))[1]) >= least)


def _rows(
    what: str, group: Seen, parts: _Parts, modality: str, together: int | None, *, draws: int, seed: int
) -> list[Row]:
    counts = people_draws(parts.people, draws=draws, seed=seed)
    rows = []
    for maker in MAKERS:
        if maker not in group.features:
            continue
        features = _features(group.features[maker], _usual(group) if modality == EVERYTHING else (modality,))
        for attacker in ATTACKERS:
            linked = link(
                features[parts.enrolled],
                parts.enrolled_of,
                features[parts.asked],
                parts.asked_of,
                together=together,
                attacker=attacker,
            )
            rows += _scored(what, f"{maker}, {attacker}", "ours" if maker == "encoder" else "baseline", linked, counts)
    by_chance = chance(parts.people)
    return [
        *rows,
        *(
            Row(what=what, model="chance", metric=name, value=by_chance[name], n=parts.people, role="reference")
            for name in METRICS
        ),
    ]


def _features(of_modality: Mapping[str, np.ndarray], names: Sequence[str]) -> Float[np.ndarray, "window feature"]:
    return np.concatenate([of_modality[name] for name in names], axis=1).astype(np.float64)


def _scored(what: str, model: str, role: str, linked: Linked, counts: Counts) -> list[Row]:
    scores: dict[str, Score] = {**rank_scores(linked), "equal error rate": equal_error_rate(linked)}
    rows = []
    for name in METRICS:
        values = scores[name].over(counts)
        low, high = interval(values) if linked.people >= LEAST_FOR_INTERVAL else (None, None)
        rows.append(
            Row.model_validate(
                {
                    "what": what,
                    "model": model,
                    "metric": name,
                    "value": float(values[0]),
                    "low": low,
                    "high": high,
                    "n": linked.people,
                    "role": role,
                }
            )
        )
    return rows


def _in_words(together: int | None) -> str:
    if together is None:
        return "all windows"
    return "1 window" if together == 1 else f"{together} windows"


def _kinds(sessions: Sessions) -> str:
    return ", ".join(
        f"{number} by {kind}" if kind != "left out" else f"{number} left out" for kind, number in sessions.kinds.items()
    )

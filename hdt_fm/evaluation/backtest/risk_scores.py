"""Scores over people of the risk that an event happens within a horizon, where it is not there now."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.evaluation import people
from hdt_fm.evaluation.backtest.scores import RISK_BINS
from hdt_fm.evaluation.contenders import Metric
from hdt_fm.metrics.classification import ece
from hdt_fm.schema.series import DAY_S

# As a model says it; moved by calibration people; and moving with the person too.
KINDS = ("raw", "calibrated", "online")
# A line in log-odds moves all of one fold alike, so that ranks hardly change by it.
RANKED = ("raw", "online")
AT = "at 1 false alarm a day"
# A row a kind: origins in the order of `Waited`, by seed.
Risks = Float[np.ndarray, "origin seed kind"]
OfPerson = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Waited:
    """What risks of one event within one horizon are scored against; every origin of it was watched.

    Attributes:
        happened: 1 or 0; NaN where the event is there already: time in which a false alarm may come, but no question.
        episode: Equal for origins that wait for the same reading.
        person: Codes 0 .. people - 1.
        every_s: Between origins.
    """

    happened: Float[np.ndarray, " origin"]
    episode: Int[np.ndarray, " origin"]
    person: Int[np.ndarray, " origin"]
    every_s: float


def risk_metrics(waited: Waited) -> list[Metric]:
    """Scores of `Risks`; how well they rank, then how often they are right."""
    found = [Metric("average precision", partial(_average_precision, waited), "higher")]
    for kind in RANKED:
        place, word = KINDS.index(kind), "" if kind == "raw" else f", {kind}"
        found += [
            Metric(f"recall {AT}{word}", partial(_recall, waited, place, waited_for=_each_origin), "higher"),
            Metric(f"episodes caught {AT}{word}", partial(_recall, waited, place, waited_for=_each_episode), "higher"),
        ]
    scores: dict[str, OfPerson] = {"Brier score": _brier, "expected calibration error": partial(ece, bins=RISK_BINS)}
    for name, of in scores.items():
        found += [
            Metric(f"{name}, {kind}", partial(_of_person, waited, place, of), "lower")
            for place, kind in enumerate(KINDS)
        ]
    return found


def says_how_often(metric: str) -> bool:
    """Whether a score is of probabilities, not of ranks."""
    return metric.startswith(("Brier", "expected"))


def threshold(waited: Waited, risk: Float[np.ndarray, " origin"]) -> float:
    """The lowest above which one origin a watched day is a false alarm, of these very people, for every model alike."""
    quiet = np.sort(risk[waited.happened == 0])[::-1]
    allowed = int(len(waited.happened) * waited.every_s / DAY_S)
    return float(quiet[allowed]) if allowed < len(quiet) else -np.inf


def _recall(
    waited: Waited,
    kind: int,
    risks: Risks,
    *,
    waited_for: Callable[[Waited, np.ndarray], tuple[np.ndarray, np.ndarray]],
) -> people.Score:
    """Events, or episodes, that an alarm came before; the mean over seeds."""
    hits, size = np.zeros(_people(waited)), np.zeros(_people(waited))
    for seed in range(risks.shape[1]):
        alarm = risks[:, seed, kind] > threshold(waited, risks[:, seed, kind])
        caught, size = waited_for(waited, alarm)
        hits += caught / risks.shape[1]
    return people.ratio_of_sums(hits, size.astype(np.float64))


def _each_origin(waited: Waited, alarm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Origins before an event with an alarm, and all of them, of each person."""
    ahead = waited.happened == 1
    count = partial(np.bincount, minlength=_people(waited))
    return count(waited.person[ahead & alarm]), count(waited.person[ahead])


def _each_episode(waited: Waited, alarm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Readings waited for with an alarm at any origin before them, and all of them, of each person."""
    ahead = np.flatnonzero(waited.happened == 1)
    _, first, code = np.unique(waited.episode[ahead], return_index=True, return_inverse=True)
    caught = np.bincount(code, alarm[ahead].astype(np.float64), minlength=len(first)) > 0
    owner = waited.person[ahead[first]]
    count = partial(np.bincount, minlength=_people(waited))
    return count(owner[caught]), count(owner)


def _average_precision(waited: Waited, risks: Risks) -> people.Score:
    asked = np.isfinite(waited.happened)
    happened, person = waited.happened[asked].astype(np.int64), waited.person[asked]
    each = []
    for risk in risks[asked, :, KINDS.index("raw")].T:
        each.append(people.average_precision(np.stack([1 - risk, risk], axis=1), happened, person))
    return people.Score(lambda counts: np.mean([one.over(counts) for one in each], axis=0), each[0].people)


def _of_person(waited: Waited, kind: int, of: OfPerson, risks: Risks) -> people.Score:
    """A score of each person's risks, NaN for someone who was never asked; the mean over seeds, then people."""
    asked = np.isfinite(waited.happened)
    own = np.full((_people(waited), risks.shape[1]), np.nan)
    for person in np.unique(waited.person[asked]):
        rows = np.flatnonzero(asked & (waited.person == person))
        own[person] = [of(risk, waited.happened[rows]) for risk in risks[rows, :, kind].T]
    return people.mean_of_people(own.mean(axis=1))


def _brier(risk: np.ndarray, happened: np.ndarray) -> float:
    return float(((risk - happened) ** 2).mean())


def _people(waited: Waited) -> int:
    return int(waited.person.max()) + 1

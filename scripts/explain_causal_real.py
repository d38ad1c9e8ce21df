"""One causal question put to Stress-Predict: how far a stress task's link with heart rate is movement, or the hour.

Minutes of 60 s: the device's own heart rate, how much the wrist moved, minutes since the start, and whether all of the
minute was task or rest. The tasks came in one order for all, so that time goes with them.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from data_pipelines.cohorts.stress_predict import StressPredict
from hdt_fm.explain.causal.question import PREVIOUS_OUTCOME, Question
from hdt_fm.explain.causal.study import Study, study
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Recording, Visit
from hdt_fm.schema.result import Row

WINDOW_NS = 60 * NS_PER_S
QUESTION = Question(
    treatment="stress",
    outcome="heart_rate",
    adjusted=("movement",),
    unmeasured=("speaking", "breathing at will"),
    form="binary",
    unit="bpm",
    negative_control=PREVIOUS_OUTCOME,
    words={"stress": "a stress task", "heart_rate": "heart rate", "movement": "movement of the wrist"},
)
QUESTIONS = {
    "movement held fixed": QUESTION,
    "movement and minute held fixed": replace(QUESTION, adjusted=("movement", "minute")),
}


def real_rows(*, quick: bool) -> list[Row]:
    """Ours and the plain difference for each question, with what came of it; none where there are no recordings."""
    root = os.environ.get("HDT_FM_REAL_DATA")
    if quick or root is None or not (Path(root) / "stress_predict").is_dir():
        return []
    columns, person = minutes(Path(root) / "stress_predict")
    return [row for name, one in QUESTIONS.items() for row in _rows(name, study(one, columns, person))]


def minutes(folder: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Columns by name, a row a minute, and who it is of."""
    tables, person = [], []
    for number, visit in enumerate(StressPredict(path=str(folder), subject_key="public").visits()):
        if {"heart_rate", "stress"} <= visit.labels.keys() and "acc" in visit.recordings:
            tables.append(np.array(list(_minutes(visit, visit.recordings["acc"]))))
            person.append(np.full(len(tables[-1]), number))
    names = ("stress", "heart_rate", "movement", "minute")
    return dict(zip(names, np.concatenate(tables).T, strict=True)), np.concatenate(person)


def _minutes(visit: Visit, acc: Recording) -> Iterator[tuple[float, float, float, float]]:
    size = round(60 * acc.sampling_rate_hz)
    magnitude = np.where(acc.observed, np.sqrt(np.square(acc.values).sum(axis=0)), np.nan)
    for number in range(len(magnitude) // size):
        start = acc.start_ns + number * WINDOW_NS
        told = [_mean(visit.labels[name], start, start + WINDOW_NS) for name in ("stress", "heart_rate")]
        task = told[0] if told[0] in (0.0, 1.0) else np.nan
        piece = magnitude[number * size : (number + 1) * size]
        moved = float(np.log(np.nanstd(piece) + 1e-3)) if np.isfinite(piece).any() else np.nan
        yield task, told[1], moved, float(number)


def _mean(track: LabelTrack, start: int, end: int) -> float:
    """Over what was said of the minute; NaN unless that is nearly all of it."""
    said = np.clip(np.minimum(track.end_ns, end) - np.maximum(track.start_ns, start), 0, None).astype(float)
    return float(np.average(track.values, weights=said)) if said.sum() > 0.95 * (end - start) else float("nan")


def _rows(name: str, found: Study) -> list[Row]:
    what = f"Stress-Predict, a task's minute against rest, {name}"
    failed = ", ".join(one.name for one in found.refuters if one.passed is False)
    came = {"verdict": found.verdict, "reasons": ", ".join(found.reasons), "failed": failed}
    one = found.effect
    if one is None or found.e_value is None:
        return [_row(what, "no estimate", found.overlap.outside, 0, "reference", columns=came)]
    came |= {"overlap": found.overlap.verdict, "outside": found.overlap.outside}
    came |= {"e_value": found.e_value.estimate, "e_value_of_interval": found.e_value.interval}
    came |= {f"{each.name}": each.found for each in found.refuters if np.isfinite(each.found)}
    ends = {"low": one.low, "high": one.high}
    return [
        _row(what, "cross-fitted, as told", one.value, one.people, "ours", columns=came, **ends),
        _row(what, "plain difference", one.naive, one.people, "baseline"),
    ]


def _row(what: str, model: str, value: float, people: int, role: str, **more: object) -> Row:
    return Row(what=what, model=model, metric="heart rate", value=value, n=people, unit="bpm", role=role, **more)

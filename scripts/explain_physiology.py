"""Physiology of simulated people: whether credit lies where the body says that the answer comes from.

A fresh model and a probe are taught on some people, and explained on others. Of each window the share of |credit| near
the moments that the simulation knows (R peaks, upstrokes of the pulse, meals) is divided by the share of time near
them, which is its mean over all circular shifts. Beside it: a random map, and the signal's own distance from its mean,
which asks no model. `table` is a part of scripts/reproduce_explain.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hdt_fm.data.synthetic import Synthetic, Truth
from hdt_fm.explain.attribution import attribute
from hdt_fm.explain.fitness.planted import Planted
from hdt_fm.explain.fitness.score import RANDOM_MAP, random_map
from hdt_fm.explain.fitness.train import Taught, skill, teach
from hdt_fm.explain.fitness.verdict import spread_of
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.manifest import ModelConfig, Part
from hdt_fm.schema.result import Result, Row
from hdt_fm.schema.shard import ModalityColumn

Progress = Callable[[int, int, str], None]
METHODS = ("integrated_gradients", "gradient_shap", "saliency", "occlusion")
SIGNAL = "the signal itself"
FLOORS = (RANDOM_MAP, SIGNAL)
TEST_SHARE, EACH = 0.35, 6
BEAT_S, AHEAD, READ, DAY = 10.0, 12, 48, 288
MEAL_SAMPLES = 12  # of 5 min: the hour from the start of a meal on


@dataclass(frozen=True)
class People:
    """Windows of simulated people.

    Attributes:
        score: What the model is asked, a number a window: is it in the upper or the lower half?
        near: Per kind of event its modality and (window, time) whether a sample lies near one.
    """

    batch: Batch
    score: NDArray[np.float64]
    near: dict[str, tuple[str, NDArray[np.bool_]]]

    def take(self, rows: NDArray[np.int64]) -> "People":
        near = {name: (modality, there[rows]) for name, (modality, there) in self.near.items()}
        return People(self.batch.select(torch.from_numpy(rows)), self.score[rows], near)


def batch_of(signals: dict[str, tuple[NDArray, float]], who: NDArray[np.int64]) -> Batch:
    made = {}
    for name, (values, rate_hz) in signals.items():
        kept = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
        made[name] = Signal(kept, torch.ones(kept.shape[::2], dtype=torch.bool), rate_hz)
    row = torch.arange(len(who))
    present = torch.ones(len(who), len(made), dtype=torch.bool)
    return Batch(tuple(made), made, present, torch.from_numpy(who), row.float(), row)


def near_times(times_s: NDArray, samples: int, rate_hz: float, reach_s: float) -> NDArray[np.bool_]:
    """(samples,) within `reach_s` of a moment."""
    found = np.zeros(samples, bool)
    for time in times_s:
        found[max(0, round((time - reach_s) * rate_hz)) : max(0, round((time + reach_s) * rate_hz) + 1)] = True
    return found


def hearts(people: int, modality: str, rate_hz: float) -> People:
    """Windows of 10 s of one modality; asked: the heart rate."""
    cohort = Synthetic(
        subjects=people, hours=0.3, modalities=(modality,), missing_modality=0.0, gap_rate_per_hour=0.0, motion=0.3
    )
    length, rows = round(BEAT_S * rate_hz), []
    for person, visit in enumerate(cohort.visits()):
        truth, own = cohort.truth(person), visit.recordings[modality]
        values, count = own.values, int(truth.times_s[-1] / BEAT_S) - 1
        near = near_times(moments(truth, modality), values.shape[1], rate_hz, 0.06 if modality == "ecg" else 0.1)
        for k in range(count):
            span = slice(k * length, (k + 1) * length)
            within = (truth.times_s >= k * BEAT_S) & (truth.times_s < (k + 1) * BEAT_S)
            rows.append((values[:, span], near[span], truth.hr_bpm[within].mean(), person))
    values, near, score, who = (np.stack(one) for one in zip(*rows, strict=True))
    name = "R peaks" if modality == "ecg" else "upstrokes of the pulse"
    return People(batch_of({modality: (values, rate_hz)}, who), score, {name: (modality, near)})


def moments(truth: Truth, modality: str) -> NDArray:
    """R peaks; or the steepest points of the pulse, one transit time later."""
    beats = truth.beat_times_s
    return beats if modality == "ecg" else beats + np.interp(beats, truth.times_s, truth.transit_time_s)


def meals(people: int) -> People:
    """Windows of 4 h of glucose and carbohydrates each 5 min; asked: glucose in an hour."""
    cohort = Synthetic(
        subjects=people, hours=36.0, modalities=("glucose",), missing_modality=0.0, gap_rate_per_hour=0.0
    )
    rows = []
    for person, visit in enumerate(cohort.visits()):
        glucose, plan = visit.recordings["glucose"].values, cohort.truth(person).plan
        carbs, near = np.zeros_like(glucose), np.zeros(glucose.shape[1], bool)
        for begin_s, grams in plan.meals:
            at = int(begin_s // 300)
            carbs[0, at] += grams
            near[at : at + MEAL_SAMPLES] = True
        for end in range(READ, glucose.shape[1] - AHEAD, 3):
            span = slice(end - READ, end)
            rows.append((glucose[:, span], carbs[:, span], near[span], float(glucose[0, end + AHEAD - 1]), person))
    glucose, carbs, near, score, who = (np.stack(one) for one in zip(*rows, strict=True))
    batch = batch_of({"glucose": (glucose, 1 / 300), "carbs": (carbs, 1 / 300)}, who)
    events = {"meals": ("carbs", carbs[:, 0] > 0), "the hour from a meal on": ("glucose", near)}
    return People(batch, score, events)


def config_of(batch: Batch, encoder: str, args: dict) -> ModelConfig:
    columns = tuple(
        ModalityColumn(
            name=name,
            unit="au",
            channels=one.values.shape[1],
            sampling_rate_hz=one.sampling_rate_hz,
            samples=one.values.shape[2],
            encoding="f32",
        )
        for name, one in batch.signals.items()
    )
    return ModelConfig(
        modalities=columns,
        encoder=Part(name=encoder, args=args),
        projection=Part(name="projection", args={"dim": 8}),
        statistics={n: (float(s.values.mean()), float(s.values.std())) for n, s in batch.signals.items()},
        window_s=columns[0].samples / columns[0].sampling_rate_hz,
    )


def asked(people: People, middle: float) -> Planted:
    """The windows with their halves as classes; there is no planted segment."""
    name = next(iter(people.batch.signals))
    label = torch.from_numpy((people.score > middle).astype(np.int64))
    nowhere = torch.zeros(people.batch.signals[name].values.shape, dtype=torch.bool)
    return Planted(people.batch, "asked", name, label, nowhere, torch.zeros_like(label))


def taught_on(people: People, encoder: str, args: dict, *, steps: int, seed: int) -> Taught:
    middle = float(np.median(people.score))

    def draw(count: int, generator: torch.Generator) -> Planted:
        some = torch.randint(len(people.batch), (count,), generator=generator)
        return asked(people.take(some.numpy()), middle)

    return teach(config_of(people.batch, encoder, args), draw, seed=seed, steps=steps)


def enrichment(size: NDArray[np.float64], near: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(window,) share of |credit| near the events over the share of time near them; NaN where there is no event."""
    whole, share = size.sum(1), near.mean(1)
    fine = (whole > 0) & (share > 0)
    return np.where(fine, (size * near).sum(1) / np.where(fine, whole * share, 1.0), np.nan)


def told(what: str, people: People, encoder: str, args: dict, *, steps: int, seeds: int) -> list[Row]:
    """Enrichment of every method at every kind of event, over people that were not taught on."""
    who = people.batch.subject.numpy()
    held = who >= round((1 - TEST_SHARE) * (who.max() + 1))
    some, others = people.take(np.flatnonzero(~held)), people.take(np.flatnonzero(held))
    middle = float(np.median(some.score))
    found: dict[tuple[str, str], list[NDArray]] = {}
    skills, subject = [], []
    for seed in range(seeds):
        taught = taught_on(some, encoder, args, steps=steps, seed=seed)
        skills.append(skill(taught.model, asked(others, middle)))
        few = others.take(few_of_each(others.batch.subject.numpy(), seed))
        subject.append(few.batch.subject.numpy())
        maps = {
            name: attribute(taught.model, few.batch, target=1, methods=(name,), steps=16).maps[0] for name in METHODS
        }
        credits: dict[str, Mapping[str, NDArray]] = {name: one.values for name, one in maps.items()}
        credits |= {RANDOM_MAP: random_map(asked(few, middle), seed), SIGNAL: signal_itself(few.batch)}
        for name, one in credits.items():
            for events, (modality, near) in few.near.items():
                size = np.abs(one[modality], dtype=np.float64).sum(1)
                found.setdefault((events, name), []).append(enrichment(size, near))
    return [
        row(f"{what}: {events}", name, np.concatenate(values), np.concatenate(subject), float(np.mean(skills)))
        for (events, name), values in found.items()
    ]


def signal_itself(batch: Batch) -> dict[str, NDArray[np.float64]]:
    """A map that asks no model: how far each sample lies from its window's mean."""
    values = {name: one.values.numpy().astype(np.float64) for name, one in batch.signals.items()}
    return {name: one - one.mean(-1, keepdims=True) for name, one in values.items()}


def few_of_each(subject: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Some windows of each person, so that each counts alike."""
    draw = np.random.default_rng(seed)
    own = [np.flatnonzero(subject == one) for one in np.unique(subject)]
    return np.concatenate([draw.choice(rows, min(EACH, len(rows)), replace=False) for rows in own])


def row(what: str, name: str, values: NDArray, subject: NDArray, auroc: float) -> Row:
    spread = spread_of([values[subject == one] for one in np.unique(subject)])
    return Row(
        what=what,
        model=name,
        metric="credit near, times chance",
        value=spread.value,
        low=spread.low,
        high=spread.high,
        n=len(np.unique(subject)),
        role="baseline" if name in FLOORS else "ours",
        columns={"auroc on these people": round(auroc, 3)},
    )


def table(*, quick: bool, seeds: int, progress: Progress | None = None) -> Result:
    """Enrichment of credit at R peaks, upstrokes and meals, by method, over people.

    Args:
        quick: Few people and short lessons: numbers mean nothing.
        seeds: Models behind each question.
    """
    people, steps = (6, 30) if quick else (24, 300)
    patches = {"width": 32, "depth": 1, "heads": 4, "patch_s": 0.5, "patch_points": 32, "slots": 20}
    slow = {"width": 32, "patch_s": 900.0, "points": 3}
    rows: list[Row] = []
    asks: list[tuple[str, Callable[[], People], str, dict]] = [
        ("heart rate of ECG", lambda: hearts(people, "ecg", 128.0), "patch_transformer", patches),
        ("heart rate of PPG", lambda: hearts(people, "ppg", 64.0), "patch_transformer", patches),
        ("glucose in an hour", lambda: meals(people), "recurrent", slow),
    ]
    for done, (what, made, encoder, args) in enumerate(asks):
        if progress:
            progress(done, len(asks), what)
        rows += told(what, made(), encoder, args, steps=steps, seeds=seeds)
    if progress:
        progress(len(asks), len(asks), "")
    protocol = {"interval": "people", "windows of each person": EACH, "taught with": steps}
    return Result(name="physiology of simulated people", protocol=protocol, rows=tuple(rows), required_baselines=FLOORS)

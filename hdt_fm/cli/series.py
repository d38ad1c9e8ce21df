"""Forecasts of a slow signal, for the verbs that teach and ask them: what a head is told is made here alone."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from hdt_fm.checkpoint import Model, model_digest
from hdt_fm.data.series_embeddings import (
    SeriesEmbeddings,
    embed_series,
    load_series_embeddings,
    save_series_embeddings,
    series_digest,
)
from hdt_fm.metrics.events import Event
from hdt_fm.schema.errors import CheckpointError, ConfigError
from hdt_fm.schema.modalities import own_or_of_kind
from hdt_fm.schema.protocols import HeadInput
from hdt_fm.schema.series import ForecastTask, Series
from hdt_fm.signal.moments import Moments, moments_of, places_of
from hdt_fm.signal.own_events import own_events
from hdt_fm.signal.own_past import own_past, recent
from hdt_fm.signal.treatments import acting
from hdt_fm.training.forecasts import ask_hidden, inputs_of
from hdt_fm.training.members import answers
from hdt_fm.twin.own_layer import followed_people

HEAD = "series_forecast"
RISK = "event_risk"
COVERAGE = 0.8


def head_name(modality: str) -> str:
    """Of the head in a checkpoint."""
    return f"forecast_{modality}"


def risk_name(modality: str) -> str:
    """Of the head of risks in a checkpoint."""
    return f"risk_{modality}"


def heads_of(model: Model, modality: str) -> dict[str, Any]:
    """The heads of a signal that a model has, by name; those that say what they must be told."""
    known, parts = {head_name(modality): HEAD, risk_name(modality): RISK}, model.config.heads
    there = [name for name, kind in known.items() if name in parts and parts[name].name == kind]
    return {name: model.heads[name] for name in there if model.heads[name].asked}


def check_same_task(name: str, task: ForecastTask, other: str, told: ForecastTask) -> None:
    """Heads of one signal in one checkpoint are asked side by side.

    Raises:
        CheckpointError: If they are told different things; names what differs.
    """
    one, two = plain(task), plain(told)
    differ = [key for key in one if one[key] != two[key]]
    if differ:
        raise CheckpointError(
            "Two heads of one checkpoint are not told the same",
            where=f"series.{', series.'.join(differ)}",
            expected=f"{name} told as {other} is: " + ", ".join(f"{key} {two[key]}" for key in differ),
            got=", ".join(f"{key} {one[key]}" for key in differ),
            fix="finetune both with the same series settings and shards, or take another root=FOLDER",
        )


def told(
    model: Model,
    series: Sequence[Series],
    task: ForecastTask,
    *,
    given: Mapping[str, Sequence[Series]] = MappingProxyType({}),
    kept: Path | None = None,
    now: bool = False,
) -> tuple[Moments, HeadInput]:
    """Origins and all that a head is told at them.

    Args:
        given: Series of the task's treatments; one that is not there is unknown, which a head was taught to hear.
        kept: Where embeddings are kept between runs; None keeps nothing.
        now: Of someone who is asked now: origins are counted back from the newest reading, and none needs a future.
    """
    moments = moments_of(
        series,
        context_s=task.context_s,
        horizons_s=task.horizons_s,
        every_s=task.every_s,
        scored=not now,
        to_newest=now,
    )
    treatments = acting(moments, {name: given.get(name, ()) for name in task.treatments})
    known = np.concatenate([recent(moments), own_past(moments, series), treatments], axis=1)
    context = None
    if task.windows:
        embeddings = _embeddings(model, series, task, kept, now=now)
        context = embeddings.before(moments.series, moments.place, windows=task.windows, apart_s=task.apart_s)
    return moments, inputs_of(known, moments.last, context)


def corrections(head: Any, moments: Moments, inputs: HeadInput, said: np.ndarray) -> np.ndarray:
    """What each person's own past adds to a head's answers, (origin, horizon): by what had come true when a day began.

    Args:
        moments: With what came at each; of an origin only what came before its day is used.
        said: By the head at each of them.
    """
    missed = moments.target - said[..., 0]
    return followed_people(moments.subject, moments.time_s, ask_hidden(head, inputs), missed, moments.horizons_s)


def with_own_events(
    inputs: HeadInput, moments: Moments, series: Sequence[Series], events: Sequence[Event]
) -> HeadInput:
    """What a head of risks is told beside: how often each event came to this person, how long ago and at which time."""
    assert inputs.known is not None
    own = own_events(moments, series, [event.of for event in events])
    return replace(inputs, known=torch.cat((inputs.known, torch.from_numpy(own)), dim=-1))


def own_risks(
    head: Any, moments: Moments, inputs: HeadInput, happened: Float[np.ndarray, "origin horizon event"]
) -> Float[np.ndarray, "origin horizon event"]:
    """Chances of each event within each horizon, moved by people kept apart and then by the person's own truths, as in
    the backtest (its risks "online").

    Args:
        moments: Of one person, rising in time.
        inputs: With the person's own events.
        happened: What came, NaN where it is not known; of an origin only what had come by then is used.
    """
    # It brings scikit-learn along, which nobody else needs here.
    from hdt_fm.evaluation.backtest.probability_calibration import online

    risks = torch.sigmoid(answers(lambda some: head.calibrated(head(some)), inputs).double()).numpy()
    for column, event in product(range(risks.shape[1]), range(risks.shape[2])):
        came, horizon_s = happened[:, column, event], moments.horizons_s[column]
        risks[:, column, event] = online(moments.time_s, risks[:, column, event], came, horizon_s=horizon_s)
    return np.maximum.accumulate(risks, axis=1)


def _embeddings(
    model: Model, series: Sequence[Series], task: ForecastTask, kept: Path | None, *, now: bool
) -> SeriesEmbeddings:
    # `cli.workflow.encoder_digest` is the same and imports all of training, which asking a head can do without.
    made_of = model_digest(model, heads=False), series_digest(series)
    found = load_series_embeddings(kept, made_of) if kept else None
    if found is None:
        found = embed_series(
            model,
            series,
            task.modality,
            model_digest=made_of[0],
            window_s=model.config.window_s,
            ahead_s=unread_s(model, task.modality),
            places=[places_of(one, task.every_s, to_newest=now) for one in series],
        )
        if kept:
            save_series_embeddings(found, kept)
    return found


def unread_s(model: Model, modality: str) -> float:
    """Seconds at the end of a window that the model's encoder of a modality does not read.

    Raises:
        ConfigError: If it reads windows to their end: their embeddings would hold what is to be forecast.
    """
    args = {**model.config.encoder.args, **own_or_of_kind(model.config.per_modality, modality)}
    found = float(args.get("ahead_s", 0.0))
    if not found > 0:
        raise ConfigError(
            "The encoder reads its windows to the end",
            where="encoder.ahead_s",
            expected="an encoder that leaves the end of its windows to the forecast",
            fix="pretrain with encoder=recurrent encoder.ahead_s=7200 loss=readings_ahead",
        )
    return found


def plain(task: ForecastTask) -> dict[str, Any]:
    """As a checkpoint holds it."""
    return {**asdict(task), "horizons_s": list(task.horizons_s), "treatments": list(task.treatments)}


def usual(series: Sequence[Series], groups: Sequence[int]) -> np.ndarray:
    """Lowest and highest of people in mean, spread and share of readings: (3, 2)."""
    found = np.array([habits([one for one in series if one.group == group]) for group in groups])
    return np.stack([found.min(axis=0), found.max(axis=0)], axis=1)


def habits(series: Sequence[Series]) -> np.ndarray:
    """One person's mean, spread and share of readings."""
    values = np.concatenate([one.values[one.observed] for one in series]).astype(np.float64)
    places = sum(len(one) for one in series)
    return np.array([values.mean(), values.std(), len(values) / places])

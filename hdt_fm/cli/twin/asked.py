"""A checkpoint's head of forecasts, asked at the few moments that a twin has not been told of yet."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float32

from hdt_fm.checkpoint import Model
from hdt_fm.cli.series import unread_s
from hdt_fm.data.series_embeddings import embed_series
from hdt_fm.metrics.events import EVENTS
from hdt_fm.schema.series import ForecastTask, Series
from hdt_fm.signal.moments import Moments
from hdt_fm.signal.own_past import own_past, recent
from hdt_fm.signal.treatments import acting
from hdt_fm.training.forecasts import ask, ask_hidden, inputs_of
from hdt_fm.twin.forecast.outlook import OfPeople
from hdt_fm.twin.state.answer import Answers
from hdt_fm.twin.state.learned import Learned


class AskedHead:
    """What `hdt_fm.cli.series.told` tells a head and what it answers, but of some moments alone: an encoder reads the
    windows of these and of no other.

    Args:
        head: Of the model, one that forecasts a series.
        task: What it is told.
    """

    def __init__(self, model: Model, head: Any, task: ForecastTask) -> None:
        self.model, self.head, self.task = model, head, task

    def __call__(self, series: Sequence[Series], given: Mapping[str, Sequence[Series]], moments: Moments) -> Answers:
        treatments = acting(moments, {name: given.get(name, ()) for name in self.task.treatments})
        known = np.concatenate([recent(moments), own_past(moments, series), treatments], axis=1)
        inputs = inputs_of(known, moments.last, self._embedded(series, moments) if self.task.windows else None)
        return Answers(ask(self.head, inputs), ask_hidden(self.head, inputs))

    def new_person(self) -> Learned:
        """Of somebody of whom nothing has come yet."""
        people = OfPeople(self.head.levels, tuple(self.head.shift.tolist()), tuple(self.head.score_spread.tolist()))
        return Learned(
            width=len(self.head.hidden_center),
            horizons_s=self.task.horizons_s,
            people=people,
            events=EVENTS.get(self.task.modality, ()),
        )

    def _embedded(self, series: Sequence[Series], moments: Moments) -> Float32[np.ndarray, "origin window width"]:
        task = self.task
        stride = max(1, round(task.every_s / task.step_s))
        back = np.round(np.arange(task.windows) * task.apart_s / task.step_s).astype(np.int64)
        places = []
        for number in range(len(series)):
            own = moments.place[moments.series == number][:, None]
            # A moment between two rows takes the row before it.
            wanted = np.unique(own - back - (-back) % stride)
            places.append(wanted[wanted >= 0])
        found = embed_series(
            self.model,
            series,
            task.modality,
            model_digest="",
            window_s=self.model.config.window_s,
            ahead_s=unread_s(self.model, task.modality),
            places=places,
        )
        whole = replace(found, stride=stride)
        return whole.before(moments.series, moments.place, windows=task.windows, apart_s=task.apart_s)

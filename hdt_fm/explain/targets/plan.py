"""The effect of a plan of doses and meals against another, as a function of the record up to now and of the plan.

An effect is the difference of two courses of the meal law from one body (`hdt_fm/heads/plan_response.py`): what comes
beside the plan moves both alike and drops out, so no encoder is in it. Credit goes to what was taken before, to the
newest reading, and to the plan's own entries: these are the samples after now. The law is written here in torch, since
it must have slopes; tests hold it to the one in numpy that a what-if asks.

The person's numbers were fitted to the record up to the moment and are held as they are: credit says what follows from
the record under these numbers, not what the numbers would have been without a part of it. Nor is the effect cut to what
a sensor can show, as a what-if does at 39 and 400 mg/dL.
"""

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn

from hdt_fm.explain.targets.meal_law import Body, MealLaw, twice
from hdt_fm.explain.targets.told import Values
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ExplainError
from hdt_fm.schema.lives import STEP_MINUTES, STEPS_PER_HOUR

GLUCOSE, BOLUS, CARBS, BASAL = "glucose", "bolus", "carbs", "insulin_rate"
BASAL_MEAN = "insulin_rate_mean"
# A reading so old still says where a course starts.
READING_STEPS = 3


class PlanTarget(nn.Module):
    """Record and plan -> (batch, minute), mg/dL that the plan changes.

    Signals are on a grid of 5 minutes that ends `max(minutes)` after now. A sample begins with its reading; then its
    dose and its meal come. Glucose is read up to now and not after; `bolus` and `carbs` hold what was taken before now
    and, from now on, the plan. `insulin_rate` (U/h, where known) says what a pump gave beyond its mean,
    `labels["insulin_rate_mean"]`.

    Args:
        numbers: The person's own, `meal_law.NUMBERS`, as far as each window's record tells them; a row a window.
        windows: `Batch.window_id` of each row.
        share: Of what the newest reading says beyond the law, so much moves where courses start.
        against: The other plan, (treatment, step) in U and g.
    """

    def __init__(
        self,
        numbers: Float[Tensor, "window number"],
        windows: tuple[int, ...],
        *,
        share: float,
        minutes: tuple[int, ...],
        against: Float[Tensor, "treatment step"],
    ) -> None:
        super().__init__()
        self.law = MealLaw(numbers)
        self.windows, self.share, self.minutes = windows, float(share), tuple(minutes)
        self.register_buffer("against", against.double())

    @property
    def steps(self) -> int:
        """Of a plan."""
        return max(self.minutes) // STEP_MINUTES

    def forward(self, batch: Batch) -> Float[Tensor, "batch minute"]:
        by = self.law.of(torch.tensor([self._row(one) for one in batch.window_id.tolist()]))
        units, grams = self._taken(batch, BOLUS), self._taken(batch, CARBS)
        now = units.shape[1] - self.steps
        body = self._now(batch, by, units[:, :now] + self._basal(batch, now), grams[:, :now])
        courses = self._courses(by, body, units[:, now:], grams[:, now:])
        return courses[0] - courses[1]

    def _courses(self, by: dict[str, Tensor], body: Body, units: Values, grams: Values) -> Tensor:
        """Under the plan and under the other: (plan, batch, minute)."""
        other: Tensor = self.against  # type: ignore[assignment]
        both = [
            torch.cat([own, repeat(one[: self.steps], "step -> row step", row=len(own))])
            for own, one in zip((units, grams), other, strict=True)
        ]
        numbers = {name: twice(one) for name, one in by.items()}
        body, shown = body.twice(), []
        for step in range(self.steps):
            body = self.law(numbers, body, both[0][:, step], both[1][:, step])
            shown.append(body.shown)
        asked = [shown[minute // STEP_MINUTES - 1] for minute in self.minutes]
        return rearrange(torch.stack(asked), "minute (plan row) -> plan row minute", plan=2)

    def _now(self, batch: Batch, by: dict[str, Tensor], units: Values, grams: Values) -> Body:
        """Where courses start: the record's doses played, moved by what the newest reading says beyond."""
        body, size = self.law.at_rest(by), units.shape[1]
        lately = [body.shown]
        for step in range(size):
            body = self.law(by, body, units[:, step], grams[:, step])
            lately = [body.shown, *lately[:READING_STEPS]]
        values, seen = _read(batch, GLUCOSE, size + self.steps)
        beyond = torch.zeros_like(body.shown)
        # The newest reading of the last quarter of an hour: older ones are looked at first and written over.
        for back in range(min(READING_STEPS, size), -1, -1):
            at = size - back
            beyond = torch.where(seen[:, at], values[:, at] - lately[back], beyond)
        return body.higher(self.share * beyond)

    def _basal(self, batch: Batch, now: int) -> Values:
        """What a pump gave in each step beyond its mean rate."""
        values, seen = _read(batch, BASAL, now + self.steps)
        mean = batch.labels.get(BASAL_MEAN, torch.zeros(len(batch))).to(values)[:, None]
        return torch.where(seen, (values - mean) / STEPS_PER_HOUR, 0.0)[:, :now]

    def _taken(self, batch: Batch, name: str) -> Values:
        some = next((batch.signals[one] for one in (BOLUS, CARBS, GLUCOSE) if one in batch.signals), None)
        size = 0 if some is None else some.values.shape[2]
        if size <= self.steps or batch.signals.get(name, some) is None:
            raise ExplainError(
                "A plan has no record before it",
                expected=f"more than {self.steps} steps of 5 minutes, the last {self.steps} of them ahead",
                got=f"{size}",
            )
        return _read(batch, name, size)[0]

    def _row(self, window: int) -> int:
        if window not in self.windows:
            raise ExplainError(
                "The law has no numbers for a window",
                expected=f"some of the {len(self.windows)} windows that the target was built for",
                fix="build the target with the records behind all windows that are explained",
            )
        return self.windows.index(window)


def _read(batch: Batch, name: str, size: int) -> tuple[Values, Bool[Tensor, "batch time"]]:
    """A signal in double precision, 0 where nothing is known of it.

    Raises:
        ExplainError: If it is on another grid.
    """
    if name not in batch.signals:
        none = batch.present.new_zeros(len(batch), size)
        return none.double(), none
    signal = batch.signals[name]
    step_min = 1 / (60 * signal.sampling_rate_hz)
    if abs(step_min - STEP_MINUTES) > 0.01 or tuple(signal.values.shape[1:]) != (1, size):
        raise ExplainError(
            "A record is not on the grid of plans",
            where=f"modality {name}",
            expected=f"one channel, {size} samples, one each {STEP_MINUTES} min",
            got=f"{signal.values.shape[1]} channels, {signal.values.shape[2]} samples, one each {step_min:g} min",
        )
    seen = signal.observed & batch.column(name)[:, None]
    return torch.where(seen, signal.values[:, 0].double(), 0.0), seen

"""Plans of doses and meals, asked of a checkpoint for one person: what each leads to, and how far to trust that."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from hdt_fm.checkpoint import Model, load
from hdt_fm.cli.plan_evidence import evidence_of
from hdt_fm.cli.series import told
from hdt_fm.cli.twin.readings import Readings
from hdt_fm.cli.twin.refusals import check_habits
from hdt_fm.heads.meal_response import MealResponse
from hdt_fm.heads.plan_response import PlanResponse, beside_law, quantiles
from hdt_fm.layers.meal_courses import within_range
from hdt_fm.layers.own_numbers import OwnNumbers
from hdt_fm.schema.errors import CheckpointError, RecordingError
from hdt_fm.schema.lives import STEP_MINUTES, Lives, Plans
from hdt_fm.schema.modalities import modality
from hdt_fm.schema.series import ForecastTask
from hdt_fm.schema.treatment import Plan
from hdt_fm.schema.what_if import TREATMENTS, Compared, DoseResponse, Support
from hdt_fm.signal.lives import lives_of
from hdt_fm.training.forecasts import ask
from hdt_fm.training.heads import take
from hdt_fm.twin.what_if.actions import ONE_ACTION_STEPS, Actions, actions_of, moments_at
from hdt_fm.twin.what_if.evidence import own_share
from hdt_fm.twin.what_if.habits import Habits
from hdt_fm.twin.what_if.refuters import refute
from hdt_fm.twin.what_if.sensitivity import sensitivity_of
from hdt_fm.twin.what_if.support import severity, support_of

HEAD = "plan_response"
MODALITY = "glucose"
MAKE_ONE = "make one: `hdt-fm finetune head=plan_response series.treatments=FOLDER` after shard and pretrain"
# Where the dose-response is told, and over how many doses, from none to so many times the most that is asked or usual.
CURVE_MINUTE, CURVE_DOSES, CURVE_BEYOND = 120, 9, 1.25


@dataclass(frozen=True)
class PlanModel:
    """A checkpoint whose head answers plans."""

    model: Model
    head: PlanResponse
    task: ForecastTask

    @property
    def habits(self) -> Habits:
        """How training people dose."""
        return Habits.of({name: np.asarray(value, dtype=np.float64) for name, value in self.head.habits.items()})


def plans_name(modality: str) -> str:
    """Of the head in a checkpoint."""
    return f"plans_{modality}"


def head_of(checkpoint: str) -> PlanModel:
    """The head of a checkpoint that answers plans of glucose.

    Raises:
        CheckpointError: If it has none.
    """
    model, name = load(checkpoint), plans_name(MODALITY)
    head = dict(model.heads).get(name)
    if not isinstance(head, PlanResponse):
        raise CheckpointError(
            "The checkpoint has no head that answers plans",
            where="checkpoint",
            expected=f"the head {name}",
            got=", ".join(model.heads) or "no head",
            fix=MAKE_ONE,
        )
    return PlanModel(model, head, ForecastTask.of(head.asked))


@dataclass(frozen=True)
class _Person:
    """One person's record up to the moment, and what the law has learned of it."""

    lives: Lives
    life: int
    time: int
    law: MealResponse
    numbers: OwnNumbers
    actions: Actions

    @property
    def moment(self) -> Float[np.ndarray, " feature"]:
        out: np.ndarray = moments_at(self.lives, np.array([self.life]), np.array([self.time]))[0]
        return out


def compare(found: PlanModel, readings: Readings, plan: Plan, against: Plan) -> Compared:
    """One plan against another, from the newest reading on.

    Raises:
        RecordingError: If readings are not like those that the head has seen, it is not known what was taken up to now,
            or nobody doses as a plan asks at such a moment.
    """
    check_habits(readings.series[-1], found.head.decoder.usual.tolist(), found.task)
    person = _person(found, readings)
    tables = np.stack([_table(one, found.head) for one in (plan, against)])
    supports = tuple(_support(found.habits, person, table) for table in tables)
    for support, table in zip(supports, tables, strict=True):
        _refuse(support, table)
    curves = [(name, _doses(tables[:, row], supports, name)) for row, name in enumerate(TREATMENTS)]
    asked = [(row, name, doses) for row, (name, doses) in enumerate(curves) if len(doses)]
    tried = [_with_dose(tables[0], row, dose) for row, _, doses in asked for dose in doses]
    every = np.stack([*tables, *tried, np.zeros_like(tables[0])])
    of_tried = [_support(found.habits, person, table) for table in tried]
    widen = np.array([max(one.widen, supports[1].widen) for one in (supports[0], *of_tried)])[:, None]
    plans = _plans(person, found.head, every)
    course = person.law.courses(person.numbers, person.lives, plans)
    nothing = course[:, -1:]
    said = _without_plan(found, readings, nothing[:, 0])
    level = quantiles(course[:, :2] - nothing, said[None])[0]
    shift = found.head.decoder.shift.double().numpy()
    beyond = said[None, :, 0] - nothing[:, 0]
    low, high = person.law.effect_intervals(person.numbers, person.lives, plans, beyond=beyond)
    moved = within_range(course[0, :-1] + beyond)
    effect = moved - moved[1]
    low, high = (np.concatenate([effect[:1], effect[2:]]) + widen * off for off in _off(effect, low[0], high[0]))
    evidence = evidence_of(person.law, person.lives)
    shares = own_share(evidence)
    return Compared(
        minutes=found.head.minutes,
        level=within_range(level[..., 0]),
        level_low=within_range(level[..., 1] - shift),
        level_high=within_range(level[..., -1] + shift),
        effect=effect[0],
        effect_low=low[0],
        effect_high=high[0],
        support=(supports[0], supports[1]),
        curves=_curves(found.head.minutes, asked, of_tried, effect[2:], low[1:], high[1:]),
        refuters=refute(evidence, seed=0),
        own_actions=shares.actions,
        own_share=(shares.share, shares.low, shares.high),
        sensitivity=sensitivity_of(evidence).to_zero,
    )


def _person(found: PlanModel, readings: Readings) -> _Person:
    given = {name: tuple(readings.given.get(name, ())) for name in found.task.treatments}
    lives = lives_of(readings.series, given)
    life = len(readings.series) - 1
    time = round((len(readings.series[-1]) - 1) * readings.series[-1].step_s / (60 * STEP_MINUTES))
    if not np.isfinite(lives.glucose_mg_dl[life, time]):
        raise RecordingError(
            "It is not known what was taken before now",
            where="the recording",
            expected="doses and meals of the last 6 h and more, entered no longer than two days ago",
            fix="export them with the readings, or choose another moment with at=TIME",
        )
    # What the column of the newest reading holds comes after it.
    for table in (lives.bolus_units, lives.carbs_g):
        table[life, time:] = 0.0
    law = found.head.law
    numbers = law.own(lives, np.unique(lives.person)).take(np.zeros(len(lives), dtype=np.int64))
    return _Person(lives, life, time, law, numbers, actions_of(lives))


def _table(plan: Plan, head: PlanResponse) -> Float[np.ndarray, "treatment step"]:
    steps = head.minutes[-1] // STEP_MINUTES
    return plan.on_grid(TREATMENTS, step_s=60.0 * STEP_MINUTES, steps=steps).T


def _support(habits: Habits, person: _Person, table: Float[np.ndarray, "treatment step"]) -> Support:
    """Of all that a plan gives, as if at once, and of each action in it as if it were all; by which has least."""
    doses = [one.sum(axis=1).tolist() for one in (table, *_one_by_one(table))]
    found = (support_of(habits, person.actions, person.moment, dose_units=u, carbs_g=g) for u, g in doses)
    return max(found, key=severity)


def _one_by_one(table: Float[np.ndarray, "treatment step"]) -> list[Float[np.ndarray, "treatment _"]]:
    """As `actions_of` parts a record."""
    parts, end = [], 0
    for step in np.flatnonzero(table.any(axis=0)).tolist():
        if step >= end:
            end = step + ONE_ACTION_STEPS
            parts.append(table[:, step:end])
    return parts


def _refuse(support: Support, table: Float[np.ndarray, "treatment step"]) -> None:
    if support.verdict == "outside":
        unit, asked = modality(support.treatment).unit, table[TREATMENTS.index(support.treatment)].sum()
        usual = f"{support.low:.3g} to {support.high:.3g} {unit}"
        # The dose by itself is a usual one, or there is none: it is what it goes with that nobody does.
        alone = not asked or support.low <= asked <= support.high
        expected = f"with the rest as it is, {'some' if not asked else 'none'}; those who take it, take {usual}"
        raise RecordingError(
            "Nobody in the records doses so at such a moment, so nothing is known of what would follow",
            where=f"plan, {support.treatment}",
            expected=expected if alone else f"{usual}, between which nine in ten lie, or little beyond",
            got=f"{asked:g} {unit}, with {_rest(table, support.treatment)}",
            fix="ask for a dose nearer to these, at once with what goes with it, or at another moment with at=TIME",
        )


def _rest(table: Float[np.ndarray, "treatment step"], treatment: str) -> str:
    """What else the plan gives."""
    others = [(name, table[row].sum()) for row, name in enumerate(TREATMENTS) if name != treatment]
    return ", ".join(
        f"{name} of {amount:g} {modality(name).unit}" if amount else f"no {name}" for name, amount in others
    )


def _doses(
    taken: Float[np.ndarray, "plan step"], supports: tuple[Support, ...], name: str
) -> Float[np.ndarray, " dose"]:
    """Of a treatment that one of the plans gives; none of one that neither does."""
    most = float(taken.sum(axis=1).max())
    usual = [support.high for support in supports if support.treatment == name]
    return np.linspace(0, max(most * CURVE_BEYOND, *usual, 0.0), CURVE_DOSES) if most else np.zeros(0)


def _with_dose(
    table: Float[np.ndarray, "treatment step"], row: int, dose: float
) -> Float[np.ndarray, "treatment step"]:
    """The plan with another amount of one treatment, at its times; at once if it gives none."""
    out = table.copy()
    whole = table[row].sum()
    out[row] = table[row] * dose / whole if whole else np.where(np.arange(table.shape[1]) == 0, dose, 0.0)
    return out


def _plans(person: _Person, head: PlanResponse, tables: Float[np.ndarray, "plan treatment step"]) -> Plans:
    """Of one moment; every plan but the last, which gives nothing, against the second."""
    others = [plan for plan in range(len(tables) - 1) if plan != 1]
    return Plans(
        life=np.array([person.life]),
        time=np.array([person.time]),
        units=tables[None, :, 0],
        grams=tables[None, :, 1],
        contrasts=tuple((plan, 1) for plan in others),
        minutes=head.minutes,
    )


def _without_plan(
    found: PlanModel, readings: Readings, nothing: Float[np.ndarray, "1 minute"]
) -> Float[np.ndarray, "minute mean_and_level"]:
    """What comes beside the plan's effect, as the decoder says; it is told the law's course without a plan."""
    _, inputs = told(found.model, readings.series, found.task, given=readings.given, now=True)
    out: np.ndarray = ask(found.head.decoder, beside_law(take(inputs, torch.tensor([-1])), nothing))[0]
    return out


def _off(effect: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the intervals from the effects: none lies on the wrong side of its own effect."""
    own = np.concatenate([effect[:1], effect[2:]])
    return np.minimum(low - own, 0.0), np.maximum(high - own, 0.0)


def _curves(
    minutes: tuple[int, ...],
    asked: list[tuple[int, str, np.ndarray]],
    supports: list[Support],
    effect: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> tuple[DoseResponse, ...]:
    at = int(np.argmin(np.abs(np.array(minutes) - CURVE_MINUTE)))
    curves, first = [], 0
    for _, name, doses in asked:
        own = slice(first, first + len(doses))
        curves.append(
            DoseResponse(
                treatment=name,
                unit=modality(name).unit,
                minute=minutes[at],
                dose=doses,
                effect=effect[own, at],
                low=low[own, at],
                high=high[own, at],
                supported=np.array([one.verdict != "outside" for one in supports[own]]),
            )
        )
        first += len(doses)
    return tuple(curves)

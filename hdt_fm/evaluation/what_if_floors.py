"""What every model of plans must beat: learners that read plan and past side by side (S-learners), told what ours is.

Each reads of a moment: the newest readings, what was taken in the last hours, basal insulin, and what the person's
other lives showed (usual glucose, doses and meals, how much they inject for a gram). They learn from training people's
own meals after which nothing else was taken until the minute asked; of effects they know only what doses did there.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from hdt_fm.evaluation.what_if import Answer, Fit, halves
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.lives import STEP_MINUTES, STEPS_PER_HOUR, Asked, Lives, PlanAnswers

LOWEST_MG_DL, HIGHEST_MG_DL = 39.0, 400.0
BACK_MINUTES = (0, 5, 10, 15, 30, 45, 60, 90, 120)
HOURS_TAKEN = (1, 2, 3, 4, 6)
ALPHAS = (0.1, 1.0, 10.0, 100.0, 1000.0)
TREES = 200
WIDTH, EPOCHS, BATCH, LEARNING_RATE = 32, 12, 128, 3e-3
READ_HOURS, READ_EVERY = 6, 3
MINUTES_PER_DAY = 24 * 60

# Features and change of each training row -> changes of others; the seed is of its own chance.
Regress = Callable[[np.ndarray, np.ndarray, int], Callable[[np.ndarray], np.ndarray]]


def forecast_alone(minutes: tuple[int, ...]) -> Fit:
    """A ridge that reads no plan: all plans of a moment get one answer, all effects are 0."""
    return _s_learner(minutes, _ridge, plan=False)


def ridge(minutes: tuple[int, ...]) -> Fit:
    """Linear, with products of the plan with the size of a body and with the newest reading."""
    return _s_learner(minutes, _ridge)


def lightgbm(minutes: tuple[int, ...], *, trees: int = TREES) -> Fit:
    """Boosted trees; errors are those of `boosted`."""
    return _s_learner(minutes, boosted(trees, leaf=20))


def boosted(trees: int, *, leaf: int) -> Regress:
    """Boosted trees with so many rows in a leaf at least; one thread.

    Raises:
        ConfigError: If LightGBM is not installed.
    """
    try:
        import lightgbm as library
    except ImportError:
        raise ConfigError(
            "LightGBM is not installed", expected="the extra floors", fix="pip install 'hdt-fm[floors]'"
        ) from None
    settings: dict[str, Any] = {"num_leaves": 15, "learning_rate": 0.05, "min_child_samples": leaf, "n_jobs": 1}
    settings |= {"n_estimators": trees, "verbose": -1, "deterministic": True, "force_row_wise": True}

    def regress(features: np.ndarray, change: np.ndarray, seed: int) -> Callable[[np.ndarray], np.ndarray]:
        model = library.LGBMRegressor(**settings, random_state=seed).fit(features, change)
        return lambda asked: np.asarray(model.predict(asked))

    return regress


def _ridge(features: np.ndarray, change: np.ndarray, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    fitted = make_pipeline(StandardScaler(), RidgeCV(ALPHAS)).fit(features, change)
    return lambda asked: np.asarray(fitted.predict(asked))


def _s_learner(minutes: tuple[int, ...], regress: Regress, *, plan: bool = True) -> Fit:
    def fit(train: Lives, seed: int) -> Answer:
        features, change = training_rows(train, minutes)
        if not plan:
            features = features[:, : -len(PLAN_FEATURES)]
        known = np.isfinite(change)
        models = [regress(features[known[:, at]], change[known[:, at], at], seed) for at in range(len(minutes))]

        def answer(own: Lives, taught: Lives, asked: Asked) -> PlanAnswers:
            table = features_of(own, taught, asked)
            table = table if plan else table[..., : -len(PLAN_FEATURES)]
            rows = table.reshape(-1, table.shape[-1])
            moved = np.stack([model(rows) for model in models], axis=-1).reshape(*table.shape[:2], -1)
            return _answers(own, asked, moved)

        return answer

    return fit


PLAN_FEATURES = (
    "dose",
    "carbs",
    "dose by basal",
    "carbs by basal",
    "dose by basal times reading",
    "dose at usual ratio",
)


def features_of(own: Lives, taught: Lives, asked: Asked) -> Float[np.ndarray, "moment plan feature"]:
    """Of the past, then of the plan."""
    past = _past(own, taught, asked)
    dose, carbs = asked.dose_units, asked.carbs_g
    basal = own.basal_units_per_hour[asked.life][:, None]
    reading = _newest(own, asked)[:, None]
    per_gram = past[:, -1][:, None]
    parts = [dose, carbs, dose / basal, carbs / basal, dose / basal * reading / 100.0, carbs * per_gram]
    plan = np.stack(np.broadcast_arrays(*parts), axis=-1)
    return np.concatenate([np.repeat(past[:, None], dose.shape[1], axis=1), plan], axis=2)


def training_rows(
    train: Lives, minutes: tuple[int, ...]
) -> tuple[Float[np.ndarray, "row feature"], Float[np.ndarray, "row minute"]]:
    """At each meal of training people what is told, and how far glucose moved; NaN where something else was taken."""
    found = [
        (features_of(own, taught, asked)[:, 0], change) for own, taught, asked, change in taught_meals(train, minutes)
    ]
    return np.concatenate([one for one, _ in found]), np.concatenate([one for _, one in found])


def taught_meals(
    train: Lives, minutes: tuple[int, ...]
) -> list[tuple[Lives, Lives, Asked, Float[np.ndarray, "moment minute"]]]:
    """Training people's lives in two halves, each taught by the other, asked what they did."""
    one, other = halves(train)
    out = []
    for rows, teaching in ((one, other), (other, one)):
        own = train.take(rows)
        horizon = max(minutes) // STEP_MINUTES
        life, time = np.nonzero((own.carbs_g > 0)[:, : -horizon - 1])
        later = time >= READ_HOURS * STEPS_PER_HOUR
        life, time = life[later], time[later]
        asked = Asked(
            life=life,
            time=time,
            dose_units=own.bolus_units[life, time][:, None],
            carbs_g=own.carbs_g[life, time][:, None],
            contrasts=(),
            minutes=minutes,
        )
        out.append((own, train.take(teaching), asked, _change(own, asked)))
    return out


def _change(own: Lives, asked: Asked) -> Float[np.ndarray, "moment minute"]:
    taken = ((own.bolus_units > 0) | (own.carbs_g > 0)).cumsum(axis=1)
    out = np.empty((len(asked), len(asked.minutes)))
    for at, step in enumerate(asked.steps):
        alone = taken[asked.life, asked.time + step - 1] == taken[asked.life, asked.time]
        moved = own.glucose_mg_dl[asked.life, asked.time + step] - _newest(own, asked)
        out[:, at] = np.where(alone, moved, np.nan)
    return out


def _newest(own: Lives, asked: Asked) -> Float[np.ndarray, " moment"]:
    return own.glucose_mg_dl[asked.life, asked.time]


def _past(own: Lives, taught: Lives, asked: Asked) -> Float[np.ndarray, "moment feature"]:
    """Readings, what was taken before (this moment's is the plan's), the clock, the body, habits."""
    back = np.array(BACK_MINUTES) // STEP_MINUTES
    readings = own.glucose_mg_dl[asked.life[:, None], np.maximum(asked.time[:, None] - back, 0)]
    taken = []
    for table in (own.bolus_units, own.carbs_g):
        sums = np.concatenate([np.zeros((len(table), 1)), table.cumsum(axis=1)], axis=1)
        start = np.maximum(asked.time[:, None] - np.array(HOURS_TAKEN) * STEPS_PER_HOUR, 0)
        taken.append(sums[asked.life, asked.time][:, None] - sums[asked.life[:, None], start])
    turn = 2 * np.pi * (asked.time * STEP_MINUTES % MINUTES_PER_DAY) / MINUTES_PER_DAY
    clock = np.stack([np.sin(turn), np.cos(turn)], axis=1)
    people = np.unique(own.person)
    usual = _habits(taught, people)[np.searchsorted(people, own.person[asked.life])]
    basal = own.basal_units_per_hour[asked.life][:, None]
    # What a person injects for a gram comes last: products with the plan read it.
    return np.concatenate([readings, *taken, clock, basal, usual], axis=1)


def _habits(taught: Lives, people: np.ndarray) -> Float[np.ndarray, "person habit"]:
    """Mean and spread of glucose, doses and meals a day, units for a gram; everybody's where nothing is known."""
    out = np.full((len(people), 5), np.nan)
    for place, person in enumerate(people):
        known = np.isfinite(taught.glucose_mg_dl) & (taught.person == person)[:, None]
        if known.any():
            days = known.sum() * STEP_MINUTES / MINUTES_PER_DAY
            units, grams = taught.bolus_units[known].sum(), taught.carbs_g[known].sum()
            glucose = taught.glucose_mg_dl[known]
            out[place] = glucose.mean(), glucose.std(), units / days, grams / days, units / max(grams, 1.0)
    there = np.isfinite(out)
    mean = np.where(there, out, 0.0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    return np.where(there, out, mean)


def _answers(own: Lives, asked: Asked, moved: Float[np.ndarray, "moment plan minute"]) -> PlanAnswers:
    level = _newest(own, asked)[:, None, None] + moved
    return PlanAnswers(level=level.clip(LOWEST_MG_DL, HIGHEST_MG_DL))


class _PlainGRU(nn.Module):
    def __init__(self, features: int, minutes: int) -> None:
        super().__init__()
        self.gru = nn.GRU(3, WIDTH, batch_first=True)
        self.leave = nn.Sequential(nn.Linear(WIDTH + features, WIDTH), nn.ELU(), nn.Linear(WIDTH, minutes))

    def forward(self, course: Tensor, features: Tensor) -> Tensor:
        moved: Tensor = self.leave(torch.cat([self.gru(course)[1][0], features], dim=-1))
        return moved


def plain_gru(minutes: tuple[int, ...], *, epochs: int = EPOCHS) -> Fit:
    """A recurrent net over the last hours beside the same features; without any care for bias."""

    def fit(train: Lives, seed: int) -> Answer:
        meals = taught_meals(train, minutes)
        courses = np.concatenate([_course(own, asked) for own, _, asked, _ in meals])
        features = np.concatenate([features_of(own, taught, asked)[:, 0] for own, taught, asked, _ in meals])
        change = np.concatenate([one for *_, one in meals])
        scales = [_Scale(courses.reshape(-1, 3)), _Scale(features), _Scale(change)]
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            net = _PlainGRU(features.shape[1], len(minutes))
            course, told, moved = (scale(some) for scale, some in zip(scales, (courses, features, change), strict=True))
            _train(net, course, told, moved, epochs)

        @torch.no_grad()
        def answer(own: Lives, taught: Lives, asked: Asked) -> PlanAnswers:
            table = features_of(own, taught, asked)
            course = np.repeat(_course(own, asked), table.shape[1], axis=0)
            moved = net(scales[0](course), scales[1](table.reshape(-1, table.shape[-1]))).numpy()
            return _answers(own, asked, scales[2].back(moved).reshape(*table.shape[:2], -1))

        return answer

    return fit


class _Scale:
    """Zero mean and unit spread of training rows."""

    def __init__(self, rows: np.ndarray) -> None:
        self.mean, self.sd = np.nanmean(rows, axis=0), np.maximum(np.nanstd(rows, axis=0), 1e-6)

    def __call__(self, rows: np.ndarray) -> Tensor:
        return torch.from_numpy((rows - self.mean) / self.sd).float()

    def back(self, rows: np.ndarray) -> np.ndarray:
        out: np.ndarray = rows * self.sd + self.mean
        return out


def _course(own: Lives, asked: Asked) -> Float[np.ndarray, "moment step channel"]:
    """Readings, and what was taken within each quarter of an hour before the moment."""
    steps = READ_HOURS * STEPS_PER_HOUR
    ago = np.maximum(asked.time[:, None] - np.arange(steps, 0, -1), 0)
    tables = (own.glucose_mg_dl, own.bolus_units, own.carbs_g)
    read, units, grams = (table[asked.life[:, None], ago].reshape(len(asked), -1, READ_EVERY) for table in tables)
    return np.stack([read[..., -1], units.sum(axis=2), grams.sum(axis=2)], axis=-1)


def _train(net: nn.Module, course: Tensor, features: Tensor, change: Tensor, epochs: int) -> None:
    optimiser = torch.optim.AdamW(net.parameters(), lr=LEARNING_RATE, weight_decay=1e-3)
    batches = -(-len(course) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=epochs * batches)
    for _ in range(epochs):
        for rows in torch.randperm(len(course)).split(BATCH):
            off = net(course[rows], features[rows]) - change[rows]
            known = off.isfinite()
            loss = torch.where(known, off, 0.0).square().sum() / known.sum().clamp(min=1)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()

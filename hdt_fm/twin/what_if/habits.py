"""How people dose and eat at a moment: a chance that anything is taken, and a normal of the logarithm of the dose.

Both are linear in what is known of the moment; a dose of insulin is also looked at beside its meal. People differ by a
level of their own, which their own doses tell.
"""

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit, ndtri

from hdt_fm.schema.errors import CheckpointError, ConfigError
from hdt_fm.schema.what_if import TREATMENTS
from hdt_fm.twin.what_if.actions import FEATURES, Actions

BOLUS, CARBS = range(len(TREATMENTS))
# A one, the features, whether glucose and its change are unknown, whether there is a meal, and how large.
COLUMNS = 1 + len(FEATURES) + 2 + 2
# Many are 0 and some are large, so that their logarithm (of either sign) is looked at.
_SKEWED = [FEATURES.index(name) for name in ("insulin_on_board", "carbs_on_board")]
RIDGE, ROUNDS, LONGEST_STEP = 1.0, 30, 2.0
LEAST_PEOPLE, LEAST_ACTIONS = 3, 50
# Where a dose lies among doses: the ends of nine in ten, and the middle.
TAILS = (0.05, 0.5, 0.95)
_NORMAL_TAILS = ndtri(TAILS)


@dataclass(frozen=True, kw_only=True)
class Habits:
    """What training people have in common, and how they differ; nothing of one of them.

    Attributes:
        center, scale: Of features, by which they come to mean 0 and SD 1.
        meal: Mean logarithm of a meal's grams.
        taken: Weights of the chance that a treatment is part of an action; of the bolus, at meals.
        level: Weights of the logarithm of a dose.
        between, within: Variance of it between people and within one.
        tails: Of what is missed within a person, in SDs, as doses are no exact normal: 5, 50 and 95 in a hundred lie
            below.
    """

    center: Float[np.ndarray, " feature"]
    scale: Float[np.ndarray, " feature"]
    meal: Float[np.ndarray, ""]
    taken: Float[np.ndarray, "treatment column"]
    level: Float[np.ndarray, "treatment column"]
    between: Float[np.ndarray, " treatment"]
    within: Float[np.ndarray, " treatment"]
    tails: Float[np.ndarray, "treatment tail"]

    def arrays(self) -> dict[str, np.ndarray]:
        """By name, for a checkpoint."""
        return dict(vars(self))

    @classmethod
    def of(cls, arrays: dict[str, np.ndarray]) -> "Habits":
        """From `arrays`.

        Raises:
            CheckpointError: If one is missing, or of another shape.
        """
        several = len(TREATMENTS)
        shapes: dict[str, tuple[int, ...]] = {"center": (len(FEATURES),), "scale": (len(FEATURES),), "meal": ()}
        shapes |= {
            "taken": (several, COLUMNS),
            "level": (several, COLUMNS),
            "between": (several,),
            "within": (several,),
        }
        shapes |= {"tails": (several, len(TAILS))}
        for name, shape in shapes.items():
            if name not in arrays or arrays[name].shape != shape:
                raise CheckpointError(
                    "Habits cannot be read",
                    where=f"Habits.{name}",
                    expected=str(shape),
                    got=str(arrays[name].shape) if name in arrays else "nothing",
                    fix="take a checkpoint that was made with the same features of the moment",
                )
        return cls(**{field.name: np.asarray(arrays[field.name], dtype=np.float64) for field in fields(cls)})

    def scaled(self, moment: Float[np.ndarray, "action feature"]) -> Float[np.ndarray, "action feature"]:
        """Features at mean 0 and SD 1; NaN where unknown."""
        out: np.ndarray = (_shaped(moment) - self.center) / self.scale
        return out

    def chance(self, treatment: int, moment: Float[np.ndarray, "action feature"], carbs_g: np.ndarray) -> np.ndarray:
        """That a meal is part of an action, or a bolus part of a meal of so many grams."""
        beside = carbs_g if treatment == BOLUS else np.zeros(len(moment))
        out: np.ndarray = expit(_columns(self.scaled(moment), beside, float(self.meal)) @ self.taken[treatment])
        return out

    def expected(self, treatment: int, moment: Float[np.ndarray, "action feature"], carbs_g: np.ndarray) -> np.ndarray:
        """Logarithm of the dose of somebody of whom nothing is known; of a bolus, with a meal of so many grams."""
        beside = carbs_g if treatment == BOLUS else np.zeros(len(moment))
        out: np.ndarray = _columns(self.scaled(moment), beside, float(self.meal)) @ self.level[treatment]
        return out

    def own_level(self, treatment: int, own: Actions) -> tuple[float, float]:
        """By how much one person's logarithms lie higher than expected, drawn towards 0, and the SD of a dose then."""
        rows = own.dose[:, treatment] > 0
        missed = np.log(own.dose[rows, treatment]) - self.expected(treatment, own.moment[rows], own.dose[rows, CARBS])
        between, within = self.between[treatment], self.within[treatment]
        share = between / (len(missed) * between + within)
        return float(share * missed.sum()), float(np.sqrt(within + share * within))


def learn_habits(actions: Actions) -> Habits:
    """Of training people.

    Raises:
        ConfigError: If there are too few of them, or of their actions, to tell a habit from one person's.
    """
    people = len(np.unique(actions.person))
    if people < LEAST_PEOPLE or len(actions) < LEAST_ACTIONS:
        raise ConfigError(
            "Habits cannot be learned",
            where="learn_habits",
            expected=f"{LEAST_PEOPLE} people and {LEAST_ACTIONS} doses or meals, or more",
            got=f"{people} people, {len(actions)} doses or meals",
            fix="give more training people",
        )
    shaped, eats = _shaped(actions.moment), actions.dose[:, CARBS] > 0
    known = np.isfinite(shaped)
    center = np.where(known, shaped, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    scale = np.sqrt(np.where(known, np.square(shaped - center), 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1))
    scale = np.where(scale > 0, scale, 1.0)
    meal = float(np.log(actions.dose[eats, CARBS]).mean()) if eats.any() else 0.0
    taken, levels = [], []
    for treatment, asked in ((BOLUS, eats), (CARBS, np.ones_like(eats))):
        beside = actions.dose[:, CARBS] if treatment == BOLUS else np.zeros(len(actions))
        table, dose = _columns((shaped - center) / scale, beside, meal), actions.dose[:, treatment]
        rows = dose > 0
        taken.append(_logistic(table[asked], rows[asked]))
        levels.append(_levels(table[rows], np.log(dose[rows]), actions.person[rows]))
    return Habits(
        center=center,
        scale=scale,
        meal=np.array(meal),
        taken=np.stack(taken),
        level=np.stack([one.weights for one in levels]),
        between=np.array([one.between for one in levels]),
        within=np.array([one.within for one in levels]),
        tails=np.stack([one.tails for one in levels]),
    )


@dataclass(frozen=True)
class _Levels:
    """Of one treatment."""

    weights: np.ndarray
    between: float
    within: float
    tails: np.ndarray


def _levels(
    table: Float[np.ndarray, "dose column"], log_dose: Float[np.ndarray, " dose"], person: Int[np.ndarray, " dose"]
) -> _Levels:
    """Ridge weights, and variances of what is missed between people and within, in turn (EM)."""
    weights, between, within = np.zeros(table.shape[1]), 1.0, 1.0
    if len(log_dose) <= table.shape[1]:
        return _Levels(weights, between, within, _NORMAL_TAILS)
    _, who, count = np.unique(person, return_inverse=True, return_counts=True)
    curve, own = table.T @ table + _pull(table), np.zeros(len(count))
    for _ in range(ROUNDS):
        weights = np.linalg.solve(curve, table.T @ (log_dose - own[who]))
        missed = log_dose - table @ weights
        doubt = between * within / (count * between + within)
        own = np.bincount(who, missed) * doubt / within
        between = float((np.square(own) + doubt).mean())
        within = float((np.square(missed - own[who]).sum() + (count * doubt).sum()) / len(missed))
    return _Levels(weights, between, within, np.quantile((missed - own[who]) / np.sqrt(within), TAILS))


def _logistic(
    table: Float[np.ndarray, "action column"], yes: Bool[np.ndarray, " action"]
) -> Float[np.ndarray, " column"]:
    """Weights by Newton's steps, with a ridge, and half a yes and half a no at the mean, so that nothing is sure."""
    mean = np.eye(1, table.shape[1]).repeat(2, axis=0)
    rows, came = np.concatenate([table, mean]), np.concatenate([yes.astype(np.float64), [1.0, 0.0]])
    count, pull = np.concatenate([np.ones(len(table)), [0.5, 0.5]]), _pull(table)
    weights = np.zeros(table.shape[1])
    for _ in range(ROUNDS):
        chance = expit(rows @ weights)
        slope = rows.T @ (count * (came - chance)) - pull @ weights
        bend = (rows * (count * chance * (1 - chance))[:, None]).T @ rows + pull
        weights = weights + np.linalg.solve(bend, slope).clip(-LONGEST_STEP, LONGEST_STEP)
    return weights


def _pull(table: np.ndarray) -> np.ndarray:
    """A ridge on all but the one; the one a trace of it, for columns that tell it."""
    return np.diag([1e-9] + [RIDGE] * (table.shape[1] - 1))


def _columns(
    scaled: Float[np.ndarray, "action feature"], carbs_g: Float[np.ndarray, " action"], meal: float
) -> Float[np.ndarray, "action column"]:
    """Unknown features stand at the mean."""
    known, eats = np.isfinite(scaled), carbs_g > 0
    size = np.where(eats, np.log(np.where(eats, carbs_g, 1.0)) - meal, 0.0)
    return np.column_stack([np.ones(len(scaled)), np.where(known, scaled, 0.0), ~known[:, :2], eats, size])


def _shaped(moment: Float[np.ndarray, "action feature"]) -> Float[np.ndarray, "action feature"]:
    out = moment.copy()
    out[:, _SKEWED] = np.arcsinh(out[:, _SKEWED])
    return out

"""Whether people do what a plan asks, at moments like this one: inside, thin or outside of what was ever seen."""

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri

from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.what_if import TREATMENTS, Support, Verdict
from hdt_fm.twin.what_if.actions import Actions
from hdt_fm.twin.what_if.habits import BOLUS, CARBS, Habits

# Nine in ten lie within this many SDs.
NINE_IN_TEN = float(ndtri(0.95))
# No habit is closer than this SD of a logarithm: a narrower one is few doses that happen to be alike.
LEAST_SD = 0.15
# Beyond the range by up to a quarter a dose is still beside doses that were seen; past that nobody's record was near.
BEYOND = 1.25
# Of taking a thing at all (or leaving it): under one in twenty is past nine in ten on its side (thin), under this is
# nobody.
NOBODY = 0.01
# A moment so many SDs off in any feature is one at which few training people acted.
FAR = 4.0
# Of the factor by which an interval widens, less 1.
MOST_EXCESS = 2.0
_SEVERITY: dict[Verdict, int] = {"inside": 0, "thin": 1, "outside": 2}


def support_of(
    habits: Habits, own: Actions, moment: Float[np.ndarray, " feature"], *, dose_units: float, carbs_g: float
) -> Support:
    """Of a dose and a meal at once, by whichever of them has less.

    Outside: a dose past the range of nine in ten by more than a quarter, or something that under one in a hundred take
    (or leave). Thin: past the range, under one in twenty, or a moment more than 4 SDs off. Where people also take none,
    a dose below the range is thin at most, as it lies between doses that are taken. No meal, and nothing at all, are
    always inside. An interval widens by 1 for every SD past the edge, at most by 2: a rule of thumb.

    Args:
        own: Of the person, before the moment; none is an answer from other people alone.
        moment: As `moments_at` tells it.

    Raises:
        ConfigError: If a dose is negative or no number.
    """
    plan = np.array([dose_units, carbs_g])
    if not (np.isfinite(plan) & (plan >= 0)).all():
        raise ConfigError(
            "Nobody takes such a dose",
            where="support_of",
            expected="finite amounts of 0 or more",
            fix="ask for 0 or more, in U and g",
        )
    size = effective_size(habits, own, moment, plan)
    found = [_of_treatment(habits, own, moment, plan, treatment, size) for treatment in (BOLUS, CARBS)]
    return max(found, key=severity)


def severity(support: Support) -> tuple[int, float, float]:
    """By which the support that decides is the greatest."""
    return _SEVERITY[support.verdict], support.widen, -support.density


def effective_size(
    habits: Habits, own: Actions, moment: Float[np.ndarray, " feature"], plan: Float[np.ndarray, " treatment"]
) -> float:
    """Kish's, of own actions that take and leave the same things, and differ by less than an SD on the whole.

    At an SD weights are 0: Kish's size says how even weights are, so that what is far must not have any.
    """
    taken = plan > 0
    same = ((own.dose > 0) == taken).all(axis=1)
    off = habits.scaled(own.moment[same]) - habits.scaled(moment[None])
    doses = (np.log(own.dose[same][:, taken]) - np.log(plan[taken])) / np.sqrt(habits.within[taken])
    apart = np.square(np.concatenate([off, doses], axis=1))
    known = np.isfinite(apart)
    distance = np.where(known, apart, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    weight = np.clip(1 - distance, 0.0, None)
    return float(weight.sum() ** 2 / np.square(weight).sum()) if weight.any() else 0.0


def _of_treatment(
    habits: Habits, own: Actions, moment: np.ndarray, plan: np.ndarray, treatment: int, size: float
) -> Support:
    """An edge lies where nine in ten end; what is past it is counted in SDs, chances as a normal has them."""
    higher, spread = habits.own_level(treatment, own)
    bottom, middle, top = habits.tails[treatment]
    sides = np.maximum(spread * np.array([middle - bottom, top - middle]) / NINE_IN_TEN, LEAST_SD)
    likeliest = float(habits.expected(treatment, moment[None], plan[[CARBS]])[0] + higher + spread * middle)
    chance = _chance(habits, moment, plan, treatment)
    density, excess, outside = chance / max(chance, 1 - chance), -np.inf, False
    if plan[treatment] > 0:
        off = float(np.log(plan[treatment]) - likeliest)
        side = float(sides[int(off > 0)])
        density, excess = density * float(np.exp(-((off / side) ** 2) / 2)), abs(off) / side - NINE_IN_TEN
        left = plan * (np.arange(len(plan)) != treatment)
        between = off < 0 and _chance(habits, moment, left, treatment) >= NOBODY
        outside = excess * side > np.log(BEYOND) and not between
    if plan.any():
        far = float(np.nanmax(np.abs(habits.scaled(moment[None]))))
        excess = max(excess, -float(ndtri(chance)) - NINE_IN_TEN, far - FAR)
        outside = outside or chance < NOBODY
    verdict: Verdict = "outside" if outside else "thin" if excess > 0 else "inside"
    return Support(
        verdict=verdict,
        treatment=TREATMENTS[treatment],
        density=float(density),
        effective_size=size,
        low=float(np.exp(likeliest - NINE_IN_TEN * sides[0])),
        high=float(np.exp(likeliest + NINE_IN_TEN * sides[1])),
        widen=1.0 + min(max(excess, 0.0), MOST_EXCESS),
    )


def _chance(habits: Habits, moment: np.ndarray, plan: np.ndarray, treatment: int) -> float:
    """That this treatment is taken or left as the plan does, when people act at such a moment."""
    eats = float(habits.chance(CARBS, moment[None], plan[[CARBS]])[0])
    if treatment == CARBS:
        # A meal may always be left out.
        return eats if plan[CARBS] > 0 else 1.0
    if plan[CARBS] > 0:
        doses = float(habits.chance(BOLUS, moment[None], plan[[CARBS]])[0])
        return doses if plan[BOLUS] > 0 else 1 - doses
    # A dose without a meal is what all other actions are.
    return 1 - eats if plan[BOLUS] > 0 else 1.0

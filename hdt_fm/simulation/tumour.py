"""Tumours under chemotherapy and radiotherapy: the published simulation that models of what-if are compared on.

With V the volume (cm3), C the chemotherapy in the body (units), d the radiation of a day (Gy), day by day:

    V[t+1] = V[t] (1 + rho ln(K / V[t]) - beta_c C[t] - (alpha d[t] + beta d[t]^2) + e[t+1]),   e ~ normal(0, 0.01)
    C[t]   = C[t-1] / 2 + 5 where chemotherapy is given,   d[t] = 2 where radiotherapy is given,   beta = alpha / 10

K is a sphere of 30 cm. A tumour of 13 cm is death, and a subject recovers with probability exp(-V density): at a few
cells. Each treatment of a day is given with probability sigmoid(gamma / 13 (D - 6.5)), where D is the mean diameter
(cm) of the last 15 days: gamma says how much the tumour itself decides who is treated, so how confounded answers are.

Source: growth and parameters, Geng et al. 2017 (Scientific Reports 7:13542); assignment, Lim et al. 2018 (RMSN);
types of subjects, Bica et al. 2020 (CRN) and Melnychuk et al. 2022 (CT), whose program says what papers leave open.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import ndtr, ndtri

from hdt_fm.schema.errors import ConfigError

DEATH_DIAMETER_CM = 13.0
CAPACITY_DIAMETER_CM = 30.0
CHEMO_UNITS, CHEMO_KEPT_A_DAY = 5.0, 0.5
RADIO_GY = 2.0
NOISE = 0.01
WINDOW_DAYS = 15
CELLS_PER_CM3 = 5.8e8
ALPHA_OVER_BETA = 10.0
# Mean and SD before truncation below 0: growth, radiation and chemotherapy; the first two go together.
RHO, ALPHA, BETA_C, ALPHA_RHO_CORRELATION = (7e-5, 7.23e-3), (0.0398, 0.168), (0.028, 0.0007), 0.87
# By stage: subjects, mean and SD of the log diameter (cm), and between which diameters it is cut.
STAGES = (
    (1432, 1.72, 4.70, 0.3, 5.0),
    (128, 1.96, 1.63, 0.3, 13.0),
    (1306, 1.91, 9.40, 0.3, 13.0),
    (7248, 2.76, 6.87, 0.3, 13.0),
    (12840, 3.86, 8.82, 0.3, 13.0),
)
# Types 1 and 3 answer better to one treatment: a tenth of its mean is added.
RADIO_TYPE, CHEMO_TYPE, TYPE_SHARE = 1, 3, 0.1

Numbers = Float[np.ndarray, "..."]
# By day: volumes (subject, day).
Seen = Callable[[int], Float[np.ndarray, "subject day"]]


def volume_of(diameter_cm: Numbers | float) -> Numbers:
    """Of a sphere, cm3."""
    return np.asarray(np.pi / 6 * np.power(diameter_cm, 3.0))


def diameter_of(volume_cm3: Numbers | float) -> Numbers:
    """Of a sphere, cm; NaN for a volume below 0."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.power(np.asarray(volume_cm3) * 6 / np.pi, 1 / 3))


DEATH_VOLUME_CM3 = float(volume_of(DEATH_DIAMETER_CM))
CAPACITY_CM3 = float(volume_of(CAPACITY_DIAMETER_CM))


@dataclass(frozen=True)
class Subjects:
    """Who is simulated.

    Attributes:
        volume: On day 0, cm3.
        rho: Growth a day and e-fold below the capacity.
        alpha, beta: Share of the tumour that radiation kills, per Gy and per Gy2.
        beta_c: Share that a unit of chemotherapy kills in a day.
        kind: 1, 2 or 3, which a model may see.
    """

    volume: Float[np.ndarray, " subject"]
    rho: Float[np.ndarray, " subject"]
    alpha: Float[np.ndarray, " subject"]
    beta: Float[np.ndarray, " subject"]
    beta_c: Float[np.ndarray, " subject"]
    kind: Int[np.ndarray, " subject"]

    def __len__(self) -> int:
        return len(self.volume)

    def take(self, rows: slice) -> "Subjects":
        return Subjects(*(values[rows] for values in vars(self).values()))


def draw_subjects(count: int, rng: np.random.Generator) -> Subjects:
    """Subjects as the papers draw them: stage, diameter and sensitivities, then the type.

    Raises:
        ConfigError: If `count` is below 1.
    """
    if count < 1:
        raise ConfigError("There is nobody to simulate", expected="1 subject or more", got=str(count))
    table = np.array(STAGES)
    stage = rng.choice(len(table), size=count, p=table[:, 0] / table[:, 0].sum())
    center, spread, low, high = table[stage, 1:].T
    diameter = np.exp(center + spread * _normal_between((np.log([low, high]) - center) / spread, rng))
    alpha, rho = _alpha_and_rho(count, rng)
    kind = rng.integers(1, 4, size=count)
    alpha = alpha + TYPE_SHARE * ALPHA[0] * (kind == RADIO_TYPE)
    never = np.full(count, -BETA_C[0] / BETA_C[1])
    beta_c = BETA_C[0] + BETA_C[1] * _normal_between(np.stack([never, np.full(count, np.inf)]), rng)
    beta_c = beta_c + TYPE_SHARE * BETA_C[0] * (kind == CHEMO_TYPE)
    return Subjects(volume_of(diameter), rho, alpha, alpha / ALPHA_OVER_BETA, beta_c, kind)


def _normal_between(
    edges: Float[np.ndarray, "edge subject"], rng: np.random.Generator
) -> Float[np.ndarray, " subject"]:
    low, high = ndtr(edges)
    return ndtri(low + (high - low) * rng.random(edges.shape[1]))


def _alpha_and_rho(count: int, rng: np.random.Generator) -> Float[np.ndarray, "two subject"]:
    """Drawn together until both are above 0: about half of the draws are."""
    between = ALPHA_RHO_CORRELATION * ALPHA[1] * RHO[1]
    spread = np.array([[ALPHA[1] ** 2, between], [between, RHO[1] ** 2]])
    kept = np.zeros((0, 2))
    while len(kept) < count:
        drawn = rng.multivariate_normal([ALPHA[0], RHO[0]], spread, size=count)
        kept = np.concatenate([kept, drawn[(drawn > 0).all(axis=1)]])
    return kept[:count].T


def grow(
    volume: Numbers, chemo_units: Numbers, radio_gy: Numbers, noise: Numbers, people: Subjects, axes: int = 0
) -> Numbers:
    """The volume a day later, cm3: the equation above, neither cut at death nor at 0.

    Args:
        volume: Subjects first. A volume of 0 stays 0; one below 0 has no day after and gives NaN.
        chemo_units: In the body today, what is given today among it.
        axes: How many axes follow that of the subjects.
    """
    rho, alpha, beta, beta_c = (
        values.reshape(-1, *[1] * axes) for values in (people.rho, people.alpha, people.beta, people.beta_c)
    )
    with np.errstate(invalid="ignore"):
        room = np.log(CAPACITY_CM3 / np.where(volume == 0, 1.0, volume))
    killed = beta_c * chemo_units + alpha * radio_gy + beta * radio_gy**2
    return volume * (1 + rho * room - killed + noise)


def chemo_after(units: Numbers, given: Bool[np.ndarray, "..."]) -> Numbers:
    """Units in the body on a day, from those of the day before and what is given: half is gone after a day."""
    return units * CHEMO_KEPT_A_DAY + CHEMO_UNITS * given


def assignment_probability(mean_diameter_cm: Numbers, gamma: float) -> Numbers:
    """Of each of the two treatments, independently."""
    return 1 / (1 + np.exp(-gamma / DEATH_DIAMETER_CM * (mean_diameter_cm - DEATH_DIAMETER_CM / 2)))


@dataclass(frozen=True)
class Draws:
    """All chance of a run, drawn before it: runs that share draws differ by what was decided and by nothing else.

    Attributes:
        noise: Of growth; (subject, day) with as many days more as a plan goes on.
        recovery, chemo, radio: Uniform, (subject, day).
    """

    noise: Float[np.ndarray, "subject longer"]
    recovery: Float[np.ndarray, "subject day"]
    chemo: Float[np.ndarray, "subject day"]
    radio: Float[np.ndarray, "subject day"]

    def take(self, rows: slice) -> "Draws":
        return Draws(*(values[rows] for values in vars(self).values()))


def draw_chance(count: int, days: int, rng: np.random.Generator, ahead: int = 0) -> Draws:
    """For `count` subjects over `days`, with noise for `ahead` days more."""
    noise = NOISE * rng.standard_normal((count, days + ahead))
    return Draws(noise, *rng.random((3, count, days)))


@dataclass(frozen=True)
class Course:
    """What happened. Day t's treatments come after its volume; day t + 1's volume is their outcome.

    Attributes:
        volume: cm3; 0 on days after the end.
        chemo, radio: What was given; none on days after the end.
        chemo_units: In the body.
        probability: Of each of the two treatments that day, as it was used; NaN after the end, and where there is
            none, which is as good as 0.
        length: Days with an outcome: volumes of days 0 to `length` are there.
        kind: Of the subject.
    """

    volume: Float[np.ndarray, "subject day"]
    chemo: Bool[np.ndarray, "subject day"]
    radio: Bool[np.ndarray, "subject day"]
    chemo_units: Float[np.ndarray, "subject day"]
    probability: Float[np.ndarray, "subject day"]
    length: Int[np.ndarray, " subject"]
    kind: Int[np.ndarray, " subject"]

    @property
    def lived(self) -> Bool[np.ndarray, "subject day"]:
        """Days with an outcome."""
        return np.arange(self.volume.shape[1]) < self.length[:, None]

    @property
    def given(self) -> Bool[np.ndarray, "subject day treatment"]:
        """Chemotherapy, then radiotherapy."""
        return np.stack([self.chemo, self.radio], axis=-1)


def live(
    people: Subjects,
    draws: Draws,
    gamma: float,
    *,
    until: Literal["yesterday", "today"] = "yesterday",
    seen: Seen | None = None,
) -> Course:
    """Simulate subjects who are treated as the policy says.

    Args:
        until: The newest day whose volume the policy looks at. Published training people are treated by days up to
            yesterday, so never on day 0; published test people by today's as well. Both are kept as they are.
        seen: Volumes (cm3) that the policy looks at on a day in place of the subjects' own.

    Raises:
        ConfigError: If there are fewer than 2 days, or gamma is below 0.
    """
    days = draws.recovery.shape[1]
    if days < 2 or gamma < 0:
        raise ConfigError("No course can be simulated", expected="2 days, gamma >= 0", got=f"{days} days, {gamma}")
    volume, units, probability = (
        np.zeros((len(people), days)),
        np.zeros((len(people), days)),
        np.zeros((len(people), days)),
    )
    given = np.zeros((2, len(people), days), dtype=bool)
    length = np.zeros(len(people), dtype=np.int64)
    volume[:, 0] = people.volume
    alive = np.ones(len(people), dtype=bool)
    for day in range(days - 1):
        own = volume if seen is None else seen(day)
        probability[:, day] = np.where(alive, _chance_of(own, day, gamma, until), np.nan)
        for row, chance in enumerate((draws.chemo, draws.radio)):
            given[row, :, day] = chance[:, day] < probability[:, day]
        units[:, day] = chemo_after(units[:, day - 1] if day else np.zeros(len(people)), given[0, :, day]) * alive
        ahead = grow(volume[:, day], units[:, day], RADIO_GY * given[1, :, day], draws.noise[:, day + 1], people)
        volume[:, day + 1] = np.clip(ahead, 0, DEATH_VOLUME_CM3) * alive
        length += alive
        recovered = draws.recovery[:, day + 1] <= np.exp(-volume[:, day + 1] * CELLS_PER_CM3)
        alive = alive & (volume[:, day + 1] < DEATH_VOLUME_CM3) & ~recovered
    probability[:, days - 1] = np.nan
    return Course(volume, given[0], given[1], units, probability, length, people.kind)


def _chance_of(
    volume: Float[np.ndarray, "subject day"], day: int, gamma: float, until: Literal["yesterday", "today"]
) -> Float[np.ndarray, " subject"]:
    looked = volume[:, max(day - WINDOW_DAYS, 0) : day + (until == "today")]
    if not looked.shape[1]:
        return np.full(len(volume), np.nan)
    return assignment_probability(diameter_of(looked).mean(axis=1), gamma)

"""What the causal section is worth: tables with a known effect, and one question put to real recordings.

Each world is a way to be wrong. Ours is the estimate that a report shows; beside it stand the plain difference,
regression on what is held fixed, and the same within people. Refuters are judged by how often they fail where they
should and where they should not. `table` is a part of scripts/reproduce_explain.py.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from explain_causal_real import real_rows
from scipy.special import stdtrit

from hdt_fm.explain.causal.design import design_of
from hdt_fm.explain.causal.effect import estimate, told
from hdt_fm.explain.causal.observed import mean_by_person, observed
from hdt_fm.explain.causal.overlap import overlap_of
from hdt_fm.explain.causal.question import PREVIOUS_OUTCOME, Question
from hdt_fm.explain.causal.study import HOLDS, HOLDS_THINLY, NO_OVERLAP, study
from hdt_fm.schema.result import Result, Row

Progress = Callable[[int, int, str], None]
EFFECT, ROWS = 0.5, 20
OURS = "cross-fitted, as told"
NAIVE, REGRESSION, WITHIN = "plain difference", "regression", "regression within people"
# Tables a seed: of estimates, and of all refuters, which cost a hundred times as much.
ESTIMATES, STUDIES = 100, 20
QUESTION = Question(
    treatment="treatment",
    outcome="outcome",
    adjusted=("first", "second"),
    unmeasured=(),
    form="binary",
    negative_control=PREVIOUS_OUTCOME,
)


@dataclass(frozen=True)
class World:
    """How a table comes about.

    Attributes:
        person, hidden, fresh: Weight of a cause that nobody measured: constant in a person, lasting over rows, new in
            each row.
        curved: Weight of a square in both laws. `lasting`: How far a row's chance follows the treatment before.
        lift: By how much what is held fixed moves the chance of being treated.
        should_fail: The refuters that should.
    """

    name: str
    people: int = 30
    effect: float = EFFECT
    binary: bool = True
    within: bool = True
    person: float = 0.0
    hidden: float = 0.0
    fresh: float = 0.0
    curved: float = 0.0
    lasting: float = 0.0
    lift: float = 0.8
    should_fail: tuple[str, ...] = ()


HARDLY_ANY = 6.0
WORLDS = (
    World("confounded"),
    World("confounded, 12 people", people=12),
    World("confounded by a curve", curved=0.7),
    World("confounded, no effect", effect=0.0),
    World("confounded, continuous", binary=False),
    World("confounded by who it is", person=1.0),
    World(
        "confounded by who it is, people compared",
        person=1.0,
        within=False,
        should_fail=("placebo treatment", "negative control"),
    ),
    World("treatment that lasts", lasting=2.0),
    World("unseen cause that lasts", hidden=1.0, should_fail=("negative control",)),
    World("unseen cause, new in each row", fresh=1.0, should_fail=("negative control",)),
    World("thin overlap", lift=2.0),
    World("hardly any overlap", lift=HARDLY_ANY),
)


def draw(world: World, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Columns by name and who each row is of; rows of a person in order of time."""
    generator = np.random.default_rng([seed, WORLDS.index(world)])
    size = (world.people, ROWS)
    first, second, new = generator.normal(size=(3, *size))
    own, lasting = generator.normal(size=(world.people, 1)), _lasting(generator, size)
    unseen = world.person * own + world.hidden * lasting + world.fresh * new
    lift = world.lift * (first + 0.5 * second) + unseen + world.curved * (np.square(first) - 1) - 0.2
    noise = generator.normal(size=size) if not world.binary else generator.logistic(size=size)
    treatment = np.zeros(size)
    for at in range(ROWS):
        before = treatment[:, at - 1] - 0.5 if at else 0.0
        pushed = lift[:, at] + world.lasting * before + noise[:, at]
        treatment[:, at] = pushed > 0 if world.binary else pushed
    outcome = world.effect * treatment + first - 0.5 * second + world.curved * np.square(first) + 1.5 * unseen
    outcome += 0.7 * generator.normal(size=(world.people, 1)) + generator.normal(size=size)
    columns = {"treatment": treatment, "outcome": outcome, "first": first, "second": second}
    return {name: values.ravel() for name, values in columns.items()}, np.repeat(np.arange(world.people), ROWS)


def question_of(world: World) -> Question:
    return replace(QUESTION, form="binary" if world.binary else "continuous", within_people=world.within)


def estimates(world: World, seed: int) -> dict[str, tuple[float, float, float]]:
    """Value and 95 % interval by each model; none that is refused for want of people."""
    question = question_of(world)
    columns, person = draw(world, seed)
    some = observed(question, columns, person)
    design = design_of(some, within=world.within, seed=seed)
    found = estimate(design)
    mine = told(design, some, found, widen=overlap_of(some, design, found).widen)
    held = np.column_stack([columns["first"], columns["second"]])
    plain = regression(columns["treatment"], columns["outcome"], held[:, :0], person, within=False)
    return {
        OURS: (mine.value, mine.low, mine.high),
        NAIVE: plain,
        REGRESSION: regression(columns["treatment"], columns["outcome"], held, person, within=False),
        WITHIN: regression(columns["treatment"], columns["outcome"], held, person, within=True),
    }


def regression(
    treatment: np.ndarray, outcome: np.ndarray, held: np.ndarray, person: np.ndarray, *, within: bool
) -> tuple[float, float, float]:
    """Least squares, errors shared within people (CR1, Student's t)."""
    people = int(person.max()) + 1
    table = np.column_stack([treatment, held, outcome])
    level = np.stack([mean_by_person(one, person, people) for one in table.T], axis=1)[person]
    table = table - (level if within else table.mean(axis=0))
    causes, came = table[:, :-1], table[:, -1]
    bread = np.linalg.inv(causes.T @ causes)
    slope = bread @ (causes.T @ came)
    pushed = causes * (came - causes @ slope)[:, None]
    summed = np.stack([np.bincount(person, one, people) for one in pushed.T], axis=1)
    error = float(np.sqrt((bread @ (summed.T @ summed) @ bread)[0, 0] * people / (people - 1)))
    half = float(stdtrit(people - 1, 0.975)) * error
    return float(slope[0]), float(slope[0]) - half, float(slope[0]) + half


def effect_rows(world: World, tables: int) -> list[Row]:
    """Bias, how often the interval holds the truth, and how often it does not hold 0."""
    found = [estimates(world, seed) for seed in range(tables)]
    rows = []
    for model in (OURS, NAIVE, REGRESSION, WITHIN):
        value, low, high = np.array([one[model] for one in found]).T
        role = "ours" if model == OURS else "baseline"
        scores = {
            "bias": value - world.effect,
            "interval holds the truth, %": 100.0 * ((low <= world.effect) & (world.effect <= high)),
            "interval does not hold 0, %": 100.0 * ((low > 0) | (high < 0)),
        }
        rows += [_row(world.name, model, name, each, role) for name, each in scores.items()]
    return rows


def refuter_rows(world: World, tables: int) -> list[Row]:
    """How often each refuter failed and could not say, beside what it should; and how often the verdict holds up."""
    found = [study(question_of(world), *draw(world, seed), seed=seed) for seed in range(tables)]
    tried = {one.name: [] for some in found for one in some.refuters}
    for some in found:
        for one in some.refuters:
            tried[one.name].append(one.passed)
    rows = []
    for name, ended in tried.items():
        failed, unsaid = (100.0 * np.array([one is way for one in ended]) for way in (False, None))
        rows.append(_row(world.name, OURS, f"{name}: failed, %", failed, "ours"))
        rows.append(_row(world.name, OURS, f"{name}: could not say, %", unsaid, "ours"))
        rows.append(_should(world, f"{name}: failed, %", name in world.should_fail, len(ended)))
        rows.append(_should(world, f"{name}: could not say, %", False, len(ended)))
    none = world.lift >= HARDLY_ANY
    verdicts = (
        ("holds up, %", (HOLDS, HOLDS_THINLY), not world.should_fail and not none),
        ("no estimate, %", (NO_OVERLAP,), none),
    )
    for label, names, should in verdicts:
        rows.append(_row(world.name, OURS, label, 100.0 * np.array([one.verdict in names for one in found]), "ours"))
        rows.append(_should(world, label, should, len(found)))
    return rows


def _should(world: World, metric: str, always: bool, count: int) -> Row:
    return _row(world.name, "as should be", metric, np.full(count, 100.0 * always), "reference")


def _lasting(generator: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Of spread 1, each row .9 times the one before and something new."""
    values = generator.normal(size=size)
    for at in range(1, size[1]):
        values[:, at] = 0.9 * values[:, at - 1] + np.sqrt(1 - 0.81) * values[:, at]
    return values


def _row(what: str, model: str, metric: str, each: np.ndarray, role: str) -> Row:
    """Mean over tables; its interval says how well so many tables know it (Wilson's for shares)."""
    mean, count = float(each.mean()), len(each)
    if metric.endswith("%"):
        share = mean / 100
        middle = (share + 1.96**2 / (2 * count)) / (1 + 1.96**2 / count)
        half = 1.96 * np.sqrt(share * (1 - share) / count + (1.96 / (2 * count)) ** 2) / (1 + 1.96**2 / count)
        ends = {"low": 100 * float(max(middle - half, 0)), "high": 100 * float(min(middle + half, 1))}
    else:
        half = 1.96 * float(each.std(ddof=1)) / np.sqrt(count)
        ends = {"low": mean - half, "high": mean + half}
    unit = "%" if metric.endswith("%") else ""
    ends = {} if role == "reference" else ends
    return Row(what=what, model=model, metric=metric, value=mean, unit=unit, n=count, role=role, **ends)


def table(*, quick: bool, seeds: int, progress: Progress | None = None) -> Result:
    """Estimates against the truth in every world, then refuters, then real recordings if there are any.

    Args:
        quick: Few tables of three worlds: numbers mean nothing.
        seeds: By so many hundred tables an estimate is judged, and by 20 a seed each refuter.
    """
    worlds = (WORLDS[0], WORLDS[5], WORLDS[8]) if quick else WORLDS
    estimated, studied = (5, 2) if quick else (ESTIMATES * seeds, STUDIES * seeds)
    rows: list[Row] = []
    for number, world in enumerate(worlds, start=1):
        rows += effect_rows(world, estimated)
        rows += refuter_rows(world, studied)
        if progress:
            progress(number, len(worlds) + 1, world.name)
    rows += real_rows(quick=quick)
    if progress:
        progress(len(worlds) + 1, len(worlds) + 1, "real recordings")
    protocol = {"interval_over": "tables; people for real recordings", "tables": estimated, "studies": studied}
    return Result(name="causal section", protocol=protocol, rows=tuple(rows), required_baselines=())

"""The personalisation frontier: what a few minutes of a person's own labels buy, whom they help and whom they hurt.

Own minutes are counted per class: a person's first labelled windows of each class, until they cover k minutes of
it. Scored are the windows that start after the last own window of the LARGEST budget, the same ones for every
budget and method: nothing that was learned from is scored, nothing that shares time with it, and nothing before it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from hdt_fm.evaluation import people
from hdt_fm.evaluation.adapt import METHODS, NONE, Own, Population, population
from hdt_fm.evaluation.audit import refuse_fitted_on_test
from hdt_fm.evaluation.baselines import DUMMY, HAND, RANDOM_ENCODER
from hdt_fm.evaluation.contenders import Contender
from hdt_fm.evaluation.contest import OURS, QUICK_C, Contest, Maker
from hdt_fm.evaluation.folds import inner_folds
from hdt_fm.evaluation.probes import INNER_FOLDS
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.result import Result, Row, Scalar

MINUTES = (0.0, 1.0, 2.0, 5.0)
TWO = 2
# A change of a person's AUROC below this is called neither help nor harm.
SAME = 0.01
WARM = "warm-started probe"
HEADLINE = f"{OURS} + {WARM}"
REQUIRED = (DUMMY, f"{OURS} + {NONE}", f"{HAND} + {WARM}", f"{RANDOM_ENCODER} + {WARM}")


@dataclass(frozen=True)
class Budget:
    """What one budget gives of everyone: rows to learn from by person, and the rows that are scored."""

    own: Mapping[int, Int[np.ndarray, " own"]]
    scored: Bool[np.ndarray, " row"]


def personalisation(contest: Contest, *, minutes: Sequence[float] = MINUTES) -> Result:
    """Population probes of the folds, moved towards each test person with that person's own labels.

    Args:
        contest: Audited inputs, of a label with two classes.
        minutes: Own labelled minutes per class; 0 is always among them.

    Returns:
        For each budget every method on every maker of features; rows say how many people were helped and hurt
        (their own AUROC moved by more than 0.01 against the same probe without own data), and the worst change.

    Raises:
        ConfigError: If the label has other than two classes, or nothing is left to score.
    """
    if len(contest.target.classes) != TWO:
        raise ConfigError(
            "Own labels can move a probe of two classes only",
            expected="a label with 2 classes",
            got=f"{len(contest.target.classes)} classes",
            where="personalisation",
            fix="leave personalisation out of protocol.also for this label",
        )
    numbers = sorted({0.0, *minutes})
    budgets = budgets_of(contest, numbers)
    scored = np.flatnonzero(budgets[-1].scored)
    if len(np.unique(contest.target.values[scored])) < TWO:
        raise ConfigError(
            "No two classes are left to score after the own minutes",
            expected="recordings that go on after the largest budget, with both classes",
            got=f"a largest budget of {numbers[-1]:g} min per class",
            where="personalisation",
            fix="ask for fewer own minutes",
        )
    found = {maker.name: _scores(contest, maker, budgets) for maker in contest.makers}
    dummy = contest.dummy()
    rows: list[Row] = []
    for place, number in enumerate(numbers):
        contenders = [dummy]
        for maker in contest.makers:
            plain = found[maker.name][NONE][place]
            for method, by_budget in found[maker.name].items():
                columns = _helped(contest, scored, by_budget[place], plain) if method != NONE and number else {}
                # Without own data each method is the population's probe: one row says it, the owed one repeats it.
                if number or method in (NONE, WARM):
                    own = maker.name == OURS and method == NONE
                    role = "baseline" if own else maker.role
                    contenders.append(Contender(f"{maker.name} + {method}", role, by_budget[place], columns))
        what = f"{contest.target.name}, {number:g} min of own labels per class"
        rows += contest.rows(what, contenders, headline=HEADLINE, rows=scored)
    record = contest.record(
        "personalisation",
        headline=HEADLINE,
        own_minutes="the first labelled windows of each class; scored are windows after those of the largest budget",
        minutes=numbers,
        people_without_a_scored_window=int(
            len(np.unique(contest.table.group[contest.scored])) - len(np.unique(contest.table.group[scored]))
        ),
    )
    name = f"personalisation, {contest.target.name}"
    return Result(name=name, protocol=record, rows=tuple(rows), required_baselines=REQUIRED)


def budgets_of(contest: Contest, minutes: Sequence[float]) -> list[Budget]:
    """What each budget gives. Windows are scored when they start after every window of the largest budget ended."""
    table, values = contest.table, contest.target.values
    persons = [int(one) for one in np.unique(table.subject)]
    own = [{person: own_rows(contest, person, number) for person in persons} for number in minutes]
    scored = np.zeros(len(table), dtype=np.bool_)
    for person in persons:
        largest = own[int(np.argmax(minutes))][person]
        rows = np.flatnonzero(table.subject == person)
        ends = table.time_s[largest].max() + table.window_s if len(largest) else -np.inf
        # A person who does not show each class in time has no full budget, and is left out of all.
        shown = len(np.unique(values[largest])) == len(np.unique(values[np.isfinite(values)]))
        scored[rows] = (table.time_s[rows] >= ends) & (shown or max(minutes) == 0)
    return [Budget(one, scored & contest.target.scored) for one in own]


def own_rows(contest: Contest, person: int, minutes: float) -> Int[np.ndarray, " own"]:
    """A person's first windows of each class, while the time that they cover is within the budget."""
    table, values = contest.table, contest.target.values
    rows = np.flatnonzero((table.subject == person) & np.isfinite(values))
    rows = rows[np.argsort(table.time_s[rows], kind="stable")]
    taken: list[int] = []
    for one in np.unique(values[rows]):
        covered, until = 0.0, -np.inf
        for row in rows[values[rows] == one]:
            start = table.time_s[row]
            covered += start + table.window_s - max(start, until)
            until = start + table.window_s
            if covered > minutes * 60 + 1e-6:
                break
            taken.append(int(row))
    return np.sort(np.asarray(taken, dtype=np.int64))


def _scores(
    contest: Contest, maker: Maker, budgets: Sequence[Budget]
) -> dict[str, list[Float[np.ndarray, "row output"]]]:
    """Out-of-fold scores of each method at each budget; how far a method moves is chosen on training people."""
    size = len(contest.table)
    found = {name: [np.full((size, TWO), np.nan) for _ in budgets] for name in (NONE, *METHODS)}
    for number, fold in enumerate(contest.folds):
        x, rows = maker.in_fold(number).values, contest.training(fold)
        probe = population(contest.base(), x[rows], contest.target.values[rows], contest.table.group[rows])
        refuse_fitted_on_test(probe.fitted_on, test_groups=fold.test_groups, what="a population probe")
        strengths = _strengths(contest, x, rows, budgets)
        for place, budget in enumerate(budgets):
            persons = np.unique(contest.table.subject[fold.test])
            for name in found:
                for person in persons:
                    asked = np.flatnonzero(contest.table.subject == person)
                    z = _asked(contest, probe, x, asked, budget.own[int(person)], name, strengths.get((name, place)))
                    found[name][place][asked] = _two_columns(z)
    return found


def _strengths(
    contest: Contest, x: np.ndarray, rows: Int[np.ndarray, " row"], budgets: Sequence[Budget]
) -> dict[tuple[str, int], float]:
    """For each method and budget how far to move, by playing it through on the training people.

    Probes of inner folds meet training people whom they have not seen; the strength of least class-balanced
    log-loss on those people's scored windows wins, the most cautious one on a tie.
    """
    values, group, subject = contest.target.values, contest.table.group, contest.table.subject
    losses = {
        (name, place): np.zeros(len(grid)) for name, (_, grid) in METHODS.items() for place in range(len(budgets))
    }
    for inner in inner_folds(group[rows], INNER_FOLDS, contest.seed):
        inside, left = rows[inner.train], rows[inner.test]
        probe = population(contest.base(strength=QUICK_C), x[inside], values[inside], group[inside])
        for person in np.unique(subject[left]):
            of_person = left[subject[left] == person]
            for place, budget in enumerate(budgets):
                own = budget.own[int(person)]
                last = budgets[-1].own[int(person)]
                after = contest.table.time_s[last].max() + contest.table.window_s if len(last) else -np.inf
                asked = of_person[contest.table.time_s[of_person] >= after]
                if not len(own) or not len(asked):
                    continue
                for name, (_, grid) in METHODS.items():
                    for at, strength in enumerate(grid):
                        z = _asked(contest, probe, x, asked, own, name, strength)
                        losses[name, place][at] += _balanced_loss(z, values[asked])
    return {(name, place): METHODS[name][1][int(np.argmin(found))] for (name, place), found in losses.items()}


def _asked(
    contest: Contest,
    probe: Population,
    x: np.ndarray,
    asked: Int[np.ndarray, " row"],
    own: Int[np.ndarray, " own"],
    name: str,
    strength: float | None,
) -> Float[np.ndarray, " row"]:
    """Log-odds of a person's windows by one method; without own rows, those of the population."""
    inputs = probe.scale(x[asked])
    if name == NONE or not len(own) or strength is None:
        return probe.logits(inputs)
    return METHODS[name][0](probe, inputs, Own(probe.scale(x[own]), contest.target.values[own]), strength)


def _balanced_loss(z: Float[np.ndarray, " row"], y: Float[np.ndarray, " row"]) -> float:
    """Mean log-loss of each class, summed."""
    loss = np.logaddexp(0.0, np.where(y > 0, -z, z))
    return float(sum(loss[y == one].mean() for one in np.unique(y)))


def _two_columns(z: Float[np.ndarray, " row"]) -> Float[np.ndarray, "row two"]:
    p = 1.0 / (1.0 + np.exp(-z.clip(-50, 50)))
    return np.stack([1.0 - p, p], axis=1)


def _helped(
    contest: Contest, scored: Int[np.ndarray, " row"], moved: np.ndarray, plain: np.ndarray
) -> dict[str, Scalar]:
    """How many people's own AUROC rose and fell, and the largest fall; people with one class have none."""
    change = _own_auroc(contest, scored, moved) - _own_auroc(contest, scored, plain)
    change = change[np.isfinite(change)]
    helped, hurt = int((change > SAME).sum()), int((change < -SAME).sum())
    count = max(len(change), 1)
    return {
        "helped": helped,
        "hurt": hurt,
        "share_helped": helped / count,
        "share_hurt": hurt / count,
        "worst_change": float(change.min()) if len(change) else None,
    }


def _own_auroc(contest: Contest, scored: Int[np.ndarray, " row"], scores: np.ndarray) -> Float[np.ndarray, " person"]:
    labels = contest.target.values[scored].astype(np.int64)
    _, person = np.unique(contest.table.group[scored], return_inverse=True)
    one = people.auroc(scores[scored], labels, person, within_person=True)
    return np.array([one.over(each)[0] for each in np.eye(int(person.max()) + 1)[:, None]])

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
from hdt_fm.evaluation.adapt import METHODS, NONE, Own, Population
from hdt_fm.evaluation.baselines import DUMMY, HAND, RANDOM_ENCODER
from hdt_fm.evaluation.contenders import Contender
from hdt_fm.evaluation.contest import OURS, Contest
from hdt_fm.evaluation.rehearsal import Opening, balanced_loss, openings
from hdt_fm.evaluation.tuned import FULL, REHEARSED, Tuned, check_tuned, tuned_log_odds, tuned_record
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


def personalisation(
    contest: Contest, *, minutes: Sequence[float] = MINUTES, tuned: Sequence[Tuned] = (), rehearsed: int = REHEARSED
) -> Result:
    """Population probes of the folds, moved towards each test person with that person's own labels.

    Args:
        contest: Audited inputs, of a label with two classes.
        minutes: Own labelled minutes per class; 0 is always among them.
        tuned: Ways of moving the encoder itself. Where ours is moved, the random one must be moved in the same way.
        rehearsed: Training people a fold, drawn by seed, on whom the steps of `tuned` are chosen.

    Returns:
        For each budget every method on every maker of features; rows say how many people were helped and hurt
        (their own AUROC moved by more than 0.01 against the same probe without own data), and the worst change.

    Raises:
        ConfigError: If the label has other than two classes, nothing is left to score, or names of `tuned` do not fit.
        ShapeError: If one of `tuned` does not begin at the population's scores.
    """
    check_tuned(tuned, [maker.name for maker in contest.makers], [NONE, *METHODS])
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
    given = [budget.own for budget in budgets]
    found, steps = {}, {}
    for maker in contest.makers:
        begun = openings(contest, maker, given)
        found[maker.name] = _scores(contest, begun, budgets)
        for one in tuned:
            if one.maker == maker.name:
                moved, chosen = tuned_log_odds(contest, one, begun, given, scored, rehearsed)
                steps[f"{one.maker} + {one.method}"] = chosen
                found[maker.name][one.method] = [_two_columns(z) for z in moved]
    dummy = contest.dummy()
    always = (NONE, WARM, FULL)
    said = {(one.maker, one.method): one.columns for one in tuned}
    rows: list[Row] = []
    for place, number in enumerate(numbers):
        contenders = [dummy]
        for maker in contest.makers:
            plain = found[maker.name][NONE][place]
            for method, by_budget in found[maker.name].items():
                columns = _helped(contest, scored, by_budget[place], plain) if method != NONE and number else {}
                columns = {**columns, **said.get((maker.name, method), {})}
                # Without own data each method is the population's probe: one row says it, the owed ones repeat it.
                if number or method in always:
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
        **(tuned_record(numbers, steps, rehearsed) if tuned else {}),
    )
    name = f"personalisation, {contest.target.name}"
    owed = [f"{RANDOM_ENCODER} + {one.method}" for one in tuned if one.maker == OURS and one.method == FULL]
    return Result(name=name, protocol=record, rows=tuple(rows), required_baselines=(*REQUIRED, *owed))


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
    contest: Contest, begun: Sequence[Opening], budgets: Sequence[Budget]
) -> dict[str, list[Float[np.ndarray, "row output"]]]:
    """Out-of-fold scores of each method at each budget; how far a method moves is chosen on training people."""
    size = len(contest.table)
    found = {name: [np.full((size, TWO), np.nan) for _ in budgets] for name in (NONE, *METHODS)}
    for fold, opening in zip(contest.folds, begun, strict=True):
        strengths = _strengths(contest, opening, len(budgets))
        for place, budget in enumerate(budgets):
            persons = np.unique(contest.table.subject[fold.test])
            for name in found:
                for person in persons:
                    asked, own = np.flatnonzero(contest.table.subject == person), budget.own[int(person)]
                    z = _asked(contest, opening.probe, opening.x, asked, own, name, strengths.get((name, place)))
                    found[name][place][asked] = _two_columns(z)
    return found


def _strengths(contest: Contest, opening: Opening, budgets: int) -> dict[tuple[str, int], float]:
    """For each method and budget how far to move, by playing it through on the training people.

    The strength of least class-balanced log-loss on those people's scored windows wins, the most cautious one on a tie.
    """
    losses = {(name, place): np.zeros(len(grid)) for name, (_, grid) in METHODS.items() for place in range(budgets)}
    for one in opening.played:
        for place, own in enumerate(one.own):
            if not len(own) or not len(one.asked):
                continue
            for name, (_, grid) in METHODS.items():
                for at, strength in enumerate(grid):
                    z = _asked(contest, one.probe, opening.x, one.asked, own, name, strength)
                    losses[name, place][at] += balanced_loss(z, contest.target.values[one.asked])
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

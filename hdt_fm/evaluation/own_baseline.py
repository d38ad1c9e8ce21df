"""What first minutes without a label can tell of a person: forms of a personal baseline side by side.

`classification` subtracts the mean of the first minutes. Here other forms stand beside it, for encoder, hand
features and both; which one is used is chosen in each fold on its training people.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.evaluation import people
from hdt_fm.evaluation.audit import refuse_fitted_on_test
from hdt_fm.evaluation.baselines import DUMMY, HAND, RANDOM_ENCODER
from hdt_fm.evaluation.contenders import Contender
from hdt_fm.evaluation.contest import OURS, Contest, Features, Maker, mean_error
from hdt_fm.evaluation.folds import inner_folds
from hdt_fm.evaluation.personal import OWN_START_MINUTES
from hdt_fm.evaluation.probes import INNER_FOLDS, Fit, boosted_classes, boosted_value
from hdt_fm.evaluation.standardise import after_own_start
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.result import Result, Row

Form = Literal[
    "as it is", "less own start", "less own start, by own spread", "less shrunken own start", "both, and distance"
]
FORMS: tuple[Form, ...] = (
    "as it is",
    "less own start",
    "less own start, by own spread",
    "less shrunken own start",
    "both, and distance",
)
# Windows that the population's mean or spread is worth beside a person's own.
PRIOR_WINDOWS = 10.0
FAR = 5.0
BOTH = f"{OURS} + {HAND}"
CHOSEN = "chosen form"
LINEAR, TREES = "linear probe", "gradient boosting"
HEADLINE = f"{BOTH}, {CHOSEN}"


@dataclass(frozen=True)
class Starts:
    """Each window's own baseline: mean, spread and count of what its person had shown by then."""

    mean: Float[np.ndarray, "row feature"]
    spread: Float[np.ndarray, "row feature"]
    count: Float[np.ndarray, "row feature"]


def own_starts(
    values: Float[np.ndarray, "row feature"],
    subject: Int[np.ndarray, " row"],
    time_s: Float[np.ndarray, " row"],
    *,
    window_s: float,
    minutes: float = OWN_START_MINUTES,
    running: bool = False,
) -> Starts:
    """Baselines from windows that end within the first minutes; never a label, never a later window.

    Args:
        running: The baseline grows: also the windows that end before the window in question begins count. Causal
            and without labels, but it rests on all that the person has shown, not on the first minutes alone.
    """
    filled, known = np.nan_to_num(values), np.isfinite(values).astype(np.float64)
    mean, spread, count = (np.full(values.shape, np.nan) for _ in range(3))
    for person in np.unique(subject):
        rows = np.flatnonzero(subject == person)
        rows = rows[np.argsort(time_s[rows], kind="stable")]
        since = time_s[rows] - time_s[rows].min()
        until = np.maximum(since, minutes * 60) if running else np.full(len(rows), minutes * 60)
        used = np.searchsorted(since + window_s, until + 1e-6, side="right")
        # About the person's own middle, so that squares of large offsets do not drown the spread.
        middle = filled[rows].sum(axis=0) / np.maximum(known[rows].sum(axis=0), 1.0)
        moved = (filled[rows] - middle) * known[rows]
        sums = [
            np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(one, axis=0)])[used]
            for one in (known[rows], moved, moved**2)
        ]
        total = np.where(sums[0] > 0, sums[0], np.nan)
        mean[rows], count[rows] = sums[1] / total + middle, sums[0]
        spread[rows] = np.sqrt(np.maximum(sums[2] / total - (sums[1] / total) ** 2, 0.0))
    return Starts(mean, spread, count)


def relative(form: Form, x: Features, starts: Starts, train: Int[np.ndarray, " train"]) -> Float[np.ndarray, "row _"]:
    """Features in one of the forms; the population's means and spreads are those of the training rows.

    `by own spread` divides by the root of the own variance and the population's within-start variance, the latter
    worth ten windows. `shrunken` pulls the own mean towards the population's, worth ten windows. `both, and
    distance` puts features, their change, and how far each modality is from its own start side by side.
    """
    change = x.values - starts.mean
    if form == "as it is":
        return x.values
    if form == "less own start":
        return change
    if form == "less own start, by own spread":
        usual = _mean(starts.spread[train] ** 2)
        usual = np.where(usual > 0, usual, 1.0)
        count = np.nan_to_num(starts.count)
        own = np.nan_to_num(starts.spread) ** 2
        return change / np.sqrt((count * own + PRIOR_WINDOWS * usual) / (count + PRIOR_WINDOWS))
    if form == "less shrunken own start":
        center = _mean(x.values[train])
        share = np.nan_to_num(starts.count / (starts.count + PRIOR_WINDOWS))
        return x.values - center - share * np.nan_to_num(starts.mean - center)
    return np.concatenate([x.values, change, _distances(x, change, train)], axis=1)


def own_baseline(contest: Contest) -> Result:
    """Every form for every maker of features, on the windows after the first five minutes.

    Returns:
        Two tasks. `first 5 min as own baseline`: nothing but those minutes is known of a person. `running own
        baseline`: everything unlabelled that came before the window. `chosen form` picks form and model (linear
        probe or gradient boosting) by score on inner test people of the training people, in each fold.

    Raises:
        ConfigError: If no window is left after the first minutes.
    """
    table = contest.table
    keep = after_own_start(table.subject, table.time_s, minutes=OWN_START_MINUTES)
    scored = np.flatnonzero(contest.target.scored & keep)
    if not len(scored):
        raise ConfigError(
            "No window is left to score after the own baseline",
            expected=f"recordings longer than {OWN_START_MINUTES:g} min",
            where="own_baseline",
            fix="leave own_baseline out of protocol.also for recordings this short",
        )
    rows: list[Row] = []
    choices: dict[str, dict[str, int]] = {}
    for running, words in ((False, f"first {OWN_START_MINUTES:g} min as own baseline"), (True, "running own baseline")):
        contenders = [contest.dummy()]
        for maker in (_joined(contest), *contest.makers):
            scores, chosen = _scores(contest, maker, keep, running=running)
            choices[f"{maker.name}, {words}"] = chosen
            columns = {"own_data": "own past" if running else "own start", "transductive": False}
            contenders += [Contender(f"{maker.name}, {name}", maker.role, one, columns) for name, one in scores.items()]
        rows += contest.rows(f"{contest.target.name}, {words}", contenders, headline=HEADLINE, rows=scored)
    owed = (DUMMY, f"{HAND}, {CHOSEN}", f"{RANDOM_ENCODER}, {CHOSEN}")
    record = contest.record("own baseline", headline=HEADLINE, chosen_forms=choices, prior_windows=PRIOR_WINDOWS)
    name = f"forms of an own baseline, {contest.target.name}"
    return Result(name=name, protocol=record, rows=tuple(rows), required_baselines=owed)


def _scores(
    contest: Contest, maker: Maker, keep: np.ndarray, *, running: bool
) -> tuple[dict[str, Float[np.ndarray, "row output"]], dict[str, int]]:
    """Out-of-fold scores of each form with the linear probe, and of the form and model chosen inside."""
    table, y = contest.table, contest.target.values
    shape = (len(table), contest.outputs)
    shown: tuple[Form, ...] = FORMS if maker.role == "ours" or maker.name == HAND else ()
    found = {name: np.full(shape, np.nan) for name in (CHOSEN, *shown)}
    chosen: dict[str, int] = {}
    for number, fold in enumerate(contest.folds):
        x = maker.in_fold(number)
        starts = own_starts(x.values, table.subject, table.time_s, window_s=table.window_s, running=running)
        rows = contest.training(fold)
        rows = rows[keep[rows]]
        forms = {form: relative(form, x, starts, fold.train) for form in FORMS}
        # One C for every form of this fold: the search costs sixteen fits, and there are ten forms and models.
        models = _models(contest, contest.strength(x, rows))
        best = _choice(contest, models, x, starts, rows)
        chosen[" + ".join(best)] = chosen.get(" + ".join(best), 0) + 1
        wanted: dict[str, tuple[Form, str]] = {CHOSEN: best}
        wanted |= {form: (form, LINEAR) for form in shown}
        for name, (form, model) in wanted.items():
            fitted = models[model](forms[form][rows], y[rows], table.group[rows])
            refuse_fitted_on_test(fitted.fitted_on, test_groups=fold.test_groups, what="a model of a baseline form")
            found[name][fold.test] = fitted.predict(forms[form][fold.test])
    return found, chosen


def _choice(
    contest: Contest,
    models: Mapping[str, Fit],
    x: Features,
    starts: Starts,
    rows: Int[np.ndarray, " row"],
) -> tuple[Form, str]:
    """The form of the best linear probe on inner test people, then the better model on it."""
    y, group = contest.target.values, contest.table.group
    folds = [(rows[one.train], rows[one.test]) for one in inner_folds(group[rows], INNER_FOLDS, contest.seed)]

    def merit(form: Form, fit: Fit) -> float:
        total = 0.0
        for inside, asked in folds:
            values = relative(form, x, starts, inside)
            said = fit(values[inside], y[inside], group[inside]).predict(values[asked])
            _, person = np.unique(group[asked], return_inverse=True)
            even = np.ones((1, int(person.max()) + 1))
            if contest.is_class:
                total += float(people.auroc(said, y[asked].astype(np.int64), person).over(even)[0])
            else:
                total -= float(mean_error(said, y[asked], person).over(even)[0])
        return total

    linear = {form: merit(form, models[LINEAR]) for form in FORMS}
    form = max(FORMS, key=lambda one: linear[one])
    trees = merit(form, models[TREES])
    return form, TREES if trees > linear[form] else LINEAR


def _models(contest: Contest, strength: float) -> dict[str, Fit]:
    trees = (
        boosted_classes(contest.outputs, seed=contest.seed) if contest.is_class else boosted_value(seed=contest.seed)
    )
    return {LINEAR: contest.base(strength=strength), TREES: trees}


def _joined(contest: Contest) -> Maker:
    """Encoder and hand features side by side."""
    ours, hand = contest.makers[0], contest.makers[1].in_fold(0)
    return Maker(
        BOTH,
        "ours",
        [
            Features(
                np.concatenate([one.values, hand.values], axis=1),
                np.concatenate([one.modality, hand.modality]),
                one.present,
            )
            for one in ours.features
        ],
    )


def _distances(
    x: Features, change: Float[np.ndarray, "row feature"], train: Int[np.ndarray, " train"]
) -> Float[np.ndarray, "row modality"]:
    """How far each modality is from its own start: root mean square change, in the training people's deviations."""
    center = _mean(x.values[train])
    spread = np.sqrt(_mean((x.values[train] - center) ** 2))
    scaled = np.clip(change / np.where(spread > 0, spread, 1.0), -FAR, FAR) ** 2
    modalities = range(x.present.shape[1])
    return np.sqrt(np.stack([_mean(scaled[:, x.modality == m].T) for m in modalities], axis=1))


def _mean(values: Float[np.ndarray, "row _"]) -> Float[np.ndarray, " _"]:
    """Mean over the first axis of what is known; NaN where nothing is."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    return np.where(known, values, 0.0).sum(axis=0) / np.where(count > 0, count, np.nan)

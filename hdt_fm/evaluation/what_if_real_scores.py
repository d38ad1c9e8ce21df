"""Scores of what models said of real doses and meals, over people; none of them is the error of an effect."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.evaluation.contenders import Contender, Metric, Role, directions, rows_of
from hdt_fm.evaluation.people import interval, mean_of_people, people_draws, person_means
from hdt_fm.evaluation.what_if_real import Heard
from hdt_fm.evaluation.what_if_real_marks import (
    RULE_MG_DL_UNITS,
    median_known,
    own_marks,
    rank_correlation,
    slope_score,
    slope_sums,
)
from hdt_fm.evaluation.what_if_windows import MORE_GRAMS, MORE_UNITS
from hdt_fm.schema.result import Result, Row

OWED = ("ridge, told all", "LightGBM, told all")
PLACEBOS = {"another day": "told what was taken on another day", "other times": "told the same at other times"}
USUAL = ("dose", "meal")

# What is scored, how, and values of each model: (person, ...).
Cell = tuple[str, Metric, Mapping[str, np.ndarray]]


def table_of(
    name: str, heard: Sequence[Heard], roles: Mapping[str, Role], *, headline: str, folds: int, draws: int = 1000
) -> Result:
    """All rows. Values are of each person, averaged over seeds, then over people.

    Args:
        heard: One a seed, of the same lives and models.
        roles: Of the models.
        folds: How many `heard` was made with, to be told.
    """
    people = np.unique(heard[0].person)
    codes = [np.searchsorted(people, one.person) for one in heard]
    every = [_cells(one, code, people) for one, code in zip(heard, codes, strict=True)]
    counts = people_draws(len(people), draws=draws, seed=0)
    rows: list[Row] = []
    for cells in zip(*every, strict=True):
        what, metric, _ = cells[0]
        values = {model: np.mean([of[model] for *_, of in cells], axis=0) for model in cells[0][2]}
        contenders = [Contender(model, roles[model], some) for model, some in values.items()]
        rows += rows_of(what, contenders, [metric], counts=counts, headline=headline)
    usual = np.mean([one.usual for one in heard], axis=0)
    rows += [_overlap(USUAL[at], person_means(usual[:, at], codes[0]), counts) for at in range(len(USUAL))]
    return Result(
        name=name,
        protocol={
            "task": "what-if, real: predicted association under stated assumptions",
            "people": len(people),
            "moments": len(heard[0].person),
            "minutes": list(heard[0].windows.minutes),
            "folds": folds,
            "seeds": len(heard),
            "intervals": f"95 % percentile, {draws} resamples of people, paired across models",
            "headline": headline,
            "better": directions([metric for _, metric, _ in every[0]]),
        },
        rows=tuple(rows),
        required_baselines=OWED,
    )


def _cells(heard: Heard, person: Int[np.ndarray, " moment"], people: Int[np.ndarray, " person"]) -> list[Cell]:
    out: list[Cell] = []
    for at in range(len(heard.windows.minutes)):
        out += _factual(heard, at, person)
    return [*out, _later(heard, person), *_actions(heard, person), *_effects(heard, person, people)]


def _factual(heard: Heard, at: int, person: Int[np.ndarray, " moment"]) -> list[Cell]:
    """Against what came, when told what was taken, and what placebos do to it."""

    def rmse(said: np.ndarray) -> np.ndarray:
        return np.sqrt(person_means(np.square(said[:, at] - heard.came[:, at]), person))

    minute = heard.windows.minutes[at]
    what, told = f"after an action, {minute} min", {model: level["told"] for model, level in heard.level.items()}
    absolute = {model: person_means(np.abs(said - heard.came)[:, at], person) for model, said in told.items()}
    out: list[Cell] = [
        (what, _mean("RMSE", "lower"), {model: rmse(said) for model, said in told.items()}),
        (what, _mean("MAE", "lower"), absolute),
    ]
    planned = _planned(heard)
    for name, words in PLACEBOS.items():
        more = {model: rmse(level[name]) - rmse(level["told"]) for model, level in planned.items()}
        out.append((f"{words}, {minute} min", _mean("RMSE more than when told what was taken", None), more))
    return out


def _later(heard: Heard, person: Int[np.ndarray, " moment"]) -> Cell:
    """What is taken after the minute asked must not move the answer."""
    minutes = heard.windows.minutes

    def largest(level: Mapping[str, np.ndarray]) -> np.ndarray:
        off = [np.abs(level[f"after {minute}"] - level["told"])[:, at] for at, minute in enumerate(minutes)]
        return np.array([np.max(off, axis=0)[person == one].max() for one in range(int(person.max()) + 1)])

    moved = {model: largest(level) for model, level in _planned(heard).items()}
    return "told what is taken after the minute asked", _mean("largest change of an answer", "lower"), moved


def _actions(heard: Heard, person: Int[np.ndarray, " moment"]) -> list[Cell]:
    """What goes with a unit and with food in the action: in the record after it, by the model, in the record before.

    Slopes of readings less what the model says without the action, on dose and meal at once, within people. Before the
    action nothing of it can have been at work: what is found there is why people took it.
    """
    minute, planned = heard.windows.minutes[0], _planned(heard)
    taken = np.stack(heard.windows.first, axis=1) / np.array([MORE_UNITS, MORE_GRAMS])
    there = np.where(np.isfinite(heard.came[:, 0]), 1.0, np.nan)
    sides: dict[str, Callable[[Mapping[str, np.ndarray]], np.ndarray]] = {
        "in the record after": lambda level: heard.came[:, 0] - level["not the action"][:, 0],
        "by the model": lambda level: (level["told"] - level["not the action"])[:, 0] * there,
        "in the record before": lambda level: heard.before - level["before"][:, 0],
    }
    out: list[Cell] = []
    for at, words in enumerate((f"{MORE_UNITS:g} U", f"{MORE_GRAMS:g} g")):
        for name, left in sides.items():
            sums = {model: slope_sums(left(level), taken, person) for model, level in planned.items()}
            metric = Metric(name, partial(slope_score, at=at), None, "mg/dL")
            out.append((f"goes with {words} of the action, {minute} min", metric, sums))
    return out


def _effects(heard: Heard, person: Int[np.ndarray, " moment"], people: Int[np.ndarray, " person"]) -> list[Cell]:
    """Of a unit and of food more, at the last minute, beside what people's own records and a rule of thumb say."""
    minute, planned = heard.windows.minutes[-1], _planned(heard)
    each = {
        name: {model: person_means((level[name] - level["told"])[:, -1], person) for model, level in planned.items()}
        for name in ("more insulin", "more food")
    }
    cancels = {
        model: MORE_GRAMS * -each["more insulin"][model] / np.where(food > 0, food, np.nan)
        for model, food in each["more food"].items()
    }
    falls = {model: -unit for model, unit in each["more insulin"].items()}
    out: list[Cell] = []
    for words, values, right in (
        (f"{MORE_UNITS:g} U more, {minute} min", each["more insulin"], -1.0),
        (f"{MORE_GRAMS:g} g more, {minute} min", each["more food"], 1.0),
    ):
        signs = {model: (np.sign(some) == right).astype(np.float64) for model, some in values.items()}
        out += [
            (words, _mean("effect", None), values),
            (words, _mean("people with the right sign", "higher", ""), signs),
        ]
    rule, corrections, ratio = own_marks(heard.lives, heard.windows, person, people)
    for words, values, mark in (
        (f"fall by 1 U, {minute} min, and {RULE_MG_DL_UNITS:g} / units a day", falls, rule),
        (f"fall by 1 U, {minute} min, and own corrections", falls, corrections),
        (f"grams that 1 U cancels, {minute} min, and own meals", cancels, ratio),
    ):
        shares = {model: some / mark for model, some in values.items()}
        pairs = {model: np.stack([some, mark], axis=1) for model, some in values.items()}
        out += [
            (words, Metric("median ratio", median_known, None), shares),
            (words, Metric("rank correlation", rank_correlation, "higher"), pairs),
        ]
    return out


def _planned(heard: Heard) -> dict[str, Mapping[str, np.ndarray]]:
    """Models that take a plan."""
    return {model: level for model, level in heard.level.items() if len(level) > 1}


def _mean(name: str, better: Literal["higher", "lower"] | None, unit: str = "mg/dL") -> Metric:
    return Metric(name, mean_of_people, better, unit)


def _overlap(name: str, share: Float[np.ndarray, " person"], counts: np.ndarray) -> Row:
    score = mean_of_people(share)
    values = score.over(counts)
    low, high = interval(values)
    return Row(
        what="what people took",
        model="people",
        metric=f"{name} where nine in ten of others' lie",
        value=float(values[0]),
        low=low,
        high=high,
        n=score.people,
        role="reference",
    )

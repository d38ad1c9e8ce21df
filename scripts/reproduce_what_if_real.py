"""What comes after people's own doses and meals, and what models say of others: real lives of people never seen.

python scripts/reproduce_what_if_real.py [--quick] [--json FILE] [--sets azt1d,t1d_uom] [--seeds 1] [--folds 5]

Nobody knows what would have come under another plan: these are predicted associations under stated assumptions, and no
table here is the error of an effect. Recordings are those of HDT_FM_REAL_DATA, sharded as `reproduce_glucose.py` does
(runs/NAME/shard, runs/NAME_treatments/shard). People are dealt into folds; models learn from the others' lives, and are
taught about a person by the first half of the lives and asked about the later half, at each dose or meal that half an
hour of nothing came before. They are told the action, or all that was taken until the minute asked: what is taken later
answers to what glucose did meanwhile, so a model that is told it reads the outcome from it.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
from reproduce_glucose import TREATED, sharded, treatments, trees  # noqa: E402

from hdt_fm.cli.progress import reporter  # noqa: E402
from hdt_fm.data.series import series_of  # noqa: E402
from hdt_fm.data.shards import ShardFolder  # noqa: E402
from hdt_fm.evaluation import what_if_real_floors as floors  # noqa: E402
from hdt_fm.evaluation.what_if import halves  # noqa: E402
from hdt_fm.evaluation.what_if_floors import boosted  # noqa: E402
from hdt_fm.evaluation.what_if_real import RealModel, Tell, hear  # noqa: E402
from hdt_fm.evaluation.what_if_real_scores import table_of  # noqa: E402
from hdt_fm.evaluation.what_if_windows import Windows, readings_at, windows_of  # noqa: E402
from hdt_fm.heads.meal_response import MealResponse  # noqa: E402
from hdt_fm.layers import meal_law  # noqa: E402
from hdt_fm.layers.meal_courses import boards, within_range  # noqa: E402
from hdt_fm.report.tables import flat_rows, markdown  # noqa: E402
from hdt_fm.schema.lives import Lives  # noqa: E402
from hdt_fm.schema.result import Result  # noqa: E402
from hdt_fm.signal.lives import lives_of, whole_days  # noqa: E402

MINUTES = (60, 120, 240)
# Of a life: long enough for some dozens of actions, short enough that many are played at once.
LIFE_DAYS = 14
LEAST_WINDOWS = 5
LAW = "meal law with own numbers"
NOTHING, ACTION, ALL = "told nothing", "told the action", "told all"


def lives_with_windows(lives: Lives) -> Lives:
    """Those in which something can be asked, of people who have two of them or more."""
    windows = np.bincount(windows_of(lives, MINUTES).life, minlength=len(lives))
    some = lives.take(np.flatnonzero(windows >= LEAST_WINDOWS))
    count = np.bincount(some.person)
    return some.take(np.flatnonzero(count[some.person] > 1))


def real_lives(name: str, *, quick: bool) -> Lives:
    """Of a set, in parts of whole days."""
    folder = ShardFolder.open(sharded(name, quick=quick))
    parts = [part for one in series_of(folder, "glucose") for part in whole_days(one, LIFE_DAYS)]
    return lives_with_windows(lives_of(parts, treatments(name, folder, quick=quick)))


class Law:
    """The meal law of training people, and courses by it of others' lives.

    Args:
        train: Halves of their lives teach and check it.
    """

    def __init__(self, train: Lives, seed: int) -> None:
        first, later = (train.take(rows) for rows in halves(train))
        self.train, self.model = train, MealResponse(minutes=MINUTES, seed=seed)
        self.model.learn(first, later)
        self._kept: tuple[Lives, Lives, np.ndarray, np.ndarray] | None = None

    def courses(self, own: Lives, taught: Lives, windows: Windows, units: np.ndarray, grams: np.ndarray) -> np.ndarray:
        """(moment, minute), not cut to what a sensor shows, with these doses and meals from the moment on."""
        numbers, board = self._of(own, taught)
        state = board[windows.time, :, windows.life].T.astype(np.float64)
        surprise = readings_at(own, windows.life, windows.time) - meal_law.shown(state)
        start = meal_law.moved(state, self.model.learned[1].share * np.nan_to_num(surprise))
        steps = max(windows.steps)
        level = meal_law.play(numbers[windows.life], units[:, :steps].T, grams[:, :steps].T, start=start)
        out: np.ndarray = level[list(windows.steps)].T
        return out

    def _of(self, own: Lives, taught: Lives) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of each life, and what is on board before each step; the newest lives' are kept."""
        if self._kept is None or self._kept[0] is not own or self._kept[1] is not taught:
            people = np.unique(own.person)
            mean = self.model.own(taught, people).mean
            numbers = mean[np.searchsorted(people, own.person)]
            self._kept = own, taught, numbers, boards(numbers, own)
        return self._kept[2:]

    def tell(self, own: Lives, taught: Lives, windows: Windows) -> np.ndarray:
        """When all that is taken is told."""
        return within_range(self.courses(own, taught, windows, windows.units, windows.grams))

    def beside(self, own: Lives, taught: Lives, windows: Windows) -> np.ndarray:
        """What regressions read of it: where glucose goes by itself, what the doses do to that, what the meals do."""
        nothing = np.zeros_like(windows.units)
        both = self.courses(own, taught, windows, windows.units, windows.grams)
        meals = self.courses(own, taught, windows, nothing, windows.grams)
        none = self.courses(own, taught, windows, nothing, nothing)
        reading = np.nan_to_num(readings_at(own, windows.life, windows.time))[:, None]
        return np.stack([none - reading, both - meals, meals - none], axis=-1)

    def action_beside(self, own: Lives, taught: Lives, windows: Windows) -> np.ndarray:
        """The same, told the action alone."""
        return self.beside(own, taught, windows.alone)


class OneLaw:
    """The law of the training people at hand, learned once for all models that ask for it."""

    def __init__(self) -> None:
        self._law: Law | None = None

    def __call__(self, train: Lives, seed: int) -> Law:
        """Learned anew where the people are others."""
        if self._law is None or self._law.train is not train:
            self._law = Law(train, seed)
        return self._law


def alone(tell: Tell) -> Tell:
    """Told the action, and nothing of what is taken later."""
    return lambda own, taught, windows: tell(own, taught, windows.alone)


def untold(tell: Tell) -> Tell:
    """Told nothing."""

    def said(own: Lives, taught: Lives, windows: Windows) -> np.ndarray:
        nothing = np.zeros_like(windows.units)
        return tell(own, taught, windows.told(nothing, nothing))

    return said


def models(*, quick: bool) -> dict[str, RealModel]:
    """What must be beaten, told as much, and ours."""
    law = OneLaw()
    found = {"last value": RealModel(floors.last_value, "baseline", takes_plan=False)}
    for name, regress in (("ridge", floors.linear), ("LightGBM", boosted(trees(quick) // 3, leaf=floors.LEAF))):
        for told, beside in (
            (NOTHING, floors.nothing_beside),
            (ACTION, floors.action_beside),
            (ALL, floors.planned),
        ):
            learn = floors.learner(MINUTES, regress, reading(beside))
            found[f"{name}, {told}"] = RealModel(learn, "baseline", takes_plan=told != NOTHING)
    weighed = floors.learner(MINUTES, floors.linear, lambda train, seed: law(train, seed).action_beside)
    return {
        **found,
        f"{LAW}, {NOTHING}": RealModel(lambda train, seed: untold(law(train, seed).tell), "ours", takes_plan=False),
        f"{LAW}, {ACTION}": RealModel(lambda train, seed: alone(law(train, seed).tell), "ours"),
        f"{LAW}, {ALL}": RealModel(lambda train, seed: law(train, seed).tell, "ours"),
        f"the law's effects weighed by training people, {ACTION}": RealModel(weighed, "ours"),
    }


def reading(beside: floors.Beside) -> floors.Read:
    """What is read whoever the training people are."""
    return lambda train, seed: beside


def run(name: str, options: argparse.Namespace) -> Result:
    """The table of one cohort."""
    lives, contenders = real_lives(name, quick=options.quick), models(quick=options.quick)
    heard = [
        hear(lives, contenders, MINUTES, folds=options.folds, seed=seed, progress=reporter(f"{name}, seed {seed}"))
        for seed in range(options.seeds)
    ]
    return table_of(
        f"after doses and meals of {name}: predicted associations under stated assumptions",
        heard,
        {model: one.role for model, one in contenders.items()},
        headline=f"{LAW}, {ALL}",
        folds=options.folds,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="six people a set, two folds: numbers mean nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as a flat list")
    parser.add_argument("--sets", default=",".join(TREATED), help="cohorts, by commas")
    parser.add_argument("--seeds", type=int, default=1, help="how many; another is another split")
    parser.add_argument("--folds", type=int, default=5, help="by people")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.folds = 1, 2
    if strange := [name for name in options.sets.split(",") if name not in TREATED]:
        parser.error(f"--sets: nothing is known of doses in {', '.join(strange)}; there are: {', '.join(TREATED)}")
    results = []
    for name in options.sets.split(","):
        results.append(run(name, options))
        print(markdown(results[-1]), end="\n\n")
        print(f"{time.process_time() / 60:.1f} CPU-min so far", flush=True)
    if options.json:
        options.json.write_text(json.dumps(flat_rows(results), indent=1) + "\n")


if __name__ == "__main__":
    main()

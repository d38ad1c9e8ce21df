"""What real exposures tell of the next day, and from which size on it would be found; for reproduce_evolve.py.

python scripts/evolve_world.py [--quick] [--json FILE]

Welltory: weather and heart rate variability and pulse; LifeSnaps: place and mood, and the next night's; an Actiwatch's
light; the meals of Shanghai as text. Needs those sets in $HDT_FM_REAL_DATA; what is not there has no rows.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from data_pipelines.exposures._told import Event, Whose  # noqa: E402
from data_pipelines.exposures.diet import Diet  # noqa: E402
from data_pipelines.exposures.sets._person_days import PersonDays  # noqa: E402
from data_pipelines.exposures.sets.actiwatch import actiwatch_days  # noqa: E402
from data_pipelines.exposures.sets.lifesnaps import lifesnaps_days  # noqa: E402
from data_pipelines.exposures.sets.shanghai import Diary, shanghai_diaries  # noqa: E402
from data_pipelines.exposures.sets.welltory import welltory_days  # noqa: E402
from hdt_fm.cli.exposure.doses import accumulated  # noqa: E402
from hdt_fm.cli.progress import Report, reporter  # noqa: E402
from hdt_fm.evaluation.evolve.exposure_doses import DailyRecords  # noqa: E402
from hdt_fm.evaluation.evolve.exposure_power import SIZES_SD, power  # noqa: E402
from hdt_fm.evaluation.evolve.exposure_rows import Protocol  # noqa: E402
from hdt_fm.evaluation.evolve.real_exposure import Tried, real_exposure  # noqa: E402
from hdt_fm.evaluation.people import Score, interval, people_draws, ratio_of_sums  # noqa: E402
from hdt_fm.report.tables import flat_rows, markdown  # noqa: E402
from hdt_fm.schema.errors import ConfigError  # noqa: E402
from hdt_fm.schema.result import Result, Row  # noqa: E402

ACTIWATCH = "device_formats/actiwatch/sample_actiwatch_light.csv.gz"
# Set -> its folder or file, its reader, and the exposure and outcome into which effects are put.
SETS: dict[str, tuple[str, Callable[[Path], Iterator[PersonDays]], tuple[str, str] | None]] = {
    "Welltory": ("welltory_covid19", welltory_days, ("temperature", "ln RMSSD")),
    "LifeSnaps": ("lifesnaps_daily", lifesnaps_days, ("place outdoors", "resting pulse")),
    "Actiwatch": (ACTIWATCH, lambda path: iter([actiwatch_days(path)]), None),
}
DIARIES = "shanghai_diabetes"
DRAWS, QUICK_DRAWS, REPEATS, QUICK_REPEATS = 399, 39, 200, 20
RISE_S, LEAST_READINGS = 7_200.0, 7


def root() -> Path:
    """Where the sets lie."""
    folder = os.environ.get("HDT_FM_REAL_DATA")
    if folder is None:
        raise ConfigError(
            "There are no real recordings to ask",
            expected="a folder with welltory_covid19, lifesnaps_daily and device_formats",
            fix="set HDT_FM_REAL_DATA to it",
        )
    return Path(folder)


def table(*, quick: bool, seeds: int, progress: Report) -> Result:
    """All rows; a set that is not there has none.

    Args:
        seeds: Nothing is trained here, and draws are many: one does for all.
    """
    results = []
    for name, (place, read, injected) in SETS.items():
        if not (root() / place).exists():
            continue
        people = list(read(root() / place))[:: 2 if quick else 1]
        records = DailyRecords.of(people)
        result, tried = real_exposure(name, records, asked(quick=quick), progress=progress)
        results.append(result)
        if injected is not None:
            results.append(power_table(name, records, injected, tried, quick=quick))
    if (root() / DIARIES).exists():
        results.append(diet_table(list(shanghai_diaries(root() / DIARIES, limit=8 if quick else None))))
    if not results:
        raise ConfigError("None of the sets is there", expected=", ".join(place for place, *_ in SETS.values()))
    return results[0].joined(results[1:])


def asked(*, quick: bool, seed: int = 0) -> Protocol:
    """Doses are those of the accumulators that heads use."""
    return Protocol(draws=QUICK_DRAWS if quick else DRAWS, seed=seed, accumulate=accumulated)


def power_table(
    name: str,
    records: DailyRecords,
    injected: tuple[str, str],
    tried: Sequence[Tried],
    *,
    quick: bool,
) -> Result:
    """How often effects put into one outcome are found."""
    exposure, outcome = injected
    sizes, repeats = ((0.0, 0.5), QUICK_REPEATS) if quick else (SIZES_SD, REPEATS)
    found = power(records, exposure, outcome, tried, asked(quick=quick), repeats=repeats, sizes_sd=sizes)
    rows = found.rows(f"{name}: an effect of the week's {exposure} on the next day's {outcome}, put in")
    return Result(name=f"{name}: power", protocol={}, rows=tuple(rows), required_baselines=())


def diet_table(diaries: Sequence[Diary]) -> Result:
    """How much of what people wrote can be read, how much they ate by it, and whether glucose knows."""
    diet, rows = Diet(), []
    for language in ("english", "chinese"):
        meals = [(one.person, meal) for one in diaries for meal in getattr(one, language) if meal.text]
        read = np.array([diet.macros(meal) is not None for _, meal in meals], dtype=np.float64)
        person = np.unique([who for who, _ in meals], return_inverse=True)[1]
        share = ratio_of_sums(np.bincount(person, weights=read), np.bincount(person).astype(np.float64))
        rows.append(_reference(f"meals in {language}, read whole", "share", share, {"meals": len(meals)}))
        rows += [_carbs_a_day(diaries, diet, language)]
    return Result(
        name="Shanghai: diet text", protocol={}, rows=(*rows, *_with_glucose(diaries, diet)), required_baselines=()
    )


def _carbs_a_day(diaries: Sequence[Diary], diet: Diet, language: str) -> Row:
    """Of days watched for four fifths of which every meal is known."""
    found = []
    for one in diaries:
        meals: Sequence[Event] = getattr(one, language)
        found.append(diet(meals, [(one.times_s.min(), one.times_s.max())], Whose(0, 0))[1].values)
    days = np.concatenate(found)
    low, median, high = np.nanquantile(days, [0.25, 0.5, 0.75])
    return Row(
        what="Shanghai: diet text",
        model=f"carbohydrates a day, {language}",
        metric="median",
        value=float(median),
        unit="g",
        n=len({one.person for one in diaries}),
        role="reference",
        columns={
            "lower_quarter": float(low),
            "upper_quarter": float(high),
            "days_known": int(np.isfinite(days).sum()),
            "days": len(days),
        },
    )


def _with_glucose(diaries: Sequence[Diary], diet: Diet) -> Iterator[Row]:
    """How numbers read from a meal go with the rise of glucose in the next two hours, within people."""
    rows = [row for one in diaries for meal in one.english if (row := _meal(one, meal, diet)) is not None]
    told = np.array(rows)
    person = np.unique(told[:, 0], return_inverse=True)[1]
    count = np.bincount(person)
    left = told[:, 1:] - np.stack([np.bincount(person, weights=column) / count for column in told[:, 1:].T], 1)[person]
    rise = left[:, -1]
    for place, name in enumerate(("carbohydrates", "protein", "fat", "grams of food")):
        sums = [np.bincount(person, weights=one) for one in (left[:, place] * rise, left[:, place] ** 2, rise**2)]
        yield _reference(f"{name} and the rise of glucose", "correlation", _correlation(sums), {"meals": len(told)})


def _correlation(sums: Sequence[np.ndarray]) -> Score:
    product, one, other = sums
    return Score(lambda counts: (counts @ product) / np.sqrt((counts @ one) * (counts @ other)), len(product))


def _meal(diary: Diary, meal: Event, diet: Diet) -> tuple[float, ...] | None:
    macros = diet.macros(meal)
    within = (diary.times_s >= meal.start_s - 60) & (diary.times_s <= meal.start_s + RISE_S + 60)
    glucose = diary.glucose_mg_dl[within]
    if macros is None or np.isfinite(glucose).sum() < LEAST_READINGS or not np.isfinite(glucose[0]):
        return None
    grams = sum(part.grams or 0.0 for part in diet.read(meal.text))
    return (diary.person, *macros[:3], grams, float(np.nanmax(glucose) - glucose[0]))


def _reference(model: str, metric: str, score: Score, columns: dict[str, int]) -> Row:
    values = score.over(people_draws(score.people, draws=1000, seed=0))
    low, high = interval(values)
    return Row(
        what="Shanghai: diet text",
        model=model,
        metric=metric,
        value=float(values[0]),
        low=low,
        high=high,
        n=score.people,
        role="reference",
        columns={**columns},
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="half of the people, few draws: numbers mean nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as a flat list")
    options = parser.parse_args()
    result = table(quick=options.quick, seeds=1, progress=reporter("real exposure"))
    print(markdown(result))
    print(f"{time.process_time() / 60:.1f} CPU-min")
    if options.json:
        options.json.write_text(json.dumps(flat_rows([result]), indent=1) + "\n")


if __name__ == "__main__":
    main()

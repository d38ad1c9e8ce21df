"""Alerts on simulated nights with known truth: false episodes a year, illness found by its onset, and how early.

python scripts/reproduce_alerts.py [--quick] [--json FILE] [--people N] [--seeds N] [--only PART]
    [--real] [--data FOLDER]

Everybody is watched for 400 nights and falls ill once, at night 300: 6 bpm on the resting heart rate, gathering over
the four nights before onset (1.5, 3, 4.5, 6), and in what else is measured the effects that
`twin/alert/simulated/people.py` states. Found: any night of alert from four nights before onset to the onset. False:
episodes (nights of alert up to three apart are one) that begin on nights which illness and the four weeks after it do
not touch, per year of such nights that the rule watches. "plain" is AR(.5) noise alone, as in the floors' published
numbers; "life" has weekends, cycles, a season, travel, late nights, missing nights and a new device. "smoothed" is
plain and "smoothed life" is life with a device that carries .61 of last night's heart rate over. Intervals: bootstrap
over people, 95 %.

Beside ours: the NightSignal rule as its script works and as it is meant, a self-scaled EWMA with the published floor's
numbers, the EWMA that we found strongest, and the oracle, which knows everything but the nights of illness.

Real (FOLDER or $HDT_FM_REAL_DATA; --real runs nothing else): lifesnaps_daily by halves, even and odd people; the
method was set with the even ones in view. Who has the same nights as somebody else counts once. Nobody noted who was
ill. Intervals: Poisson, exact. welltory_covid19 is a smoke run: few people, onsets partly impossible, no evidence.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.special import gammaincinv

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from hdt_fm.metrics.bootstrap import Interval, subject_bootstrap  # noqa: E402
from hdt_fm.schema.recording import NS_PER_S  # noqa: E402
from hdt_fm.twin.alert.cusum import NIGHTS_PER_YEAR  # noqa: E402
from hdt_fm.twin.alert.report import watch  # noqa: E402
from hdt_fm.twin.alert.settings import AlertSettings  # noqa: E402
from hdt_fm.twin.alert.simulated import oracle  # noqa: E402
from hdt_fm.twin.alert.simulated.floors import START, night_signal, self_scaled_ewma  # noqa: E402
from hdt_fm.twin.alert.simulated.people import (  # noqa: E402
    HEART_RATE,
    LIFE,
    PLAIN,
    SMOOTHED,
    SMOOTHED_LIFE,
    Cohort,
    simulate,
)
from hdt_fm.twin.alert.simulated.scoring import episodes, false_rate, lead_nights  # noqa: E402
from hdt_fm.twin.alert.watcher import ABSTAINED, ALERT, LEARNING, Watcher  # noqa: E402
from hdt_fm.twin.nights.indicators import effects_of  # noqa: E402
from hdt_fm.twin.nights.night import Nights, weekdays  # noqa: E402

WORLDS = {"plain": PLAIN, "life": LIFE, "smoothed": SMOOTHED, "smoothed life": SMOOTHED_LIFE}
FULL, SHORT = ("plain", "life"), ("smoothed", "smoothed life")
SDS = (1.2, 2.0, 3.5)
BUDGETS = (1.0, 2.0, 4.0)
NIGHTS, ONSET, EARLY_ONSET = 400, 300, 90
# Seeds from here on were never looked at while anything was being set.
FIRST_SEED = 2000
OURS, ALONE, MANY = "ours", "resting heart rate", "five indicators"


class Watched(NamedTuple):
    """What one rule said of one cohort: (person, night)."""

    cohort: Cohort
    alert: np.ndarray
    judged: np.ndarray
    learning: np.ndarray


def row(what: str, model: str, metric: str, found: Interval, unit: str, n: int, **more: Any) -> dict:
    """One flat row of the result."""
    value, low, high = found
    return {
        "what": what, "model": model, "metric": metric, "value": value, "low": low, "high": high, "unit": unit, "n": n,
        **more,
    }  # fmt: skip


def ours(cohort: Cohort, budget: float) -> Watched:
    """Everybody side by side, by the code that watches one."""
    people, nights = cohort.values.shape[:2]
    watcher = Watcher(people, effects_of(cohort.names), AlertSettings(budget_per_year=budget))
    days, state = weekdays(cohort.dates), np.zeros((people, nights), dtype=np.int64)
    for night in range(nights):
        weekday = np.full(people, days[night])
        state[:, night] = watcher.step(cohort.values[:, night], weekday, cohort.change == night).state
    return Watched(cohort, state == ALERT, (state != ABSTAINED) & (state != LEARNING), state == LEARNING)


def floors(cohort: Cohort) -> Iterator[tuple[str, Watched]]:
    """Rules with a fixed limit, on the resting heart rate."""
    bpm = cohort.only(HEART_RATE).values[:, :, 0]
    judged = np.isfinite(bpm) & (np.arange(bpm.shape[1]) >= START)
    for name, alert in (
        ("NightSignal, literal", night_signal(bpm, literal=True) == 2),
        ("NightSignal, as meant", night_signal(bpm) == 2),
        ("self-scaled EWMA (.15, .9)", self_scaled_ewma(bpm)),
        ("self-scaled EWMA (.5, 1.75)", self_scaled_ewma(bpm, share=0.5, limit=1.75)),
    ):
        yield name, Watched(cohort, alert, judged, ~judged)


def bound(cohort: Cohort, sd: float, budget: float) -> Watched:
    """The oracle on the plain world; levels are taken off by the truth, which the simulator keeps at people's means."""
    size = oracle.strength(cohort.names, sd)[1]
    limit = oracle.limit(size, budget, generator=np.random.default_rng(0))
    alert = oracle.evidence(oracle.along(cohort.values - cohort.level[:, None], cohort.names, sd), size) >= limit
    judged = np.ones(alert.shape, dtype=np.bool_)
    return Watched(cohort, alert, judged, ~judged)


def scores(parts: list[Watched], what: str, model: str, **about: Any) -> Iterator[dict]:
    """False rate, share found and lead time over the people of all seeds."""
    counts = [one.judged & one.cohort.well() for one in parts]
    false = np.concatenate([episodes(one.alert, count) for one, count in zip(parts, counts, strict=True)])
    nights = np.concatenate([count.sum(axis=1) for count in counts])
    lead = np.concatenate([lead_nights(one.alert, one.cohort.onset) for one in parts])
    who, n = np.arange(len(lead)), len(lead)
    rate = subject_bootstrap(false_rate, who, false, nights)
    yield row(what, model, "false episodes", rate, "1/year", n, **about)
    found = subject_bootstrap(share, who, np.isfinite(lead))
    yield row(what, model, "found by onset", found, "1", n, **about)
    early = np.isfinite(lead)
    if early.any():
        middle = subject_bootstrap(median, who[early], lead[early])
        yield row(what, model, "median lead of those found", middle, "nights", int(early.sum()), **about)


def share(found: np.ndarray, *, weight: np.ndarray | None = None) -> float:
    return float(np.average(found, weights=weight))


def median(values: np.ndarray) -> float:
    return float(np.median(values))


def table(people: int, seeds: int, quick: bool) -> Iterator[dict]:
    """Worlds, SDs, signals and budgets."""
    for name, sd in product(FULL, (2.0,) if quick else SDS):
        cohorts = [cohort_of(name, sd, people, seed) for seed in range(seeds)]
        what = f"{name}, SD {sd:g} bpm"
        about: dict[str, Any] = {"world": name, "sd_bpm": sd}
        rules: dict[str, list[Watched]] = {}
        for one in cohorts:
            for rule, said in floors(one):
                rules.setdefault(rule, []).append(said)
        for rule, parts in rules.items():
            yield from scores(parts, f"{what}, {ALONE}", rule, signals=ALONE, **about)
        for signals, budget in product((ALONE, MANY), (2.0,) if quick else BUDGETS):
            asked = [one.only(HEART_RATE) if signals == ALONE else one for one in cohorts]
            full = f"{what}, {signals}, budget {budget:g}"
            parts = [ours(one, budget) for one in asked]
            yield from scores(parts, full, OURS, signals=signals, budget=budget, **about)
            if name == "plain":
                known = [bound(one, sd, budget) for one in asked]
                yield from scores(known, full, "oracle", signals=signals, budget=budget, **about)
            if name == "life" and budget == 2.0:
                yield from behaviour(parts, f"{what}, {signals}, budget {budget:g}", signals=signals, **about)


def smoothing(people: int, seeds: int, quick: bool) -> Iterator[dict]:
    """A device that carries last night's heart rate over, at a budget of 2."""
    for name, sd in product(SHORT, (2.0,) if quick else SDS):
        cohorts = [cohort_of(name, sd, people, seed) for seed in range(seeds)]
        for signals in (ALONE, MANY):
            # Five indicators take six times as long, and the others are not smoothed.
            if signals == MANY and (name, sd) != ("smoothed life", 2.0):
                continue
            parts = [ours(one.only(HEART_RATE) if signals == ALONE else one, 2.0) for one in cohorts]
            what, about = f"{name}, SD {sd:g} bpm, {signals}, budget 2", {"world": name, "sd_bpm": sd}
            yield from scores(parts, what, OURS, signals=signals, budget=2.0, **about)


def cohort_of(name: str, sd: float, people: int, seed: int, onset: int | None = ONSET) -> Cohort:
    generator = np.random.default_rng((FIRST_SEED + seed, round(10 * sd), list(WORLDS).index(name)))
    return simulate(people, NIGHTS, sd_bpm=sd, world=WORLDS[name], generator=generator, onset=onset)


def behaviour(parts: list[Watched], what: str, **about: Any) -> Iterator[dict]:
    """First use, a new device, and nights without data."""
    first, again, after, watched, spoke, missing = [], [], [], [], [], []
    for one in parts:
        judged, change = one.judged, one.cohort.change
        empty = ~np.isfinite(one.cohort.values).any(axis=2)
        missing += empty.mean(axis=1).tolist()
        spoke += (one.alert & empty).sum(axis=1).tolist()
        for person in range(len(change)):
            first.append(float(np.argmax(judged[person])) + 1 if judged[person].any() else np.nan)
            if change[person] >= 0:
                later = judged[person, change[person] :]
                again.append(float(np.argmax(later)) if later.any() else np.nan)
                span = np.zeros_like(judged[person])
                span[change[person] : change[person] + 90] = True
                counts = (span & judged[person] & one.cohort.well()[person])[None]
                after.append(int(episodes(one.alert[person][None], counts)[0]))
                watched.append(int(counts.sum()))
    n = len(first)
    yield row(what, OURS, "first usable night, median", over(median, first), "night", n, **about)
    ninth = over(lambda values: float(np.quantile(values, 0.9)), first)
    yield row(what, OURS, "first usable night, nine of ten", ninth, "night", n, **about)
    if again:
        found = over(median, again)
        yield row(what, OURS, "nights to learn a new device, median", found, "nights", len(again), **about)
        found = subject_bootstrap(false_rate, np.arange(len(after)), np.array(after), np.array(watched))
        yield row(what, OURS, "false episodes, 90 nights of new device", found, "1/year", len(after), **about)
    yield row(what, OURS, "nights without data", over(share, missing), "1", n, **about)
    yield row(what, OURS, "alerts on nights without data", over(share, spoke), "per person", n, **about)


def over(score: Any, values: list[float]) -> Interval:
    known = np.array(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    return subject_bootstrap(score, np.arange(len(known)), known)


def early(people: int, seeds: int) -> Iterator[dict]:
    """Illness three months in, when little is known of the person."""
    for name, signals in [*product(FULL, (ALONE, MANY)), *product(SHORT, (ALONE,))]:
        cohorts = [cohort_of(name, 2.0, people, 500 + seed, EARLY_ONSET) for seed in range(seeds)]
        # No later night changes what was said by the onset.
        cohorts = [
            replace(one, values=one.values[:, : EARLY_ONSET + 1], dates=one.dates[: EARLY_ONSET + 1]) for one in cohorts
        ]
        parts = [ours(one.only(HEART_RATE) if signals == ALONE else one, 2.0) for one in cohorts]
        what = f"{name}, SD 2 bpm, {signals}, budget 2, onset at night {EARLY_ONSET}"
        for found in scores(parts, what, OURS, world=name, sd_bpm=2.0, signals=signals, budget=2.0):
            if found["metric"] == "found by onset":
                yield found


def never_ill(people: int, seeds: int, quick: bool) -> Iterator[dict]:
    """The false rate of people whom no illness has made more careful."""
    for name, sd in product(WORLDS, (2.0,) if quick else SDS):
        cohorts = [cohort_of(name, sd, people, 700 + seed, None) for seed in range(seeds)]
        for signals in (ALONE, MANY) if name in FULL else (ALONE,):
            parts = [ours(one.only(HEART_RATE) if signals == ALONE else one, 2.0) for one in cohorts]
            what = f"{name}, SD {sd:g} bpm, {signals}, budget 2, never ill"
            yield next(scores(parts, what, OURS, world=name, sd_bpm=sd, signals=signals, budget=2.0))


def real(folder: Path | None) -> Iterator[dict]:
    """What there is of real nights."""
    for name, part in (("lifesnaps_daily", lifesnaps), ("welltory_covid19", welltory)):
        if folder is not None and (folder / name).is_dir():
            yield from part(folder / name)
        else:
            print(f"{name} is not at hand: nothing on its real nights.")


def lifesnaps(folder: Path) -> Iterator[dict]:
    """Alerts a year of everybody once, in each half and together; an upper bound of false ones."""
    from data_pipelines.cohorts.lifesnaps_daily import LifesnapsDaily
    from hdt_fm.twin.nights.from_visits import nights_of as from_visits

    everybody = [from_visits([visit]) for visit in LifesnapsDaily(path=str(folder), subject_key="public").visits()]
    again = held_twice(everybody)
    yield counted("lifesnaps_daily", "people whose nights somebody else has too", len(again), "people", len(everybody))
    for signals, only in ((ALONE, HEART_RATE), ("all indicators", None)):
        told: dict[str, list[tuple[int, int]]] = {"even": [], "odd": []}
        for person, nights in enumerate(everybody):
            if person not in again and (only is None or only in nights.names):
                told["odd" if person % 2 else "even"].append(judged_and_alerts(nights, only))
        for half, found in {**told, "all": told["even"] + told["odd"]}.items():
            judged, alerts = (sum(one[at] for one in found) for at in (0, 1))
            what, who = f"lifesnaps_daily, {half} people, {signals}", sum(one[0] > 0 for one in found)
            yield counted(what, "nights judged", judged, "nights", who)
            yield counted(what, "alerts", alerts, "alerts", who)
            yield row(what, OURS, "alerts a year, budget 2", a_year(alerts, judged), "1/year", who, signals=signals)


def judged_and_alerts(nights: Nights, only: str | None) -> tuple[int, int]:
    """Nights judged, and alerts; of one indicator alone if it is named."""
    report = watch(nights if only is None else nights.only(only))
    return sum(report.nights_of(state) for state in ("quiet", "watch", "alert")), len(report.alerts)


def held_twice(everybody: list[Nights]) -> set[int]:
    """People whose heart rate somebody with more nights has too, on nearly all of 20 or more common dates."""
    values = [
        dict(zip(one.dates.tolist(), one.values[:, one.names.index(HEART_RATE)].tolist(), strict=True))
        if HEART_RATE in one.names
        else {}
        for one in everybody
    ]
    values = [{date: value for date, value in one.items() if value == value} for one in values]
    found = set()
    for one, other in product(range(len(values)), repeat=2):
        common = values[one].keys() & values[other].keys()
        alike = sum(values[one][date] == values[other][date] for date in common)
        larger = (len(values[other]), other) > (len(values[one]), one)
        if one != other and larger and len(common) >= 20 and alike >= 0.95 * len(common):
            found.add(one)
    return found


def a_year(alerts: int, judged: int) -> Interval:
    """Rate with the exact Poisson interval of 95 %."""
    years = judged / NIGHTS_PER_YEAR
    low = float(gammaincinv(alerts, 0.025)) if alerts else 0.0
    return Interval(alerts / years, low / years, float(gammaincinv(alerts + 1, 0.975)) / years)


def counted(what: str, metric: str, number: int, unit: str, n: int) -> dict:
    """A count without an interval."""
    return row(what, OURS, metric, Interval(float(number), float("nan"), float("nan")), unit, n)


def welltory(folder: Path) -> Iterator[dict]:
    """A smoke run; what it counts proves nothing."""
    from data_pipelines.cohorts.welltory_covid19 import WelltoryCovid19

    able, usable, alerts, nights, near = 0, 0, 0, 0, 0
    for visit in WelltoryCovid19(path=str(folder), subject_key="public").visits():
        one = nights_of(visit)
        if one is None:
            continue
        report = watch(one)
        able += 1
        usable += report.usable_from is not None
        nights += sum(report.nights_of(state) for state in ("quiet", "watch", "alert"))
        alerts += len(report.alerts)
        onset = visit.labels.get("symptoms_onset")
        if onset is not None and report.usable_from is not None:
            day = (onset.start_ns[:1] // (86_400 * NS_PER_S)).astype("datetime64[D]")[0]
            near += any(-7 <= (alert.begin - day).astype(int) <= 0 for alert in report.alerts)
    what = "welltory_covid19, smoke run, no evidence"
    for metric, number, unit in (
        ("people with a resting heart rate", able, "people"),
        ("of them with a usable baseline", usable, "people"),
        ("nights judged", nights, "nights"),
        ("alerts", alerts, "alerts"),
        ("people with an alert in the week up to their onset", near, "people"),
    ):
        yield counted(what, metric, number, unit, able)
    yield row(what, OURS, "alerts a year, budget 2", a_year(alerts, nights), "1/year", usable)


def nights_of(visit: Any) -> Nights | None:
    """Daily values by date; None without a resting heart rate."""
    columns: dict[str, dict[int, float]] = {}
    for name in ("resting_heart_rate", "hrv"):
        if name in visit.labels:
            track = visit.labels[name]
            columns[name] = by_day(track.start_ns, np.asarray(track.values, dtype=np.float64))
    if "resting_heart_rate" not in columns:
        return None
    days = sorted(set().union(*columns.values()))
    values = np.array([[columns[name].get(day, np.nan) for name in columns] for day in days])
    return Nights(np.array(days, dtype=np.int64).astype("datetime64[D]"), values, tuple(columns))


def by_day(times_ns: np.ndarray, values: np.ndarray) -> dict[int, float]:
    """The median of each day."""
    day = times_ns // (86_400 * NS_PER_S)
    known = np.isfinite(values)
    return {int(one): float(np.median(values[known & (day == one)])) for one in np.unique(day[known])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=("table", "smoothing", "early", "never_ill", "real"))
    parser.add_argument("--real", action="store_const", dest="only", const="real", help="the same as --only real")
    parser.add_argument("--data", type=Path, default=os.environ.get("HDT_FM_REAL_DATA"))
    asked = parser.parse_args()
    people, seeds = (40, 1) if asked.quick else (asked.people, asked.seeds)
    rows: list[dict] = []

    def printed(found: Iterator[dict]) -> None:
        for one in found:
            rows.append(one)
            interval = f"[{one['low']:.2f}, {one['high']:.2f}]" if np.isfinite(one["low"]) else ""
            print(
                f"{one['what']:58s} {one['model']:28s} {one['metric']:40s} {one['value']:7.2f} {interval:15s} "
                f"{one['unit']} (n {one['n']})",
                flush=True,
            )

    folder = Path(asked.data) if asked.data else None
    runs = {
        "table": lambda: table(people, seeds, asked.quick),
        "smoothing": lambda: smoothing(people, seeds, asked.quick),
        "early": lambda: early(people, seeds),
        "never_ill": lambda: never_ill(people, seeds, asked.quick),
        "real": lambda: real(folder),
    }
    for name, run in runs.items():
        if asked.only in (None, name):
            printed(run())
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()

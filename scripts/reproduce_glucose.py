"""Glucose in 30, 60 and 120 minutes by people never seen: every model at the same origins, floors beside.

python scripts/reproduce_glucose.py [--quick] [--json FILE] [--sets azt1d,shanghai_diabetes,t1d_uom] [--seeds N]
                                    [--kind table|parts|personal|plan] [--only "MODEL;..."] [--arima] [--chronos FOLDER]

Recordings are those of HDT_FM_REAL_DATA. Each cohort is sharded (runs/NAME/shard). An encoder is pretrained on the
other two cohorts alone, once for each set (runs/glucose_without_NAME/pretrain), so it has seen nobody who is asked and
nobody who teaches a head. Series are read back from the windows, embedded once and kept; models are fitted on training
people of 5 folds, N times: a seed is another split and other weights of heads. Scores are means over people, intervals
over people; what was measured is scored, never what was filled in. Heads are told the last hours, the person's own
week, and in AZT1D and T1D-UOM what still acts of insulin and carbohydrates (runs/NAME_treatments/shard).

`--kind parts` is another table: what each part is worth (the encoder, its training, what reads embeddings, the own
week, treatments, facts about people). `--kind personal` scores what comes after each person's first week. `--kind plan`
tells a head beside what was then taken: what knowing the plan is worth, in a table that is named so.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from hdt_fm.checkpoint import build_model, load, model_digest  # noqa: E402
from hdt_fm.checkpoint.model import Model as Encoder  # noqa: E402
from hdt_fm.cli.compose import compose_config  # noqa: E402
from hdt_fm.cli.progress import reporter  # noqa: E402
from hdt_fm.cli.run import call  # noqa: E402
from hdt_fm.data.covariates import StaticTable, learn_covariates  # noqa: E402
from hdt_fm.data.series import series_beside, series_of  # noqa: E402
from hdt_fm.data.series_embeddings import (  # noqa: E402
    embed_series,
    load_series_embeddings,
    save_series_embeddings,
    series_digest,
)
from hdt_fm.data.shards import ShardFolder  # noqa: E402
from hdt_fm.evaluation.backtest import floors  # noqa: E402
from hdt_fm.evaluation.backtest.chronos_peer import chronos  # noqa: E402
from hdt_fm.evaluation.backtest.run import Model, backtest  # noqa: E402
from hdt_fm.heads.series_forecast import SeriesForecast  # noqa: E402
from hdt_fm.metrics.events import EVENTS  # noqa: E402
from hdt_fm.report.tables import flat_rows, markdown  # noqa: E402
from hdt_fm.schema.result import Result  # noqa: E402
from hdt_fm.schema.series import DAY_S, Series  # noqa: E402
from hdt_fm.signal.moments import Moments, moments_of, places_of  # noqa: E402
from hdt_fm.signal.own_past import own_past, recent, windows_before  # noqa: E402
from hdt_fm.signal.treatments import acting, planned  # noqa: E402
from hdt_fm.training.forecasts import ask, ask_hidden, fit_forecast, inputs_of  # noqa: E402
from hdt_fm.training.heads import take  # noqa: E402
from hdt_fm.twin.own_layer import followed_people  # noqa: E402

SETS = ("azt1d", "shanghai_diabetes", "t1d_uom")
HORIZONS_S = (1800.0, 3600.0, 7200.0)
CONTEXT_S = 3 * 3600.0
FROZEN = "frozen encoder of other cohorts, GRU head"
OURS = f"{FROZEN}, last layer following the person"
FIRST_WEEK = f"{FROZEN}, last layer of the person's first week"
PLAN = f"{FROZEN}, plan told"
TREES_TOLD = "LightGBM told what the head is told"
TREES_FOLLOW = "the same trees, following the person"
# Of windows before: as many as there are days in a week, a day apart, newest at the origin.
WINDOWS, APART_S = 7, float(DAY_S)
WEEK_S = 7.0 * DAY_S
# Of Shanghai's meals no amounts are known, and of most patients no rapid insulin.
TREATED = {"azt1d": ("bolus", "carbs", "insulin_rate"), "t1d_uom": ("bolus", "carbs", "insulin_rate")}
Context = np.ndarray | None


@dataclass(frozen=True)
class Asked:
    """All that heads may be told at the origins of a set; made before any target is looked at."""

    series: Sequence[Series]
    moments: Moments
    readings: np.ndarray
    own_week: np.ndarray
    treatments: np.ndarray
    plan: np.ndarray
    facts: np.ndarray
    embed: Callable[[Encoder], np.ndarray]
    encoder: Encoder

    @property
    def glucose(self) -> np.ndarray:
        """The last hours and the person's own week."""
        return np.concatenate([self.readings, self.own_week], axis=1)

    @property
    def all(self) -> np.ndarray:
        """What still acts of treatments beside, where the cohort knows it."""
        return np.concatenate([self.glucose, self.treatments], axis=1)


def table(asked: Asked, *, quick: bool) -> dict[str, Model]:
    """What must be beaten, and ours with and without its encoder."""
    embeddings = asked.embed(asked.encoder)
    ours = head(asked.all, embeddings, quick=quick)
    return {
        "last value": Model(floors.last_value(), "baseline"),
        "damped trend": Model(floors.damped_trend(), "baseline"),
        "seasonal naive, a day": Model(floors.seasonal_naive(), "baseline"),
        "ridge": Model(floors.ridge(), "baseline"),
        "LightGBM": Model(floors.lightgbm_quantiles(trees=trees(quick)), "baseline"),
        "the head without encoder": Model(head(asked.all, None, quick=quick), "baseline"),
        FROZEN: Model(ours, "ours"),
        OURS: Model(following(asked, asked.all, embeddings, ours.trained), "ours"),
    }


def parts(asked: Asked, *, quick: bool) -> dict[str, Model]:
    """What each part is worth."""
    embeddings = asked.embed(asked.encoder)
    untrained = asked.embed(build_model(asked.encoder.config, seed=1))
    raw = windows_before(asked.moments, asked.series, windows=WINDOWS, apart_s=APART_S, span_s=float(DAY_S))
    told = np.concatenate([asked.own_week, asked.treatments], axis=1)
    boosted = Kept(floors.lightgbm_quantiles(trees=trees(quick), beside=told))
    found: dict[str, Model] = {
        "LightGBM": Model(floors.lightgbm_quantiles(trees=trees(quick)), "baseline"),
        TREES_TOLD: Model(boosted, "baseline"),
        TREES_FOLLOW: Model(following_trees(asked, asked.all, boosted), "baseline"),
        "the head without encoder": Model(head(asked.all, None, quick=quick), "baseline"),
        "the head without encoder, the last three hours alone": Model(
            head(asked.readings, None, quick=quick), "baseline"
        ),
        "the head on raw windows in place of embeddings": Model(head(asked.all, raw, quick=quick), "baseline"),
        "the head on an encoder that was not trained": Model(head(asked.all, untrained, quick=quick), "baseline"),
        FROZEN: Model(head(asked.all, embeddings, quick=quick), "ours"),
        "ours without the own week": Model(
            head(np.concatenate([asked.readings, asked.treatments], axis=1), embeddings, quick=quick), "ours"
        ),
        "ours, newest window alone": Model(head(asked.all, embeddings[:, -1:], quick=quick), "ours"),
    }
    if asked.treatments.shape[1]:
        found["ours without treatments"] = Model(head(asked.glucose, embeddings, quick=quick), "ours")
    if asked.facts.shape[1]:
        beside = np.concatenate([asked.all, asked.facts], axis=1)
        found["ours, facts about people beside"] = Model(head(beside, embeddings, quick=quick), "ours")
    for kind, word in (("lstm", "LSTM"), ("transformer", "Transformer")):
        found[f"ours, {word} head"] = Model(head(asked.all, embeddings, kind=kind, quick=quick), "ours")
    return found


def personal(asked: Asked, *, quick: bool) -> dict[str, Model]:
    """What a person's first week is worth, asked about after it, and what all that came since."""
    embeddings = asked.embed(asked.encoder)
    readings, ours = head(asked.readings, None, quick=quick), head(asked.all, embeddings, quick=quick)
    week = {"from_s": WEEK_S, "until_s": WEEK_S - 1}
    return {
        "last value": Model(floors.last_value(), "baseline"),
        "ridge": Model(floors.ridge(), "baseline"),
        "the head without encoder, the last three hours alone": Model(readings, "baseline"),
        FROZEN: Model(ours, "ours"),
        FIRST_WEEK: Model(following(asked, asked.all, embeddings, ours.trained, **week), "ours"),
        OURS: Model(following(asked, asked.all, embeddings, ours.trained, from_s=WEEK_S), "ours"),
    }


def plan(asked: Asked, *, quick: bool) -> dict[str, Model]:
    """What it is worth to know what will be taken; no forecast of what comes by itself, and named so."""
    embeddings = asked.embed(asked.encoder)
    told = np.concatenate([asked.own_week, asked.treatments, asked.plan], axis=1)
    both = np.concatenate([asked.all, asked.plan], axis=1)
    ours = head(both, embeddings, quick=quick)
    return {
        "ridge": Model(floors.ridge(), "baseline"),
        "LightGBM, plan told": Model(floors.lightgbm_quantiles(trees=trees(quick), beside=told), "baseline"),
        f"{FROZEN}, no plan told": Model(head(asked.all, embeddings, quick=quick), "baseline"),
        PLAN: Model(ours, "ours"),
    }


def trees(quick: bool) -> int:
    """Of LightGBM, for each level."""
    return 20 if quick else 300


@dataclass
class Head:
    """Members on what is known of a moment, and embeddings of the windows before it; what was trained last is kept."""

    known: np.ndarray
    context: Context
    kind: Any
    epochs: int
    trained: dict[str, Any] = field(default_factory=dict)

    def __call__(
        self, moments: Moments, series: Sequence[Series], train: floors.Rows, asked: floors.Rows
    ) -> np.ndarray:
        # Another split, other weights.
        seed = int(train.sum()) % 100_003
        torch.manual_seed(seed)
        net = SeriesForecast(
            known=self.known.shape[1],
            in_features=0 if self.context is None else self.context.shape[-1],
            horizons=len(moments.horizons_s),
            levels=floors.LEVELS,
            kind=self.kind,
        )
        inputs = inputs_of(self.known, moments.last, self.context)
        change = moments.target[train] - moments.last[train, None]
        some = take(inputs, torch.from_numpy(train))
        fit_forecast(net, some, change, moments.group[train], epochs=self.epochs, seed=seed)
        self.trained.update(net=net, train=train)
        return ask(net, take(inputs, torch.from_numpy(asked)))


def after_first_week(moments: Moments) -> np.ndarray:
    """Origins a week and more after the person's first."""
    first = {one: moments.time_s[moments.group == one].min() for one in np.unique(moments.group)}
    return moments.time_s - np.array([first[one] for one in moments.group]) >= WEEK_S


def head(known: np.ndarray, context: Context, *, kind: Any = "gru", quick: bool = False) -> Head:
    """To be fitted anew in each fold."""
    return Head(known, context, kind, 2 if quick else 12)


def following(
    asked: Asked, known: np.ndarray, context: Context, trained: Mapping[str, Any], **when: float
) -> floors.Fit:
    """The head that was trained just before, its last layer corrected each day by what came true of the very person.

    Truths are read from the person's own past alone: those that had come when the day of an origin began.

    Args:
        when: `from_s` and `until_s` of `hdt_fm.twin.own_layer.followed`.
    """

    def fit(moments: Moments, series: Sequence[Series], train: floors.Rows, rows: floors.Rows) -> np.ndarray:
        assert np.array_equal(trained["train"], train), "the head of this fold was not trained just before"
        inputs = take(inputs_of(known, moments.last, context), torch.from_numpy(rows))
        said, hidden = ask(trained["net"], inputs), ask_hidden(trained["net"], inputs)
        return followed_by_person(asked, moments, rows, said, hidden, **when)

    return fit


@dataclass
class Kept:
    """A fit whose last answers are kept for a model that goes on from them."""

    fit: floors.Fit
    last: dict[str, np.ndarray] = field(default_factory=dict)

    def __call__(self, moments: Moments, series: Sequence[Series], train: floors.Rows, rows: floors.Rows) -> np.ndarray:
        said = self.fit(moments, series, train, rows)
        self.last.update(train=train, rows=rows, said=said)
        return said.copy()


def following_trees(asked: Asked, known: np.ndarray, kept: Kept) -> floors.Fit:
    """The same correction for trees, linear in what they were told: what following is worth without our head."""

    def fit(moments: Moments, series: Sequence[Series], train: floors.Rows, rows: floors.Rows) -> np.ndarray:
        assert np.array_equal(kept.last["rows"], rows), "the trees of this fold were not grown just before"
        center, scale = np.nanmean(known[train], axis=0), np.nanstd(known[train], axis=0) + 1e-6
        features = np.nan_to_num((known[rows] - center) / scale)
        return followed_by_person(asked, moments, rows, kept.last["said"].copy(), features)

    return fit


def followed_by_person(
    asked: Asked, moments: Moments, rows: floors.Rows, said: np.ndarray, features: np.ndarray, **when: float
) -> np.ndarray:
    """Answers with each person's own corrections added."""
    missed = asked.moments.target[rows] - said[:, :, 0]
    moved = followed_people(moments.subject[rows], moments.time_s[rows], features, missed, moments.horizons_s, **when)
    return said + moved[..., None]


def asked_of(name: str, *, quick: bool) -> Asked:
    """Series, origins and the encoder of one set."""
    folders = {one: sharded(one, quick=quick) for one in SETS}
    folder = ShardFolder.open(folders[name])
    series = series_of(folder, "glucose")
    moments = moments_of(series, context_s=CONTEXT_S, horizons_s=HORIZONS_S)
    encoder = pretrained(name, {one: path for one, path in folders.items() if one != name}, quick=quick)

    def embed(model: Encoder) -> np.ndarray:
        kept = folders[name].parent / "series_embeddings.safetensors"
        made_of = model_digest(model, heads=False), series_digest(series)
        found = load_series_embeddings(kept, made_of)
        if found is None:
            ahead_s = float(model.config.encoder.args["ahead_s"])
            window_s = float(model.config.window_s)
            found = embed_series(
                model,
                series,
                "glucose",
                model_digest=made_of[0],
                window_s=window_s,
                ahead_s=ahead_s,
                places=[places_of(one, moments.every_s) for one in series],
            )
            save_series_embeddings(found, kept)
        return found.before(moments.series, moments.place, windows=WINDOWS, apart_s=APART_S)

    people = folder.manifest.subjects
    columns = learn_covariates(sorted({name for one in people for name in one.covariates}), people)
    facts = StaticTable.of(columns, people).features(columns, moments.subject)
    given = treatments(name, folder, quick=quick)
    return Asked(
        series=series,
        moments=moments,
        readings=recent(moments),
        own_week=own_past(moments, series),
        treatments=acting(moments, given),
        plan=planned(moments, given),
        facts=facts,
        embed=embed,
        encoder=encoder,
    )


def treatments(name: str, folder: ShardFolder, *, quick: bool) -> dict[str, list[Series]]:
    """What was given to the people of a set, where it is known."""
    if name not in TREATED:
        return {}
    other = ShardFolder.open(sharded(name, "preparation=treatments_5min", beside="_treatments", quick=quick))
    return {one: series_beside(folder, other, one) for one in TREATED[name]}


def sharded(name: str, *settings: str, beside: str = "", quick: bool) -> Path:
    """Shard a cohort; what is there already is found whole.

    Args:
        beside: After the name of the run, for windows of something else.
    """
    run = f"name={name}{'_quick' if quick else ''}{beside}"
    config = compose_config("shard", [f"experiment={name}", run, *settings, *(["cohort.limit=6"] if quick else [])])
    call("shard", config)
    return Path(config.value("shards"))


def pretrained(name: str, others: Mapping[str, Path], *, quick: bool) -> Encoder:
    """An encoder of the other cohorts; a finished pretraining is found again."""
    listed = ",".join(str(path.resolve()) for path in others.values())
    config = compose_config(
        "pretrain",
        [
            f"experiment={next(iter(others))}",
            f"name=glucose_without_{name}{'_quick' if quick else ''}",
            f"cohorts=[{listed}]",
            "split.test=0",  # nobody of these cohorts is asked
            f"training.steps={20 if quick else 1000}",
            f"training.warmup_steps={2 if quick else 80}",
        ],
    )
    call("pretrain", config)
    return load(config.value("checkpoint"))


def some_of(models: Mapping[str, Model], only: str, kept: Sequence[str]) -> dict[str, Model]:
    """Those named, by semicolons, and those that the table owes; all where none is named."""
    wanted = [one.strip() for one in only.split(";") if one.strip()]
    if strange := [one for one in wanted if one not in models]:
        raise SystemExit(f"--only: no such model: {', '.join(strange)}; there are: {'; '.join(models)}")
    # What follows a person goes on from the answers of a model before it.
    before = {TREES_FOLLOW: TREES_TOLD, OURS: FROZEN, FIRST_WEEK: FROZEN}
    wanted += [before[one] for one in (*wanted, *kept) if one in before]
    return {name: model for name, model in models.items() if not only or name in (*wanted, *kept)}


def slow_models(options: argparse.Namespace) -> dict[str, Model]:
    """What learns from nobody but the person asked, where it is wanted."""
    found: dict[str, Model] = {}
    if options.arima:
        found["AutoARIMA"] = Model(floors.auto_arima(), "baseline")
    if options.chronos:
        # Which weights they are stands in the table.
        found[f"Chronos ({options.chronos.name}), zero-shot"] = Model(chronos(options.chronos), "baseline")
    return found


def run(name: str, options: argparse.Namespace) -> Result:
    """The table of one cohort."""
    asked = asked_of(name, quick=options.quick)
    make, words, owed = {
        "table": (table, "", ("last value", "damped trend", "seasonal naive, a day", "ridge", "LightGBM")),
        "parts": (parts, ", part by part", ("LightGBM",)),
        "personal": (personal, ", after a person's first week", ("ridge",)),
        "plan": (plan, ", with the plan told", ("ridge",)),
    }[options.kind]
    headline = {"parts": FROZEN, "plan": PLAN}.get(options.kind, OURS)
    return backtest(
        f"glucose of {name}{words}",
        asked.series,
        asked.moments,
        some_of(make(asked, quick=options.quick), options.only, (*owed, headline)),
        headline=headline,
        folds=3 if options.quick else 5,
        seeds=range(options.seeds),
        events=EVENTS["glucose"],
        unit="mg/dL",
        owed=owed,
        counted=after_first_week(asked.moments) if options.kind == "personal" else None,
        progress=reporter(name),
        slow=slow_models(options),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="six people a set, one seed: numbers mean nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as a flat list")
    parser.add_argument("--sets", help=f"cohorts, by commas ({','.join(SETS)}; of plans {','.join(TREATED)})")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--kind", choices=("table", "parts", "personal", "plan"), default="table")
    parser.add_argument("--only", default="", metavar="MODEL;...", help="these rows and those owed, by their names")
    parser.add_argument("--arima", action="store_true", help="AutoARIMA beside, at 400 origins (extra arima)")
    parser.add_argument(
        "--chronos", type=Path, metavar="FOLDER", help="Chronos of these weights beside, at 400 origins (extra chronos)"
    )
    options = parser.parse_args()
    slow_models(options)  # what is not installed, or cannot be read, says so before anything is made
    torch.set_num_threads(1)
    if options.quick:
        options.seeds = 1
    known = tuple(TREATED) if options.kind == "plan" else SETS
    sets = options.sets.split(",") if options.sets else known
    if strange := [name for name in sets if name not in known]:
        parser.error(f"--sets: nothing is known of {', '.join(strange)}; there are: {', '.join(known)}")
    results = [run(name, options) for name in sets]
    for result in results:
        print(markdown(result), end="\n\n")
    if options.json:
        options.json.write_text(json.dumps(flat_rows(results), indent=1) + "\n")


if __name__ == "__main__":
    main()

"""A slow signal from files to a head that forecasts it, through the command line."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import torch

from hdt_fm.checkpoint import load
from hdt_fm.cli.main import EXIT_OK, EXIT_USER_ERROR, main
from hdt_fm.cli.series import HEAD, head_name, told
from hdt_fm.data.series import series_of
from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.series import ForecastTask
from hdt_fm.training.forecasts import ask

HEADER = (
    "EventDateTime,DeviceMode,BolusType,Basal,CorrectionDelivered,TotalBolusInsulinDelivered,FoodDelivered,CarbSize,CGM"
)
SMALL = [
    "training.steps=6",
    "training.warmup_steps=1",
    "training.batch_size=32",
    "training.val_every=3",
    "encoder.width=16",
    "finetune.epochs=2",
    "series.horizons_s=[1800,3600]",
    "series.windows=3",
    "split.test=0.3",
]


def fabricate(folder: Path, people: int = 8, days: int = 4) -> None:
    """AZT1D's layout: a daily wave with slow noise, every five minutes, and a meal with a dose every six hours."""
    for person in range(1, people + 1):
        generator = np.random.default_rng(person)
        count, noise = days * 288, 0.0
        home = folder / "CGM Records" / f"Subject {person}"
        home.mkdir(parents=True)
        lines, start = [HEADER], datetime(2024, 1, 5, tzinfo=UTC)
        for place in range(count):
            noise = 0.97 * noise + generator.normal(0, 4 + person / 2)
            value = 140 + 25 * np.sin(2 * np.pi * place / 288) + noise
            at = (start + timedelta(minutes=5 * place)).strftime("%Y-%m-%d %H:%M:%S")
            dose, carbs = (4 + person / 4, 40 + person) if place % 72 == 30 else ("", "")
            lines.append(f"{at},,,0.8,,{dose},,{carbs},{value:.0f}")
        (home / f"Subject {person}.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("series")
    fabricate(folder / "files")
    words = ["experiment=azt1d", f"source={folder / 'files'}", f"root={folder / 'run'}", *SMALL]
    for verb in ("shard", "pretrain", "finetune"):
        assert main([verb, *words]) == EXIT_OK
    return words


def root(chosen: list[str]) -> Path:
    return Path(next(word for word in chosen if word.startswith("root=")).removeprefix("root="))


def test_the_table_has_the_floors_and_ours_on_people_never_seen(chosen: list[str]) -> None:
    home = root(chosen) / "finetune"
    rows = json.loads((home / head_name("glucose") / "rows.json").read_text())
    models = {row["model"] for row in rows}
    assert {"last value", "damped trend", "seasonal naive, a day", "ridge", "encoder + forecast head"} <= models
    assert {row["what"].split(":")[0] for row in rows} == {"in 30 min", "in 60 min"}
    record = json.loads((home / "result.json").read_text())
    people = json.loads((root(chosen) / "pretrain" / "people.json").read_text())
    assert record["summary"]["people asked"] == len(people["test"])
    assert record["summary"]["people in training"] == len(people["train"]) + len(people["validation"])
    assert "twin forecast" in record["next"][0]


def test_the_head_comes_back_with_all_that_asking_it_needs(chosen: list[str]) -> None:
    home = root(chosen)
    model = load(home / "finetune" / "checkpoint")
    part = model.config.heads[head_name("glucose")]
    assert part.name == HEAD
    task = ForecastTask.of(part.args["asked"])
    assert task == ForecastTask("glucose", "mg/dL", 300.0, 10800.0, (1800.0, 3600.0), 1800.0, 3, 86400.0)
    head = model.heads[head_name("glucose")]
    series = series_of(ShardFolder.open(home / "shard" / "windows"), "glucose")
    moments, inputs = told(model, series, task)
    said = ask(head, inputs)
    assert said.shape == (len(moments), 2, 10)
    assert (np.diff(said[..., 1:], axis=-1) > 0).all()
    usual = head.usual.numpy()
    assert (usual[:, 0] <= usual[:, 1]).all()
    assert 100 < usual[0, 0] < usual[0, 1] < 180
    assert (head.score_spread > 0).all()
    assert torch.isfinite(head.shift).all()


def test_now_is_the_newest_reading_and_what_comes_later_is_not_read(chosen: list[str]) -> None:
    home = root(chosen)
    model = load(home / "finetune" / "checkpoint")
    task = ForecastTask.of(model.config.heads[head_name("glucose")].args["asked"])
    one = series_of(ShardFolder.open(home / "shard" / "windows"), "glucose")[0]
    cut = 700
    short = type(one)(one.values[:cut], one.observed[:cut], one.step_s, one.start_s, one.subject, one.group)
    moments, inputs = told(model, [short], task, now=True)
    assert moments.place[-1] == np.flatnonzero(short.observed)[-1]
    assert np.isnan(moments.target[-1]).all()
    # The same moment, with all that came after it at hand.
    seen = one.observed.copy()
    seen[cut:] = False
    hidden = type(one)(one.values, seen, one.step_s, one.start_s, one.subject, one.group)
    _, again = told(model, [hidden], task, now=True)
    head = model.heads[head_name("glucose")]
    assert np.array_equal(ask(head, inputs), ask(head, again))


def test_head_forecast_means_the_same_and_embeddings_are_kept(chosen: list[str], tmp_path: Path) -> None:
    kept = root(chosen) / "finetune" / "series_embeddings.safetensors"
    before = kept.stat().st_mtime_ns
    assert main(["finetune", *chosen, "head=forecast", "head.kind=transformer", "finetune.epochs=1"]) == EXIT_OK
    assert kept.stat().st_mtime_ns == before
    part = load(root(chosen) / "finetune" / "checkpoint").config.heads[head_name("glucose")]
    assert (part.name, part.args["kind"]) == (HEAD, "transformer")
    assert "horizon" not in part.args


def test_an_encoder_that_reads_the_end_is_refused_before_and_after(
    chosen: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = f"shards={root(chosen) / 'shard' / 'windows'}"
    assert main(["pretrain", *chosen, f"root={tmp_path}", shards, "encoder.ahead_s=3600.0"]) == EXIT_USER_ERROR
    assert "reads what the loss asks it to foretell" in capsys.readouterr().err
    other = ["loss=masked_patches", "loss.patch_s=1800.0", "training.hide={share: 0.5, stretch_s: 1800.0}"]
    words = [*chosen, f"root={tmp_path}", shards, *other, "encoder.ahead_s=0.0"]
    words = [word for word in words if not word.startswith("loss.horizons")]
    assert main(["pretrain", *words]) == EXIT_OK
    capsys.readouterr()
    assert main(["finetune", *words]) == EXIT_USER_ERROR
    assert "reads its windows to the end" in capsys.readouterr().err


def treated(chosen: list[str], tmp_path: Path) -> list[str]:
    """The same with treatments told."""
    own = [word for word in chosen if not word.startswith("root=")]
    given = [*own, f"root={tmp_path / 'given'}", "preparation=treatments_5min"]
    assert main(["shard", *given]) == EXIT_OK
    home = root(chosen)
    kept = [f"shards={home / 'shard' / 'windows'}", f"checkpoint={home / 'pretrain' / 'checkpoint'}"]
    folder = tmp_path / "given" / "shard" / "windows"
    return [*own, *kept, f"root={tmp_path / 'run'}", f"series.treatments={folder}"]


def test_treatments_are_told_where_their_shards_are_named(
    chosen: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = treated(chosen, tmp_path)
    capsys.readouterr()
    assert main(["finetune", *words, "--dry-run", "--json"]) == EXIT_OK
    plan = json.loads(capsys.readouterr().out)
    assert [plan[f"people with {name}"] for name in ("bolus", "carbs", "insulin_rate")] == [8, 8, 8]
    assert main(["finetune", *words]) == EXIT_OK
    checkpoint = tmp_path / "run" / "finetune" / "checkpoint"
    model = load(checkpoint)
    head = model.heads[head_name("glucose")]
    task = ForecastTask.of(head.asked)
    assert (task.treatments, task.treatments_step_s) == (("bolus", "carbs", "insulin_rate"), 300.0)
    # One person asked as of a moment: a dose and a meal before it are heard, those after it are not.
    source = Path(next(word for word in chosen if word.startswith("source=")).removeprefix("source="))
    home = source / "CGM Records" / "Subject 3" / "Subject 3.csv"
    was, answers = home.read_text(), []
    asked = ["cohort=azt1d", "person=2", "at=2024-01-08T06:00", f"checkpoint={checkpoint}", "--json"]
    for time in (None, "2024-01-08 05:30:00", "2024-01-08 06:05:00"):
        lines = was.splitlines()
        for place, line in enumerate(lines):
            if time is not None and line.startswith(time):
                cells = line.split(",")
                lines[place] = ",".join([*cells[:5], "12", "", "90", cells[8]])
        home.write_text("\n".join(lines) + "\n")
        capsys.readouterr()
        assert main(["twin", "forecast", str(source), *asked, "--to", str(tmp_path / "said")]) == EXIT_OK
        answers.append([one["point"] for one in json.loads(capsys.readouterr().out)["ahead"]])
    home.write_text(was)
    assert answers[0] != answers[1]
    assert answers[0] == answers[2]


def test_folders_that_know_no_treatment_of_these_people_are_refused(
    chosen: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fabricate_uom(tmp_path / "files")
    others = ["experiment=t1d_uom", f"source={tmp_path / 'files'}", f"root={tmp_path / 'other'}"]
    assert main(["shard", *others]) == EXIT_OK
    capsys.readouterr()
    wrong = f"series.treatments={tmp_path / 'other' / 'shard' / 'windows'}"
    assert main(["finetune", *chosen, f"root={root(chosen)}", wrong]) == EXIT_USER_ERROR
    error = capsys.readouterr().err
    assert "knows nobody of these shards" in error
    assert "preparation=treatments_5min" in error


def fabricate_uom(folder: Path, people: int = 6, days: int = 4) -> None:
    """T1D-UOM's layout: every fifteen minutes, in mmol/L, the day first."""
    home = folder / "Glucose Data"
    home.mkdir(parents=True)
    for person in range(people):
        generator = np.random.default_rng(100 + person)
        place = np.arange(days * 96)
        values = 8 + 1.5 * np.sin(2 * np.pi * place / 96) + generator.normal(0, 0.4, len(place))
        start = datetime(2023, 10, 1, tzinfo=UTC)
        times = [(start + timedelta(minutes=15 * int(at))).strftime("%d/%m/%Y %H:%M:%S") for at in place]
        lines = [f"{at},{value:.1f}" for at, value in zip(times, values, strict=True)]
        (home / f"UoMGlucose24{person:02d}.csv").write_text("\n".join(["bg_ts,value", *lines]) + "\n")


def test_cohorts_of_two_rates_teach_one_encoder_and_it_serves_people_it_never_saw(
    chosen: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fabricate_uom(tmp_path / "files")
    other = ["experiment=t1d_uom", f"source={tmp_path / 'files'}", f"root={tmp_path / 'run'}", *SMALL]
    assert main(["shard", *other]) == EXIT_OK
    here, there = root(chosen) / "shard" / "windows", tmp_path / "run" / "shard" / "windows"
    both = [*chosen, f"root={tmp_path / 'both'}", f"cohorts=[{here},{there}]", f"shards={here}"]
    assert main(["pretrain", *both]) == EXIT_OK
    assert main(["finetune", *both]) == EXIT_OK
    # Taught by the other cohort alone: everyone here is new to it, and the config's split says who is asked.
    alone = [*chosen, f"root={tmp_path / 'alone'}", f"cohorts=[{there}]", f"shards={here}"]
    assert main(["pretrain", *alone]) == EXIT_OK
    capsys.readouterr()
    assert main(["finetune", *alone]) == EXIT_OK
    assert "people asked: 2" in capsys.readouterr().out


def test_the_plan_says_how_much_there_is(chosen: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["finetune", *chosen, "--dry-run", "--json"]) == EXIT_OK
    plan = json.loads(capsys.readouterr().out)
    assert plan["people"] == 8
    assert plan["hours read"] == pytest.approx(8 * 96, abs=16)

"""A head of risks from files to a checkpoint and to one person, through the command line."""

import importlib.util
import json
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from hdt_fm.checkpoint import load
from hdt_fm.cli import finetune_risk
from hdt_fm.cli.main import EXIT_OK, EXIT_USER_ERROR, main
from hdt_fm.cli.series import RISK, head_name, own_risks, risk_name, told, with_own_events
from hdt_fm.data.series import series_of
from hdt_fm.data.shards import ShardFolder
from hdt_fm.evaluation.backtest import floors
from hdt_fm.evaluation.backtest.risk_floors import Told
from hdt_fm.metrics.events import EVENTS
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.series import ForecastTask, Series
from hdt_fm.signal.moments import moments_of
from hdt_fm.signal.within import happened_within
from hdt_fm.training.heads import take
from hdt_fm.training.members import answers

RISK_HEAD, FORECAST_HEAD = "risk_glucose", "forecast_glucose"
FLOORS = ["base rate", "last value and slope", "LightGBM, at the horizon", "LightGBM, told the same"]
OURS = "encoder + risk head"


@pytest.fixture(scope="module")
def neighbour(repo: Path) -> ModuleType:
    """The files and settings of the tests of forecasts."""
    path = repo / "tests" / "cli" / "test_finetune_series.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def no_trees(*_: object, **more: object) -> None:
    raise ConfigError("LightGBM is not installed")


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory, neighbour: ModuleType) -> dict[str, object]:
    """Risks before there is a forecast, then the forecast without trees, then risks beside it; the words and rows."""
    folder = tmp_path_factory.mktemp("risk")
    neighbour.fabricate(folder / "files")
    words = ["experiment=azt1d", f"source={folder / 'files'}", f"root={folder / 'run'}", *neighbour.SMALL]
    home, found = folder / "run" / "finetune", {}
    for verb in ("shard", "pretrain"):
        assert main([verb, *words]) == EXIT_OK
    assert main(["finetune", *words, "head=event_risk"]) == EXIT_OK
    found["alone"] = json.loads((home / RISK_HEAD / "rows.json").read_text())
    found["next"] = json.loads((home / "result.json").read_text())["next"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(floors, "lightgbm_quantiles", no_trees)
        assert main(["finetune", *words]) == EXIT_OK
        found["forecast"] = load(home / "checkpoint").heads[FORECAST_HEAD].state_dict()
        assert main(["finetune", *words, "head=event_risk"]) == EXIT_OK
    found["beside"] = json.loads((home / RISK_HEAD / "rows.json").read_text())
    return {**found, "words": words, "home": folder / "run"}


def models(rows: list[dict]) -> list[str]:
    return list(dict.fromkeys(row["model"] for row in rows))


def test_the_table_has_the_floors_and_ours_on_people_never_seen(walked: dict) -> None:
    assert models(walked["alone"]) == [*FLOORS, OURS]
    assert {row["what"].split(":")[0] for row in walked["alone"]} == {
        f"{event.name} within {minutes} min" for event in EVENTS["glucose"] for minutes in (30, 60)
    }
    record = json.loads((walked["home"] / "finetune" / "result.json").read_text())
    people = json.loads((walked["home"] / "pretrain" / "people.json").read_text())
    assert record["summary"]["people asked"] == len(people["test"])
    assert record["summary"]["people in training"] == len(people["train"]) + len(people["validation"])
    shown = record["summary"][f"recall at 1 false alarm a day within 60 min, {OURS}"]
    assert shown.startswith("below 70 mg/dL 0.")
    assert ", above 180 mg/dL 0." in shown


def test_a_forecast_that_lies_there_is_a_floor_and_stays_as_it_was(walked: dict) -> None:
    """Without one, the next command is the one that teaches it: risks alone forecast nothing."""
    assert "head=series_forecast" in walked["next"][0]
    assert models(walked["beside"]) == [*FLOORS[:2], "forecast head, at the horizon", OURS]
    record = json.loads((walked["home"] / "finetune" / "result.json").read_text())
    assert "twin forecast" in record["next"][0]
    model = load(walked["home"] / "finetune" / "checkpoint")
    assert sorted(model.heads) == [FORECAST_HEAD, RISK_HEAD]
    now = model.heads[FORECAST_HEAD].state_dict()
    assert all(torch.equal(now[name], was) for name, was in walked["forecast"].items())


def test_the_head_comes_back_with_all_that_asking_it_needs(walked: dict) -> None:
    model = load(walked["home"] / "finetune" / "checkpoint")
    part, head = model.config.heads[risk_name("glucose")], model.heads[RISK_HEAD]
    assert part.name == RISK
    task = ForecastTask.of(head.asked)
    assert task == ForecastTask.of(model.heads[head_name("glucose")].asked)
    assert task.horizons_s == (1800.0, 3600.0)
    assert head.described == [asdict(event) for event in EVENTS["glucose"]]
    assert 0 < part.args["teaching"] <= 8
    assert head.slope.shape == (2, 2)
    assert (head.slope > 0).all()
    assert (head.slope != 1).all()  # people apart moved every one


def test_what_is_told_of_a_person_is_what_the_table_scored(walked: dict) -> None:
    """The saved head, its saved lines and the person's own truths, put together anew from the checkpoint alone."""
    model = load(walked["home"] / "finetune" / "checkpoint")
    head = model.heads[RISK_HEAD]
    folder = ShardFolder.open(walked["home"] / "shard" / "windows")
    series, events = series_of(folder, "glucose"), EVENTS["glucose"]
    moments, plain = told(model, series, ForecastTask.of(head.asked))
    inputs = with_own_events(plain, moments, series, events)
    happened = happened_within(moments, series, [event.of for event in events])
    test = json.loads((walked["home"] / "pretrain" / "people.json").read_text())["test"]
    names = [row.subject for row in folder.manifest.subjects]
    errors: dict[str, list[np.ndarray]] = {"calibrated": [], "online": []}
    for subject in (names.index(name) for name in test):
        rows = np.flatnonzero(moments.subject == subject)
        own, some, came = moments.rows(rows), take(inputs, torch.from_numpy(rows)), happened[rows]
        odds = answers(lambda one: head.calibrated(head(one)), some).double()
        moved = np.maximum.accumulate(torch.sigmoid(odds).numpy(), axis=1)
        for kind, risks in (("calibrated", moved), ("online", own_risks(head, own, some, came))):
            errors[kind].append(np.nanmean((risks - came) ** 2, axis=0))
    rows = [row for row in walked["beside"] if row["model"] == OURS]
    for column, minutes in enumerate((30, 60)):
        for place, event in enumerate(events):
            for kind, each in errors.items():
                what = (f"{event.name} within {minutes} min: how often", f"Brier score, {kind}")
                wanted = next(row["value"] for row in rows if (row["what"], row["metric"]) == what)
                assert np.mean(each, axis=0)[column, place] == pytest.approx(wanted, abs=2e-6)


def test_one_person_is_told_chances_of_any_reading_until_then(
    walked: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = next(word for word in walked["words"] if word.startswith("source=")).removeprefix("source=")
    checkpoint = walked["home"] / "finetune" / "checkpoint"
    asked = ["cohort=azt1d", "person=2", "at=2024-01-08T06:00", f"checkpoint={checkpoint}", "--json"]
    answers, home = [], Path(source) / "CGM Records" / "Subject 3" / "Subject 3.csv"
    was = home.read_text()
    for later in (False, True):
        lines = was.splitlines()
        if later:  # glucose after the moment is another one
            rest = [f"{line.rsplit(',', 1)[0]},55" if line > "2024-01-08 06:02" else line for line in lines[1:]]
            lines = [lines[0], *rest]
        home.write_text("\n".join(lines) + "\n")
        capsys.readouterr()
        assert main(["twin", "forecast", source, *asked, "--to", str(tmp_path / "said")]) == EXIT_OK
        answers.append(json.loads(capsys.readouterr().out))
    home.write_text(was)
    assert answers[0] == answers[1]
    near, far = (one["within"] for one in answers[0]["ahead"])
    assert list(near) == [event.name for event in EVENTS["glucose"]]
    assert all(0 < near[name] <= far[name] < 1 for name in near)
    for one in answers[0]["ahead"]:
        for count in one["lately"]["within"].values():
            assert 100 < count["moments"] < 160
            assert 0 < count["expected"] < count["moments"]
    # By readings of this very file: how many of those moments were followed by a high within the hour.
    assert answers[0]["ahead"][1]["lately"]["within"]["above 180 mg/dL"]["came"] == _came_by_hand(home, minutes=60)


def _came_by_hand(home: Path, minutes: int) -> int:
    """Origins every half hour back from 06:00 whose hour has passed, with three hours before: highs that followed."""
    cells = [line.split(",") for line in home.read_text().splitlines()[1:]]
    values = np.array([float(row[8]) for row in cells if row[0] <= "2024-01-08 06:00:00"])
    newest, ahead, count = len(values) - 1, minutes // 5, 0
    for place in range(newest % 6, newest - ahead + 1, 6):
        if place >= 35 and values[place] <= 180:
            count += bool((values[place + 1 : place + ahead + 1] > 180).any())
    return count


@pytest.mark.parametrize(("head", "name"), [("event_risk", RISK_HEAD), ("series_forecast", FORECAST_HEAD)])
def test_heads_of_one_checkpoint_are_told_the_same(
    walked: dict, capsys: pytest.CaptureFixture[str], head: str, name: str
) -> None:
    weights = walked["home"] / "finetune" / "checkpoint" / "model.safetensors"
    before = weights.read_bytes()
    capsys.readouterr()
    assert main(["finetune", *walked["words"], f"head={head}", "series.windows=2"]) == EXIT_USER_ERROR
    error = capsys.readouterr().err
    assert "Two heads of one checkpoint are not told the same" in error
    assert "where: series.windows" in error
    assert f"expected: {name} told as" in error
    assert "windows 3" in error
    assert "got: windows 2" in error
    assert "another root=FOLDER" in error
    assert weights.read_bytes() == before


def test_a_signal_without_events_is_refused(walked: dict, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    other = [*walked["words"], "head=event_risk", "series.modality=heart_rate"]
    assert main(["finetune", *other]) == EXIT_USER_ERROR
    error = capsys.readouterr().err
    assert "No events of heart_rate are known" in error
    assert "expected: glucose" in error
    assert "head=series_forecast" in error


@pytest.mark.parametrize("head", ["event_risk", "plan_response", "series_forecast"])
def test_a_head_of_a_signal_asks_for_one(walked: dict, capsys: pytest.CaptureFixture[str], head: str) -> None:
    capsys.readouterr()
    words = [word for word in walked["words"] if not word.startswith("series.modality")]
    assert main(["finetune", *words, f"head={head}", "series.modality=null"]) == EXIT_USER_ERROR
    error = capsys.readouterr().err
    assert "is of a signal itself" in error
    assert "series.modality=glucose" in error


def test_the_plan_says_how_much_there_is(walked: dict, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["finetune", *walked["words"], "head=event_risk", "--dry-run", "--json"]) == EXIT_OK
    plan = json.loads(capsys.readouterr().out)
    assert (plan["head"], plan["people"]) == (RISK_HEAD, 8)


def test_a_neighbouring_event_that_came_to_nobody_does_not_teach() -> None:
    """From 86 to 144 mg/dL, so five levels are left out; and within two hours the other three come to everybody."""
    wave = (115 + 30 * np.sin(2 * np.pi * np.arange(96 * 3) / 7)).astype(np.float32)
    one = Series(wave, np.ones(len(wave), bool), 900.0, 1_700_006_400.0, 0, 0)
    moments = moments_of([one], context_s=3600.0, horizons_s=(900.0, 7200.0))
    asked = EVENTS["glucose"]
    truths = happened_within(moments, [one], [event.of for event in asked])
    beside = finetune_risk._beside(moments, Told(moments, truths, [one], asked), "glucose")
    assert beside.shape == (len(moments), 2, 0)
    # One horizon alone: within a quarter of an hour some do and some do not.
    near = moments_of([one], context_s=3600.0, horizons_s=(900.0,))
    beside = finetune_risk._beside(near, Told(near, truths[:, :1], [one], asked), "glucose")
    assert beside.shape == (len(near), 1, 3)


def test_the_line_of_people_apart_is_known_by_two_of_its_points() -> None:
    slope, start = finetune_risk._line(lambda risk: 1 / (1 + np.exp(-(0.7 * np.log(risk / (1 - risk)) - 0.4))))
    assert (slope, start) == pytest.approx((0.7, -0.4))
    assert finetune_risk._line(lambda risk: risk) == pytest.approx((1.0, 0.0))

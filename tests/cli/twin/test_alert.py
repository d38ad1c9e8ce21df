"""`hdt-fm twin alert PATH`, as typed: one person's nights in, what is unlike their own out."""

import csv
import json
import os

import numpy as np
import pytest

from hdt_fm.cli.main import EXIT_INTERRUPTED, EXIT_OK, EXIT_USER_ERROR, main

FIRST = np.datetime64("2026-01-01")
ILLNESS = np.array([1.5, 3, 4.5, 6, 6, 6, 6, 6])
ONSET = 120


def ar(nights, seed, sd):
    fresh = np.random.default_rng(seed).normal(size=nights)
    out = fresh.copy()
    for night in range(1, nights):
        out[night] = 0.5 * out[night - 1] + np.sqrt(0.75) * fresh[night]
    return sd * out


@pytest.fixture
def columns():
    """Of 160 nights: an illness that begins at night 120 (from 0), and some nights without data."""
    heart, breaths = 60 + ar(160, 1, 1.2), 15 + ar(160, 2, 0.5)
    heart[ONSET : ONSET + 8] += ILLNESS
    breaths[ONSET : ONSET + 8] += ILLNESS / 8
    heart[40:43] = breaths[40:43] = np.nan
    return {"resting_heart_rate": heart, "breathing_rate": breaths}


@pytest.fixture
def write(tmp_path, columns, monkeypatch):
    """(nights, name, more columns) -> path of a table; the current folder is an empty one."""
    monkeypatch.chdir(tmp_path)

    def written(nights=160, name="nights.csv", **more):
        path = tmp_path / "in" / name
        path.parent.mkdir(exist_ok=True)
        table = {"date": [str(FIRST + night) for night in range(160)], **columns, **more}
        with path.open("w", newline="") as file:
            out = csv.writer(file)
            out.writerow(table)
            for night in range(nights):
                cells = [column[night] for column in table.values()]
                out.writerow(["" if isinstance(cell, float) and np.isnan(cell) else cell for cell in cells])
        return path

    return written


def told(capsys):
    return json.loads(capsys.readouterr().out)


def test_from_a_table_to_the_alert_and_the_page(write, tmp_path, capsys):
    assert main(["twin", "alert", str(write())]) == EXIT_OK
    out = capsys.readouterr().out
    folder = tmp_path / "runs" / "twin" / "alert-1"
    found = json.loads((folder / "alert.json").read_text())
    assert sorted(one.name for one in folder.iterdir()) == ["alert.html", "alert.json"]
    assert found["source"] == "a table of nights"
    assert found["nights"]["abstained"] == 3
    (alert,) = [one for one in found["alerts"] if one["end"] >= str(FIRST + ONSET)]
    assert str(FIRST + ONSET) <= alert["begin"] <= str(FIRST + ONSET + 4)
    assert alert["deviations"][0]["indicator"] == "resting_heart_rate"
    assert alert["deviations"][0]["personal_sds"] > 1.5
    heart, breaths = (
        next(one for one in alert["parts"] if one["indicator"] == name)
        for name in ("resting_heart_rate", "respiratory_rate")
    )
    assert heart["points"] + breaths["points"] == pytest.approx(alert["score"], abs=2e-4)
    assert heart["share"] + breaths["share"] == pytest.approx(1, abs=2e-4)
    assert f"resting heart rate {round(100 * heart['share'])} %" in out.split("made of: ")[-1]
    page = (folder / "alert.html").read_text()
    assert f'<td class="n">{alert["begin"]}</td><td class="n">{alert["end"]}</td>' in page
    for text in (alert["begin"], "resting_heart_rate +", "2 false alerts a year", "no diagnosis", "3 without data"):
        assert text in out
    assert str(folder.relative_to(tmp_path) / "alert.html") in out
    assert not [one for one in (tmp_path / "runs" / "twin").iterdir() if one != folder]


def test_what_was_left_out_is_said(write, tmp_path, capsys):
    path = write(mood=[3] * 160, spo2=[0, *[97] * 159])
    assert main(["twin", "alert", str(path), "--to", "out"]) == EXIT_OK
    out = capsys.readouterr().out
    for text in (out, (tmp_path / "out" / "alert.html").read_text().replace("Note", "note")):
        assert "note: columns that were not used: mood" in text.lower()
        assert "no body has them: 1 number" in text


def test_json_is_one_object_and_the_file(write, tmp_path, capsys):
    assert main(["twin", "alert", str(write()), "--json", "--to", "out"]) == EXIT_OK
    found = told(capsys)
    assert found.pop("folder") == "out"
    assert found == json.loads((tmp_path / "out" / "alert.json").read_text())
    assert "nights.csv" not in json.dumps(found)


def test_a_wrong_input_is_an_object_too(write, capsys):
    assert main(["twin", "alert", "nowhere.csv", "--json"]) == EXIT_USER_ERROR
    assert told(capsys)["problem"] == "There is nothing at this path"


def test_later_nights_change_nothing_before(write, capsys):
    assert main(["twin", "alert", str(write()), "--json"]) == EXIT_OK
    whole = told(capsys)
    for nights in (60, ONSET + 3, 150):
        assert main(["twin", "alert", str(write(nights)), "--json"]) == EXIT_OK
        part = told(capsys)
        assert part["night_by_night"] == whole["night_by_night"][:nights]
        assert part["usable_from"] == whole["usable_from"]
        for early, late in zip(part["alerts"], whole["alerts"], strict=False):
            for what in ("begin", "gathered_from", "deviations", "score", "parts"):
                assert early[what] == late[what]


def test_the_budget_is_heard(write, capsys):
    alerts = {}
    for budget in ("0.1", "20"):
        assert main(["twin", "alert", str(write()), "--json", f"budget_per_year={budget}"]) == EXIT_OK
        found = told(capsys)
        assert found["budget_per_year"] == float(budget)
        alerts[budget] = found["nights"]["alert"]
    assert alerts["0.1"] < alerts["20"]


def test_another_device_is_learned_anew(write, tmp_path, capsys):
    path = write(device=["SN-0815"] * 150 + ["SN-0816"] * 10)
    assert main(["twin", "alert", str(path)]) == EXIT_OK
    assert "until a night can be judged: 19 more nights with data" in capsys.readouterr().out
    folder = tmp_path / "runs" / "twin" / "alert-1"
    found = json.loads((folder / "alert.json").read_text())
    assert found["device_changes"] == [str(FIRST + 150)]
    assert found["last_night"]["state"] == "learning"
    assert "another device" in found["night_by_night"][150]["reason"]
    for name in ("alert.json", "alert.html"):
        assert "SN-08" not in (folder / name).read_text()


def test_without_dates(write, tmp_path, capsys):
    assert main(["twin", "alert", str(write()), "dates=false", "--to", "out"]) == EXIT_OK
    out = capsys.readouterr().out
    texts = [out, *((tmp_path / "out" / name).read_text() for name in ("alert.json", "alert.html"))]
    assert not any("2026-" in text for text in texts)
    found = json.loads(texts[1])
    assert any(ONSET + 1 <= one["begin"] <= ONSET + 5 for one in found["alerts"])
    assert "night 160: quiet" in out


def test_each_run_has_a_folder_of_its_own_and_a_named_one_is_replaced(write, tmp_path, capsys):
    for _ in range(2):
        assert main(["twin", "alert", str(write())]) == EXIT_OK
    assert sorted(one.name for one in (tmp_path / "runs" / "twin").iterdir()) == ["alert-1", "alert-2"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "own.txt").write_text("mine")
    for nights in (160, 100):
        assert main(["twin", "alert", str(write(nights)), "--to", "out"]) == EXIT_OK
    assert json.loads((tmp_path / "out" / "alert.json").read_text())["nights"]["calendar"] == 100
    assert (tmp_path / "out" / "own.txt").read_text() == "mine"


@pytest.mark.parametrize(("nights", "more"), [(5, 24), (27, 2), (28, 1)])
def test_too_few_nights_are_refused_with_how_many_are_missing(write, tmp_path, capsys, nights, more):
    assert main(["twin", "alert", str(write(nights))]) == EXIT_USER_ERROR
    error = capsys.readouterr().err
    assert f"got: {nights} nights with data" in error
    assert f"come back after {more} more night{'s' if more > 1 else ''} with data" in error
    assert not (tmp_path / "runs").exists()
    assert main(["twin", "alert", str(write(nights + more))]) == EXIT_OK


def test_two_people_in_one_table_are_refused(write, tmp_path, capsys):
    path = write(id=["zoe"] * 80 + ["adam"] * 80)
    assert main(["twin", "alert", str(path)]) == EXIT_USER_ERROR
    error = capsys.readouterr().err
    assert "several people" in error
    assert "zoe" not in error
    assert "person=N" in error
    assert not (tmp_path / "runs").exists()
    assert main(["twin", "alert", str(path), "person=1", "--json"]) == EXIT_OK
    found = told(capsys)
    assert found["nights"]["calendar"] == 80
    assert "zoe" not in json.dumps(found)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["budget_per_yer=2"], "did you mean 'budget_per_year'?"),
        (["budget_per_year=two"], "budget_per_year is no number"),
        (["budget_per_year=50"], "0.1 to 20"),
        (["budget_per_year=nan"], "0.1 to 20"),
        (["dates=no"], "true or false"),
        (["person=third"], "person is no whole number"),
        (["night_hours=0-6"], "does not go with a table of nights"),
        (["indicators=mood"], "Unknown column 'mood'"),
        (["--yes"], "Unknown setting 'yes'"),
        (["--to="], "The report cannot go there"),
        (["to=in/nights.csv"], "The report cannot go there"),
        (["other.csv"], "takes one path"),
        (["cohort=lifesnap_daily"], "did you mean 'lifesnaps_daily'?"),
        (["reader=fitbit"], "reader"),
    ],
)
def test_a_wrong_setting_is_named(write, tmp_path, capsys, settings, words):
    assert main(["twin", "alert", str(write()), *settings]) == EXIT_USER_ERROR
    assert words in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_what_cannot_be_read_says_what_was_expected(write, tmp_path, capsys):
    write()
    other = tmp_path / "in" / "other.csv"
    other.write_text("time,mood\n1,2\n")
    for path, words in ((other, "a column date (YYYY-MM-DD)"), (tmp_path / "none", "a column date")):
        assert main(["twin", "alert", str(path)]) == EXIT_USER_ERROR
        assert words in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["twin", "alert", str(tmp_path / "empty")]) == EXIT_USER_ERROR
    assert "The folder is empty" in capsys.readouterr().err
    assert main(["twin", "alert", str(other), "reader=nights"]) == EXIT_USER_ERROR
    assert "The table has no column date" in capsys.readouterr().err


def test_a_folder_with_one_table_is_that_table(write, tmp_path, capsys):
    folder = write().parent
    assert main(["twin", "alert", str(folder), "--json"]) == EXIT_OK
    assert told(capsys)["nights"]["calendar"] == 160
    write(name="again.csv")
    assert main(["twin", "alert", str(folder)]) == EXIT_USER_ERROR
    assert "several tables of nights" in capsys.readouterr().err


@pytest.mark.parametrize("to", [[], ["--to", "out"]])
def test_an_interrupted_write_leaves_nothing(write, tmp_path, capsys, monkeypatch, to):
    path = write()
    before = sorted(tmp_path.rglob("*"))

    def stop(*arguments, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", stop)
    assert main(["twin", "alert", str(path), *to]) == EXIT_INTERRUPTED
    monkeypatch.undo()
    left = [one for one in sorted(tmp_path.rglob("*")) if one not in before]
    assert [one.relative_to(tmp_path).as_posix() for one in left] == ([] if to else ["runs", "runs/twin"])


def test_a_place_that_cannot_be_written(write, tmp_path, capsys):
    path = write()
    (tmp_path / "file").write_text("")
    assert main(["twin", "alert", str(path), "--to", "file/out"]) == EXIT_USER_ERROR
    assert "The alert cannot be written" in capsys.readouterr().err


def test_an_export_of_minutes(tmp_path, capsys, monkeypatch):
    """Heart rate and steps of a mapped table: nights by the rule, local time from the mapping."""
    monkeypatch.chdir(tmp_path)
    nights, usual = 40, 60 + ar(40, 3, 1.2)
    usual[35:] += 8
    begin = int(np.datetime64("2026-01-01").astype("datetime64[s]").astype(np.int64)) - 3600
    lines = ["t,bpm"]
    for night in range(nights):
        lines += [f"{begin + night * 86_400 + slot * 600},{usual[night]:.2f}" for slot in range(36)]
        lines += [f"{begin + night * 86_400 + slot * 600},95" for slot in range(36, 144)]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "day.csv").write_text("\n".join(lines) + "\n")
    mapping = "time: {column: t, unit: s}\nutc_offset_s: 3600\nsignals:\n  heart_rate: {columns: [bpm], unit: bpm}\n"
    (tmp_path / "in" / "day.yaml").write_text(mapping)
    assert main(["twin", "alert", "in/day.csv", "--json"]) == EXIT_OK
    found = told(capsys)
    assert found["source"] == "table"
    assert [one["name"] for one in found["indicators"]] == ["resting_heart_rate"]
    assert found["indicators"][0]["nights"] == nights
    assert found["nights"]["first"] == "2026-01-01"
    assert found["indicators"][0]["last"] == pytest.approx(usual[-1], abs=0.02)
    assert found["alerts"][-1]["goes_on"]
    assert main(["twin", "alert", "in/day.csv", "indicators=resting_heart_rat"]) == EXIT_USER_ERROR
    assert "did you mean 'resting_heart_rate'?" in capsys.readouterr().err
    assert main(["twin", "alert", "in/day.csv", "indicators=resting_heart_rate", "--json"]) == EXIT_OK
    assert told(capsys)["night_by_night"] == found["night_by_night"]
    assert main(["twin", "alert", "in/day.csv", "night_hours=6"]) == EXIT_USER_ERROR
    assert "0-6 or 22-6" in capsys.readouterr().err
    for part in range(2):
        for ending in ("csv", "yaml"):
            text = (tmp_path / "in" / f"day.{ending}").read_text()
            if ending == "csv":
                rows = text.splitlines()[1:]
                text = "\n".join(["t,bpm", *rows[part * 2880 : (part + 1) * 2880]]) + "\n"
            (tmp_path / f"p{part}" / "x").parent.mkdir(exist_ok=True)
            (tmp_path / f"p{part}" / f"day.{ending}").write_text(text)
    (tmp_path / "parts").mkdir()
    for part in range(2):
        (tmp_path / f"p{part}").rename(tmp_path / "parts" / f"p{part}")
    assert main(["twin", "alert", "parts"]) == EXIT_USER_ERROR
    assert "person=all" in capsys.readouterr().err
    assert main(["twin", "alert", "parts", "person=2"]) == EXIT_USER_ERROR
    error = capsys.readouterr().err
    assert "There is no such person here" in error
    assert "expected: 0 to 1" in error
    assert main(["twin", "alert", "parts", "person=all", "--json"]) == EXIT_OK
    assert told(capsys)["night_by_night"] == found["night_by_night"]


@pytest.mark.real
@pytest.mark.parametrize("cohort", ["lifesnaps_daily", "welltory_covid19"])
def test_real_cohorts_one_by_position(real_data, tmp_path, capsys, monkeypatch, cohort):
    monkeypatch.chdir(tmp_path)
    folder = str(real_data / cohort)
    assert main(["twin", "alert", folder, f"cohort={cohort}"]) == EXIT_USER_ERROR
    error = capsys.readouterr().err
    assert "There are several people here" in error
    assert "person=N" in error
    person = {"lifesnaps_daily": 3, "welltory_covid19": 27}[cohort]
    assert main(["twin", "alert", folder, f"cohort={cohort}", f"person={person}", "--json"]) == EXIT_OK
    found = told(capsys)
    assert found["source"] == cohort
    assert found["nights"]["judged"] > 10
    page = (tmp_path / "runs" / "twin" / "alert-1" / "alert.html").read_text()
    assert "Resting heart rate (bpm)" in page
    assert main(["twin", "alert", folder, f"cohort={cohort}", "person=1000"]) == EXIT_USER_ERROR
    assert "There is no such person here" in capsys.readouterr().err

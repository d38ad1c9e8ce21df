"""`hdt-fm twin update FOLDER PATH exposures=true`: doses that are carried on, a law's effect, and what is refused."""

import csv
import io
import json
import zipfile
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from data_pipelines.exposures.tables.one import of_days
from hdt_fm.cli.exposure.dosing import BANK_D, ENOUGH, effect, folded
from hdt_fm.cli.exposure.law import law_of, read_law
from hdt_fm.cli.exposure.unseen import unseen_reach
from hdt_fm.cli.main import EXIT_OK, main
from hdt_fm.cli.twin.exposures import exposed, record
from hdt_fm.cli.twin.kept import open_twin
from hdt_fm.simulation.exposures import exposed_people
from hdt_fm.twin.state.exposures import take
from hdt_fm.twin.state.state import FACTS_NAME, load_state, save_state

FIRST = np.datetime64("2024-03-01", "D")
DAYS = 150
# Too few for a verdict or for floors, and enough for a law.
PEOPLE = 8
SAME = "same_person=true"


def daily(path, values, first=0, head="pm2_5"):
    """A row a day; NaN is an empty cell."""
    rows = [f"{FIRST + first + day}," + ("" if np.isnan(value) else f"{value:.3f}") for day, value in enumerate(values)]
    path.write_text("\n".join([f"date,{head}", *rows]) + "\n")
    return path


def dust(days=DAYS, seed=4, missing=0.2):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(days) < missing, np.nan, rng.uniform(5, 60, days).round(3))


def leaky(values, tau):
    """Dose and share seen in closed form: weights that fade back to the beginning of time."""
    weights = -np.expm1(-1 / tau) * np.exp(-np.arange(len(values))[::-1] / tau)
    known = np.isfinite(values)
    return (weights[known] @ values[known]) / weights[known].sum(), weights[known].sum()


@pytest.fixture(scope="module")
def law(tmp_path_factory):
    """Learned of a few people; enough to be kept and asked."""
    folder = tmp_path_factory.mktemp("law")
    lived = exposed_people("single", seed=3, people=PEOPLE, days=DAYS)
    days = FIRST + lived.day.astype(int)
    rows = [
        f"{person},{days[person, day]},{lived.exposures[person, 0, day]:.3f},{lived.outcome[person, day]:.3f}"
        for person in range(PEOPLE)
        for day in range(DAYS)
    ]
    (folder / "people.csv").write_text("\n".join(["person,date,pm2_5,hrv", *rows]) + "\n")
    words = ["learn", str(folder / "people.csv"), "outcome=hrv", "outcome_unit=ms", "next_day=true", "draws=39"]
    assert main(["exposure", *words, "--to", str(folder / "law")]) == EXIT_OK
    return folder / "law"


def doses(told, kind="pm2_5"):
    (one,) = [one for one in told["doses"]["exposures"] if one["kind"] == kind]
    return {dose["time_constant_d"]: dose for dose in one["doses"]}


def test_doses_are_leaky_means_with_what_was_seen(made, run, tmp_path):
    values = dust()
    told = run("update", "my", daily(tmp_path / "air.csv", values), "exposures=true", SAME)
    assert told["version"] == 2
    assert told["facts"]["kind"] == "exposures"
    assert told["facts"]["days new"] == np.isfinite(values).sum()
    found = doses(told)
    assert tuple(found) == BANK_D
    last = int(np.flatnonzero(np.isfinite(values))[-1])
    for tau, dose in found.items():
        value, seen = leaky(values[: last + 1], tau)
        assert dose["seen"] == pytest.approx(seen, abs=1e-3)
        assert dose["value"] == pytest.approx(value, rel=1e-6)
        first = int(np.flatnonzero(np.isfinite(values))[0])
        reach = unseen_reach(values[first : last + 1], tau)
        assert dose["high"] - dose["value"] == pytest.approx(reach, rel=1e-3, abs=1e-4)
        assert dose["value"] - dose["low"] == pytest.approx(reach, rel=1e-3, abs=1e-4)
    shown = run("show", "my")
    assert shown["doses"]["as_of"] == str(FIRST + last)
    assert shown["exposures"] == ["pm2_5"]
    assert doses(shown) == found
    assert run("show", "my", "dates=false")["doses"]["as_of"] is None


def test_a_dose_is_told_once_enough_was_seen(made, run, tmp_path):
    found = doses(run("update", "my", daily(tmp_path / "air.csv", [10.0, 20, 30]), "exposures=true", SAME))
    assert {tau: dose["value"] is not None for tau, dose in found.items()} == {
        tau: 1 - np.exp(-3 / tau) >= ENOUGH for tau in BANK_D
    }
    # Three days say nothing of how days spread.
    assert found[1.0]["low"] is None


def test_the_same_however_the_record_is_cut(made, run, refused, law, tmp_path):
    values = dust()
    whole = run("update", "my", daily(tmp_path / "air.csv", values), "exposures=true", f"law={law}", SAME)
    kept = exposed(open_twin(tmp_path / "my").state)["pm2_5"]
    run("rollback", "my", "to=1")
    for number, (first, last) in enumerate(((0, 40), (35, 41), (41, 110), (100, DAYS))):
        more = [f"law={law}", SAME] if not number else []
        told = run("update", "my", daily(tmp_path / "air.csv", values[first:last], first), "exposures=true", *more)
    assert doses(told) == doses(whole)
    assert told["doses"]["law"] == whole["doses"]["law"]
    again = exposed(open_twin(tmp_path / "my").state)["pm2_5"]
    assert set(again.held) == set(kept.held) >= {"bank_total", "law_total"}
    for name, held in kept.held.items():
        np.testing.assert_allclose(again.held[name], held, rtol=1e-9, atol=1e-12)
    assert "no day here that the twin does not know" in refused("update", "my", tmp_path / "air.csv", "exposures=true")


def test_a_law_is_kept_whole_and_says_what_the_head_says(made, run, law, tmp_path, capsys):
    values = dust(missing=0.0)
    told = run("update", "my", daily(tmp_path / "air.csv", values), "exposures=true", f"law={law}", SAME)
    head = read_law(law).head
    dosed, effect = head.dose(values[None, None])[0], head.effect(values[None, None])[0]
    (one,) = told["doses"]["law"]["exposures"]
    for name in ("value", "low", "high"):
        assert one[name] == pytest.approx(getattr(dosed, name)[0, 0, -1], rel=1e-6)
        assert told["doses"]["law"]["effect"][name] == pytest.approx(getattr(effect, name)[0, -1], rel=1e-6)
    # The folder of the law may go: the twin opens on any machine.
    assert open_twin(tmp_path / "my").state.exposure_law == read_law(law).facts
    assert told["facts"]["law"] == told["doses"]["law"]["digest"]
    assert main(["twin", "show", "my"]) == EXIT_OK
    text = capsys.readouterr().out
    assert f"law of the next day's hrv, learned from {PEOPLE} people" in text
    assert f"; {read_law(law).verdict('pm2_5')['verdict']}" in text
    assert ("NO RELIABLE EFFECT" in text) is not read_law(law).facts["reliable"]


def test_a_law_that_comes_later_begins_with_the_days_that_are_kept(made, run, law, tmp_path):
    values = dust()
    run("update", "my", daily(tmp_path / "air.csv", values), "exposures=true", SAME)
    later = run("update", "my", "exposures=true", f"law={law}")
    assert (later["version"], later["facts"]["kind"]) == (3, "law")
    run("rollback", "my", "to=1")
    at_once = run("update", "my", tmp_path / "air.csv", "exposures=true", f"law={law}", SAME)
    assert later["doses"]["law"] == at_once["doses"]["law"]
    # Given again, it changes nothing of what is held.
    state = open_twin(tmp_path / "my").state
    run("update", "my", "exposures=true", f"law={law}")
    assert record(open_twin(tmp_path / "my").state, dates=True) == record(state, dates=True)


def test_exposures_of_several_files_are_told_up_to_the_same_day(made, run, tmp_path):
    run("update", "my", daily(tmp_path / "air.csv", dust(40, missing=0.0)), "exposures=true", SAME)
    (tmp_path / "noise.csv").write_text(
        "time,noise\n"
        + "".join(f"{FIRST + 48 + hour // 24} {hour % 24:02d}:00,{50 + hour % 7}\n" for hour in range(49))
    )
    told = run("update", "my", tmp_path / "noise.csv", "exposures=true", SAME)
    assert {one["kind"]: one["days_behind"] for one in told["doses"]["exposures"]} == {"pm2_5": 10, "noise": 0}
    # Ten days in which nothing was seen: of the day's dose nothing is left, of the month's most.
    assert doses(told)[1.0]["value"] is None
    assert doses(told)[30.0]["seen"] == pytest.approx((1 - np.exp(-40 / 30)) * np.exp(-10 / 30), abs=1e-3)


def test_export_has_doses_days_and_all_that_is_held(made, run, law, tmp_path):
    values = dust()
    run("update", "my", daily(tmp_path / "air.csv", values), "exposures=true", f"law={law}", SAME)
    run("export", "my", "--to", "mine.zip")
    with zipfile.ZipFile("mine.zip") as packed:
        read = {name: packed.read(name).decode() for name in packed.namelist() if "exposure" in name}
        about = packed.read("README.txt").decode()
    rows = list(csv.DictReader(io.StringIO(read["exposures.csv"])))
    assert [row["told_by"].split(";")[0] for row in rows] == ["leaky mean"] * 5 + ["law"] * 2
    assert rows[-1]["exposure"] == "effect on hrv"
    assert {row["unit"] for row in rows} == {"ug/m^3", "ms"}
    days = list(csv.DictReader(io.StringIO(read["exposure_days.csv"])))
    assert [row["value"] for row in days[:4]] == ["" if np.isnan(one) else str(one) for one in values[:4]]
    assert json.loads(read["exposure_law.json"]) == read_law(law).facts
    assert "held_bank_total" in read["exposure_state.csv"]
    for name in read:
        assert f"{name}: " in about


def test_a_law_alone_is_exported_too(made, run, law, tmp_path):
    run("update", "my", "exposures=true", f"law={law}")
    run("export", "my", "--to", "mine.zip")
    with zipfile.ZipFile("mine.zip") as packed:
        assert json.loads(packed.read("exposure_law.json")) == read_law(law).facts
        assert "exposures.csv" not in packed.namelist()


def test_a_law_is_told_of_all_days_that_come_with_it_however_they_are_cut(law):
    """Of more than a year, and by a slow law: what was long ago still counts."""
    facts = read_law(law).facts
    slow = law_of({**facts, "law": {**facts["law"], "log_tau": [float(np.log(90.0))]}})
    values = np.concatenate([np.full(400, 100.0), np.full(400, 10.0)])
    found = []
    for cuts in ((0, 800), (0, 300, 600, 800)):
        kept = None
        for first, last in pairwise(cuts):
            taken = take(kept, of_days("pm2_5", 19_000 + first, values[first:last]))
            kept = replace(taken.after, held=folded(taken.after, taken.closed, slow))
        found.append(effect({"pm2_5": kept}, slow, kept.day)["exposures"][0])
    assert found[0] == found[1]
    assert found[0]["value"] == pytest.approx(leaky(values, 90.0)[0], rel=0.02)


def test_a_twin_from_before_laws_opens(made, tmp_path):
    state = open_twin(made).state
    (tmp_path / "old").mkdir()
    save_state(state, tmp_path / "old")
    facts = json.loads((tmp_path / "old" / FACTS_NAME).read_text())
    del facts["exposure_law"]
    (tmp_path / "old" / FACTS_NAME).write_text(json.dumps(facts))
    found = load_state(tmp_path / "old")
    assert (found.exposure_law, found.exposures, record(found, dates=True)) == (None, {}, None)


def test_it_stays_of_one_size(made, run, law, tmp_path):
    run("update", "my", daily(tmp_path / "air.csv", dust(400)), "exposures=true", f"law={law}", SAME)
    first = run("show", "my")["mb"]
    run("update", "my", daily(tmp_path / "air.csv", dust(500, seed=9), 400), "exposures=true")
    assert run("show", "my")["mb"] == pytest.approx(first, abs=0.001)
    assert open_twin(tmp_path / "my").versions.entries[-1].told.facts["exposures"] == "pm2_5"


def test_a_recording_of_light_goes_through_its_sub_model(made, run, refused, tmp_path):
    hours = [f"2/{20 + hour // 24}/2019,{hour % 12 or 12}:00:00 {'AP'[hour % 24 > 11]}M" for hour in range(60)]
    lines = [
        "Date,Time,Activity,White Light,Sleep/Wake",
        *(f"{at},5,{2000 * at.endswith('12:00:00 PM')},1" for at in hours),
    ]
    (tmp_path / "watch.csv").write_text("\n".join(lines) + "\n")
    told = run("update", "my", tmp_path / "watch.csv", "exposures=true", "utc_offset_s=0", SAME)
    # Two whole days and half a third, of which nothing is said.
    kept = exposed(open_twin(tmp_path / "my").state)
    assert [*kept["time_outdoors"].days, kept["time_outdoors"].value] == [60, 60]
    assert doses(told, "time_outdoors")[1.0]["value"] == pytest.approx(60)
    assert "does not go with a recording" in refused("update", "my", "watch.csv", "exposures=true", "units=light:klux")


def test_one_of_a_cohort(made, run, refused, tmp_path):
    (tmp_path / "set").mkdir()
    tables = {
        "participants": "user_code,gender,age_range,city,country,symptoms_onset\nu1,m,25-34,X,Y,\nu2,f,45-54,X,Y,\n",
        "weather": "user_code,day,avg_temperature_C,atmospheric_pressure,humidity,precip_intensity,clouds\n"
        + "".join(f"u{n % 2 + 1},2020-04-{10 + n // 2},{n},1014,60,0.01,50\n" for n in range(20)),
    }
    for name, text in tables.items():
        (tmp_path / "set" / f"{name}.csv").write_text(text)
    words = ("update", "my", "set", "exposures=true", "cohort=welltory_covid19", SAME)
    told = run(*words, "person=1")
    assert told["facts"]["exposures"] == "clouds, humidity, pressure, rain, temperature"
    assert {row["days_known"] for row in told["doses"]["exposures"]} == {10}
    assert "another person" in refused(*words, "person=0")
    assert "several people" in refused(*words)
    assert "no such person" in refused(*words, "person=2")


@pytest.mark.parametrize(
    ("text", "words", "error"),
    [
        ("date,ozone\n2026-01-01,5\n", (), "same_person=true"),
        ("date,ozon\n2026-01-01,5\n", (SAME,), "did you mean 'ozone'"),
        ("date,ozone [ppm]\n2026-01-01,5\n", (SAME,), "'ppm' is not known"),
        ("date,temperature\n2026-01-01,290\n", (SAME,), "Most numbers of temperature"),
        ("id,date,ozone\na,2026-01-01,5\nb,2026-01-01,6\n", (SAME,), "several people"),
        ("date,ozone\n2026-01-01,5\n2026-01-01,6\n", (SAME,), "A date comes twice"),
        ("day,ozone\n2126-01-01,5\n", (SAME,), "still to come"),
        ("date,mood\n2026-01-01,5\n", (SAME,), "no column of an exposure"),
        ("date,ozone\n", (SAME,), "no rows"),
        ("date,ozone\n2026-01-01,\n", (SAME,), "no day here"),
        ("", (SAME,), "no header line"),
        ("date,ozone\n2026-01-01,5\n", (SAME, "law=nowhere"), "no law of exposures"),
        ("date,ozone\n2026-01-01,5\n", (SAME, "checkpoint=x"), "does not go with exposures"),
        ("date,ozone\n2026-01-01,5\n", (SAME, "utc_offset_s=0"), "does not go with a table"),
        ("date,ozone\n2026-01-01,5\n", (SAME, "reading_min=0"), "stands for no time"),
        ("date,ozone\n2026-01-01,5\n", (SAME, "units=ozone:feet"), "'feet' is not known"),
        ("date,ozone\n2026-01-01,5\n", (SAME, "cohort=azt1d"), "Unknown cohort"),
        ("date,ozone\n2026-01-01,5\n", (SAME, "reader=fitabase"), "what to do"),
    ],
)
def test_what_is_refused_leaves_the_twin_as_it_was(text, words, error, made, run, refused, tmp_path):
    (tmp_path / "air.csv").write_text(text)
    assert error in refused("update", "my", tmp_path / "air.csv", "exposures=true", *words)
    assert run("show", "my")["version"] == 1


def test_settings_of_exposures_do_not_go_with_readings(made, refused, write):
    assert "say exposures=true too" in refused("update", "my", write(0), "reading_min=5")
    assert "say exposures=true too" in refused("update", "my", "law=x")
    assert "nothing at this path" in refused("update", "my", "nothing.csv", "exposures=true")


def test_days_of_somebody_else_are_refused(made, run, refused, tmp_path):
    values = dust(70, missing=0.0)
    run("update", "my", daily(tmp_path / "air.csv", values[:60]), "exposures=true", SAME)
    again = daily(tmp_path / "otherwise.csv", values)
    said = refused("update", "my", again, "exposures=true")
    assert "an export with the same name and format\n" in said  # days that agree are a whole town's
    other = daily(tmp_path / "air.csv", dust(70, seed=8, missing=0.0))
    assert "not of the person" in refused("update", "my", other, "exposures=true", SAME)

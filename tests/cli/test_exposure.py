"""`hdt-fm exposure` as typed: simulated people whose law is known, people in whom nothing acts, and wrong tables."""

import importlib.util
import json

import numpy as np
import pytest

from hdt_fm.cli.exposure.doses import accumulated
from hdt_fm.cli.exposure.law import MOST_BYTES, law_of, read_law
from hdt_fm.cli.exposure.unseen import LEAST_DAYS, unseen_reach
from hdt_fm.cli.main import EXIT_OK, EXIT_USER_ERROR, main
from hdt_fm.evaluation.evolve.exposure_doses import leaky_and_windowed
from hdt_fm.schema.errors import CheckpointError, ReaderError
from hdt_fm.schema.privacy import private_traces
from hdt_fm.simulation.exposures import KNOT, SLOPE, exposed_people

PEOPLE, DAYS = 16, 220
FIRST = np.datetime64("2024-01-01", "D")
QUICK = ("draws=39", "outcome=hrv", "outcome_unit=ms")


def table(path, *, acting=True, ozone=False, people=PEOPLE):
    """A row a person and day of the simulated world; with `ozone` beside, which does nothing."""
    lived, rng = exposed_people("single", seed=1, people=people, days=DAYS), np.random.default_rng(0)
    outcome = lived.outcome - (0 if acting else lived.effect)
    rows = ["person,date,hrv,PM2.5 [mg/m^3]" + ",ozone [ppb]" * ozone]
    for person in range(people):
        days = FIRST + lived.day[person].astype(int)
        for day, hrv, dust in zip(days, outcome[person], lived.exposures[person, 0], strict=True):
            rows.append(f"p{person:02d},{day},{hrv:.3f},{dust / 1e3:.6f}" + f",{rng.uniform(5, 50):.1f}" * ozone)
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """Folders of a law that acts, with an exposure beside that does nothing, and of one that does not act."""
    folder = tmp_path_factory.mktemp("laws")
    for name, acting, ozone in (("acts", True, True), ("none", False, False)):
        source = table(folder / f"{name}.csv", acting=acting, ozone=ozone)
        assert main(["exposure", "learn", str(source), *QUICK, "--to", str(folder / name)]) == EXIT_OK
    return folder


@pytest.fixture
def refused(capsys):
    def typed(*words):
        assert main(["exposure", *map(str, words)]) == EXIT_USER_ERROR
        return capsys.readouterr().err

    return typed


def shown(folder, capsys):
    assert main(["exposure", "show", str(folder)]) == EXIT_OK
    return capsys.readouterr().out


def test_a_law_that_acts_is_found_with_its_numbers(learned, capsys):
    facts = read_law(learned / "acts").facts
    number = {one["name"]: one for one in facts["numbers"]}
    for name, true, unit in (
        ("time constant of pm2_5", 21.0, "d"),
        ("knot of pm2_5", 30.0 + 10 * KNOT, "ug/m^3"),
        ("pm2_5 above the knot", SLOPE / 10, "ms per ug/m^3"),
    ):
        assert number[name]["low"] < true < number[name]["high"], name
        assert number[name]["unit"] == unit
    assert (facts["people"], facts["days"]) == (PEOPLE, PEOPLE * DAYS)
    assert facts["reliable"]
    verdicts = {kind: one["reliable"] for kind, one in facts["verdicts"].items()}
    assert verdicts == {"pm2_5": True, "ozone": False}
    text = shown(learned / "acts", capsys)
    assert "VERDICT: beyond placebo and season: pm2_5" in text
    assert "ozone: no reliable effect" in text
    assert "no proof that the one makes the other" in text
    # Floors stand beside, and same-day values know little of a dose of weeks.
    share = {one["model"]: one["value"] for one in facts["explained"]}
    assert {"same day", "7-day mean", "30-day mean", "bank of 7", "cross-basis", "the law"} <= set(share)
    assert share["the law"] > share["same day"] > 0


def test_where_nothing_acts_it_says_so(learned, capsys):
    law = read_law(learned / "none")
    assert not law.facts["reliable"]
    assert law.facts["verdict"] == "no reliable effect"
    text = shown(learned / "none", capsys)
    assert "VERDICT: no reliable effect\n  pm2_5: no reliable effect (p " in text
    assert "to look at and not to go by" in text


def test_the_folder_tells_nobody_and_comes_back(learned, capsys):
    text = "".join(path.read_text() for path in sorted((learned / "acts").iterdir()))
    assert not private_traces(text, forbidden=[f"p{person:02d}" for person in range(PEOPLE)], dates=True)
    law = read_law(learned / "acts")
    assert law.head.chance["pm2_5"] == law.verdict("pm2_5")["chance"]
    assert law_of(json.loads(json.dumps(law.facts))).digest == law.digest
    evidence = json.loads((learned / "acts" / "evidence.json").read_text())
    rows = [row for one in evidence["results"] for row in one["rows"]]
    assert {row["model"] for row in rows} >= {"person mean", "season only", "pm2_5", "cross-basis", "the law"}
    assert main(["exposure", "show", str(learned / "acts"), "--json"]) == EXIT_OK
    told = json.loads(capsys.readouterr().out)
    assert told.pop("folder") == str(learned / "acts")
    assert told == law.facts


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        ({"format": 99}, "later hdt_fm"),
        ({"format": None}, "no law here"),
        ({"verdicts": {}}, "cannot be read"),
        ({"law": {"format": 0}}, "another format"),
        ({"format": True}, "no law here"),
        ({"exposures": 3}, "cannot be read"),
        ({"reliable": None}, "cannot be read"),
        ({"reliable": True}, "cannot be read"),  # no exposure of it is
        ({"misfit": float("nan")}, "cannot be read"),
        ({"beside": float("inf")}, "cannot be read"),
        ({"verdicts": {"pm2_5": {}}}, "cannot be read"),
        ({"verdict": ["x"]}, "cannot be read"),
        ({"people": "many"}, "cannot be read"),
        ({"numbers": [1]}, "cannot be read"),
        ({"notes": None}, "cannot be read"),
        ({"outcome": "hrv\x1b[2J"}, "cannot be read"),
        ({"outcome": "/home/x/hrv.csv"}, "cannot be read"),
        ({"outcome": "h" * 3000}, "cannot be read"),
    ],
)
def test_a_harmed_law_is_refused(learned, tmp_path, harm, words):
    facts = {**read_law(learned / "none").facts, **harm}
    (tmp_path / "dose.json").write_text(json.dumps(facts))
    with pytest.raises(CheckpointError, match=words):
        read_law(tmp_path)


def test_no_law_in_a_folder(tmp_path, refused):
    with pytest.raises(ReaderError, match="no law of exposures"):
        read_law(tmp_path)
    for text in ("{", "[" * 100_000 + "]" * 100_000, " " * (MOST_BYTES + 1)):
        (tmp_path / "dose.json").write_text(text)
        assert "hdt-fm exposure learn" in refused("show", tmp_path)


def test_accumulators_of_heads_are_those_of_the_protocol():
    rng = np.random.default_rng(3)
    values = rng.normal(size=(4, 3, 50))
    values[rng.random(values.shape) < 0.5] = np.nan
    np.testing.assert_allclose(accumulated(values), leaky_and_windowed(values), rtol=1e-12, atol=1e-12)


def test_what_lies_before_a_record_is_as_far_off_as_can_be():
    days = np.random.default_rng(0).normal(20, 5, 60)
    for tau in (7.0, 30.0):
        expected = np.exp(-60 / tau) * 1.96 * np.sqrt(2) * days.std(ddof=1)
        assert unseen_reach(days, tau) == pytest.approx(expected, rel=1e-9)
    assert unseen_reach(np.full(40, 3.0), 30.0) == 0
    assert np.isnan(unseen_reach(np.where(np.arange(40) < LEAST_DAYS - 1, days[:40], np.nan), 7.0))


@pytest.mark.parametrize("keep", [0.0, 0.9])
def test_gaps_leave_open_what_days_beside_them_do_not_tell(keep):
    rng, tau, off, reach = np.random.default_rng(1), 7.0, [], []
    for _ in range(120):
        days = rng.normal(size=200)
        for day in range(1, 200):
            days[day] = keep * days[day - 1] + np.sqrt(1 - keep**2) * days[day]
        weights = np.exp(-np.arange(200)[::-1] / tau)
        seen = rng.random(200) > 0.4
        off.append(weights @ days / weights.sum() - weights[seen] @ days[seen] / weights[seen].sum())
        reach.append(unseen_reach(np.where(seen, days, np.nan), tau))
    held = np.mean(np.abs(off) <= reach)
    assert 0.9 <= held < 1
    # Half of the width should be two SDs of what it is of; it is wider where few days are of their own.
    assert 1.8 < np.mean(reach) / np.std(off) < (2.3 if keep == 0 else 4)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("lear",), "did you mean 'learn'"),
        (("learn",), None),
        (("learn", "x.csv", "--to", "f"), "what exposures may do something to"),
        (("learn", "x.csv", "outcome=y"), "a folder of its own"),
        (("learn", "x.csv", "outcome=y", "--to", "."), "a folder of its own"),
        (("learn", "x.csv", "outcome=y", "to=f", "form=hinge"), "did you mean 'forms'"),
        (("learn", "nothing.csv", "outcome=y", "--to", "f"), "nothing at this path"),
        (("learn", "x.csv", "x.csv", "outcome=y", "--to", "f"), "takes one path"),
        (("learn", "x.csv", "outcome=y", "--to", "f", "draws=3"), "So few placebos"),
        (("learn", "x.csv", "outcome=y", "--to", "f", "forms=bend"), "did you mean 'bent'"),
        (("learn", "x.csv", "outcome=y", "--to", "f", "season=mine"), "Unknown value of season"),
        (("learn", "x.csv", "outcome=y", "--to", "f", "pairs=ozone*ozone"), "not of two exposures"),
        (("learn", "x.csv", "outcome=y", "--to", "f", "pairs=ozone*no2"), "Unknown exposure 'no2'"),
        (("learn", "x.csv", "outcome=y", "--to", "f", "exposures=no2"), "Unknown exposure 'no2'"),
        (("learn", "x.csv", "outcome=y", "--to", "f", "units=ozone"), "units cannot be read"),
        (("learn", "x.csv", "outcome=y", "--to", "f", "units=ozone:feet"), "'feet' is not known"),
        (("learn", "x.csv", "outcome=z", "--to", "f"), "Unknown column 'z'"),
        (("learn", "x.csv", "outcome=y", "--to", "f"), "Too few people have days to learn from"),
        (("learn", "x.csv", "outcome=y", "--to", "f", "cohort=azt1d"), "Unknown cohort"),
        (("learn", "x.csv", "outcome=someone@some.where", "--to", "f"), "tell of a person"),
        (("learn", "x.csv", "outcome=y\a", "--to", "f"), "cannot be printed"),
        (("learn", "x.csv", "outcome=huge", "--to", "f"), "too large"),
        (("learn", "x.csv", "outcome=y", "--to", "f", "exposures=ozone,ozone"), "Too few people have days"),
        (("learn", "x.csv", "outcome=y", "--to", "f", "--dry-run"), "composes no config"),
    ],
)
def test_mistakes_are_named_and_leave_nothing(words, error, refused, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.csv").write_text("person,date,ozone,y,huge\na,2026-01-01,7,1,1e300\nb,2026-01-01,7,1,\n")
    if error is None:
        assert main(["exposure", *words]) == EXIT_OK
        assert "next_day=true" in capsys.readouterr().out
    else:
        assert error in refused(*words)
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


def test_a_public_set_in_place_of_a_table(refused, tmp_path):
    (tmp_path / "participants.csv").write_text(
        "user_code,gender,age_range,city,country,symptoms_onset\nu1,m,25-34,X,Y,\n"
    )
    (tmp_path / "weather.csv").write_text(
        "user_code,day,avg_temperature_C,atmospheric_pressure,humidity,precip_intensity,clouds\n"
        "u1,2020-04-26,12,1014,60,0.01,50\nu1,2020-04-28,14,,70,0,50\n"
    )
    words = ("learn", tmp_path, "cohort=welltory_covid19", "--to", tmp_path / "law")
    assert "Unknown outcome 'sleep'" in refused(*words, "outcome=sleep")
    assert "does not go with a cohort" in refused(*words, "outcome=spot pulse", "units=rain:cm")
    # It is read, and one person teaches nothing.
    assert "Too few people have days" in refused(*words, "outcome=spot pulse", "exposures=temperature,rain")


def test_the_benchmark_cuts_and_asks_twins(repo):
    spec = importlib.util.spec_from_file_location("evolve_expose", repo / "scripts" / "evolve_expose.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    result = module.cuts(1)
    assert result.find("leaky doses", "largest difference by cutting").value < 1e-9
    assert result.find("leaky doses", "kept after ten years").value < 5_000
    held = module.doses(1)
    assert {row.what for row in held.rows} == {f"mean that fades over {tau} d" for tau in (1, 3, 7, 14, 30)}
    assert all(0 <= row.value <= 100 for row in held.rows)


def test_help_names_words_and_exposures(capsys):
    assert main(["exposure"]) == main(["exposure", "show"]) == main(["exposure", "learn", "--help"]) == EXIT_OK
    out = capsys.readouterr().out
    for word in ("learn", "show FOLDER", "pm2_5", "welltory_covid19", "law=FOLDER"):
        assert word in out

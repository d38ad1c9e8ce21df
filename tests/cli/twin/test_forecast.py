"""`hdt-fm twin forecast PATH`, as typed: one person's glucose in, the next hours out."""

import json
import os
import re
from dataclasses import asdict
from html.parser import HTMLParser

import numpy as np
import pytest

from hdt_fm.cli.main import EXIT_INTERRUPTED, EXIT_OK, EXIT_USER_ERROR, main
from hdt_fm.cli.twin import readings
from hdt_fm.cli.twin.refusals import check_habits
from hdt_fm.evaluation.backtest.floors import LEVELS
from hdt_fm.metrics.events import EVENTS
from hdt_fm.schema.preparation import ModalityPreparation
from hdt_fm.schema.privacy import private_traces
from hdt_fm.schema.recording import Channel, Recording, Visit
from hdt_fm.schema.series import ForecastTask
from hdt_fm.schema.subject import SubjectKey
from tests.cli.twin.tiny_twin import ASKED, DAY, KNOWN, STEP_S, USUAL, saved, wave

BEGIN = int(np.datetime64("2026-03-01T00:02:00").astype("datetime64[s]").astype(np.int64))
# Beside what the forecast is told of each of two events: four shares, hours since, two spans of the day.
RISK = {
    "known": KNOWN + 2 * 7,
    "in_features": 8,
    "horizons": 2,
    "events": 2,
    "width": 8,
    "hidden": 8,
    "members": 1,
    "asked": ASKED,
    "described": [asdict(event) for event in EVENTS["glucose"]],
}
NAMES = ["forecast.html", "forecast.json", "forecast.png"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("model") / "checkpoint")


@pytest.fixture(scope="module")
def beside(tmp_path_factory):
    """The same with a head of risks, which says the same of every moment."""
    return saved(tmp_path_factory.mktemp("model") / "checkpoint", risk=RISK)


def day_wave(days=6.0, step_s=300, rough=3.0, level=140.0, seed=0):
    """mg/dL, of so many days."""
    return wave(seed, level, rough, round(days * DAY / step_s), step_s)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """(values, step, further lines of the mapping) -> path of a mapped table; the current folder is an empty one."""
    monkeypatch.chdir(tmp_path)

    def written(values=None, step_s=300, mapping="utc_offset_s: 3600\n", keep=None, unit="mg/dL", upto=None):
        values = day_wave() if values is None else np.asarray(values, dtype=np.float64)
        times = BEGIN + np.arange(len(values)) * step_s
        kept = np.ones(len(values), dtype=bool) if keep is None else keep
        if upto is not None:
            kept = kept & (times + 3600 <= upto)
        folder = tmp_path / "in"
        folder.mkdir(exist_ok=True)
        rows = [f"{time},{value:.1f}" for time, value in zip(times[kept], values[kept], strict=True)]
        (folder / "glucose.csv").write_text("\n".join(["t,g", *rows]) + "\n")
        told = f"time: {{column: t, unit: s}}\nsampling_rate_hz: {1 / step_s!r}\n{mapping}signals:\n"
        (folder / "glucose.yaml").write_text(told + f"  glucose: {{columns: [g], unit: {unit}}}\n")
        return folder / "glucose.csv"

    return written


@pytest.fixture
def forecast(checkpoint, capsys, monkeypatch):
    """(path, settings) -> the content of forecast.json; no picture is drawn, which takes a third of the time."""
    monkeypatch.setattr("hdt_fm.twin.forecast.page.fan_picture", lambda told: b"")

    def asked(path, *settings):
        own = () if any(word.startswith("checkpoint") for word in settings) else (f"checkpoint={checkpoint}",)
        assert main(["twin", "forecast", str(path), *own, "--json", *settings]) == EXIT_OK
        return json.loads(capsys.readouterr().out)

    return asked


@pytest.fixture
def refused(checkpoint, capsys, tmp_path):
    """(path, settings) -> the error's words; nothing is written."""

    def asked(path, *settings):
        words = [word for word in settings if not word.startswith("checkpoint")]
        where = next((word for word in settings if word.startswith("checkpoint")), f"checkpoint={checkpoint}")
        assert main(["twin", "forecast", str(path), where, *words]) == EXIT_USER_ERROR
        assert not (tmp_path / "runs").exists()
        return capsys.readouterr().err

    return asked


def clock(text):
    return np.datetime64(text).astype("datetime64[s]").astype(np.int64)


def test_from_a_recording_to_three_files_and_words(write, checkpoint, tmp_path, capsys):
    assert main(["twin", "forecast", str(write()), f"checkpoint={checkpoint}"]) == EXIT_OK
    out = capsys.readouterr().out
    folder = tmp_path / "runs" / "twin" / "forecast-1"
    assert sorted(one.name for one in folder.iterdir()) == NAMES
    found = json.loads((folder / "forecast.json").read_text())
    # The last reading was at 23:57 UTC; an hour later by the local clock.
    assert found["newest"] == {
        "time": "2026-03-07T00:57",
        "value": pytest.approx(day_wave()[-1], abs=0.1),
        "age_min": 0,
    }
    assert [(one["min"], one["time"]) for one in found["ahead"]] == [(30, "2026-03-07T01:27"), (60, "2026-03-07T01:57")]
    for one in found["ahead"]:
        assert one["low"] == one["quantiles"][0] < one["point"] < one["quantiles"][-1] == one["high"]
        assert set(one["chances"]) == {"below 70 mg/dL", "above 180 mg/dL"}
        assert 0.7 < one["lately"]["held"] < 0.9
        assert 200 < one["lately"]["forecasts"] <= 6 * 48
    assert len(found["readings"]) == 145
    assert found["readings"][-1] == {"min": 0.0, "value": found["newest"]["value"]}
    low, high = (found["ahead"][1][name] for name in ("low", "high"))
    assert f"In 60 min (01:57): about {found['ahead'][1]['point']:.0f} mg/dL; 8 times in 10 between" in out
    assert f"between {low:.0f} and {high:.0f}. Chance of below 70 mg/dL: under 1 %" in out
    assert "interval held in" in out
    assert "promised: 80 %" in out
    assert "no medical advice" in out
    assert "every 5 min were brought to 15 min" in out
    picture = (folder / "forecast.png").read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(picture) > 10_000
    assert b"Matplotlib" not in picture
    assert not [one for one in (tmp_path / "runs" / "twin").iterdir() if one != folder]


def test_the_page_needs_nothing_else_and_tells_nobody(write, checkpoint, tmp_path):
    path = write()
    assert main(["twin", "forecast", str(path), f"checkpoint={checkpoint}", "--to", "out"]) == EXIT_OK
    tags = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            tags.append((tag, dict(attrs)))

    page = (tmp_path / "out" / "forecast.html").read_text()
    Reader().feed(page)
    assert {"main", "svg", "table", "h1", "title", "desc"} <= {tag for tag, _ in tags}
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in tags}
    assert not [one for _, one in tags if {"src", "href"} & set(one) or any(name.startswith("on") for name in one)]
    for text in (
        "prefers-color-scheme: dark",
        "no medical advice",
        "70 mg/dL",
        "180 mg/dL",
        'role="img"',
        "local time",
    ):
        assert text in page
    for name in ("forecast.html", "forecast.json"):
        text = (tmp_path / "out" / name).read_text()
        assert not private_traces(text)
        assert "url(" not in text
        for trace in (
            str(tmp_path),
            "glucose.csv",
            str(checkpoint),
            SubjectKey.public().pseudonym("glucose", "glucose"),
        ):
            assert trace not in text


def test_the_figure_stands_where_the_numbers_say(write, forecast, tmp_path):
    found = forecast(write(), "--to", "out")
    page = (tmp_path / "out" / "forecast.html").read_text()
    polygons = re.findall(r'<polygon class="fan" points="([^"]+)"', page)
    assert len(polygons) == len(LEVELS) // 2
    dots = [float(y) for y in re.findall(r'class="dot" cx="[^"]+" cy="([^"]+)"', page)]
    slope, start = np.polyfit([one["value"] for one in found["readings"]], dots, 1)
    assert slope < 0
    ends = [float(point.split(",")[1]) for point in polygons[0].split()]
    wanted = [one["high"] for one in found["ahead"]] + [one["low"] for one in found["ahead"]][::-1]
    np.testing.assert_allclose([*ends[1:3], *ends[3:5]], slope * np.array(wanted) + start, atol=0.2)
    lines = [float(y) for y in re.findall(r'class="limit" x1="[^"]+" x2="[^"]+" y1="([^"]+)"', page)]
    np.testing.assert_allclose(lines, slope * np.array([70.0, 180.0]) + start, atol=0.2)
    assert 'text-anchor="middle">00:00</text>' in page


def test_later_readings_change_nothing(write, forecast):
    at = "2026-03-05T14:31"
    wild = day_wave()
    whole = forecast(write(), f"at={at}")
    wild[BEGIN + np.arange(len(wild)) * 300 + 3600 > clock(at)] = 400.0
    other = forecast(write(wild), f"at={at}")
    cut = forecast(write(upto=clock(at)), f"at={at}")
    for one in (whole, other, cut):
        one.pop("folder")
    assert whole == other == cut
    assert whole["newest"]["time"] == "2026-03-05T14:27"
    assert whole["newest"]["age_min"] == 4.0
    assert forecast(write(), "at=2026-03-05T14:32")["newest"]["time"] == "2026-03-05T14:32"


def test_who_was_missed_has_the_wider_interval(write, forecast):
    smooth, rough = (forecast(write(day_wave(rough=rough))) for rough in (1.0, 9.0))
    for calm, wild in zip(smooth["ahead"], rough["ahead"], strict=True):
        assert calm["own_shift"] < 0 < wild["own_shift"]
        assert calm["high"] - calm["low"] < wild["high"] - wild["low"]


def test_less_than_a_day_says_that_the_interval_is_that_of_others(write, forecast, checkpoint, capsys):
    path = write(day_wave(0.5))
    assert forecast(path)["own_interval_learned"] is False
    assert main(["twin", "forecast", str(path), f"checkpoint={checkpoint}"]) == EXIT_OK
    assert "less than a day of readings" in capsys.readouterr().out
    assert forecast(write(day_wave(1.5)))["own_interval_learned"] is True
    path = write(day_wave(0.13))
    assert forecast(path)["ahead"][0]["lately"] == {
        "forecasts": 0,
        "held": None,
        "mean_error": None,
        "events": {name: {"expected": 0.0, "came": 0} for name in ("below 70 mg/dL", "above 180 mg/dL")},
    }
    assert main(["twin", "forecast", str(path), f"checkpoint={checkpoint}"]) == EXIT_OK
    assert "no forecast has come true yet" in capsys.readouterr().out


def test_without_dates_there_is_no_clock(write, checkpoint, tmp_path, capsys):
    assert main(["twin", "forecast", str(write()), f"checkpoint={checkpoint}", "dates=false", "--to", "out"]) == EXIT_OK
    out = capsys.readouterr().out
    assert "In 60 min: about" in out
    for text in (out, *((tmp_path / "out" / name).read_text() for name in NAMES[:2])):
        assert "2026" not in text
        assert not re.search(r"\b\d\d:\d\d\b", text)
    assert "from the newest reading" in (tmp_path / "out" / "forecast.html").read_text()


def test_json_is_one_object_and_the_file(write, forecast, tmp_path):
    found = forecast(write(), "--to", "out")
    assert found.pop("folder") == "out"
    assert found == json.loads((tmp_path / "out" / "forecast.json").read_text())
    (tmp_path / "out" / "own.txt").write_text("mine")
    assert forecast(write(day_wave(2.0)), "--to", "out")["newest"] != found["newest"]
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == [*NAMES, "own.txt"]


@pytest.mark.parametrize(
    ("mapping", "settings", "clock", "time"),
    [
        ("utc_offset_s: 3600\n", [], "local", "2026-03-07T00:57"),
        ("", [], "utc", "2026-03-06T23:57"),
        ("", ["utc_offset_s=-7200"], "local", "2026-03-06T21:57"),
        ("utc_offset_s: 3600\n", ["utc_offset_s=0"], "local", "2026-03-07T00:57"),
    ],
)
def test_which_clock_is_told(write, forecast, mapping, settings, clock, time):
    found = forecast(write(mapping=mapping), *settings)
    assert (found["clock"], found["newest"]["time"]) == (clock, time)


@pytest.mark.parametrize(("step_s", "less"), [(300, 0), (300, 1), (300, 2), (450, 1), (900, 0)])
def test_the_newest_reading_is_where_the_forecast_starts(write, forecast, step_s, less):
    values = day_wave(2.0, step_s)[: -less or None]
    found = forecast(write(values, step_s))
    assert clock(found["newest"]["time"]) == pytest.approx(BEGIN + 3600 + (len(values) - 1) * step_s, abs=59)
    assert found["newest"]["value"] == pytest.approx(values[-1], abs=0.2)


def recording(begin_s, values, step_s=300, missing=None, **more):
    observed = np.ones(len(values), dtype=bool) if missing is None else ~missing
    kept = np.where(observed, values, 0.0).astype(np.float32)[None]
    who = SubjectKey.public().pseudonym("a", "b")
    return Recording(
        modality="glucose",
        channels=(Channel("cgm", "mg/dL"),),
        sampling_rate_hz=1 / step_s,
        start_ns=begin_s * 10**9,
        values=kept,
        observed=observed,
        subject=who,
        device="cgm",
        body_site="arm",
        **more,
    )


def read(monkeypatch, *recordings, **settings):
    visits = [Visit(one.subject, {"glucose": one}, source="dexcom_clarity") for one in recordings]
    monkeypatch.setattr(readings, "visits_of_one", lambda *_, **expected: (visits, "dexcom_clarity"))
    task, one = ForecastTask.of(ASKED), ModalityPreparation(sampling_rate_hz=1 / STEP_S)
    return readings.read(readings.Path("."), {"reader": "x", **settings}, task, one)


def test_of_several_recordings_the_newest_until_then(monkeypatch):
    early, late = recording(BEGIN, day_wave(2.0, level=150)), recording(BEGIN + 9 * DAY, day_wave(3.0, level=120))
    found = read(monkeypatch, late, early)
    assert found.notes[-1] == "the newest of 2 recordings"
    assert found.clock == "device"
    assert found.series[-1].values[-1] == pytest.approx(day_wave(3.0, level=120)[-1], abs=0.2)
    found = read(monkeypatch, late, early, at="2026-03-03T00:00")
    assert found.series[-1].values[-1] == pytest.approx(day_wave(2.0, level=150)[-1], abs=0.2)
    assert len(found.notes) == 1


def test_a_gap_of_days_parts_the_series_and_a_shorter_one_does_not(monkeypatch):
    values, places = day_wave(9.0), np.arange(9 * 288)
    for hours, parts in ((47, 1), (49, 2)):
        missing = (places >= 700) & (places < 700 + 12 * hours)
        found = read(monkeypatch, recording(BEGIN, values, missing=missing))
        assert len(found.series) == parts
        assert found.readings_s == pytest.approx((~missing).sum() * 300, rel=0.01)
        for one in found.series:
            assert one.observed[0]
            assert one.observed[-1]
            seen = (np.flatnonzero(one.observed) * STEP_S + one.start_s - BEGIN) / 300
            assert not missing[np.floor(seen + 1e-6).astype(int)].any()


def test_only_the_last_weeks_are_read(monkeypatch):
    long = day_wave(40.0)
    found, whole = read(monkeypatch, recording(BEGIN, long)), recording(BEGIN + 12 * DAY, long[12 * 288 :])
    assert found.readings_s == pytest.approx(28 * DAY, abs=STEP_S)
    other = read(monkeypatch, whole)
    np.testing.assert_array_equal(found.series[0].values, other.series[0].values)
    assert found.series[0].start_s == other.series[0].start_s


def test_a_head_is_missing(write, refused, tmp_path):
    bare = saved(tmp_path / "bare", {})
    error = refused(write(), f"checkpoint={bare}")
    assert "no head that forecasts glucose" in error
    assert "got: no head" in error
    assert "hdt-fm shard experiment=t1d_uom" in error
    other = saved(
        tmp_path / "other",
        {"forecast_heart_rate": {**ASKED, "modality": "heart_rate", "unit": "bpm"}},
        modality="heart_rate",
        unit="bpm",
    )
    assert "got: forecast_heart_rate" in refused(write(), f"checkpoint={other}")
    wrong = saved(tmp_path / "wrong", {"forecast_glucose": {**ASKED, "modality": "heart_rate"}})
    assert "got: heart_rate" in refused(write(), f"checkpoint={wrong}")
    assert "no such folder" in refused(write(), "checkpoint=nowhere")
    assert "A forecast needs a checkpoint" in refused(write(), "checkpoint=")


def test_a_head_of_risks_adds_chances_and_changes_nothing_else(write, forecast, beside, tmp_path, capsys):
    path = write(day_wave(level=165.0))
    plain, found = forecast(path), forecast(path, f"checkpoint={beside}", "--to", "out")
    for one in found["ahead"]:
        soon, lately = one.pop("within"), one["lately"].pop("within")
        assert set(soon) == set(lately) == {"below 70 mg/dL", "above 180 mg/dL"}
        # Never low for days: less likely than of all people, and the truths that have come say so.
        assert 0 < soon["below 70 mg/dL"] < {30: 0.02, 60: 0.05}[one["min"]]
        low = lately["below 70 mg/dL"]
        assert low["came"] == 0
        assert 0 < low["expected"] < 0.05 * low["moments"]
        # People apart moved the risk of a high up by one in log-odds.
        high, said = lately["above 180 mg/dL"], {30: 0.2, 60: 0.3}[one["min"]]
        lifted = 1 / (1 + (1 - said) / said / np.e)
        assert 0.4 * lifted < high["expected"] / high["moments"] < 1.2 * lifted
        assert 0 < high["came"] < high["moments"]
    plain.pop("folder"), found.pop("folder")
    assert json.dumps(plain) == json.dumps(found)
    page = (tmp_path / "out" / "forecast.html").read_text()
    assert "Chance that a reading until then is below 70 mg/dL: " in page
    assert "should have followed" in page
    assert "Chance below 70 mg/dL until then" in page
    assert main(["twin", "forecast", str(path), f"checkpoint={beside}", "dates=false", "--to", "out"]) == EXIT_OK
    assert "Chance that a reading until then is below 70 mg/dL: " in capsys.readouterr().out


def test_what_is_there_now_has_no_chance_of_coming(write, forecast, beside):
    found = forecast(write(np.append(day_wave(5.0, level=165.0), 190.0)), f"checkpoint={beside}")
    assert [one["within"]["above 180 mg/dL"] for one in found["ahead"]] == [None, None]
    assert all(0 < one["within"]["below 70 mg/dL"] < 0.1 for one in found["ahead"])


def test_later_readings_change_no_chance(write, forecast, beside):
    at, wild = "2026-03-05T14:31", day_wave(level=165.0)
    whole = forecast(write(wild), f"at={at}", f"checkpoint={beside}")
    wild[BEGIN + np.arange(len(wild)) * 300 + 3600 > clock(at)] = 300.0
    other = forecast(write(wild), f"at={at}", f"checkpoint={beside}")
    whole.pop("folder"), other.pop("folder")
    assert whole == other


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"windows": 3}, ["where: series.windows", "forecast_glucose is: windows 2", "got: windows 3"]),
        ({"horizons_s": [1800.0, 7200.0]}, ["series.horizons_s", "[1800.0, 3600.0]"]),
        ({"every_s": 900.0, "treatments": ["bolus"]}, ["where: series.every_s, series.treatments"]),
    ],
)
def test_a_head_of_risks_that_is_told_something_else_is_refused(write, refused, tmp_path, asked, words):
    other = saved(tmp_path / "other", risk={**RISK, "asked": {**ASKED, **asked}})
    error = refused(write(), f"checkpoint={other}")
    assert "Two heads of one checkpoint are not told the same" in error
    assert all(word in error for word in words)


def test_a_head_of_other_events_is_refused(write, refused, tmp_path):
    described = [{**RISK["described"][0], "name": "below 54 mg/dL", "threshold": 54.0}, RISK["described"][1]]
    other = saved(tmp_path / "other", risk={**RISK, "described": described})
    error = refused(write(), f"checkpoint={other}")
    assert "The head of risks answers other events" in error
    assert "expected: below 70 mg/dL, above 180 mg/dL" in error
    assert "got: below 54 mg/dL, above 180 mg/dL" in error


def test_another_modality_is_refused(write, refused):
    path = write()
    mapping = path.with_suffix(".yaml")
    mapping.write_text(mapping.read_text().replace("glucose:", "heart_rate:").replace("mg/dL", "bpm"))
    error = refused(path)
    assert "There is no recording of glucose here" in error
    assert "got: heart_rate" in error


def test_readings_too_far_apart_are_refused(write, refused):
    error = refused(write(day_wave(6.0, 1800), 1800))
    assert "expected: a reading every 15 min or more often" in error
    assert "got: one every 30 min" in error


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ("2026-03-07T01:13", "got: one that is 16 min old"),
        ("2026-05-01T00:00", "more than a day old"),
        ("2026-03-01T01:00", "There is no reading before `at`"),
        ("2026-03-01T03:00", "Too little is known of the last 3 h"),
        ("2026-03-05", "no moment of the local clock"),
        ("2026-03-05T14:30+01:00", "no moment of the local clock"),
        ("noon", "no moment of the local clock"),
    ],
)
def test_a_moment_that_nothing_can_be_told_of(write, refused, at, words):
    assert words in refused(write(), f"at={at}")


def test_fifteen_minutes_are_not_too_old(write, forecast):
    assert forecast(write(), "at=2026-03-07T01:12")["newest"]["age_min"] == 15.0


def test_too_little_known_of_the_last_hours(write, refused, forecast):
    places = np.arange(6 * 288)
    # A line is drawn over 45 minutes at most, so an hour and a half in the last three is unknown.
    gap = (places >= 6 * 288 - 33) & (places < 6 * 288 - 9)
    error = refused(write(keep=~gap))
    assert "Too little is known of the last 3 h" in error
    assert "50 % of it with readings" in error
    forecast(write(keep=~(gap & (places >= 6 * 288 - 15))))


@pytest.mark.parametrize(
    ("values", "keep", "words"),
    [
        (day_wave(level=60.0), None, ["mean below it", "mean 80 to 200 mg/dL"]),
        (day_wave(level=230.0), None, ["mean above it"]),
        (day_wave(rough=40.0, level=180.0).clip(30, 600), None, ["spread above it", "spread 0 to 60 mg/dL"]),
        (day_wave(), np.arange(6 * 288) % 288 < 180, ["share of readings below it", "share of readings 0.7 to 1.1"]),
    ],
)
def test_readings_unlike_those_of_training_people(write, refused, values, keep, words):
    keep = keep if keep is None else keep | (np.arange(6 * 288) > 5.9 * 288)
    error = refused(write(values, keep=keep))
    assert "unlike those of the people that the head learned from" in error
    assert all(word in error for word in words)
    assert "1 mmol/L is 18 mg/dL" in error


def test_mmol_read_as_mg_is_refused(write, refused):
    assert "glucose" in refused(write(day_wave() / 18.0156))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["att=2026-03-05T14:30"], "did you mean 'at'?"),
        (["dates=no"], "true or false"),
        (["person=third"], "person is no whole number"),
        (["utc_offset_s=1h"], "utc_offset_s is no whole number"),
        (["--to="], "cannot go there"),
        (["other.csv"], "takes one path"),
        (["cohort=azt"], "azt1d"),
        (["indicators=hrv"], "Unknown setting 'indicators'"),
    ],
)
def test_a_wrong_setting_is_named(write, refused, settings, words):
    assert words in refused(write(), *settings)


def test_what_cannot_be_read_says_what_was_expected(write, refused, tmp_path):
    write()
    other = tmp_path / "in" / "other.csv"
    other.write_text("time,mood\n1,2\n")
    assert "No reader recognises this file" in refused(other)
    assert "There is nothing at this path" in refused(tmp_path / "none")


@pytest.mark.parametrize("to", [[], ["--to", "out"]])
def test_an_interrupted_write_leaves_nothing(write, checkpoint, tmp_path, monkeypatch, to):
    path = write()
    before = sorted(tmp_path.rglob("*"))

    def stop(*arguments, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", stop)
    assert main(["twin", "forecast", str(path), f"checkpoint={checkpoint}", *to]) == EXIT_INTERRUPTED
    monkeypatch.undo()
    left = [one.relative_to(tmp_path).as_posix() for one in sorted(tmp_path.rglob("*")) if one not in before]
    assert left == ([] if to else ["runs", "runs/twin"])


def test_a_place_that_cannot_be_written(write, checkpoint, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    words = ["twin", "forecast", str(write()), f"checkpoint={checkpoint}", "--to", "file/out"]
    assert main(words) == EXIT_USER_ERROR
    assert "The forecast cannot be written" in capsys.readouterr().err


def test_habits_are_those_of_the_last_days(monkeypatch):
    values = np.concatenate([day_wave(6.0, level=250.0), day_wave(3.0)])
    one = read(monkeypatch, recording(BEGIN, values)).series[-1]
    check_habits(one, USUAL, ForecastTask.of(ASKED))


@pytest.mark.real
@pytest.mark.parametrize(
    ("path", "settings", "clock"),
    [
        ("device_formats/dexcom_clarity/test_file.csv", [], "device"),
        ("shanghai_diabetes", ["cohort=shanghai_diabetes", "person=2"], "local"),
    ],
)
def test_real_recordings(real_data, checkpoint, tmp_path, capsys, monkeypatch, path, settings, clock):
    monkeypatch.chdir(tmp_path)
    words = ["twin", "forecast", str(real_data / path), f"checkpoint={checkpoint}", "--json", *settings]
    assert main(words) in (EXIT_OK, EXIT_USER_ERROR)
    found = json.loads(capsys.readouterr().out)
    # A head that learned nothing has habits of nobody: a real person may be unlike them, and is told so.
    assert found.get("clock") == clock or "unlike" in found["problem"]

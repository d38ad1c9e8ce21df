"""A twin as a folder, as typed: made, updated, asked, taken away and removed."""

import csv
import io
import json
import re
import shutil
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from hdt_fm.checkpoint import load
from hdt_fm.checkpoint.versions import Versions
from hdt_fm.cli.main import EXIT_INTERRUPTED, EXIT_OK, main
from hdt_fm.cli.series import told as told_to_head
from hdt_fm.cli.twin import readings
from hdt_fm.cli.twin.asked import AskedHead
from hdt_fm.cli.twin.kept import open_twin, readings_of
from hdt_fm.cli.twin.window import Whose, check_whose, read_window, whose_digest
from hdt_fm.schema.errors import RecordingError
from hdt_fm.schema.ledger import Told
from hdt_fm.schema.preparation import ModalityPreparation
from hdt_fm.schema.privacy import private_traces
from hdt_fm.schema.recording import Channel, LabelTrack, Recording, Visit
from hdt_fm.schema.series import ForecastTask, Series
from hdt_fm.schema.subject import SubjectKey
from hdt_fm.training.forecasts import ask, ask_hidden
from hdt_fm.twin.drift.cause import Proposal
from hdt_fm.twin.drift.watch import DriftWatch
from hdt_fm.twin.forecast.outlook import OfPeople
from hdt_fm.twin.state import state as state_files
from hdt_fm.twin.state.answer import Answers
from hdt_fm.twin.state.learned import Learned
from hdt_fm.twin.state.state import Reference, TwinState
from hdt_fm.twin.state.stream import absorb
from hdt_fm.twin.state.tracks import Counts
from tests.cli.twin.tiny_twin import ASKED, BEGIN, COUNT, DAY, STEP_S, saved, wave


def told(run, *words):
    found = run("forecast", *words)
    found.pop("folder")
    return found


@pytest.mark.parametrize("edges", [[], [400], [130, 131, 132, 300, 580]], ids=["at once", "two", "six, some of one"])
def test_the_forecast_of_a_twin_is_that_of_the_whole_export(write, run, checkpoint, edges):
    whole = told(run, write(), f"checkpoint={checkpoint}")
    run("create", write(0, edges[0] if edges else COUNT), f"checkpoint={checkpoint}", "--to", "my")
    for place, edge in enumerate(edges):
        last = (*edges, COUNT)[place + 1]
        # Each export begins with what is known already.
        assert run("update", "my", write(edge - 20, last))["facts"]["readings new"] == last - edge
    assert told(run, "my") == whole
    assert all(one["lately"]["forecasts"] > 200 for one in whole["ahead"])
    assert abs(whole["ahead"][0]["own_shift"]) > 0.5
    assert not re.search(r"moves the answers \(mg/dL\): [+-]0 in 30 min, [+-]0 in 60", whole["notes"][-1])


def test_an_empty_twin_learns_all_the_same(write, run, refused, checkpoint):
    assert run("create", f"checkpoint={checkpoint}", "--to", "my")["facts"] == {"kind": "empty"}
    assert "The twin has read nothing yet" in refused("forecast", "my")
    assert run("show", "my")["readings_kept"] == 0
    run("update", "my", write())
    assert told(run, "my") == told(run, write(), f"checkpoint={checkpoint}")


def test_up_to_a_moment_and_then_on(write, run, made, checkpoint):
    run("create", write(), f"checkpoint={checkpoint}", "--to", "other", "at=2026-03-05T01:15")
    assert run("show", "other")["newest"] == "2026-03-05T01:15"
    run("update", "other", write())
    run("update", "my", write(300))
    assert told(run, "my") == told(run, "other")


def test_going_back_restores_the_forecast_to_the_bit(write, run, made):
    before = run("forecast", "my", "--to", "first")
    run("update", "my", write(380))
    after = told(run, "my")
    Versions(made).rollback(1, Told(note="back"))
    again = run("forecast", "my", "--to", "second")
    assert before.pop("folder") != again.pop("folder")
    assert json.dumps(again) == json.dumps(before) != json.dumps(after)
    pages = [(made.parent / name / "forecast.html").read_text() for name in ("first", "second")]
    assert pages[0] == pages[1]
    # What was absorbed since can be absorbed again.
    assert run("update", "my", write(380))["version"] == 3
    assert told(run, "my") == after


@pytest.mark.parametrize("where", ["before", "between", "after"])
def test_an_interrupted_update_leaves_the_twin_as_it_was(write, run, made, monkeypatch, tmp_path, where):
    before, files = told(run, "my"), sorted((tmp_path / "my").rglob("*"))
    whole = state_files.save_state

    def stop(state, folder):
        if where != "before":
            whole(state, folder)
        if where == "between":
            (folder / state_files.FACTS_NAME).unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(state_files, "save_state", stop)
        assert main(["twin", "update", "my", str(write(380))]) == EXIT_INTERRUPTED
    assert sorted((tmp_path / "my").rglob("*")) == files
    assert told(run, "my") == before


def test_the_ledger_says_what_came_and_nothing_of_whom(write, run, made, tmp_path, checkpoint):
    found = run("update", "my", write(380))
    (first, second) = Versions(made).entries
    assert (first.kind, second.kind, second.version) == ("create", "update", found["version"])
    assert second.data[0].startswith("sha256:")
    assert second.facts["readings new"] == COUNT - 400
    assert second.facts["readings known"] == 20
    assert {"seconds", "MB"} <= second.facts.keys()
    assert second.scores["truths"] > 150
    assert {"mean error as told, mg/dL", "mean error 60 min, last 7 days before, mg/dL"} <= second.scores.keys()
    text = (tmp_path / "my" / "ledger.jsonl").read_text()
    facts = "".join(path.read_text() for path in (tmp_path / "my").rglob("*.json"))
    who = SubjectKey.public().pseudonym("glucose", "glucose")
    for trace in (who, "glucose.csv", str(tmp_path / "in")):
        assert trace not in text + facts
    assert not private_traces(text)
    assert str(checkpoint) not in text


def test_somebody_elses_readings_are_refused(write, run, refused, made):
    error = refused("update", "my", write(200, COUNT, wave(seed=9)), "same_person=true")
    assert "not of the person that the twin is of" in error
    # Under another name: the same hours tell; without them somebody must say.
    assert run("update", "my", write(390, 410, name="export2"))["facts"]["readings new"] == 10
    error = refused("update", "my", write(500, COUNT, name="export3"))
    assert "Nothing tells whether this is the person" in error
    assert "same_person=true" in error
    assert run("update", "my", write(500, COUNT, name="export3"), "same_person=true")["version"] == 3


def test_a_cohort_knows_its_people():
    task = ForecastTask.of(ASKED)
    learned = Learned(width=1, horizons_s=task.horizons_s, people=OfPeople((0.1, 0.9), (0.0, 0.0), (1.0, 1.0)))
    state = TwinState(Reference("d", "p", task, "newest", 1.0, 1.0), learned, "x")
    state.whose = {"azt1d": whose_digest("x", "one"), "clarity": whose_digest("x", "file")}
    check_whose(state, Whose("azt1d", "one", True), Counts(new=9), confirmed=False)
    with pytest.raises(RecordingError, match="another person"):
        check_whose(state, Whose("azt1d", "two", True), Counts(new=9), confirmed=True)
    check_whose(state, Whose("azt1d", "two", True), Counts(known=6), confirmed=False)
    check_whose(state, Whose("clarity", "another name", False), Counts(new=9), confirmed=True)


def test_another_checkpoint_is_refused_and_a_moved_one_is_known(write, run, refused, made, checkpoint, tmp_path):
    other = saved(tmp_path / "other", seed=1, resampling="newest", lively=True)
    assert "another checkpoint" in refused("forecast", "my", f"checkpoint={other}")
    assert "another checkpoint" in refused("update", "my", write(390), f"checkpoint={other}")
    before = told(run, "my")
    shutil.copytree(checkpoint, tmp_path / "elsewhere")
    run("create", write(0, 400), f"checkpoint={tmp_path / 'elsewhere'}", "--to", "moved")
    shutil.move(tmp_path / "elsewhere", tmp_path / "away")
    error = refused("forecast", "moved")
    assert "cannot be opened where it was" in error
    assert "checkpoint=FOLDER" in error
    assert told(run, "moved", f"checkpoint={tmp_path / 'away'}") == before
    run("update", "moved", write(390), f"checkpoint={tmp_path / 'away'}")
    # It is remembered where it was found.
    told(run, "moved")


def test_a_twin_opens_in_another_place(run, made, tmp_path):
    before = told(run, "my")
    shutil.copytree(tmp_path / "my", tmp_path / "there" / "twin")
    shutil.rmtree(tmp_path / "my")
    assert told(run, "there/twin") == before


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["create", "in/glucose.csv", "--to", "new"], "A forecast needs a checkpoint"),
        (["create", "in/glucose.csv", "checkpoint=CK"], "A twin needs a folder"),
        (["create", "in/glucose.csv", "checkpoint=CK", "--to", "my"], "There is something"),
        (["create", "in/none.csv", "checkpoint=CK", "--to", "new"], "There is nothing at this path"),
        (["create", "in/glucose.csv", "checkpoint=CK", "--to", "new", "at=2025-01-01T00:00"], "There is no reading"),
        (["create", "checkpoint=CK", "--to", "new", "at=2025-01-01T00:00"], "does not go with a twin that has read"),
        (["create", "in/a", "in/b", "checkpoint=CK", "--to", "new"], "takes one person's export"),
        (["update", "my"], "takes a twin's folder and a path"),
        (["update", "in", "in/glucose.csv"], "There is no twin in this folder"),
        (["update", "my", "in/glucose.csv"], "no reading here that the twin does not know"),
        (["update", "my", "in/glucose.csv", "same_person=yes"], "same_person cannot be read"),
        (["update", "my", "in/glucose.csv", "night_hours=0-6"], "say nights=true"),
        (["update", "my", "in/glucose.csv", "nights=true", "at=2026-03-05T01:15"], "does not go with nights"),
        (["update", "my", "in/glucose.csv", "nigths=true"], "did you mean 'nights'?"),
        (["forecast", "my", "at=2026-03-05T01:15"], "does not go with a twin"),
        (["what-if", "my", "plan=bolus 2 U"], "no head that answers plans"),
        (["alert", "my"], "The twin keeps no nights"),
        (["update", "my", "answer=yes"], "Unknown answer 'yes'"),
        (["update", "my", "answer=declined", "nights=true"], "does not go with an answer"),
        (["update", "my", "in/glucose.csv", "answer=declined"], "takes a twin's folder"),
        (["show", "in"], "There is no twin in this folder"),
        (["export", "my"], "The export cannot go there"),
        (["export", "my", "--to", "in/glucose.csv"], "something that is there"),
        (["delete", "in", "--yes"], "nothing is removed"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_changes(made, refused, tmp_path, checkpoint, words, error):
    before = sorted(tmp_path.rglob("*"))
    found = refused(*(word.replace("CK", str(checkpoint)) for word in words))
    assert error in found
    assert "2026" not in found
    assert sorted(tmp_path.rglob("*")) == before


def test_another_modality_and_readings_too_far_apart(write, refused, made):
    error = refused("update", "my", write(400, modality="heart_rate"))
    assert "There is no recording of glucose here" in error
    assert "further apart" in refused("update", "my", write(400, COUNT, step_s=1800))


def test_readings_that_a_filter_would_look_ahead_in(write, run, refused, tmp_path):
    filtered = saved(tmp_path / "filtered", lively=True)
    run("create", write(), f"checkpoint={filtered}", "--to", "alike")
    error = refused("create", write(step_s=300), f"checkpoint={filtered}", "--to", "new")
    assert "a filter that looks ahead" in error


def test_show_in_words(made, write, run, capsys):
    run("update", "my", write(300, 405))
    assert main(["twin", "show", "my"]) == EXIT_OK
    out = capsys.readouterr().out
    for text in (
        "version 2 is in use",
        "405 readings of glucose over 4.2 days, the newest at 2026-03-05 03:15",
        "taken so far: 405 readings; 100 were told again",
        "30 min ahead: ",
        "nights: 0",
        "exposures: none",
        "watch: nothing has changed that could be told, 4 of 28 days are learned first",
        "set on simulated people",
        "a sensor is not told from a body",
    ):
        assert text in out
    assert main(["twin", "show", "my", "dates=false"]) == EXIT_OK
    assert "2026" not in capsys.readouterr().out


def propose(folder, cause="gain", factor=1.15):
    """As if the watch had found it on the third of its four days."""
    kept = open_twin(folder)
    kept.state.watch.proposal = Proposal(cause, 2, 1, factor=factor, evidence=(("error at rest", 1.24),))
    kept.state.watch.watch.open = True
    kept.versions.append(lambda place: state_files.save_state(kept.state, place), Told())


@pytest.mark.parametrize("answer", ["accepted", "declined"])
def test_a_proposal_waits_for_an_answer_that_rescales_nothing(made, write, run, refused, capsys, answer):
    assert "There is no proposal to answer" in refused("update", "my", f"answer={answer}")
    propose(made)
    before = told(run, "my")
    found = run("show", "my")["watch"]
    assert (found["days"], found["days_learned"], found["days_learned_first"]) == (4, 4, 28)
    assert found["begun"] == "2026-03-01"
    one = found["proposal"]
    assert (one["cause"], one["action"], one["onset"], one["onset_date"]) == ("gain", "recalibrate", 1, "2026-03-02")
    assert one["evidence"] == [{"stream": "error at rest", "personal_sds": 1.24}]
    assert "2026" not in json.dumps(run("show", "my", "dates=false")["watch"])
    # It stays open through updates, which tell it in words.
    assert main(["twin", "update", "my", str(write(390, 410))]) == EXIT_OK
    out = capsys.readouterr().out
    assert "the sensor seems to show 15 % more than it did, since about day 1" in out
    assert "answer=declined" in out
    after = told(run, "my")
    assert after != before
    found = run("update", "my", f"answer={answer}")
    assert ("no reading is rescaled" in found["notes"][0]) == (answer == "accepted")
    assert found["watch"]["proposal"] is None
    assert found["watch"]["days_learned"] == 0
    assert told(run, "my") == after
    entry = Versions(made).entries[-1]
    assert entry.facts == {"kind": "answer", "proposal": "gain", "answer": answer}
    assert "There is no proposal to answer" in refused("update", "my", f"answer={answer}")


def test_no_forecast_hangs_on_the_watch(write, run, checkpoint, monkeypatch):
    found = []
    for watched in (True, False):
        with monkeypatch.context() as changed:
            if not watched:
                for place in ("cli.twin.kept", "twin.state.state"):
                    changed.setattr(f"hdt_fm.{place}.watch_for", lambda task: None)
            run("create", write(0, 400), f"checkpoint={checkpoint}", "--to", str(watched))
            update = run("update", str(watched), write(390))
            found.append(told(run, str(watched)))
            assert update["watch"]["watched"] == watched
    assert json.dumps(found[0]) == json.dumps(found[1])
    assert run("show", "True")["watch"]["days"] == 6


def test_what_an_update_proposes_is_in_its_line_of_the_ledger(made, write, run, monkeypatch):
    with monkeypatch.context() as changed:
        found = Proposal("gain", 4, 3, factor=1.2)
        whole = DriftWatch.day

        def day(self, values, counts=None):
            whole(self, values, counts)
            return found if self.days == 5 else None

        changed.setattr(DriftWatch, "day", day)
        update = run("update", "my", write(390))
    # No doses are known to this head, so it asks.
    assert update["facts"]["open proposal"] == "unclear"
    assert update["watch"]["proposal"]["factor"] is None
    assert Versions(made).entries[-1].facts["open proposal"] == "unclear"


def test_what_is_kept_can_be_taken_away(made, write, run, tmp_path):
    found = run("export", "my", "--to", "mine.zip")
    assert found["file"] == "mine.zip"
    assert (tmp_path / "mine.zip").stat().st_mode & 0o077 == 0
    with zipfile.ZipFile(tmp_path / "mine.zip") as packed:
        files = {name: packed.read(name).decode() for name in packed.namelist()}
    assert files.keys() == found["files"].keys()
    assert all(name in files["README.txt"] for name in files if name != "README.txt")
    rows = list(csv.DictReader(io.StringIO(files["readings.csv"])))
    assert [float(row["value"]) for row in rows] == pytest.approx(np.round(wave()[:400], 1), abs=1e-4)
    assert rows[0]["time"] == "2026-02-28T22:15:00"
    assert json.loads(files["watch.json"])["watch"]["days"] == 4
    squares = files["own_layer_squares.csv"].splitlines()
    assert len(squares) == 1 + 2 * 9
    assert not private_traces("".join(files.values()))
    run("export", "my", "--to", "again.zip")
    assert (tmp_path / "mine.zip").read_bytes() == (tmp_path / "again.zip").read_bytes()


def test_delete_leaves_nothing(made, write, run, refused, tmp_path):
    run("update", "my", write(390))
    before = sorted(tmp_path.rglob("*"))
    error = refused("delete", "my")
    assert "--yes" in error
    assert "in 2 versions" in error
    assert sorted(tmp_path.rglob("*")) == before
    # What a create and a delete that were killed leave behind.
    for name in (".my.new", ".my.gone"):
        (tmp_path / name / "versions").mkdir(parents=True)
        (tmp_path / name / "part").write_text("x")
    found = run("delete", "my", "--yes")
    assert found["versions"] == 2
    assert sorted(one.name for one in tmp_path.iterdir()) == ["in"]
    (tmp_path / ".my.gone").mkdir()
    run("delete", "my", "--yes")
    assert not (tmp_path / ".my.gone").exists()
    assert "nothing is removed" in refused("delete", "my", "--yes")


@pytest.mark.parametrize(("apart_s", "now"), [(86_400.0, False), (87_300.0, True), (5400.0, False)])
def test_a_head_that_is_asked_at_some_moments_is_told_what_it_is_told_at_all(checkpoint, apart_s, now):
    model, task = load(checkpoint), replace(ForecastTask.of(ASKED), apart_s=apart_s)
    draws = np.random.default_rng(0)
    values, observed = draws.uniform(60, 250, 300).astype(np.float32), draws.random(300) < 0.9
    one = Series(values, observed, STEP_S, 6.26 * DAY, subject=0, group=0)
    # An encoder that has seen nothing hardly moves: what differs must be seen.
    head = model.heads["forecast_glucose"]
    head.context_scale.fill_(1e-3)
    moments, inputs = told_to_head(model, [one], task, now=now)
    some = np.arange(3, len(moments), 29)
    found = AskedHead(model, head, task)([one], {}, moments.rows(some))
    whole = ask(head, inputs)
    assert np.abs(np.diff(whole, axis=0)).mean() > 0.1
    np.testing.assert_allclose(found.answer, whole[some], atol=1e-4)
    np.testing.assert_allclose(found.hidden, ask_hidden(head, inputs)[some], atol=1e-4)


def night_table(path, first, last):
    draws = np.random.default_rng(2).normal(size=80)
    rows = [
        f"{np.datetime64('2026-01-01') + day},{60 + draws[day] + 9 * (70 <= day < 75):.1f}"
        for day in range(first, last)
    ]
    path.write_text("\n".join(["date,resting_heart_rate", *rows]) + "\n")
    return path


def test_nights_of_a_twin(made, run, refused, tmp_path):
    words = [night_table(tmp_path / "in" / "nights.csv", 0, 60), "nights=true"]
    assert "same_person=true" in refused("update", "my", *words)
    found = run("update", "my", *words, "same_person=true")
    assert found["facts"]["nights new"] == 60
    run("update", "my", night_table(tmp_path / "in" / "nights2.csv", 50, 80), "nights=true")
    one = run("alert", "my", "--to", "one")
    other = run("alert", night_table(tmp_path / "in" / "all.csv", 0, 80), "--to", "other")
    assert one.pop("source") == "the twin's nights"
    for each in (one, other):
        each.pop("folder")
        each.pop("source", None)
    assert one == other
    assert len(one["alerts"]) == 1
    assert run("show", "my")["nights_kept"] == 80
    shifted = night_table(tmp_path / "in" / "theirs.csv", 0, 80).read_text().replace(",6", ",4").replace(",5", ",8")
    (tmp_path / "in" / "theirs.csv").write_text(shifted)
    assert "not of the person" in refused("update", "my", tmp_path / "in" / "theirs.csv", "nights=true")
    assert "Unknown indicator" in refused("alert", "my", "indicators=hrv")


WHO = SubjectKey.public().pseudonym("a", "b")


def treated():
    """Six days of readings every five minutes, doses and meals, and a pump's rate on a step of its own."""
    count, draws = 6 * 288, np.random.default_rng(5)
    start, device = BEGIN * 10**9, {"subject": WHO, "device": "x", "body_site": "arm", "start_ns": BEGIN * 10**9}
    seen = draws.random(count) < 0.95
    seen[-1] = True
    cgm = (Channel("cgm", "mg/dL"),)
    values = np.where(seen, draws.uniform(80, 200, count), 0).astype(np.float32)[None]
    glucose = Recording("glucose", cgm, 1 / 300, values=values, observed=seen, **device)
    rates = draws.uniform(0, 2, count).astype(np.float32)[None]
    pump = Recording(
        "insulin_rate", (Channel("pump", "U/h"),), 1 / 300, values=rates, observed=np.ones(count, bool), **device
    )
    times = start + (np.sort(draws.integers(0, count * 300, 40)) * 10**9)
    labels = {
        name: LabelTrack(name, "event", times, times, draws.uniform(1, 9, 40), unit=unit)
        for name, unit in (("bolus", "U"), ("carbs", "g"))
    }
    return Visit(WHO, {"glucose": glucose, "insulin_rate": pump}, labels, source="glooko")


@pytest.mark.parametrize("step_s", [300.0, 900.0])
def test_a_what_if_is_told_of_a_twin_what_it_is_told_of_the_export(monkeypatch, tmp_path, step_s):
    names = ("bolus", "carbs", "insulin_rate")
    task = replace(ForecastTask.of({**ASKED, "windows": 0}), step_s=step_s, treatments=names)
    monkeypatch.setattr(readings, "visits_of_one", lambda *_, **__: ([treated()], "glooko"))
    preparation = ModalityPreparation(sampling_rate_hz=1 / step_s, resampling="newest")
    whole = readings.read(tmp_path, {}, task, preparation)
    people = OfPeople((0.1, 0.9), (0.0, 0.0), (1.0, 1.0))
    learned = Learned(width=1, horizons_s=task.horizons_s, people=people)
    state = TwinState(Reference("d", "p", task, "newest", 8.0 * DAY, 28.0 * DAY), learned, "salt")

    def head(series, given, moments):
        return Answers(np.zeros((len(moments), 2, 3)), np.zeros((len(moments), 1)))

    for upto in ("2026-03-02T10:07", "2026-03-04T10:00", None):
        settings = {} if upto is None else {"at": upto}
        absorb(state, read_window(tmp_path, settings, task, preparation).window, head)
    found = readings_of(state, task)
    np.testing.assert_allclose(found.times_s, whole.times_s)
    np.testing.assert_array_equal(found.values, whole.values)
    assert (found.clock, found.source, found.notes) == (whole.clock, whole.source, whole.notes)
    (one,), (other,) = found.series, whole.series
    assert one.start_s == other.start_s
    np.testing.assert_array_equal(one.values[one.observed], other.values[other.observed])
    np.testing.assert_array_equal(one.observed, other.observed)
    for name in names:
        (mine,), (theirs,) = found.given[name], whole.given[name]
        shift = round((mine.start_s - theirs.start_s) / 300.0)
        size = min(len(mine), len(theirs) - shift)
        assert mine.start_s == theirs.start_s + shift * 300.0
        np.testing.assert_array_equal(mine.observed[:size], theirs.observed[shift : shift + size])
        np.testing.assert_array_equal(mine.values[:size], theirs.values[shift : shift + size])
        assert not theirs.observed[:shift].any()

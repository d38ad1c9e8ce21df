"""`hdt-fm twin what-if PATH`, as typed: one plan against another; the head that answers is made up."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from hdt_fm.cli.main import EXIT_OK, EXIT_USER_ERROR, main
from hdt_fm.cli.plans import MAKE_ONE
from hdt_fm.cli.twin import readings
from hdt_fm.cli.twin.what_if import check_plans, check_written
from hdt_fm.schema.errors import CheckpointError, ConfigError, RecordingError
from hdt_fm.schema.preparation import ModalityPreparation
from hdt_fm.schema.privacy import private_traces
from hdt_fm.schema.recording import Channel, LabelTrack, Recording, Visit
from hdt_fm.schema.series import ForecastTask, Series
from hdt_fm.schema.subject import SubjectKey
from hdt_fm.schema.treatment import Plan
from hdt_fm.schema.what_if import Compared, DoseResponse, Refuter, Support

STEP_S, DAY, NS = 300, 86_400, 10**9
BEGIN = int(np.datetime64("2026-03-01T00:00:00").astype("datetime64[s]").astype(np.int64))
TASK = ForecastTask(
    modality="glucose",
    unit="mg/dL",
    step_s=float(STEP_S),
    context_s=10_800.0,
    horizons_s=tuple(60.0 * minute for minute in (30, 60, 120, 180, 240)),
    every_s=1800.0,
    windows=0,
    apart_s=float(DAY),
    treatments=("bolus", "carbs", "insulin_rate"),
)
MINUTES = (30, 60, 120, 180, 240)
NAMES = ["what_if.html", "what_if.json", "what_if.png"]
WHO = SubjectKey.public().pseudonym("a", "b")


def track(name, unit, days, dose):
    """A dose every six hours of these days."""
    times = np.array([BEGIN + day * DAY + hour * 3600 for day in days for hour in (0, 6, 12, 18)], dtype=np.int64) * NS
    return LabelTrack(name, "event", times, times, np.full(len(times), dose), unit=unit)


def visit(bolus=range(3), carbs=range(3), wild_from=3 * DAY // STEP_S):
    """Three days of readings every five minutes, up to 23:55 UTC; doses and meals on some of these days."""
    count = 3 * DAY // STEP_S
    values = (140 + 25 * np.sin(np.arange(count) / 40)).astype(np.float32)[None]
    values[:, wild_from:] = 400.0
    one = Recording(
        modality="glucose",
        channels=(Channel("cgm", "mg/dL"),),
        sampling_rate_hz=1 / STEP_S,
        start_ns=BEGIN * NS,
        values=values,
        observed=np.ones(count, dtype=bool),
        subject=WHO,
        device="cgm",
        body_site="arm",
    )
    labels = {"bolus": track("bolus", "U", bolus, 4.0), "carbs": track("carbs", "g", carbs, 45.0)}
    return Visit(WHO, {"glucose": one}, {name: one for name, one in labels.items() if len(one.values)}, source="glooko")


def answer(plan, against):
    """2 mg/dL lower an hour for each unit more."""
    units = [sum(one.dose for one in each.interventions) for each in (plan, against)]
    level = 150 - np.outer(units, np.array(MINUTES) / 30)
    effect = level[0] - level[1]
    dose = np.array([0.0, 4.0, 8.0])
    curve = DoseResponse(
        treatment="bolus",
        unit="U",
        minute=120,
        dose=dose,
        effect=-dose,
        low=-dose - 5,
        high=-dose + 5,
        supported=dose < 5,
    )
    support = Support("inside", "bolus", 0.8, 12.0, 1.0, 6.0, 1.0)
    return Compared(
        minutes=MINUTES,
        level=level,
        level_low=level - 20,
        level_high=level + 20,
        effect=effect,
        effect_low=effect - 10,
        effect_high=effect + 10,
        support=(support, replace(support, density=1.0)),
        curves=(curve,),
        refuters=(Refuter("placebo treatment", 0.01, 0.0, 0.2, True, "Doses of other days are set beside."),),
        own_actions=24,
        own_share=(0.9, 0.7, 1.1),
        sensitivity=0.2,
    )  # fmt: skip


@pytest.fixture
def world(tmp_path, monkeypatch):
    """What is read and who answers; a test may put others in. The current folder is an empty one."""
    found = SimpleNamespace(
        visits=[visit()], compare=lambda found, given, plan, against: answer(plan, against), asked=[]
    )

    def head_of(checkpoint):
        if checkpoint != "mine":
            raise CheckpointError("The checkpoint has no head that answers plans", where="checkpoint", fix="make one")
        return SimpleNamespace(model=None, head=None, task=TASK)

    def compare(head, given, plan, against):
        found.asked.append((given, plan, against))
        return found.compare(head, given, plan, against)

    monkeypatch.setattr("hdt_fm.cli.plans.head_of", head_of)
    monkeypatch.setattr("hdt_fm.cli.plans.compare", compare)
    prepared = SimpleNamespace(prepared=lambda name: ModalityPreparation(sampling_rate_hz=1 / STEP_S))
    monkeypatch.setattr("hdt_fm.checkpoint.load_preprocess", lambda folder: prepared)
    monkeypatch.setattr(readings, "visits_of_one", lambda *_, **expected: (found.visits, "glooko"))
    monkeypatch.setattr("hdt_fm.twin.what_if.page.whole_picture", lambda told: b"")
    monkeypatch.chdir(tmp_path)
    return found


def typed(*words, plan="bolus 4 U", checkpoint="mine"):
    asked = [f"plan={plan}"] if plan is not None else []
    return ["twin", "what-if", ".", f"checkpoint={checkpoint}", *asked, *words]


@pytest.fixture
def told(world, capsys):
    """(settings) -> the content of what_if.json."""

    def asked(*words, **more):
        assert main([*typed(*words, **more), "--json"]) == EXIT_OK
        return json.loads(capsys.readouterr().out)

    return asked


@pytest.fixture
def refused(world, capsys, tmp_path):
    """(settings) -> the error's words; nothing is written."""

    def asked(*words, **more):
        assert main(typed(*words, **more)) == EXIT_USER_ERROR
        assert not list(tmp_path.iterdir())
        return capsys.readouterr().err

    return asked


def test_from_a_recording_to_three_files_and_words(world, tmp_path, capsys):
    assert main(typed("utc_offset_s=3600", plan="bolus 4 U; carbs 0 g in 10 min")) == EXIT_OK
    out = capsys.readouterr().out
    folder = tmp_path / "runs" / "twin" / "what-if-1"
    assert sorted(one.name for one in folder.iterdir()) == NAMES
    assert out.startswith(
        "With bolus 4 U and carbs 0 g in 10 min instead of nothing glucose would be about 16 mg/dL lower"
    )
    assert "in 2 h (9 times in 10 between 6 and 26 lower), if the assumptions below hold." in out
    assert "It holds up" in out
    assert "interventional forecast under stated assumptions" in out
    assert "no medical advice" in out
    assert all(f"{folder.relative_to(tmp_path) / name}" in out for name in NAMES)
    found = json.loads((folder / "what_if.json").read_text())
    # The last reading was at 23:55 UTC; an hour later by the local clock.
    assert found["newest"]["time"] == "2026-03-04T00:55"
    assert found["ahead"][2]["time"] == "2026-03-04T02:55"
    assert found["source"] == "glooko"
    assert len(found["readings"]) == 145
    for name in NAMES[:2]:
        text = (folder / name).read_text()
        assert not private_traces(text)
        assert WHO not in text


def test_the_plans_and_the_readings_reach_the_head(world, told):
    found = told("against=bolus 2 U; carbs 30 g in 10 min")
    ((given, plan, against),) = world.asked
    assert plan == Plan.spoken("bolus 4 U")
    assert against == Plan.spoken("bolus 2 U; carbs 30 g in 10 min")
    assert {name for name, series in given.given.items() if series} == {"bolus", "carbs"}
    assert found["plans"]["against"]["words"] == "bolus 2 U; carbs 30 g in 10 min"


def test_a_long_plan_is_no_path(told):
    assert told(plan="; ".join(["bolus 0.2 U in 10 min"] * 20))["plans"]


def test_against_nothing_unless_said(world, told):
    assert told()["plans"]["against"] == {"words": "nothing", "interventions": []}
    assert told("against=nothing")["ahead"] == told("against=")["ahead"]


def test_as_of_a_moment_nothing_later_is_used(world, told):
    found = told("at=2026-03-03T12:07")
    given = world.asked[0][0]
    assert (found["newest"]["time"], found["newest"]["age_min"]) == ("2026-03-03T12:05", 2.0)
    assert given.times_s[-1] == BEGIN + 2 * DAY + 12 * 3600 + 300
    assert found["readings"][-1] == {"min": 0.0, "value": found["newest"]["value"]}
    # The reading of 12:05 is the last one that is the same.
    world.visits = [visit(wild_from=2 * 288 + 146)]
    other = told("at=2026-03-03T12:07")
    assert (found.pop("folder"), other.pop("folder")) == ("runs/twin/what-if-1", "runs/twin/what-if-2")
    assert other == found
    world.visits = [visit(wild_from=2 * 288 + 145)]
    assert told("at=2026-03-03T12:07")["newest"]["value"] == 400.0


def test_without_dates_there_is_no_clock(world, tmp_path, capsys):
    assert main(typed("dates=false", "--to", "out")) == EXIT_OK
    texts = [capsys.readouterr().out, *((tmp_path / "out" / name).read_text() for name in NAMES[:2])]
    assert not [text for text in texts if "2026" in text or "23:55" in text]


def test_json_is_one_object_and_the_file(told, tmp_path):
    found = told("--to", "out")
    assert found.pop("folder") == "out"
    assert found == json.loads((tmp_path / "out" / "what_if.json").read_text())


def test_a_plan_of_a_pump_is_read_though_it_has_a_slash(world, refused):
    error = refused(plan="insulin_rate 1.2 U/h for 60 min")
    # The head is told of it, but no plan can hold it.
    assert "expected: bolus, carbs within 240 min" in error
    assert "got: insulin_rate" in error


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (None, ["A what-if needs a plan", 'plan="bolus 4 U; carbs 45 g in 10 min"', "in quotes"]),
        ("", ["A what-if needs a plan"]),
        ("bolus 4 U in -20 min", ["A plan begins in the past", "bolus before now", "stands in the recording"]),
        ("bollus 4 U", ["Unknown treatment 'bollus'", "did you mean 'bolus'?"]),
        ("drug_metformin 500 mg", ["does not fit what is asked", "bolus, carbs within", "got: drug_metformin"]),
        ("protein 20 g", ["got: protein", "take a checkpoint that knows the treatment"]),
        ("bolus 4", ["A plan cannot be read", "KIND DOSE UNIT"]),
        ("bolus 4 g", ["bolus", "unit"]),
        ("bolus 400 U", ["A dose is one that nobody is given", "expected: 0 to 100 U", "correct the dose or its unit"]),
        ("bolus -1 U", ["A dose is one that nobody is given"]),
        ("bolus 4 U in 240 min", ["within 240 min", "got: bolus later"]),
        ("bolus 4 U in 200 min for 60 min", ["goes on for longer than is answered", "within 240 min"]),
        ("nothing", ["There is nothing to compare", "differ in a dose, or by 5 min"]),
        ("bolus 0 U", ["There is nothing to compare"]),
    ],
)  # fmt: skip
def test_a_plan_that_cannot_be_answered(refused, world, plan, words):
    error = refused(plan=plan)
    assert all(word in error for word in words), error
    assert not world.asked


@pytest.mark.parametrize(
    "against", ["bolus 4 U", "bolus 1 U; bolus 3 U", "bolus 4 U in 4 min", "carbs 0 g in 30 min; bolus 4 U"]
)
def test_the_same_in_other_words_is_nothing_to_compare(refused, against):
    assert "There is nothing to compare: the plan and the other are the same" in refused(f"against={against}")


@pytest.mark.parametrize("against", ["bolus 4.1 U", "bolus 4 U in 5 min", "bolus 4 U; carbs 1 g", "nothing"])
def test_what_differs_is_compared(told, against):
    assert told(f"against={against}")["plans"]["against"]["words"] == against


def test_the_other_plan_is_checked_as_well(refused):
    assert "A plan begins in the past" in refused("against=carbs 20 g in -5 min")
    assert "got: protein" in refused("against=protein 20 g")


def test_no_checkpoint(refused):
    error = refused(checkpoint="")
    assert "A what-if needs a checkpoint" in error
    assert f"what to do: {MAKE_ONE}" in error
    assert "no head that answers plans" in refused(checkpoint="other")


@pytest.mark.parametrize(
    ("bolus", "carbs", "plan", "words"),
    [
        ((), (), "bolus 4 U", "rapid insulin and carbohydrates"),
        ((), range(3), "carbs 45 g", "What was taken is unknown here: rapid insulin\n"),
        (range(3), (), "bolus 4 U", "What was taken is unknown here: carbohydrates\n"),
        # Nothing was written down for the last two days.
        (range(1), range(1), "bolus 4 U", "rapid insulin and carbohydrates"),
    ],
)
def test_what_was_taken_is_unknown(world, refused, bolus, carbs, plan, words):
    world.visits = [visit(bolus, carbs)]
    error = refused(plan=plan)
    assert words in error
    assert "which is not a dose of zero" in error
    assert not world.asked


def test_basal_insulin_may_be_unknown_and_is_noted(told):
    assert told()["notes"] == ["nothing is known here of basal insulin"]


def test_doses_known_at_the_moment_may_end_later(world, told, refused):
    world.visits = [visit(bolus=range(1), carbs=range(1))]
    assert told("at=2026-03-02T12:00", "--to", "out")["newest"]["time"] == "2026-03-02T12:00"
    assert main(typed("at=2026-03-03T23:00")) == EXIT_USER_ERROR


@pytest.mark.parametrize("which", [0, 1])
def test_outside_support_nothing_is_told(world, refused, which):
    def outside(found, given, plan, against):
        known = answer(plan, against)
        support = list(known.support)
        support[which] = replace(support[which], verdict="outside")
        return replace(known, support=tuple(support))

    world.compare = outside
    error = refused()
    assert "People do not dose so at such a moment" in error
    assert "expected: bolus 1 to 6 U" in error


@pytest.mark.parametrize("error", [RecordingError, ConfigError])
def test_what_the_head_refuses_is_passed_on(world, refused, error):
    def refuse(*_):
        raise error("Nobody doses so", expected="2 to 6 U", fix="ask for a dose in it")

    world.compare = refuse
    assert "expected: 2 to 6 U" in refused()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["againsts=nothing"], "did you mean 'against'?"),
        (["dates=no"], "true or false"),
        (["at=noon"], "no moment of the local clock"),
        (["at=2026-05-01T00:00"], "more than a day old"),
        (["other.csv"], "takes one path"),
        (["--to="], "cannot go there"),
    ],
)
def test_a_wrong_setting_is_named(refused, settings, words):
    assert words in refused(*settings)


def test_a_place_that_cannot_be_written(world, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(typed("--to", "file/out")) == EXIT_USER_ERROR
    assert "The what-if cannot be written" in capsys.readouterr().err


def test_plans_are_held_against_the_task_alone():
    plan, nothing = Plan.spoken("bolus 4 U in 235 min"), Plan()
    check_plans((plan, nothing), TASK)
    with pytest.raises(ConfigError, match="does not fit"):
        check_plans((plan, nothing), replace(TASK, horizons_s=(1800.0, 7200.0)))
    with pytest.raises(ConfigError, match="does not fit") as error:
        check_plans((plan, nothing), replace(TASK, treatments=("carbs",)))
    assert error.value.expected == "carbs within 240 min"


def test_a_log_that_begins_after_the_newest_reading_says_nothing_of_now():
    def log(start_s, known=True):
        return Series(np.zeros(4, np.float32), np.full(4, known), 300.0, float(start_s), subject=0, group=0)

    def given(**logs):
        return readings.Readings((), np.array([BEGIN + 0.0]), np.array([100.0]), 0.0, "utc", "glooko", logs, ())

    before, after = log(BEGIN - 600), log(BEGIN + 300)
    check_written(given(bolus=(before,), carbs=(before, after)))
    for carbs in ((after,), (), (log(BEGIN - 600, known=False),)):
        with pytest.raises(RecordingError, match="unknown here: carbohydrates"):
            check_written(given(bolus=(before,), carbs=carbs))

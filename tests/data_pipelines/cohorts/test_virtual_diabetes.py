"""Simulated people with type 1 diabetes: what was simulated arrives, and the whole path is walked on it."""

import json
import pickle
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from data_pipelines.cohorts import virtual_diabetes
from data_pipelines.cohorts.virtual_diabetes import VirtualDiabetes
from hdt_fm.cli.compose import compose_config
from hdt_fm.cli.main import EXIT_OK, EXIT_USER_ERROR, main
from hdt_fm.cli.settings import SplitSettings
from hdt_fm.data.selection import subject_split
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.protocols import Cohort
from hdt_fm.schema.recording import NS_PER_S
from hdt_fm.schema.series import Series
from hdt_fm.schema.shard import ShardManifest, SubjectRow
from hdt_fm.signal.given import amounts_given
from hdt_fm.signal.lives import lives_of
from hdt_fm.simulation.glucose_cohort import what_if_cohort
from hdt_fm.simulation.glucose_habits import Policy
from hdt_fm.simulation.glucose_life import History

RATE_HZ = 1 / 300
DAY = 288
FIRST_NS = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp()) * NS_PER_S
# Two of each age, in the order of the cohort.
ORDER = ["adult-01", "adolescent-01", "child-01", "adult-02", "adolescent-02", "child-02"]


@pytest.fixture(autouse=True)
def nothing_kept():
    """No test lives on what another one simulated."""
    virtual_diabetes._lived.cache_clear()
    virtual_diabetes._drawn.cache_clear()


@pytest.fixture(scope="module")
def truth() -> dict[str, tuple[History, int]]:
    """The same people as the cohort on which what-if answers are judged has them: of each code its history and row."""
    found = what_if_cohort(
        seed=4, policy=Policy(confounding=2.0), train_per_age=1, test_per_age=1, replicates=2, days=3
    )
    both = [
        (code, (side, row))
        for side in (found.train, found.test)
        for row, code in enumerate(side.codes)
        if side.replicate[row] == 0
    ]
    return dict(both)


def of_truth(**changed) -> VirtualDiabetes:
    return VirtualDiabetes(**{"people": 6, "days": 3, "seed": 4, "confounding": 2.0, **changed})


def same(one, other) -> bool:
    """Every number of two visits."""
    signals = all(
        np.array_equal(one.recordings[name].values, other.recordings[name].values)
        and one.recordings[name].start_ns == other.recordings[name].start_ns
        for name in one.recordings | other.recordings
    )
    tracks = all(
        np.array_equal(one.labels[name].start_ns, other.labels[name].start_ns)
        and np.array_equal(one.labels[name].values, other.labels[name].values)
        for name in one.labels | other.labels
    )
    return signals and tracks and one.subject == other.subject and one.covariates == other.covariates


def test_what_was_lived_is_what_the_cohort_of_known_answers_lives(truth):
    assert sorted(truth) == sorted(ORDER)
    for visit, code in zip(of_truth().visits(), ORDER, strict=True):
        history, row = truth[code]
        np.testing.assert_array_equal(visit.recordings["glucose"].values[0], history.cgm_mg_dl[row].astype(np.float32))
        np.testing.assert_array_equal(
            visit.recordings["insulin_rate"].values[0], history.basal_units_per_hour[row].astype(np.float32)
        )
        for name, amounts in (("bolus", history.bolus_units[row]), ("carbs", history.carbs_g[row])):
            columns = (visit.labels[name].start_ns - FIRST_NS) // (300 * NS_PER_S)
            np.testing.assert_array_equal(columns, np.flatnonzero(amounts))
            np.testing.assert_array_equal(visit.labels[name].values, amounts[amounts > 0])
            assert 5 < len(columns) < 15
        assert visit.covariates == {"age_group": code.split("-")[0]}


def test_units_clock_and_words_are_those_of_the_real_cohorts():
    assert isinstance(VirtualDiabetes(), Cohort)
    assert VirtualDiabetes.source.startswith("simulated, no person")
    assert VirtualDiabetes().inputs() == []
    visit = next(VirtualDiabetes(people=1, days=2).visits())
    assert set(visit.recordings) == {"glucose", "insulin_rate"}
    assert {name: (track.kind, track.unit) for name, track in visit.labels.items()} == {
        "bolus": ("event", "U"),
        "carbs": ("event", "g"),
    }
    glucose, basal = visit.recordings["glucose"], visit.recordings["insulin_rate"]
    assert (glucose.channels[0].source_unit, basal.channels[0].source_unit) == ("mg/dL", "U/h")
    assert (glucose.sampling_rate_hz, glucose.start_ns, glucose.utc_offset_s) == (RATE_HZ, FIRST_NS, 0)
    assert glucose.values.shape == basal.values.shape == (1, 2 * DAY)
    assert glucose.observed.all()
    assert 39 <= glucose.values.min() < 110 < glucose.values.max() <= 400
    assert len(np.unique(basal.values)) == 1
    assert 0.2 < basal.values[0, 0] < 3
    hours = (visit.labels["carbs"].start_ns - FIRST_NS) / 3600 / NS_PER_S % 24
    assert 5.9 < hours.min() < 9.1 < 17 < hours.max() < 20.1
    assert 5 < visit.labels["carbs"].values.min() < visit.labels["carbs"].values.max() < 200
    assert visit.labels["bolus"].values.max() <= 20


def test_a_dose_is_not_known_at_the_reading_that_it_rests_on(truth):
    history, row = truth[ORDER[0]]
    given = amounts_given(next(of_truth().visits()), "bolus", RATE_HZ)
    # A sample is what was given in the step that ends with it; a column of a history begins with its reading.
    assert given.values[0, 0] == 0
    np.testing.assert_array_equal(given.values[0, 1:], history.bolus_units[row, :-1].astype(np.float32))


def test_lives_made_of_it_are_those_that_were_lived(truth):
    visits = list(of_truth().visits())
    given = {name: [on_grid(visit, name, row) for row, visit in enumerate(visits)] for name in ("bolus", "carbs")}
    given["insulin_rate"] = [series(visit.recordings["insulin_rate"], row) for row, visit in enumerate(visits)]
    lives = lives_of([series(visit.recordings["glucose"], row) for row, visit in enumerate(visits)], given)
    for life, code in enumerate(ORDER):
        history, row = truth[code]
        for mine, theirs in (("bolus_units", "bolus_units"), ("carbs_g", "carbs_g"), ("glucose_mg_dl", "cgm_mg_dl")):
            found, lived = getattr(lives, mine)[life], getattr(history, theirs)[row].astype(np.float32)
            known = np.isfinite(found)
            np.testing.assert_array_equal(found[known], lived[known])
            assert known.mean() > 0.75
        assert lives.basal_units_per_hour[life] == pytest.approx(history.basal_units_per_hour[row, 0], rel=1e-6)


def series(one, row) -> Series:
    return Series(one.values[0], one.observed, 300.0, one.start_ns / NS_PER_S, subject=row, group=row)


def on_grid(visit, name, row) -> Series:
    return series(amounts_given(visit, name, RATE_HZ), row)


def test_the_same_again_in_any_order_and_in_another_process(monkeypatch):
    first = list(of_truth(days=1).visits())
    again = pickle.loads(pickle.dumps(of_truth(days=1).visits().parts))
    virtual_diabetes._lived.cache_clear()
    # Whoever lives beside whom changes nobody.
    monkeypatch.setattr(virtual_diabetes, "SIDE_BY_SIDE", 4)
    for person in (5, 0, 3):
        assert same(again[person](), first[person])
        assert again[person].subject == first[person].subject
    more = list(of_truth(people=8, days=1).visits())
    assert all(same(one, other) for one, other in zip(first, more, strict=False))
    assert len({visit.subject for visit in more}) == 8
    assert not same(first[0], first[3])
    other_seed = next(of_truth(seed=5, days=1).visits())
    assert other_seed.subject != first[0].subject
    assert not np.array_equal(other_seed.recordings["glucose"].values, first[0].recordings["glucose"].values)


def test_confounding_changes_doses_and_no_meal():
    plain, moved = (list(of_truth(confounding=value, days=1).visits()) for value in (0, 3.0))
    for one, other in zip(plain, moved, strict=True):
        assert one.subject == other.subject
        np.testing.assert_array_equal(one.labels["carbs"].values, other.labels["carbs"].values)
        assert not np.array_equal(one.labels["bolus"].values, other.labels["bolus"].values)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"people": 0}, "people cannot be.*whole number of 1 or more.*cohort.people=NUMBER"),
        ({"people": 2.5}, "people cannot be.*whole number.*got: 2.5"),
        ({"days": "two"}, "days cannot be.*whole number of 1 or more.*got: two"),
        ({"days": True}, "days cannot be"),
        ({"seed": -1}, "seed cannot be.*whole number of 0 or more"),
        ({"confounding": "much"}, "confounding cannot be.*a number.*got: much"),
        ({"skipped": None}, "skipped cannot be"),
        ({"confounding": -0.5}, "Nobody doses so.*0 or more"),
        ({"skipped": 1.5}, "Nobody doses so.*skipped from 0 to 1"),
        ({"dose_spread": float("nan")}, "Nobody doses so"),
    ],
)
def test_what_cannot_be_is_refused(setting, words):
    with pytest.raises(ConfigError, match=f"(?s){words}"):
        VirtualDiabetes(**setting)


def test_on_the_command_line_a_slip_is_an_error_and_no_trace(tmp_path, capsys):
    for slip, words in (("cohort.people=some", "people cannot be"), ("cohort.peple=3", "did you mean 'people'?")):
        assert main(["shard", "experiment=virtual_diabetes", f"root={tmp_path}", slip]) == EXIT_USER_ERROR
        assert words in capsys.readouterr().err


SMALL = [
    "cohort.people=8",
    "cohort.days=4",
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


def test_the_whole_path(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Shards of glucose and of treatments, an encoder, a head that hears both, and a person whom none of them met."""
    monkeypatch.chdir(tmp_path)
    chosen = ["experiment=virtual_diabetes", *SMALL]
    given = "runs/given/shard/windows"
    assert main(["shard", *chosen]) == EXIT_OK
    assert main(["shard", *chosen, "preparation=treatments_5min", "name=given"]) == EXIT_OK
    assert main(["pretrain", *chosen]) == EXIT_OK
    capsys.readouterr()
    assert main(["finetune", *chosen, f"series.treatments={given}"]) == EXIT_OK
    out = capsys.readouterr().out
    assert "RMSE in 60 min, last value" in out
    assert "RMSE in 60 min, encoder + forecast head" in out
    asked = [
        "virtual_diabetes",
        "cohort=virtual_diabetes",
        "person=9",
        "checkpoint=runs/virtual_diabetes/finetune/checkpoint",
    ]
    assert main(["twin", "forecast", *asked, "at=2100-01-10T12:02", "--json"]) == EXIT_OK
    told = json.loads(capsys.readouterr().out)
    lived = list(VirtualDiabetes().visits())[9].recordings["glucose"].values[0]
    newest = 9 * DAY + 12 * 12
    assert told["newest"] == {"time": "2100-01-10T12:00", "value": pytest.approx(lived[newest], abs=0.1), "age_min": 2}
    assert [one["time"] for one in told["ahead"]] == ["2100-01-10T12:30", "2100-01-10T13:00"]
    assert "simulated: nobody has lived" in " ".join(told["notes"])
    assert "nothing is known here of" not in " ".join(told["notes"])
    assert told["source"] == "virtual_diabetes"


def test_those_whom_the_experiment_names_as_held_out_are_it(repo: Path):
    chosen = compose_config("pretrain", ["experiment=virtual_diabetes"])
    people = [part.subject for part in VirtualDiabetes().visits().parts]
    rows = [SubjectRow(subject=one, group=one, windows=1, hours=1.0) for one in people]
    manifest = ShardManifest.model_construct(subjects=rows)
    parts = subject_split(manifest, fractions=chosen.section("split", SplitSettings).fractions, seed=0)
    *first, last = parts["test"]
    named = f"({', '.join(map(str, first))} or {last} of seed 0)"
    assert named in (repo / "configs" / "experiment" / "virtual_diabetes.yaml").read_text()

"""What is lost is lost: heads and curves on cohorts in which it is known where the label stands."""

from dataclasses import replace

import numpy as np
import pytest

from hdt_fm.evaluation.contest import Features, contest, of_hand
from hdt_fm.evaluation.folds import grouped_folds
from hdt_fm.evaluation.incomplete import HEADS, best_head, losses_of, random_losses
from hdt_fm.evaluation.missing_modalities import (
    HEADLINE,
    REQUIRED,
    for_half,
    from_a_time_on,
    missing_modalities,
    settings_of,
)
from hdt_fm.evaluation.probes import logistic
from hdt_fm.schema.errors import ConfigError, LeakError


def enter(table, make_table, **settings):
    rng = np.random.default_rng(5)
    people = len(table.subjects)
    given = {
        "table": table,
        "label": "stress",
        "hand": (rng.normal(size=(len(table), 3)), [f"{name}.level" for name in ("ppg", "eda", "acc")]),
        "folds": grouped_folds(table.group, 3, seed=0),
        "random_tables": [make_table(people=people, windows=len(table) // people, seed=77)],
        "draws": 50,
    }
    return contest(**(given | settings))


@pytest.fixture(scope="module")
def result(make_table):
    """The label is in ppg alone, plainly: what happens without it can be said beforehand."""
    return missing_modalities(enter(make_table(people=6, windows=16, signal=40.0), make_table))


def value(result, setting, metric="auroc", model=HEADLINE):
    return result.find(model, metric, f"stress, {setting}").value


def test_only_the_modality_with_the_label_matters(result):
    assert value(result, "0 of 3 modalities lost") > 0.97
    assert value(result, "0 of 3 modalities lost", "excess_kept") == 1.0
    for model in ("encoder + probe a subset", "encoder + late fusion"):
        assert value(result, "eda lost", model=model) > 0.97
        assert value(result, "ppg alone", model=model) > 0.97
        assert abs(value(result, "ppg lost", model=model) - 0.5) < 0.15


def test_the_share_of_modalities_is_the_mean_over_every_set(result):
    """1 of 3 lost: three sets, listed once each by `ppg lost`, `eda lost`, `acc lost`; 2 of 3: by `... alone`."""
    names = ("ppg", "eda", "acc")
    for model in (HEADLINE, "hand features + chosen head", "encoder + modality dropout"):
        for metric in ("auroc", "excess_kept"):
            lost = np.mean([value(result, f"{name} lost", metric, model) for name in names])
            assert value(result, "1 of 3 modalities lost", metric, model) == pytest.approx(lost)
            alone = np.mean([value(result, f"{name} alone", metric, model) for name in names])
            assert value(result, "2 of 3 modalities lost", metric, model) == pytest.approx(alone)


def test_kept_excess_by_hand(result):
    whole, lost = value(result, "0 of 3 modalities lost"), value(result, "ppg lost")
    assert value(result, "ppg lost", "excess_kept") == pytest.approx((lost - 0.5) / (whole - 0.5))
    row = result.find(HEADLINE, "excess_kept", "stress, ppg lost")
    assert row.low <= row.value <= row.high


def test_owed_rows_and_chosen_heads_are_there(result):
    assert result.required_baselines == REQUIRED
    assert result.find("dummy", "auroc").value == 0.5
    assert sum(result.protocol["chosen_heads"]["encoder"].values()) == 3
    columns = result.find(HEADLINE, "auroc", "stress, 2 of 3 modalities lost").columns
    assert (columns["share_lost"], columns["variants"]) == (pytest.approx(2 / 3), 3)


def test_an_outage_loses_less_than_the_whole_modality(make_table):
    entered = enter(make_table(signal=40.0), make_table)
    shares = {one.name: one.share for one in settings_of(entered)}
    assert shares["one modality lost for half of the recording"] == pytest.approx(0.5 / 3)
    assert 0 < shares["one modality lost from a random time on"] < 1 / 3


def test_outages_are_blocks_of_one_person():
    subject, time_s = np.repeat([0, 1], 10), np.tile(np.arange(10.0), 2)
    for seed in range(20):
        half = for_half(subject, time_s, np.random.default_rng(seed))
        late = from_a_time_on(subject, time_s, np.random.default_rng(seed))
        for person in (0, 1):
            assert half[subject == person].sum() == 5
            assert (np.diff(half[subject == person].astype(int)) == 1).sum() <= 1
            assert late[subject == person][-1]
            assert (np.diff(late[subject == person].astype(int)) >= 0).all()


def test_losses_are_listed_and_drawn():
    assert [len(losses_of(4, k)) for k in range(5)] == [1, 4, 6, 4, 1]
    assert {tuple(one) for one in losses_of(3, 2)} == {(True, True, False), (True, False, True), (False, True, True)}
    present = np.random.default_rng(0).random((500, 4)) < 0.7
    lost = random_losses(present, np.random.default_rng(1))
    assert not (lost & ~present).any()
    held = present.any(axis=1)
    assert ((present & ~lost).sum(axis=1)[held] >= 1).all()
    full = lost[present.all(axis=1)].sum(axis=1)
    assert set(full) == {0, 1, 2, 3}


def test_dropping_hides_values_and_presence():
    x = Features(np.arange(12.0).reshape(2, 6), np.array([0, 0, 1, 1, 1, -1]), np.ones((2, 2), dtype=bool))
    lost = x.without(np.array([[True, False], [False, False]]))
    assert np.isnan(lost.values[0, :2]).all()
    assert np.isfinite(lost.values[0, 2:]).all()
    assert np.isfinite(lost.values[1]).all()
    assert lost.present.tolist() == [[False, True], [True, True]]


@pytest.mark.parametrize("name", sorted(HEADS))
def test_a_head_never_reads_what_is_lost(name):
    """The lost columns are replaced by nonsense: not one score may change. All lost: no idea."""
    rng = np.random.default_rng(0)
    x = Features(rng.normal(size=(60, 5)), np.array([0, 0, 1, 1, 1]), np.ones((60, 2), dtype=bool))
    y, group = (x.values[:, 0] > 0).astype(float), np.repeat(np.arange(6), 10)
    head = HEADS[name](logistic(2, seed=0), outputs=2, seed=0)(x, y, group)
    lost = np.tile([False, True], (60, 1))
    other = Features(np.where(x.modality == 1, 1e6, x.values), x.modality, x.present)
    assert np.array_equal(head.predict(x.without(lost)), head.predict(other.without(lost)))
    assert head.fitted_on.groups == frozenset(range(6))
    nothing = head.predict(x.without(np.ones((60, 2), dtype=bool)))
    assert np.allclose(nothing, nothing[0])


def test_the_choice_sees_the_head_that_stands_losses():
    """One modality misleads once the other is gone unless a head knows that it is: subsets do, imputation less."""
    rng = np.random.default_rng(3)
    y = (rng.random(600) < 0.5).astype(float)
    first = y + 0.6 * rng.normal(size=600)
    # The second holds the label too, but in a column that is useless beside the first (a copy of its noise).
    second = np.stack([first - y + 0.05 * rng.normal(size=600), y + 1.5 * rng.normal(size=600)], axis=1)
    x = Features(np.column_stack([first, second]), np.array([0, 1, 1]), np.ones((600, 2), dtype=bool))
    base = logistic(2, seed=0, strength=1.0)
    heads = {name: HEADS[name](base, outputs=2, seed=0) for name in ("mean imputation", "probe a subset")}
    group = np.repeat(np.arange(12), 50)
    assert best_head(heads, x, y, group, is_class=True, seed=0) == "probe a subset"


def test_a_value_has_the_same_curve(make_table):
    table = make_table()
    result = missing_modalities(enter(table, make_table, label="rate", kind="value"), heads=("probe a subset",))
    setting = "rate, 0 of 3 modalities lost"
    assert result.find(HEADLINE, "mae", setting).value < 0.5
    assert result.find(HEADLINE, "excess_kept", "rate, ppg lost").value < 0.3
    assert result.find(HEADLINE, "excess_kept", "rate, ppg alone").value > 0.9
    assert result.find("dummy", "mae", setting).unit == "breaths/min"


def test_leaks_and_wrong_inputs_stop_it(make_table):
    table = make_table()
    with pytest.raises(LeakError):
        enter(table, make_table, folds=grouped_folds(table.group[:-3], 3, seed=0))
    one = replace(
        table,
        modalities=("ppg",),
        embeddings=table.embeddings[:, :1],
        projections=table.projections[:, :1],
        present=table.present[:, :1],
    )
    alone = enter(one, make_table, hand=(np.random.default_rng(0).normal(size=(len(one), 1)), ["ppg.level"]))
    with pytest.raises(ConfigError, match="one modality"):
        missing_modalities(alone)
    with pytest.raises(ConfigError, match="belong to no modality"):
        of_hand(table, np.zeros((len(table), 1)), ["gsr.level"])

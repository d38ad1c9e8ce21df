"""Few-shot, zero-shot, personalisation, own baselines and subgroups on cohorts whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from hdt_fm.evaluation import few_shot, own_baseline, personalisation, subgroups, zero_shot
from hdt_fm.evaluation.adapt import Own, affine, own_scaling, population, retrieval, warm_start
from hdt_fm.evaluation.audit import Pretraining
from hdt_fm.evaluation.contest import Features, contest
from hdt_fm.evaluation.folds import grouped_folds
from hdt_fm.evaluation.probes import boosted_classes, logistic
from hdt_fm.schema.errors import ConfigError, LeakError, ShapeError


@pytest.fixture
def enter(make_table):
    """Puts a table into a contest, with noise as hand features and an encoder of noise as the random one."""

    def made(table, **settings):
        rng = np.random.default_rng(5)
        given = {
            "table": table,
            "label": "stress",
            "hand": (rng.normal(size=(len(table), 3)), [f"{name}.level" for name in ("ppg", "eda", "acc")]),
            "folds": grouped_folds(table.group, 3, seed=0),
            "random_tables": [
                replace(
                    make_table(people=len(table.subjects), windows=len(table) // len(table.subjects), seed=77),
                    subjects=table.subjects,
                )
            ],
            "draws": 50,
        }
        return contest(**(given | settings))

    return made


def test_a_contest_is_audited_first(enter, make_table):
    table = make_table()
    with pytest.raises(LeakError, match="pretraining"):
        enter(table, pretraining=Pretraining((frozenset(table.subjects),)))
    ids = table.window_id.copy()
    folds = grouped_folds(table.group, 3, seed=0)
    ids[folds[0].test[0]] = ids[folds[0].train[0]]
    repeated = replace(table, window_id=ids)
    with pytest.raises(LeakError, match="1 shared windows"):
        enter(repeated, folds=folds, random_tables=[repeated])
    copied = np.random.default_rng(0).normal(size=(len(table), 3))
    copied[folds[0].test[0]] = copied[folds[0].train[0]]
    with pytest.raises(LeakError, match="exactly the content"):
        enter(table, hand=(copied, ["ppg.a", "eda.a", "acc.a"]), folds=folds)


# few shot


def test_more_people_teach_more(enter, make_table):
    entered = enter(make_table(signal=3.0, person_shift=1.0))
    result = few_shot.few_shot(entered, shots=(1, 4, 99), repeats=3)
    assert result.protocol["shots"] == [1, 4, 6]
    one, all_of_them = (
        result.find(few_shot.HEADLINE, "auroc", f"stress, labels of {name}")
        for name in ("1 person", "all training people")
    )
    assert all_of_them.value > one.value > 0.5
    assert result.find("dummy", "auroc", "stress, labels of 1 person").value == 0.5
    assert one.columns["draws_of_people"] == 3


def test_draws_of_people_are_whole_people_of_the_training_side(enter, make_table):
    entered = enter(make_table())
    for fold in entered.folds:
        for draw in range(5):
            rows = few_shot.people_to_learn_from(entered, fold, 2, [0, draw])
            groups = np.unique(entered.table.group[rows])
            assert len(groups) == 2
            assert not set(groups) & fold.test_groups
            assert len(rows) == np.isin(entered.table.group, groups).sum()
            assert np.array_equal(rows, few_shot.people_to_learn_from(entered, fold, 2, [0, draw]))


# zero-shot


def in_one_space(make_table, gap=0.0):
    """Two modalities that hold the label along one direction of the shared space, the second shifted by a gap."""
    table = make_table()
    rng = np.random.default_rng(1)
    shape = table.projections.shape
    values = 0.5 * rng.normal(size=shape)
    values[:, :2, 0] += 3 * (table.labels["stress"][:, None] - 0.5)
    values[:, 1, 0] += gap
    return replace(table, projections=(values * table.present[:, :, None]).astype(np.float32))


def test_what_lies_in_the_shared_space_transfers_and_noise_does_not(enter, make_table):
    result = zero_shot.zero_shot(enter(in_one_space(make_table)))
    assert len({row.what for row in result.rows}) == 6
    there = "stress, taught on ppg, asked on eda"
    assert result.find(zero_shot.SHARED, "auroc", there).value > 0.95
    assert result.find(zero_shot.CEILING, "auroc", there).role == "reference"
    assert abs(result.find("random encoder", "auroc", there).value - 0.5) < 0.15
    assert abs(result.find(zero_shot.SHARED, "auroc", "stress, taught on ppg, asked on acc").value - 0.5) < 0.15


def test_centring_closes_a_gap_between_modalities(enter, make_table):
    """A gap moves all answers to one side: order stays, so AUROC does, and balanced accuracy falls to a half."""
    result = zero_shot.zero_shot(enter(in_one_space(make_table, gap=20.0)))
    there = "stress, taught on ppg, asked on eda"
    assert result.find(zero_shot.SHARED, "balanced_accuracy", there).value == pytest.approx(0.5, abs=0.05)
    centred = f"{zero_shot.SHARED}{zero_shot.CENTRED}"
    assert result.find(centred, "balanced_accuracy", there).value > 0.95


def test_centring_uses_training_people_only(make_table):
    table = make_table()
    fold = grouped_folds(table.group, 3, seed=0)[0]
    moved = table.projections.copy()
    moved[fold.test] += 7.0
    before, after = (
        zero_shot._projected(one, 0, fold, centred=True) for one in (table, replace(table, projections=moved))
    )
    assert np.array_equal(before[fold.train], after[fold.train])
    assert np.allclose(after[fold.test] - before[fold.test], 7.0)


def test_another_cohort_is_asked(enter, make_table):
    first = enter(make_table(signal=40.0))
    other_table = make_table(people=7, signal=40.0, seed=3)
    other_table = replace(other_table, subjects=tuple(f"t{row:032x}" for row in range(7)))
    other = enter(other_table)
    result = zero_shot.across_cohorts(first, other)
    assert result.find("encoder + linear probe", "auroc").value > 0.95
    assert result.find("encoder + linear probe", "auroc").n == 7
    assert result.find("dummy", "auroc").value == 0.5
    with pytest.raises(LeakError, match="9 shared people"):
        zero_shot.across_cohorts(first, first)
    renamed = replace(first.table, subjects=tuple(f"u{row:032x}" for row in range(9)))
    with pytest.raises(LeakError, match="0 shared people, 198 equal windows"):
        zero_shot.across_cohorts(first, replace(first, table=renamed))
    with pytest.raises(ConfigError, match="same encoder"):
        zero_shot.across_cohorts(first, replace(other, table=replace(other_table, model_digest="x")))


# personalisation


def test_own_minutes_are_the_first_of_each_class_and_never_scored(enter, make_table):
    """Windows of 60 s every 30 s: two minutes of a class are three windows, one after the other."""
    table = make_table(hop_s=30.0)
    stress = np.tile((np.arange(22) // 4) % 2, 9).astype(np.float32)
    entered = enter(replace(table, labels={"stress": stress}))
    own = personalisation.own_rows(entered, 0, 2.0)
    assert own.tolist() == [0, 1, 2, 4, 5, 6]
    assert personalisation.own_rows(entered, 0, 1.0).tolist() == [0, 4]
    assert personalisation.own_rows(entered, 0, 0.0).tolist() == []
    small, large = personalisation.budgets_of(entered, (1.0, 2.0))
    assert np.array_equal(small.scored, large.scored)
    # The last own window starts at 180 s and ends at 240 s: the first that shares no time with it is number 8.
    assert np.flatnonzero(large.scored[:22]).tolist() == list(range(8, 22))


def test_who_never_shows_a_class_is_left_out(enter, make_table):
    table = make_table()
    stress = table.labels["stress"].copy()
    stress[:22] = 0
    budgets = personalisation.budgets_of(enter(replace(table, labels={"stress": stress})), (0.0, 2.0))
    assert not budgets[1].scored[:22].any()
    assert budgets[1].scored[22:].any()


def test_own_labels_help_whom_the_population_gets_wrong(enter, make_table):
    """Two people carry the label the other way round: without own data they are hurt, with it less so."""
    table = make_table(people=9, windows=22, signal=8.0)
    values = table.embeddings.copy()
    values[table.subject < 2, 0, 0] *= -1
    result = personalisation.personalisation(enter(replace(table, embeddings=values)), minutes=(0.0, 4.0))
    rows = {
        minutes: result.find(personalisation.HEADLINE, "auroc", f"stress, {minutes} min of own labels per class")
        for minutes in (0, 4)
    }
    assert rows[4].value >= rows[0].value
    assert {"helped", "hurt", "worst_change"} <= set(rows[4].columns)
    plain = result.find("encoder + no own data", "auroc", "stress, 0 min of own labels per class")
    assert rows[0].value == plain.value
    with pytest.raises(ConfigError, match="No two classes are left"):
        personalisation.personalisation(enter(table), minutes=(60.0,))
    with pytest.raises(ConfigError, match="two classes only"):
        personalisation.personalisation(enter(table, label="rate", kind="value"))


@pytest.fixture
def probe_and_own():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4))
    y = (x[:, 0] + 0.5 * rng.normal(size=200) > 0).astype(float)
    probe = population(logistic(2, seed=0, strength=1.0), x, y, np.repeat(np.arange(10), 20))
    own = rng.normal(size=(12, 4))
    return probe, own, Own(own, (own[:, 1] > 0).astype(float)), rng.normal(size=(30, 4))


def test_a_population_probe_is_the_probe(probe_and_own):
    probe, *_ = probe_and_own
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4))
    y = (x[:, 0] + 0.5 * rng.normal(size=200) > 0).astype(float)
    p = logistic(2, seed=0, strength=1.0)(x, y, np.repeat(np.arange(10), 20)).predict(x)
    assert np.allclose(np.log(p[:, 1] / p[:, 0]), probe.logits(probe.scale(x)), atol=1e-6)
    with pytest.raises(ShapeError, match="linear probe"):
        population(boosted_classes(2, seed=0), x, y, np.repeat(np.arange(10), 20))


@pytest.mark.parametrize(("move", "still"), [(affine, 1e9), (retrieval, 1e9), (warm_start, 1e9), (own_scaling, 1e9)])
def test_the_most_cautious_move_is_none(probe_and_own, move, still):
    probe, _, own, asked = probe_and_own
    assert np.allclose(move(probe, asked, own, still), probe.logits(asked), atol=1e-4)


def test_a_warm_start_is_the_map_probe(probe_and_own):
    """The reduced problem must find what gradient descent on all weights finds: the slope there is zero."""
    probe, x, own, _ = probe_and_own
    ridge = 0.7
    full = np.concatenate([np.eye(4), np.zeros((1, 4))])
    ends = warm_start(probe, full, own, ridge)
    offset = ends[-1]
    weights = ends[:4] - offset
    p = 1 / (1 + np.exp(-(x @ weights + offset)))
    miss = own.weight * (p - own.y)
    assert np.allclose(x.T @ miss + ridge * (weights - probe.weights), 0, atol=1e-5)
    assert np.isclose(miss.sum() + ridge * (offset - probe.offset), 0, atol=1e-5)
    bold = warm_start(probe, x, own, 1e-3)
    assert ((bold > 0) == (own.y > 0)).all()


def test_own_scaling_by_hand(probe_and_own):
    probe, x, own, asked = probe_and_own
    expected = probe.logits(asked - 12 / (12 + 4) * x.mean(axis=0))
    assert np.allclose(own_scaling(probe, asked, own, 4.0), expected)


# own baselines


def test_own_starts_by_hand():
    values = np.array([[1.0], [3.0], [5.0], [np.nan], [100.0]])
    subject, time_s = np.zeros(5, dtype=np.int64), np.arange(5) * 60.0
    starts = own_baseline.own_starts(values, subject, time_s, window_s=60.0, minutes=2.0)
    assert starts.mean[:, 0].tolist() == [2.0] * 5
    assert starts.spread[:, 0].tolist() == pytest.approx([1.0] * 5)
    assert starts.count[:, 0].tolist() == [2.0] * 5
    running = own_baseline.own_starts(values, subject, time_s, window_s=60.0, minutes=2.0, running=True)
    assert running.mean[:, 0].tolist() == pytest.approx([2.0, 2.0, 2.0, 3.0, 3.0])
    assert running.count[:, 0].tolist() == [2.0, 2.0, 2.0, 3.0, 3.0]


def test_a_baseline_never_sees_what_comes_later():
    rng = np.random.default_rng(0)
    values, subject, time_s = rng.normal(size=(40, 3)), np.repeat([0, 1], 20), np.tile(np.arange(20) * 30.0, 2)
    later = values.copy()
    later[15:20] += 9.0
    for running in (False, True):
        before, after = (
            own_baseline.own_starts(one, subject, time_s, window_s=60.0, running=running) for one in (values, later)
        )
        # Window 16 starts at 480 s; window 15 ends at 510 s.
        assert np.allclose(before.mean[:17], after.mean[:17])
        assert np.allclose(before.mean[20:], after.mean[20:])


def test_forms_use_training_people_only():
    rng = np.random.default_rng(0)
    values, subject, time_s = rng.normal(size=(40, 3)), np.repeat([0, 1], 20), np.tile(np.arange(20) * 60.0, 2)
    train = np.arange(20)

    def made(form, given):
        x = Features(given, np.array([0, 0, 1]), np.ones((40, 2), dtype=bool))
        return own_baseline.relative(form, x, own_baseline.own_starts(given, subject, time_s, window_s=60.0), train)

    moved = values.copy()
    moved[20:] += 5.0
    for form in own_baseline.FORMS:
        assert np.array_equal(made(form, values)[:20], made(form, moved)[:20])
    assert np.allclose(made("less own start", values), made("less own start", moved))
    assert made("both, and distance", values).shape == (40, 3 + 3 + 2)


def test_a_persons_shift_is_removed_and_the_form_is_chosen(enter, make_table):
    result = own_baseline.own_baseline(enter(make_table(people=6, windows=16, signal=4.0, person_shift=30.0)))
    what = "stress, first 5 min as own baseline"
    plain = result.find("encoder, as it is", "auroc", what).value
    assert result.find("encoder, less own start", "auroc", what).value > plain + 0.1
    assert result.find("encoder, chosen form", "auroc", what).value > plain + 0.1
    assert result.find("hand features, chosen form", "auroc", what).role == "baseline"


# subgroups


def test_bands_are_scored_and_small_ones_hidden(enter, make_table):
    entered = enter(make_table(people=13, signal=40.0))
    facts = [{"sex": "f" if row < 6 else "m", "device": "a" if row < 11 else "b"} for row in range(13)]
    result = subgroups.subgroups(entered, facts)
    assert result.find(subgroups.HEADLINE, "auroc", "stress, sex f").n == 6
    assert result.find(subgroups.HEADLINE, "auroc", "stress, sex m").n == 7
    assert result.find(subgroups.HEADLINE, "auroc", "stress, everyone").n == 13
    assert result.protocol["bands"] == {"sex": ["f", "m"]}


def test_small_bands_are_merged_so_that_nothing_can_be_subtracted(enter, make_table):
    entered = enter(make_table(people=13))
    assert subgroups.shown_bands(entered, [*"aaaaaaa", *"bbb", *"ccc"]) == [*"aaaaaaa", *["others"] * 6]
    # c has two people: hidden by itself, so the smaller of the large bands joins it.
    assert subgroups.shown_bands(entered, [*"aaaaaa", *"bbbbb", *"cc"]) == [*"aaaaaa", *["others"] * 7]


def test_covariates_must_fit_and_split(enter, make_table):
    entered = enter(make_table())
    with pytest.raises(ShapeError, match="do not fit the table's people"):
        subgroups.subgroups(entered, [{}])
    with pytest.raises(ConfigError, match="No covariate splits"):
        subgroups.subgroups(entered, [{"sex": "f"}] * 9)

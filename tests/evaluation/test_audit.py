"""Each leak is planted and must be refused; the clean table must pass."""

from dataclasses import replace

import numpy as np
import pytest

from hdt_fm.evaluation.audit import (
    FittedOn,
    Pretraining,
    audit,
    refuse_fitted_on_test,
    refuse_label_as_input,
    refuse_overlap,
    refuse_shared_windows,
    row_digests,
)
from hdt_fm.evaluation.folds import Fold, grouped_folds
from hdt_fm.evaluation.probes import Fitted, out_of_fold
from hdt_fm.evaluation.standardise import Standardise
from hdt_fm.schema.errors import LeakError


@pytest.fixture
def table(make_table):
    return make_table()


@pytest.fixture
def folds(table):
    return grouped_folds(table.group, 3, seed=0)


def test_a_clean_table_passes_and_says_what_was_checked(table, folds):
    checks = audit(table, folds)
    assert checks["groups"] == "disjoint"
    assert checks["pretraining"] == "not recorded"
    assert len(checks) == 5


def test_shared_group_is_refused(table, folds):
    first = folds[0]
    leaky = replace(first, train=np.append(first.train, first.test[:1]))
    with pytest.raises(LeakError, match="Groups lie in both training and test"):
        audit(table, [leaky, *folds[1:]])


def test_positions_of_a_subset_used_as_rows_are_refused(table):
    """The index slip: folds of the labelled rows are used on all rows. The numbers are valid; the people are not."""
    labelled = np.flatnonzero(np.random.default_rng(1).random(len(table)) < 0.7)
    slipped = grouped_folds(table.group[labelled], 3, seed=0)
    assert max(fold.test.max() for fold in slipped) < len(table)
    with pytest.raises(LeakError, match="made from another table"):
        audit(table, slipped)


def test_an_index_slip_of_the_right_length_is_refused(table, folds):
    """Rows were shuffled after the folds were made: length and range agree, only the people differ."""
    order = np.random.default_rng(2).permutation(len(table))
    shuffled = replace(table, group=table.group[order])
    with pytest.raises(LeakError, match="do not hold the people"):
        audit(shuffled, folds)


def test_disjoint_but_wrong_people_are_refused(table, folds):
    """Groups renamed in blocks: still disjoint, still not the fold's people."""
    renamed = replace(table, group=((table.group - 100 + 1) % 9) + 100)
    assert not set(renamed.group[folds[0].train]) & set(renamed.group[folds[0].test])
    with pytest.raises(LeakError, match="do not hold the people"):
        audit(renamed, folds)


def test_the_same_window_on_both_sides_is_refused(table, folds):
    ids = table.window_id.copy()
    ids[folds[0].test[0]] = ids[folds[0].train[0]]
    with pytest.raises(LeakError, match="1 shared windows"):
        audit(replace(table, window_id=ids), folds)
    with pytest.raises(LeakError):
        refuse_shared_windows(folds[0], window_id=ids)


def test_overlapping_windows_of_one_person_are_refused(table, folds):
    """The person got two groups, so groups are disjoint, but half-overlapping windows straddle the split."""
    person = table.subject.copy()
    train, test = folds[0].train[3], folds[0].test[4]
    person[test] = person[train]
    time_s = table.time_s.copy()
    time_s[test] = time_s[train] + 30.0
    with pytest.raises(LeakError, match="1 test windows overlap"):
        audit(replace(table, subject=person, time_s=time_s), folds)


def test_windows_that_touch_do_not_overlap():
    fold = Fold(train=np.array([0, 2]), test=np.array([1]), rows=3, test_groups=frozenset({1}))
    subject = np.zeros(3, dtype=np.int64)
    refuse_overlap(fold, subject=subject, time_s=np.array([0.0, 60.0, 120.0]), window_s=60.0)
    with pytest.raises(LeakError):
        refuse_overlap(fold, subject=subject, time_s=np.array([0.0, 59.0, 120.0]), window_s=60.0)
    with pytest.raises(LeakError):
        refuse_overlap(fold, subject=subject, time_s=np.array([0.0, 61.0, 120.0]), window_s=60.0)


def test_one_recording_under_two_names_is_refused(table, folds):
    embeddings = table.embeddings.copy()
    embeddings[folds[0].test[:4]] = embeddings[folds[0].train[:4]]
    with pytest.raises(LeakError, match="4 equal test rows"):
        audit(replace(table, embeddings=embeddings), folds)


def test_equal_hand_features_are_refused_but_empty_rows_are_not(table, folds):
    hand = np.random.default_rng(0).normal(size=(len(table), 4))
    hand[folds[0].test[:2]] = np.nan
    hand[folds[0].train[:2]] = np.nan
    audit(table, folds, features=[hand])
    hand[folds[0].test[0]] = hand[folds[0].train[5]]
    with pytest.raises(LeakError, match="1 equal test rows"):
        audit(table, folds, features=[hand])


def test_row_digests_tell_rows_apart():
    rows = np.array([[1.0, 2.0], [1.0, 2.0], [2.0, 1.0], [0.0, 0.0], [np.nan, 0.0]])
    digests = row_digests(rows)
    assert digests[0] == digests[1] != digests[2]
    assert list(digests[3:]) == [0, 0]


def test_statistics_of_test_people_are_refused(table, folds):
    """A scaler fitted before the split is the commonest leak; its record gives it away."""
    x = table.embeddings.reshape(len(table), -1).astype(np.float64)
    scale = Standardise.fit(x, table.group)

    def leaky(features, target, group):
        return Fitted(lambda new: scale(new)[:, :1], scale.fitted_on)

    with pytest.raises(LeakError, match="Test people were used to fit a model"):
        out_of_fold(leaky, [x], table.labels["rate"].astype(np.float64), table.group, folds, outputs=1)


def test_fitted_on_counts_groups():
    refuse_fitted_on_test(FittedOn.of(np.array([1, 1, 4])), test_groups={2, 3})
    with pytest.raises(LeakError, match="1 of 2 test groups"):
        refuse_fitted_on_test(FittedOn.of(np.array([1, 1, 4])), test_groups={4, 3})


def test_pretraining_on_test_people_needs_a_declaration(table, folds):
    everyone = frozenset(table.subjects)
    with pytest.raises(LeakError, match="seen test people in pretraining"):
        audit(table, folds, pretraining=Pretraining((everyone,)))
    said = audit(table, folds, pretraining=Pretraining((everyone,), declared=True))["pretraining"]
    assert said == "saw 9 test groups, without labels (declared)"


def test_pretraining_per_fold_without_its_test_people_passes(table, folds):
    seen = tuple(frozenset(table.subjects[row] for row in np.unique(table.subject[fold.train])) for fold in folds)
    assert audit(table, folds, pretraining=Pretraining(seen))["pretraining"] == "test people left out"
    with pytest.raises(LeakError, match="seen test people"):
        audit(table, folds, pretraining=Pretraining(seen[::-1]))
    with pytest.raises(LeakError, match="does not fit the folds"):
        audit(table, folds, pretraining=Pretraining(seen[:2]))


def test_pretraining_on_someone_of_the_same_group_counts(table):
    """Two visits under two pseudonyms, tied by a group: seeing one is seeing the other."""
    tied = replace(table, group=np.where(table.subject == 1, 100, table.group))
    folds = grouped_folds(tied.group, 4, seed=0)
    with pytest.raises(LeakError, match="1 test groups were seen"):
        audit(tied, folds, pretraining=Pretraining((frozenset({tied.subjects[1]}),)))
    outsiders = Pretraining((frozenset({"s" + "f" * 32}),))
    assert audit(tied, folds, pretraining=outsiders)["pretraining"] == "test people left out"


PEOPLE = [
    {"sex": "F", "bmi": "21.5", "site": "a"},
    {"sex": "M", "bmi": "30", "site": "b"},
    {"sex": "F", "site": "c"},
    {"sex": "M", "bmi": "25", "site": "d"},
    {},
]
SUBJECT = np.repeat(np.arange(5), 3)


def label_of(*by_person):
    return np.repeat(np.array(by_person, dtype=np.float32), 3)


@pytest.mark.parametrize(
    ("label", "values", "message"),
    [
        ("sex", label_of(0, 0, 0, 0, 0), "'sex' is a covariate that the encoder reads"),
        ("gender", label_of(1, 0, 1, 0, np.nan), "what the covariate 'sex' says"),
        ("obese", label_of(21.5, 30, np.nan, 25, 3), "what the covariate 'bmi' says"),
    ],
)
def test_a_label_that_the_encoder_is_told_is_refused(label, values, message):
    with pytest.raises(LeakError, match=message) as caught:
        refuse_label_as_input(label, values, SUBJECT, people=PEOPLE, columns=("bmi", "sex"))
    assert "21.5" not in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        label_of(1, 0, 1, 1, 0),  # as sex, but for one person
        np.tile([0, 1, 0], 5).astype(np.float32),  # comes and goes
        label_of(1, 1, 1, 1, np.nan),
        label_of(*[np.nan] * 5),
    ],
)
def test_another_label_of_people_is_not(values):
    # Everyone has a site of their own: that says nothing of a label.
    refuse_label_as_input("stress", values, SUBJECT, people=PEOPLE, columns=("bmi", "sex", "site"))


def test_a_label_like_a_column_that_the_encoder_does_not_read_is_fine():
    refuse_label_as_input("sex", label_of(1, 0, 1, 0, 1), SUBJECT, people=PEOPLE, columns=("bmi",))

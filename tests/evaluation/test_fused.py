"""One embedding of a window in the tables: what is lost is lost to it too."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hdt_fm.evaluation.classification import classification
from hdt_fm.evaluation.contest import OURS, Features, contest, of_fused, of_table
from hdt_fm.evaluation.few_shot import few_shot
from hdt_fm.evaluation.folds import grouped_folds
from hdt_fm.evaluation.fused import FUSED, MEAN, fused_features, mean_of
from hdt_fm.evaluation.incomplete import HEADS
from hdt_fm.evaluation.missing_modalities import missing_modalities
from hdt_fm.evaluation.own_baseline import FORMS, own_starts, relative
from hdt_fm.evaluation.regression import regression
from hdt_fm.fusion.mean import Mean

NAMES = ("ppg", "eda", "acc")


def summed(modalities, embeddings, present):
    """A fusion by hand that knows modalities by name: ppg counts ten times."""
    weight = np.array([10.0 if name == "ppg" else 1.0 for name in modalities])
    return (np.where(present[..., None], embeddings, 0.0) * weight[:, None]).sum(axis=1)


def given(table, make_table, **more):
    rng, people = np.random.default_rng(5), len(table.subjects)
    random = make_table(people=people, windows=len(table) // people, seed=77)
    return {
        "table": table,
        "label": "stress",
        "hand": (rng.normal(size=(len(table), 3)), [f"{name}.level" for name in table.modalities]),
        "folds": grouped_folds(table.group, 3, seed=0),
        "draws": 30,
        "fuse": [summed],
    } | more, random


def enter(table, make_table, **more):
    settings, random = given(table, make_table, **more)
    return contest(**settings, random_tables=[random])


@pytest.fixture(scope="module")
def told(make_table):
    """The label is in ppg alone, plainly."""
    return make_table(people=6, windows=14, signal=40.0)


def test_features_are_made_again_of_what_is_left(told):
    x = of_fused(told, summed)
    rows, lost = np.array([3, 0, 7, 11]), np.array([[1, 0, 0], [0, 1, 0], [1, 1, 1], [0, 0, 0]], dtype=bool)
    left = x.at(rows).without(lost)
    present = told.present[rows] & ~lost
    assert np.array_equal(left.present, present)
    expected = summed(NAMES, told.embeddings[rows].astype(np.float64), present)
    np.testing.assert_array_equal(left.values[present.any(1)], expected[present.any(1)])
    # A window of nothing is not known, as it is where modalities stand side by side.
    assert np.isnan(left.values[2]).all()
    # Lost again, it is what both losses leave.
    again, more = left.without(~lost), np.ones((4, 3), dtype=bool)
    assert np.array_equal(again.values, x.at(rows).without(more).values, equal_nan=True)
    for subset in ([0], [1, 2]):
        alone = x.of(subset)
        keep = told.present & np.isin(np.arange(3), subset)
        expected = np.where(keep.any(1)[:, None], summed(NAMES, told.embeddings.astype(np.float64), keep), np.nan)
        np.testing.assert_array_equal(alone, expected)


def test_columns_of_a_modality_stay_as_they_were(told):
    x = of_table(told)
    assert x.source is None
    assert x.at(np.arange(4)).without(np.zeros((4, 3), dtype=bool)).source is None


def test_a_lost_modality_tells_nothing_through_the_fusion(told, make_table):
    heads = ("mean imputation", "probe a subset")
    result = missing_modalities(enter(told, make_table), heads=heads)

    def auroc(setting, model):
        return result.find(model, "auroc", f"stress, {setting}").value

    for head in (*heads, "chosen head"):
        assert auroc("0 of 3 modalities lost", f"{FUSED} + {head}") > 0.95
        assert auroc("ppg alone", f"{FUSED} + {head}") > 0.9
        assert abs(auroc("ppg lost", f"{FUSED} + {head}") - 0.5) < 0.17
    assert result.find(f"{MEAN} + chosen head", "auroc", "stress, ppg lost").role == "ours"


def test_the_leak_to_fear_would_be_seen(told, make_table):
    """Features that forget what they are made of still tell what was lost."""
    entered, lost = enter(told, make_table), np.tile([True, False, False], (len(told), 1))
    fused = next(one for one in entered.makers if one.name == FUSED).in_fold(0)
    rows, fold = entered.training(entered.folds[0]), entered.folds[0]
    head = HEADS["mean imputation"](entered.base(strength=0.01), outputs=2, seed=0)(
        fused.at(rows), entered.target.values[rows], told.group[rows]
    )

    def right(x):
        said = head.predict(x.without(lost).at(fold.test))
        return float((said.argmax(axis=1) == entered.target.values[fold.test]).mean())

    assert right(replace(fused, source=None)) > 0.9
    assert right(fused) < 0.75


def test_a_table_shows_fused_and_mean_beside_the_modalities(told, make_table):
    settings, random = given(told, make_table)
    own = {"extra_tables": {"random encoder": random}, "predictions": {"trained from scratch": np.zeros(len(told))}}
    plain = classification(**{**settings, "fuse": None}, **own)
    result = classification(**settings, **own)
    added = {row.model for row in result.rows} - {row.model for row in plain.rows}
    assert added == {f"{FUSED} + logistic regression", f"{MEAN} + logistic regression"}
    # Nothing else moves.
    assert [row for row in result.rows if row.model not in added] == list(plain.rows)
    assert result.find(f"{FUSED} + logistic regression", "auroc").value > 0.95
    for_value = regression(**{**settings, "label": "rate"}, **own)
    assert for_value.find(f"{FUSED} + ridge", "mae").value < for_value.find("dummy (mean)", "mae").value


def test_each_fold_has_the_fusion_of_its_own_model(told, make_table):
    def other(sign):
        return lambda *given: sign * summed(*given)

    entered = enter(told, make_table, fold_tables=[told] * 3, fuse=[other(1.0), other(2.0), other(3.0)])
    fused = next(one for one in entered.makers if one.name == FUSED)
    base = of_fused(told, summed).values
    for number in range(3):
        np.testing.assert_allclose(fused.in_fold(number).values, (number + 1) * base)


def test_what_goes_over_all_makers_of_features_takes_it_last(told, make_table):
    entered = enter(told, make_table)
    plain = enter(told, make_table, fuse=None)
    assert [one.name for one in entered.makers][: len(plain.makers)] == [one.name for one in plain.makers]
    assert few_shot(entered, shots=(2,), repeats=2).find(f"{FUSED} + linear probe", "auroc").value > 0.9
    assert entered.makers[0].name == OURS
    fused = entered.makers[-2].in_fold(0)
    starts = own_starts(fused.values, told.subject, told.time_s, window_s=told.window_s)
    for form in FORMS:
        assert len(relative(form, fused, starts, entered.folds[0].train)) == len(told)


def test_the_mean_here_is_the_mean_of_the_fusion_room(told):
    ours = Mean(modalities=NAMES, width=5)(torch.from_numpy(told.embeddings), torch.from_numpy(told.present))
    np.testing.assert_allclose(mean_of(NAMES, told.embeddings, told.present), ours.numpy(), rtol=1e-6, atol=1e-7)


def test_presence_stands_beside_the_fused_embedding_where_it_varies(told):
    found = fused_features(told, summed)
    varies = ~told.present.all(axis=0)
    assert found.shape == (len(told), 5 + varies.sum())
    assert np.array_equal(found[:, 5:], told.present[:, varies])
    assert isinstance(of_fused(told, summed), Features)

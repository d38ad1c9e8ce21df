"""An ablation on tables whose truth is known: what was taken out must show, with the right sign."""

from dataclasses import replace

import numpy as np
import pytest

from hdt_fm.evaluation.ablation import ablation
from hdt_fm.evaluation.contest import contest
from hdt_fm.evaluation.folds import grouped_folds
from hdt_fm.schema.errors import ShapeError


@pytest.fixture(scope="module")
def entered(make_table):
    """The base knows the class and matches its modalities; the random encoder neither."""
    blind = make_table(people=9, windows=22, seed=0)
    table = make_table(people=9, windows=22, signal=4.0, seed=0)
    shared = np.random.default_rng(7).normal(size=(len(table), 1, table.projections.shape[2]))
    table = replace(table, projections=(shared * table.present[:, :, None]).astype(np.float32))
    hand = np.random.default_rng(1).normal(size=(len(table), 2))
    return contest(
        table=table,
        label="stress",
        hand=(hand, ("ppg.mean", "eda.mean")),
        folds=grouped_folds(table.group, 3, 0),
        random_tables=[blind],
        draws=200,
    )


def test_what_was_taken_out_shows_with_its_sign(entered):
    folds = len(entered.folds)
    result = ablation(
        entered, {"the same": entered.own_tables * folds, "blind": entered.random_tables * folds}, base="base"
    )
    label, search = "stress, linear probe", "retrieval, mean over pairs"
    same, blind = (result.find(name, "auroc", label) for name in ("the same", "blind"))
    assert result.find("base", "auroc", label).value > 0.9
    assert same.columns["ours_minus_this"] == 0
    assert blind.columns["ours_minus_this_low"] > 0.2
    assert blind.value == result.find("random encoder", "auroc", label).value
    assert result.find("base", "recall@10", search).value == 1
    chance = result.find("chance", "recall@10", search).value
    assert result.find("blind", "recall@10", search).value == pytest.approx(chance, abs=0.06)


def test_the_probe_reads_only_the_modalities_that_are_asked_for(entered):
    """The class stands in the first modality alone."""
    folds = len(entered.folds)
    result = ablation(entered, {"the same": entered.own_tables * folds}, base="base", probe=[1, 2])
    assert result.find("base", "auroc", "stress, linear probe").value < 0.65


def test_mean_over_pairs_is_the_mean_of_people(entered):
    """By hand from the recall of each ordered pair, person by person."""
    folds = len(entered.folds)
    result = ablation(entered, {"blind": entered.random_tables * folds}, base="base")
    row = result.find("blind", "recall@10", "retrieval, mean over pairs")
    table, per_person = entered.random_tables[0], {}
    for fold in entered.folds:
        for query in range(3):
            for key in range(3):
                rows = [r for r in fold.test if table.present[r, query] and table.present[r, key]]
                if query == key:
                    continue
                for r in rows:
                    scores = [table.projections[r, query] @ table.projections[o, key] for o in rows]
                    own = table.projections[r, query] @ table.projections[r, key]
                    hit = sum(score > own for score in scores) < 10
                    per_person.setdefault(int(table.group[r]), {}).setdefault((query, key), []).append(hit)
    means = [np.mean([np.mean(hits) for hits in pairs.values()]) for pairs in per_person.values()]
    assert row.value == pytest.approx(np.mean(means), abs=1e-9)


def test_a_variant_of_other_folds_is_refused(entered):
    with pytest.raises(ShapeError, match="one table a fold"):
        ablation(entered, {"short": entered.own_tables})

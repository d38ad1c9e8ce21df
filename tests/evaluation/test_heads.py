"""The short table of a trained head."""

import numpy as np
import pytest

from hdt_fm.evaluation.folds import grouped_folds
from hdt_fm.evaluation.heads import PROBE, probe_table
from hdt_fm.schema.errors import ConfigError


def test_the_label_itself_scores_one_and_the_guess_half(make_table):
    table = make_table()
    truth = table.labels["stress"].astype(np.float32)
    output = np.stack([-truth, truth], axis=1)
    fold = grouped_folds(table.group, 3, seed=0)[0]
    result = probe_table(table, "stress", output, fold, draws=50)
    assert result.find(PROBE, "auroc").value == 1.0
    assert result.find("dummy", "auroc").value == 0.5
    assert result.find(PROBE, "auroc").n == 3


def test_a_value_is_scored_in_its_unit_beside_the_training_mean(make_table):
    table = make_table()
    rate = table.labels["rate"].astype(np.float32)
    fold = grouped_folds(table.group, 3, seed=0)[1]
    result = probe_table(table, "rate", (rate + 2)[:, None], fold, draws=50)
    assert result.find(PROBE, "mae").value == pytest.approx(2.0, abs=1e-5)
    assert result.find(PROBE, "mae").unit == "breaths/min"
    mean = rate[fold.train].mean()
    people = [np.abs(rate[fold.test][table.group[fold.test] == g] - mean).mean() for g in fold.test_groups]
    assert result.find("dummy", "mae").value == pytest.approx(np.mean(people), rel=1e-5)


def test_an_unknown_label_is_refused(make_table):
    table = make_table()
    with pytest.raises(ConfigError, match="no label"):
        probe_table(table, "sleep", np.zeros((len(table), 2), np.float32), grouped_folds(table.group, 3, seed=0)[0])

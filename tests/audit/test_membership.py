"""The table of membership: what is found, what is not, and what so few people cannot show."""

import numpy as np
import pytest

from hdt_fm.audit.halves import random_halves
from hdt_fm.audit.membership import IN_TURN, THIS_MODEL, Evidence, membership
from hdt_fm.audit.words import membership_words
from hdt_fm.report.tables import markdown
from hdt_fm.schema.errors import ConfigError

ALL = ("threshold", "lira", "rmia")


def evidence(seed: int, *, people: int = 24, references: int = 4, effect: float = 0.0) -> Evidence:
    """Losses with a level of each person, noise of each model, and a drop for members."""
    generator = np.random.default_rng(seed)
    halves = random_halves([str(number) for number in range(people)], references=references, seed=seed)
    first = generator.permutation(people) < people // 2
    member = np.concatenate([first[None], halves])
    losses = generator.normal(size=people) + generator.normal(size=member.shape) - effect * member
    return Evidence(losses, member, np.ones(people, dtype=bool), np.arange(people) % 2)


def found(one: Evidence, **change):
    settings = {"attacks": ALL, "gamma": 1.0, "false_shares": (0.1, 0.01, 0.001), "draws": 40, "seed": 0}
    return membership(one, **(settings | change))


def test_nothing_is_found_where_membership_does_nothing() -> None:
    """Over many made-up cohorts every area is a half: no attack hears of its target through the references."""
    tables = [found(evidence(seed), draws=10) for seed in range(45)]
    for what in (THIS_MODEL, IN_TURN):
        for model in ("threshold", "LiRA-lite", "RMIA"):
            areas = [table.result.find(model, "auroc", what).value for table in tables]
            error = np.std(areas) / np.sqrt(len(areas))
            assert np.mean(areas) == pytest.approx(0.5, abs=3.5 * error), (what, model)


def test_a_drop_is_found_by_each_attack_and_more_by_references() -> None:
    table = found(evidence(1, people=60, references=8, effect=2.5))
    areas = {model: table.result.find(model, "auroc", IN_TURN).value for model in ("threshold", "LiRA-lite", "RMIA")}
    assert areas["LiRA-lite"] > 0.9
    assert areas["RMIA"] > 0.9
    assert 0.75 < areas["threshold"] < areas["LiRA-lite"]
    row = table.result.find("RMIA", "auroc", IN_TURN)
    assert row.low < row.value < row.high
    assert row.n == 60
    assert (row.columns["members"], row.columns["others"]) == (240, 240)


def test_what_cannot_be_resolved_is_said_and_not_numbered() -> None:
    table = found(evidence(2))
    # Twelve others under the model: one false alarm is a twelfth. Four references: 48 pairs.
    shares = {(one.what, one.false_share) for one in table.unresolved}
    assert {(THIS_MODEL, 0.01), (THIS_MODEL, 0.001), (IN_TURN, 0.01), (IN_TURN, 0.001)} == shares
    assert not any("1.0%" in row.metric for row in table.result.rows)
    assert any(row.metric == "caught at 10.0% false alarms" for row in table.result.rows)
    assert any("not resolvable" in sentence and "8.33%" in sentence for sentence in membership_words(table))


def test_a_table_has_chance_beside_each_number() -> None:
    text = markdown(found(evidence(3)).result)
    assert "chance" in text
    assert "caught at the smallest share" in text


def test_who_only_watched_is_not_scored_and_who_cannot_be_asked_is_left_out() -> None:
    one = evidence(4)
    counted = one.counted.copy()
    counted[:5] = False
    losses = one.losses.copy()
    losses[2, 23] = np.nan
    row = found(Evidence(losses, one.member, counted, one.cohort)).result.find("threshold", "auroc", THIS_MODEL)
    assert row.n == 24 - 5 - 1


def test_without_references_the_threshold_is_left() -> None:
    one = evidence(5)
    alone = Evidence(one.losses[:1], one.member[:1], one.counted, one.cohort)
    assert {(row.what, row.model) for row in found(alone).result.rows} == {
        (THIS_MODEL, "threshold"),
        (THIS_MODEL, "chance"),
    }


def test_one_side_alone_is_refused() -> None:
    one = evidence(6)
    member = one.member.copy()
    member[0] = True
    with pytest.raises(ConfigError, match="one side alone"):
        found(Evidence(one.losses, member, one.counted, one.cohort))

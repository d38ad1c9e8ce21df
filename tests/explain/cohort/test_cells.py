"""Nobody is told apart: an attacker who adds and takes away what is shown never gets fewer than five people's sum."""

from itertools import combinations

import numpy as np
import pytest

from hdt_fm.explain.cohort.cells import NOT_KNOWN, by_person, facts_shown, joined_columns, tells_of_a_few
from hdt_fm.explain.page.shares import MINIMUM_CELL
from hdt_fm.schema.errors import ExplainError

EVERYBODY = np.ones((16, 1), dtype=bool)


def attacked(masks: list[np.ndarray], held: np.ndarray) -> bool:
    """Tries every set of one to four people against every linear combination of the sums that are shown."""
    for here in held.T:
        groups = np.stack([np.ones(here.sum()), *(mask[here] for mask in masks)]).astype(float)
        for count in range(1, MINIMUM_CELL):
            for some in combinations(range(here.sum()), count):
                want = np.zeros(here.sum())
                want[list(some)] = 1.0
                found, *_ = np.linalg.lstsq(groups.T, want, rcond=None)
                if np.abs(groups.T @ found - want).max() < 1e-8:
                    return True
    return False


def members(name: str, facts: tuple) -> dict[str, int]:
    return {group.name: int(group.members.sum()) for fact in facts if fact.name == name for group in fact.groups}


def test_a_small_group_is_joined_and_not_left_out() -> None:
    """With sex told of 12 women and the whole of 16, 16 m - 12 m would be the four men's."""
    sex = ["f"] * 6 + ["m"] * 6 + ["x"] * 4
    facts = facts_shown({"sex": sex}, EVERYBODY)
    assert members("sex", facts) == {"f or x": 10, "m": 6}
    alone = facts_shown({"sex": ["f"] * 12 + ["m"] * 4}, EVERYBODY)
    assert alone[0].groups == ()
    assert "no two groups" in alone[0].hidden


def test_who_is_not_known_is_a_group_too() -> None:
    band = ["a"] * 7 + ["b"] * 7 + [""] * 2
    assert members("age", facts_shown({"age": band}, EVERYBODY)) == {f"a or {NOT_KNOWN}": 9, "b": 7}


def test_a_group_that_few_hold_a_signal_in_is_joined() -> None:
    held = np.ones((16, 2), dtype=bool)
    held[2:8, 1] = False  # two of the first eight hold the second signal
    facts = facts_shown({"device": ["a"] * 8 + ["b"] * 8}, held)
    assert facts[0].groups == ()
    more = np.concatenate([held, held[8:]])
    facts = facts_shown({"device": ["a"] * 8 + ["b"] * 8 + ["c"] * 8}, more)
    assert members("device", facts) == {"a or b": 16, "c": 8}
    held[:8, 1] = False  # nobody of them does
    assert members("device", facts_shown({"device": ["a"] * 8 + ["b"] * 8}, held)) == {"a": 8, "b": 8}


def test_two_facts_that_differ_by_one_person_are_not_both_shown() -> None:
    sex = ["f"] * 8 + ["m"] * 8
    site = ["north"] * 9 + ["south"] * 7  # sum over south, less that over men, is one person's
    facts = facts_shown({"sex": sex, "site": site}, EVERYBODY)
    assert members("sex", facts) == {"f": 8, "m": 8}
    assert facts[1].groups == ()
    assert "together with the facts above" in facts[1].hidden
    assert facts_shown({"site": site, "sex": sex}, EVERYBODY)[0].groups


def test_facts_that_cross_evenly_are_both_shown() -> None:
    sex, site = ["f", "m"] * 8, ["north"] * 8 + ["south"] * 8
    facts = facts_shown({"sex": sex, "site": site}, EVERYBODY)
    assert all(fact.groups for fact in facts)  # cells of four, but no sum of groups is one


def test_the_attacker_agrees_with_the_rule() -> None:
    """Random groups, small ones among them: the search over cells says what the search over people says."""
    rng = np.random.default_rng(4)
    told = []
    for _ in range(30):
        # Sizes of one or two groups and of what they share, from none to all of twelve people.
        masks = [np.isin(np.arange(12), rng.permutation(12)[: rng.integers(4, 9)]) for _ in range(rng.integers(1, 3))]
        held = np.stack([np.ones(12, dtype=bool), rng.random(12) < rng.choice([0.8, 1.0])], axis=1)
        told.append(attacked(masks, held))
        assert tells_of_a_few([np.ones(12, dtype=bool), *masks], held) == told[-1]
    assert 3 < sum(told) < 27


def test_no_attack_works_on_what_is_shown() -> None:
    rng = np.random.default_rng(8)
    shown = 0
    for _ in range(8):
        values = {
            "sex": rng.choice(["f", "m", ""], 14, p=[0.45, 0.45, 0.1]).tolist(),
            "age": rng.choice(["young", "old", "older"], 14).tolist(),
            "site": rng.choice(["a", "b"], 14, p=[0.7, 0.3]).tolist(),
        }
        held = np.stack([np.ones(14, dtype=bool), np.arange(14) < 12], axis=1)
        facts = facts_shown(values, held)
        masks = [group.members for fact in facts for group in fact.groups]
        shown += len(masks)
        assert all(mask.sum() >= MINIMUM_CELL for mask in masks)
        assert not masks or not attacked(masks, held)
    assert shown > 6


def test_signals_of_few_people_are_joined_with_the_next_rarest() -> None:
    held = np.zeros((20, 4), dtype=bool)
    held[:, 0] = True
    held[:9, 1] = True
    held[7:10, 2] = True  # three people, one of whom holds neither other
    assert joined_columns(held) == ((0,), (1, 2))  # nobody holds the fourth
    held[:, 1] = False
    held[:, 3] = False
    assert joined_columns(held) == ((0, 2),)


def test_too_many_small_cells_are_refused_without_a_search() -> None:
    rng = np.random.default_rng(0)
    masks = [rng.random(300) < 0.5 for _ in range(8)]
    assert tells_of_a_few(masks, np.ones((300, 1), dtype=bool))


def test_a_fact_is_one_value_a_person() -> None:
    person = np.array([0, 0, 1, 2])
    assert by_person("sex", ["f", "f", "m", ""], person) == ["f", "m", ""]
    with pytest.raises(ExplainError, match="two values of 'sex'"):
        by_person("sex", ["f", "m", "m", ""], person)
    with pytest.raises(ExplainError, match="does not fit"):
        by_person("sex", ["f"], person)

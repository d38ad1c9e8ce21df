"""Which cells of people may be shown: none of too few, and none from which too few could be reckoned."""

import numpy as np
import pytest

from hdt_fm.audit.fairness.cells import columns_of
from hdt_fm.schema.errors import ConfigError, UnknownNameError


def of(**facts: list[str]) -> list[dict[str, str]]:
    size = len(next(iter(facts.values())))
    return [{name: values[one] for name, values in facts.items() if values[one]} for one in range(size)]


def test_large_cells_are_shown_as_they_are() -> None:
    (column,) = columns_of(of(sex=[*"FFFFFF", *"MMMMM"])).shown
    assert column.cells == ("F", "M")
    assert column.members.sum(axis=1).tolist() == [6, 5]
    assert not column.hides


def test_a_pool_of_enough_people_is_hidden_and_in_no_cell() -> None:
    (column,) = columns_of(of(device=[*"aaaaaa", *"bbbbbb", *"ccc", *"ddd"])).shown
    assert column.cells == ("a", "b")
    assert (column.cell[12:] == -1).all()


def test_one_small_cell_takes_the_second_smallest_with_it() -> None:
    # Everyone's number less the shown ones would be the small cell's.
    (column,) = columns_of(of(device=[*"aaaaaaa", *"bbbbbb", *"ccccc", *"dd"])).shown
    assert column.cells == ("a", "b")
    assert (column.cell < 0).sum() == 7


def test_of_two_cells_the_smaller_takes_in_who_is_too_few_and_says_so() -> None:
    (column,) = columns_of(of(sex=[*"FFFFFFF", *"MMMMM", ""])).shown
    assert column.cells == ("F", "M or too few")
    assert column.members.sum(axis=1).tolist() == [7, 6]
    assert not column.hides


@pytest.mark.parametrize("values", [[*"FFFFFFFF", *"MMMM"], ["F"] * 12, [*"FFFF", *"MMMM"]])
def test_a_column_of_one_cell_is_left_out(values: list[str]) -> None:
    whole = ["a"] * 6 + ["b"] * (len(values) - 6) if len(values) == 12 else None
    if whole:
        found = columns_of(of(sex=values, device=whole), by=["sex", "device"])
        assert [one.name for one in found.shown] == ["device"]
        assert "fewer than two cells of 5" in found.left_out["sex"]
    else:
        with pytest.raises(ConfigError, match="No column parts the scored people"):
            columns_of(of(sex=values))


def test_bands_are_joined_with_their_neighbors() -> None:
    bands = ["20-29"] * 4 + ["30-39"] * 3 + ["40-49"] * 3 + ["50-59"] * 5 + ["90+"] * 3
    (column,) = columns_of(of(age_band=bands)).shown
    assert column.cells == ("20-39", "40+")
    assert column.members.sum(axis=1).tolist() == [7, 11]


def test_a_larger_minimum_hides_more() -> None:
    people = of(sex=[*"FFFFFF", *"MMMMM"])
    with pytest.raises(ConfigError):
        columns_of(people, min_people=6)


def test_two_columns_at_once_only_where_no_remainder_is_small() -> None:
    sex = [*"FFFFFFFFFFFF", *"MMMMMMMMMMMM"]
    even = [*"aaaaaabbbbbb", *"aaaaaabbbbbb"]
    found = columns_of(of(sex=sex, device=even))
    assert [one.name for one in found.shown] == ["device", "sex", "device+sex"]
    assert found.shown[2].cells == ("a, F", "a, M", "b, F", "b, M")
    # Ten women wear a: women less those would be the two who wear b.
    uneven = [*"aaaaaaaaaabb", *"aaaaaabbbbbb"]
    found = columns_of(of(sex=sex, device=uneven))
    assert [one.name for one in found.shown] == ["device", "sex"]
    assert "could be reckoned" in found.left_out["device+sex"]


def test_a_column_that_would_give_somebody_away_beside_another_is_left_out() -> None:
    # All who wear a are in the north, and one more is.
    device = [*"aaaaaa", *"bbbbbbb"]
    site = [*"nnnnnn", "n", *"ssssss"]
    found = columns_of(of(device=device, site=site), by=["device", "site"])
    assert [one.name for one in found.shown] == ["device"]
    assert "could be reckoned" in found.left_out["site"]


def test_nothing_shown_or_subtracted_is_of_too_few_in_many_made_up_cohorts() -> None:
    generator = np.random.default_rng(0)
    asked = 0
    for _ in range(200):
        size = int(generator.integers(12, 40))
        people = of(
            sex=list(generator.choice(["F", "M", ""], size, p=[0.5, 0.4, 0.1])),
            device=list(generator.choice(["a", "b", "c", "d"], size, p=[0.4, 0.3, 0.2, 0.1])),
            age_band=list(generator.choice(["20-29", "30-39", "40-49", "50-59", "90+"], size)),
        )
        try:
            shown = columns_of(people).shown
        except ConfigError:
            continue
        everyone = np.ones(size, dtype=np.bool_)
        sets = [everyone, *(cell for one in shown for cell in one.members), *(one.members.any(axis=0) for one in shown)]
        for whole in sets:
            assert whole.sum() >= 5
            for part in sets:
                asked += 1
                if not (part & ~whole).any():
                    assert (whole & ~part).sum() not in range(1, 5)
    assert asked > 5000


def test_an_unknown_column_is_named() -> None:
    with pytest.raises(UnknownNameError, match="'sec'"):
        columns_of(of(sex=[*"FFFFF", *"MMMMM"]), by=["sec"])

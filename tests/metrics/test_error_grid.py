"""The Clarke grid by hand: a point in each part of each zone, the corners, and the published lines walked along."""

import numpy as np
import pytest

from hdt_fm.metrics.error_grid import ZONES, clarke_zones, share_in
from hdt_fm.schema.errors import ShapeError, UnitError

# truth, said, zone
INSIDE = [
    (100, 100, "A"),
    (200, 165, "A"),
    (300, 355, "A"),
    (50, 65, "A"),
    (65, 20, "A"),
    (100, 150, "B"),
    (200, 100, "B"),
    (100, 60, "B"),
    (350, 200, "B"),
    (300, 399, "B"),
    (160, 60, "B"),
    (120, 250, "C"),
    (280, 395, "C"),
    (160, 30, "C"),
    (175, 55, "C"),
    (260, 120, "D"),
    (400, 75, "D"),
    (50, 120, "D"),
    (65, 90, "D"),
    (200, 50, "E"),
    (380, 60, "E"),
    (60, 200, "E"),
    (40, 390, "E"),
]
# On a line: A keeps its own, else the zone of greater harm.
EDGES = [
    (100, 120, "A"),
    (100, 80, "A"),
    (100, 120.01, "B"),
    (100, 79.99, "B"),
    (69.99, 30, "A"),
    (70, 55.99, "B"),
    (70, 84, "A"),
    (70, 85, "D"),
    (70, 180, "E"),
    (69, 179.99, "D"),
    (180, 70, "E"),
    (179.99, 69.9, "C"),
    (130, 0, "C"),
    (155, 35, "C"),
    (155, 35.01, "B"),
    (100, 210, "C"),
    (100, 209.99, "B"),
    (290, 400, "C"),
    (290.01, 400.01, "B"),
    (240, 180, "D"),
    (239.99, 180, "B"),
    (240, 180.01, "B"),
    (240, 70.01, "D"),
    (58, 70, "D"),
    (59, 70, "A"),
]


@pytest.mark.parametrize(("truth", "said", "zone"), INSIDE + EDGES)
def test_points_by_hand(truth, said, zone):
    assert ZONES[clarke_zones([said, 100.0], [truth, 100.0])[0]] == zone


def test_zones_change_along_a_walk_as_the_figure_shows():
    """Down the grid at one truth, then at others: the order of zones that the published figure has."""

    def walk(truth):
        found = clarke_zones(np.arange(0.5, 400.5), np.full(400, float(truth)))
        return "".join(ZONES[one] for one in found[np.insert(np.diff(found) != 0, 0, True)])

    assert walk(50) == "ADE"
    assert walk(65) == "ADE"
    assert walk(100) == "BABC"
    assert walk(150) == "CBABC"
    assert walk(200) == "EBABC"
    assert walk(260) == "EDBABC"
    assert walk(320) == "EDBAB"


def test_shares_weigh_rows():
    truth, said = [100, 100, 100, 200], [100, 150, 250, 50]
    assert share_in("A", said, truth) == 0.25
    assert share_in("AB", said, truth) == 0.5
    assert share_in("AB", said, truth, weight=[1, 0, 1, 2]) == 0.25
    assert np.isnan(share_in("A", said, truth, weight=[0, 0, 0, 0]))
    assert sum(share_in(zone, said, truth) for zone in ZONES) == 1


def test_another_unit_or_length_is_refused():
    with pytest.raises(UnitError, match="mg/dL"):
        clarke_zones([5.5, 6.0], [5.0, 12.0])
    with pytest.raises(ShapeError):
        clarke_zones([100.0], [100.0, 120.0])

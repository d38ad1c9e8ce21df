"""Exposures of a twin: days by hand, the same however a record is cut, and of one size for ever."""

import numpy as np
import pytest

from hdt_fm.schema.errors import CheckpointError
from hdt_fm.schema.exposure import Exposure
from hdt_fm.twin.state.exposures import KEPT_DAYS, Exposed, take
from hdt_fm.twin.state.exposures_told import NOTHING, rows_of_parts, words

DAY = 86_400.0
NAN = np.nan


def near(expected):
    return pytest.approx(expected, nan_ok=True, rel=1e-9, abs=1e-9)


def of_days(values, first=0, kind="temperature"):
    values = np.array(values, dtype=np.float64)
    return Exposure(kind, (first + np.arange(len(values))) * DAY, np.full(len(values), DAY), values, 0, 0)


def spans(rows, kind="temperature"):
    start, end, values = np.array(rows, dtype=np.float64).T
    return Exposure(kind, start * DAY, (end - start) * DAY, values, 0, 0)


def taken(*parts):
    """The state after all of them, all days that were closed, and counts."""
    kept, closed, counts = None, [], []
    for part in parts:
        found = take(kept, part)
        kept = found.after
        closed.append(found.closed)
        counts.append(found.counts)
    return kept, np.concatenate(closed), counts


def test_days_by_hand():
    # A day and a half at 10, a gap, 20 for the last nine tenths of day 3; then half of day 4.
    kept, closed, (counts,) = taken(spans([(0, 1.5, 10), (3.1, 4, 20), (4, 4.5, 7)]))
    assert closed.tolist() == near([10, NAN, NAN, 20])
    assert (kept.day, kept.seen_s, kept.since_s, kept.until_s) == (4, DAY / 2, 4 * DAY, 4.5 * DAY)
    assert np.isnan(kept.value)
    assert counts.new == 4
    kept, closed, _ = taken(spans([(0, 1.5, 10), (3.1, 4, 20), (4, 4.5, 7)]), spans([(4.5, 5, 9)]))
    assert kept.value == near(8)


def test_amounts_are_what_was_seen_and_not_scaled_up():
    kept, closed, _ = taken(spans([(0, 2, 60), (2, 2.5, 12), (3, 3.9, 9)], "time_outdoors"))
    assert closed.tolist() == near([30, 30, NAN])
    assert kept.value == near(9)


@pytest.mark.parametrize("kind", ["temperature", "time_outdoors"])
@pytest.mark.parametrize("seed", range(6))
def test_the_same_however_it_is_cut(kind, seed):
    rng = np.random.default_rng(seed)
    length = rng.choice([0.02, 0.3, 1.0, 2.6], size=150)
    start = np.cumsum(length + np.where(rng.random(150) < 0.2, rng.exponential(1.0, 150), 0.0)) - length
    rows = np.stack([start, start + length, np.where(rng.random(150) < 0.15, NAN, rng.uniform(0, 30, 150))], axis=1)
    whole, closed, _ = taken(spans(rows, kind))
    assert len(closed) > 90
    for overlap in (0, 12):
        cuts = np.sort(rng.choice(np.arange(1, 150), size=9, replace=False))
        parts = [rows[max(low - overlap, 0) : high] for low, high in zip([0, *cuts], [*cuts, 150], strict=True)]
        found, pieces, counts = taken(*(spans(part, kind) for part in parts))
        assert pieces.tolist() == near(closed.tolist())
        assert found.days.tolist() == near(whole.days.tolist())
        assert [found.total, found.seen_s, found.since_s, found.until_s] == near(
            [whole.total, whole.seen_s, whole.since_s, whole.until_s]
        )
        assert sum(one.differing + one.late + one.before for one in counts) == 0


def test_what_is_told_again_is_known_compared_and_left():
    first = of_days([1.0, 2, NAN, 4, 5], first=10)
    kept, _, _ = taken(first)
    again = take(kept, first)
    assert (again.counts.new, again.counts.known, len(again.closed)) == (0, 4, 0)
    other = take(kept, of_days([9.0, 1, 20, 3, 4, 5, 6], first=9))
    counts = other.counts
    # Day 9 is before all, day 10 agrees, day 11 does not, day 12 was a gap; day 15 is new.
    assert (counts.before, counts.known, counts.differing, counts.late, counts.new) == (1, 3, 1, 1, 1)
    assert other.after.days.tolist() == near([1, 2, NAN, 4, 5])
    assert other.after.value == 6


def test_the_newest_day_is_told_anew_by_an_export_that_knows_no_less_of_it():
    kept, _, _ = taken(of_days([30.0, 20], kind="time_outdoors"))
    more = take(kept, of_days([30.0, 95], kind="time_outdoors"))
    assert (more.after.value, more.counts.new, len(more.closed)) == (95, 1, 0)
    less = take(kept, spans([(1, 1.2, 15)], "time_outdoors"))
    assert (less.after.value, less.counts.new, less.counts.known) == (20, 0, 1)
    # An empty cell takes nothing back.
    assert take(kept, of_days([30.0, NAN], kind="time_outdoors")).after.value == 20


def test_it_does_not_grow():
    kept, closed, _ = taken(of_days(np.arange(400) % 30), of_days(np.arange(1400) % 30, first=300))
    assert len(closed) == 1699
    assert len(kept.days) == KEPT_DAYS
    assert sum(one.nbytes for one in kept.arrays().values()) < 3_000
    assert taken(of_days([NAN, NAN]))[0] is None


def test_it_comes_back_from_its_arrays_and_harm_is_refused():
    kept, _, _ = taken(of_days([1.0, NAN, 3]))
    kept = Exposed(**{**vars(kept), "held": {"bank_total": np.array([1.5])}})
    again = Exposed.of("temperature", kept.arrays())
    assert {name: value for name, value in vars(again).items() if name not in ("days", "held")} == {
        name: value for name, value in vars(kept).items() if name not in ("days", "held")
    }
    assert again.days.tolist() == near(kept.days.tolist())
    assert again.held["bank_total"].tolist() == [1.5]
    for harm in ({"open": np.zeros(3)}, {"open": np.full(5, NAN)}, {"days": np.zeros(KEPT_DAYS + 1)}):
        with pytest.raises(CheckpointError, match="does not hold together"):
            Exposed.of("temperature", {**kept.arrays(), **harm})


def test_words_say_what_is_not_told_and_no_effect_plainly():
    ages = [
        {"days": "last_day", "weight": 0.0, "value": 0.0},
        {"days": "six_days_before", "weight": 0.996, "value": 2.988},
        {"days": "older", "weight": 0.004, "value": 0.15359},
    ]
    dose = {"time_constant_d": 7.0, "value": 3.14159, "low": 2.5, "high": 4.0, "seen": 0.8, "parts": ages}
    none = {**dose, "value": None, "low": None, "high": None, "seen": 0.1, "parts": None}
    one = {"kind": "ozone", "label": "Ozone", "unit": "ug/m^3", "days_behind": 0, "days_kept": 9, "days_known": 8}
    law = {
        "outcome": "HRV",
        "outcome_unit": "ms",
        "next_day": True,
        "people": 12,
        "verdict": "no reliable effect",
        "reliable": False,
        "effect": {"value": -2.0, "low": -4.0, "high": 0.5},
        "parts": [{"of": ["ozone"], "value": -2.0, "unit": "ms"}],
        "exposures": [
            {
                "kind": "ozone",
                "unit": "ug/m^3",
                "middle_dose": 2.25,
                "verdict": "no reliable effect",
                "reliable": False,
                "time_constant_d": {"value": 9.0, "low": None, "high": None},
                **{name: dose[name] for name in ("value", "low", "high", "seen", "parts")},
            }
        ],
    }
    told = {"as_of": None, "exposures": [{**one, "doses": [dose, none]}, {**one, "doses": [none]}], "law": law}
    text = "\n".join(words(told))
    for part in (
        "fades over 7 d: 3.142 [2.5, 4], 80 % seen: last day 0 %, six days before 100 %, older less than 1 %",
        "mean of its days, in ug/m^3, and their share: last day nothing, six days before 3 (100 %), older 38.4 (less",
        "in ug/m^3; middle dose 2.25",
        "fades over 7 d: not told: too little was seen (10 % seen)",
        "no dose is told, since too little was seen of late",
        "law of the next day's HRV, learned from 12 people: no reliable effect",
        "fades over 9 d (no interval: the data do not say)",
        "-2 ms [-4, +0.5] from where the middle dose of those who taught has it; NO RELIABLE EFFECT",
        "no proof that the one makes the other",
    ):
        assert part in text
    # What one exposure does alone is all of it.
    assert "that is" not in text
    two = [{"of": ["ozone"], "value": -2.5, "unit": "ms"}, {"of": ["ozone", "noise"], "value": 0.5, "unit": "ms"}]
    text = "\n".join(words({**told, "law": {**law, "parts": two}}))
    assert "that is -2.5 ms by ozone (not reliable), +0.5 ms by ozone with noise, beyond what each does alone (" in text
    assert "they add up to it and are told without intervals)" in text
    assert [row[4:6] for row in rows_of_parts({**told, "law": {**law, "parts": two}})[-2:]] == [
        ("ozone", -2.5),
        ("ozone with noise", 0.5),
    ]
    assert "its effect is not told" in "\n".join(words({**told, "law": {**law, "effect": None, "parts": None}}))
    assert "NO RELIABLE" not in "\n".join(words({**told, "law": {**law, "reliable": True}}))
    assert words(None) == [NOTHING]

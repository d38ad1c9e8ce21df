"""Days, spans that overlap, and an exposure laid on days."""

import numpy as np
import pytest

from data_pipelines.exposures._told import DAY_S, Days, OfEvents, Whose, by_day, levelled
from data_pipelines.exposures.contact import Contact
from data_pipelines.exposures.diet import Diet
from data_pipelines.exposures.place import Place
from hdt_fm.schema import registry
from hdt_fm.schema.errors import ConfigError, ReaderError
from hdt_fm.schema.exposure import EXPOSURES, Exposure

NAN = np.nan
H = 3600.0


def test_days_are_all_of_which_something_was_watched():
    days = Days.of([(DAY_S + 23 * H, 2 * DAY_S + H), (3 * DAY_S, 3 * DAY_S + 6 * H)])
    assert (days.first, days.count) == (DAY_S, 3)
    assert days.share([(DAY_S + 23 * H, 2 * DAY_S + H)]).tolist() == pytest.approx([1 / 24, 1 / 24, 0])
    # Between two stretches nothing was watched, and told twice is watched once.
    assert days.share([(DAY_S, DAY_S + H), (DAY_S + 5 * H, DAY_S + 6 * H)])[0] == pytest.approx(2 / 24)
    assert days.share([(DAY_S, DAY_S + 6 * H), (DAY_S + 3 * H, DAY_S + 9 * H)])[0] == pytest.approx(9 / 24)


@pytest.mark.parametrize("watched", [[], [(5.0, 5.0)], [(9.0, 2.0)]])
def test_without_a_stretch_that_was_watched_nothing_can_be_said(watched):
    with pytest.raises(ReaderError, match="outside of them nothing is known"):
        Days.of(watched)


def test_where_spans_overlap_the_largest_weight_counts():
    begins, ends, weights = levelled([(0, 10, 0.2), (4, 6, 1.0), (5, 8, 0.5), (20, 30, 0.3)])
    assert (begins.tolist(), ends.tolist()) == ([0, 4, 5, 6, 8, 10, 20], [4, 5, 6, 8, 10, 20, 30])
    assert weights.tolist() == [0.2, 1.0, 1.0, 0.5, 0.2, 0.0, 0.3]


def test_amounts_are_shared_out_and_levels_averaged_over_what_is_known():
    start, length = np.array([0.0, DAY_S - 6 * H]), np.array([12 * H, 12 * H])
    days = Days(0.0, 2)
    amount = Exposure("rain", start, length, np.array([4.0, 6.0]), 0, 0)
    assert by_day(amount, days, least_share=0.2).tolist() == pytest.approx([7, 3])
    level = Exposure("temperature", start, length, np.array([10.0, 16.0]), 0, 0)
    assert by_day(level, days, least_share=0.2).tolist() == pytest.approx([12, 16])
    # Of the second day a quarter is known, of the first three quarters.
    assert by_day(level, days).tolist() == pytest.approx([12, NAN], nan_ok=True)
    unknown = Exposure("temperature", start, length, np.array([NAN, 16.0]), 0, 0)
    assert by_day(unknown, days, least_share=0.2).tolist() == pytest.approx([16, 16])


def test_every_file_of_the_room_is_a_part_that_can_be_replaced(monkeypatch):
    monkeypatch.setitem(registry.ROOMS, "exposures", "data_pipelines.exposures")
    names = registry.names("exposures")
    assert names == ("contact", "diet", "light", "place", "weather")
    for name in names:
        part = registry.build("exposures", name, {})
        assert part.gives
        assert set(part.gives) <= set(EXPOSURES)
    with pytest.raises(ConfigError, match="message_min"):
        registry.build("exposures", "contact", {"message_minutes": 2})


@pytest.mark.parametrize("part", [Contact, Diet, Place])
def test_models_of_events_answer_alike_and_know_nothing_of_what_was_not_watched(part):
    model = part()
    assert isinstance(model, OfEvents)
    found = model([], [(0.0, 2 * H), (2 * DAY_S, 2 * DAY_S + H)], Whose(3, 5))
    assert tuple(one.kind for one in found) == model.gives
    for one in found:
        assert (one.subject, one.group) == (3, 5)
        assert one.start_s.tolist() == [0, DAY_S, 2 * DAY_S]
        assert np.isnan(one.values).all()

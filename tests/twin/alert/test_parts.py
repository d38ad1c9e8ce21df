"""What a score is made of: parts add up to it, night by night and over the nights in which an alert gathered."""

import json
import re

import numpy as np
import pytest

from hdt_fm.twin.alert.page import html
from hdt_fm.twin.alert.report import watch
from hdt_fm.twin.alert.score import along, anywhere, correlation, parts_along, parts_anywhere, total
from hdt_fm.twin.alert.settings import AlertSettings
from hdt_fm.twin.alert.told import lines, made_of, record
from hdt_fm.twin.alert.watcher import Watcher

NAMES = ("resting_heart_rate", "hrv", "skin_temperature", "component_0", "component_1")
ONE_WAY, EITHER_WAY = [0, 1, 2], [3, 4]


@pytest.fixture(scope="module")
def ill(request):
    """(nights, report): ill from night 120 with fever, components off from night 170; some nights lack an indicator."""
    draws = np.random.default_rng(5)
    away = draws.normal(size=(200, 5))
    away[120:126, [0, 2]] += 2.5
    away[170:175, 4] -= 4.5
    away[[100, 122, 172], [1, 2, 3]] = np.nan
    away[60:63] = np.nan
    values = np.array([60.0, 45.0, 34.0, 0.0, 0.0]) + away * [1.5, 5.0, 0.3, 1.0, 1.0]
    nights = request.getfixturevalue("nights_of")(values, NAMES)
    return nights, watch(nights)


def surprises(people=7, indicators=4, seed=3):
    """With what was not measured, and a person of whom nothing was."""
    draws = np.random.default_rng(seed)
    surprise = draws.normal(0, 2, (people, indicators))
    surprise[draws.random(surprise.shape) < 0.3] = np.nan
    surprise[-1] = np.nan
    surprise[0] = [9.0, -8.0, 0.1, 0.2]
    between = correlation(draws.normal(size=(people, 40, indicators)) @ draws.normal(size=(indicators, indicators)))
    shift = draws.normal(0, 3, (people, indicators))
    return surprise, shift, between, draws.integers(5, 60, people).astype(float)


def test_along_is_the_sum_of_its_parts_and_the_likelihood_ratio_person_by_person() -> None:
    surprise, shift, between, nights = surprises()
    parts, score = parts_along(surprise, shift, between, nights), along(surprise, shift, between, nights)
    np.testing.assert_array_equal(np.isfinite(parts), np.isfinite(surprise))
    for person in range(len(surprise) - 1):
        known = np.flatnonzero(np.isfinite(surprise[person]))
        toward = np.clip(shift[person, known], -4, 4)
        inner = between[person][np.ix_(known, known)]
        weight = np.linalg.inv(inner) @ toward
        weight[weight * toward <= 0] = 0
        size = np.sqrt(weight @ inner @ weight * (1 + (len(known) - 1) / max(nights[person], 4)))
        want = weight * np.clip(surprise[person, known], -3, 3) / size
        np.testing.assert_allclose(parts[person, known], want, atol=1e-12)
        assert score[person] == pytest.approx(want.sum(), abs=1e-12)
    assert np.isnan(score[-1])
    np.testing.assert_array_equal(score, total(parts))


def test_of_squares_each_indicator_gives_back_what_chance_makes() -> None:
    surprise, *_ = surprises()
    parts, score = parts_anywhere(surprise), anywhere(surprise)
    # 9 and 8 SDs count as 5; four squares of chance sum to 4 and have an SD of the root of 8.
    np.testing.assert_allclose(parts[0], np.array([24.0, 24.0, 0.01 - 1, 0.04 - 1]) / np.sqrt(8), atol=1e-12)
    assert score[0] == pytest.approx((25 + 25 + 0.01 + 0.04 - 4) / np.sqrt(8), abs=1e-12)
    number = np.isfinite(surprise).sum(axis=1)
    square = np.nansum(np.minimum(surprise**2, 25.0), axis=1)
    np.testing.assert_allclose(score[:-1], ((square - number) / np.sqrt(2 * np.maximum(number, 1)))[:-1], atol=1e-12)
    np.testing.assert_array_equal(score, total(parts))
    assert np.isnan(score[-1])
    # By chance a part is worth nothing.
    drawn = parts_anywhere(np.random.default_rng(0).normal(size=(20_000, 3)))
    np.testing.assert_allclose(drawn.mean(axis=0), 0, atol=0.02)


def test_of_known_indicators_that_say_nothing_the_score_is_not_known() -> None:
    surprise, shift, between, nights = surprises()
    assert np.isnan(along(surprise, 0 * shift, between, nights)).all()
    assert np.isnan(parts_along(surprise, np.nan * shift, between, nights)).all()


@pytest.mark.parametrize("effect", [[5.0], [-8.0], [5.0, -8.0, 0.5], [0.0, 0.0], [5.0, -8.0, 0.5, 0.0, 0.0]])
def test_the_watch_judges_the_sum_of_what_it_tells(effect) -> None:
    effect = np.array(effect)
    draws = np.random.default_rng(1)
    values = draws.normal(size=(3, 60, len(effect)))
    values[draws.random(values.shape) < 0.2] = np.nan
    watcher = Watcher(3, effect, AlertSettings())
    seen = 0
    for night in range(60):
        told = watcher.step(values[:, night], np.full(3, night % 7), np.zeros(3, dtype=bool))
        for channel, columns in enumerate(watcher._columns):
            judged = watcher._scores[channel, :, -1]
            np.testing.assert_allclose(total(told.parts[:, columns]), judged, atol=1e-12)
            seen += np.isfinite(judged).sum()
        assert not (np.isfinite(told.parts) & ~np.isfinite(values[:, night])).any()
        # One channel is heard, or none while learning.
        may_be = {(False,) * len(effect), tuple(effect != 0), tuple(effect == 0)}
        assert {tuple(one) for one in told.heard.tolist()} <= may_be
        assert not (told.heard.any(axis=1) & (told.learned < 21)).any()
    assert seen > 60
    assert told.heard.any(axis=1).all()


def test_a_nights_score_is_that_of_the_channel_that_stood_nearest(ill) -> None:
    _, report = ill
    night = report.dates.tolist().index(report.alerts[-1].begin.tolist())
    assert report.heard[night].tolist() == [False] * 3 + [True] * 2
    assert report.score[night] == pytest.approx(report.parts[night, EITHER_WAY].sum(), abs=1e-12)
    assert report.heard[122].tolist() == [True] * 3 + [False] * 2
    assert np.isnan(report.parts[122, 2])
    assert report.score[122] == pytest.approx(report.parts[122, :2].sum(), abs=1e-12)
    assert np.isnan(report.score[61])
    assert np.isnan(report.score[:28]).all()


def test_an_alert_is_made_of_the_nights_in_which_it_gathered(ill) -> None:
    _, report = ill
    fever, component = next(one for one in report.alerts if one.end >= report.dates[120]), report.alerts[-1]
    for alert, columns in ((fever, ONE_WAY), (component, EITHER_WAY)):
        first, last = (report.dates.tolist().index(one.tolist()) for one in (alert.gathered_from, alert.begin))
        assert last - first <= 6
        assert (report.cusum[first : last + 1] > 0).all()
        want = np.nansum(report.parts[first : last + 1, columns], axis=0)
        got = {one.indicator: one.points for one in alert.parts}
        np.testing.assert_allclose([got[NAMES[at]] for at in columns], want, atol=1e-12)
        assert alert.score == sum(got.values()) == pytest.approx(want.sum(), abs=1e-12)
        assert sum(one.share for one in alert.parts) == pytest.approx(1, abs=1e-12)
        assert [one.points for one in alert.parts] == sorted(got.values(), reverse=True)
    assert {one.indicator for one in fever.parts[:2]} == {"resting_heart_rate", "skin_temperature"}
    assert (fever.either_way, component.either_way) == (False, True)
    assert component.parts[0].indicator == "component_1"
    # The other component was nearer to what was expected than chance has it.
    assert component.parts[1].share < 0 < component.parts[0].share


def test_the_record_has_them_and_they_add_up(ill) -> None:
    nights, report = ill
    found = json.loads(json.dumps(record(report, nights), allow_nan=False))
    assert found["version"] == 1
    assert [one["either_way"] for one in found["indicators"]] == [False] * 3 + [True] * 2
    for one in found["night_by_night"]:
        assert (one["score"] is None) == (one["parts"] == {})
        assert sum(one["parts"].values()) == pytest.approx(one["score"] or 0.0, abs=3e-4)
    assert set(found["night_by_night"][122]["parts"]) == {"resting_heart_rate", "hrv"}
    assert found["night_by_night"][61]["parts"] == found["night_by_night"][10]["parts"] == {}
    for alert in found["alerts"]:
        assert sum(one["points"] for one in alert["parts"]) == pytest.approx(alert["score"], abs=3e-4)
        assert sum(one["share"] for one in alert["parts"]) == pytest.approx(1, abs=3e-4)
        assert alert["gathered_from"] <= alert["begin"]
    assert isinstance(record(report, nights, dates=False)["alerts"][0]["gathered_from"], int)


def alert_of(*parts):
    """As a record has it."""
    score = sum(points for _, points in parts)
    share = lambda points: points / score if score > 0 else None
    return {"parts": [{"indicator": name, "points": points, "share": share(points)} for name, points in parts]}


def test_words_say_what_it_is_made_of(ill) -> None:
    nights, report = ill
    text = "\n".join(lines(record(report, nights)))
    assert re.search(r"made of: resting heart rate \d+ %, skin temperature \d+ %, hrv -?\d+ %", text)
    assert re.search(r"made of: component 1 1\d\d %, component 0 -\d+ %", text)
    assert text.count("made of:") == len(report.alerts)
    assert "less 1, which chance alone makes it on average" in text
    assert made_of(alert_of(("hrv", 6.2), ("skin_temperature", 3.8), ("steps", -0.001))) == (
        "hrv 62 %, skin temperature 38 %, steps 0 %"
    )
    # Without a score above 0 a share would mislead.
    assert made_of(alert_of(("hrv", 1.0), ("steps", -1.5))) == "hrv +1.0 points, steps -1.5 points"


def test_of_many_parts_the_largest_are_named_and_all_are_counted() -> None:
    many = [(f"component_{at}", 1.0) for at in range(20)] + [("last", -5.0)]
    words = made_of(alert_of(("first", 5.0), *many))
    assert words.startswith("first 25 %, component 0 5 %")
    assert words.endswith("last -25 %, 14 others 70 %")
    assert sum(int(one) for one in re.findall(r"(-?\d+) %", words)) == 100


def test_squares_are_explained_only_where_they_raised_an_alert(nights_of, usual) -> None:
    values = usual(160, seed=1, sd=1.2)
    values[150:158] += [1.5, 3, 4.5, 6, 6, 6, 6, 6]
    nights = nights_of(values)
    found = record(watch(nights), nights)
    assert found["alerts"]
    text = "\n".join(lines(found))
    assert "made of: resting heart rate 100 %" in text
    assert "less 1" not in text
    assert "less 1" not in html(watch(nights), nights, found)


def test_the_page_has_a_table_of_it_for_eyes_and_ears(ill) -> None:
    nights, report = ill
    found = record(report, nights)
    page = html(report, nights, found)
    table = re.search(r"<caption>What the score of each alert.*?</table>", page, re.DOTALL).group(0)
    groups = re.findall(r"<tbody>(.*?)</tbody>", table, re.DOTALL)
    assert len(groups) == len(found["alerts"])
    for group, alert in zip(groups, found["alerts"], strict=True):
        assert (
            f'rowspan="{len(alert["parts"]) + 1}">{alert["begin"]}<br>gathered from {alert["gathered_from"]}' in group
        )
        rows = re.findall(r'<th scope="row">(.*?)</th><td class="n">(.*?)</td><td class="n">(.*?)</td>', group)
        assert rows[-1] == ("together", f"{alert['score']:.2f}", "100 %")
        for row, one in zip(rows, alert["parts"], strict=False):
            assert row == (
                one["indicator"].replace("_", " "),
                f"{one['points']:.2f}",
                f"{100 * one['share']:.0f} %",
            )
        bars = [float(one) for one in re.findall(r'width="([\d.]+)" height="8"', group)]
        sizes = np.abs([one["points"] for one in alert["parts"]])
        np.testing.assert_allclose(bars, 100 * sizes / sizes.max(), atol=0.06)
        assert group.count('class="against"') == sum(one["points"] < 0 for one in alert["parts"])
        # What a bar shows is said beside it.
        assert group.count('<svg class="bar"') == group.count('aria-hidden="true"') == len(alert["parts"])
    assert "less 1, which chance alone makes it on average" in page


def test_a_page_without_alerts_has_no_such_table(nights_of, usual) -> None:
    nights = nights_of(usual(40, seed=2))
    report = watch(nights)
    assert not report.alerts
    assert "made of" not in html(report, nights, record(report, nights))

"""Event-aligned credit against hand numbers, planted moments and moments at random."""

import numpy as np
import pytest

from hdt_fm.explain.aggregate.events import EventAligned, event_aligned
from hdt_fm.explain.explanation import Explanation, MethodMap, SignalView
from hdt_fm.explain.gate.events import Events
from hdt_fm.schema.errors import ExplainError, UnknownNameError

RATE = 10.0


def explained(
    credit: np.ndarray, values: np.ndarray | None = None, *, person: list[int] | None = None, unit: str = "mV"
) -> Explanation:
    windows, _, samples = credit.shape
    values = np.zeros_like(credit) if values is None else values
    signal = SignalView("ECG", unit, RATE, values.astype(np.float32), np.ones((windows, samples), dtype=bool))
    return Explanation(
        target="x",
        target_index=0,
        reference="zero",
        segments=5,
        window_s=samples / RATE,
        modalities=("ecg",),
        present=np.ones((windows, 1), dtype=bool),
        person=np.array(person if person is not None else [0] * windows),
        signals={"ecg": signal},
        output=np.zeros(windows),
        reference_output=np.zeros(windows),
        maps=(MethodMap("integrated_gradients", {"ecg": credit.astype(np.float32)}),),
    )


def beats(places: list[list[int]], width_s: float = 0.2) -> Events:
    return Events("R peaks", "ecg", tuple(np.array(one, dtype=np.int64) for one in places), width_s)


def test_the_mean_course_by_hand() -> None:
    """Events of a window, then windows of a person, then people: person 0 has two windows, person 1 has one."""
    credit = np.zeros((3, 1, 12))
    credit[0, 0, [3, 8]] = [2.0, 4.0]  # mean 3 at the moment
    credit[1, 0, 5] = 7.0
    credit[2, 0, 6] = -10.0
    found = event_aligned(
        explained(credit, person=[0, 0, 1]), beats([[3, 8], [5], [5]]), before_s=0.2, after_s=0.3, draws=50
    )
    np.testing.assert_allclose(found.time_s, [-0.2, -0.1, 0.0, 0.1, 0.2, 0.3])
    np.testing.assert_allclose(found.credit.value[0], [0, 0, (5.0 + 0.0) / 2, -5.0, 0, 0])
    assert (found.events, found.windows, found.people, found.over) == (4, 3, 2, "people")


def test_the_edge_of_a_window_and_a_gap_are_left_out_of_the_mean() -> None:
    credit = np.ones((1, 1, 12))
    credit[0, 0, 0:3] = 5.0
    made = explained(credit, np.arange(12.0)[None, None])
    made.signals["ecg"].observed[0, 9:] = False
    found = event_aligned(made, beats([[0, 8]]), before_s=0.2, after_s=0.2, draws=50)
    np.testing.assert_allclose(found.credit.value[0], [1.0, 1.0, 3.0, 5.0, 5.0])
    np.testing.assert_allclose(found.wave.value[0], np.array([6.0, 7.0, 4.0, 1.0, 2.0]) - 4.0)  # less the mean 0..8


def test_enrichment_by_hand() -> None:
    """Six of ten units of credit lie on the three samples near the moment of a window of twelve."""
    credit = np.full((1, 1, 12), 4 / 9)
    credit[0, 0, 4:7] = [-2.0, 2.0, 2.0]
    found = event_aligned(explained(credit), beats([[5]]), before_s=0.1, after_s=0.1, shifts=2000)
    assert found.enrichment == pytest.approx((6 / 3) / (10 / 12), rel=1e-6)
    assert np.isnan(found.low)  # one window has no interval
    # Turned by 1 to 11 samples, the most that is hit is two of the three.
    assert found.p == pytest.approx(1 / 2001)
    assert found.chance_high == pytest.approx((2 * 2 + 4 / 9) / 3 / (10 / 12), rel=1e-6)
    assert found.chance_low == pytest.approx((4 / 9) / (10 / 12), rel=1e-6)


def planted(*, near: bool, people: int = 6, windows: int = 4, seed: int = 0) -> EventAligned:
    rng = np.random.default_rng(seed)
    credit = rng.normal(size=(people * windows, 2, 200))
    places = [np.sort(rng.choice(np.arange(5, 195), 8, replace=False)).tolist() for _ in range(people * windows)]
    for row, some in enumerate(places):
        if near:
            credit[row][:, some] += 3.0
    person = np.repeat(np.arange(people), windows).tolist()
    return event_aligned(explained(credit, person=person), beats(places, 0.1), before_s=0.5, after_s=0.5)


def test_planted_moments_are_found_and_others_are_not() -> None:
    found = planted(near=True)
    assert found.low > found.chance_high
    assert found.p == pytest.approx(0.001)
    assert found.credit.value[:, 5] == pytest.approx(3.0, abs=0.3)
    assert (found.credit.low[:, 5] < 3.0).all()
    assert (found.credit.high[:, 5] > 2.9).all()


def test_the_test_of_chance_keeps_its_level() -> None:
    ps = np.array([planted(near=False, people=3, windows=2, seed=seed).p for seed in range(60)])
    assert (ps <= 0.1).mean() < 0.25
    assert 0.3 < ps.mean() < 0.7


def test_a_wave_of_arbitrary_unit_is_in_standard_deviations() -> None:
    values = np.zeros((1, 1, 40))
    values[0, 0, ::10] = 500.0
    found = event_aligned(
        explained(np.ones((1, 1, 40)), values, unit="au"), beats([[10, 20, 30]]), before_s=0.3, after_s=0.3
    )
    assert found.wave_unit == "SD"
    assert found.wave.value[0, 3] == pytest.approx(450 / np.std(values), rel=1e-5)


def test_windows_without_credit_or_events_are_no_evidence() -> None:
    credit = np.ones((3, 1, 40))
    credit[1] = 0.0
    found = event_aligned(explained(credit), beats([[10], [10], []]), before_s=0.3, after_s=0.3)
    assert (found.windows, found.enrichment) == (2, pytest.approx(1.0))


def test_bad_requests_are_named() -> None:
    made = explained(np.ones((1, 1, 40)))
    with pytest.raises(ExplainError, match="No explained window holds R peaks"):
        event_aligned(made, beats([[]]), before_s=0.3, after_s=0.3)
    with pytest.raises(ExplainError, match="no sample but its own"):
        event_aligned(made, beats([[3]]), before_s=0.01, after_s=0.01)
    with pytest.raises(UnknownNameError, match="ecg"):
        event_aligned(made, Events("meals", "glucose", (np.array([1]),), 1.0), before_s=1.0, after_s=1.0)

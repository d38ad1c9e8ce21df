import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdt_fm.schema.preparation import ModalityPreparation, Preparation
from hdt_fm.schema.recording import Channel, LabelTrack, Recording, Visit
from hdt_fm.signal.windows import cut

S = 1_000_000_000
SUBJECT = "s" + "b" * 32
T0 = 1_700_000_000 * S


def recording(modality, rate, seconds, start_ns=T0, channels=1, observed=None, values=None):
    length = round(rate * seconds)
    observed = np.ones(length, dtype=bool) if observed is None else observed
    ramp = np.arange(length)[None] + 1000.0 * np.arange(channels)[:, None] if values is None else values
    return Recording(
        modality=modality,
        channels=tuple(Channel(f"c{i}", "au") for i in range(channels)),
        sampling_rate_hz=float(rate),
        start_ns=start_ns,
        values=np.where(observed, ramp, 0).astype(np.float32),
        observed=observed,
        subject=SUBJECT,
        device="bench",
        body_site="wrist",
    )


def visit(*recordings, labels=()):
    return Visit(SUBJECT, {r.modality: r for r in recordings}, {t.name: t for t in labels})


def preparation(window_s=10, hop_s=5, rates=(("ppg", 8, 1),), **more):
    modalities = {n: ModalityPreparation(sampling_rate_hz=r, channels=c) for n, r, c in rates}
    return Preparation(window_s=window_s, hop_s=hop_s, modalities=modalities, **more)


@pytest.mark.parametrize(
    ("seconds", "window_s", "hop_s", "count"), [(100, 10, 5, 19), (100, 10, 10, 10), (9, 10, 5, 0), (10, 10, 3, 1)]
)
def test_number_of_windows_in_closed_form(seconds, window_s, hop_s, count):
    windows = cut(visit(recording("ppg", 8, seconds)), preparation(window_s, hop_s))
    assert (windows.possible, len(windows), windows.dropped) == (count, count, 0)
    assert windows.starts_ns.tolist() == [T0 + k * hop_s * S for k in range(count)]


def test_windows_hold_the_samples_of_their_time():
    windows = cut(visit(recording("acc", 4, 40, channels=3)), preparation(10, 5, [("acc", 4, 3)]))
    assert windows.signals["acc"].shape == (7, 3, 40)
    for k in range(7):
        first = 20 * k
        assert np.array_equal(windows.signals["acc"][k, 2], 2000 + np.arange(first, first + 40))


def test_grid_begins_at_the_first_whole_second_and_each_modality_keeps_its_clock():
    early, late = T0 + round(0.3 * S), T0 + round(2.45 * S)
    windows = cut(
        visit(recording("ppg", 8, 60, early), recording("eda", 4, 60, late)),
        preparation(10, 10, [("ppg", 8, 1), ("eda", 4, 1)], min_coverage=0.5),
    )
    assert windows.starts_ns[0] == T0 + S
    # 0.7 s after the first sample at 8 Hz is sample 5.6, so 6; 8.55 s at 4 Hz is 34.2, so 34.
    assert windows.signals["ppg"][0, 0, 0] == 6
    assert windows.signals["eda"][1, 0, 0] == 34
    # EDA begins 1.45 s into the first window: -5.8 samples, so six are missing and none is filled.
    assert (~windows.observed["eda"][0]).nonzero()[0].tolist() == list(range(6))
    assert windows.signals["eda"][0, 0, :8].tolist() == [0, 0, 0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize(("missing", "there"), [(16, True), (17, False)])
def test_coverage_exactly_at_the_limit_is_present(missing, there):
    observed = np.ones(80, dtype=bool)
    observed[:missing] = False
    windows = cut(visit(recording("ppg", 8, 10, observed=observed)), preparation(10, 10, min_coverage=0.8))
    assert (len(windows), windows.dropped) == ((1, 0) if there else (0, 1))


def test_a_window_with_too_few_modalities_is_dropped_and_counted():
    first, second = recording("ppg", 8, 60), recording("eda", 4, 30)
    rates = [("ppg", 8, 1), ("eda", 4, 1), ("temp", 4, 1)]
    one = cut(visit(first, second), preparation(10, 10, rates))
    both = cut(visit(first, second), preparation(10, 10, rates, min_modalities=2))
    assert (len(one), one.dropped) == (6, 0)
    assert (len(both), both.dropped, both.possible) == (3, 3, 6)
    assert one.modalities == ("ppg", "eda", "temp")
    assert one.present.tolist() == [[True, True, False]] * 3 + [[True, False, False]] * 3
    assert (one.signals["eda"][3:] == 0).all()
    assert not one.observed["eda"][3:].any()
    assert one.signals["temp"].shape == (6, 1, 40)


def test_an_absent_modality_leaks_none_of_its_few_samples():
    observed = np.zeros(80, dtype=bool)
    observed[:20] = True
    windows = cut(
        visit(recording("ppg", 8, 10), recording("resp", 8, 10, observed=observed, values=np.full((1, 80), 9.0))),
        preparation(10, 10, [("ppg", 8, 1), ("resp", 8, 1)]),
    )
    assert windows.present.tolist() == [[True, False]]
    assert (windows.signals["resp"] == 0).all()
    assert not windows.observed["resp"].any()


def test_quality_is_the_share_of_samples_as_read_without_a_sign_of_trouble():
    values = np.random.default_rng(0).uniform(-1, 1, (1, 32 * 40)).astype(np.float32)
    observed = np.ones(32 * 40, dtype=bool)
    observed[32:64] = False  # window 0: a second is missing
    values[0, 32 * 10 : 32 * 16] = 0.5  # window 1: stands still for six seconds
    values[0, 32 * 25 : 32 * 25 + 16] = 7  # window 2: half a second at the rail
    windows = cut(
        visit(recording("ppg", 32, 40, observed=observed, values=values), recording("temp", 4, 25)),
        preparation(10, 10, [("ppg", 8, 1), ("temp", 1, 1)]),
    )
    assert windows.present[:, 1].tolist() == [True, True, False, False]
    # Half a window of temperature is there, but a modality that is absent has no quality.
    expected = [[0.9, 1.0], [0.4, 1.0], [0.95, 0.0], [1.0, 0.0]]
    assert windows.quality == pytest.approx(np.array(expected), abs=2 / 320)


def test_labels_come_along_for_the_kept_windows_only():
    label = LabelTrack("stress", "class", np.array([T0]), np.array([T0 + 20 * S]), np.array([1.0]), classes=("a", "b"))
    observed = np.ones(320, dtype=bool)
    observed[:80] = False
    windows = cut(visit(recording("ppg", 8, 40, observed=observed), labels=[label]), preparation(10, 10))
    assert windows.dropped == 1
    assert windows.labels["stress"].tolist() == pytest.approx([1, float("nan"), float("nan")], nan_ok=True)


@pytest.mark.parametrize(
    ("hop_s", "late_s", "first_s"),
    [
        (0.5, 0.3, 0.5),
        (0.5, 0.5, 0.5),
        (0.5, 0.501, 1.0),
        (0.25, 0.3, 0.5),
        (0.125, 0.3, 0.375),
        (1.0, 0.3, 1.0),
        (5, 0.3, 1.0),
    ],
)
def test_the_grid_begins_at_a_second_or_at_a_multiple_of_a_shorter_hop(hop_s, late_s, first_s):
    start_ns = T0 + round(late_s * S)
    windows = cut(visit(recording("ppg", 8, 20, start_ns)), preparation(1, hop_s))
    assert windows.starts_ns[0] == T0 + round(first_s * S)
    assert windows.starts_ns[0] >= start_ns
    assert set(np.diff(windows.starts_ns).tolist()) == {round(hop_s * S)}
    # As many as fit: none more would.
    end_ns = start_ns + 20 * S
    assert windows.starts_ns[-1] + S <= end_ns + 500_000 < windows.starts_ns[-1] + S + round(hop_s * S)


@pytest.mark.parametrize(("cover", "known"), [(0.5, [1, 1]), (0.8, [1, float("nan")]), (1.0, [1, float("nan")])])
def test_labels_are_known_where_they_cover_as_much_as_the_preparation_asks(cover, known):
    label = LabelTrack("stress", "class", np.array([T0]), np.array([T0 + 16 * S]), np.array([1.0]), classes=("a", "b"))
    windows = cut(visit(recording("ppg", 8, 20), labels=[label]), preparation(10, 10, min_label_cover=cover))
    assert windows.labels["stress"].tolist() == pytest.approx(known, nan_ok=True)


def test_a_visit_without_any_prepared_modality_has_no_window():
    windows = cut(visit(recording("temp", 4, 60)), preparation())
    assert (len(windows), windows.possible, windows.signals["ppg"].shape) == (0, 0, (0, 1, 80))


def test_start_before_1970_and_times_beyond_float_precision():
    """De-identified dates can be negative; 2**53 ns is passed in 1970, so floats must not hold absolute times."""
    start = -2_072_092_541_471_000_000
    windows = cut(visit(recording("ppg", 8, 30, start)), preparation(10, 10))
    assert windows.starts_ns[0] == -2_072_092_541 * S
    assert windows.signals["ppg"][0, 0, 0] == round(0.471 * 8)


@settings(max_examples=25, deadline=None)
@given(gap=st.tuples(st.integers(0, 60), st.integers(1, 40)), hop=st.sampled_from([2, 3, 5]), seed=st.integers(0, 99))
def test_no_gap_is_crossed_as_observed(gap, hop, seed):
    """Samples that were not measured are never observed in a window, and hold zeros there."""
    length = 8 * 60
    observed = np.ones(length, dtype=bool)
    observed[gap[0] * 8 : (gap[0] + gap[1]) * 8] = False
    values = np.random.default_rng(seed).normal(5, 1, size=(1, length))
    if not observed.any():
        return
    windows = cut(
        visit(recording("ppg", 8, 60, observed=observed, values=values)), preparation(6, hop, min_coverage=0.3)
    )
    for k, start in enumerate(windows.starts_ns.tolist()):
        first = (start - T0) // S * 8
        assert np.array_equal(windows.observed["ppg"][k], observed[first : first + 48])
        assert (windows.signals["ppg"][k, 0, ~observed[first : first + 48]] == 0).all()

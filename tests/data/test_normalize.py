"""Statistics come from the given people, and from nobody else."""

import numpy as np
import pytest

from hdt_fm.data.normalize import input_statistics, typical_windows
from hdt_fm.data.selection import positions_of
from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.errors import SplitError


def rows_of(folder, tiny, people):
    names = [row.subject for row in folder.manifest.subjects]
    return np.array([names.index(tiny.KEY.pseudonym("tiny", f"rawid-{person}")) for person in people])


def test_another_persons_data_changes_nothing(tiny, tmp_path, f32_folder):
    tiny.build(tmp_path / "loud", tiny.TinyCohort(scale={2: 50.0, 6: -3.0}), encoding="f32")
    loud = ShardFolder.open(tmp_path / "loud")
    mine = [0, 1, 3, 4]
    expected = input_statistics(f32_folder, rows_of(f32_folder, tiny, mine))
    assert input_statistics(loud, rows_of(loud, tiny, mine)) == expected
    assert input_statistics(loud, rows_of(loud, tiny, [0, 1, 2])) != expected


def test_typical_windows_are_of_the_given_people_and_drawn_by_seed(f32_folder, tiny):
    rows = rows_of(f32_folder, tiny, [0, 3])
    batch = typical_windows(f32_folder, rows, max_windows=12, seed=1)
    assert len(batch) == 12
    assert set(batch.subject.tolist()) == set(rows.tolist())
    again, other = (typical_windows(f32_folder, rows, max_windows=12, seed=seed) for seed in (1, 2))
    assert batch.window_id.tolist() == again.window_id.tolist() != other.window_id.tolist()
    assert len(typical_windows(f32_folder, rows)) == len(positions_of(f32_folder, rows))
    with pytest.raises(SplitError, match="no window"):
        typical_windows(f32_folder, rows[:0])


def test_numbers_equal_a_plain_computation(f32_folder, tiny):
    rows = rows_of(f32_folder, tiny, [0, 1])
    found = input_statistics(f32_folder, rows)
    batch = f32_folder.gather(positions_of(f32_folder, rows))
    for name, signal in batch.signals.items():
        values = signal.values.double().masked_fill(~signal.observed[:, None], float("nan"))[batch.column(name)]
        flat = values.reshape(len(values), -1).numpy()
        center = np.median(np.nanmedian(flat, axis=1))
        scale = 1.4826 * np.median(np.nanmedian(np.abs(flat - center), axis=1))
        assert found[name] == pytest.approx((center, scale), rel=1e-5)
    # Holes of person 1 hold zeros; had they counted, temperature would not lie where it was made to lie.
    assert found["temp"][0] == pytest.approx(33, abs=2)


def test_a_modality_these_people_lack_is_left_as_it_is(f32_folder, tiny):
    found = input_statistics(f32_folder, rows_of(f32_folder, tiny, [1, 3]))
    assert found["temp"] == (0.0, 1.0)
    assert found["ppg"] != (0.0, 1.0)


def test_the_draw_is_seeded_and_nobody_is_an_error(f32_folder):
    everyone = np.arange(7)
    few = [input_statistics(f32_folder, everyone, max_windows=20, seed=seed) for seed in (0, 0, 1)]
    assert few[0] == few[1] != few[2]
    with pytest.raises(SplitError, match="no window"):
        input_statistics(f32_folder, everyone[:0])

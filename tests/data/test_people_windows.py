"""Windows by person; windows of nobody."""

from types import ModuleType

import numpy as np
import pytest
import torch

from hdt_fm.data.made_up import made_up_windows
from hdt_fm.data.people_windows import GroupWindows
from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.errors import ShardError
from hdt_fm.schema.modalities import MODALITIES
from hdt_fm.schema.usual_scale import USUAL, usual_scale

EVERYONE = np.arange(7)


def test_a_unit_is_whoever_never_parts_with_all_of_their_windows(f32_folder: ShardFolder) -> None:
    people = GroupWindows([(f32_folder, EVERYONE)], modalities=f32_folder.modalities)
    # Persons 4 and 5 are of one group.
    assert len(people) == 6
    positions = np.concatenate([people[number] for number in range(len(people))])
    assert sorted(positions) == list(range(f32_folder.windows))
    units = [set(f32_folder.subject_rows[people[number]].tolist()) for number in range(len(people))]
    names = [{f32_folder.manifest.subjects[row].group for row in unit} for unit in units]
    assert all(len(name) == 1 for name in names)
    assert sorted(len(unit) for unit in units) == [1, 1, 1, 1, 1, 2]


def test_windows_are_drawn_without_repeats_and_at_most_so_many(f32_folder: ShardFolder) -> None:
    people = GroupWindows([(f32_folder, EVERYONE)], modalities=("acc", "ppg"))
    drawn = [people.batch(2, 5, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert [len(batch) for batch in drawn] == [5, 5, 5]
    assert len(set(drawn[0].window_id.tolist())) == 5
    assert torch.equal(drawn[0].window_id, drawn[1].window_id)
    assert not torch.equal(drawn[0].window_id, drawn[2].window_id)
    assert drawn[0].modalities == ("acc", "ppg")
    whole = people.batch(2, 10_000, np.random.default_rng(0))
    assert sorted(whole.window_id.tolist()) == sorted(f32_folder.window_ids[people[2]].tolist())


def test_other_people_are_another_identity_and_nobody_is_refused(f32_folder: ShardFolder) -> None:
    def identity(rows: np.ndarray) -> str:
        return GroupWindows([(f32_folder, rows)], modalities=f32_folder.modalities).identity

    assert identity(EVERYONE) == identity(EVERYONE) != identity(EVERYONE[:5])
    with pytest.raises(ShardError, match="no window"):
        identity(EVERYONE[:0])


def test_made_up_windows_are_in_the_usual_range_and_of_no_person(f32_folder: ShardFolder, tiny: ModuleType) -> None:
    batch = made_up_windows(f32_folder.header.modalities, 50, seed=1)
    assert batch.modalities == f32_folder.modalities
    assert bool(batch.present.all())
    for column in f32_folder.header.modalities:
        signal, (center, scale) = batch.signals[column.name], usual_scale(column.name)
        assert signal.values.shape == (50, column.channels, column.samples)
        assert signal.sampling_rate_hz == column.sampling_rate_hz
        assert float(signal.values.std(-1).mean()) == pytest.approx(scale, rel=0.2)
        assert abs(float(signal.values.mean()) - center) < 0.5 * scale
    again, other = (made_up_windows(f32_folder.header.modalities, 50, seed=seed) for seed in (1, 2))
    assert torch.equal(batch.signals["acc"].values, again.signals["acc"].values)
    assert not torch.equal(batch.signals["acc"].values, other.signals["acc"].values)


def test_usual_scales_are_of_known_kinds_within_what_a_body_can_have() -> None:
    for name, (center, scale) in USUAL.items():
        low, high = MODALITIES[name].plausible
        assert low <= center <= high
        assert 0 < scale < (high - low)
    assert usual_scale("acc_pocket") == usual_scale("acc")
    # Of units of their own nothing can be known beforehand.
    assert usual_scale("ppg") == (0.0, 1.0)
    # Nearly every kind that has a unit is there; what is given at moments has no usual level.
    lacking = {name for name, kind in MODALITIES.items() if not kind.given and kind.unit != "au"} - USUAL.keys()
    assert lacking == {"stimulation"}

"""The table of modalities, and the same kind worn at more than one place."""

import pytest

from hdt_fm.schema.errors import UnknownNameError
from hdt_fm.schema.modalities import MODALITIES, PLACES, modality, own_or_of_kind


@pytest.mark.parametrize("kind", sorted(MODALITIES))
def test_every_kind_is_itself_and_can_be_worn_at_every_place(kind):
    assert modality(kind) is MODALITIES[kind]
    assert (modality(kind).kind, modality(kind).place) == (kind, "")
    assert len(PLACES) == len(set(PLACES)) == 39
    for place in PLACES:
        placed = modality(f"{kind}_{place}")
        assert (placed.name, placed.kind, placed.place) == (f"{kind}_{place}", kind, place)
        assert (placed.unit, placed.units, placed.plausible) == (
            MODALITIES[kind].unit,
            MODALITIES[kind].units,
            MODALITIES[kind].plausible,
        )


def test_labels_and_conversions_of_a_placed_name():
    assert modality("acc_pocket").label == "Acceleration (pocket)"
    assert modality("heart_rate_left_wrist").label == "Heart rate (left wrist)"
    assert modality("acc_back").conversion("m/s^2")[0] == pytest.approx(1 / 9.80665)


def test_a_kind_with_an_underscore_is_no_placed_name():
    assert modality("heart_rate").place == ""
    # No kind may read as another kind at a place, or one name would mean two things.
    names = {f"{kind}_{place}" for kind in MODALITIES for place in PLACES}
    assert len(names) == len(MODALITIES) * len(PLACES)
    assert not names & set(MODALITIES)


@pytest.mark.parametrize(
    ("wrong", "near"),
    [("accc", "acc"), ("acc_poket", "acc_pocket"), ("gyro_left_wirst", "gyro_left_wrist"), ("hart_rate", "heart_rate")],
)
def test_a_typo_is_refused_with_the_nearest_name_and_the_places(wrong, near):
    with pytest.raises(UnknownNameError) as caught:
        modality(wrong)
    text = str(caught.value)
    assert f"did you mean '{near}'?" in text
    assert "a place may follow, such as acc_pocket" in text
    assert "left_ankle" in text


@pytest.mark.parametrize("wrong", ["acc_", "_pocket", "acc_pocket_pocket", "acc-pocket", "xyz_pocket", ""])
def test_what_is_nearly_a_placed_name_is_refused(wrong):
    with pytest.raises(UnknownNameError):
        modality(wrong)


def test_settings_of_a_kind_serve_its_placed_names_unless_they_have_their_own():
    settings = {"acc": {"patch_s": 1.0, "points": 8}, "acc_chest": {"patch_s": 0.5}, "ppg_finger": {"points": 4}}
    assert own_or_of_kind(settings, "acc_pocket") == {"patch_s": 1.0, "points": 8}
    assert own_or_of_kind(settings, "acc_chest") == {"patch_s": 0.5, "points": 8}
    assert own_or_of_kind(settings, "acc") == {"patch_s": 1.0, "points": 8}
    # A place says nothing of its kind elsewhere.
    assert own_or_of_kind(settings, "ppg") == {}
    assert own_or_of_kind(settings, "gyro_chest") == {}

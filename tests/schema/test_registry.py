"""Names become classes by room and file; nothing else does."""

import pytest

from hdt_fm.schema import registry
from hdt_fm.schema.errors import ConfigError, UnknownNameError


def test_every_room_resolves_every_name() -> None:
    found = 0
    for room in registry.ROOMS:
        for name in registry.names(room):
            assert isinstance(registry.find(room, name), type), (room, name)
            found += 1
    assert found >= 15


@pytest.mark.parametrize(
    "name", ["os", "patch_transformer.__init__", "../secrets", "Resnet", "", "torch.load", "_files"]
)
def test_no_other_name_is_a_part(name: str) -> None:
    with pytest.raises(UnknownNameError):
        registry.find("encoders", name)


def test_arguments_are_checked_against_the_signature() -> None:
    with pytest.raises(ConfigError, match="did you mean 'width'"):
        registry.build("encoders", "resnet", {"widht": 8})
    with pytest.raises(ConfigError, match=r"Missing setting: .*in_features"):
        registry.build("heads", "probe", {"out_features": 2})

"""What a model was made with: the installed distributions that hdt_fm depends on, from the installer's own records."""

from collections.abc import Iterable, Iterator
from importlib import metadata

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from hdt_fm.schema.preparation import Plain

OURS = "hdt-fm"


class Distribution(Plain):
    """One installed distribution: nothing of the machine, only what the installer was given.

    Attributes:
        licence: As its makers state it in one SPDX expression; empty where they do not.
        needs: Names of the distributions of this list that it depends on.
    """

    name: str
    version: str
    licence: str = ""
    needs: tuple[str, ...] = ()


def installed(root: str = OURS) -> tuple[Distribution, ...]:
    """The root and all that it needs, directly or not, without extras of the root; by name.

    Returns:
        Empty where the root was not installed by an installer.
    """
    found: dict[str, Distribution] = {}
    waiting: list[str] = [canonicalize_name(root)]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            one = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        needs = tuple(sorted(set(_needs(one.requires or ()))))
        found[name] = Distribution(
            name=name, version=one.version, licence=(one.metadata.get_all("License-Expression") or [""])[0], needs=needs
        )
        waiting += needs
    return tuple(
        found[name].model_copy(update={"needs": tuple(one for one in found[name].needs if one in found)})
        for name in sorted(found)
    )


def _needs(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield canonicalize_name(requirement.name)

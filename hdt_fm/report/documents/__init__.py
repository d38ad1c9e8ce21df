"""Every document of a published folder that is made: its file and what makes it. Same facts, same bytes."""

from collections.abc import Callable

from hdt_fm.report.documents import chai, citation, croissant, licence, readme, sbom, tripod
from hdt_fm.report.facts import Facts

DOCUMENTS: dict[str, Callable[[Facts], str]] = {
    one.NAME: one.make for one in (readme, chai, tripod, croissant, sbom, citation, licence)
}

"""Nobody in the model's lineage has taken back consent."""

from collections.abc import Iterator

from hdt_fm.report.rules.folder import Folder


def withdrawn_people(folder: Folder) -> Iterator[str]:
    """Asks whoever knows, who counts people and names none."""
    yield from folder.withdrawn() if folder.withdrawn else ()

"""A licence of the weights and of every cohort."""

from collections.abc import Iterator

from hdt_fm.report.licences import refuse_unready
from hdt_fm.report.rules.folder import Folder
from hdt_fm.schema.errors import PublishError


def licences(folder: Folder) -> Iterator[str]:
    """What is missing of them."""
    if folder.facts:
        try:
            refuse_unready(folder.facts.card, folder.facts.data)
        except PublishError as error:
            yield f"{error.problem} ({error.where})"

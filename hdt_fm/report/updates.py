"""What a checkpoint says of heads that went on learning after the runs whose records lie beside it.

`updates.json` stands in a checkpoint that `hdt-fm update take` wrote, and in its SHA256SUMS: so the card cannot tell
the scores of a head as it was before for those of the head as it is.
"""

from pathlib import Path

from pydantic import Field

from hdt_fm.schema.errors import PublishError
from hdt_fm.schema.preparation import Plain

UPDATES_NAME = "updates.json"


class HeadUpdates(Plain):
    """One head that went on learning.

    Attributes:
        updates: How often.
        strategy: What held it to what it knew, by name and in words.
        domains: What it has learned, in order, the one that taught it first among them.
        own: The domain that it is of alone; None where it is the shared head.
        scores: The newest, as the ledger names them; on people who never taught it, or as rehearsed where it says so.
    """

    head: str
    updates: int = Field(ge=1)
    strategy: str
    domains: tuple[str, ...] = Field(min_length=1)
    own: str | None = None
    scores: dict[str, float]


class Updates(Plain):
    """`updates.json`."""

    version: int = 1
    heads: tuple[HeadUpdates, ...] = Field(min_length=1)

    def with_head(self, other: HeadUpdates) -> "Updates":
        """The same with a head told anew."""
        return Updates(heads=(*(one for one in self.heads if one.head != other.head), other))


def read_updates(folder: Path) -> Updates | None:
    """What a checkpoint folder says; None where no head of it was updated.

    Raises:
        PublishError: If the file breaks its contract.
    """
    path = Path(folder) / UPDATES_NAME
    if not path.is_file():
        return None
    try:
        return Updates.model_validate_json(path.read_bytes())
    except ValueError as error:
        raise PublishError(
            f"{UPDATES_NAME} of the checkpoint breaks its contract",
            where=path.parent.name,
            fix="take the head again: hdt-fm update take LINE --to FOLDER",
        ) from error

"""A sealed shard folder: what lies where, and what vouches for it.

`manifest.json.age` is the manifest of the same folder lying plain, to the byte, so both have one digest.
`seals.json.age` says what the tars and indexes are as they lie, since age makes other bytes each time. A tar keeps its
name and its order; a member gets `.age`, and a label's a number in place of its name. What is left in the open: names
of files and modalities, sizes (so how many windows), indexes (places, sizes, shapes, checksums of what lies sealed).
"""

import re
from dataclasses import dataclass

from hdt_fm.schema.age import SUFFIX, Identity
from hdt_fm.schema.errors import CorruptShardError, ShardError
from hdt_fm.schema.preparation import Plain
from hdt_fm.schema.shard import MANIFEST_NAME, ShardEntry, ShardHeader

SEALS_NAME = "seals.json"
SEALED_MANIFEST, SEALED_SEALS = f"{MANIFEST_NAME}{SUFFIX}", f"{SEALS_NAME}{SUFFIX}"
MAX_SEALS_BYTES = 64 << 20
_NUMBERED = re.compile(r"y_([0-9]{1,6})", re.ASCII)


class Seal(Plain):
    """A tar of a sealed folder, and its index, as they lie."""

    bytes: int
    sha256: str
    index_sha256: str


class Seals(Plain):
    """`seals.json`: by the tar's path. Tars that the manifest does not name (any more) may be among them."""

    version: int = 1
    shards: dict[str, Seal]


@dataclass(frozen=True)
class Sealed:
    """What it takes to read a sealed folder."""

    seals: Seals
    identity: Identity

    def stored(self, entry: ShardEntry) -> ShardEntry:
        """The entry of a shard with size and digest of the tar as it lies, not of the plain one.

        Raises:
            CorruptShardError: If nobody vouches for it.
        """
        seal = self.seals.shards.get(entry.path)
        if seal is None:
            raise CorruptShardError(
                "A shard of a sealed folder is not among its seals",
                where=entry.path,
                expected=f"every shard of the manifest in {SEALED_SEALS}",
                fix="copy the folder from its maker again",
            )
        return entry.model_copy(update={"bytes": seal.bytes, "sha256": seal.sha256})

    def index_sha256(self, entry: ShardEntry) -> str:
        """Of the index beside a shard's tar."""
        return self.seals.shards[entry.path].index_sha256


def parse_seals(data: bytes, *, where: str) -> Seals:
    """The seals that these bytes are.

    Raises:
        ShardError: If they cannot be read.
    """
    try:
        found = Seals.model_validate_json(data)
        if found.version != 1:
            raise ValueError("another version")
    except ValueError as error:
        raise ShardError(
            "The seals of a shard folder cannot be read",
            where=f"{where}/{SEALED_SEALS}",
            got=type(error).__name__,
            fix="copy the folder from its maker again, or read it with a later hdt_fm",
        ) from None
    return found


def shard_identity() -> Identity:
    """Opens shards with the key of the environment."""
    return Identity(wrong=ShardError, damaged=CorruptShardError)


def stored_name(name: str, header: ShardHeader) -> str:
    """What a member is called in a sealed tar: a label by its number."""
    labels = [f"y_{label.name}" for label in header.labels]
    return f"y_{labels.index(name)}" if name in labels else name


def told_name(name: str, header: ShardHeader) -> str:
    """The member that is called so in a sealed tar."""
    match = _NUMBERED.fullmatch(name)
    number = int(match[1]) if match else -1
    return f"y_{header.labels[number].name}" if 0 <= number < len(header.labels) else name

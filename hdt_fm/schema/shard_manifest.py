"""`manifest.json` of a shard folder, read without trusting it."""

from hdt_fm.schema.errors import ShardError, unknown_name
from hdt_fm.schema.shard import MANIFEST_NAME, SHARD_PATTERN, SHARD_VERSION, ShardEntry, ShardManifest
from hdt_fm.schema.shard_people import check_apart

MAX_MANIFEST_BYTES = 256 << 20


def no_manifest(where: str) -> ShardError:
    """The error for a folder without one."""
    return ShardError(
        "The folder is not a shard folder, or its build did not finish",
        where=where,
        expected=f"a {MANIFEST_NAME} in it",
        fix="run `hdt-fm shard` on it (again); an interrupted build goes on where it stopped",
    )


def parse_manifest(data: bytes, *, where: str) -> ShardManifest:
    """The manifest that these bytes are.

    Args:
        where: Name of the folder.

    Raises:
        ShardError: If it cannot be read, or is of another version.
        LeakError: If it says that somebody is in two splits.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise ShardError("The manifest is too large to be one", where=where)
    try:
        manifest = ShardManifest.model_validate_json(data)
    except ValueError as error:
        raise ShardError(
            "The manifest cannot be read",
            where=f"{where}/{MANIFEST_NAME}",
            got=type(error).__name__,
            fix="build the folder again with `hdt-fm shard`",
        ) from None
    if manifest.version != SHARD_VERSION:
        raise ShardError(
            "The shard folder is of another version",
            where=where,
            expected=str(SHARD_VERSION),
            got=str(manifest.version),
            fix="build it again with this version of hdt_fm",
        )
    check_apart(manifest)
    return manifest


def entries_of(manifest: ShardManifest, split: str = "all") -> list[ShardEntry]:
    """Shards of a split; of every split in turn for `all` where there is none of that name.

    Raises:
        UnknownNameError: If there is no such split.
        ShardError: If a path cannot be one of a shard.
    """
    if split not in manifest.splits and split != "all":
        raise unknown_name("split", split, [*manifest.splits, "all"])
    chosen = [manifest.splits[split]] if split in manifest.splits else list(manifest.splits.values())
    entries = [entry for part in chosen for entry in part]
    if not all(SHARD_PATTERN.fullmatch(entry.path) for entry in entries):
        # The path is foreign text: it stays out of the message and is never opened.
        raise ShardError(
            "The manifest names a file that cannot be a shard",
            where=MANIFEST_NAME,
            expected=f"paths of the form {SHARD_PATTERN.pattern}",
            fix="do not trust this folder; get it from its maker again",
        )
    return entries

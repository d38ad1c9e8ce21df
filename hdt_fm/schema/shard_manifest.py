"""`manifest.json` of a shard folder, plain or sealed, read without trusting it."""

from collections.abc import Callable
from pathlib import Path

from hdt_fm.schema.age import Identity
from hdt_fm.schema.errors import CorruptShardError, ShardError, unknown_name
from hdt_fm.schema.shard import MANIFEST_NAME, SHARD_PATTERN, SHARD_VERSION, ShardEntry, ShardManifest
from hdt_fm.schema.shard_people import check_apart
from hdt_fm.schema.shard_seal import (
    MAX_SEALS_BYTES,
    SEALED_MANIFEST,
    SEALED_SEALS,
    Sealed,
    parse_seals,
    shard_identity,
)

MAX_MANIFEST_BYTES = 256 << 20
# Gives a file of the folder, a byte past the limit at most; None where there is none.
Fetch = Callable[[str, int], bytes | None]


def no_manifest(where: str) -> ShardError:
    """The error for a folder without one."""
    return ShardError(
        "The folder is not a shard folder, or its build did not finish",
        where=where,
        expected=f"a {MANIFEST_NAME} in it",
        fix="run `hdt-fm shard` on it (again); an interrupted build goes on where it stopped",
    )


def manifest_bytes(fetch: Fetch, *, where: str) -> tuple[bytes, Sealed | None]:
    """What a folder's manifest says, and what it takes to read the rest where the folder is sealed.

    Args:
        where: Name of the folder.

    Raises:
        ShardError: If the folder has no manifest, or one that is sealed for other people.
        CorruptShardError: If a sealed one was changed.
        ConfigError: If it is sealed and no key is set.
    """
    plain = fetch(MANIFEST_NAME, MAX_MANIFEST_BYTES)
    if plain is not None:
        return plain, None
    data = fetch(SEALED_MANIFEST, MAX_MANIFEST_BYTES)
    if data is None:
        raise no_manifest(where)
    identity, seals = shard_identity(), fetch(SEALED_SEALS, MAX_SEALS_BYTES)
    found = _opened(identity, data, MAX_MANIFEST_BYTES, where=f"{where}/{SEALED_MANIFEST}")
    if seals is None:
        raise CorruptShardError(
            "A sealed shard folder has lost its seals",
            where=where,
            expected=SEALED_SEALS,
            fix="copy the folder from its maker again",
        )
    told = _opened(identity, seals, MAX_SEALS_BYTES, where=f"{where}/{SEALED_SEALS}")
    return found, Sealed(parse_seals(told, where=where), identity)


def _opened(identity: Identity, data: bytes, most: int, *, where: str) -> bytes:
    if len(data) > most:
        raise ShardError("A sealed file of a shard folder is too large to be one", where=where)
    return identity.open(data, most=most, where=where)


def local_manifest(folder: Path) -> tuple[bytes, Sealed | None]:
    """`manifest_bytes` of a folder here.

    Raises:
        ShardError, CorruptShardError, ConfigError: As there, and if there are a plain and a sealed one.
    """
    if (folder / MANIFEST_NAME).exists() and (folder / SEALED_MANIFEST).exists():
        raise ShardError(
            "A shard folder has a plain and a sealed manifest",
            where=folder.name,
            expected=f"{MANIFEST_NAME} or {SEALED_MANIFEST}",
            fix="do not trust it before you know where the second one comes from; then take that one away",
        )

    def fetch(name: str, limit: int) -> bytes | None:
        file = folder / name
        if not file.is_file():
            return None
        with file.open("rb") as opened:
            # One byte too many is enough to tell that it is too large.
            return opened.read(limit + 1)

    return manifest_bytes(fetch, where=folder.name)


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

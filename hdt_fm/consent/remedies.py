"""What is still to be done for people who left: asked before a model goes out, and by `hdt-fm consent status`."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hdt_fm.consent.artefact import Artefact
from hdt_fm.consent.entry import Said
from hdt_fm.consent.lineage import Touched, Traced, trace
from hdt_fm.consent.register import Register
from hdt_fm.consent.scan import scan
from hdt_fm.consent.standing import left
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.shard_manifest import local_manifest, parse_manifest


@dataclass(frozen=True)
class Found:
    """What was found for everybody who left.

    Attributes:
        touched: By the number of the entry by which the person left, so that nothing of it names them.
        unreadable: Places that hold what could not be read, with what it is.
    """

    touched: dict[int, tuple[Touched, ...]]
    unreadable: tuple[str, ...]

    @property
    def open(self) -> tuple[Touched, ...]:
        """What is to be done, each artefact once, however many people it is for."""
        found = {(one.place, one.remedy, one.digest): one for some in self.touched.values() for one in some if one.open}
        return tuple(found.values())


def look(register: Register, folders: Iterable[Path], *, subjects: Sequence[str] | None = None) -> Found:
    """Everything below the folders that people who left have touched.

    Args:
        subjects: These people alone; everybody who left if None.

    Raises:
        ConfigError: If a folder is not there.
    """
    gone = left(register.entries) if subjects is None else tuple(subjects)
    artefacts = found_in(folders, gone)
    numbers = {one.subject: one.number for one in register.entries if one.kind == "withdrawn"}
    return Found(
        {numbers.get(one, -1): trace(one, artefacts, register.entries) for one in gone},
        tuple(f"{one.place}: {one.note}" for one in artefacts if one.kind == "unreadable"),
    )


def found_in(folders: Iterable[Path], people: Iterable[str]) -> tuple[Artefact, ...]:
    """As `scan`, of folders that are there.

    Raises:
        ConfigError: If one is not, or cannot be read: what cannot be looked at may hold anybody.
    """
    folders = [Path(one) for one in folders]
    check_there(folders)
    try:
        return scan(folders, people)
    except OSError as error:
        raise ConfigError(
            "A folder cannot be looked through",
            where=str(error.filename or ""),
            got=error.strerror or type(error).__name__,
            fix="make it readable, and look again",
        ) from error


def check_there(folders: Iterable[Path]) -> None:
    """Refuse a folder that is none.

    Raises:
        ConfigError: If there is one.
    """
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(
                "There is no folder here to look through",
                where=f"root={folder}",
                expected="a folder of runs, shards or publications",
                got="a file" if folder.exists() else "nothing",
                fix="name a folder that is there",
            )


def write_down(register: Register, subject: str, artefacts: Sequence[Artefact], touched: Iterable[Touched]) -> None:
    """Keep in the register what was found by digest and was not there yet."""
    known = Traced.of(subject, artefacts, register.entries)
    before = Traced.of(subject, (), register.entries)
    published = {one.digest for one in touched if one.remedy == "withdraw from publication"}
    said = Said(
        kind="traced",
        subject=subject,
        shards=tuple(sorted(known.shards - before.shards)),
        models=tuple(sorted(known.models - before.models)),
        published=tuple(sorted(published - before.published)),
    )
    if said.shards or said.models or said.published:
        register.add([said])


def open_remedies(register: Path | Register, folders: Iterable[Path]) -> list[Touched]:
    """What is still to be done below the folders for people who left, each artefact once; measured on disk.

    Raises:
        ConfigError: If the register or a folder cannot be read.
    """
    book = register if isinstance(register, Register) else Register(register)
    return list(look(book, folders).open)


def withdrawn_in_lineage(register: Path | Register, checkpoint: Path, shards: Iterable[Path] = ()) -> list[str]:
    """Reasons, with counts and no pseudonym, why people who left are in the lineage of a checkpoint; empty if none is.

    Args:
        checkpoint: A run's checkpoint folder, `people.json` beside it.
        shards: Shard folders that it was trained on.

    Raises:
        ConfigError: If the register or a list of people cannot be read.
    """
    book = register if isinstance(register, Register) else Register(register)
    gone, reasons = set(left(book.entries)), []
    people = checkpoint.parent / "people.json"
    if people.is_file():
        try:
            parts = json.loads(people.read_bytes())
            taught = gone & {*parts["train"], *parts["validation"]}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                "The list of people beside the checkpoint cannot be read",
                where=str(people),
                got=type(error).__name__,
                fix="pretrain again",
            ) from None
        if taught:
            reasons.append(f"{len(taught)} people whom the encoder learned from have withdrawn: pretrain without them")
    for folder in shards:
        data, _ = local_manifest(folder)
        manifest = parse_manifest(data, where=folder.name)
        held = gone & {row.subject for row in manifest.subjects if row.windows}
        if held:
            reasons.append(f"{len(held)} people in the shards have withdrawn: revoke and compact {folder.name}")
    return reasons

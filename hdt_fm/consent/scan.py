"""Folders -> artefacts: what each holds of whom, and by digest what it was made from. Reads, changes nothing.

Nothing here needs torch. What an artefact is follows from its own small records (manifest.json, table.json,
people.json, result.json, domains.json, provenance.json, explanation.json), never from the name of a folder.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hdt_fm.consent import lines_and_twins
from hdt_fm.consent.artefact import EXPORT_NAME, WORK, Artefact, Kind, people_in
from hdt_fm.consent.register import NAME as REGISTER_NAME
from hdt_fm.schema.errors import HdtError
from hdt_fm.schema.ledger import LEDGER_NAME
from hdt_fm.schema.manifest import SUMS_NAME
from hdt_fm.schema.shard import MANIFEST_NAME
from hdt_fm.schema.shard_manifest import local_manifest, parse_manifest
from hdt_fm.schema.shard_seal import SEALED_MANIFEST, SEALED_SEALS

_WORDS = (".json", ".jsonl", ".csv", ".tsv", ".txt", ".md", ".yaml", ".yml", ".html", ".log")
# Read with the artefact that they are of.
_KNOWN = {MANIFEST_NAME, "table.json", "people.json", "domains.json", "compact.json", "export.json"}
_MOST_BYTES = 64 << 20


def scan(folders: Iterable[Path], people: Iterable[str] = ()) -> tuple[Artefact, ...]:
    """Every artefact below the folders, in the order of paths; registers of consent are left out.

    Args:
        people: Pseudonyms to be looked for in twins, which keep digests of them alone.
    """
    found: dict[tuple[Path, str], Artefact] = {}
    for folder in folders:
        for one in _below(Path(folder), tuple(people)):
            found.setdefault((one.place.resolve(), one.kind), one)
    return tuple(found[key] for key in sorted(found))


def _below(folder: Path, people: Sequence[str]) -> Iterator[Artefact]:
    for place, inside, names in os.walk(folder, onerror=_raise):
        inside.sort()
        if {REGISTER_NAME, LEDGER_NAME, EXPORT_NAME} & set(names) or Path(place).name == WORK:
            # One artefact, whatever lies in it.
            inside.clear()
        yield from _here(Path(place), sorted(names), people)


def _here(here: Path, names: Sequence[str], people: Sequence[str]) -> Iterator[Artefact]:
    if REGISTER_NAME in names:
        return
    if here.name == WORK:
        if any(here.rglob("*.age")):
            yield Artefact("unreadable", here, note="sealed work of a build that was interrupted: finish or delete it")
        yield Artefact("file", here, holds=frozenset().union(*map(people_in, sorted(here.rglob("*.json")))))
        return
    if LEDGER_NAME in names:
        yield from _guarded("versions", here, lambda: lines_and_twins.read(here, people))
    elif EXPORT_NAME in names:
        yield Artefact("export", here, holds=people_in(here / EXPORT_NAME))
    else:
        for name, kind, reader in _READERS:
            if name in names:
                yield from _guarded(kind, here, partial(_read, kind, reader, here, names))
        for name in names:
            if name not in _KNOWN and name.endswith(_WORDS):
                yield from _file(here / name)
            elif SEALED_SEALS in names and name.endswith(".json.age") and name not in (SEALED_MANIFEST, SEALED_SEALS):
                yield Artefact("unreadable", here / name, note="a sealed list of a build, which may name people")


def _read(kind: Kind, reader: Callable[[Path], Artefact], here: Path, names: Sequence[str]) -> Artefact | None:
    return reader(here) if _is(kind, here, names) else None


def _raise(error: OSError) -> None:
    raise error


def _guarded(what: str, place: Path, read: Callable[[], Artefact | None]) -> Iterator[Artefact]:
    """What cannot be read may hold anybody: it is told, and never passed over."""
    try:
        found = read()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, HdtError) as error:
        found = Artefact("unreadable", place, note=f"a record of {what} that cannot be read ({type(error).__name__})")
    if found is not None:
        yield found


def _is(kind: Kind, here: Path, names: Sequence[str]) -> bool:
    if kind in ("head", "evaluation"):
        verb = _json(here / "result.json").get("verb")
        return verb == "finetune" if kind == "head" else verb in ("evaluate", "audit")
    if kind == "shards":
        return SEALED_SEALS in names or b'"splits"' in (here / MANIFEST_NAME).read_bytes()
    if kind == "publication":
        return SUMS_NAME in names
    return True


def _shards(here: Path) -> Artefact:
    data, _ = local_manifest(here)
    manifest = parse_manifest(data, where=here.name)
    people = {row.subject: row.windows for row in manifest.subjects if row.windows}
    note = f"{len(manifest.revoked_windows)} windows are revoked, and their bytes still there"
    return Artefact(
        "shards",
        here,
        holds=frozenset(people),
        makes=hashlib.sha256(data).hexdigest(),
        again=_again(here.parent),
        facts=people,
        note=note if manifest.revoked_windows else "",
    )


def _table(here: Path) -> Artefact:
    from safetensors import safe_open

    facts = _json(here / "table.json")
    with safe_open(here / "embeddings.safetensors", framework="np") as arrays:
        counts = np.bincount(arrays.get_tensor("subject"), minlength=len(facts["subjects"]))
    rows = {name: int(count) for name, count in zip(facts["subjects"], counts, strict=True)}
    return Artefact(
        "embedding table",
        here,
        holds=frozenset(name for name, count in rows.items() if count),
        lists=frozenset(rows),
        shards=tuple(str(facts["data_digest"]).split()),
        models=(str(facts["model_digest"]),),
        again=_again(here.parent),
        facts=rows,
    )


def _encoder(here: Path) -> Artefact:
    people = _json(here / "people.json")
    made = _json(here / "result.json").get("provenance", {}) if (here / "result.json").is_file() else {}
    return Artefact(
        "encoder",
        here,
        taught=frozenset([*people["train"], *people["validation"]]),
        asked=frozenset(people["test"]),
        shards=tuple(str(made.get("shards", "")).split()),
        makes=str(made.get("model", "")),
        again=_again(here),
    )


def _run(kind: Kind) -> Callable[[Path], Artefact]:
    def read(here: Path) -> Artefact:
        made = _json(here / "result.json")["provenance"]
        models = tuple(str(made[name]) for name in ("encoder", "model") if made.get(name))
        return Artefact(
            kind, here, shards=tuple(str(made.get("shards", "")).split()), models=models, again=_again(here)
        )

    return read


def _report(here: Path) -> Artefact:
    made = _json(here / "explanation.json").get("provenance", {})
    return Artefact("attribution report", here, shards=tuple(str(made.get("shards") or "").split()), again=_again(here))


def _publication(here: Path) -> Artefact:
    records = [one.get("provenance", {}) for one in _json(here / "provenance.json")["records"]]
    shards = {digest for one in records for digest in str(one.get("shards", "")).split()}
    models = {str(one[name]) for one in records for name in ("model", "encoder") if one.get(name)}
    digest = hashlib.sha256((here / SUMS_NAME).read_bytes()).hexdigest()
    return Artefact(
        "publication",
        here,
        shards=tuple(sorted(shards)),
        models=tuple(sorted(models)),
        makes=digest,
        again=_again(here.parent),
    )


def _file(path: Path) -> Iterator[Artefact]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            return
        people = people_in(path)
    except OSError as error:
        yield Artefact("unreadable", path, note=f"a file that cannot be read ({type(error).__name__})")
        return
    if people:
        yield Artefact("file", path, holds=people)


def _again(run: Path) -> str:
    """The command of a run folder: what its record names as the next one repeats its settings."""
    try:
        record = _json(run / "result.json")
        # An audit has a folder by its word.
        verb = f"audit {run.name}" if record["verb"] == "audit" else str(record["verb"])
        words = str(record["next"][0]).split(" ", 2)
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return ""
    if words[:1] != ["hdt-fm"] or len(words) < 3:
        return f"hdt-fm {verb} with the settings of {run / 'config.yaml'}"
    return f"hdt-fm {verb} {words[2]}"


def _json(path: Path) -> Any:
    found = json.loads(path.read_bytes())
    if not isinstance(found, dict):
        raise ValueError("no object")
    return found


# The file that tells what lies in a folder, what that is, and who reads it.
_READERS: tuple[tuple[str, Kind, Callable[[Path], Artefact]], ...] = (
    (MANIFEST_NAME, "shards", _shards),
    # With the key of HDT_FM_IDENTITY; without it the folder is told as one that cannot be read.
    (SEALED_SEALS, "shards", _shards),
    ("table.json", "embedding table", _table),
    ("people.json", "encoder", _encoder),
    ("result.json", "head", _run("head")),
    ("result.json", "evaluation", _run("evaluation")),
    ("explanation.json", "attribution report", _report),
    ("provenance.json", "publication", _publication),
)

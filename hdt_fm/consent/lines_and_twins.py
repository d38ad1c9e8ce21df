"""Folders of versions: the line of a model that `hdt-fm update` teaches, or a person's twin."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hdt_fm.consent.artefact import Artefact, people_in
from hdt_fm.schema.ledger import LEDGER_NAME

DOMAINS, TWIN, MEMORY = "domains.json", "twin.json", "memory.json"
TAUGHT = "had taught the head"


def read(here: Path, people: Sequence[str]) -> Artefact:
    """What every version that is kept holds.

    Args:
        people: Pseudonyms to be looked for in a twin, which keeps digests of them alone.
    """
    ledger = [json.loads(line) for line in (here / LEDGER_NAME).read_bytes().splitlines() if line.endswith(b"}")]
    found = list(_versions(here, DOMAINS))
    if found:
        return _line(here, ledger, found)
    twins = list(_versions(here, TWIN))
    if not twins:
        sealed = any(one.get("sealed") for one in ledger)
        note = "versions that lie sealed: open them with the key and look" if sealed else "versions of something else"
        return Artefact("unreadable", here, note=note)
    holds = {one for one in people for _, facts in twins if _is_of(facts, one)}
    again = f"hdt-fm twin delete {here} --yes"
    return Artefact("twin", here, holds=frozenset(holds), again=again)


def _line(here: Path, ledger: Sequence[Any], found: Sequence[tuple[Path, Any]]) -> Artefact:
    domains = [one for _, facts in found for one in facts["domains"]]
    memories = [path.parent / MEMORY for path, _ in found if (path.parent / MEMORY).is_file()]
    # People who withdrew are named nowhere any more; the ledger keeps how many of them had taught the head.
    gone = sum(int(one.get("facts", {}).get(TAUGHT, 0)) for one in ledger)
    return Artefact(
        "update line",
        here,
        holds=frozenset().union(*map(people_in, memories)),
        taught=frozenset(name for one in domains for name in one["teachers"]),
        asked=frozenset(name for one in domains for name in one["asked"]),
        shards=tuple(sorted({digest for one in domains for digest in str(one["shards"]).split()})),
        facts={TAUGHT: gone},
    )


def _versions(here: Path, name: str) -> Iterator[tuple[Path, Any]]:
    for path in sorted(here.glob(f"versions/*/{name}")):
        yield path, json.loads(path.read_bytes())


def _is_of(facts: Any, person: str) -> bool:
    digest = hashlib.sha256(f"{facts.get('salt')} {person}".encode()).hexdigest()
    return digest in dict(facts.get("whose") or {}).values()

"""All that the documents of a published folder are made from, read back from the folder itself."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, model_serializer

from hdt_fm.report.card_facts import CardFacts
from hdt_fm.report.data_facts import DataFacts
from hdt_fm.report.evidence import Attribution, Audit, Gaps, read_attribution, read_audit, read_fairness
from hdt_fm.report.software import Distribution
from hdt_fm.report.updates import Updates
from hdt_fm.schema.errors import HdtError, PublishError
from hdt_fm.schema.imported import IMPORTED_NAME, Imported
from hdt_fm.schema.manifest import CONFIG_NAME, PREPROCESS_NAME, PROBE_NAME, WEIGHTS_NAME, ModelConfig, Preprocess
from hdt_fm.schema.preparation import Plain
from hdt_fm.schema.result import RESULT_VERSION, Result, Row, RunRecord

RESULT_NAME, PROVENANCE_NAME = "result.json", "provenance.json"
CHECKPOINT_NAMES = (WEIGHTS_NAME, CONFIG_NAME, PREPROCESS_NAME, PROBE_NAME)
# 1: card, results and provenance alone. 2: all documents of `documents/`, software, digests of shards.
# 3: what each run cost.
PROVENANCE_VERSION = 3
Record = TypeVar("Record", bound=Plain)


class Published(Plain):
    """`result.json` of a published folder: every Result of the evaluation, unrounded, with its intervals."""

    version: int = RESULT_VERSION
    results: tuple[Result, ...] = Field(min_length=1)


class Provenance(Plain):
    """`provenance.json`: all that the documents were made from, besides the checkpoint, the results and the evidence.

    Attributes:
        updates: Of heads that went on learning after these records.
        software: What was installed where the folder was made.
        model_digests: Names under which results and evidence may speak of this very model.
    """

    version: int = PROVENANCE_VERSION
    card: CardFacts
    data: tuple[DataFacts, ...]
    records: tuple[RunRecord, ...]
    updates: Updates | None = None
    software: tuple[Distribution, ...] = ()
    model_digests: tuple[str, ...] = ()

    @model_serializer(mode="wrap")
    def _plain(self, handler: Any) -> dict[str, Any]:
        # A model without updates has no word of them.
        written = handler(self)
        return written if self.updates else {key: value for key, value in written.items() if key != "updates"}


@dataclass(frozen=True)
class Facts:
    """What a document may rest on. Equal facts give equal bytes: no clock, no machine, no network.

    Attributes:
        weights_digest: sha256 of the weights' file.
    """

    card: CardFacts
    data: tuple[DataFacts, ...]
    records: tuple[RunRecord, ...]
    results: tuple[Result, ...]
    config: ModelConfig
    preprocess: Preprocess
    updates: Updates | None = None
    software: tuple[Distribution, ...] = ()
    model_digests: tuple[str, ...] = ()
    audit: Audit | None = None
    fairness: Gaps | None = None
    attribution: Attribution | None = None
    imported: Imported | None = None
    weights_digest: str = ""
    version: int = PROVENANCE_VERSION

    @property
    def subgroup_rows(self) -> tuple[tuple[Result, Row], ...]:
        """Numbers of parts of the people, with the table that they stand in."""
        return tuple((one, row) for one in self.results for row in one.rows if of_subgroup(one, row))


def of_subgroup(result: Result, row: Row) -> bool:
    """Whether a row is of a part of the people: by its column, or by the table of `protocol.also=[subgroups]`."""
    whole = row.what.endswith(", everyone")
    return "subgroup" in row.columns or (result.protocol.get("task") == "subgroups" and not whole)


def read_facts(folder: Path) -> Facts:
    """The facts of a published folder, complete or about to be.

    Raises:
        PublishError: If a file is missing or breaks its contract.
    """
    folder = Path(folder)
    told = read_record(folder / PROVENANCE_NAME, Provenance)
    return Facts(
        card=told.card,
        data=told.data,
        records=told.records,
        results=read_record(folder / RESULT_NAME, Published).results,
        config=read_record(folder / CONFIG_NAME, ModelConfig),
        preprocess=read_record(folder / PREPROCESS_NAME, Preprocess),
        updates=told.updates,
        software=told.software,
        model_digests=told.model_digests,
        audit=read_audit(folder),
        fairness=read_fairness(folder),
        attribution=read_attribution(folder),
        imported=read_record(folder / IMPORTED_NAME, Imported) if (folder / IMPORTED_NAME).is_file() else None,
        weights_digest=digest_of(folder / WEIGHTS_NAME),
        version=told.version,
    )


def read_record(path: Path, kind: type[Record]) -> Record:
    """One JSON record of a published folder.

    Raises:
        PublishError: If it is missing or breaks its contract.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValueError, HdtError) as error:
        said = error.problem if isinstance(error, HdtError) else (str(error).splitlines() or [type(error).__name__])[0]
        raise PublishError(f"{path.name} breaks its contract: {said}", where=path.name) from error


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

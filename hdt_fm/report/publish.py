"""A checkpoint and its run records become a folder that a lab can hand out, or a list of what is missing."""

import json
import math
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hdt_fm.report.card_facts import CardFacts
from hdt_fm.report.check import check, verify_sums
from hdt_fm.report.data_facts import DataFacts
from hdt_fm.report.documents import DOCUMENTS
from hdt_fm.report.evidence import (
    ATTRIBUTION_HTML,
    ATTRIBUTION_JSON,
    AUDIT_NAME,
    EXPLANATION_HTML,
    EXPLANATION_JSON,
    FAIRNESS_NAME,
)
from hdt_fm.report.facts import (
    CHECKPOINT_NAMES,
    PROVENANCE_NAME,
    RESULT_NAME,
    Provenance,
    Published,
    digest_of,
    read_facts,
    read_record,
)
from hdt_fm.report.hub import push_to_hub
from hdt_fm.report.licences import refuse_unready
from hdt_fm.report.refusals import refusal, refuse_broken_checkpoint, refuse_foreign_target, updates_of
from hdt_fm.report.rules.folder import SIGNATURE_NAME
from hdt_fm.report.rules.numbers import result_problems
from hdt_fm.report.software import Distribution, installed
from hdt_fm.schema.errors import HdtError, PublishError
from hdt_fm.schema.imported import IMPORTED_NAME
from hdt_fm.schema.manifest import CONFIG_NAME, PREPROCESS_NAME, SUMS_NAME, ModelConfig, Preprocess
from hdt_fm.schema.preparation import Plain
from hdt_fm.schema.result import Result, RunRecord

__all__ = ["assemble", "check", "push_to_hub", "verify_sums"]
EVALUATION = "evaluate"
Withdrawn = Callable[[], Sequence[str]]


def assemble(
    checkpoint_folder: Path,
    *,
    records: Sequence[RunRecord],
    data: Sequence[DataFacts],
    card_facts: CardFacts,
    folder: Path,
    reload: Callable[[Path], Collection[str]] | None = None,
    forbidden: Iterable[str] = (),
    audit: Path | None = None,
    fairness: Path | None = None,
    explanation: Path | None = None,
    software: Sequence[Distribution] | None = None,
    withdrawn: Withdrawn | None = None,
) -> Path:
    """Build the published folder; the same arguments give the same bytes.

    Args:
        checkpoint_folder: As `save_model` wrote it.
        records: Of every verb that led here, in order; those of `evaluate` give the tables.
        data: Facts of each cohort, the evaluated one last (`data_facts`).
        card_facts: What people wrote (`read_card`).
        folder: Where it goes; an earlier published folder there is replaced as a whole. Its signature stays where
            not a byte of it has changed.
        reload: Loads a folder strictly and gives the digests by which a result, an audit or an attribution report may
            name its model; each must name one of them. (This room loads no model, so the caller lends its loader.)
        forbidden: Words that must not stand in any text, such as the raw ids of a cohort.
        audit: `privacy_audit.json` of `hdt-fm audit privacy`.
        fairness: `fairness_audit.json` of `hdt-fm audit fairness`.
        explanation: Folder of `hdt-fm explain`, whose page and data are copied.
        software: What the model was made with; None takes what is installed here.
        withdrawn: Gives reasons, with counts and no name, why people of this model's lineage who left are still in it.

    Returns:
        `folder`.

    Raises:
        PublishError: With every reason why it cannot go out; nothing is left behind then.
    """
    checkpoint_folder, folder = Path(checkpoint_folder), Path(folder)
    refuse_unready(card_facts, data)
    results = _results(records)
    refuse_foreign_target(folder)
    refuse_broken_checkpoint(checkpoint_folder)
    digests = _digests(reload, checkpoint_folder, results)
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    try:
        config = _copy(fresh, checkpoint_folder, {AUDIT_NAME: audit, FAIRNESS_NAME: fairness}, explanation)
        provenance = Provenance(
            card=card_facts,
            data=tuple(data),
            # Outputs and next steps speak of the maker's disk; results stand in a file of their own.
            records=tuple(one.model_copy(update={"outputs": {}, "next": (), "results": ()}) for one in records),
            updates=updates_of(checkpoint_folder, config),
            software=tuple(installed() if software is None else software),
            model_digests=digests,
        )
        _write(fresh / RESULT_NAME, _json(Published(results=results)))
        _write(fresh / PROVENANCE_NAME, _json(provenance))
        # Documents are made from what was written, as `check` will make them again.
        facts = read_facts(fresh)
        for name, make in DOCUMENTS.items():
            _write(fresh / name, make(facts))
        names = sorted(path.name for path in fresh.iterdir())
        _write(fresh / SUMS_NAME, "".join(f"{digest_of(fresh / name)}  {name}\n" for name in names))
        problems = check(fresh, forbidden=forbidden, withdrawn=withdrawn)
        if not problems and reload is not None:
            problems = _loading_problems(reload, fresh, digests)
        if problems:
            raise refusal("The folder cannot be published as it stands", problems, folder.name)
        _swap(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def _digests(
    reload: Callable[[Path], Collection[str]] | None, folder: Path, results: Sequence[Result]
) -> tuple[str, ...]:
    """Names of the model that is published; results must name one of them."""
    named = {str(one.protocol["model_digest"]) for one in results if one.protocol.get("model_digest")}
    if reload is None:
        return tuple(sorted(named))
    try:
        digests = set(reload(folder))
    except HdtError as error:
        raise refusal(
            "The folder cannot be published as it stands",
            [f"the checkpoint cannot be loaded: {error.problem}"],
            folder.name,
        ) from error
    other = [one.name for one in results if one.protocol.get("model_digest") not in digests]
    if other:
        raise refusal(
            "The evaluation cannot be published as it stands",
            [f"results of another model: {', '.join(other)}"],
            EVALUATION,
        )
    return tuple(sorted(digests))


def _results(records: Sequence[RunRecord]) -> tuple[Result, ...]:
    results = tuple(result for one in records if one.verb == EVALUATION for result in one.results)
    if not results:
        raise PublishError(
            "There is no evaluation to publish",
            expected="a run record of `evaluate` with results and their baselines",
            got=", ".join(record.verb for record in records) or "no record",
            fix="run `hdt-fm evaluate` on this checkpoint first",
        )
    problems = result_problems(results)
    if problems:
        raise refusal("The evaluation cannot be published as it stands", problems, EVALUATION)
    return results


def _copy(
    fresh: Path, checkpoint_folder: Path, audits: Mapping[str, Path | None], explanation: Path | None
) -> ModelConfig:
    """Take over the checkpoint and the evidence, byte for byte; the settings files must keep their contracts."""
    for name in CHECKPOINT_NAMES:
        shutil.copyfile(checkpoint_folder / name, fresh / name)
    if (checkpoint_folder / IMPORTED_NAME).is_file():
        shutil.copyfile(checkpoint_folder / IMPORTED_NAME, fresh / IMPORTED_NAME)
    for name, audit in audits.items():
        if audit is not None:
            shutil.copyfile(audit, fresh / name)
    if explanation is not None:
        shutil.copyfile(explanation / EXPLANATION_HTML, fresh / ATTRIBUTION_HTML)
        shutil.copyfile(explanation / EXPLANATION_JSON, fresh / ATTRIBUTION_JSON)
    read_record(fresh / PREPROCESS_NAME, Preprocess)
    return read_record(fresh / CONFIG_NAME, ModelConfig)


def _write(path: Path, text: str) -> None:
    path.write_bytes(text.encode())


def _json(record: Plain) -> str:
    return json.dumps(_plain(record.model_dump(mode="python")), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """JSON has no NaN; as text it is read back as the number that it is."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _loading_problems(reload: Callable[[Path], Collection[str]], fresh: Path, digests: Sequence[str]) -> list[str]:
    """Whether what was written loads as the model that it was made from."""
    try:
        return [] if set(reload(fresh)) == set(digests) else ["the folder loads as another model"]
    except HdtError as error:
        return [f"the checkpoint cannot be loaded: {error.problem}"]


def _swap(fresh: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    signature, sums = folder / SIGNATURE_NAME, folder / SUMS_NAME
    if signature.is_file() and sums.is_file() and sums.read_bytes() == (fresh / SUMS_NAME).read_bytes():
        shutil.copyfile(signature, fresh / SIGNATURE_NAME)
    if folder.exists():
        os.replace(folder, old)
    os.replace(fresh, folder)
    shutil.rmtree(old, ignore_errors=True)

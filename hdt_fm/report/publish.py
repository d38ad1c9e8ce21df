"""A checkpoint and its run records become a folder that a lab can hand out, or a list of what is missing."""

import json
import math
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from hdt_fm.report.card import LICENCES, CardFacts, DataFacts, refuse_unready, render
from hdt_fm.report.check import (
    CARD_NAME,
    CHECKPOINT_NAMES,
    LICENCE_NAME,
    PROVENANCE_NAME,
    RESULT_NAME,
    Provenance,
    Published,
    check,
    digest_of,
    result_problems,
    verify_sums,
)
from hdt_fm.report.hub import push_to_hub
from hdt_fm.report.updates import UPDATES_NAME, Updates, read_updates
from hdt_fm.schema.errors import HdtError, PublishError
from hdt_fm.schema.manifest import CONFIG_NAME, PREPROCESS_NAME, SUMS_NAME, ModelConfig, Preprocess
from hdt_fm.schema.preparation import Plain
from hdt_fm.schema.result import Result, RunRecord

__all__ = ["assemble", "check", "push_to_hub", "verify_sums"]
EVALUATION = "evaluate"


def assemble(
    checkpoint_folder: Path,
    *,
    records: Sequence[RunRecord],
    data: Sequence[DataFacts],
    card_facts: CardFacts,
    folder: Path,
    reload: Callable[[Path], Collection[str]] | None = None,
    forbidden: Iterable[str] = (),
) -> Path:
    """Build the published folder; the same arguments give the same bytes.

    Args:
        checkpoint_folder: As `save_model` wrote it.
        records: Of every verb that led here, in order; those of `evaluate` give the tables.
        data: Facts of each cohort, the evaluated one last (`card.data_facts`).
        folder: Where it goes; an earlier published folder there is replaced as a whole.
        reload: Loads the finished folder strictly and gives the digests by which a result may name its
            model; every result must name one of them. (This room loads no model, so the caller lends its loader.)
        forbidden: Words that must not stand in any text, such as the raw ids of a cohort.

    Returns:
        `folder`.

    Raises:
        PublishError: With every reason why it cannot go out; nothing is left behind then.
    """
    checkpoint_folder, folder = Path(checkpoint_folder), Path(folder)
    refuse_unready(card_facts, data)
    results = _results(records)
    _refuse_foreign_target(folder)
    _refuse_broken_checkpoint(checkpoint_folder)
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    try:
        _fill(fresh, checkpoint_folder, records, data, card_facts, results)
        problems = check(fresh, forbidden=forbidden)
        if not problems and reload is not None:
            problems = _identity_problems(reload, fresh, results)
        if problems:
            raise _refusal("The folder cannot be published as it stands", problems, folder.name)
        _swap(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


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
        raise _refusal("The evaluation cannot be published as it stands", problems, EVALUATION)
    return results


def _refusal(problem: str, reasons: Sequence[str], where: str) -> PublishError:
    return PublishError(problem, where=where, got="; ".join(reasons), fix="mend each of these and publish again")


def _refuse_foreign_target(folder: Path) -> None:
    if folder.exists() and not (
        folder.is_dir() and ((folder / PROVENANCE_NAME).is_file() or not any(folder.iterdir()))
    ):
        raise PublishError(
            "A published folder would replace something that is not one",
            where=folder.name,
            expected="a new path, an empty folder or an earlier published folder",
            fix="choose another folder",
        )


def _refuse_broken_checkpoint(folder: Path) -> None:
    missing = [name for name in CHECKPOINT_NAMES if not (folder / name).is_file()]
    if missing:
        raise PublishError(
            "The checkpoint is not complete",
            where=folder.name,
            got=f"missing: {', '.join(missing)}",
            fix="train it again",
        )
    problems = verify_sums(folder) if (folder / SUMS_NAME).is_file() else [f"{SUMS_NAME} is missing"]
    if problems:
        raise _refusal("The checkpoint is not the one that was saved", problems, folder.name)


def _fill(
    fresh: Path,
    checkpoint_folder: Path,
    records: Sequence[RunRecord],
    data: Sequence[DataFacts],
    card_facts: CardFacts,
    results: tuple[Result, ...],
) -> None:
    for name in CHECKPOINT_NAMES:
        shutil.copyfile(checkpoint_folder / name, fresh / name)
    try:
        config = ModelConfig.model_validate_json((fresh / CONFIG_NAME).read_bytes())
        preprocess = Preprocess.model_validate_json((fresh / PREPROCESS_NAME).read_bytes())
    except (ValueError, HdtError) as error:
        raise PublishError(
            "A settings file of the checkpoint breaks its contract", where=checkpoint_folder.name
        ) from error
    # Outputs and next steps speak of the maker's disk; results stand in a file of their own.
    kept = tuple(one.model_copy(update={"outputs": {}, "next": (), "results": ()}) for one in records)
    _write(fresh / RESULT_NAME, _json(Published(results=results)))
    updates = _updates(checkpoint_folder, config)
    provenance = Provenance(card=card_facts, data=tuple(data), records=kept, updates=updates)
    _write(fresh / PROVENANCE_NAME, _json(provenance))
    # The card is made from what was written, as `check` will make it again.
    stored = Provenance.model_validate_json((fresh / PROVENANCE_NAME).read_bytes())
    shown = Published.model_validate_json((fresh / RESULT_NAME).read_bytes()).results
    made_from = stored.card, stored.data, stored.records, shown, config, preprocess
    _write(fresh / CARD_NAME, render(*made_from, updates=stored.updates))
    _write(fresh / LICENCE_NAME, _licence(card_facts, data))
    names = sorted(path.name for path in fresh.iterdir())
    _write(fresh / SUMS_NAME, "".join(f"{digest_of(fresh / name)}  {name}\n" for name in names))


def _updates(checkpoint_folder: Path, config: ModelConfig) -> Updates | None:
    """What the checkpoint says of heads that went on learning.

    Raises:
        PublishError: If it speaks of a head that the checkpoint does not have.
    """
    found = read_updates(checkpoint_folder)
    strange = [one.head for one in found.heads if one.head not in config.heads] if found else []
    if strange:
        raise PublishError(
            "The checkpoint tells updates of a head that it does not have",
            where=UPDATES_NAME,
            expected=", ".join(config.heads) or "no head",
            got=", ".join(strange),
            fix="take the head again: hdt-fm update take LINE --to FOLDER",
        )
    return found


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


def _licence(facts: CardFacts, data: Sequence[DataFacts]) -> str:
    link = facts.licence_link or LICENCES.get(facts.licence, "")
    lines = [
        f"Weights (model.safetensors) of {facts.name}: {facts.licence}",
        f"Full text: {link}",
        "",
        "Data that they were made from; the recordings are not in this folder:",
        *(f"- {one.cohort}: {one.licence}" for one in data),
        "",
        f"Code that reads this folder (hdt_fm): apache-2.0, {LICENCES['apache-2.0']}",
    ]
    return "\n".join(lines) + "\n"


def _identity_problems(reload: Callable[[Path], Collection[str]], fresh: Path, results: Sequence[Result]) -> list[str]:
    """Whether the folder loads, and whether its results were measured on these very weights."""
    try:
        digests = set(reload(fresh))
    except HdtError as error:
        return [f"the checkpoint cannot be loaded: {error.problem}"]
    other = [one.name for one in results if one.protocol.get("model_digest") not in digests]
    return [f"results of another model: {', '.join(other)}"] if other else []


def _swap(fresh: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(fresh, folder)
    shutil.rmtree(old, ignore_errors=True)

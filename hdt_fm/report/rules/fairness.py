"""A fairness audit is not owed; one that goes out is of this model and tells of no cell of too few people."""

from collections.abc import Iterator

from hdt_fm.report.data_facts import SMALLEST_CELL
from hdt_fm.report.rules.folder import Folder


def fairness_audit(folder: Folder) -> Iterator[str]:
    """Where there is a `fairness_audit.json`: its digests are this model's, and no number is of fewer people."""
    facts = folder.facts
    if not facts or not facts.fairness:
        return
    if facts.model_digests and not {facts.fairness.model, facts.fairness.encoder} & set(facts.model_digests):
        yield (
            "the fairness audit is of another model, or of a recipe without a checkpoint: run `hdt-fm audit fairness` "
            "where this checkpoint is, or remove fairness_audit.json"
        )
    few = sum(not isinstance(row.get("n"), int) or int(row["n"] or 0) < SMALLEST_CELL for row in facts.fairness.rows)
    if few:
        yield (
            f"the fairness audit has {few} numbers of fewer than {SMALLEST_CELL} people: audit again with "
            f"audit.min_people={SMALLEST_CELL} or more"
        )

"""A privacy audit of this very model, or a reason in plain sight why there is none."""

from collections.abc import Iterator

from hdt_fm.report.rules.folder import Folder


def privacy_audit(folder: Folder) -> Iterator[str]:
    """`privacy_audit.json` of this model, or `privacy_audit: none` in card.yaml with its reason."""
    facts = folder.facts
    if not facts:
        return
    if facts.audit:
        if facts.model_digests and not {facts.audit.model, facts.audit.encoder} & set(facts.model_digests):
            yield "the privacy audit is of another model: run `hdt-fm audit privacy` on this checkpoint"
    elif facts.card.privacy_audit != "none":
        yield (
            "no privacy audit: run `hdt-fm audit privacy`, or say `privacy_audit: none` and why "
            "(privacy_audit_reason) in card.yaml"
        )
    elif not facts.card.privacy_audit_reason.strip():
        yield "no privacy audit, and card.yaml gives no reason (privacy_audit_reason)"

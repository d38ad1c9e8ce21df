"""Parts of the people told apart in a table, or a reason in plain sight why they were not."""

from collections.abc import Iterator

from hdt_fm.report.rules.folder import Folder


def subgroup_table(folder: Folder) -> Iterator[str]:
    """At least one table by subgroup, or `subgroups: none` in card.yaml with its reason."""
    if not folder.facts or folder.facts.subgroup_rows:
        return
    card = folder.facts.card
    if card.subgroups != "none":
        yield (
            "no table by subgroup: evaluate with protocol.also=[subgroups], or say `subgroups: none` and why "
            "(subgroups_reason) in card.yaml"
        )
    elif not card.subgroups_reason.strip():
        yield "no table by subgroup, and card.yaml gives no reason (subgroups_reason)"

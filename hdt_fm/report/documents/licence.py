"""`LICENSE`: code, weights and data apart, since each may be used under other terms."""

from hdt_fm.report.facts import Facts
from hdt_fm.report.licences import CODE_LICENCE, LICENCES, link_of

NAME = "LICENSE"


def make(facts: Facts) -> str:
    """Three parts; the licences' own texts are linked, not copied."""
    lines = [
        "1. CODE that reads this folder (hdt_fm); it is not in this folder",
        "",
        f"   {CODE_LICENCE}",
        f"   Full text: {LICENCES[CODE_LICENCE]}",
        "",
        f"2. WEIGHTS and all other files of this folder ({facts.card.name})",
        "",
        f"   {facts.card.licence}",
        f"   Full text: {link_of(facts.card)}",
        "",
        "3. DATA that the weights were made from; the recordings are not in this folder",
        "",
        *(f"   {one.cohort}: {one.licence}" for one in facts.data),
    ]
    return "\n".join(lines) + "\n"

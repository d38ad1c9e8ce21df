"""Licences that a card knows by name, and the refusal of weights or data without one."""

from collections.abc import Sequence

from hdt_fm.report.card_facts import CardFacts
from hdt_fm.report.data_facts import DataFacts
from hdt_fm.schema.errors import PublishError

LICENCES = {
    "apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
    "mit": "https://opensource.org/license/mit",
    "bsd-3-clause": "https://opensource.org/license/bsd-3-clause",
    "cc0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/legalcode",
    "cc-by-4.0": "https://creativecommons.org/licenses/by/4.0/legalcode",
    "cc-by-sa-4.0": "https://creativecommons.org/licenses/by-sa/4.0/legalcode",
    "cc-by-nc-4.0": "https://creativecommons.org/licenses/by-nc/4.0/legalcode",
    "cc-by-nc-sa-4.0": "https://creativecommons.org/licenses/by-nc-sa/4.0/legalcode",
}
# SPDX writes most names in capitals, these not.
_SPDX = {"apache-2.0": "Apache-2.0", "bsd-3-clause": "BSD-3-Clause"}
CODE_LICENCE = "apache-2.0"


def spdx(licence: str) -> str | None:
    """The name by which SPDX knows a licence of the table; None for one of the lab's own."""
    return _SPDX.get(licence, licence.upper()) if licence in LICENCES else None


def link_of(facts: CardFacts) -> str:
    """Where the text of the weights' licence stands."""
    return facts.licence_link or LICENCES.get(facts.licence, "")


def refuse_unready(facts: CardFacts, data: Sequence[DataFacts]) -> None:
    """Raise PublishError where a licence is missing or unknown."""
    if facts.licence != "other" and facts.licence not in LICENCES:
        raise PublishError(
            "The weights have no licence that the card knows",
            expected=f"one of: {', '.join(LICENCES)}; or `other` with licence_link",
            got=repr(facts.licence) if facts.licence else "none",
            where="licence",
            fix="choose the licence of the weights; the licence of the data limits the choice",
        )
    if facts.licence == "other" and not facts.licence_link:
        raise PublishError("A licence of one's own needs a link", where="licence_link", fix="give the text's address")
    unlicensed = [one.cohort for one in data if not one.licence.strip()]
    if unlicensed or not data:
        raise PublishError(
            "The data's licence is missing",
            where=f"cohort {', '.join(unlicensed)}" if unlicensed else "data",
            expected="a licence or a data agreement for every cohort",
            fix="set `licence` in the cohort's config and shard again",
        )

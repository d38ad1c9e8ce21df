"""Codes of the GA4GH Data Use Ontology: what people agreed to, and which of it permits a use.

Source: https://github.com/EBISPOT/DUO (short names and meanings in our words). A consent names one or more permissions
and any modifiers; a use names what it is for, and the modifiers that it keeps to.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hdt_fm.schema.errors import ConfigError, unknown_name

SYSTEM = "http://purl.obolibrary.org/obo/duo.owl"
DISEASE_SPECIFIC = "DUO:0000007"
_DISEASE = re.compile(r"(?:MONDO|DOID|HP|ICD10|ICD11|SNOMED|ORPHA):[A-Z0-9.]{2,12}")


@dataclass(frozen=True)
class Term:
    """One code.

    Attributes:
        permits: Codes of uses that it permits; empty for a modifier, which only narrows.
        keeps: Of a modifier: those that a use keeps to as well when it keeps to this one.
    """

    code: str
    short: str
    meaning: str
    permits: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()

    @property
    def modifier(self) -> bool:
        return not self.permits


_GRU, _HMB, _DS, _POA, _NRES = "DUO:0000042", "DUO:0000006", DISEASE_SPECIFIC, "DUO:0000011", "DUO:0000004"
_TERMS = (
    Term(_NRES, "NRES", "no restriction", (_NRES, _GRU, _HMB, _DS, _POA)),
    Term(_GRU, "GRU", "general research use", (_GRU, _HMB, _DS, _POA)),
    Term(_HMB, "HMB", "health, medical or biomedical research", (_HMB, _DS)),
    Term(_DS, "DS", "research on the disease that is named", (_DS,)),
    Term(_POA, "POA", "research on population origins or ancestry", (_POA,)),
    Term("DUO:0000012", "RS", "only research of the kind that the form names"),
    Term("DUO:0000015", "NMDS", "no development of general methods"),
    Term("DUO:0000016", "GSO", "genetic studies only"),
    Term(
        "DUO:0000018",
        "NPUNCU",
        "not for profit and not commercial only",
        keeps=("DUO:0000045", "DUO:0000046"),
    ),
    Term("DUO:0000019", "PUB", "results must be published"),
    Term("DUO:0000020", "COL", "with the first investigators only"),
    Term("DUO:0000021", "IRB", "ethics approval must be shown"),
    Term("DUO:0000022", "GS", "within the region that the form names only"),
    Term("DUO:0000024", "MOR", "nothing published before the day that the form names"),  # codespell:ignore
    Term("DUO:0000025", "TS", "for the months that the form names only"),
    Term("DUO:0000026", "US", "by approved users only"),
    Term("DUO:0000027", "PS", "within the approved project only"),
    Term("DUO:0000028", "IS", "within the approved institution only"),
    Term("DUO:0000029", "RTN", "what is derived goes back to the source"),
    Term("DUO:0000043", "CC", "also for clinical care"),
    Term("DUO:0000044", "NPOA", "no research on population origins or ancestry"),
    Term("DUO:0000045", "NPU", "by organizations not for profit only"),
    Term("DUO:0000046", "NCU", "not commercial only"),
)
TERMS: Mapping[str, Term] = MappingProxyType({term.code: term for term in _TERMS})
# A term that widens: nobody has to keep to it.
_WIDENS = {"DUO:0000043"}


@dataclass(frozen=True)
class Scope:
    """What was agreed to, or what something is for.

    Attributes:
        codes: Permissions and modifiers, sorted.
        diseases: Codes such as MONDO:0005148; with DUO:0000007 only.
    """

    codes: tuple[str, ...]
    diseases: tuple[str, ...] = ()

    @property
    def permissions(self) -> tuple[str, ...]:
        return tuple(code for code in self.codes if not TERMS[code].modifier)

    @property
    def modifiers(self) -> frozenset[str]:
        return frozenset(code for code in self.codes if TERMS[code].modifier)

    def permits(self, use: "Scope") -> bool:
        """Whether who agreed to this agreed to `use`: each permission asked for is given, and each modifier is kept to.

        A disease that is asked for must be named by a consent of one disease; no tree of diseases is known here.
        """
        kept = use.modifiers | {other for code in use.modifiers for other in TERMS[code].keeps}
        return self.modifiers - _WIDENS <= kept and all(
            any(self._gives(mine, wanted, use) for mine in self.permissions) for wanted in use.permissions
        )

    def _gives(self, mine: str, wanted: str, use: "Scope") -> bool:
        if wanted not in TERMS[mine].permits:
            return False
        return mine != DISEASE_SPECIFIC or (bool(use.diseases) and set(use.diseases) <= set(self.diseases))

    def __str__(self) -> str:
        return " + ".join([f"{code} ({TERMS[code].short})" for code in self.codes] + list(self.diseases))


def scope_of(words: Iterable[str], *, where: str = "scope") -> Scope:
    """Codes as typed: `DUO:0000042`, `GRU`, several with + ; or , between, a disease as `MONDO:0005148`.

    Raises:
        UnknownNameError: If a code is none of the table.
        ConfigError: If no permission is among them, or a disease stands without DUO:0000007 or that without one.
    """
    codes, diseases = set(), set()
    by_short = {term.short: term.code for term in _TERMS}
    for word in (part.strip().upper() for one in words for part in re.split(r"[+;,\s]+", one)):
        if _DISEASE.fullmatch(word):
            diseases.add(word)
        elif word:
            code = by_short.get(word, word)
            if code not in TERMS:
                raise unknown_name("code of the Data Use Ontology", word[:20], [*TERMS, *by_short], where=where)
            codes.add(code)
    scope = Scope(tuple(sorted(codes)), tuple(sorted(diseases)))
    if not scope.permissions:
        raise ConfigError(
            "No permission is named",
            where=where,
            expected="one of " + ", ".join(f"{term.code} ({term.short})" for term in _TERMS if not term.modifier),
            got="modifiers alone" if codes else "no code",
            fix=f"say {where}=DUO:0000042 for general research use",
        )
    if bool(diseases) != (DISEASE_SPECIFIC in codes):
        raise ConfigError(
            "A disease goes with DUO:0000007 (DS), and that with a disease",
            where=where,
            expected="DUO:0000007 and a code such as MONDO:0005148",
            got="a disease alone" if diseases else "DUO:0000007 alone",
            fix=f"say {where}=DUO:0000007+MONDO:0005148",
        )
    return scope

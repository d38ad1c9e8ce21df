"""Doses as people write them (`insulin aspart 70/30, 16 IU`, `metformin 0.5 g, acarbose 50 mg`) -> drug and amount."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hdt_fm.schema.errors import ReaderError

_DOSE = re.compile(
    r"(?P<name>[A-Za-z][A-Za-z0-9 /.%-]*?)\s*,?\s*(?<![\w./])(?P<amount>\d+(?:\.\d+)?)\s*(?P<unit>IU|U|mg|g|ug)\b",
    re.IGNORECASE,
)
# In infusions the amount comes first: `500ml 5% glucose, 3 IU Novolin R`.
_INFUSED = re.compile(r"(?P<amount>\d+(?:\.\d+)?)\s*(?P<unit>IU)\s+(?P<name>[A-Za-z][A-Za-z ]*)", re.IGNORECASE)
_MIXED = re.compile(r"\d+\s*/\s*\d+|\d+\s*R\b|premixed")
_LONG = ("glargine", "detemir", "degludec")
_NPH = re.compile(r"\b(nph|n)\b")
_MG = {"mg": 1.0, "g": 1000.0, "ug": 0.001}
# Tablets are never of so many grams, nor one that is given by tenths of a milligram of any: the unit was mistyped.
_MOST_G = 3.0
_NEVER_G = ("voglibose",)


@dataclass(frozen=True)
class Dose:
    """One drug given once; the unit is U (insulin) or mg."""

    drug: str
    amount: float
    unit: str


def doses_in(text: str, *, where: str) -> tuple[Dose, ...]:
    """Every dose in a cell.

    Raises:
        ReaderError: If there is none; the text is not shown.
    """
    found = tuple(_doses(" ".join(text.replace("\xa0", " ").split())))
    if not found:
        raise ReaderError(
            "A cell names no dose",
            where=where,
            expected="a name, an amount and IU, mg or g, such as `Novolin R, 6 IU`",
            fix="correct the cell, or empty it",
        )
    return found


def _doses(text: str) -> Iterator[Dose]:
    for match in _INFUSED.finditer(text) if _INFUSED.search(text) and "ml" in text else _DOSE.finditer(text):
        name, unit = match["name"].strip(" ,").lower(), match["unit"].lower()
        if unit in ("iu", "u"):
            yield Dose(name, float(match["amount"]), "U")
        else:
            mistyped = unit == "g" and (name in _NEVER_G or float(match["amount"]) > _MOST_G)
            yield Dose(name, float(match["amount"]) * (1.0 if mistyped else _MG[unit]), "mg")


def insulin_track(dose: Dose) -> str:
    """The word for a kind of insulin: `bolus`, `long_acting`, `intermediate` or `premixed`."""
    if _MIXED.search(dose.drug.upper().replace("PREMIXED", "premixed")):
        return "premixed"
    if any(name in dose.drug for name in _LONG):
        return "long_acting"
    return "intermediate" if _NPH.search(dose.drug) else "bolus"


def drug_track(dose: Dose) -> str:
    """`drug_` and the name, in letters that a label may have."""
    return "drug_" + re.sub(r"[^a-z0-9]+", "_", dose.drug).strip("_")

"""Facts about a person as an input: what is known of a column, and how a person's text is read by it.

The manifest of a shard folder holds a person's covariates as text. A column is of numbers (age, BMI, allele counts)
or of levels (sex, a genotype such as AG). Not known is a state of its own and never becomes a number.
"""

import math
import re

from pydantic import Field

from hdt_fm.schema.preparation import Plain

NOT_KNOWN = frozenset({"", "?", "-", "na", "n/a", "nan", "nil", "none", "null", "unknown", "missing"})
_BAND = re.compile(r"(?P<low>\d+)(?:-(?P<high>\d+)|\+)")


class Covariate(Plain):
    """One column, as a model knows it; nothing in it is of a single person.

    Attributes:
        center, scale: Of a number, over training people, one value a person.
        levels: Of a category, in the order of its learned vectors; empty for a number.
    """

    name: str = Field(min_length=1)
    center: float = Field(default=0.0, allow_inf_nan=False)
    scale: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    levels: tuple[str, ...] = ()

    @property
    def is_number(self) -> bool:
        return not self.levels

    def read(self, text: str | None) -> float | None:
        """The number, or the place of the level; None where it is not known, as a level never seen in training is."""
        word = known(text)
        if word is None:
            return None
        if self.is_number:
            return as_number(self.name, word)
        return float(self.levels.index(word)) if word in self.levels else None


def known(text: str | None) -> str | None:
    """The text without space around it; None where it says that nothing is known."""
    word = (text or "").strip()
    return None if word.lower() in NOT_KNOWN else word


def as_number(column: str, text: str) -> float | None:
    """The finite number that a text is; in a column named `..._band` also a band (`30-39` its middle, `90+` its start).

    Only such a column has bands: elsewhere `3-4` may be a genotype.
    """
    band = _BAND.fullmatch(text) if column.endswith("_band") else None
    if band:
        low = float(band["low"])
        return (low + float(band["high"])) / 2 if band["high"] else low
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None

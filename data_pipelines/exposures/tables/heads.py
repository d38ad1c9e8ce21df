"""The heads of a table -> which column is of which exposure, and how it comes into the canonical unit.

A column is called as in `EXPOSURES`, with its unit in brackets (`ozone [ppb]`) or behind it (`temperature_celsius`), or
with none: then it is in the canonical one, unless `units` says otherwise.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from data_pipelines.exposures.weather import COLUMNS as WEATHER
from hdt_fm.schema.errors import ReaderError, unknown_name
from hdt_fm.schema.exposure import EXPOSURES, ExposureKind, exposure_kind

DATES, TIME, SPAN = ("date", "day"), "time", ("start", "end")
PEOPLE = frozenset(
    f"{word}{ending}"
    for word in ("person", "subject", "participant", "user", "patient")
    for ending in ("", "_id", "_code")
) | {"id"}
# A mean rate over the day; the sub-model of the weather makes an amount of it.
RATES = {head: kind for head, (kind, _) in WEATHER.items() if head.endswith("_per_hour")}
# Spellings of units that tables have and `EXPOSURES` has not.
_SPELT = {
    "c": "celsius",
    "degc": "celsius",
    "°c": "celsius",
    "k": "kelvin",
    "f": "fahrenheit",
    "degf": "fahrenheit",
    "°f": "fahrenheit",
    "percent": "%",
    "ug/m3": "ug/m^3",
    "µg/m3": "ug/m^3",
    "μg/m3": "ug/m^3",
    "µg/m³": "ug/m^3",
    "μg/m³": "ug/m^3",
    "ug_m3": "ug/m^3",
    "mg_m3": "mg/m^3",
    "hours": "h",
    "minutes": "min",
}
_BRACKETS = re.compile(r"(.*?)\s*[\[(]\s*([^\])]*?)\s*[\])]\s*")
# A head this near to a known one is a slip, not another column.
_SLIP = 0.85


@dataclass(frozen=True)
class Column:
    """One column of an exposure: canonical = number * scale + offset.

    Attributes:
        head: As the table has it.
        rate: Whether it goes through the sub-model of the weather as it is.
    """

    head: str
    kind: str
    scale: float
    offset: float
    rate: bool = False


def plain(head: str) -> str:
    """Small letters, `_` for what parts words."""
    return re.sub(r"[\s.\-]+", "_", head.strip().lower())


def exposure_columns(
    heads: Sequence[str], *, units: Mapping[str, str] | None = None, taken: Sequence[str] = ()
) -> dict[str, Column]:
    """Kind -> its column.

    Args:
        units: Kind -> the unit of its column, where the head does not say.
        taken: Heads that are something else, such as the outcome.

    Raises:
        ReaderError: If no column is of an exposure, or two are of one.
        UnitError: If a unit is none of the kind's.
        UnknownNameError: If a head is nearly called as a kind, or `units` names another one than there is.
    """
    told, found = dict(units or {}), {}
    for head in heads:
        if head in taken or plain(head) in (*DATES, TIME, *SPAN) or plain(head) in PEOPLE:
            continue
        column = _column(head, told)
        if column is None:
            _refuse_slips(head)
            continue
        if column.kind in found:
            raise ReaderError(
                f"Two columns are of {column.kind}",
                where="first line",
                expected="one column an exposure",
                fix="remove or rename one of them",
            )
        found[column.kind] = column
    for kind in told:
        if kind not in found:
            raise unknown_name("exposure", kind, found, where="units")
    if not found:
        raise ReaderError(
            "The table has no column of an exposure",
            where="first line",
            expected=f"one or more of {', '.join(EXPOSURES)}; a unit in brackets, such as ozone [ppb]",
            got=f"{len(heads)} other column(s)",
            fix="rename the columns",
        )
    return found


def unit_of(kind: ExposureKind, spelt: str) -> str:
    """The unit as `EXPOSURES` spells it; what is not known comes back as it is."""
    known = {kind.unit, *kind.units}
    by_letters = {one.lower(): one for one in known}
    return spelt if spelt in known else by_letters.get(spelt.lower(), _SPELT.get(spelt.lower(), spelt))


def _column(head: str, units: Mapping[str, str]) -> Column | None:
    bracketed = _BRACKETS.fullmatch(head)
    name = plain(bracketed[1] if bracketed else head)
    unit = bracketed[2] if bracketed else None
    if name in RATES and unit is None:
        return Column(head, RATES[name], 1.0, 0.0, rate=True)
    if name not in EXPOSURES:
        name, unit = _with_suffix(name)
        if name not in EXPOSURES:
            return None
    kind = exposure_kind(name)
    scale, offset = kind.conversion(unit_of(kind, units.get(name) or unit or kind.unit))
    return Column(head, name, scale, offset)


def _with_suffix(name: str) -> tuple[str, str | None]:
    """`pressure_hpa` -> `pressure`, `hPa`; the name as it is where its end is no unit of a kind."""
    for kind in sorted(EXPOSURES.values(), key=lambda one: -len(one.name)):
        rest = name.removeprefix(f"{kind.name}_")
        if rest != name and unit_of(kind, rest) in (kind.unit, *kind.units):
            return kind.name, rest
    return name, None


def _refuse_slips(head: str) -> None:
    bracketed = _BRACKETS.fullmatch(head)
    name = plain(bracketed[1] if bracketed else head)
    near = get_close_matches(name, [*EXPOSURES, *RATES], n=1, cutoff=_SLIP)
    if near or (bracketed and get_close_matches(name, EXPOSURES, n=1, cutoff=0.7)):
        raise unknown_name("column", name, [*EXPOSURES, *RATES], where="first line")

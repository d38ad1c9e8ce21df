"""Run records as lines of a table: provenance flattened, energy and cost by verb."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hdt_fm.schema.result import RunRecord

METERED = ("kwh", "co2", "cost")


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested provenance as (dotted name, text), in the order of the record; long lists give their length."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from flat(value, f"{name}.")
        elif isinstance(value, list | tuple):
            plain = all(not isinstance(item, Mapping | list | tuple) for item in value)
            yield name, ", ".join(map(str, value)) if plain and len(value) <= 8 else f"{len(value)} entries"
        else:
            yield name, f"{value:g}" if isinstance(value, float) else str(value)


def energy(records: Sequence[RunRecord]) -> Iterator[tuple[str, str, str]]:
    """Verb, name and value of what records hold of energy, its carbon and its cost."""
    for record in records:
        for name, value in [*flat(record.summary), *flat(record.provenance)]:
            if value != "None" and any(word in name.lower().replace(" ", "_") for word in METERED):
                yield record.verb, name, value


def kwh(records: Sequence[RunRecord]) -> Iterator[tuple[str, float]]:
    """Verb and energy in kWh, once for each record that says it in one number."""
    for record in records:
        told = [text for _, name, text in energy([record]) if "kwh" in name.lower() and "per_kwh" not in name.lower()]
        if told:
            try:
                yield record.verb, float(told[0])
            except ValueError:
                continue

"""Run records as lines of a table: provenance flattened."""

from collections.abc import Iterator, Mapping
from typing import Any


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

"""The contract of the report's JSON: `schema/explanation.json`, and one file per section, joined into one schema."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hdt_fm.schema.errors import ExplainError

FOLDER = Path(__file__).parent / "schema"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_CORE = "explanation"


def record_schema() -> dict[str, Any]:
    """The schema of the whole record; a section's schema keeps its own references, since it keeps its own `$id`.

    Raises:
        ExplainError: If a schema file is not of the dialect that the others are of.
    """
    core = _read(_CORE)
    sections = {path.stem: _read(path.stem) for path in sorted(FOLDER.glob("*.json")) if path.stem != _CORE}
    core["properties"]["sections"]["properties"] = {
        key: {"$id": f"urn:hdt-fm:explanation:section:{key}", **one} for key, one in sections.items()
    }
    return core


def validate(record: Mapping[str, Any]) -> None:
    """Refuse a record that breaks the contract.

    Raises:
        ExplainError: If it does, with the place, or if `jsonschema` is not installed.
    """
    try:
        from jsonschema import Draft202012Validator
    except ImportError as error:
        raise ExplainError(
            "A record can only be checked with jsonschema", expected="jsonschema", fix="pip install hdt-fm[dev]"
        ) from error
    schema = record_schema()
    Draft202012Validator.check_schema(schema)
    # An error's own message quotes the value, which may be a person's.
    for broken in Draft202012Validator(schema).iter_errors(record):
        where = "/".join(str(one) for one in broken.absolute_path) or "(the whole record)"
        raise ExplainError(
            "The report's JSON breaks its contract",
            where=where,
            expected=f"{broken.validator} of {'/'.join(map(str, broken.absolute_schema_path))}",
            fix="correct the record, or its schema in hdt_fm/explain/page/schema",
        )


def _read(name: str) -> dict[str, Any]:
    schema = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    if schema.get("$schema", DIALECT) != DIALECT:
        raise ExplainError(
            "A schema is of another dialect", where=f"schema/{name}.json", expected=DIALECT, got=schema["$schema"]
        )
    return dict(schema)

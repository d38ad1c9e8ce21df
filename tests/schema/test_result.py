"""Door 5: a table cannot be built without what it owes."""

import pytest
from pydantic import ValidationError

from hdt_fm.schema.result import Result, Row


def row(model: str, metric: str = "auroc", role: str = "baseline", what: str = "stress") -> Row:
    return Row(what=what, model=model, metric=metric, value=0.5, n=3, role=role)  # type: ignore[arg-type]


def table(*rows: Row) -> Result:
    return Result(name="t", protocol={}, rows=rows, required_baselines=("dummy", "hand"))


def test_a_full_table_stands() -> None:
    assert table(row("encoder", role="ours"), row("dummy"), row("hand")).find("dummy", "auroc").value == 0.5


@pytest.mark.parametrize(
    "rows",
    [
        (row("encoder", role="ours"), row("dummy")),
        (row("encoder", role="ours"), row("dummy"), row("hand", metric="f1")),
        (row("encoder", role="ours"), row("dummy"), row("hand", what="other task")),
        (row("encoder", role="ours"), row("dummy"), row("hand", role="ours")),
    ],
)
def test_a_missing_baseline_stops_it(rows: tuple[Row, ...]) -> None:
    with pytest.raises(ValidationError, match="owes"):
        table(*rows)


def test_a_row_is_flat_for_json() -> None:
    flat = Row(what="w", model="m", metric="x", value=1.0, n=2, columns={"pool": 5}).flat()
    assert flat["pool"] == 5
    assert "columns" not in flat


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(ValidationError):
        Row(what="w", model="m", metric="x", value=1.0, n=2, colour="red")  # type: ignore[call-arg]


def test_a_row_without_a_number_survives_being_written():
    """A share of nothing, as the dummy's kept excess is, has no value; `publish` reads it back."""
    kept = Row(what="stress", model="dummy", metric="excess_kept", value=float("nan"), n=3, role="baseline")
    again = Row.model_validate_json(kept.model_dump_json())
    assert again.value != again.value
    endless = Row.model_validate_json(kept.model_copy(update={"value": float("inf")}).model_dump_json())
    assert endless.value == float("inf")

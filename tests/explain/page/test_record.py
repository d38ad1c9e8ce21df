"""The JSON: its schema, what is withheld, and numbers that can be checked by hand."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hdt_fm.explain.explanation import Explanation
from hdt_fm.explain.page import record_schema
from hdt_fm.explain.page.document import write_report
from hdt_fm.explain.page.record import record_of
from hdt_fm.explain.page.record_schema import validate
from hdt_fm.explain.page.report import Report
from hdt_fm.explain.page.section import Section
from hdt_fm.schema.errors import ExplainError

pytest.importorskip("jsonschema", reason="a development dependency")


@pytest.fixture
def told(fabricated: Callable[..., Explanation], tmp_path: Path) -> dict:
    _, path = write_report(Report(fabricated(), scope="person"), tmp_path, pictures=False)
    return json.loads(path.read_text())


def test_every_kind_of_report_fits_the_schema(told: dict, fabricated: Callable[..., Explanation]) -> None:
    validate(told)
    cohort = fabricated(windows=12, people=6, verdict="fail", absent=())
    present = cohort.present.copy()
    present[cohort.person >= 4, 2] = False
    full = Report(
        replace(cohort, present=present),
        scope="cohort",
        alternative=replace(cohort, present=present, reference="zero"),
        events={"meal": [np.array([1.0])] * 12},
        output_interval=np.stack([cohort.output - 1, cohort.output + 1], axis=1),
    )
    record = record_of(full)
    validate(record)
    assert record["version"] == 2
    assert len(record["windows"]) == 3  # of a cohort, the examples only
    assert record["window_count"] == 12
    assert record["people"] == 6
    assert record["shares"]["saliency"]["ppg and temp"]["people"] == 6
    present[cohort.person >= 4] = False
    record = record_of(Report(replace(cohort, present=present), scope="cohort"))
    validate(record)
    assert record["shares"]["saliency"]["ppg and acc and temp"] == {
        **dict.fromkeys(("mean", "low", "high", "n", "people")),
        "hidden": True,
    }
    validate(record_of(Report(fabricated(windows=1), scope="window", withheld=True)))


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"subject": "s1"}, "whole record"),
        ({"version": 1}, "version"),
        ({"people": 4}, "people"),
        ({"sections": {"unknown": {}}}, "sections"),
        ({"target": {"name": "stress", "index": -1}}, "target/index"),
    ],
)
def test_what_breaks_the_schema_is_refused(told: dict, change: dict, where: str) -> None:
    with pytest.raises(ExplainError, match=where) as caught:
        validate(told | change)
    assert "s1" not in str(caught.value)


def test_sections_are_checked_by_their_own_schema(told: dict, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    core = (record_schema.FOLDER / "explanation.json").read_text()
    (tmp_path / "explanation.json").write_text(core)
    own = {
        "$schema": record_schema.DIALECT,
        "type": "object",
        "additionalProperties": False,
        "properties": {"days": {"$ref": "#/$defs/days"}},
        "$defs": {"days": {"type": "integer"}},  # found in its own file, not in the core
    }
    (tmp_path / "drawn.json").write_text(json.dumps(own))
    monkeypatch.setattr(record_schema, "FOLDER", tmp_path)
    validate(told | {"sections": {"drawn": {"days": 30}}})
    with pytest.raises(ExplainError, match="sections/drawn/days"):
        validate(told | {"sections": {"drawn": {"days": "thirty"}}})
    (tmp_path / "drawn.json").write_text(json.dumps(own | {"$schema": "http://json-schema.org/draft-07/schema#"}))
    with pytest.raises(ExplainError, match="dialect"):
        validate(told)


def test_all_shipped_schemas_are_sound_and_strict() -> None:
    from jsonschema import Draft202012Validator

    schema = record_schema.record_schema()
    Draft202012Validator.check_schema(schema)
    for key, one in schema["properties"]["sections"]["properties"].items():
        assert one["additionalProperties"] is False, key


def test_numbers_add_up(told: dict, fabricated: Callable[..., Explanation]) -> None:
    made = fabricated()
    window = told["windows"][0]
    credit = np.array(window["by_segment"]["integrated_gradients"]["acc"])
    assert credit.shape == (3, 5)
    np.testing.assert_allclose(credit.sum(1), made.maps[0].values["acc"][0].sum(1), atol=1e-5)
    assert told["shares"]["saliency"]["temp"]["mean"] is None
    assert told["shares"]["saliency"]["ppg"]["n"] == 6
    shown = next(row for row, one in enumerate(told["windows"]) if "samples" in one)
    samples = told["windows"][shown]["samples"]["ppg"]
    assert samples["values"][0][20:28] == [None] * 8
    assert samples["unit"] == "au"
    np.testing.assert_allclose(samples["values"][0][:20], made.signals["ppg"].values[shown, 0, :20], rtol=1e-4)


def test_long_windows_are_told_in_blocks(
    fabricated: Callable[..., Explanation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hdt_fm.explain.page.record.MOST_SAMPLES", 16)
    made = fabricated(windows=1, absent=())
    samples = record_of(Report(made))["windows"][0]["samples"]["ppg"]
    assert samples["block"] == 3  # 40 samples in at most 16
    assert len(samples["values"][0]) == 14
    values, seen = made.signals["ppg"].values[0, 0], made.signals["ppg"].observed[0]
    assert samples["values"][0][6] == pytest.approx(float(values[18:20].mean()), rel=1e-4)  # 20 was not measured
    assert not seen[20]
    assert samples["values"][0][7] is None
    credit = made.maps[0].values["ppg"][0, 0]
    assert samples["credit"]["integrated_gradients"][0][1] == pytest.approx(float(credit[3:6].sum()), rel=1e-3)


def test_a_record_of_a_section_is_plain(fabricated: Callable[..., Explanation]) -> None:
    section = Section("bands", "Bands", {"value": np.float64("nan"), "list": np.arange(2)}, {})
    record = record_of(Report(fabricated(), sections=[section]))
    assert record["sections"]["bands"] == {"value": None, "list": [0, 1]}

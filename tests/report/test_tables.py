"""Tables: golden markdown, what is marked, and what is refused."""

import json

import pytest

from hdt_fm.report.tables import flat_rows, markdown, rich_table
from hdt_fm.schema.errors import PublishError
from hdt_fm.schema.result import Result, Row


def row(model, metric, value, role="ours", low=None, high=None, **columns):
    return Row(
        what="stress", model=model, metric=metric, value=value, low=low, high=high, n=28, role=role, columns=columns
    )


def difference(value, low, high):
    return {"ours_minus_this": value, "ours_minus_this_low": low, "ours_minus_this_high": high}


@pytest.fixture
def result():
    rows = (
        row("encoder + probe", "auroc", 0.71, low=0.66, high=0.76, pretraining="test people left out"),
        row("dummy", "auroc", 0.5, "baseline", 0.5, 0.5, **difference(0.21, 0.16, 0.26)),
        row("hand features", "auroc", 0.73, "baseline", 0.68, 0.78, **difference(-0.02, -0.07, 0.03)),
        row("encoder + probe", "mae", 1.5, low=1.25, high=1.75, pretraining="test people left out"),
        row("dummy", "mae", 150.0, "baseline", 120.0, 180.0),
        row("hand features", "mae", 2.0, "baseline", 1.5, 2.5),
    )
    return Result(
        name="classification of stress",
        protocol={
            "headline": "encoder + probe",
            "better": {"auroc": "higher", "mae": "lower"},
            "people": 28,
            "seed": 3,
        },
        rows=rows,
        required_baselines=("dummy", "hand features"),
    )


GOLDEN = """\
### classification of stress

people: 28; seed: 3

**stress**

| model | role | auroc | mae | n | notes |
| --- | --- | --- | --- | --- | --- |
| encoder + probe | ours | 0.710 [0.660, 0.760] | **1.500** [1.250, 1.750] | 28 | pretraining: test people left out |
| dummy | baseline | 0.500 [0.500, 0.500] | 150.0 [120.0, 180.0] | 28 |  |
| hand features | baseline | **0.730** [0.680, 0.780] | 2.000 [1.500, 2.500] | 28 |  |

encoder + probe minus each baseline, paired over people:

| model | auroc | mae |
| --- | --- | --- |
| dummy | +0.210 [+0.160, +0.260] | – |
| hand features | -0.020 [-0.070, +0.030] | – |
"""


def test_golden_markdown_marks_the_baseline_that_wins(result):
    assert markdown(result) == GOLDEN


def test_without_a_known_direction_nothing_is_marked(result):
    plain = result.model_copy(update={"protocol": {}})
    assert "**0.730**" not in markdown(plain)
    assert "ours minus each baseline" in markdown(plain)


def test_a_result_without_its_baselines_cannot_be_built(result):
    with pytest.raises(ValueError, match="no row for the baselines it owes: hand features"):
        Result(
            name="x",
            protocol={},
            rows=tuple(one for one in result.rows if one.model != "hand features"),
            required_baselines=("dummy", "hand features"),
        )


@pytest.mark.parametrize("show", [markdown, rich_table, lambda result: flat_rows([result])])
def test_going_around_the_rules_is_refused_when_printed(result, show):
    fewer = tuple(one for one in result.rows if one.model != "dummy")
    with pytest.raises(PublishError, match="without the baselines it owes") as caught:
        show(result.model_copy(update={"rows": fewer}))
    assert "dummy" in str(caught.value)


@pytest.mark.parametrize("show", [markdown, rich_table, lambda result: flat_rows([result])])
def test_ours_alone_is_refused_even_when_nothing_is_owed(result, show):
    alone = Result(name="x", protocol={}, rows=result.rows[:1], required_baselines=())
    with pytest.raises(PublishError, match="without any baseline"):
        show(alone)


def test_flat_rows_are_plain_json(result):
    flat = flat_rows([result, result])
    assert len(flat) == 12
    assert flat[1]["result"] == "classification of stress"
    assert flat[1]["ours_minus_this_high"] == 0.26
    assert flat[0]["pretraining"] == "test people left out"
    json.dumps(flat, allow_nan=False)
    holed = result.model_copy(update={"rows": (*result.rows, row("other", "auroc", float("nan"), "baseline"))})
    assert flat_rows([holed])[-1]["value"] is None
    assert "| other | baseline | – | – |" in markdown(holed)


def test_rich_table_shows_the_same_cells_and_escapes_brackets(result):
    from rich.console import Console

    console = Console(width=200, record=True)
    console.print(rich_table(result))
    text = console.export_text()
    for cell in ("0.710 [0.660, 0.760]", "0.730 [0.680, 0.780]", "150.0 [120.0, 180.0]", "hand features"):
        assert cell in text


def test_each_task_and_unit_is_named(result):
    more = tuple(one.model_copy(update={"what": "rate", "unit": "bpm"}) for one in result.rows)
    text = markdown(result.model_copy(update={"rows": (*result.rows, *more)}))
    assert "**rate**" in text
    assert "| auroc (bpm) | mae (bpm) |" in text


def test_a_pipe_in_a_name_does_not_break_the_table(result):
    rows = tuple(one.model_copy(update={"model": one.model.replace("encoder", "a|b")}) for one in result.rows)
    assert r"| a\|b + probe | ours |" in markdown(result.model_copy(update={"rows": rows}))

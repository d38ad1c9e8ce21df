"""The audit as a whole on made-up people: it finds a planted gap, stays quiet without one, and hides who is few."""

import numpy as np
import pytest

from hdt_fm.audit.fairness.answers import Answers
from hdt_fm.audit.fairness.cells import columns_of
from hdt_fm.audit.fairness.controls import made_up
from hdt_fm.audit.fairness.page import fairness_page
from hdt_fm.audit.fairness.table import fairness
from hdt_fm.audit.fairness.words import fairness_words, headline, verdict

FEW = {"draws": 100, "permutations": 200}


@pytest.mark.parametrize("kind", ["value", "class"])
def test_a_planted_gap_is_found_and_its_widening_too(kind: str) -> None:
    found = fairness(*made_up(people=40, gap=1.0, widened=2.0, kind=kind), **FEW)
    for model in ("before", "after"):
        gap = found.result.find(model, f"{found.leads} gap")
        assert gap.columns["worst"] == "M"
        assert gap.columns["p"] < 0.05
        assert gap.low > 0
    assert found.result.find("after", f"{found.leads} gap").columns["change_low"] > 0
    said = " ".join(fairness_words(found))
    assert ": wider;" in said
    assert said.count(": more than chance") == 2
    assert found.result.find("training mean", f"{found.leads} gap").role == "baseline"


def test_without_a_gap_it_is_quiet_as_often_as_it_says() -> None:
    ps = [
        fairness(*made_up(people=16, windows=8, seed=seed), draws=20, permutations=100)
        .result.find("before", "mae gap")
        .columns["p"]
        for seed in range(150)
    ]
    # 150 draws of a twentieth: 99 % lie within 2 and 14.
    assert 2 <= sum(p < 0.05 for p in ps) <= 14
    assert np.mean(ps) == pytest.approx(0.5, abs=0.08)


def test_who_is_in_too_small_a_cell_moves_no_number() -> None:
    asked, answers, _ = made_up(people=23, seed=3)
    people = [{"site": "north" if one < 9 else "south" if one < 17 else f"small {one % 3}"} for one in range(23)]
    columns = columns_of(people)
    before = fairness(asked, answers, columns, **FEW).result
    worse = [type(one)(**{**vars(one), "scores": one.scores.copy()}) for one in answers]
    for one in worse:
        one.scores[asked.person >= 17] += 100.0
    after = fairness(asked, worse, columns, **FEW).result
    # Their errors do set how wide others' intervals are, and nothing else.
    plain = [(a, b) for a, b in zip(before.rows, after.rows, strict=True) if not a.metric.startswith("coverage")]
    assert all(a == b for a, b in plain)
    assert len(plain) > 10
    text = before.model_dump_json() + fairness_page(fairness(asked, answers, columns, **FEW), ("said",))
    assert "small 1" not in text
    assert {row.n for row in before.rows} == {9, 8, 17}


def test_a_remedy_stands_in_its_column_alone_and_beside_its_model() -> None:
    asked, answers, _ = made_up(people=24, gap=1.0)
    remedied = type(answers[1])("remedied", "ours", "before", answers[1].scores * 0.9, "sex", "before")
    columns = columns_of([{"sex": "FM"[one % 2], "site": "ab"[one // 12]} for one in range(24)])
    result = fairness(asked, [*answers, remedied], columns, **FEW).result
    rows = [row for row in result.rows if row.model == "remedied"]
    assert {row.columns["column"] for row in rows} == {"sex"}
    gap = result.find("remedied", "mae gap")
    assert gap.columns["than"] == "before"
    assert gap.columns["change"] == pytest.approx(gap.value - result.find("before", "mae gap", "rate, sex").value)


def test_p_is_told_as_one_of_the_columns() -> None:
    asked, answers, _ = made_up(people=24)
    columns = columns_of([{"sex": "FM"[one % 2], "site": "ab"[one // 12]} for one in range(24)])
    found = fairness(asked, answers, columns, **FEW)
    gaps = [row for row in found.result.rows if (row.model, row.metric) == ("before", "mae gap")]
    assert len(gaps) == 3
    least = min(gaps, key=lambda row: row.columns["p"])
    assert least.columns["p_of_columns"] == pytest.approx(min(1.0, 3 * least.columns["p"]))
    assert verdict(least) == "not more than chance"
    assert "as one of 3 columns" in " ".join(fairness_words(found))
    assert len(headline(found)) == 6


def test_p_of_a_remedy_is_told_as_one_of_the_columns_too() -> None:
    asked, answers, _ = made_up(people=24)
    columns = columns_of([{"sex": "FM"[one % 2], "site": "ab"[one // 12]} for one in range(24)], by=["sex", "site"])
    remedied = [
        Answers(f"alike by {one}", "ours", "before", answers[1].scores, one, "before", "alike")
        for one in ("sex", "site")
    ]
    rows = fairness(asked, [*answers, *remedied], columns, **FEW).result.rows
    told = {(row.model, row.columns["column"]): row.columns["p_of_columns"] for row in rows if row.metric == "mae gap"}
    for one in ("sex", "site"):
        assert told[f"alike by {one}", one] == told["before", one]


def test_the_page_has_a_table_of_each_measure() -> None:
    found = fairness(*made_up(people=20, kind="class"), **FEW)
    page = fairness_page(found, fairness_words(found))
    for title in ("balanced accuracy", "auroc", "calibration error", "true positive rate", "false positive rate"):
        assert f"## sex: {title}" in page
    assert "F (10)" in page


def test_the_same_seed_gives_the_same_numbers() -> None:
    one, two = (fairness(*made_up(people=20), **FEW, seed=7).result for _ in range(2))
    assert one == two

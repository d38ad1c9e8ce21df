"""The card: its header by the Hub's own reader, its facts against the records, its bytes against themselves."""

import re
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from hdt_fm.report.card_facts import CardFacts
from hdt_fm.report.data_facts import DataFacts, data_facts, without_small_cells
from hdt_fm.report.documents.readme import evaluation, in_header, make, slug
from hdt_fm.report.facts import Facts
from hdt_fm.report.licences import refuse_unready
from hdt_fm.report.records import flat
from hdt_fm.report.tables import markdown
from hdt_fm.schema.errors import PublishError
from hdt_fm.schema.manifest import ModelConfig, Part, Preprocess
from hdt_fm.schema.preparation import ModalityPreparation, Preparation
from hdt_fm.schema.result import Result, RunRecord
from hdt_fm.schema.shard import ModalityColumn, ShardManifest


@pytest.fixture
def card(facts: Facts) -> str:
    cards = [make(facts) for _ in range(2)]
    assert cards[0] == cards[1]
    return cards[0]


def test_the_header_is_read_back_by_the_hubs_library(card: str, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(card)
    header = ModelCard.load(path).data
    assert (header.license, header.library_name, header.model_name) == ("cc-by-4.0", "hdt_fm", "Wrist stress 1")
    assert header.tags[-3:] == ["ppg", "eda", "stress"]
    assert [(one.task_name, one.metric_type, one.metric_value) for one in header.eval_results] == [
        ("stress", "auroc", 0.7654321),
        ("stress", "auroc", 0.7211111),
    ]
    assert {one.dataset_name for one in header.eval_results} == {"stress study"}


def test_the_header_has_what_a_result_leads_with_and_further_tables_are_folded(result: Result) -> None:
    task = result.model_copy(update={"protocol": {"task": "classification", "headline": result.rows[0].model}})
    also = result.model_copy(update={"name": "few shot", "protocol": {"task": "few_shot"}})
    named = [row for row in task.rows if in_header(task, row)]
    assert {row.model for row in named} == {result.rows[0].model}
    assert len(named) < len([row for row in also.rows if in_header(also, row)])
    text = evaluation((task, also))
    assert text.count("<details>") == text.count("</details>") == 1
    assert text.index(markdown(task).strip()) < text.index("<details><summary>few shot</summary>")


def test_the_card_holds_the_table_and_the_facts(card: str, result: Result) -> None:
    assert markdown(result).strip() in card
    assert "hand features" in card
    for fact in (
        "| people | 14 |",
        "| windows kept | 231 of 300 possible |",
        "| hours of windows | 3.5 |",
        "| PPG | `ppg` | arbitrary | 1 | 16 | 0.5 to 6 Hz | inverted |",
        "| Electrodermal activity | `eda` | uS | 2 | 4 | unfiltered | as recorded |",
        "| device.name | `cpu` |",
        "| time | 1834.2 s |",
        "0.528 hours of wall time",
        "pseudonymised, not anonymous",
        "gaps between groups of people are unknown.** Nothing is known of the people but sex and site. Known of",
        "**No privacy audit of this model was made.** Too few people were kept from training.",
        "- May serve worse: People whose skin was not among those measured.",
        "Release 1.0 of 2026-11-20, stage: research.",
        "- `sbom.cdx.json`: software and model card",
        "https://creativecommons.org/licenses/by/4.0/legalcode",
        "- Trained on 14 people of one laboratory.",
    ):
        assert fact in card, fact


def test_the_card_reads_well(card: str) -> None:
    assert "\n\n\n" not in card
    assert not re.search(r"[{}]{2}|{%|None|\bnan\b", card)
    assert not [line for line in card.splitlines() if line != line.rstrip()]
    tables = re.findall(r"(?:^\|.*\n)+", card, re.MULTILINE)
    assert len(tables) >= 5
    for table in tables:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1, table


def test_small_cells_are_not_counted_out(manifest: ShardManifest, card: str) -> None:
    assert data_facts(manifest).covariates == {"sex": {"f": 8, "m": 6}, "site": {"a": None, "b": None}}
    assert "People by site: a not shown, b not shown (no count" in card
    assert "People by sex: f 8, m 6." in card
    assert not any(person.subject in card for person in manifest.subjects)


def test_a_hidden_count_cannot_be_had_from_the_total() -> None:
    assert without_small_cells({"a": 9, "b": 6, "c": 1}) == {"a": 9, "b": None, "c": None}
    assert without_small_cells({"a": 9, "b": 2, "c": 1}) == {"a": 9, "b": None, "c": None}
    assert without_small_cells({"a": 3}) == {"a": None}


def test_a_table_without_baselines_is_never_printed(result: Result) -> None:
    broken = Result.model_construct(**{**dict(result), "rows": result.rows[:2]})
    with pytest.raises(PublishError):
        evaluation((broken,))


def test_provenance_is_flattened_in_its_own_order() -> None:
    nested = {"b": {"y": 1, "x": [1, 2]}, "a": list(range(9)), "c": 0.125, "d": [{"k": 1}]}
    assert list(flat(nested)) == [("b.y", "1"), ("b.x", "1, 2"), ("a", "9 entries"), ("c", "0.125"), ("d", "1 entries")]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"licence": ""}, "no licence"),
        ({"licence": "apache"}, "apache-2.0"),
        ({"licence": "other"}, "link"),
    ],
)
def test_a_licence_is_owed(card_facts: CardFacts, data: DataFacts, change: dict, match: str) -> None:
    with pytest.raises(PublishError, match=match):
        refuse_unready(card_facts.model_copy(update=change), (data,))


def test_the_data_owe_a_licence_too(card_facts: CardFacts, data: DataFacts) -> None:
    with pytest.raises(PublishError, match="stress study"):
        refuse_unready(card_facts, (data.model_copy(update={"licence": " "}),))
    with pytest.raises(PublishError, match="data's licence"):
        refuse_unready(card_facts, ())


def test_a_person_of_whom_nothing_is_known_cannot_be_had_from_the_total(manifest: ShardManifest) -> None:
    none = manifest.subjects[0].model_copy(update={"covariates": {}})
    found = data_facts(manifest.model_copy(update={"subjects": (none, *manifest.subjects[1:])})).covariates
    assert found["sex"] == {"f": 7, "m": None, "not known": None}


def test_slugs_are_plain() -> None:
    assert slug("Stress Predict (wrist)") == "stress-predict-wrist"


def test_of_an_exact_age_no_value_of_a_few_is_named(manifest: ShardManifest) -> None:
    ages = [23] * 6 + [31, 31, 47, 58, 62, 63, 64, 88]
    people = tuple(
        one.model_copy(update={"covariates": {"age": str(age), "age_band": f"{age // 10}0-{age // 10}9"}})
        for one, age in zip(manifest.subjects, ages, strict=True)
    )
    found = data_facts(manifest.model_copy(update={"subjects": people})).covariates
    assert found["age"] == {"23": 6, "other values": None}
    # One word among numbers does not bring the numbers out.
    mixed = (people[0].model_copy(update={"covariates": {"age": "NA"}}), *people[1:])
    found_mixed = data_facts(manifest.model_copy(update={"subjects": mixed})).covariates
    assert found_mixed["age"] == {"23": 5, "NA": None, "other values": None}
    assert set(found["age_band"]) == {"20-29", "30-39", "40-49", "50-59", "60-69", "80-89"}


def test_the_card_says_which_facts_about_people_are_read(
    card_facts: CardFacts, data: DataFacts, records: tuple[RunRecord, ...], result: Result
) -> None:
    told = {"card": card_facts, "data": (data,), "records": records, "results": (result,)}
    ppg = ModalityColumn(name="ppg", unit="au", channels=1, sampling_rate_hz=16, samples=160, encoding="f32")
    static = ModalityColumn(name="static", unit="au", channels=1, sampling_rate_hz=0.3, samples=3, encoding="f32")
    read = [{"name": "bmi", "center": 25.125, "scale": 4.5}, {"name": "apoe", "levels": ["rare", "33", "34"]}]
    config = ModelConfig(
        modalities=(ppg, static),
        encoder=Part(name="patch_transformer"),
        per_modality={"static": {"columns": read}},
        projection=Part(name="projection"),
        statistics={"ppg": (0.0, 3.0)},
        window_s=10,
    )
    preparation = Preparation(window_s=10, hop_s=5, modalities={"ppg": ModalityPreparation(sampling_rate_hz=16)})
    preprocess = Preprocess(preparation=preparation, modalities=config.modalities)
    card = make(Facts(**told, config=config, preprocess=preprocess))
    assert "facts about the person as modality `static`" in card
    assert "`bmi` (a number), `apoe` (3 levels)" in card
    assert "rare" not in card
    assert "25.125" not in card
    assert "| `static` |" not in card
    plain = config.model_copy(update={"modalities": (ppg,), "per_modality": {}})
    without = make(Facts(**told, config=plain, preprocess=Preprocess(preparation=preparation, modalities=(ppg,))))
    assert "facts about the person" not in without

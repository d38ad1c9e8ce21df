"""`README.md`: the model card, a Hugging Face README made from run records alone."""

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hdt_fm.report.card_facts import CardFacts
from hdt_fm.report.data_facts import SMALLEST_CELL, DataFacts
from hdt_fm.report.documents.contents import contents
from hdt_fm.report.facts import Facts
from hdt_fm.report.licences import link_of
from hdt_fm.report.records import flat
from hdt_fm.report.spent import HEADER, emissions, energy_said, lines, notes, whole
from hdt_fm.report.tables import markdown
from hdt_fm.schema.covariates import Covariate
from hdt_fm.schema.manifest import ModelConfig, Preprocess
from hdt_fm.schema.modalities import STATIC
from hdt_fm.schema.modalities import modality as look_up_modality
from hdt_fm.schema.result import Result, Row

NAME = "README.md"
LIBRARY = "hdt_fm"
# Results that a card shows at once; further protocols are a click away. A table of subgroups is never folded away.
TASKS = ("classification", "regression", "forecast", "probe head", "subgroups")
RESULTS_START, RESULTS_END = "<!-- results: start -->", "<!-- results: end -->"
_TEMPLATES = Path(__file__).parents[1] / "templates"


def make(facts: Facts) -> str:
    """The whole card.

    Raises:
        PublishError: If a result lacks the baselines it owes.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # this is markdown, not HTML; what people wrote is screened before
    )
    environment.filters["cell"] = lambda value: " ".join(str(value).split()).replace("|", r"\|")
    columns = [one for one in facts.preprocess.modalities if one.name != STATIC]
    body = environment.get_template("card.md.j2").render(
        facts=facts.card,
        data=facts.data,
        runs=[{"record": record, "facts": list(flat(record.provenance))} for record in facts.records],
        hours=whole(facts.records).hours,
        spent={"header": HEADER, "lines": lines(facts.records), "notes": list(notes(facts.records))},
        energy=energy_said(facts.records),
        evaluation=evaluation(facts.results),
        subgroups=bool(facts.subgroup_rows),
        known=known_of_people(facts.data),
        signals=[_signal(facts.preprocess, one.name, one.unit) for one in columns],
        covariates=[_covariate(column) for column in facts.config.covariates],
        updates=facts.updates.heads if facts.updates else (),
        config=facts.config,
        audit=facts.audit,
        fairness=facts.fairness,
        attribution=facts.attribution,
        imported=facts.imported,
        licence_link=link_of(facts.card),
        smallest=SMALLEST_CELL,
        others=[(name, words) for name, words in contents(facts).items() if name != NAME],
    )
    body = re.sub(r"\n{3,}", "\n\n", body).strip()
    header = metadata(facts.card, facts.data, facts.results, facts.config, emissions(facts.records))
    return f"---\n{header}\n---\n\n{body}\n"


def known_of_people(data: Sequence[DataFacts]) -> tuple[str, ...]:
    """Names of what the cohorts tell of their people."""
    return tuple(dict.fromkeys(name for one in data for name in one.covariates))


def metadata(
    facts: CardFacts,
    data: Sequence[DataFacts],
    results: Sequence[Result],
    config: ModelConfig,
    co2: dict[str, Any] | None = None,
) -> str:
    """The YAML header by the Hub's own rules; numbers of ours only, unrounded; carbon of the training where known."""
    from huggingface_hub import ModelCardData

    names = [column.name for column in config.modalities]
    more: dict[str, Any] = {"co2_eq_emissions": co2} if co2 else {}
    card = ModelCardData(
        license=facts.licence,
        license_name=facts.name.lower().replace(" ", "-") if facts.licence == "other" else None,
        license_link=facts.licence_link or None,
        library_name=LIBRARY,
        pipeline_tag="feature-extraction",
        tags=list(dict.fromkeys(["wearables", "biosignals", "time-series", *names, *facts.tags])),
        model_name=facts.name,
        eval_results=list(_eval_results(data, results)) or None,
        **more,
    )
    return card.to_yaml(line_break="\n")


def evaluation(results: Sequence[Result]) -> str:
    """All tables between two marks, so that `check` can find them again; those beyond the tasks are folded away."""
    return "\n\n".join([RESULTS_START, *map(_table, results), RESULTS_END])


def in_header(result: Result, row: Row) -> bool:
    """Whether the card's header has this number: ours, finite, and of the model that the result leads with."""
    named = result.protocol.get("headline", row.model)
    return row.role == "ours" and math.isfinite(row.value) and row.model == named


def _table(result: Result) -> str:
    text = markdown(result).strip()
    if result.protocol.get("task") in TASKS:
        return text
    return f"<details><summary>{result.name}</summary>\n\n{text}\n\n</details>"


def slug(text: str) -> str:
    """Lower-case words joined by hyphens, as the Hub names data sets."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _eval_results(data: Sequence[DataFacts], results: Sequence[Result]) -> Iterator[Any]:
    from huggingface_hub import EvalResult

    cohort = data[-1].cohort if data else "unknown"
    for result in results:
        for row in result.rows:
            if in_header(result, row):
                yield EvalResult(
                    task_type="feature-extraction",
                    task_name=row.what,
                    dataset_type=slug(result.protocol.get("cohort", cohort)),
                    dataset_name=result.protocol.get("cohort", cohort),
                    dataset_config=slug(f"{result.name} {row.what} {row.model}"),
                    metric_type=slug(row.metric),
                    metric_name=row.metric,
                    metric_value=row.value,
                )


def _covariate(column: Covariate) -> str:
    """A column in words, without a level: few people may share one."""
    return f"`{column.name}` ({'a number' if column.is_number else f'{len(column.levels)} levels'})"


def _signal(preprocess: Preprocess, name: str, unit: str) -> dict[str, str]:
    settings = preprocess.prepared(name)
    low, high = settings.highpass_hz, settings.lowpass_hz
    band = f"{low or 0:g} to {high or settings.sampling_rate_hz / 2:g} Hz" if low or high else "unfiltered"
    return {
        "label": look_up_modality(name).label,
        "name": name,
        "unit": "arbitrary" if unit == "au" else unit,
        "channels": str(settings.channels),
        "rate": f"{settings.sampling_rate_hz:g}",
        "band": band,
        "polarity": "inverted" if settings.invert else "as recorded",
    }

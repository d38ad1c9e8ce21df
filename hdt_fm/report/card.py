"""The model card: a Hugging Face README made from run records alone, so that it can be made again byte for byte."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import Field

from hdt_fm.report.tables import markdown
from hdt_fm.report.updates import Updates
from hdt_fm.schema.covariates import Covariate, as_number
from hdt_fm.schema.errors import PublishError
from hdt_fm.schema.manifest import ModelConfig, Preprocess
from hdt_fm.schema.modalities import STATIC
from hdt_fm.schema.modalities import modality as look_up_modality
from hdt_fm.schema.preparation import Plain
from hdt_fm.schema.result import Result, Row, RunRecord
from hdt_fm.schema.shard import ShardManifest

LIBRARY = "hdt_fm"
# Results that a card shows at once; further protocols are a click away.
TASKS = ("classification", "regression", "forecast", "probe head")
RESULTS_START, RESULTS_END = "<!-- results: start -->", "<!-- results: end -->"
SMALLEST_CELL = 5
LICENCES = {
    "apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
    "mit": "https://opensource.org/license/mit",
    "bsd-3-clause": "https://opensource.org/license/bsd-3-clause",
    "cc0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/legalcode",
    "cc-by-4.0": "https://creativecommons.org/licenses/by/4.0/legalcode",
    "cc-by-sa-4.0": "https://creativecommons.org/licenses/by-sa/4.0/legalcode",
    "cc-by-nc-4.0": "https://creativecommons.org/licenses/by-nc/4.0/legalcode",
    "cc-by-nc-sa-4.0": "https://creativecommons.org/licenses/by-nc-sa/4.0/legalcode",
}
_TEMPLATES = Path(__file__).parent / "templates"


class CardFacts(Plain):
    """What no record can know: the only words of a card that people write.

    Attributes:
        licence: Of the weights: a name of `LICENCES`, or `other` with `licence_link`.
        limits: One sentence each.
    """

    name: str = Field(min_length=1)
    summary: str = Field(min_length=1)
    licence: str = ""
    licence_link: str = ""
    intended_use: str = Field(min_length=1)
    out_of_scope: str = Field(min_length=1)
    limits: tuple[str, ...] = Field(min_length=1)
    authors: str = ""
    citation: str = ""
    tags: tuple[str, ...] = ()


class DataFacts(Plain):
    """Counts of one cohort; nothing about a person, and no count below the smallest cell of a covariate."""

    cohort: str
    licence: str
    source: str
    people: int
    visits: int
    hours: float
    windows: int
    windows_possible: int
    quarantined: int
    window_s: float
    hop_s: float
    labels: tuple[str, ...]
    consent: str
    covariates: dict[str, dict[str, int | None]]
    config_digest: str
    input_digest: str


def data_facts(manifest: ShardManifest) -> DataFacts:
    """What a card says of the data in a shard folder."""
    counts: dict[str, dict[str, int]] = {}
    for row in manifest.subjects:
        for name, value in row.covariates.items():
            counts.setdefault(name, {}).setdefault(value, 0)
            counts[name][value] += 1
    return DataFacts(
        cohort=manifest.cohort,
        licence=manifest.licence,
        source=manifest.source,
        people=len(manifest.subjects),
        visits=manifest.counts.visits,
        hours=round(sum(row.hours for row in manifest.subjects), 2),
        windows=manifest.windows,
        windows_possible=manifest.counts.windows_possible,
        quarantined=manifest.counts.quarantined,
        window_s=manifest.header.window_s,
        hop_s=manifest.header.hop_s,
        labels=tuple(label.name for label in manifest.header.labels),
        consent=manifest.consent,
        covariates={name: _shown(values) for name, values in sorted(counts.items())},
        config_digest=manifest.config_digest,
        input_digest=manifest.input_digest,
    )


def without_small_cells(counts: Mapping[str, int]) -> dict[str, int | None]:
    """Counts with None for those under the smallest cell.

    A single hidden count could be had from the total, so the next smallest is then hidden too.
    """
    by_size = sorted(counts, key=lambda value: (counts[value], value))
    hidden = [value for value in by_size if counts[value] < SMALLEST_CELL]
    if len(hidden) == 1:
        hidden = by_size[:2]
    return {value: None if value in hidden else counts[value] for value in sorted(counts)}


def _shown(counts: Mapping[str, int]) -> dict[str, int | None]:
    """Counts of a covariate; numbers under the smallest cell, such as exact ages, are not even named."""
    shown = without_small_cells(counts)
    unnamed = [value for value, count in shown.items() if count is None and as_number("", value) is not None]
    kept = {value: count for value, count in shown.items() if value not in unnamed}
    return kept | ({"other values": None} if unnamed else {})


def render(
    facts: CardFacts,
    data: Sequence[DataFacts],
    records: Sequence[RunRecord],
    results: Sequence[Result],
    config: ModelConfig,
    preprocess: Preprocess,
    *,
    updates: Updates | None = None,
) -> str:
    """The whole card; equal arguments give equal bytes, since nothing here reads a clock or a machine.

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
    body = environment.get_template("card.md.j2").render(
        facts=facts,
        data=data,
        runs=[{"record": record, "facts": list(flat(record.provenance))} for record in records],
        hours=sum(record.seconds for record in records) / 3600,
        energy=list(energy(records)),
        evaluation=evaluation(results),
        subgroups=any("subgroup" in row.columns for result in results for row in result.rows),
        signals=[
            _signal(preprocess, column.name, column.unit) for column in preprocess.modalities if column.name != STATIC
        ],
        covariates=[_covariate(column) for column in config.covariates],
        updates=updates.heads if updates else (),
        config=config,
        licence_link=facts.licence_link or LICENCES.get(facts.licence, ""),
        smallest=SMALLEST_CELL,
    )
    body = re.sub(r"\n{3,}", "\n\n", body).strip()
    return f"---\n{metadata(facts, data, results, config)}\n---\n\n{body}\n"


def metadata(facts: CardFacts, data: Sequence[DataFacts], results: Sequence[Result], config: ModelConfig) -> str:
    """The YAML header by the Hub's own rules; numbers of ours only, unrounded."""
    from huggingface_hub import ModelCardData

    names = [column.name for column in config.modalities]
    card = ModelCardData(
        license=facts.licence,
        license_name=facts.name.lower().replace(" ", "-") if facts.licence == "other" else None,
        license_link=facts.licence_link or None,
        library_name=LIBRARY,
        pipeline_tag="feature-extraction",
        tags=list(dict.fromkeys(["wearables", "biosignals", "time-series", *names, *facts.tags])),
        model_name=facts.name,
        eval_results=list(_eval_results(data, results)) or None,
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


def energy(records: Sequence[RunRecord]) -> Iterator[tuple[str, str]]:
    """Energy entries that a record holds, by verb."""
    for record in records:
        for name, value in [*flat(record.summary), *flat(record.provenance)]:
            if "kwh" in name.lower():
                yield record.verb, f"{name}: {value}"


def slug(text: str) -> str:
    """Lower-case words joined by hyphens, as the Hub names data sets."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def refuse_unready(facts: CardFacts, data: Sequence[DataFacts]) -> None:
    """Raise PublishError where a licence is missing or unknown."""
    if facts.licence != "other" and facts.licence not in LICENCES:
        raise PublishError(
            "The weights have no licence that the card knows",
            expected=f"one of: {', '.join(LICENCES)}; or `other` with licence_link",
            got=repr(facts.licence) if facts.licence else "none",
            where="licence",
            fix="choose the licence of the weights; the licence of the data limits the choice",
        )
    if facts.licence == "other" and not facts.licence_link:
        raise PublishError("A licence of one's own needs a link", where="licence_link", fix="give the text's address")
    unlicensed = [one.cohort for one in data if not one.licence.strip()]
    if unlicensed or not data:
        raise PublishError(
            "The data's licence is missing",
            where=f"cohort {', '.join(unlicensed)}" if unlicensed else "data",
            expected="a licence or a data agreement for every cohort",
            fix="set `licence` in the cohort's config and shard again",
        )


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

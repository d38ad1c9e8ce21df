"""`sbom.cdx.json`: what the model was made with, and a model card for machines, in CycloneDX 1.6.

The list is of distributions by name and version, as the installer recorded them: no path, no host, no time.
"""

import json
import uuid
from typing import Any

from hdt_fm.report.documents.answers import (
    audit_said,
    leading,
    model_type,
    outputs_said,
    subgroups_said,
)
from hdt_fm.report.documents.readme import slug
from hdt_fm.report.facts import Facts
from hdt_fm.report.licences import link_of, spdx
from hdt_fm.report.software import OURS, Distribution
from hdt_fm.report.spent import Spent, by_verb, energy_said, whole
from hdt_fm.schema.manifest import WEIGHTS_NAME

NAME = "sbom.cdx.json"
# Activities by the words of CycloneDX.
_ACTIVITIES = {
    "shard": "data-preparation",
    "pretrain": "training",
    "finetune": "fine-tuning",
    "evaluate": "validation",
    "audit": "validation",
    "embed": "inference",
    "explain": "inference",
}
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://cyclonedx.org/")


def make(facts: Facts) -> str:
    """The document. Its serial number is of its content, so that the same facts give the same bytes."""
    components = [_component(one) for one in facts.software]
    model = _model(facts)
    serial = uuid.uuid5(_NAMESPACE, json.dumps([model, components], sort_keys=True))
    bom = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"component": model},
        "components": components,
        "dependencies": [
            {"ref": model["bom-ref"], "dependsOn": [_url(one) for one in facts.software if one.name == OURS]},
            *_dependencies(facts.software),
        ],
    }
    return json.dumps(bom, indent=1, ensure_ascii=False) + "\n"


def _url(one: Distribution) -> str:
    return f"pkg:pypi/{one.name}@{one.version}"


def _component(one: Distribution) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": "library",
        "bom-ref": _url(one),
        "name": one.name,
        "version": one.version,
        "purl": _url(one),
    }
    if one.licence:
        made["licenses"] = [{"expression": one.licence}]
    return made


def _dependencies(software: tuple[Distribution, ...]) -> list[dict[str, Any]]:
    by_name = {one.name: _url(one) for one in software}
    return [{"ref": _url(one), "dependsOn": [by_name[name] for name in one.needs]} for one in software]


def _model(facts: Facts) -> dict[str, Any]:
    card = facts.card
    licence = spdx(card.licence)
    return {
        "type": "machine-learning-model",
        "bom-ref": f"model/{slug(card.name)}@{card.release or '0'}",
        "name": card.name,
        "version": card.release or "0",
        "description": card.summary,
        "hashes": [{"alg": "SHA-256", "content": facts.weights_digest}],
        "licenses": [{"license": {"id": licence} if licence else {"name": card.licence, "url": link_of(card)}}],
        "properties": [{"name": "hdt_fm:weights", "value": WEIGHTS_NAME}],
        "modelCard": {
            "modelParameters": {
                "task": "feature-extraction",
                "architectureFamily": model_type(facts),
                "modelArchitecture": facts.config.encoder.name,
                "datasets": [_data(one.cohort, one.licence) for one in facts.data],
                "inputs": [
                    {"format": f"{one.name}, {one.unit}, {one.sampling_rate_hz:g} Hz"}
                    for one in facts.config.modalities
                ],
                "outputs": [{"format": outputs_said(facts)}],
            },
            "quantitativeAnalysis": {"performanceMetrics": _metrics(facts)},
            "considerations": _considerations(facts),
        },
    }


def _data(cohort: str, licence: str) -> dict[str, Any]:
    return {
        "type": "dataset",
        "name": cohort,
        "description": f"Licence: {licence}. Described in croissant.json; not distributed here.",
        "sensitiveData": ["Signals of bodies of pseudonymised people"],
    }


def _metrics(facts: Facts) -> list[dict[str, Any]]:
    parts = [(result, row, row.what) for result, row in facts.subgroup_rows if row.role == "ours"]
    return [
        {
            "type": f"{row.metric}, {result.name}: {row.what}, {row.model}",
            "value": f"{row.value}",
            **({"slice": part} if part else {}),
            **(
                {"confidenceInterval": {"lowerBound": f"{row.low}", "upperBound": f"{row.high}"}}
                if row.low is not None and row.high is not None
                else {}
            ),
        }
        for result, row, part in [*((result, row, "") for result, row in leading(facts)), *parts]
    ]


def _considerations(facts: Facts) -> dict[str, Any]:
    card = facts.card
    mitigation = card.bias_mitigation or "none stated"
    return {
        "users": list(card.users),
        "useCases": [card.intended_use, f"Not: {card.out_of_scope}"],
        "technicalLimitations": list(card.limits),
        "ethicalConsiderations": [
            *({"name": risk, "mitigationStrategy": mitigation} for risk in card.risks),
            {"name": audit_said(facts), "mitigationStrategy": "Only the model is handed out, never a recording."},
        ],
        "environmentalConsiderations": _environment(facts),
        "fairnessAssessments": [
            {"groupAtRisk": group, "harms": subgroups_said(facts), "mitigationStrategy": mitigation}
            for group in card.biases
        ]
        + _gaps(facts, mitigation),
    }


def _gaps(facts: Facts, mitigation: str) -> list[dict[str, str]]:
    """A line for each column of a fairness audit: where the model does worst."""
    if not facts.fairness:
        return []
    found = facts.fairness.found
    return [
        {
            "groupAtRisk": f"people by {column}",
            "harms": " ".join(said for said in found if f", {column}, " in said),
            "mitigationStrategy": mitigation,
        }
        for column in facts.fairness.columns
    ]


def _environment(facts: Facts) -> dict[str, Any]:
    spent = by_verb(facts.records)
    own = [{"name": "hdt_fm:wall_time_hours", "value": f"{whole(facts.records).hours:.3f}"}]
    own += [{"name": f"hdt_fm:{one.verb}:{name}", "value": value} for one in spent for name, value in _spent(one)]
    used = [_consumption(one) for one in spent if one.cost.kwh is not None]
    if not used:
        own.append({"name": "hdt_fm:energy", "value": energy_said(facts.records)})
    return {**({"energyConsumptions": used} if used else {}), "properties": own}


def _spent(one: Spent) -> list[tuple[str, str]]:
    """What a verb spent beyond energy and carbon, which have fields of their own."""
    cost = one.cost
    told = [("hours", f"{cost.hours:.6g}"), ("metered_hours", f"{cost.metered_hours:.6g}"), ("pue", f"{cost.pue:g}")]
    if cost.cpu_hours is not None:
        told.append(("cpu_hours", f"{cost.cpu_hours:.6g}"))
    if cost.money is not None:
        told.append(("money", f"{cost.money:.6g} {cost.currency}"))
    return told + [(name, getattr(cost, name)) for name in ("how", "reason", "missing") if getattr(cost, name)]


def _consumption(one: Spent) -> dict[str, Any]:
    used = {"value": one.cost.kwh, "unit": "kWh"}
    carbon = one.cost.kg_co2e
    return {
        "activity": _ACTIVITIES.get(one.verb, "other"),
        "energyProviders": [
            {
                "description": "As metered where it ran; who delivered it is not known",
                "organization": {"name": "unknown"},
                "energySource": "unknown",
                "energyProvided": used,
            }
        ],
        "activityEnergyCost": used,
        **({} if carbon is None else {"co2CostEquivalent": {"value": carbon / 1000, "unit": "tCO2eq"}}),
    }

"""`chai_model_card.xml`: the CHAI applied model card, version 0.2; elements and their order are in `chai_shape.py`."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from hdt_fm.report.documents.answers import (
    against_baselines,
    audit_said,
    development_data,
    leading,
    model_type,
    outputs_said,
    subgroups_said,
)
from hdt_fm.report.documents.chai_shape import CHAI_NAME, NAMESPACE, problems
from hdt_fm.report.documents.citation import keywords
from hdt_fm.report.facts import Facts
from hdt_fm.schema.modalities import STATIC
from hdt_fm.schema.result import Row

__all__ = ["NAME", "make", "problems"]
NAME = CHAI_NAME
_GOALS = {
    "UsefulnessUsabilityEfficacy": "Do better on people never seen than the baselines that stand beside each number.",
    "FairnessEquity": "Serve parts of the people alike; gaps are to be seen.",
    "SafetyReliability": "Give away nothing of the people whom it learned from.",
}
_LEVEL = 0.95
# What XML 1.0 cannot hold.
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def make(facts: Facts) -> str:
    """The document; all but the numbers are the words of the card."""
    card = facts.card
    root = Element("AppliedModelCard", {"xmlns": NAMESPACE})
    _group(root, "BasicInfo", ModelName=card.name, ModelDeveloper=card.authors, DeveloperContact=card.contact)
    release = _group(
        root,
        "ReleaseInfo",
        ReleaseStage=card.stage,
        ReleaseDate=card.released,
        ReleaseVersion=card.release,
        GlobalAvailability=card.availability,
    )
    if card.regulatory:
        _text(release, "RegulatoryApproval", card.regulatory)
    summary = _group(root, "ModelSummary", Summary=card.summary)
    words = SubElement(summary, "Keywords")
    for word in keywords(facts):
        _text(words, "Keyword", word)
    _group(
        root,
        "UsesAndDirections",
        IntendedUseAndWorkflow=f"{card.intended_use}\n{card.workflow}",
        PrimaryIntendedUsers=_lines(card.users),
        HowToUse="hdt_fm.load(folder).embed(batch); README.md has an example. It refuses other signals.",
        TargetedPatientPopulation=card.target_population,
        CautionedOutOfScopeSettings=card.out_of_scope,
    )
    _group(
        root,
        "Warnings",
        KnownRisksAndLimitations=_lines((*card.risks, *card.limits)),
        KnownBiasesOrEthicalConsiderations=_lines((*card.biases, f"Ethics: {card.ethics}")),
        ClinicalRiskLevel=card.clinical_risk,
    )
    trust = SubElement(root, "TrustIngredients")
    _group(
        trust,
        "AISystemFacts",
        OutcomesAndOutputs=outputs_said(facts),
        ModelType=model_type(facts),
        InputDataSource=_lines([f"{one.cohort}: {one.source}" for one in facts.data]),
        OutputAndInputDataTypes=_lines([*_inputs(facts), "Output: vectors of 32-bit floating-point numbers."]),
        DevelopmentDataCharacterization=development_data(facts),
        BiasMitigationApproaches=card.bias_mitigation,
        OngoingMaintenance=card.maintenance,
        Security="Weights hold numbers alone (safetensors) and are loaded strictly; SHA256SUMS covers every file.",
        Transparency="Every number comes of the run's records: result.json, provenance.json; README.md is the card.",
    )
    _group(
        trust,
        "TransparencyInformation",
        FundingSource=card.funding,
        ThirdPartyInformation=f"sbom.cdx.json lists the {len(facts.software)} packages that were installed.",
        StakeholdersConsulted=card.stakeholders,
    )
    _metrics(SubElement(root, "KeyMetrics"), facts)
    publications = _lines(card.publications) or "none"
    _group(
        root,
        "Resources",
        EvaluationReferences="result.json: every number with its interval and its baselines.",
        PeerReviewedPublications=publications,
        PatientConsentOrDisclosure=card.disclosure,
    )
    _text(root, "Bibliography", publications)
    ElementTree.indent(root)
    written: str = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{written}\n'


def _metrics(parent: Element, facts: Facts) -> None:
    ours = [(one, row) for one, row in facts.subgroup_rows if row.role == "ours"]
    said = {
        "UsefulnessUsabilityEfficacy": (_numbers(leading(facts)), against_baselines(facts)),
        "FairnessEquity": ([*_numbers(ours), *_gaps(facts)], subgroups_said(facts)),
        "SafetyReliability": (_attacks(facts), audit_said(facts)),
    }
    people = ", ".join(dict.fromkeys(str(one.protocol.get("cohort", "one cohort")) for one in facts.results))
    split = "; ".join(dict.fromkeys(str(one.protocol.get("split", "see result.json")) for one in facts.results))
    for block, (numbers, interpretation) in said.items():
        attacks = block == "SafetyReliability"
        into = _group(parent, block, MetricGoal=_GOALS[block])
        results = SubElement(into, "Results")
        for label, value in numbers or [("not measured", json.dumps({"kind": "single", "value": None}))]:
            _group(results, "MetricResult", Label=label, ValueJson=value)
        _text(into, "Interpretation", interpretation)
        _text(into, "TestType", "Attacks on the published model" if attacks else "Retrospective, on recordings")
        _text(into, "TestingDataDescription", f"People of {people}")
        _text(into, "ValidationProcessAndJustification", f"People disjoint from training: {split}")


def _numbers(rows: Sequence[tuple[Any, Row]]) -> list[tuple[str, str]]:
    return [(f"{result.name}: {row.what}, {row.model}, {row.metric}", _value(row.model_dump())) for result, row in rows]


def _gaps(facts: Facts) -> list[tuple[str, str]]:
    rows = facts.fairness.gaps if facts.fairness else ()
    return [
        (f"fairness audit: {', '.join(str(row.get(key)) for key in ('what', 'model', 'metric'))}", _value(row))
        for row in rows
    ]


def _attacks(facts: Facts) -> list[tuple[str, str]]:
    rows = facts.audit.rows if facts.audit else ()
    return [
        (f"privacy audit: {', '.join(str(row.get(key)) for key in ('what', 'model', 'metric'))}", _value(row))
        for row in rows
    ]


def _value(row: Mapping[str, Any]) -> str:
    """A number as the examples of the schema write it; one that is none (nan) stands as null."""
    ends = {"estimate": row.get("value"), "lower": row.get("low"), "upper": row.get("high")}
    told = {key: None if value is None or value != value else value for key, value in ends.items()}
    unit = {"unit": row["unit"]} if row.get("unit") else {}
    if told["lower"] is None or told["upper"] is None:
        shown = {"kind": "single", "value": told["estimate"], **unit}
    else:
        shown = {"kind": "estimate_ci", **told, "level": _LEVEL, **unit}
    return json.dumps({**shown, "people": row.get("n")}, ensure_ascii=False, allow_nan=False)


def _inputs(facts: Facts) -> list[str]:
    return [
        f"{one.name}: {one.channels} channels, {one.unit}, {one.sampling_rate_hz:g} Hz"
        for one in facts.config.modalities
        if one.name != STATIC
    ] + [f"{one.name}: a fact about the person" for one in facts.config.covariates]


def _lines(texts: Sequence[str]) -> str:
    return "\n".join(texts)


def _group(parent: Element, tag: str, **texts: str) -> Element:
    made = SubElement(parent, tag)
    for name, text in texts.items():
        _text(made, name, text)
    return made


def _text(parent: Element, tag: str, text: str) -> None:
    SubElement(parent, tag).text = _NO_XML.sub("", text)

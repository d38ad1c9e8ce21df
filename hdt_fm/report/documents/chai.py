"""`chai_model_card.xml`: the fields of the CHAI applied model card, version 0.2, as they are listed.

The public schema (XSD) is not part of hdt_fm, so element names are ours and whether a file is valid by that schema was
not checked. `problems` is our own check: well-formed, and every required field there and not empty.
"""

import json
import re
from collections.abc import Iterator, Sequence
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
from hdt_fm.report.documents.citation import keywords
from hdt_fm.report.facts import Facts
from hdt_fm.schema.modalities import STATIC
from hdt_fm.schema.result import Row

NAME = "chai_model_card.xml"
BLOCKS = ("Usefulness", "Fairness", "Safety")
REQUIRED = (
    *("Basics/ModelName", "Basics/Developer", "Basics/Contact"),
    *("Release/Stage", "Release/Date", "Release/Version", "Release/Availability"),
    *("Summary", "Keywords/Keyword"),
    *(
        "Uses/IntendedUse",
        "Uses/Workflow",
        "Uses/Users/User",
        "Uses/HowToUse",
        "Uses/TargetPopulation",
        "Uses/OutOfScope",
    ),
    *("Warnings/Risks/Risk", "Warnings/Limits/Limit", "Warnings/Biases/Bias", "Warnings/ClinicalRiskLevel"),
    *("Model/Outputs", "Model/Type", "Model/InputSource", "Model/InputTypes/Input", "Model/DevelopmentData"),
    *("Model/BiasMitigation", "Model/Maintenance", "Model/Funding", "Model/Stakeholders"),
    *(
        f"Metrics/{block}/{field}"
        for block in BLOCKS
        for field in ("Goal", "Results/Result", "Interpretation", "TestType", "TestData", "Validation")
    ),
    *("Publications", "ConsentAndDisclosure"),
)
_GOALS = {
    "Usefulness": "Do better on people never seen than the baselines that stand beside each number.",
    "Fairness": "Serve parts of the people alike; gaps are to be seen.",
    "Safety": "Give away nothing of the people whom it learned from.",
}
# What XML 1.0 cannot hold.
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def make(facts: Facts) -> str:
    """The document; elements in the order of `REQUIRED`."""
    card = facts.card
    root = Element("AppliedModelCard", {"fieldsOf": "CHAI applied model card 0.2", "madeBy": "hdt_fm"})
    _group(root, "Basics", ModelName=card.name, Developer=card.authors, Contact=card.contact)
    _group(
        root,
        "Release",
        Stage=card.stage,
        Date=card.released,
        Version=card.release,
        Availability=card.availability,
    )
    _text(root, "Summary", card.summary)
    _many(root, "Keywords", "Keyword", keywords(facts))
    uses = _group(root, "Uses", IntendedUse=card.intended_use, Workflow=card.workflow)
    _many(uses, "Users", "User", card.users)
    _text(uses, "HowToUse", "hdt_fm.load(folder).embed(batch); README.md has an example. It refuses other signals.")
    _text(uses, "TargetPopulation", card.target_population)
    _text(uses, "OutOfScope", card.out_of_scope)
    warnings = SubElement(root, "Warnings")
    _many(warnings, "Risks", "Risk", card.risks)
    _many(warnings, "Limits", "Limit", card.limits)
    _many(warnings, "Biases", "Bias", card.biases)
    _text(warnings, "ClinicalRiskLevel", card.clinical_risk)
    model = _group(root, "Model", Outputs=outputs_said(facts), Type=model_type(facts))
    _text(model, "InputSource", "; ".join(f"{one.cohort}: {one.source}" for one in facts.data))
    _many(model, "InputTypes", "Input", _inputs(facts))
    _text(model, "DevelopmentData", development_data(facts))
    _text(model, "BiasMitigation", card.bias_mitigation)
    _text(model, "Maintenance", card.maintenance)
    _text(model, "Funding", card.funding)
    _text(model, "Stakeholders", card.stakeholders)
    _metrics(SubElement(root, "Metrics"), facts)
    _text(root, "Publications", "; ".join(card.publications) or "none")
    _text(root, "ConsentAndDisclosure", f"{card.disclosure} Ethics: {card.ethics}" if card.disclosure else "")
    if card.regulatory:
        _text(root, "Regulatory", card.regulatory)
    ElementTree.indent(root)
    written: str = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{written}\n'


def problems(text: str) -> Iterator[str]:
    """What keeps a text from being a complete card: not well-formed, or a required field missing or empty."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        yield f"{NAME} has a document type, which may name outside files"
        return
    try:
        root = ElementTree.fromstring(text.encode())
    except ElementTree.ParseError:
        yield f"{NAME} is not well-formed XML"
        return
    empty = [path for path in REQUIRED if not _filled(root.findall(path))]
    if root.tag != "AppliedModelCard" or empty:
        yield f"{NAME} lacks required fields: {', '.join(empty) or 'its root element'}"


def _filled(found: Sequence[Element]) -> bool:
    return bool(found) and all("".join(one.itertext()).strip() for one in found)


def _metrics(parent: Element, facts: Facts) -> None:
    subgroups = list(facts.subgroup_rows)
    said = {
        "Usefulness": (leading(facts), against_baselines(facts)),
        "Fairness": ([(one, row) for one, row in subgroups if row.role == "ours"], subgroups_said(facts)),
        "Safety": ([], audit_said(facts)),
    }
    people = ", ".join(dict.fromkeys(str(one.protocol.get("cohort", "one cohort")) for one in facts.results))
    split = "; ".join(dict.fromkeys(str(one.protocol.get("split", "see result.json")) for one in facts.results))
    for block in BLOCKS:
        rows, interpretation = said[block]
        into = SubElement(parent, block)
        _text(into, "Goal", _GOALS[block])
        results = SubElement(into, "Results")
        for result, row in rows:
            _result(results, f"{result.name}: {row.what}, {row.model}, {row.metric}", _value(row))
        if block == "Safety" and facts.audit:
            for number, told in enumerate(facts.audit.rows, start=1):
                _result(
                    results, f"privacy audit, row {number}", json.dumps(dict(sorted(told.items())), allow_nan=False)
                )
        if not len(results):
            _result(results, "not measured", "null")
        _text(into, "Interpretation", interpretation)
        _text(
            into, "TestType", "Attacks on the published model" if block == "Safety" else "Retrospective, on recordings"
        )
        _text(into, "TestData", f"People of {people}")
        _text(into, "Validation", f"People disjoint from training: {split}")


def _value(row: Row) -> str:
    told = {"value": row.value, "low": row.low, "high": row.high, "unit": row.unit, "people": row.n}
    return json.dumps({key: None if value != value else value for key, value in told.items()}, ensure_ascii=False)


def _result(parent: Element, label: str, value: str) -> None:
    one = SubElement(parent, "Result")
    _text(one, "Label", label)
    _text(one, "Value", value)


def _inputs(facts: Facts) -> list[str]:
    return [
        f"{one.name}: {one.channels} channels, {one.unit}, {one.sampling_rate_hz:g} Hz"
        for one in facts.config.modalities
        if one.name != STATIC
    ] + [f"{one.name}: a fact about the person" for one in facts.config.covariates]


def _group(parent: Element, tag: str, **texts: str) -> Element:
    made = SubElement(parent, tag)
    for name, text in texts.items():
        _text(made, name, text)
    return made


def _many(parent: Element, tag: str, each: str, texts: Sequence[str]) -> None:
    made = SubElement(parent, tag)
    for text in texts:
        _text(made, each, text)


def _text(parent: Element, tag: str, text: str) -> None:
    SubElement(parent, tag).text = _NO_XML.sub("", text)

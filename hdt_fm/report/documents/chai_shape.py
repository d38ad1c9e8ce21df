"""What the schema of the CHAI applied model card asks for, version 0.2, and whether a text is so.

The schema itself is not part of hdt_fm. `problems` asks what it asks, and that no text is empty; a test has the public
file judge our cards where HDT_FM_CHAI_SCHEMA names it.

Schema: https://github.com/coalition-for-health-ai/mc-schema, v0.2/schema.xsd
"""

import re
from collections.abc import Iterator
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

CHAI_NAME = "chai_model_card.xml"
NAMESPACE = "https://mc.chai.org/v0.2/schema.xsd"
_METRIC = (
    *("MetricGoal", "Results", "Interpretation", "TestType"),
    *("TestingDataDescription", "ValidationProcessAndJustification"),
)
# Children of each element, in their order: `?` may be missing, `*` may come any number of times, `+` once or more.
# An element without a line here holds text.
SHAPE = {
    "AppliedModelCard": (
        *("BasicInfo", "ReleaseInfo", "ModelSummary", "UsesAndDirections", "Warnings", "TrustIngredients"),
        *("KeyMetrics", "Resources", "Bibliography"),
    ),
    "BasicInfo": ("ModelName", "ModelDeveloper", "DeveloperContact"),
    "ReleaseInfo": (
        *("ReleaseStage", "ReleaseDate", "ReleaseVersion", "GlobalAvailability"),
        *("EHRCompatibility?", "RegulatoryApproval?"),
    ),
    "EHRCompatibility": ("EHR*",),
    "ModelSummary": ("Summary", "Keywords"),
    "Keywords": ("Keyword*",),
    "UsesAndDirections": (
        *("IntendedUseAndWorkflow", "PrimaryIntendedUsers", "HowToUse"),
        *("TargetedPatientPopulation", "CautionedOutOfScopeSettings"),
    ),
    "Warnings": ("KnownRisksAndLimitations", "KnownBiasesOrEthicalConsiderations", "ClinicalRiskLevel"),
    "TrustIngredients": ("AISystemFacts", "TransparencyInformation"),
    "AISystemFacts": (
        *("OutcomesAndOutputs", "ModelType", "FoundationModels?", "InputDataSource", "OutputAndInputDataTypes"),
        *("DevelopmentDataCharacterization", "BiasMitigationApproaches", "OngoingMaintenance"),
        *("Security?", "Transparency?"),
    ),
    "TransparencyInformation": ("FundingSource", "ThirdPartyInformation?", "StakeholdersConsulted"),
    "KeyMetrics": ("UsefulnessUsabilityEfficacy", "FairnessEquity", "SafetyReliability"),
    "UsefulnessUsabilityEfficacy": _METRIC,
    "FairnessEquity": _METRIC,
    "SafetyReliability": _METRIC,
    "Results": ("MetricResult+",),
    "MetricResult": ("Label", "ValueJson"),
    "Resources": (
        *("EvaluationReferences?", "ClinicalTrial?", "PeerReviewedPublications"),
        *("ReimbursementStatus?", "PatientConsentOrDisclosure"),
    ),
}


def problems(text: str) -> Iterator[str]:
    """What keeps a text from being a complete card: not well-formed, an element missing, empty or out of place."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        yield f"{CHAI_NAME} has a document type, which may name outside files"
        return
    try:
        root = ElementTree.fromstring(text.encode())
    except ElementTree.ParseError:
        yield f"{CHAI_NAME} is not well-formed XML"
        return
    if root.tag != _tag("AppliedModelCard"):
        yield f"{CHAI_NAME} has another root element than AppliedModelCard of {NAMESPACE}"
        return
    yield from (f"{CHAI_NAME}: {said}" for said in _misshapen(root))


def _misshapen(element: Element) -> Iterator[str]:
    name = element.tag.removeprefix(_tag(""))
    if name not in SHAPE:
        if len(element) or not (element.text or "").strip():
            yield f"{name} should hold text"
        return
    children = [child.tag.removeprefix(_tag("")) for child in element]
    missing = [one for one in SHAPE[name] if one[-1] not in "?*" and one.rstrip("+") not in children]
    pattern = "".join(_asked(one) for one in SHAPE[name])
    if missing:
        yield f"{name} lacks {', '.join(one.rstrip('+') for one in missing)}"
    elif not re.fullmatch(pattern, "".join(f"{child}/" for child in children)):
        yield f"{name} has elements that do not belong there, or in another order"
        return
    for child in element:
        yield from _misshapen(child)


def _asked(one: str) -> str:
    bare = one.rstrip("?*+")
    return f"(?:{re.escape(bare)}/){one[len(bare) :]}"


def _tag(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"

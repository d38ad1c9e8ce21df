"""What each file of a published folder is, in words; the card's last section."""

from hdt_fm.report.evidence import ATTRIBUTION_HTML, ATTRIBUTION_JSON, AUDIT_NAME, FAIRNESS_NAME
from hdt_fm.report.facts import PROVENANCE_NAME, RESULT_NAME, Facts
from hdt_fm.schema.imported import IMPORTED_NAME
from hdt_fm.schema.manifest import CONFIG_NAME, PREPROCESS_NAME, PROBE_NAME, SUMS_NAME, WEIGHTS_NAME

_ALWAYS = {
    "README.md": "this card",
    WEIGHTS_NAME: "the weights",
    CONFIG_NAME: "what rebuilds the model before its weights are filled in",
    PREPROCESS_NAME: "the signal contract: modality, channels, unit, rate, filters, polarity",
    PROBE_NAME: "a simulated input and what the model made of it",
    RESULT_NAME: "every number of the evaluation, unrounded, with its interval",
    PROVENANCE_NAME: "what all documents were made from: the card's words, data, run records, software",
    "chai_model_card.xml": "the fields of the CHAI applied model card, version 0.2",
    "tripod_ai.md": "the 27 items of TRIPOD+AI: where each is answered, or why not",
    "croissant.json": "the data described for machines (Croissant); no data",
    "sbom.cdx.json": "software and model card for machines (CycloneDX 1.6)",
    "CITATION.cff": "how to cite it",
    "LICENSE": "licences of code, weights and data, apart",
    SUMS_NAME: "a digest of every file",
}
_EVIDENCE = {
    AUDIT_NAME: "what attacks on the privacy of the people found",
    FAIRNESS_NAME: "for whom the model is worse, before and after fine-tuning, beside what chance makes",
    ATTRIBUTION_HTML: "why the model answers what it answers, its reliability first",
    ATTRIBUTION_JSON: "the data of that report",
    IMPORTED_NAME: "the file that the weights were imported from, by digest, and how its names became ours",
}


def contents(facts: Facts) -> dict[str, str]:
    """Name and meaning of each file that a folder of these facts has; a signature comes later, if at all."""
    here = ([AUDIT_NAME] if facts.audit else []) + ([ATTRIBUTION_HTML, ATTRIBUTION_JSON] if facts.attribution else [])
    here += ([FAIRNESS_NAME] if facts.fairness else []) + ([IMPORTED_NAME] if facts.imported else [])
    return _ALWAYS | {name: _EVIDENCE[name] for name in here}

"""`croissant.json`: the data described for machines (Croissant 1.1, JSON-LD); the recordings are not distributed.

Files are named by path and digest: who holds them can tell that they are the same. Nothing of a person stands here.
"""

import json
from typing import Any

from hdt_fm.report.data_facts import DataFacts
from hdt_fm.report.documents.readme import slug
from hdt_fm.report.facts import Facts

NAME = "croissant.json"
CONFORMS_TO = ("http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0")
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def make(facts: Facts) -> str:
    """One data set of all cohorts: a file a shard, a record set a cohort, a field a modality and a label."""
    card = facts.card
    described: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": list(CONFORMS_TO),
        "name": f"{slug(card.name)}-data",
        "description": f"Windows of wearable signals that {card.name} was made from. This file describes them; the "
        "recordings are not distributed with it.",
        "license": [one.licence for one in facts.data],
        "creator": {"@type": "sc:Organization", "name": card.authors or "unknown"},
        "url": next((one for one in (card.contact,) if one.startswith("https://")), "https://example.org"),
        "version": card.release or "0",
        "citeAs": "; ".join(one.source for one in facts.data),
        "isLiveDataset": False,
        "distribution": [one for cohort in facts.data for one in _files(cohort)],
        "recordSet": [_windows(cohort) for cohort in facts.data],
        **_responsible(facts),
    }
    if card.released:
        described["datePublished"] = card.released
    return json.dumps(described, indent=1, ensure_ascii=False) + "\n"


def _files(cohort: DataFacts) -> list[dict[str, Any]]:
    name = slug(cohort.cohort)
    return [
        {
            "@type": "cr:FileObject",
            "@id": f"{name}/{one.path}",
            "name": one.path,
            "description": "A shard: tar of blocks of windows; kept by its owner, named here by its digest.",
            "contentUrl": f"{name}/{one.path}",
            "contentSize": f"{one.bytes} B",
            "encodingFormat": "application/x-tar",
            "sha256": one.sha256,
        }
        for one in cohort.shards
    ] + [
        {
            "@type": "cr:FileSet",
            "@id": f"{name}/blocks",
            "name": f"{cohort.cohort}: blocks of windows",
            "description": "Members of the shards, one array a modality and block.",
            "containedIn": [{"@id": f"{name}/{one.path}"} for one in cohort.shards],
            "encodingFormat": "application/x-npy",
            "includes": "b*.npy",
        }
        for _ in cohort.shards[:1]
    ]


def _windows(cohort: DataFacts) -> dict[str, Any]:
    name = slug(cohort.cohort)
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"{name}/windows/{one.name}",
            "name": one.name,
            "description": f"{one.channels} channels of {one.samples} samples at {one.sampling_rate_hz:g} Hz, unit "
            f"{'arbitrary' if one.unit == 'au' else one.unit}; absent where it was not recorded.",
            "dataType": "sc:Float",
            "isArray": True,
            "arrayShape": f"{one.channels},{one.samples}",
            "source": _source(cohort, f"^b[0-9]+[.]({one.name})[.]npy"),
        }
        for one in cohort.signals
    ]
    fields += [
        {
            "@type": "cr:Field",
            "@id": f"{name}/windows/label_{label}",
            "name": f"label_{label}",
            "description": f"The label {label}; none where it is not known.",
            "dataType": "sc:Float",
            "source": _source(cohort, f"^b[0-9]+[.](y_{label})[.]npy"),
        }
        for label in cohort.labels
    ]
    return {
        "@type": "cr:RecordSet",
        "@id": f"{name}/windows",
        "name": f"{name}-windows",
        "description": f"{cohort.windows} windows of {cohort.window_s:g} s every {cohort.hop_s:g} s, of "
        f"{cohort.people} people in {cohort.visits} visits.",
        "field": fields,
    }


def _source(cohort: DataFacts, pattern: str) -> dict[str, Any]:
    return {
        "fileSet": {"@id": f"{slug(cohort.cohort)}/blocks"},
        "extract": {"fileProperty": "content"},
        "transform": {"regex": pattern},
    }


def _responsible(facts: Facts) -> dict[str, Any]:
    card = facts.card
    told = {
        "rai:dataCollection": "; ".join(f"{one.cohort}: {one.source}" for one in facts.data),
        "rai:dataPreprocessingProtocol": "preprocess.json of the published folder",
        "rai:dataLimitations": list(card.limits),
        "rai:dataBiases": list(card.biases),
        "rai:dataUseCases": [card.intended_use],
        "rai:dataSocialImpact": " ".join(card.risks),
        "rai:personalSensitiveInformation": [
            "Signals of bodies, pseudonymised, not anonymous: a waveform can identify a person.",
            *(f"{one.cohort}: {', '.join(one.covariates)}" for one in facts.data if one.covariates),
        ],
        "rai:dataReleaseMaintenancePlan": card.maintenance,
    }
    return {name: said for name, said in told.items() if said}

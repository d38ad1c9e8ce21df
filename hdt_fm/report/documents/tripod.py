"""`tripod_ai.md`: the 27 items of TRIPOD+AI, each with where it is answered or why it is not.

Titles are in our own words, by the order of the statement (Collins et al. 2024, doi:10.1136/bmj-2023-078378).
"""

from collections.abc import Callable
from typing import NamedTuple

from hdt_fm.report.data_facts import DataFacts
from hdt_fm.report.documents.answers import audit_said, subgroups_said
from hdt_fm.report.documents.readme import known_of_people
from hdt_fm.report.facts import Facts
from hdt_fm.report.spent import energy_said

NAME = "tripod_ai.md"
Answer = Callable[[Facts], str]


class Item(NamedTuple):
    """One of the 27, in its part of a paper."""

    part: str
    title: str
    answer: Answer


def make(facts: Facts) -> str:
    """The table, then what is not reported, counted."""
    rows = [(number, item, _cell(item.answer(facts))) for number, item in enumerate(ITEMS, start=1)]
    missing = [number for number, _, said in rows if "not reported" in said]
    lines = [
        f"# TRIPOD+AI: {facts.card.name}",
        "",
        "Where each of the 27 items is answered in this folder, or why not. This is an encoder with tasks that it is",
        "tried on, no clinical prediction model. Titles are in our own words.",
        "",
        "| item | part | what is asked | where it stands |",
        "| --- | --- | --- | --- |",
        *(f"| {number} | {item.part} | {item.title} | {said} |" for number, item, said in rows),
        "",
        f"Not reported, in whole or in part: {', '.join(map(str, missing)) or 'none'} of {len(ITEMS)}.",
    ]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def _typed(field: str, where: str = "") -> Answer:
    """An answer out of card.yaml."""

    def answer(facts: Facts) -> str:
        told = getattr(facts.card, field)
        said = "; ".join(told) if isinstance(told, tuple) else told
        place = f" ({where})" if where else ""
        return f"{said}{place}" if said else f"not reported: card.yaml says nothing of {field.replace('_', ' ')}"

    return answer


def _people(facts: Facts) -> str:
    return "; ".join(f"{one.cohort}: {one.people} people, {one.visits} visits" for one in facts.data)


def _missing(facts: Facts) -> str:
    dropped = "; ".join(f"{one.cohort}: {one.windows_possible - one.windows} windows dropped" for one in facts.data)
    return f"A modality that is not there is absent, never filled; {dropped} (README.md, Data; preprocess.json)"


def _characteristics(facts: Facts) -> str:
    known = known_of_people(facts.data)
    if not known:
        return f"not reported: nothing is known of the people beyond their number ({_people(facts)})"
    return f"README.md, Data: people by {', '.join(known)}; counts under 5 are not shown"


def _subgroups(facts: Facts) -> str:
    said = subgroups_said(facts)
    parts = said if facts.subgroup_rows else f"not reported ({said})"
    return f"README.md, Evaluation, with intervals over people; parts of the people: {parts}"


def _protocol(facts: Facts) -> str:
    splits = dict.fromkeys(str(one.protocol["split"]) for one in facts.results if "split" in one.protocol)
    return f"People are disjoint: {'; '.join(splits) or 'see result.json'} (result.json, protocol)"


def _updating(facts: Facts) -> str:
    if facts.updates:
        return "README.md, Heads that went on learning"
    return f"No head was taught on after the evaluation; upkeep: {facts.card.maintenance or 'card.yaml is silent'}"


def _open_science(facts: Facts) -> str:
    card = facts.card
    told = {
        "funding": card.funding,
        "conflicts of interest": card.interests,
        "protocol or registration": card.registration,
        "data": "; ".join(f"{one.cohort}, {one.licence}" for one in facts.data),
        "code": "hdt_fm, Apache-2.0",
    }
    return "; ".join(f"{name}: {said or 'not reported'}" for name, said in told.items())


def _imbalance(facts: Facts) -> str:
    named = [str(one.protocol["classes"]) for one in facts.results if one.protocol.get("classes")]
    told = f"; classes {', '.join(dict.fromkeys(named))}" if named else ""
    return f"AUROC and balanced accuracy do not hang on shares of classes; nothing was resampled{told} (result.json)"


def _specification(facts: Facts) -> str:
    return f"config.json and model.safetensors, sha256 {facts.weights_digest[:16]}...; hdt_fm.load rebuilds it strictly"


def _processing(one: DataFacts) -> str:
    return f"{one.cohort}: windows of {one.window_s:g} s every {one.hop_s:g} s"


def _sized(facts: Facts) -> str:
    return f"{_people(facts)}; no size was calculated beforehand"


def _environment(facts: Facts) -> str:
    return f"README.md, How to load and Signals; {energy_said(facts.records)} (README.md, Environmental impact)"


ITEMS = (
    Item(
        "title", "Say that it is a model, of what, for whom", lambda facts: f"{facts.card.name}: {facts.card.summary}"
    ),
    Item("abstract", "A summary of all", lambda facts: "README.md, first paragraph and Evaluation"),
    Item(
        "introduction",
        "Why it is needed, where it has its place, known inequalities",
        _typed("workflow", "README.md, Uses"),
    ),
    Item("introduction", "What was to be found out", _typed("intended_use", "README.md, Uses")),
    Item(
        "methods",
        "Where data came from and when",
        lambda facts: "; ".join(f"{one.cohort}: {one.source}" for one in facts.data),
    ),
    Item("methods", "Who took part, where, who was left out", _typed("target_population", "README.md, Data")),
    Item(
        "methods",
        "How data were prepared, alike for everyone",
        lambda facts: f"preprocess.json; {'; '.join(map(_processing, facts.data))}",
    ),
    Item(
        "methods",
        "What is predicted, how it was judged",
        lambda facts: (
            f"Labels {', '.join(dict.fromkeys(name for one in facts.data for name in one.labels)) or 'none'}; "
            "result.json, protocol of each table"
        ),
    ),
    Item(
        "methods",
        "What it is predicted from",
        lambda facts: f"{', '.join(one.name for one in facts.config.modalities)} (README.md, Signals; config.json)",
    ),
    Item("methods", "How many people and why so many", _sized),
    Item("methods", "What was done where data were missing", _missing),
    Item(
        "methods",
        "How it was made and judged: splits, choice of model, measures",
        lambda facts: f"{_protocol(facts)}; README.md, How it was made; provenance.json",
    ),
    Item("methods", "Rare classes", _imbalance),
    Item("methods", "What was done for fairness", _typed("bias_mitigation", "README.md, Risks and biases")),
    Item(
        "methods", "What comes out, and thresholds", lambda facts: "Embeddings and probabilities; no threshold is given"
    ),
    Item("methods", "How people of training and evaluation differ", _protocol),
    Item("methods", "Ethics approval and consent", _typed("ethics", "card.yaml")),
    Item("open science", "Funding, interests, protocol, registration, data, code", _open_science),
    Item("people", "Whether those concerned had a say", _typed("stakeholders", "card.yaml")),
    Item("results", "Flow of people and who they were", _characteristics),
    Item("results", "How many people and events each analysis had", lambda facts: "README.md, Evaluation, column n"),
    Item("results", "The whole model, so that others can use it", _specification),
    Item("results", "How well it does, with intervals, and in parts of the people", _subgroups),
    Item("results", "Whether it was updated, and what came of it", _updating),
    Item(
        "discussion",
        "What results mean, fairness included",
        lambda facts: f"README.md, Evaluation; {audit_said(facts)}",
    ),
    Item("discussion", "Limits", _typed("limits", "README.md, Limits")),
    Item("discussion", "What a user must have and do; what is next", _environment),
)

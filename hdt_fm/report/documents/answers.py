"""Sentences that several documents say alike, made from the records."""

from hdt_fm.report.documents.readme import in_header, known_of_people
from hdt_fm.report.facts import Facts
from hdt_fm.schema.result import Result, Row

NOT_MEASURED = "not measured"


def leading(facts: Facts) -> list[tuple[Result, Row]]:
    """The numbers that the card's header has."""
    return [(one, row) for one in facts.results for row in one.rows if in_header(one, row)]


def against_baselines(facts: Facts) -> str:
    """How many of the leading numbers are better than every baseline beside them; where `better` is known."""
    won = lost = 0
    for result, row in leading(facts):
        better = result.protocol.get("better", {}).get(row.metric)
        others = [
            one.value
            for one in result.rows
            if one.role != "ours" and (one.what, one.metric) == (row.what, row.metric) and one.value == one.value
        ]
        if better not in ("higher", "lower") or not others:
            continue
        ahead = row.value > max(others) if better == "higher" else row.value < min(others)
        won, lost = won + ahead, lost + (not ahead)
    return (
        f"{won} of {won + lost} leading numbers are better than every baseline beside them. A difference whose "
        "interval holds zero is no difference; result.json has all intervals."
    )


def subgroups_said(facts: Facts) -> str:
    """Whether parts of the people were told apart, and why not; what a fairness audit found."""
    found = f" {fairness_said(facts)}" if facts.fairness else ""
    if facts.subgroup_rows:
        names = dict.fromkeys(result.name for result, _ in facts.subgroup_rows)
        return f"{len(facts.subgroup_rows)} numbers of parts of the people in: {', '.join(names)}.{found}"
    known = known_of_people(facts.data)
    told = f" Known of the people: {', '.join(known)}." if known else ""
    where = "Not measured by the evaluation" if found else "Not measured"
    return f"{where}: {facts.card.subgroups_reason or 'no reason given'}{told}{found}"


def fairness_said(facts: Facts) -> str:
    """What a fairness audit found; nothing where there is none, since none is owed."""
    return " ".join(facts.fairness.found) if facts.fairness else ""


def audit_said(facts: Facts) -> str:
    """What a privacy audit found, or why there is none."""
    if facts.audit:
        return " ".join(facts.audit.found)
    return f"No privacy audit was made: {facts.card.privacy_audit_reason or 'no reason given'}"


def development_data(facts: Facts) -> str:
    """Cohorts in a sentence each."""
    return " ".join(
        f"{one.cohort}: {one.people} people, {one.visits} visits, {one.hours:g} hours of windows, "
        f"licence {one.licence}, consent {one.consent}; {one.source}."
        for one in facts.data
    )


def outputs_said(facts: Facts) -> str:
    """What the model gives back."""
    heads = ", ".join(facts.config.heads)
    return "One embedding for each modality of a window" + (f"; answers of the heads {heads}." if heads else ".")


def model_type(facts: Facts) -> str:
    """The kind of model in words."""
    fused = f", fused by {facts.config.fusion.name}" if facts.config.fusion else ""
    return f"Self-supervised encoder of wearable signals ({facts.config.encoder.name}{fused})"

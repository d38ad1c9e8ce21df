"""What is asked, in words: of the model, which anybody can ask of any map, or of the body, which needs assumptions."""

from hdt_fm.explain.causal.question import Question

BANNER = (
    "Attribution is not causation: a map shows what moved this model's output. It does not show what would happen in "
    "the body if something were changed."
)
NOT_ASKED = "No question about the body was stated, so no effect in the body was estimated."


def of_model(target: str) -> str:
    """What a map answers."""
    return (
        f"How this model's output ({target}) would change if parts of its input were replaced, and nothing else. This "
        "is about the model, not the body: nothing in the body was changed, and what moves the output need not move it."
    )


def of_body(question: Question) -> str:
    """What an estimate answers, in one sentence, and with whom a person is compared in another."""
    outcome, unit = question.said(question.outcome), f" ({question.unit})" if question.unit else ""
    held = [question.said(name) for name in question.adjusted]
    fixed = f", with {listed(held)} as {'it was' if len(held) == 1 else 'they were'}" if held else ""
    return (
        f"On average over people, by how much would {outcome}{unit} change {contrast(question)}{fixed}? "
        f"{compared(question)}"
    )


def contrast(question: Question) -> str:
    """One treatment against the other."""
    treatment = question.said(question.treatment)
    if question.form == "above_own_median":
        return f"if {treatment} were above a person's own median in every window, instead of in none"
    if question.form == "binary":
        return f"if there were {treatment} in every window, instead of in none"
    return f"for one unit more of {treatment} in every window"


def compared(question: Question) -> str:
    """Who is compared with whom."""
    if question.within_people:
        return "Each person is compared with themself alone, so that what stays the same in a person does not count."
    return "People are compared with each other too, so that what differs between them counts unless it is held fixed."


def untestable(question: Question) -> tuple[str, ...]:
    """What no number here can show."""
    treatment, outcome = question.said(question.treatment), question.said(question.outcome)
    unseen = listed([question.said(name) for name in question.unmeasured])
    nothing = f"Nothing unmeasured moves both {treatment} and {outcome}, beyond what is held fixed"
    return (
        f"{nothing}. The question itself names what may: {unseen}."
        if unseen
        else f"{nothing}. The question claims so.",
        f"What is in one window does nothing to {outcome} of a later one, or of another person.",
        f"{treatment[:1].upper()}{treatment[1:]} is one thing, whoever has it and whenever, and is measured as it was.",
        "Windows without a value are like those with one.",
        "The arrows are drawn as they point: what is held fixed comes before the treatment and is not changed by it.",
    )


def listed(names: list[str]) -> str:
    """a, b and c; nothing of nothing."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)

"""What an audit found, in sentences that a person without statistics can hold against a decision."""

from hdt_fm.audit.membership import THIS_MODEL, Membership
from hdt_fm.audit.reidentification import EVERYTHING
from hdt_fm.schema.result import Result, Row

CAUTION = (
    "An audit shows what these attacks found on these people. It is no proof that nothing can be found, and "
    "pseudonymised recordings of a body are not anonymous."
)


def membership_words(found: Membership) -> list[str]:
    """A sentence for each attack and target, then what so few people cannot show."""
    said = []
    for row in (row for row in found.result.rows if row.metric == "auroc" and row.role == "ours"):
        verdict = _against(row, 0.5)
        pairs = "" if row.what == THIS_MODEL else " pairs of a model and a person"
        whom = f"{row.columns['members']} members, {row.columns['others']} others{pairs}, {row.n} people"
        said.append(f"Membership, {row.what}, {row.model}: AUROC {_told(row)} ({whom}; chance .500): {verdict}.")
    for what in dict.fromkeys(one.what for one in found.unresolved):
        own = [one for one in found.unresolved if one.what == what]
        shares = " and ".join(f"{share:.1%}" for share in sorted({one.false_share for one in own}, reverse=True))
        said.append(
            f"Membership, {what}: members caught at {shares} false alarms are not resolvable: with {own[0].others} who "
            f"were not members, one false alarm is {own[0].smallest:.2%} of them."
        )
    return said


def reidentification_words(result: Result) -> list[str]:
    """A sentence for each group of people: all modalities (or the only one), all windows at once."""
    said = []
    for what in dict.fromkeys(row.what for row in result.rows):
        cohort, whom, modality, together = what.split(", ")
        if together != "all windows" or (modality != EVERYTHING and _has_everything(result, cohort, whom)):
            continue
        ours = max(_rank_one(result, what, "ours"), key=lambda row: row.value)
        floor = max(_rank_one(result, what, "baseline"), key=lambda row: row.value)
        chance = _rank_one(result, what, "reference")[0].value
        said.append(
            f"Re-identification, {what}: {_told(ours)} of {ours.n} people found at once ({ours.model}); {floor.model} "
            f"{_told(floor)}; chance {chance:.3f}: {_against(ours, chance)}."
        )
    return said


def _has_everything(result: Result, cohort: str, whom: str) -> bool:
    return any(row.what.startswith(f"{cohort}, {whom}, {EVERYTHING},") for row in result.rows)


def _rank_one(result: Result, what: str, role: str) -> list[Row]:
    return [row for row in result.rows if (row.what, row.metric, row.role) == (what, "rank-1", role)]


def _told(row: Row) -> str:
    bracket = "" if row.low is None or row.high is None else f" [{row.low:.3f}, {row.high:.3f}]"
    return f"{row.value:.3f}{bracket}"


def _against(row: Row, chance: float) -> str:
    if row.low is None or row.high is None:
        return "too few people to tell it from chance"
    # Below chance nothing leaks, and of few people who are all missed an interval has no width to say so.
    return "above chance" if row.low > chance else "not told from chance"

"""A plan's effect as the twin told it: what it found, what people do, what was tried against it. Nothing is made anew.

The record is that of a comparison of two plans (`hdt-fm twin what-if ... --json`); only what is named here is read, so
that no time of day and no reading of the person comes with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hdt_fm.schema.errors import ExplainError

SHOWN_MIN = (30, 60, 120, 180, 240)
_FAILS = "does not hold up"
_HOLDS = "holds up"


@dataclass(frozen=True, kw_only=True)
class PlanEffect:
    """One plan against another.

    Attributes:
        plan, against: In words.
        effects: Minutes from now, and the effect with its interval: `min`, `point`, `low`, `high`.
        support: For each plan whether people do so: `verdict`, `treatment`, `effective_size`, `widen`.
        refuters: `name`, `done`, `found`, `expected`, `allowed`, `passed`, in shares of the effect.
        sensitivity: Part of what is left of treatment and outcome that something unseen had to explain; None where the
            record was too short.
    """

    kind: str
    modality: str
    unit: str
    promised: float
    plan: str
    against: str
    verdict: str
    reasons: tuple[str, ...]
    effects: tuple[Mapping[str, Any], ...]
    support: Mapping[str, Mapping[str, Any]]
    refuters: tuple[Mapping[str, Any], ...]
    sensitivity: float | None
    assumptions: tuple[str, ...]
    caution: str

    @property
    def stamp(self) -> str:
        """pass, warn or fail, as the page colours its boxes."""
        return {_HOLDS: "pass", _FAILS: "fail"}.get(self.verdict, "warn")


def plan_effect_from(record: Mapping[str, Any]) -> PlanEffect:
    """What the page shows of a record of two plans.

    Raises:
        ExplainError: If the record lacks a part, or gives a plan that lies outside what people do.
    """
    try:
        made = _read(record)
    except (KeyError, TypeError) as error:
        # Another error's own message may quote what a person took.
        what = f"lacks {error}" if isinstance(error, KeyError) else "is of another form"
        raise ExplainError(
            f"The record of two plans {what}",
            where="causal, plan effect",
            expected="the whole record of `hdt-fm twin what-if ... --json`",
            fix="pass what_if.json as it was written",
        ) from None
    if any(one["verdict"] == "outside" for one in made.support.values()):
        raise ExplainError(
            "A plan outside what people do has no effect to show",
            where="causal, plan effect",
            fix="ask for another plan",
        )
    return made


def _read(record: Mapping[str, Any]) -> PlanEffect:
    kept = ("verdict", "treatment", "effective_size", "widen")
    tried = ("name", "done", "found", "expected", "allowed", "passed")
    return PlanEffect(
        kind=record["kind"],
        modality=record["modality"],
        unit=record["unit"],
        promised=record["promised"],
        plan=record["plans"]["plan"]["words"],
        against=record["plans"]["against"]["words"],
        verdict=record["verdict"]["name"],
        reasons=tuple(record["verdict"]["reasons"]),
        effects=tuple(
            {"min": one["min"], **{end: one["effect"][end] for end in ("point", "low", "high")}}
            for one in record["ahead"]
            if one["min"] in SHOWN_MIN
        ),
        support={name: {key: record["overlap"][name][key] for key in kept} for name in ("plan", "against")},
        refuters=tuple({key: one[key] for key in tried} for one in record["refuters"]),
        sensitivity=record["own"]["sensitivity"],
        assumptions=tuple(record["assumptions"]),
        caution=record["caution"],
    )

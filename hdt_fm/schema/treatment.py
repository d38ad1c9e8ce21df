"""What was given to a person, what might be, and plans of it: a kind, a dose in its unit, when, how long.

Kinds are modalities that are `given` (an amount: insulin in U, food in g, drugs in mg), and levels that are held for a
while (a pump's `insulin_rate` in U/h, `stimulation` in mA). A *treatment* was given and stands in the data; an
*intervention* is set by us; a *plan* is the interventions over a horizon, and an empty one says that nothing is given.
What nobody wrote down is in neither: it is unknown, and no dose of zero.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from hdt_fm.schema.errors import ConfigError, RecordingError, unknown_name
from hdt_fm.schema.modalities import DRUG, MODALITIES, modality

Route = Literal["subcutaneous", "intravenous", "oral", "device", "other"]
LEVELS = ("insulin_rate", "stimulation")
# What takes less is given at once.
AT_ONCE_S = 1.0
ROUTES: dict[str, Route] = {
    **dict.fromkeys(("bolus", "long_acting", "intermediate", "premixed", "insulin_rate"), "subcutaneous"),
    **dict.fromkeys(("carbs", "protein", "fat", "fibre"), "oral"),
    "insulin_iv": "intravenous",
    "stimulation": "device",
}
# A plan is spoken: `bolus 4 U; carbs 45 g in 10 min; insulin_rate 1.2 U/h for 60 min`.
_SPOKEN = re.compile(
    r"(?P<kind>[a-z][a-z0-9_]*)\s+(?P<dose>-?[0-9.]+)\s*(?P<unit>[A-Za-z%/^0-9]+)?"
    r"(?:\s+(?:now|in\s+(?P<onset>-?[0-9.]+)\s*min))?(?:\s+for\s+(?P<duration>-?[0-9.]+)\s*min)?"
)


def treatment_kinds() -> tuple[str, ...]:
    """Every kind by name; drugs go by `drug_<name>` besides."""
    return (*(name for name, entry in MODALITIES.items() if entry.given), *LEVELS)


@dataclass(frozen=True)
class Treatment:
    """One thing given, in the canonical unit of its kind.

    Attributes:
        kind: Of `treatment_kinds`, or `drug_<name>`.
        dose: All of an amount, also when it is given over a while; the height of a level.
        onset_s: From the origin of the plan, or on the person's calendar.
        duration_s: Below a second an amount is given at once. A level needs one.
        route: How it comes in; None is the usual one.
        assigned: Whether somebody's rule or lot set it, and not the person's own state; None is not known.

    Raises:
        UnknownNameError: If the kind is none.
        RecordingError: If the dose is one that nobody is given, or times make no sense.
    """

    kind: str
    dose: float
    onset_s: float = 0.0
    duration_s: float = 0.0
    route: Route | None = None
    assigned: bool | None = None

    def __post_init__(self) -> None:
        if self.kind not in treatment_kinds() and not DRUG.fullmatch(self.kind):
            raise unknown_name("treatment", self.kind, [*treatment_kinds(), "drug_<name>"], where="treatment.kind")
        entry = modality(self.kind)
        low, high = entry.plausible
        if not low <= self.dose <= high:
            raise RecordingError(
                "A dose is one that nobody is given",
                where=f"treatment {self.kind}",
                expected=f"{low:g} to {high:g} {entry.unit}",
                got="one outside, or no number",
                fix="correct the dose or its unit",
            )
        if not np.isfinite(self.onset_s) or not 0 <= self.duration_s < np.inf:
            raise RecordingError(
                "The times of a treatment make no sense",
                where=f"treatment {self.kind}",
                expected="a finite onset and a duration of 0 or more, in seconds",
                got=f"onset {self.onset_s:g}, duration {self.duration_s:g}",
            )
        if self.kind in LEVELS and self.duration_s < AT_ONCE_S:
            raise RecordingError(
                "A level is held for no time",
                where=f"treatment {self.kind}",
                expected="a duration, such as `for 60 min`",
                got="none",
            )

    @property
    def unit(self) -> str:
        return modality(self.kind).unit

    @property
    def way(self) -> Route:
        """The route, the kind's usual one where none was said."""
        return self.route or ROUTES.get(self.kind, "oral" if DRUG.fullmatch(self.kind) else "other")


@dataclass(frozen=True)
class Plan:
    """Interventions from the origin on; none is a plan too.

    Raises:
        ConfigError: If one begins before the origin.
    """

    interventions: tuple[Treatment, ...] = ()

    def __post_init__(self) -> None:
        early = [one.kind for one in self.interventions if one.onset_s < 0]
        if early:
            raise ConfigError(
                "A plan begins in the past",
                where="plan",
                expected="interventions from now on",
                got=f"{', '.join(early)} before now",
                fix="what was given before stands in the recording; leave it out of the plan",
            )

    @classmethod
    def spoken(cls, text: str) -> "Plan":
        """From words, such as `bolus 4 U; carbs 45 g in 10 min; insulin_rate 1.2 U/h for 60 min`; `nothing` is empty.

        Units are asked for: a number alone is how a unit slips.

        Raises:
            ConfigError: If a part cannot be read, or has no unit.
            UnknownNameError, UnitError, RecordingError: As `Treatment`, and of a unit that the kind does not have.
        """
        parts = [part.strip() for part in text.split(";") if part.strip()]
        if [part.lower() for part in parts] == ["nothing"]:
            return cls()
        if not parts:
            raise _unread(text or "nothing written")
        return cls(tuple(_spoken(part) for part in parts))

    def on_grid(self, kinds: Sequence[str], *, step_s: float, steps: int) -> Float[np.ndarray, "step kind"]:
        """What is given in each step after the origin: amounts as sums, levels as means over the step.

        Raises:
            ConfigError: If the plan holds a kind that is not asked for, or reaches beyond the steps.
        """
        strange = sorted({one.kind for one in self.interventions} - set(kinds))
        late = [one.kind for one in self.interventions if one.onset_s >= steps * step_s]
        if strange or late:
            raise ConfigError(
                "The plan does not fit what is asked",
                where="plan",
                expected=f"{', '.join(kinds)} within {steps * step_s / 60:g} min",
                got=", ".join([*strange, *(f"{name} later" for name in late)]),
                fix="take a checkpoint that knows the treatment, or leave it out of the plan",
            )
        out = np.zeros((steps, len(kinds)))
        edges = step_s * np.arange(steps + 1)
        for one in self.interventions:
            column = list(kinds).index(one.kind)
            if one.duration_s < AT_ONCE_S:
                out[int(one.onset_s // step_s), column] += one.dose
                continue
            end = one.onset_s + one.duration_s
            held_s = np.clip(np.minimum(edges[1:], end) - np.maximum(edges[:-1], one.onset_s), 0, None)
            out[:, column] += one.dose * held_s / (step_s if one.kind in LEVELS else one.duration_s)
        return out

    @property
    def words(self) -> str:
        """As `spoken` reads it."""
        return "; ".join(_words(one) for one in self.interventions) or "nothing"


def _spoken(part: str) -> Treatment:
    found = _SPOKEN.fullmatch(part)
    if found is None or found["unit"] is None:
        raise _unread(part)
    kind, unit = found["kind"], found["unit"]
    if kind not in treatment_kinds() and not DRUG.fullmatch(kind):
        raise unknown_name("treatment", kind, [*treatment_kinds(), "drug_<name>"], where="plan")
    try:
        dose, onset_s, duration_s = (float(found[name] or 0) for name in ("dose", "onset", "duration"))
    except ValueError:
        raise _unread(part) from None
    scale, offset = modality(kind).conversion(unit)
    return Treatment(kind, dose * scale + offset, onset_s=60 * onset_s, duration_s=60 * duration_s)


def _unread(part: str) -> ConfigError:
    return ConfigError(
        "A plan cannot be read",
        where="plan",
        expected="KIND DOSE UNIT [in N min] [for N min], parted by `;`, such as `bolus 4 U; carbs 45 g in 10 min`",
        got=part,
        fix="`nothing` is a plan too",
    )


def _words(one: Treatment) -> str:
    when = f" in {one.onset_s / 60:g} min" if one.onset_s else ""
    held = f" for {one.duration_s / 60:g} min" if one.duration_s else ""
    return f"{one.kind} {one.dose:g} {one.unit}{when}{held}"

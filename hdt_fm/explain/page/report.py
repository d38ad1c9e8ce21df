"""What one report is made of, checked once before anything of it is drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hdt_fm.explain.cohort.cells import MINIMUM_CELL
from hdt_fm.explain.explanation import Explanation, Reliability, Verdict
from hdt_fm.explain.methods import METHODS, Method
from hdt_fm.explain.page.section import Section
from hdt_fm.explain.page.shares import screened
from hdt_fm.schema.errors import ExplainError

Scope = Literal["window", "person", "cohort"]
Marks = Mapping[str, Sequence[NDArray[np.float64]]]


@dataclass(frozen=True)
class Report:
    """An examined explanation and what is told beside it.

    Attributes:
        explanation: Examined; the leading method is its first map.
        scope: Whether the windows are one, some of a person, or some of each person of a cohort; it decides what
            intervals are over. None where that is not said, and then there are none.
        output_unit: Of the output and of credit, such as `log-odds` or `mg/dL`; empty for a pure number.
        sections: Further parts, in their order on the page.
        alternative: The same windows by the same leading method against another reference.
        events: Per kind, such as `meal`, and window: seconds from its start.
        output_interval: (window, low and high) of the output, where its uncertainty is known.
        withheld: Whether all that draws a waveform is left out, event marks included, since beats tell as much.

    Raises:
        ExplainError: If it was not examined, does not fit together, or rests on too few people for its scope.
    """

    explanation: Explanation
    title: str = "Attribution report"
    scope: Scope | None = None
    output_unit: str = ""
    sections: Sequence[Section] = ()
    alternative: Explanation | None = None
    events: Marks = field(default_factory=dict)
    output_interval: NDArray[np.float64] | None = None
    withheld: bool = False

    def __post_init__(self) -> None:
        if self.explanation.reliability is None:
            raise ExplainError(
                "An explanation is not shown before it was examined",
                expected="`reliability` from hdt_fm.explain.gate.examine",
                fix="dataclasses.replace(explanation, reliability=examine(...))",
            )
        self._refuse_scope()
        self._refuse_misfits()

    @property
    def reliability(self) -> Reliability:
        assert self.explanation.reliability is not None
        checks = self.explanation.reliability.checks
        return Reliability(tuple(screened(one, self.explanation, self.scope) for one in checks))

    @property
    def verdict(self) -> Verdict:
        return self.reliability.verdict

    @property
    def methods(self) -> dict[str, Method]:
        """Rows of the methods that were run, the leading one first."""
        return {one.method: METHODS[one.method] for one in self.explanation.maps}

    @property
    def lead(self) -> Method:
        return METHODS[self.explanation.maps[0].method]

    @property
    def people(self) -> int:
        return len(np.unique(self.explanation.person))

    def credit_unit(self, method: Method) -> str:
        """Of a sum of a method's credit; a slope is per standard deviation of a channel, a layer has its own."""
        if method.grain == "layer":
            return "units of the layer"
        unit = self.output_unit or "units of the output"
        return unit if method.signs else f"{unit} per standard deviation"

    def _refuse_scope(self) -> None:
        windows = len(self.explanation)
        if self.scope == "cohort" and self.people < MINIMUM_CELL:
            raise ExplainError(
                "A cohort's report would tell of single people",
                where="scope",
                expected=f"windows of at least {MINIMUM_CELL} people",
                got=f"{self.people}",
                fix="take more people, or make a report of one person with that person's consent",
            )
        if self.scope in ("window", "person") and self.people != 1:
            raise ExplainError(
                f"A report of one {self.scope} got windows of several people",
                where="scope",
                got=f"{self.people} people",
                fix="choose one person, or scope='cohort'",
            )
        if self.scope == "window" and windows != 1:
            raise ExplainError(
                "A report of one window got several", where="scope", got=f"{windows} windows", fix="scope='person'"
            )

    def _refuse_misfits(self) -> None:
        windows = len(self.explanation)
        other = self.alternative
        if other is not None and (
            len(other) != windows
            or other.modalities != self.explanation.modalities
            or not np.array_equal(other.present, self.explanation.present)
            or other.target_index != self.explanation.target_index
            or other.maps[0].method != self.explanation.maps[0].method
        ):
            raise ExplainError(
                "The alternative reference belongs to another explanation",
                where="alternative",
                expected="the same windows, modalities, target and leading method",
                fix="call attribute again on the same batch with another `reference`",
            )
        for kind, times in self.events.items():
            if len(times) != windows:
                raise ExplainError(
                    f"Events of kind {kind!r} do not fit the windows",
                    where="events",
                    expected=f"{windows} arrays of seconds, one a window",
                    got=f"{len(times)}",
                )
        if self.output_interval is not None and self.output_interval.shape != (windows, 2):
            raise ExplainError(
                "The output's interval does not fit the windows",
                where="output_interval",
                expected=f"({windows}, 2): low and high of each",
                got=str(self.output_interval.shape),
            )
        keys = [section.key for section in self.sections]
        if len(set(keys)) != len(keys):
            raise ExplainError("Two sections have the same key", where="sections", got=", ".join(keys))

"""What was measured on planted signals: whether a method finds what is known to be there, by architecture."""

from dataclasses import dataclass

from hdt_fm.explain.explanation import Verdict


@dataclass(frozen=True)
class Fitness:
    """How well a method finds planted signals in models of one architecture.

    Attributes:
        method: Its name in `METHODS`.
        architecture: Whose models were asked, in words for the report.
        auprc: Area under precision and recall of the planted samples by |credit|, mean over plantings.
        low: Lower end of its 95 % interval over trained models.
        null: What a random map scores: the share of samples that are planted.
        share: Share of |credit| on the channel that holds the signal.
        verdict: Of whoever measured it: `fail` means that the method is unfit for the architecture.
    """

    method: str
    architecture: str
    auprc: float
    low: float
    null: float
    share: float
    verdict: Verdict

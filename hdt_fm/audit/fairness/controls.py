"""Made-up answers for controls of the fairness audit: with a gap that it must find, or with none."""

import numpy as np

from hdt_fm.audit.fairness.answers import Answers, Asked
from hdt_fm.audit.fairness.cells import Columns, columns_of

FOLDS = 5
# How much people differ among themselves in how much is missed of them: what makes gaps by chance.
BETWEEN = 0.5


def made_up(
    *,
    people: int,
    windows: int = 40,
    gap: float = 0.0,
    widened: float = 0.0,
    error_after: float = 0.7,
    seed: int = 0,
    kind: str = "value",
) -> tuple[Asked, list[Answers], Columns]:
    """People of two sexes, and answers of a floor, of a model before and of one after.

    Args:
        gap: By how much more is missed of the one sex before, in units of the noise.
        widened: And by how much more after.
        error_after: Noise of the model after, in that of the one before.
        kind: "value" or "class".
    """
    generator = np.random.default_rng(seed)
    second = np.arange(people) % 2
    person = np.repeat(np.arange(people), windows)
    own = np.exp(BETWEEN * generator.normal(size=people))
    fold = generator.permutation(np.arange(people) % FOLDS)[person]
    truth = generator.normal(size=len(person))
    answers = []
    for model, more, against in (("before", gap, None), ("after", gap + widened, "before")):
        spread = (own * (1 + more * second))[person] * (1.0 if model == "before" else error_after)
        answers.append((model, truth + spread * generator.normal(size=len(person)), against))
    columns = columns_of([{"sex": "FM"[one]} for one in second])
    given = [("training mean", np.zeros(len(person)), None), *answers]
    if kind == "value":
        asked = Asked("rate", truth, person, fold, (), "bpm", np.zeros((len(truth), 0)))
        scores = {name: values[:, None] for name, values, _ in given}
    else:
        asked = Asked(
            "state", (truth > 0).astype(np.float64), person, fold, ("rest", "stress"), "", np.full((len(truth), 2), 0.5)
        )
        scores = {name: _chances(values) for name, values, _ in given}
    when = {"training mean": "floor", "before": "before", "after": "after"}
    return (
        asked,
        [
            Answers(name, "baseline" if when[name] == "floor" else "ours", when[name], scores[name], against=against)  # type: ignore[arg-type]
            for name, _, against in given
        ],
        columns,
    )


def true_gap(gap: float) -> float:
    """The gap in mean absolute error of the model before, among all people that could be made up."""
    return float(np.sqrt(2 / np.pi) * np.exp(BETWEEN**2 / 2) * gap)


def _chances(values: np.ndarray) -> np.ndarray:
    second = 1.0 / (1.0 + np.exp(-np.clip(values, -30, 30)))
    return np.stack([1.0 - second, second], axis=1)

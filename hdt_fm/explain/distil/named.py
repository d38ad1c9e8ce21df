"""Named features of windows: what a student may read, each with its words, its unit and the modality that it is of."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Shaped

from hdt_fm.schema.errors import ExplainError

# A number that rests on fewer people than this is neither fitted nor shown.
MIN_PEOPLE = 5
# A leaf and all that is beside it need that many each.
FEWEST = 2 * MIN_PEOPLE
_STEPS = 50


@dataclass(frozen=True)
class Feature:
    """One column.

    Attributes:
        name: As `ppg.hr_mean_bpm`.
        words: As a clinician would say it: `PPG: heart rate`.
        unit: Empty for a bare number.
        modality: What it was measured on.
    """

    name: str
    words: str
    unit: str
    modality: str


@dataclass(frozen=True)
class NamedFeatures:
    """Features of windows, and whose windows they are.

    Attributes:
        values: NaN where a window does not allow the feature; never a number in its place.
        subject: Any integer that is equal for one person.

    Raises:
        ExplainError: If shapes differ, a name occurs twice, a value is infinite, or there are too few people.
    """

    features: tuple[Feature, ...]
    values: Float[np.ndarray, "_ _"]
    subject: Int[np.ndarray, " _"]

    def __post_init__(self) -> None:
        names = [one.name for one in self.features]
        expected = (len(self.subject), len(names))
        if self.values.shape != expected or not names:
            raise ExplainError(
                "Named features do not fit their names and people",
                expected=f"(window, feature) = {expected}, at least one feature",
                got=str(self.values.shape),
            )
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ExplainError("A feature's name occurs twice", got=", ".join(twice), expected="one column a name")
        if np.isinf(self.values).any():
            raise ExplainError(
                "A feature is infinite",
                where=", ".join(np.asarray(names)[np.isinf(self.values).any(axis=0)][:MIN_PEOPLE]),
                expected="finite values, or NaN where a window does not allow the feature",
            )
        if self.people < FEWEST:
            raise ExplainError(
                "Too few people for a student",
                expected=f"windows of at least {FEWEST} people: a rule must rest on {MIN_PEOPLE}, and so must its else",
                got=f"{self.people} people",
                fix="explain a cohort, or leave the students out of the report",
            )

    def __len__(self) -> int:
        return len(self.subject)

    @property
    def people(self) -> int:
        return len(np.unique(self.subject))

    @property
    def modalities(self) -> tuple[str, ...]:
        """In the order of the features."""
        return tuple(dict.fromkeys(one.modality for one in self.features))

    def over_modalities(self, parts: Float[np.ndarray, "some feature"]) -> Float[np.ndarray, "some modality"]:
        """Sums of a number of each feature over the features of a modality."""
        of = np.array([self.modalities.index(one.modality) for one in self.features])
        return np.stack([parts[:, of == number].sum(axis=1) for number in range(len(self.modalities))], axis=1)


def digits_of(values: Float[np.ndarray, " window"]) -> int:
    """Decimals in which a feature is told: a fiftieth of its spread or coarser; below 0 for tens and hundreds.

    Thresholds are rounded to these before anything is fitted: what is said is what is meant, and none need be the exact
    value of somebody.
    """
    known = values[np.isfinite(values)]
    low, high = np.quantile(known, (0.1, 0.9)) if len(known) else (0.0, 0.0)
    spread = high - low or float(np.ptp(known)) if len(known) else 0.0
    return int(-np.floor(np.log10(spread / _STEPS))) if spread > 0 else 0


def told(value: float, digits: int, unit: str = "") -> str:
    """A rounded number and its unit; no sign before 0."""
    text = f"{round(value, digits) + 0.0:.{max(digits, 0)}f}"
    return f"{text} {unit}" if unit else text


def people_of(subject: Int[np.ndarray, " window"], rows: Shaped[np.ndarray, " some"] | None = None) -> int:
    """How many people some windows are of."""
    return len(np.unique(subject if rows is None else subject[rows]))


def people_folds(subject: Int[np.ndarray, " window"], count: int, seed: int) -> Int[np.ndarray, " window"]:
    """The fold in which each window is tested: all windows of a person in one, as many people in each as can be."""
    people, code = np.unique(subject, return_inverse=True)
    fold = np.empty(len(people), dtype=np.int64)
    fold[np.random.default_rng(seed).permutation(len(people))] = np.arange(len(people)) % min(count, len(people))
    return fold[code]

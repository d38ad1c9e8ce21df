"""Facts about people -> the modality `static`: what training people teach of a column, and each person's values."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from hdt_fm.schema.batch import Signal
from hdt_fm.schema.covariates import Covariate, as_number, known
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.modalities import ARBITRARY, STATIC
from hdt_fm.schema.shard import ModalityColumn, SubjectRow

# Center and scale of fewer people would nearly give their values away, and stand in every checkpoint.
FEWEST_FOR_A_NUMBER = 5
# A level of one person would be a fact about that person in every checkpoint, and a vector learned from them alone.
FEWEST_FOR_A_LEVEL = 2


def learn_covariates(names: Sequence[str], people: Sequence[SubjectRow]) -> tuple[Covariate, ...]:
    """What these people teach of some columns, each person counted once; columns that tell nothing are left out.

    A column of numbers alone is standardised by its mean and standard deviation; any other has levels. Left out is a
    column of which fewer than five people are known (a number), which has fewer than two levels of two people each, or
    which is the same for all.

    Args:
        people: The training people. People of one group count as one, where it is asked how many.

    Raises:
        ConfigError: If a column mixes numbers and words: typing errors would become levels.
    """
    found = (_learned(name, people) for name in names)
    return tuple(column for column in found if column is not None)


def refuse_unlearned(names: Sequence[str], learned: Sequence[Covariate], people: Sequence[SubjectRow]) -> None:
    """Refuse columns that were asked for and tell nothing of the training people.

    Raises:
        ConfigError: Says of how many people the first one is known, and which columns there are.
    """
    for name in names:
        if name not in {column.name for column in learned}:
            there = sorted({key for one in people for key in one.covariates})
            raise ConfigError(
                f"The covariate {name!r} cannot be learned from",
                where="covariates",
                expected=f"a number known of {FEWEST_FOR_A_NUMBER} training people, or two levels of "
                f"{FEWEST_FOR_A_LEVEL} training people each; columns there are: {', '.join(there) or '(none)'}",
                got=f"known of {sum(known(one.covariates.get(name)) is not None for one in people)} of {len(people)}",
                fix="correct the name, leave it out, or give the cohort's covariates and run `hdt-fm shard` again",
            )


def _learned(name: str, people: Sequence[SubjectRow]) -> Covariate | None:
    said = [(word, one.group) for one in people if (word := known(one.covariates.get(name))) is not None]
    numbers = [number for word, _ in said if (number := as_number(name, word)) is not None]
    if numbers and len(numbers) < len(said):
        raise ConfigError(
            f"The covariate {name!r} mixes numbers and words",
            where="covariates",
            expected="numbers alone, or words alone",
            got=f"{len(numbers)} numbers, {len(said) - len(numbers)} words",
            fix="mend the subject table; leave a field empty where nothing is known",
        )
    if numbers:
        enough = len({group for _, group in said}) >= FEWEST_FOR_A_NUMBER
        scale = float(np.std(numbers))
        return Covariate(name=name, center=float(np.mean(numbers)), scale=scale) if enough and scale > 0 else None
    groups = defaultdict(set)
    for word, group in said:
        groups[word].add(group)
    levels = tuple(sorted(word for word, some in groups.items() if len(some) >= FEWEST_FOR_A_LEVEL))
    return Covariate(name=name, levels=levels) if len(levels) > 1 else None


@dataclass(frozen=True)
class StaticTable:
    """Each person's values, in the order of the manifest.

    Attributes:
        values: A number in its own unit, or the place of a level; 0 where not known.
    """

    values: Float[np.ndarray, "person column"]
    known: Bool[np.ndarray, "person column"]

    @classmethod
    def of(cls, columns: Sequence[Covariate], people: Sequence[SubjectRow]) -> "StaticTable":
        """Read the people's text by the columns."""
        read = [[column.read(one.covariates.get(column.name)) for column in columns] for one in people]
        shape = (len(people), len(columns))
        values = np.array([[value or 0.0 for value in row] for row in read], dtype=np.float32).reshape(shape)
        there = np.array([[value is not None for value in row] for row in read], dtype=np.bool_).reshape(shape)
        return cls(values, there)

    def features(self, columns: Sequence[Covariate], rows: Int[np.ndarray, " row"]) -> Float[np.ndarray, "row feature"]:
        """Numbers in their scale, and a flag for each level; NaN where not known. For heads that read no `static`."""
        found = [np.zeros((len(rows), 0))]
        for place, column in enumerate(columns):
            values, there = self.values[rows, place].astype(np.float64), self.known[rows, place]
            scaled = (values - column.center) / column.scale
            each = scaled[:, None] if column.is_number else values[:, None] == np.arange(len(column.levels))
            found.append(np.where(there[:, None], each, np.nan))
        return np.concatenate(found, axis=1)

    def signal(self, rows: Int[np.ndarray, " window"], column: ModalityColumn) -> Signal:
        """`static` of some windows, by the person of each."""
        values, there = torch.from_numpy(self.values[rows]), torch.from_numpy(self.known[rows])
        return Signal(values[:, None], there, column.sampling_rate_hz)


def static_column(columns: int, window_s: float) -> ModalityColumn:
    """How `static` lies in a batch: the columns side by side over the window, so that a share of them can be hidden."""
    rate_hz = columns / window_s
    return ModalityColumn(
        name=STATIC, unit=ARBITRARY, channels=1, sampling_rate_hz=rate_hz, samples=columns, encoding="f32"
    )

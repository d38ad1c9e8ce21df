"""What every implementation of the contrastive loss is given: the pairs, their rows, and who may not be a negative."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hdt_fm.schema.errors import ConfigError


@dataclass(frozen=True)
class Exclusion:
    """Rows of one person that lie within `within_s` of each other are no negatives of each other.

    Times are float64 and relative to the earliest: seconds since 1970 do not fit float32.

    Attributes:
        whole: Rows that say nothing of their moment: all rows of their person are no negatives of theirs, nor they of
            them. None where there is no such row.
    """

    subject: Int[Tensor, " row"]
    time_s: Float[Tensor, " row"]
    within_s: float
    whole: Bool[Tensor, " row"] | None = None

    def at(self, rows: Int[Tensor, " kept"]) -> "Exclusion":
        """The same rule for some of the rows."""
        whole = None if self.whole is None else self.whole[rows]
        return Exclusion(self.subject[rows], self.time_s[rows], self.within_s, whole)

    def block(self, start: int, stop: int) -> Bool[Tensor, "block row"]:
        """True where row `start + i` and row j are too near; True on the diagonal, which callers treat apart."""
        same = self.subject[start:stop, None] == self.subject[None, :]
        if self.within_s == math.inf:
            return same
        near = (self.time_s[start:stop, None] - self.time_s[None, :]).abs() <= self.within_s
        if self.whole is not None:
            near = near | self.whole[start:stop, None] | self.whole[None, :]
        return same & near


@dataclass(frozen=True)
class Pairs:
    """Pairs of modalities with the rows where both are present (two rows at least), and each pair's exclusion.

    One object holds all pairs, so that an implementation may do them in one launch.
    """

    embeddings: Float[Tensor, "modality batch dim"]
    pairs: tuple[tuple[int, int], ...]
    rows: tuple[Int[Tensor, " _"], ...]
    exclusions: tuple[Exclusion | None, ...]


def all_pairs(modalities: int) -> tuple[tuple[int, int], ...]:
    """(0, 1), (0, 2), ..., in the order of all results."""
    return tuple(itertools.combinations(range(modalities), 2))


def exclusion_of(
    subject: Int[Tensor, " batch"] | None, time_s: Float[Tensor, " batch"] | None, within_s: float | None
) -> Exclusion | None:
    """Check the three settings against each other.

    Raises:
        ConfigError: If `within_s` is negative or not a number, or what it needs was not given.
    """
    if within_s is None:
        return None
    if not within_s >= 0:
        raise ConfigError(
            "exclude_within_s cannot be used",
            expected="seconds >= 0, inf for all of a person, or None",
            got=f"{within_s}",
        )
    if subject is None or (time_s is None and not math.isinf(within_s)):
        raise ConfigError(
            "exclude_within_s needs to know who and when",
            expected="`subject`, and `time_s` unless exclude_within_s is inf",
            fix="pass them, or set exclude_within_s to None",
        )
    times = torch.zeros(len(subject), dtype=torch.float64, device=subject.device) if time_s is None else time_s.double()
    return Exclusion(subject, times - times.min() if len(times) else times, float(within_s))


def exclusions_of(
    pairs: Sequence[tuple[int, int]],
    of_person: Sequence[int],
    subject: Int[Tensor, " batch"] | None,
    time_s: Float[Tensor, " batch"] | None,
    within_s: float | None,
) -> tuple[Exclusion | None, ...]:
    """The exclusion of each pair: a modality that is the same in all of a person's windows can tell none of them from
    another, so in its pairs no window of the person is a negative.

    Args:
        of_person: Numbers of such modalities.

    Raises:
        ConfigError: As `exclusion_of`.
    """
    usual = exclusion_of(subject, time_s, within_s)
    whole = exclusion_of(subject, None, math.inf) if of_person else None
    return tuple(usual if set(of_person).isdisjoint(pair) else whole for pair in pairs)

"""What every implementation of the contrastive loss is given: the pairs, their rows, and who may not be a negative."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hdt_fm.ops.contrastive.rows import Rows
from hdt_fm.schema.errors import ConfigError, unknown_name

PRODUCTS = ("exact", "tf32", "bf16")
# What the search from the first modality of a pair counts, and that from the second.
SHARES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"both": (0.5, 0.5), "first": (1.0, 0.0), "second": (0.0, 1.0)}
)


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

    def block(self, start: int, stop: int, columns: slice = slice(None)) -> Bool[Tensor, "block column"]:
        """True where row `start + i` and a row of `columns` are too near; True on the diagonal, which callers treat
        apart."""
        same = self.subject[start:stop, None] == self.subject[None, columns]
        if self.within_s == math.inf:
            return same
        near = (self.time_s[start:stop, None] - self.time_s[None, columns]).abs() <= self.within_s
        if self.whole is not None:
            near = near | self.whole[start:stop, None] | self.whole[None, columns]
        return same & near


class OnePair(NamedTuple):
    """The rows of one pair that hold both modalities, two at least.

    Attributes:
        weight: Of each row in the pair's mean; adds up to 1.
        shares: Of the search from the first modality, and of that from the second.
    """

    query: Float[Tensor, "row dim"]
    key: Float[Tensor, "row dim"]
    exclusion: Exclusion | None
    weight: Float[Tensor, " row"]
    shares: tuple[float, float]


class PairLosses(NamedTuple):
    """What an implementation answers.

    Attributes:
        loss: Per pair, in nats; exactly 0, with gradients of exactly 0, where a pair has fewer than two rows.
        empty: Per pair the rows without any negative.
    """

    loss: Float[Tensor, " pair"]
    empty: Int[Tensor, " pair"]


@dataclass(frozen=True)
class Pairs:
    """Pairs of modalities, the rows where both are present, and each pair's exclusion.

    One object holds all pairs, so that an implementation may do them in one launch.

    Attributes:
        embeddings: In the precision that they came in; what absent rows hold is not read.
        both: Rows that a pair has.
        weight: Of each row; None where all count alike. Rows of weight 0 are still negatives of others.
        rows: Where the embeddings lie among the rows that all else is about, if other processes have the others.
    """

    embeddings: Float[Tensor, "modality row dim"]
    pairs: tuple[tuple[int, int], ...]
    both: Bool[Tensor, "pair batch"]
    exclusions: tuple[Exclusion | None, ...]
    weight: Float[Tensor, " batch"] | None = None
    direction: str = "both"
    products: str = "exact"
    rows: Rows | None = None

    def __post_init__(self) -> None:
        if self.direction not in SHARES:
            raise unknown_name("direction", self.direction, SHARES, where="ops/contrastive")
        if self.products not in PRODUCTS:
            raise unknown_name("precision of products", self.products, PRODUCTS, where="ops/contrastive")

    @property
    def exact(self) -> torch.dtype:
        """Precision of logits, sums and losses: float32, or float64 for float64 rows."""
        return torch.promote_types(self.embeddings.dtype, torch.float32)

    def each(self) -> Iterator[OnePair | None]:
        """The rows of each pair, gathered, in the precision of logits; None where there are fewer than two. Asks the
        device how many there are."""
        # Unbound once: backward then stacks gradients once, instead of adding one whole array for each pair and side.
        modalities = self.embeddings.unbind(0)
        for (i, j), here, rule in zip(self.pairs, self.both, self.exclusions, strict=True):
            rows = here.nonzero().squeeze(1)
            if len(rows) < 2:
                yield None
                continue
            whole = len(rows) == len(here)
            exclusion = rule if rule is None or whole else rule.at(rows)
            query, key = (self.rounded(modalities[k] if whole else modalities[k].index_select(0, rows)) for k in (i, j))
            yield OnePair(query, key, exclusion, self.weights(rows, query), SHARES[self.direction])

    def rounded(self, rows: Tensor) -> Tensor:
        """Rows in the precision of logits. Where products are to round them to bfloat16 they are rounded at once, so
        that positives, which no product gives, are those of the same rows."""
        return (rows.to(torch.bfloat16) if self.products == "bf16" else rows).to(self.exact)

    def nothing(self, scale: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """0 with a path to both inputs, so that backward gives zeros, whatever absent rows hold."""
        return self.embeddings[:, :0].sum().to(self.exact) + 0.0 * scale

    def none_empty(self) -> Int[Tensor, ""]:
        """The count of a pair that has too few rows to be asked: 0."""
        return torch.zeros((), dtype=torch.long, device=self.embeddings.device)

    def weights(self, rows: Int[Tensor, " row"], like: Tensor) -> Float[Tensor, " row"]:
        """Of some of the rows, adding up to 1; zeros where none counts."""
        if self.weight is None:
            return like.new_full((len(rows),), 1 / len(rows))
        own = self.weight.detach()[rows].to(like.dtype)
        total = own.sum()
        return torch.where(total > 0, own / total, 0.0)


def all_pairs(modalities: int) -> tuple[tuple[int, int], ...]:
    """(0, 1), (0, 2), ..., in the order of all results."""
    return tuple(itertools.combinations(range(modalities), 2))


def rows_of_pairs(
    present: Bool[Tensor, "batch modality"], pairs: Sequence[tuple[int, int]]
) -> Bool[Tensor, "pair batch"]:
    """Rows where both modalities of a pair are present."""
    if not pairs:
        return present.new_zeros(0, len(present))
    return torch.stack([present[:, i] & present[:, j] for i, j in pairs])


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

"""Several cohorts as one endless stream: each batch wholly from one of them, which one a pure function of the step."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import IterableDataset

from hdt_fm.data.ahead import in_order
from hdt_fm.data.loading import numbers_from
from hdt_fm.data.stream import OrderedBatches, Place, WindowStream, refuse_other
from hdt_fm.data.tables import AnyBatch
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.permutation import keyed_permutation

# Batches in which every cohort has exactly its share, to the nearest batch and at least one.
ROUND = 1000
# Names the draws of cohorts beside those of windows, which have the same seed.
COHORTS = 1_000_033


def cohort_shares(windows: Mapping[str, int], alpha: float) -> dict[str, float]:
    """Share of the batches of each cohort: proportional to its windows ** alpha.

    Args:
        windows: Training windows of each cohort.
        alpha: 1 by size, 0 all alike; between them small cohorts are seen more often than their size says.

    Raises:
        ConfigError: If alpha is outside 0 to 1, or a cohort has no window.
    """
    empty = [name for name, count in windows.items() if count < 1]
    if empty or not windows:
        raise ConfigError(
            "A cohort without a training window cannot be drawn from",
            got=", ".join(empty) or "no cohort",
            fix="leave it out, or give its people to training",
        )
    if not 0 <= alpha <= 1:
        raise ConfigError("cohort_alpha is out of range", where="cohort_alpha", expected="0 to 1", got=str(alpha))
    weights = {name: count**alpha for name, count in windows.items()}
    return {name: weight / sum(weights.values()) for name, weight in weights.items()}


class CohortMixture(IterableDataset[AnyBatch]):
    """Batches of several streams in turn, each with the columns of all modalities.

    Batch g is of cohort `cohort_of(g)` and is that cohort's next one: batch k of its own stream, where k of the
    batches before g were its. Both follow from (seed, g), so the whole state is g, and every process knows which
    cohort is next without asking. Of each cohort only the windows of one batch are in memory.

    Args:
        streams: By cohort; their `rank` and `world` are those of this process.
        modalities: Columns of every batch, those of the model.
        alpha: See `cohort_shares`.
        batches: Stop before this batch; None goes on for ever.
        threads: That make batches ahead, of whatever cohort is next; what each stream's `loading` says of buffers and
            codes holds, and its own threads rest.

    Raises:
        ConfigError: If a share is out of range, or a stream asks for worker processes.
    """

    def __init__(
        self,
        streams: Mapping[str, WindowStream],
        *,
        modalities: tuple[str, ...],
        alpha: float,
        seed: int,
        batches: int | None = None,
        threads: int = 0,
    ) -> None:
        if any(stream.maker.loading.workers for stream in streams.values()):
            raise ConfigError("A mixture has no worker processes", where="loading.workers", fix="use threads")
        self.threads = threads
        self.streams, self.modalities = dict(streams), modalities
        self.alpha, self.seed, self.batches = alpha, seed, batches
        self.shares = cohort_shares({name: len(stream.order) for name, stream in self.streams.items()}, alpha)
        self.batch_size = next(iter(self.streams.values())).batch_size
        self._names, self._quota = tuple(self.streams), _quota(np.array(list(self.shares.values())))
        self._round = lru_cache(maxsize=2)(self._make_round)
        self._place = Place()

    def cohort_of(self, number: int) -> str:
        """Whose windows batch `number` holds."""
        return self._names[int(self._round(number // ROUND)[0][number % ROUND])]

    def batch(self, number: int) -> AnyBatch:
        """Batch `number` (this process's slice of it), wherever the stream stands."""
        cohort = self.cohort_of(number)
        batch = self.streams[cohort].batch(self._own_number(number)).over(self.modalities)
        if isinstance(batch, Batch):
            return replace(batch, cohort=cohort)
        return replace(batch, rest=replace(batch.rest, cohort=cohort))

    def follow(self, finished: Callable[[], int]) -> None:
        """As of `WindowStream`."""
        self._place.follow(finished)

    @property
    def global_batch(self) -> int:
        """Number of the next batch that nobody has finished."""
        return self._place.number

    def __iter__(self) -> Iterator[AnyBatch]:
        return self._place.walk(
            lambda first: in_order(self.batch, numbers_from(first, self.batches), threads=self.threads)
        )

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers and text: where the mixture stands and what it draws from."""
        return self._identity() | {"global_batch": self.global_batch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the state was taken.

        Raises:
            CheckpointError: If the state is of other cohorts, shares, windows, seed or batch size.
        """
        refuse_other(state, self._identity())
        self._place.go_to(int(state["global_batch"]))

    def _own_number(self, number: int) -> int:
        cohorts, earlier = self._round(number // ROUND)
        place = number % ROUND
        return int(number // ROUND * self._quota[cohorts[place]] + earlier[place])

    def _make_round(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For each place of a round: the cohort's number, and its batches before that place."""
        cohorts = np.repeat(np.arange(len(self._quota)), self._quota)
        cohorts = cohorts[keyed_permutation(ROUND, self.seed, COHORTS, number)]
        earlier = np.zeros(ROUND, dtype=np.int64)
        for cohort, quota in enumerate(self._quota):
            earlier[cohorts == cohort] = np.arange(quota)
        return cohorts, earlier

    def _identity(self) -> dict[str, Any]:
        own = {f"{name}/{key}": value for name, one in self.streams.items() for key, value in one.identity().items()}
        return {"cohorts": ", ".join(self._names), "cohort_alpha": self.alpha, "cohort_seed": self.seed, **own}


class InTurn:
    """Fixed batches of several cohorts, one cohort after the other, each with the columns of all modalities."""

    def __init__(self, batches: Mapping[str, OrderedBatches], *, modalities: tuple[str, ...]) -> None:
        self.batches, self.modalities = dict(batches), modalities

    def __len__(self) -> int:
        return sum(len(one) for one in self.batches.values())

    def __iter__(self) -> Iterator[Batch]:
        for cohort, batches in self.batches.items():
            for batch in batches:
                yield replace(batch.over(self.modalities), cohort=cohort)


def _quota(shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """Batches of each cohort in a round, by largest remainders; none is left without."""
    exact = shares * ROUND
    quota = np.maximum(np.floor(exact).astype(np.int64), 1)
    while quota.sum() < ROUND:
        quota[np.argmax(exact - quota)] += 1
    while quota.sum() > ROUND:  # the batch of a cohort whose share is next to nothing is the largest one's
        quota[np.argmax(quota)] -= 1
    return quota

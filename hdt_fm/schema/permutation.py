"""The one source of order: permutations from a counter generator, equal on every machine.

Philox's raw numbers are fixed by numpy's stability promise for bit generators (the promise does not hold for
`Generator.permutation`), so the order written into a shard today can be made again in years.
"""

import numpy as np
from numpy.typing import NDArray

from hdt_fm.schema.errors import ConfigError

_LIMIT = 2**64


def keyed_permutation(count: int, seed: int, epoch: int = 0, part: int = 0) -> NDArray[np.int64]:
    """A permutation of range(count), a pure function of its arguments.

    Args:
        count: Length, 0 or more.
        seed: Whole number from 0 to 2**64 - 1, as are `epoch` and `part`.
        epoch: Second word of the Philox key.
        part: High word of the Philox counter, so that parts of an epoch never share numbers.

    Raises:
        ConfigError: If `seed`, `epoch` or `part` is out of range.
    """
    if not all(0 <= number < _LIMIT for number in (seed, epoch, part)):
        raise ConfigError("A seed, epoch or part is out of range", expected="whole numbers from 0 to 2**64 - 1")
    key, counter = np.array([seed, epoch], dtype=np.uint64), np.array([0, 0, 0, part], dtype=np.uint64)
    draws = np.random.Philox(key=key, counter=counter).random_raw(count)
    return np.argsort(draws, kind="stable").astype(np.int64, copy=False)

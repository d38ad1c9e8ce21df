"""Who each reference model learns from: a random half of the people, whole groups, drawn anew for each."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from hdt_fm.schema.errors import ConfigError


def random_halves(groups: Sequence[str], *, references: int, seed: int) -> Bool[np.ndarray, "reference person"]:
    """True where a reference learns from the person.

    Draws are independent: were they complements of each other, who is in the others would tell who is in the target.

    Args:
        groups: Group of each person; people of one group stay together.

    Raises:
        ConfigError: If there are fewer than four groups: a half of fewer is one, and no contrast among people.
    """
    names = sorted(set(groups))
    if len(names) < 4:
        raise ConfigError(
            "There are too few people to take halves of",
            where="audit.references",
            expected="four groups of people or more in each cohort",
            got=str(len(names)),
            fix="audit.references=0 audits with the threshold attack alone",
        )
    generator = np.random.default_rng(seed)
    halves = np.zeros((references, len(groups)), dtype=np.bool_)
    for row in halves:
        chosen = {names[number] for number in generator.permutation(len(names))[: len(names) // 2]}
        row[:] = [group in chosen for group in groups]
    return halves

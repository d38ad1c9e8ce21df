"""Facts about people as columns beside hand-made features: what the encoder reads, its opponents read too."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from hdt_fm.schema.covariates import as_number, known
from hdt_fm.schema.modalities import STATIC


def people_features(
    people: Sequence[Mapping[str, str]], columns: Sequence[str]
) -> tuple[Float[np.ndarray, "person feature"], tuple[str, ...]]:
    """Numbers as they are, levels as 0 and 1; NaN where not known. Nothing is fitted.

    Args:
        people: One mapping a person.
        columns: Those that the model reads.

    Returns:
        Features, and names as `static.bmi` and `static.sex=F`.
    """
    features, names = [], []
    for column in columns:
        words = [known(one.get(column)) for one in people]
        numbers = [None if word is None else as_number(column, word) for word in words]
        if all((word is None) == (number is None) for word, number in zip(words, numbers, strict=True)):
            features.append(np.array([np.nan if number is None else number for number in numbers]))
            names.append(f"{STATIC}.{column}")
            continue
        for level in sorted({word for word in words if word is not None}):
            features.append(np.array([np.nan if word is None else float(word == level) for word in words]))
            names.append(f"{STATIC}.{column}={level}")
    return np.stack(features, axis=1) if features else np.zeros((len(people), 0)), tuple(names)

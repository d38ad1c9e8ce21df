"""Class codes at a steady rate -> a label track."""

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import NS_PER_S, LabelTrack


def class_track(
    name: str, codes: NDArray[np.int64], *, rate_hz: float, start_ns: int, classes: Mapping[int, str]
) -> LabelTrack:
    """One interval for each stretch of one class; time of a code without a class has no label.

    Args:
        codes: One a sample, from `start_ns` on.
        classes: Code -> name; codes of one name are one class. The order of the names is that of the track.
    """
    names = tuple(dict.fromkeys(classes.values()))
    numbers = np.full(len(codes), -1, dtype=np.int64)
    for code, word in classes.items():
        numbers[codes == code] = names.index(word)
    new = np.flatnonzero(np.diff(numbers)) + 1
    first, stop = np.concatenate([[0], new]), np.concatenate([new, [len(numbers)]])
    kept = numbers[first] >= 0 if len(numbers) else np.zeros(1, dtype=np.bool_)
    starts, ends = (start_ns + np.rint(edge[kept] * (NS_PER_S / rate_hz)).astype(np.int64) for edge in (first, stop))
    return LabelTrack(name, "class", starts, ends, numbers[first[kept]].astype(np.float64), classes=names)


def check_codes(values: NDArray[np.floating] | NDArray[np.integer], known: Collection[int], *, where: str) -> None:
    """Refuse codes that the cohort's publisher does not name.

    Raises:
        ReaderError: If there is another; how many, never which or when.
    """
    other = int((~np.isin(values, np.array(sorted(known)))).sum())
    if other:
        raise ReaderError(
            "A label has a code that its publisher does not name",
            where=where,
            expected=f"whole numbers out of {', '.join(str(code) for code in sorted(known))}",
            got=f"{other} of {len(values)} with another",
            fix="take the files as they were published",
        )

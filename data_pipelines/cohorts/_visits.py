"""The iterator that every cohort gives: one visit at a time, and going on after one that cannot be read."""

from collections.abc import Callable, Iterator, Sequence

from hdt_fm.schema.errors import HdtError
from hdt_fm.schema.recording import Visit


class Visits(Iterator[Visit]):
    """Calls one function a visit, in order.

    A generator is finished by its first error; this one is not. Whoever calls `next` may catch an error of the
    package, count the visit as lost, and call `next` again for the visit after it.
    """

    def __init__(self, reads: Sequence[Callable[[], Visit]]) -> None:
        self._reads = reads
        self._position = 0

    def __len__(self) -> int:
        """Visits in all, read or not."""
        return len(self._reads)

    def __next__(self) -> Visit:
        if self._position >= len(self._reads):
            raise StopIteration
        read, self._position = self._reads[self._position], self._position + 1
        try:
            return read()
        except HdtError as error:
            # The name of a file is often a person's id, so the place is given by number.
            error.add_note(f"in visit {self._position} of {len(self._reads)}, in the order of file names")
            raise

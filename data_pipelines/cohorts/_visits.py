"""The iterator that every cohort gives: one visit at a time, and going on after one that cannot be read."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_pipelines.cohorts._twice import Seen, trace_of
from hdt_fm.schema.errors import HdtError
from hdt_fm.schema.recording import Visit


@dataclass(frozen=True)
class OneVisit:
    """How to read one visit, in this process or another: a function that can be pickled, without the subject key.

    Attributes:
        subject: The pseudonym where it is known before anything of the person is read, else empty.
        files: What `read` opens, as far as it is known beforehand; a folder stands for all that is in it.
    """

    read: Callable[[], Visit]
    subject: str = ""
    files: tuple[Path, ...] = ()

    def __call__(self) -> Visit:
        return self.read()


class Visits(Iterator[Visit]):
    """Calls one function a visit, in order.

    A generator is finished by its first error; this one is not. Whoever calls `next` may catch an error of the
    package, count the visit as lost, and call `next` again for the visit after it. Whoever has several processes reads
    `parts` in any order instead, and shows what `trace_of` tells of each to `seen()` in the order of the parts.

    Args:
        reads: `OneVisit`, or any function where neither person nor files are known beforehand.
        seen: Makes what refuses a visit for what earlier ones held; None where visits need not be compared.
    """

    def __init__(self, reads: Sequence[Callable[[], Visit]], *, seen: Callable[[], Seen] | None = None) -> None:
        self.parts = tuple(read if isinstance(read, OneVisit) else OneVisit(read) for read in reads)
        self.seen = seen
        self._earlier = seen() if seen else None
        self._position = 0

    def __len__(self) -> int:
        """Visits in all, read or not."""
        return len(self.parts)

    def __next__(self) -> Visit:
        if self._position >= len(self.parts):
            raise StopIteration
        place, self._position = self._position, self._position + 1
        try:
            visit = self.parts[place]()
            if self._earlier is not None:
                self._earlier.refuse(trace_of(visit))
        except HdtError as error:
            error.add_note(self.place_of(place))
            raise
        return visit

    def place_of(self, number: int) -> str:
        """Where a visit stands, in words; the name of a file is often a person's id."""
        return f"in visit {number + 1} of {len(self.parts)}, in the order of file names"

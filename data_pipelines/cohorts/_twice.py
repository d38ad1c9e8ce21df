"""One person under two ids, two people under one: found by comparing what the visits of one cohort hold."""

import hashlib
from dataclasses import dataclass, field

from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import Visit


@dataclass(frozen=True)
class Trace:
    """What must be known of a visit to compare it with others.

    Attributes:
        spans: Modality, start and end in ns, of recordings with a clock.
        contents: A digest of each recording's samples, of those that observed something.
    """

    subject: str
    group: str
    spans: tuple[tuple[str, int, int], ...]
    contents: tuple[bytes, ...]


def trace_of(visit: Visit) -> Trace:
    """Made where the visit was read, since its samples stay there."""
    recordings = visit.recordings.items()
    return Trace(
        visit.subject,
        visit.group,
        tuple((name, one.start_ns, one.end_ns) for name, one in recordings if one.start_ns != 0),
        tuple(
            hashlib.sha256(one.modality.encode() + one.values.tobytes()).digest()
            for _, one in recordings
            if one.observed.any()
        ),
    )


@dataclass
class Seen:
    """What earlier visits held.

    Attributes:
        fix: What to do about one person under two ids and about two people under one, in the words of the cohort.
    """

    fix: tuple[str, str]
    spans: dict[tuple[str, str], list[tuple[int, int]]] = field(default_factory=dict)
    contents: dict[bytes, str] = field(default_factory=dict)

    def refuse(self, trace: Trace) -> None:
        """Remember the next visit.

        Raises:
            ReaderError: If it cannot be beside the earlier ones.
        """
        for name, start, end in trace.spans:
            spans = self.spans.setdefault((trace.subject, name), [])
            if any(start < other_end and other_start < end for other_start, other_end in spans):
                raise ReaderError(
                    "Two people under one id: recordings of one modality overlap in time",
                    where=f"modality {name}, subject {trace.subject}",
                    expected="one recording of a modality at a time for a person",
                    fix=self.fix[1],
                )
            spans.append((start, end))
        for digest in trace.contents:
            if self.contents.setdefault(digest, trace.group) != trace.group:
                raise one_person_two_ids(self.fix[0])


def one_person_two_ids(fix: str) -> ReaderError:
    return ReaderError(
        "The same recording lies under two ids, so one person could be on both sides of a split",
        expected="one id a person, or a `group` that ties the two",
        fix=fix,
    )

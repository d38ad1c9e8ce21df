"""What a folder of recordings holds, over all its visits: what differs between them, and who is there twice."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import count
from statistics import median
from typing import Any, Literal

from data_pipelines.inspect import Fingerprint, SignalPrint, describe
from hdt_fm.schema.errors import HdtError
from hdt_fm.schema.recording import Visit

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class ModalitySurvey:
    """One modality over the visits that have it; counts are of visits, shares and sizes are medians over visits.

    Attributes:
        sampling_rates_hz: Every rate that occurs, with how many visits have it; the most common first.
        typical: Medians of the visits' 1st, 50th and 99th percentiles.
        off_nominal_ppm: Median over visits, with the widest; None where no visit can say.
        motion_share, contact_share: Medians of the artefacts; None for kinds without limits.
        worn_hours: Sum over visits; None for kinds that cannot tell.
        with_trouble: Visits that got a warning of this modality.
    """

    modality: str
    visits: int
    devices: tuple[str, ...]
    units: tuple[str, ...]
    channels: tuple[int, ...]
    sampling_rates_hz: tuple[tuple[float, int], ...]
    hours: float
    observed_share: float
    gaps_per_hour: float
    flat_share: float
    clipped_share: float
    repeated_share: float
    off_nominal_ppm: tuple[float, float] | None
    motion_share: float | None
    contact_share: float | None
    worn_hours: float | None
    typical: tuple[float, float, float] | None
    inverted: int
    upright: int
    with_trouble: int


@dataclass(frozen=True)
class Survey:
    """A folder at a glance: aggregates only, no id, no file name, no clock time.

    Attributes:
        refused: Why visits could not be taken, with how many of each; one person under two ids is among them.
        visit_hours: Median length of a visit.
    """

    formats: tuple[tuple[str, int], ...]
    people: int
    visits: int
    refused: tuple[tuple[str, int], ...]
    clocks: tuple[tuple[str, int], ...]
    visit_hours: float
    modalities: tuple[ModalitySurvey, ...]
    labels: tuple[tuple[str, int], ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain lists and mappings, for JSON."""
        return asdict(self)


def survey(visits: Iterator[Visit], *, total: int = 0, progress: Progress | None = None) -> Survey:
    """Read every visit of a cohort and describe all together; one that cannot be read is counted, not met again.

    Args:
        visits: See `cohorts/_visits.py`: after an error, `next` gives the visit after it.

    Raises:
        HdtError: The only error there was, if no visit could be read.
    """
    prints: list[Fingerprint] = []
    people: set[str] = set()
    refused: Counter[str] = Counter()
    last: HdtError | None = None
    for place in count():
        try:
            visit = next(visits, None)
        except HdtError as error:
            refused[error.problem], last, visit = refused[error.problem] + 1, error, None
        else:
            if visit is None:
                break
        if progress is not None:
            progress(place + 1, total, "inspect")
        if visit is None:
            continue
        people.add(visit.subject)
        prints.append(describe(visit, format=visit.source))
    if not prints and last is not None:
        raise last
    return Survey(
        formats=_counted(found.format for found in prints),
        people=len(people),
        visits=len(prints),
        refused=tuple(refused.most_common()),
        clocks=_counted(found.clock for found in prints),
        visit_hours=round(median(_hours(found) for found in prints), 4) if prints else 0.0,
        modalities=tuple(_modalities(prints)),
        labels=_counted(label.name for found in prints for label in found.labels),
    )


def _counted(words: Iterable[str]) -> tuple[tuple[str, int], ...]:
    return tuple(Counter(words).most_common())


def _hours(found: Fingerprint) -> float:
    return max((signal.duration_s for signal in found.signals), default=0.0) / 3600


def _modalities(prints: list[Fingerprint]) -> Iterator[ModalitySurvey]:
    names = sorted({signal.modality for found in prints for signal in found.signals})
    for name in names:
        own = [signal for found in prints for signal in found.signals if signal.modality == name]
        trouble = sum(any(text.startswith(f"{name}:") for text in found.warnings) for found in prints)
        yield _modality(name, own, trouble)


def _modality(name: str, own: list[SignalPrint], trouble: int) -> ModalitySurvey:
    typical = [signal.typical for signal in own if signal.typical is not None]
    rates = Counter(round(signal.sampling_rate_hz, 6) for signal in own)
    return ModalitySurvey(
        modality=name,
        visits=len(own),
        devices=tuple(sorted({signal.device for signal in own})),
        units=tuple(sorted({signal.source_unit for signal in own})),
        channels=tuple(sorted({len(signal.channels) for signal in own})),
        sampling_rates_hz=tuple(rates.most_common()),
        hours=round(sum(signal.duration_s for signal in own) / 3600, 4),
        observed_share=median(signal.observed_share for signal in own),
        gaps_per_hour=median(signal.gaps / max(signal.duration_s / 3600, 1e-9) for signal in own),
        flat_share=median(signal.flat_share for signal in own),
        clipped_share=median(signal.clipped_share for signal in own),
        repeated_share=max(signal.repeated_share for signal in own),
        off_nominal_ppm=_drift(own),
        motion_share=_artefact(own, "motion"),
        contact_share=_artefact(own, "contact"),
        worn_hours=_worn(own),
        typical=(_middle(typical, 0), _middle(typical, 1), _middle(typical, 2)) if typical else None,
        inverted=_polarity(own, "inverted"),
        upright=_polarity(own, "upright"),
        with_trouble=trouble,
    )


def _middle(typical: list[tuple[float, float, float]], place: int) -> float:
    return round(median(one[place] for one in typical), 4)


def _drift(own: list[SignalPrint]) -> tuple[float, float] | None:
    ppm = [signal.off_nominal_ppm for signal in own if signal.off_nominal_ppm is not None]
    return (round(median(ppm), 1), max(ppm, key=abs)) if ppm else None


def _artefact(own: list[SignalPrint], name: str) -> float | None:
    shares = [signal.artefacts[name] for signal in own if name in signal.artefacts]
    return median(shares) if shares else None


def _worn(own: list[SignalPrint]) -> float | None:
    hours = [signal.worn_hours for signal in own if signal.worn_hours is not None]
    return round(sum(hours), 4) if hours else None


def _polarity(own: list[SignalPrint], which: Literal["inverted", "upright"]) -> int:
    return sum(signal.polarity == which for signal in own)

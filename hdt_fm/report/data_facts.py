"""What a published folder says of the data: counts, units and digests of shards; nothing about a person."""

from collections.abc import Mapping

from hdt_fm.schema.covariates import as_number
from hdt_fm.schema.preparation import Plain
from hdt_fm.schema.shard import ShardManifest

SMALLEST_CELL = 5
NOT_KNOWN = "not known"


class SignalFacts(Plain):
    """One modality of a cohort as it lies in the shards."""

    name: str
    unit: str
    channels: int
    sampling_rate_hz: float
    samples: int


class ShardFacts(Plain):
    """One shard by its digest. `path` is inside the shard folder."""

    path: str
    bytes: int
    sha256: str


class DataFacts(Plain):
    """Counts of one cohort; nothing about a person, and no count below the smallest cell of a covariate.

    Attributes:
        signals, shards: Empty in folders that were published before they were written down.
    """

    cohort: str
    licence: str
    source: str
    people: int
    visits: int
    hours: float
    windows: int
    windows_possible: int
    quarantined: int
    window_s: float
    hop_s: float
    labels: tuple[str, ...]
    consent: str
    covariates: dict[str, dict[str, int | None]]
    config_digest: str
    input_digest: str
    signals: tuple[SignalFacts, ...] = ()
    shards: tuple[ShardFacts, ...] = ()


def data_facts(manifest: ShardManifest) -> DataFacts:
    """What a published folder says of the data in a shard folder."""
    counts: dict[str, dict[str, int]] = {}
    for row in manifest.subjects:
        for name, value in row.covariates.items():
            counts.setdefault(name, {}).setdefault(value, 0)
            counts[name][value] += 1
    for values in counts.values():
        # A cell as the others: the total less all that is known would tell of one person of whom nothing is.
        unknown = len(manifest.subjects) - sum(values.values())
        if unknown:
            values[NOT_KNOWN] = unknown
    entries = sorted((one for split in manifest.splits.values() for one in split), key=lambda one: one.path)
    return DataFacts(
        cohort=manifest.cohort,
        licence=manifest.licence,
        source=manifest.source,
        people=len(manifest.subjects),
        visits=manifest.counts.visits,
        hours=round(sum(row.hours for row in manifest.subjects), 2),
        windows=manifest.windows,
        windows_possible=manifest.counts.windows_possible,
        quarantined=manifest.counts.quarantined,
        window_s=manifest.header.window_s,
        hop_s=manifest.header.hop_s,
        labels=tuple(label.name for label in manifest.header.labels),
        consent=manifest.consent,
        covariates={name: _shown(values) for name, values in sorted(counts.items())},
        config_digest=manifest.config_digest,
        input_digest=manifest.input_digest,
        signals=tuple(
            SignalFacts(**one.model_dump(include=set(SignalFacts.model_fields))) for one in manifest.header.modalities
        ),
        shards=tuple(ShardFacts(path=one.path, bytes=one.bytes, sha256=one.sha256) for one in entries),
    )


def without_small_cells(counts: Mapping[str, int]) -> dict[str, int | None]:
    """Counts with None for those under the smallest cell.

    A single hidden count could be had from the total, so the next smallest is then hidden too.
    """
    by_size = sorted(counts, key=lambda value: (counts[value], value))
    hidden = [value for value in by_size if counts[value] < SMALLEST_CELL]
    if len(hidden) == 1:
        hidden = by_size[:2]
    return {value: None if value in hidden else counts[value] for value in sorted(counts)}


def _shown(counts: Mapping[str, int]) -> dict[str, int | None]:
    """Counts of a covariate; numbers under the smallest cell, such as exact ages, are not even named."""
    shown = without_small_cells(counts)
    unnamed = [value for value, count in shown.items() if count is None and as_number("", value) is not None]
    kept = {value: count for value, count in shown.items() if value not in unnamed}
    return kept | ({"other values": None} if unnamed else {})

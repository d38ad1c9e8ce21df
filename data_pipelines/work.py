"""Pass 1 of a build: each visit, cut into windows, as one work file that a later run can use again."""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import xxhash
from numpy.typing import NDArray

from data_pipelines.pack import Block, Packed, write_shard
from data_pipelines.ranges import Range, range_of
from data_pipelines.work_place import WorkPlace, put_rows
from hdt_fm.schema.codec import Codec
from hdt_fm.schema.errors import RecordingError
from hdt_fm.schema.modalities import modality as look_up_modality
from hdt_fm.schema.preparation import Plain, Preparation
from hdt_fm.schema.recording import Visit
from hdt_fm.schema.shard import LabelColumn, ModalityColumn, ShardHeader
from hdt_fm.signal.windows import Windows, cut

# Of what lies in a work folder; a number more, and what another hdt_fm left there is not used again.
WORK_VERSION = 4


class VisitFacts(Plain):
    """What the manifest needs to know of one visit; holds pseudonyms only.

    Attributes:
        ranges: By modality, where int16 is asked for.
        clocks: Offset in seconds of each recording that was to be aligned; None where nothing is known of it.
    """

    digest: str
    subject: str
    group: str
    covariates: dict[str, str]
    recordings: int
    windows: int
    possible: int
    dropped: int
    hours: float
    labels: tuple[LabelColumn, ...]
    ranges: dict[str, Range] = {}
    clocks: dict[str, float | None] = {}


def visit_digest(visit: Visit) -> str:
    """Digest of everything in a visit that can reach a shard."""
    state = xxhash.xxh3_128()

    def add(*parts: object) -> None:
        for part in parts:
            if isinstance(part, np.ndarray):
                state.update(f"{part.dtype.str}{part.shape}".encode())
                state.update(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
            else:
                state.update(f"{part!r}\x1f".encode())

    add(visit.subject, visit.group, sorted(visit.covariates.items()))
    for name in sorted(visit.recordings):
        recording = visit.recordings[name]
        add(name, float(recording.sampling_rate_hz), int(recording.start_ns), recording.values, recording.observed)
    for name in sorted(visit.labels):
        track = visit.labels[name]
        add(name, track.kind, track.unit, track.classes, track.start_ns, track.end_ns, track.values)
    return state.hexdigest()


def modality_columns(
    preparation: Preparation, codecs: Mapping[str, Codec] = MappingProxyType({})
) -> tuple[ModalityColumn, ...]:
    """Columns of a folder before its encoding is chosen: float32 all over."""
    return tuple(
        ModalityColumn(
            name=name,
            unit=look_up_modality(name).unit,
            channels=settings.channels,
            sampling_rate_hz=settings.sampling_rate_hz,
            samples=preparation.samples(name),
            encoding="f32",
            codec=codecs.get(name, "none"),
        )
        for name, settings in preparation.modalities.items()
    )


def cut_to_file(
    visit: Visit, preparation: Preparation, place: WorkPlace, *, digest: str, group: str, ranged: bool
) -> VisitFacts:
    """Cut a visit and write its work file, unless an earlier run did.

    Args:
        place: Where work files lie, sealed if the build is.
        digest: Name of the file: digest of the visit, its place in the cohort and the settings.
        group: The visit's, as a pseudonym.
        ranged: Whether its ranges will be asked for.

    Raises:
        RecordingError: If the visit cannot be prepared, or a window holds a number that is not finite.
    """
    record = place.path(f"{digest}.json")
    if record.exists():
        return VisitFacts.model_validate_json(place.read(record))
    windows = cut(visit, preparation)
    _check_finite(windows)
    labels = tuple(
        LabelColumn(name=name, kind=track.kind, unit=track.unit, classes=track.classes)
        for name, track in sorted(visit.labels.items())
    )
    header = ShardHeader(
        modalities=modality_columns(preparation), labels=labels, window_s=preparation.window_s, hop_s=preparation.hop_s
    )
    members = _members(windows) if len(windows) else {}
    _put_work(place, digest, header, members)
    found = {name: range_of(members, name) for name in preparation.modalities} if ranged else {}
    facts = VisitFacts(
        digest=digest,
        subject=visit.subject,
        group=group,
        covariates=dict(visit.covariates),
        recordings=sum(name in preparation.modalities for name in visit.recordings),
        windows=len(windows),
        possible=windows.possible,
        dropped=windows.dropped,
        hours=_hours(windows.starts_ns, preparation.window_s),
        labels=labels,
        ranges={name: part for name, part in found.items() if part is not None},
        clocks={name: fit.offset_s for name, fit in windows.clocks.items()},
    )
    place.write(record, facts.model_dump_json().encode())
    return facts


def _put_work(place: WorkPlace, digest: str, header: ShardHeader, members: Mapping[str, np.ndarray]) -> None:
    if place.public:
        put_rows(place, digest, header, members)
    else:
        put_shard(place.rows(digest), header, [(0, members)] if members else [], private=place.folder)


def put_shard(path: Path, header: ShardHeader, blocks: Iterable[Block], *, private: Path) -> Packed:
    """Write a shard where nobody else writes, then rename it into place, the index first.

    Two processes may do this at once, and either may end at any time: what lies at `path` is whole.

    Args:
        private: An existing folder on the same disk.
    """
    own = private / f"own-{secrets.token_hex(8)}"
    own.mkdir()
    try:
        packed = write_shard(own / path.name, header, blocks)
        for name in (path.with_suffix(".idx").name, path.name):
            os.replace(own / name, path.with_name(name))
    finally:
        shutil.rmtree(own, ignore_errors=True)
    return packed


def digest_of(value: object) -> str:
    """SHA-256 of plain data, the same for equal data."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file, or of all files below a folder, without any name in it."""
    if path.is_dir():
        inside = sorted(file_digest(child) for child in path.rglob("*") if child.is_file())
        return hashlib.sha256(json.dumps(inside).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _members(windows: Windows) -> dict[str, np.ndarray]:
    members: dict[str, np.ndarray] = {}
    for column, name in enumerate(windows.modalities):
        if windows.present[:, column].any():
            observed = windows.observed[name] & windows.present[:, column, None]
            values = np.where(observed[:, None, :], windows.signals[name], np.float32(0)).astype("<f4", copy=False)
            members[name], members[f"{name}_observed"] = values, np.packbits(observed, axis=1)
    members["mask"] = windows.present.astype(np.uint8)
    members["sqi"] = windows.quality.astype("<f2")
    members["t0"] = windows.starts_ns.astype("<i8", copy=False)
    members |= {f"y_{name}": windows.labels[name].astype("<f4", copy=False) for name in sorted(windows.labels)}
    return members


def _check_finite(windows: Windows) -> None:
    for name, values in windows.signals.items():
        if not np.isfinite(np.where(windows.observed[name][:, None, :], values, 0)).all():
            raise RecordingError(
                "A prepared window holds a number that is not finite",
                where=f"recording of {name}",
                fix="mark such samples as not observed in the reader",
            )


def _hours(starts_ns: NDArray[np.int64], window_s: float) -> float:
    """Time covered by the windows, overlap counted once."""
    steps = np.diff(starts_ns) / 1e9
    return round((np.minimum(steps, window_s).sum() + window_s * bool(len(starts_ns))) / 3600, 6)

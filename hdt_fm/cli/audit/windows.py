"""Which windows of each person are looked at, and what makers of features say of them."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Int

from hdt_fm.audit.reidentification import Seen
from hdt_fm.audit.sessions import NEITHER, two_sessions
from hdt_fm.checkpoint.model import Model
from hdt_fm.cli.audit.members import Roll
from hdt_fm.cli.progress import Report
from hdt_fm.cli.settings import AuditSettings
from hdt_fm.cli.workflow import complete
from hdt_fm.data.shards import ShardFolder
from hdt_fm.evaluation.hand_features import feature_table
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.modalities import STATIC

# Windows that are embedded at a time; it bounds memory and changes nothing.
AT_ONCE = 128


def spread_over(positions: Int[np.ndarray, " window"], most: int) -> Int[np.ndarray, " chosen"]:
    """At most so many of them, evenly spread, in their order."""
    if len(positions) <= most:
        return positions
    return positions[np.unique(np.linspace(0, len(positions) - 1, most).round().astype(int))]


def in_time(folder: ShardFolder, row: int) -> Int[np.ndarray, " window"]:
    """Positions of a person's windows, in order of time."""
    own = np.flatnonzero(folder.subject_rows == row)
    return own[np.argsort(folder.t0_ns[own], kind="stable")]


def batches_of_people(roll: Roll, model: Model, most: int) -> Iterator[Batch]:
    """The windows of each person on the roll as one batch."""
    folders = [folder.with_static(model.config.covariates) for folder in roll.cohorts.folders.values()]
    for number, row in zip(roll.cohort, roll.row, strict=True):
        folder = folders[number]
        yield folder.gather(spread_over(in_time(folder, int(row)), most))


def seen_windows(
    roll: Roll,
    cohort: int,
    people: Bool[np.ndarray, " person"],
    whom: str,
    models: dict[str, Model],
    settings: AuditSettings,
    progress: Report,
) -> Seen:
    """Windows of some people of one cohort in two sessions, as the models and hand-made features see them.

    Raises:
        ConfigError: If fewer than two of them have two sessions.
    """
    folder = list(roll.cohorts.folders.values())[cohort]
    chosen = [in_time(folder, int(row)) for row in roll.row[people]]
    positions = np.concatenate(chosen)
    time_s = folder.t0_ns[positions] / 1e9
    parted = two_sessions(
        folder.subject_rows[positions].astype(np.int64),
        time_s,
        window_s=folder.header.window_s,
        gap_s=settings.gap_s,
        apart_s=settings.apart_s,
    )
    # Of each session its own share, so that both stay where the parting left them.
    kept = _some_of_each(folder.subject_rows[positions], parted.session, settings.link_windows // 2)
    names = tuple(name for name in folder.modalities if name != STATIC)
    features, present = _features(folder, positions[kept], names, models, progress)
    sessions = type(parted)(parted.session[kept], parted.kinds)
    return Seen(
        whom=whom,
        cohort=roll.names[cohort],
        subject=folder.subject_rows[positions[kept]].astype(np.int64),
        sessions=sessions,
        features=features,
        present=present,
    )


def _some_of_each(
    subject: Int[np.ndarray, " window"], session: Int[np.ndarray, " window"], most: int
) -> Int[np.ndarray, " chosen"]:
    kept = [
        spread_over(np.flatnonzero((subject == person) & (session == one)), most)
        for person in np.unique(subject)
        for one in np.unique(session[session != NEITHER])
    ]
    return np.sort(np.concatenate(kept))


@torch.no_grad()
def _features(
    folder: ShardFolder,
    positions: Int[np.ndarray, " window"],
    names: Sequence[str],
    models: dict[str, Model],
    progress: Report,
) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, np.ndarray]]:
    rates = {column.name: column.sampling_rate_hz for column in folder.header.modalities}
    found: dict[str, dict[str, list[np.ndarray]]] = {
        maker: {name: [] for name in names} for maker in (*models, "hand features")
    }
    parts = [positions[start : start + AT_ONCE] for start in range(0, len(positions), AT_ONCE)]
    for number, part in enumerate(parts):
        batch = folder.gather(part)
        for maker, model in models.items():
            own = folder.with_static(model.config.covariates).gather(part).to(model.device)
            values = model.embed(own).values.float().cpu().numpy()
            for name in names:
                found[maker][name].append(values[:, model.modalities.index(name)])
        signals = complete(batch, folder)
        table, columns = feature_table(
            {name: signal.values.numpy() for name, signal in signals.items()},
            {name: signal.observed.numpy() for name, signal in signals.items()},
            batch.present.numpy(),
            rates,
        )
        for name in names:
            found["hand features"][name].append(table[:, [one.startswith(f"{name}.") for one in columns]])
        progress(number + 1, len(parts), "features")
    features = {maker: {name: np.concatenate(some) for name, some in own.items()} for maker, own in found.items()}
    present = {name: folder.present[positions, folder.modalities.index(name)] for name in names}
    return features, present

"""A twin as a folder: its state in a folder of versions, and the checkpoint that it was made with."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hdt_fm.checkpoint import Model, load_preprocess, model_digest
from hdt_fm.checkpoint.version_folder import place_of
from hdt_fm.checkpoint.versions import Versions
from hdt_fm.cli.series import risk_name
from hdt_fm.cli.twin.arguments import is_twin
from hdt_fm.cli.twin.asked import AskedHead
from hdt_fm.cli.twin.nights import Given
from hdt_fm.cli.twin.person import is_simulated
from hdt_fm.cli.twin.readings import SEEN_S, SIMULATED, Readings, brought
from hdt_fm.cli.twin.window import Came, Whose, check_whose, whose_digest
from hdt_fm.schema import registry
from hdt_fm.schema.errors import CheckpointError, ConfigError, HdtError, ReaderError, RecordingError
from hdt_fm.schema.modalities import modality
from hdt_fm.schema.preparation import ModalityPreparation
from hdt_fm.schema.series import ForecastTask
from hdt_fm.schema.subject import SubjectKey
from hdt_fm.twin.state.answer import local
from hdt_fm.twin.state.kept_nights import with_nights
from hdt_fm.twin.state.state import Reference, TwinState, load_state, needed_s
from hdt_fm.twin.state.stream import Absorbed, absorb
from hdt_fm.twin.state.tracks import Counts
from hdt_fm.twin.state.watched import watch_for

PLANS = "plan_response"


@dataclass(frozen=True)
class Brain:
    """A checkpoint whose head forecasts, loaded."""

    model: Model
    asked: AskedHead
    preparation: ModalityPreparation
    reference: Reference


@dataclass
class Kept:
    """An open twin."""

    folder: Path
    versions: Versions
    state: TwinState


def open_twin(folder: Path) -> Kept:
    """The newest version.

    Raises:
        ReaderError: If there is none.
        CheckpointError: If it is damaged, of a later version or no twin's.
    """
    if not is_twin(folder):
        raise ReaderError(
            "There is no twin in this folder",
            expected="a folder that `hdt-fm twin create` made",
            got="a folder without a ledger" if folder.is_dir() else "no folder",
            fix="look for a slip in the path, or make one: hdt-fm twin create PATH checkpoint=FOLDER --to FOLDER",
        )
    versions = Versions(folder)
    with versions.opened() as files:
        return Kept(folder, versions, load_state(files))


def brain_of(checkpoint: str) -> Brain:
    """A checkpoint for a new twin.

    Raises:
        CheckpointError, ConfigError: If it has no head that forecasts, or prepares signals in a way that no stream can.
    """
    from hdt_fm.cli.twin.forecast import head_of

    model, head, task = head_of(checkpoint)
    preparation = load_preprocess(checkpoint).prepared(task.modality)
    _check_streams(preparation)
    needed = needed_s(task, model.config.window_s)
    heads = model.config.heads
    # These heads look at the whole record that a forecast would read.
    further = risk_name(task.modality) in heads or any(one.name == PLANS for one in heads.values())
    reference = Reference(
        digest=model_digest(model),
        place=checkpoint,
        task=task,
        how="mean" if preparation.resampling == "mean" else "newest",
        needed_s=needed,
        kept_s=max(needed, SEEN_S) if further else needed,
    )
    return Brain(model, AskedHead(model, head, task), preparation, reference)


def brain_for(state: TwinState, settings: Mapping[str, str]) -> Brain:
    """The checkpoint that a twin was made with, where it was or where `checkpoint` says that it is now.

    Raises:
        CheckpointError: If it is another one, or not there.
    """
    place = settings.get("checkpoint") or state.reference.place
    try:
        found = brain_of(place)
    except HdtError as error:
        if "checkpoint" in settings:
            raise
        raise CheckpointError(
            "The checkpoint that the twin was made with cannot be opened where it was",
            where="checkpoint",
            got=error.problem,
            fix="say checkpoint=FOLDER, where it is now; the twin knows it by its digest",
        ) from error
    if found.reference.digest != state.reference.digest:
        raise CheckpointError(
            "This is another checkpoint than the one that the twin was made with",
            where="checkpoint",
            expected=f"the digest {state.reference.digest[:12]}",
            got=found.reference.digest[:12],
            fix="give that checkpoint, or let the twin go over to this one: hdt-fm twin move FOLDER checkpoint=NEW",
        )
    return found


def new_state(brain: Brain) -> TwinState:
    """Of somebody of whom nothing was read."""
    return TwinState(
        reference=brain.reference,
        learned=brain.asked.new_person(),
        salt=secrets.token_hex(16),
        watch=watch_for(brain.asked.task),
    )


def take_in(state: TwinState, came: Came, brain: Brain) -> Absorbed:
    """Absorb a window, and remember whose it is."""
    state.reference = replace(state.reference, place=brain.reference.place)
    found = absorb(state, came.window, brain.asked)
    _remember(state, came.whose)
    return found


def take_in_nights(state: TwinState, given: Given, path: Path, *, confirmed: bool, cohort: bool) -> tuple[Counts, str]:
    """Keep nights for alerts; what became of them, and a digest of what came in.

    Raises:
        RecordingError, ConfigError: If they are somebody else's, or nobody can say.
    """
    nights, counts = with_nights(state.nights, given.nights)
    # A table holds no id: its name is all that can tell.
    whose = Whose(given.source, SubjectKey.public().pseudonym("nights", path.resolve().name), cohort)
    check_whose(state, whose, counts, confirmed=confirmed, what="nights", of="nights")
    state.nights = nights
    _remember(state, whose)
    content = given.nights.dates.astype(np.int64).tobytes() + given.nights.values.tobytes()
    return counts, f"sha256:{hashlib.sha256(content).hexdigest()}"


def _remember(state: TwinState, whose: Whose) -> None:
    state.whose[whose.read_as] = whose_digest(state.salt, whose.subject)


def readings_of(state: TwinState, task: ForecastTask) -> Readings:
    """All that is kept, as a head is told it that asks for a whole record.

    Raises:
        RecordingError: If nothing was read yet.
    """
    check_read(state)
    series, given = local(state, task)
    notes = [brought(state.step_s, task)] if abs(state.step_s - task.step_s) > 0.01 * task.step_s else []
    if any(name in registry.names("cohorts") and is_simulated({"cohort": name}) for name in state.source):
        notes.append(SIMULATED)
    notes += [f"nothing is known here of {modality(name).label.lower()}" for name in task.treatments if not given[name]]
    return Readings(
        series=series,
        times_s=state.readings.times_s + state.offset_s,
        values=state.readings.values.astype(np.float64),
        age_s=0.0,
        clock=state.clock,
        source=" and ".join(state.source),
        given=given,
        notes=tuple(notes),
    )


def check_read(state: TwinState) -> None:
    """Refuse to answer of somebody of whom nothing was read.

    Raises:
        RecordingError: If nothing was.
    """
    if not len(state.readings):
        raise RecordingError(
            "The twin has read nothing yet",
            expected="a first export",
            fix="hdt-fm twin update FOLDER PATH",
        )


def bytes_of(versions: Versions) -> int:
    """Of the files of the version in use, as they lie."""
    place = place_of(versions.folder, versions.number)
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())


def _check_streams(preparation: ModalityPreparation) -> None:
    """Nothing that looks ahead, or at other recordings, can be done to readings as they come."""
    plain = ModalityPreparation(
        sampling_rate_hz=preparation.sampling_rate_hz, resampling=preparation.resampling, source=preparation.source
    )
    if preparation != plain:
        raise ConfigError(
            "The checkpoint's windows were filtered or cleaned, which a twin cannot do to readings as they come",
            where="preparation",
            expected="preparation=glucose_5min or glucose_15min, or others without a filter",
            fix="shard, pretrain and finetune with one of them",
        )

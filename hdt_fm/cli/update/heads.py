"""Which heads `hdt-fm update` can teach, and what a kind of head must say of itself for that.

A further kind is one more file beside `series.py`, `risk.py` and `probe.py`, and one line here.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import nn

from hdt_fm.checkpoint import Model
from hdt_fm.cli.compose import Config
from hdt_fm.cli.series import head_name, risk_name
from hdt_fm.cli.settings import FinetuneSettings, SeriesSettings
from hdt_fm.cli.update.people import People
from hdt_fm.cli.update.score import Judged, Score
from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.errors import CheckpointError, ConfigError
from hdt_fm.schema.protocols import HeadInput
from hdt_fm.schema.shard import LabelColumn
from hdt_fm.training.members import HasMembers
from hdt_fm.training.updating.memory import Memory
from hdt_fm.training.updating.rows import Taught

# Kind of head -> its file here, with `Way(config, model, name, label)`.
KINDS = {"series_forecast": "series", "event_risk": "risk", "probe": "probe"}
REFUSED = {
    "plan_response": "its law is learned of whole lives, each with numbers of its own that come from the other half of "
    "their record; a row that is rehearsed is one moment of nobody, of which no such numbers can be had, and a "
    "decoder taught beside a law of the newest cohort alone would call the difference a habit",
    "forecast": "nobody has said yet what is rehearsed of its past values; of a signal, series.modality with "
    "head=series_forecast forecasts and can be updated",
    "exposure_dose": "it is fitted in closed form on whole series; fit it anew on all cohorts",
}


@runtime_checkable
class Teaching(Protocol):
    """How one head goes on learning. What it says and what came are in the unit of its score.

    Attributes:
        model: Whose head it is.
        refuses: Strategies that make no sense for it, and why.
        apart: Share of the new people who teach nothing and set how sure it is.
    """

    model: Model
    head: nn.Module
    score: Score
    refuses: Mapping[str, str]
    apart: float

    def label(self, folder: ShardFolder) -> LabelColumn | None:
        """What the line keeps of the label that the first shards have; None where the head says it itself."""
        ...

    def people(self, folder: ShardFolder, beside: str | None) -> People:
        """A domain as the head is told of it; `beside`: shards of what was given to its people."""
        ...

    def taught(self, here: People, rows: NDArray[np.int64]) -> Taught:
        """Rows as its members read them."""
        ...

    def lesson(self, rows: Taught, memory: Memory | None) -> HasMembers:
        """What `learn_domain` teaches in place: the head, or a view of it."""
        ...

    def answers(self, here: People, rows: NDArray[np.int64]) -> NDArray[np.floating]:
        """What the head says of people's own rows."""
        ...

    def said(self, inputs: HeadInput) -> NDArray[np.floating]:
        """What it says of rows of a memory."""
        ...

    def came(self, target: NDArray[np.floating]) -> NDArray[np.floating]:
        """What came, of targets in a memory."""
        ...

    def judge(self, said: NDArray[np.floating], came: NDArray[np.floating], person: np.ndarray) -> Judged:
        """The score; `person` says whose each row is."""
        ...

    def calibrate(
        self, here: People, apart: set[str], rows: Taught, memory: Memory | None, seed: int, *, alone: bool
    ) -> None:
        """Set how sure the head is, by people apart and by rows drawn of earlier domains, alike.

        Args:
            memory: Of earlier domains.
            alone: The head is the new domain's own.
        """
        ...


def name_of(config: Config) -> str:
    """The head in the checkpoint that the config speaks of, as `hdt-fm finetune` named it.

    Raises:
        ConfigError: If its kind cannot be updated; says why.
    """
    part, modality = config.part("head").name, config.section("series", SeriesSettings).modality
    if part in REFUSED and not (part == "forecast" and modality is not None):
        raise _refusal(part)
    if modality is None:
        return f"{part}_{config.section('finetune', FinetuneSettings).label}"
    return risk_name(modality) if part == "event_risk" else head_name(modality)


def teaching(config: Config, model: Model, name: str, label: LabelColumn | None = None) -> Teaching:
    """How a head of a model goes on learning.

    Args:
        label: As the line keeps it; None before there is a line.

    Raises:
        CheckpointError: If the model has no such head.
        ConfigError: If its kind cannot be updated; says why.
    """
    parts = model.config.heads
    if name not in parts or not (parts[name].name in REFUSED or parts[name].name in KINDS):
        raise CheckpointError(
            "The checkpoint has no head that could go on learning",
            where="update.checkpoint",
            expected=f"the head {name}, of a kind that can: {', '.join(KINDS)}",
            got=", ".join(parts) or "no head",
            fix="teach one: hdt-fm finetune experiment=NAME",
        )
    if parts[name].name in REFUSED:
        raise _refusal(parts[name].name)
    made: Any = import_module(f"hdt_fm.cli.update.{KINDS[parts[name].name]}").Way(config, model, name, label)
    assert isinstance(made, Teaching)
    return made


def check_strategy(way: Teaching, strategy: str) -> None:
    """Refuse one that makes no sense for a head.

    Raises:
        ConfigError: With the reason.
    """
    if strategy in way.refuses:
        raise ConfigError(
            f"The strategy {strategy!r} makes no sense for this head: {way.refuses[strategy]}",
            where="update.strategy",
            fix="leave it out: prototypes is the default",
        )


def _refusal(kind: str) -> ConfigError:
    return ConfigError(
        f"A head of the kind {kind!r} is not updated: {REFUSED[kind]}",
        where="head",
        expected=" or ".join(KINDS),
        got=kind,
        fix="finetune it anew on the cohorts together: hdt-fm finetune",
    )

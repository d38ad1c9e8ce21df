"""How a probe goes on learning: embeddings of windows as they are; classes by AUROC, values by each person's error.

Rows are windows. A class is rehearsed by prototypes of its own, each of three people or more; a class that the head
does not know is refused.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from hdt_fm.checkpoint import Model
from hdt_fm.cli.compose import Config
from hdt_fm.cli.update.people import People
from hdt_fm.cli.update.score import Judged, Score
from hdt_fm.cli.workflow import embed, encoder_digest
from hdt_fm.data.embeddings import load_table
from hdt_fm.data.shards import ShardFolder
from hdt_fm.evaluation import people as over_people
from hdt_fm.heads.probe import Probe
from hdt_fm.metrics.classification import ece
from hdt_fm.schema.embedding import EmbeddingTable
from hdt_fm.schema.errors import ConfigError, ShardError, unknown_name
from hdt_fm.schema.protocols import HeadInput
from hdt_fm.schema.shard import LabelColumn
from hdt_fm.training.heads import take
from hdt_fm.training.members import HasMembers
from hdt_fm.training.updating.memory import Memory
from hdt_fm.training.updating.rows import Taught, laid_out

# Of the area; under half of what a 95 % interval over thirty people spans (.05).
MOST_FORGOTTEN = 0.02
# Of the label's spread among those who taught the head first.
MOST_FORGOTTEN_SHARE = 0.05


class Way:
    """A `Teaching` of probes."""

    refuses: Mapping[str, str] = MappingProxyType(
        {"last_layer": "a probe is one layer, so moving the last one alone would be going_on"}
    )
    # A probe's chances come from its loss alone: there is nothing to set beside.
    apart = 0.0

    def __init__(self, config: Config, model: Model, name: str, label: LabelColumn | None) -> None:
        part, probe = model.config.heads[name], model.heads[name]
        assert isinstance(probe, Probe)
        self.config, self.model, self.head, self.kept = config, model, probe, label
        self.named = name.removeprefix(f"{part.name}_")
        if probe.kind == "class":
            self.score = Score("AUROC", "", higher=True, most_forgotten=MOST_FORGOTTEN)
        else:
            most = MOST_FORGOTTEN_SHARE * probe.scale
            self.score = Score("MAE", label.unit if label else "", higher=False, most_forgotten=most)

    def label(self, folder: ShardFolder) -> LabelColumn:
        """The label as these shards have it.

        Raises:
            UnknownNameError: If they have none of this name.
            ConfigError: If it is no label that the head can answer.
        """
        columns = {one.name: one for one in folder.header.labels}
        if self.named not in columns:
            raise unknown_name("label", self.named, columns, where="shards")
        found, classes = columns[self.named], self.head.kind == "class"
        if (found.kind == "class") != classes:
            raise _other_label("classes" if classes else "values", f"a label of kind {found.kind}")
        return found

    def people(self, folder: ShardFolder, beside: str | None) -> People:
        """Every window; classes by the numbers that the head was taught.

        Raises:
            ConfigError: If there is a class that the head does not know, or the label has another unit.
        """
        found = self.label(folder)
        table = self._table(folder).over(self.model.modalities)
        came = table.labels[self.named].astype(np.float64)
        if self.kept is not None and found.kind == "class":
            came = _renumbered(came, found.classes, self.kept.classes)
        elif self.kept is not None and found.unit != self.kept.unit:
            raise _other_label(self.kept.unit or "no unit", found.unit or "no unit")
        inputs = HeadInput(context=torch.from_numpy(table.embeddings), observed=torch.from_numpy(table.present))
        names = np.array(table.subjects)[table.subject]
        return People(folder, inputs, came[:, None], np.isfinite(came), names, table.group)

    def _table(self, folder: ShardFolder) -> EmbeddingTable:
        """The run's own, where it is of these shards and this encoder; else embedded now."""
        digest = encoder_digest(self.model)
        try:
            table = load_table(Path(self.config.value("table")))
        except ShardError:
            table = None
        if table is None or (table.data_digest, table.model_digest) != (folder.digest, digest):
            table = embed(self.config, self.model, folder)
            # What is taught is taught on the CPU.
            self.model.to("cpu")
        return table

    def taught(self, here: People, rows: NDArray[np.int64]) -> Taught:
        """Classes by number; values in the spreads of those who taught the head first."""
        kind, came = self.head.kind, here.came[rows]
        came = came if kind == "class" else (came - self.head.center) / self.head.scale
        some = take(here.inputs, torch.from_numpy(rows))
        return laid_out(some, came, here.name[rows], here.group[rows], target=kind)

    def lesson(self, _: Taught, __: Memory | None) -> HasMembers:
        """The probe as its one member."""
        return ProbeLesson(self.head)

    def answers(self, here: People, rows: NDArray[np.int64]) -> NDArray[np.floating]:
        """Log-odds of classes, or values."""
        return self.said(take(here.inputs, torch.from_numpy(rows)))

    @torch.no_grad()
    def said(self, inputs: HeadInput) -> NDArray[np.floating]:
        """The same."""
        flat = _side_by_side(inputs)[:, None]
        out: Tensor = self.head(HeadInput(context=flat, observed=torch.ones(flat.shape[:2], dtype=torch.bool)))
        return out.numpy().astype(np.float64)

    def came(self, target: NDArray[np.floating]) -> NDArray[np.floating]:
        """Classes, or values in the label's unit."""
        came = target.astype(np.float64)
        return came if self.head.kind == "class" else self.head.center + self.head.scale * came

    def judge(self, said: NDArray[np.floating], came: NDArray[np.floating], person: np.ndarray) -> Judged:
        """As the table of `hdt-fm finetune` leads: AUROC over people together, or the mean of people's own errors."""
        names, code = np.unique(person, return_inverse=True)
        if self.head.kind != "class":
            each = np.bincount(code, np.abs(said[:, 0] - came[:, 0])) / np.bincount(code)
            return Judged(float(each.mean()), each)
        truth, one = came[:, 0].astype(np.int64), np.zeros(len(code), dtype=np.int64)
        own = [_auroc(said[code == row], truth[code == row], one[code == row]) for row in range(len(names))]
        chance = torch.softmax(torch.from_numpy(said), dim=1).numpy()
        beside = {
            "macro F1": float(over_people.macro_f1(said, truth, one).over(np.ones((1, 1)))[0]),
            "expected calibration error": ece(chance, truth),
        }
        return Judged(_auroc(said, truth, one), np.array(own), beside)

    def calibrate(self, *_: Any, **__: Any) -> None:
        """Nothing: the state with the smallest cross-entropy, of new people apart and of earlier domains, is kept."""


class ProbeLesson(nn.Module):
    """A probe as a head of one member, which reads what a memory holds."""

    def __init__(self, probe: Probe) -> None:
        super().__init__()
        self.members, self.probe = nn.ModuleList([_Member(probe.linear)]), probe

    def member_loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy in nats, or squared error in spreads."""
        if self.probe.kind == "class":
            return F.cross_entropy(output, target[:, 0].long())
        return (output - target).square().mean()

    def moved_from(self, output: Tensor, before: Tensor) -> Tensor:
        """Of classes the divergence of chances (Hinton et al. 2015); of values the squared difference."""
        if self.probe.kind == "class":
            return F.kl_div(output.log_softmax(1), before.log_softmax(1), reduction="batchmean", log_target=True)
        return (output - before).square().mean()


class _Member(nn.Module):
    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, inputs: HeadInput) -> Tensor:
        return self.linear(_side_by_side(inputs))


def _side_by_side(inputs: HeadInput) -> Tensor:
    """Embeddings of modalities, then whether each is there: `EmbeddingTable.features`."""
    return torch.cat((inputs.context.flatten(1), inputs.observed.float()), dim=1)


def _auroc(said: NDArray[np.floating], truth: NDArray[np.int64], person: NDArray[np.int64]) -> float:
    return float(over_people.auroc(said, truth, person).over(np.ones((1, 1)))[0])


def _renumbered(came: NDArray[np.float64], here: tuple[str, ...], kept: tuple[str, ...]) -> NDArray[np.float64]:
    """Classes by the numbers of the first shards, found by their names.

    Raises:
        ConfigError: If there are windows of a class that these did not have.
    """
    known = np.isfinite(came)
    strange = [name for number, name in enumerate(here) if name not in kept and (came[known] == number).any()]
    if strange:
        raise ConfigError(
            "The new shards have a class that the head cannot answer",
            where="shards",
            expected="windows of " + ", ".join(kept),
            got=", ".join(strange),
            fix="shard them without it, or finetune a head on cohorts that have it and begin another line",
        )
    numbers = np.array([kept.index(name) if name in kept else np.nan for name in here], dtype=np.float64)
    return np.where(known, numbers[np.where(known, came, 0).astype(np.int64)], np.nan)


def _other_label(expected: str, got: str) -> ConfigError:
    return ConfigError(
        "The label is another one than the head was taught",
        where="shards",
        expected=expected,
        got=got,
        fix="shard the new recordings with the label track of the first cohort",
    )

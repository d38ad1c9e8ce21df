"""Encoders that are moved by the labels of a fold's training people: what "after fine-tuning" means in the audit."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hdt_fm.audit.fairness.remedies import Remedy, Worst, cell_means, weights
from hdt_fm.checkpoint import Model
from hdt_fm.cli.own_encoders import OwnWindows
from hdt_fm.cli.progress import Report
from hdt_fm.evaluation.contest import Contest
from hdt_fm.evaluation.folds import Fold
from hdt_fm.schema import registry
from hdt_fm.schema.batch import Batch
from hdt_fm.training.pretrain import Change
from hdt_fm.training.supervised import fit_supervised, head_input

# Steps between looks at which cell does worst, and windows that are looked at.
LOOK_EVERY = 10
LOOKED_AT = 256
# Of the exponent in which a cell's loss moves its weight at each look: small, since there are many.
MOVED_BY = 0.1


@dataclass(frozen=True)
class Weighing:
    """A remedy and the cells that it weighs by.

    Attributes:
        cells: Cell of each group of people of the table; -1 for none.
        count: How many cells there are.
    """

    remedy: Remedy
    cells: Mapping[int, int]
    count: int


@dataclass(frozen=True)
class Moving:
    """How an encoder is moved.

    Attributes:
        models: One a fold, never changed.
        change: Augmentation, pure in the step.
    """

    models: tuple[Model, ...]
    windows: OwnWindows
    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    change: Change


def tuned_scores(
    contest: Contest, moving: Moving, progress: Report, weighing: Weighing | None = None
) -> NDArray[np.float64]:
    """Out-of-fold answers of encoders that began where pretraining left them: every weight moves, the head is new.

    Returns:
        (row, output) of the contest's table, NaN where no fold tests. Of classes, probabilities with every class as
        common as the others: what the drawn windows held of each is divided out.
    """
    found = np.full((len(contest.table), contest.outputs), np.nan)
    for number, fold in enumerate(contest.folds):

        def report(step: int, steps: int, note: str = "", *, first: int = number) -> None:
            progress(first * steps + step, len(contest.folds) * steps, note)

        found[fold.test] = _one_fold(contest, moving, number, fold, weighing, report)
    return found


def _one_fold(
    contest: Contest, moving: Moving, number: int, fold: Fold, weighing: Weighing | None, progress: Report
) -> NDArray[np.float64]:
    model = copy.deepcopy(moving.models[number])
    rows = contest.training(fold)
    known = contest.target.values[rows]
    kind = (
        {"out_features": contest.outputs, "kind": "class"}
        if contest.is_class
        else {"out_features": 1, "kind": "value", "center": float(known.mean()), "scale": float(known.std() or 1.0)}
    )
    # As `head_input` lays it out: embeddings side by side, then presence.
    width = (int(model.encoder.width) + 1) * len(model.modalities)  # type: ignore[arg-type]
    with torch.random.fork_rng():
        torch.manual_seed(contest.seed + number)
        head = registry.build("heads", "probe", {"in_features": width, **kind}).to(model.device)
    drawn = _Drawn(contest, moving, number, rows, weighing, model, head)
    fit_supervised(
        model,
        head,
        drawn,
        label=contest.target.name,
        steps=moving.steps,
        learning_rate=moving.learning_rate,
        weight_decay=moving.weight_decay,
        seed=contest.seed,
        change=moving.change,
        progress=progress,
    )
    output = _outputs(model, head, moving.windows, fold.test)
    if not contest.is_class:
        return output.numpy().astype(np.float64)
    odds = torch.log_softmax(output.double(), dim=1).numpy() - np.log(drawn.prior)
    chance = np.exp(odds - odds.max(axis=1, keepdims=True))
    return np.asarray(chance / chance.sum(axis=1, keepdims=True))


class _Drawn:
    """Batches of a fold's training windows, by the weights that the remedy gives each cell at this step."""

    def __init__(
        self,
        contest: Contest,
        moving: Moving,
        number: int,
        rows: NDArray[np.int64],
        weighing: Weighing | None,
        model: Model,
        head: nn.Module,
    ) -> None:
        self.contest, self.windows, self.rows = contest, moving.windows, rows
        self.size, self.model, self.head = moving.batch_size, model, head
        self.generator = np.random.default_rng([contest.seed, number])
        self.weighing = weighing
        self.count = weighing.count if weighing else 0
        groups = contest.table.group[rows]
        cells = weighing.cells if weighing else {}
        self.cell = np.array([cells.get(int(group), -1) for group in groups], dtype=np.int64)
        self.worst = Worst.begin(max(self.count, 1))
        self.held = np.zeros(contest.outputs)

    def __call__(self, step: int) -> Batch:
        return self._batch(self.chosen(step))

    def chosen(self, step: int) -> NDArray[np.int64]:
        """Rows of the table that teach at this step."""
        if self.weighing and self.weighing.remedy == "group_dro" and step and step % LOOK_EVERY == 0:
            self.worst = self.worst.after(self._losses(), step=MOVED_BY)
        chance = weights(self.cell, self.worst.share) if self.weighing else np.ones(len(self.rows))
        rows = self._draw(chance, self.size)
        if self.contest.is_class:
            self.held += np.bincount(self.contest.target.values[rows].astype(np.int64), minlength=len(self.held))
        return rows

    @property
    def prior(self) -> NDArray[np.float64]:
        """Share of each class among all windows that were drawn; a class that never came counts as one window."""
        held = np.maximum(self.held, 1.0)
        return np.asarray(held / held.sum())

    def _draw(self, chance: NDArray[np.float64], most: int) -> NDArray[np.int64]:
        size = min(most, len(self.rows))
        return np.asarray(self.rows[self.generator.choice(len(self.rows), size, p=chance / chance.sum())])

    def _batch(self, rows: NDArray[np.int64]) -> Batch:
        batch, *_ = self.windows.of(self.model, rows, rows[:0])
        label = torch.from_numpy(self.contest.target.values[rows]).float()
        return replace(batch, labels={self.contest.target.name: label})

    def _losses(self) -> NDArray[np.float64]:
        """Mean loss of each cell, as model and head are now, over windows drawn from all cells alike."""
        even = weights(self.cell, Worst.begin(self.count).share)
        rows = self._draw(even, LOOKED_AT)
        cell = self.cell[np.searchsorted(self.rows, rows)]
        target = torch.from_numpy(self.contest.target.values[rows]).float().to(self.model.device)
        both = (self.model.encoder, self.head)
        for one in both:
            one.eval()
        with torch.no_grad():
            output = self.head(head_input(self.model.embed(self._batch(rows))))
            each = _loss(self.contest.is_class)(output, target)
        for one in both:
            one.train()
        return cell_means(each.double().cpu().numpy(), cell, self.count)


def _loss(is_class: bool) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    if is_class:
        return lambda output, target: nn.functional.cross_entropy(output, target.long(), reduction="none")
    return lambda output, target: (output[:, 0] - target).square()


@torch.no_grad()
def _outputs(model: Model, head: nn.Module, windows: OwnWindows, rows: NDArray[np.int64]) -> torch.Tensor:
    _, *batches = windows.of(model, rows[:1], rows)
    return torch.cat([head(head_input(model.embed(batch))).cpu() for batch in batches])

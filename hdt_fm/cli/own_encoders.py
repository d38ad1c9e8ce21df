"""Encoders moved towards one person, for `protocol.fine_tune`: rows of a table -> their windows -> answers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from hdt_fm.checkpoint import Model
from hdt_fm.cli.progress import Report
from hdt_fm.cli.settings import TuningSettings
from hdt_fm.data.shards import ShardFolder
from hdt_fm.evaluation.adapt import Population
from hdt_fm.evaluation.tuned import FULL, LOW_RANK, Question, Tuned
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.embedding import EmbeddingTable
from hdt_fm.training.personal import LinearProbe, adapt_encoder, count_moved

# Windows that are answered at a time; it bounds memory and changes nothing.
ASKED_AT_ONCE = 256


def own_encoders(
    models: Mapping[str, Sequence[Model]],
    table: EmbeddingTable,
    folder: ShardFolder,
    settings: TuningSettings,
    progress: Report,
) -> list[Tuned]:
    """Both ways of moving the encoder of each maker.

    Args:
        models: By maker, one a fold; never changed.
        table: Whose rows are asked about, of the modalities in play.
    """
    windows = OwnWindows(table, folder)
    done = [0]

    def moving(maker: str, method: str, rank: int | None) -> Tuned:
        def answer(question: Question) -> NDArray[np.float64]:
            done[0] += 1
            progress(done[0], 0, f"{maker}, {method}")
            model = models[maker][question.fold]
            own, *asked = windows.of(model, question.own, question.asked)
            log_odds = adapt_encoder(
                model.encoder,
                probe_of(question.probe, model, table.modalities),
                own,
                torch.from_numpy(question.labels).float().to(model.device),
                asked,
                stops=question.stops,
                rank=rank,
                learning_rate=settings.learning_rate,
                ridge=settings.ridge,
                seed=question.seed,
            )
            return log_odds.cpu().double().numpy()

        tensors, numbers = count_moved(models[maker][0].encoder, rank)
        return Tuned(maker, method, answer, {"encoder_tensors_moved": tensors, "encoder_numbers_moved": numbers})

    ways = ((LOW_RANK, settings.rank), (FULL, None))
    return [moving(maker, method, rank) for maker in models for method, rank in ways]


class OwnWindows:
    """The windows of a table's rows, without any label."""

    def __init__(self, table: EmbeddingTable, folder: ShardFolder) -> None:
        place = {int(window): position for position, window in enumerate(folder.window_ids)}
        self.positions = np.array([place[int(window)] for window in table.window_id], dtype=np.int64)
        self.folder, self.modalities = folder, table.modalities

    def of(self, model: Model, own: NDArray[np.int64], asked: NDArray[np.int64]) -> list[Batch]:
        """The own windows as one batch, then those that are asked about, of the modalities in play."""
        folder = self.folder.with_static(model.config.covariates)
        pieces = [own, *(asked[start : start + ASKED_AT_ONCE] for start in range(0, len(asked), ASKED_AT_ONCE))]
        batches = [folder.gather(self.positions[rows]).over(self.modalities).to(model.device) for rows in pieces]
        return [replace(batch, labels={}) for batch in batches]


def probe_of(population: Population, model: Model, modalities: Sequence[str]) -> LinearProbe:
    """The population's probe on embeddings of these modalities, side by side, as it reads them off the model."""

    def apart(values: NDArray[np.float64]) -> torch.Tensor:
        return torch.from_numpy(values.reshape(len(modalities), -1)).float().to(model.device)

    return LinearProbe(
        columns=tuple(model.modalities.index(name) for name in modalities),
        center=apart(population.scale.center),
        scale=apart(population.scale.scale),
        weights=apart(population.weights),
        offset=torch.tensor(population.offset).float().to(model.device),
    )

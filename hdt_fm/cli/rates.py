"""Rates that nothing is fitted for, for `protocol.estimate`: a spectrum's peak and an encoder's own rhythm."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from hdt_fm.checkpoint import Model
from hdt_fm.cli.compose import Config
from hdt_fm.cli.settings import Estimate as Asked
from hdt_fm.cli.settings import ProtocolSettings
from hdt_fm.data.shards import ShardFolder
from hdt_fm.evaluation.baselines import RANDOM_ENCODER
from hdt_fm.evaluation.contenders import Role
from hdt_fm.evaluation.contest import OURS
from hdt_fm.evaluation.folds import Fold
from hdt_fm.evaluation.hand_features import peak_frequency, spectral_power
from hdt_fm.evaluation.rates import Estimate, read_and_followed
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.embedding import EmbeddingTable
from hdt_fm.schema.errors import unknown_name
from hdt_fm.schema.modalities import own_or_of_kind
from hdt_fm.schema.rhythm import RhythmFound

PEAK = "spectral peak"
OWN_RHYTHM = {OURS: "encoder's own rhythm, no label", RANDOM_ENCODER: "random encoder's own rhythm, no label"}
# Windows that are read at a time; it bounds memory and changes nothing.
AT_ONCE = 512


def rates(
    asked: Asked,
    folder: ShardFolder,
    table: EmbeddingTable,
    folds: Sequence[Fold],
    models: Mapping[str, Sequence[Model]],
) -> list[Estimate]:
    """The estimates that were asked for, each window by itself and followed over the last minutes."""
    made = [*_spectral_peak(asked, folder, table)]
    if asked.rhythm is not None:
        roles: dict[str, Role] = {OURS: "ours", RANDOM_ENCODER: "baseline"}
        for maker, role in roles.items():
            hz, log_share = _found(models[maker], asked.modality, asked.rhythm, folder, table, folds)
            read = _middle_of(hz)
            made += read_and_followed(OWN_RHYTHM[maker], role, log_share, read, table)
    return made


def check_estimate(config: Config, protocol: ProtocolSettings) -> None:
    """Refuse a rhythm that the encoder of the config does not look for, before anything is trained.

    Raises:
        UnknownNameError: If it does not.
    """
    asked = protocol.estimate
    if asked is None or protocol.people != "per_fold":
        return
    args = dict(config.part("encoder").args)
    own = own_or_of_kind(args.pop("per_modality", {}), asked.modality)
    _require(asked, {**args, **own}.get("rhythms") or {})


def check_estimate_of(model: Model, protocol: ProtocolSettings) -> None:
    """The same for the encoder of a checkpoint."""
    asked = protocol.estimate
    if asked is not None:
        own = dict(model.encoder.named_children()).get("encoders")
        encoder = dict(own.named_children()).get(asked.modality) if own is not None else None
        _require(asked, getattr(encoder, "rhythms", {}))


def _require(asked: Asked, known: Iterable[str]) -> None:
    if asked.rhythm is not None and asked.rhythm not in known:
        raise unknown_name("rhythm", asked.rhythm, known, where=f"protocol.estimate.rhythm, of {asked.modality}")


def _spectral_peak(asked: Asked, folder: ShardFolder, table: EmbeddingTable) -> tuple[Estimate, Estimate]:
    """Rate per minute of the strongest line of a modality's spectrum in a band."""
    hz, power = np.zeros(0), np.zeros((len(table), 0))
    for rows, batch in _pieces(folder, table, np.arange(len(table))):
        signal = batch.signals.get(asked.modality)
        if signal is None:
            continue
        hz, found = spectral_power(signal.values.numpy(), signal.observed.numpy(), signal.sampling_rate_hz)
        # One line more on each side, for the vertex of a peak at an edge.
        step = hz[1] - hz[0]
        near = (hz >= asked.low_hz - step) & (hz <= asked.high_hz + step)
        hz, found = hz[near], found[:, near]
        if not power.shape[1]:
            power = np.full((len(table), len(hz)), np.nan)
        power[rows] = np.where(batch.column(asked.modality).numpy()[:, None], found, np.nan)
    total = power.sum(axis=1, keepdims=True)
    # A strong window is no better witness than a weak one.
    share = power / np.where(total > 0, total, np.nan)
    return read_and_followed(
        PEAK, "baseline", share, lambda one: 60 * peak_frequency(hz, one, asked.low_hz, asked.high_hz), table
    )


def _found(
    models: Sequence[Model],
    modality: str,
    rhythm: str,
    folder: ShardFolder,
    table: EmbeddingTable,
    folds: Sequence[Fold],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rates, and log shares of the test windows of each fold by its own encoder; NaN elsewhere."""
    hz, log_share = np.zeros(0), np.full((len(table), 0), np.nan)
    for model, fold in zip(models, folds, strict=True):
        for rows, batch in _pieces(folder, table, fold.test):
            if modality not in batch.signals:
                continue
            found = model.find_rhythm(batch.over((modality,)).to(model.device), modality, rhythm)
            if not log_share.shape[1]:
                hz, log_share = found.hz.cpu().double().numpy(), np.full((len(table), len(found.hz)), np.nan)
            log_share[rows] = found.log_share.cpu().double().numpy()
    return hz, log_share


def _pieces(
    folder: ShardFolder, table: EmbeddingTable, rows: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], Batch]]:
    place = {int(window): row for row, window in enumerate(folder.window_ids)}
    for start in range(0, len(rows), AT_ONCE):
        some = rows[start : start + AT_ONCE]
        yield some, folder.gather(np.array([place[int(window)] for window in table.window_id[some]]))


def _middle_of(hz: NDArray[np.float64]) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    return lambda log_share: RhythmFound(torch.from_numpy(hz), torch.from_numpy(log_share)).per_minute().numpy()

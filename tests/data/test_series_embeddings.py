"""Embeddings at moments of series: nothing later is read, gaps stay gaps, and a kept file is the one asked for."""

import numpy as np
import pytest
import torch

from hdt_fm.data.series_embeddings import (
    embed_series,
    load_series_embeddings,
    save_series_embeddings,
    series_digest,
)
from hdt_fm.schema.errors import ConfigError, CorruptShardError
from hdt_fm.schema.protocols import Embeddings
from hdt_fm.schema.series import Series
from hdt_fm.signal.moments import places_of

STEP_S, START_S = 900.0, 1_700_006_400.0


class Echo(torch.nn.Module):
    """Says of a window its sum, its count, its newest reading, and how many samples it has."""

    modalities = ("glucose",)

    def embed(self, batch):
        signal = batch.signals["glucose"]
        values = torch.where(signal.observed, signal.values[:, 0], 0.0)
        place = torch.where(signal.observed, torch.arange(values.shape[1]), -1).amax(1)
        newest = values.gather(1, place.clamp(min=0)[:, None])[:, 0]
        size = torch.full_like(newest, values.shape[1])
        said = torch.stack((values.sum(1), signal.observed.sum(1).float(), newest, size), dim=-1)
        return Embeddings(said[:, None], batch.present)


def one(values, observed=None, subject=0):
    values = np.asarray(values, dtype=np.float32)
    seen = np.ones(len(values), bool) if observed is None else np.asarray(observed, bool)
    return Series(values, seen, STEP_S, START_S, subject, subject)


def embedded(series, **more):
    return embed_series(
        Echo(),
        series,
        "glucose",
        **{
            "model_digest": "m",
            "window_s": 4 * 3600.0,
            "ahead_s": 3600.0,
            "places": [places_of(each, 1800.0) for each in series],
            **more,
        },
    )


def test_a_window_ends_at_its_moment_and_its_end_is_empty():
    table = embedded([one(np.arange(40.0))])
    assert table.place.tolist() == list(range(0, 40, 2))
    for (total, count, newest, size), place in zip(table.values, table.place, strict=True):
        own = np.arange(40.0)[max(0, place - 11) : place + 1]  # three hours
        assert (total, count, newest, size) == (own.sum(), len(own), place, 16)


def test_later_readings_change_nothing():
    values = np.random.default_rng(0).normal(size=60)
    other = values.copy()
    other[31:] += 100
    first, second = embedded([one(values)]), embedded([one(other)])
    early = first.place <= 30
    assert np.array_equal(first.values[early], second.values[early])
    assert not np.array_equal(first.values[~early], second.values[~early])


def test_windows_without_a_reading_have_no_row_and_unobserved_values_are_not_read():
    observed = np.ones(60, bool)
    observed[10:40] = False
    values = np.where(observed, 1.0, np.nan)
    table = embedded([one(values, observed)])
    assert np.isfinite(table.values).all()
    assert not np.isin(table.place, np.arange(22, 40)).any()
    assert np.isin([20, 40], table.place).all()


def test_windows_before_are_those_of_the_same_series_newest_last():
    table = embedded([one(np.arange(50.0)), one(1000 + np.arange(50.0), subject=1)])
    found = table.before(np.array([0, 1, 1, 1]), np.array([20, 20, 1, 21]), windows=3, apart_s=3600.0)
    newest = found[..., 2]
    assert newest[0].tolist() == [12.0, 16.0, 20.0]
    assert newest[1].tolist() == [1012.0, 1016.0, 1020.0]
    # Before the series began there is nothing; a moment between two rows takes the row before it.
    assert np.isnan(newest[2, :2]).all()
    assert newest[2, 2] == 1000.0
    assert newest[3, 2] == 1020.0


def test_a_place_past_all_rows_has_no_window():
    table = embedded([one(np.arange(20.0))])
    assert np.isnan(table.before(np.array([0]), np.array([500]), windows=1, apart_s=3600.0)).all()


def test_what_was_kept_comes_back_and_only_for_what_made_it(tmp_path):
    series = [one(np.arange(30.0))]
    table, path = embedded(series), tmp_path / "kept" / "e.safetensors"
    save_series_embeddings(table, path)
    assert [child.name for child in path.parent.iterdir()] == ["e.safetensors"]
    found = load_series_embeddings(path, ("m", series_digest(series)))
    assert found is not None
    assert np.array_equal(found.values, table.values)
    assert (found.stride, found.step_s) == (2, STEP_S)
    assert load_series_embeddings(path, ("other", series_digest(series))) is None
    assert load_series_embeddings(path, ("m", series_digest([one(np.arange(1.0, 31.0))]))) is None
    assert load_series_embeddings(tmp_path / "none", ("m", "")) is None
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(CorruptShardError, match="delete the file"):
        load_series_embeddings(path, ("m", series_digest(series)))


def test_the_digest_names_what_was_read_alone():
    observed = np.array([True, False, True])
    plain, spoilt = one([1.0, 2.0, 3.0], observed), one([1.0, 99.0, 3.0], observed)
    assert series_digest([plain]) == series_digest([spoilt])
    assert series_digest([plain]) != series_digest([one([1.0, 2.0, 3.0])])


def test_another_modality_or_a_window_that_is_all_end_is_refused():
    with pytest.raises(ConfigError, match="cannot be embedded"):
        embed_series(Echo(), [], "heart_rate", model_digest="", window_s=10.0, ahead_s=1.0, places=[])
    with pytest.raises(ConfigError, match="does not read"):
        embedded([one(np.arange(5.0))], ahead_s=4 * 3600.0)

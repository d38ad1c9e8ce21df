"""Windows know their local clock, and series begin by it."""

from dataclasses import replace

import numpy as np
import pytest

from data_pipelines.build import build_shards
from data_pipelines.local_time import with_local_time
from hdt_fm.data.series import series_of
from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.preparation import ModalityPreparation, Preparation
from hdt_fm.schema.recording import NS_PER_S, Channel, LabelTrack, Recording, Visit

SUBJECT = "s" + "0" * 32
MIDNIGHT_NS = 1_700_006_400 * NS_PER_S
HOUR_S = 3600


def recording(offset_s, modality="glucose", start_ns=MIDNIGHT_NS):
    return Recording(
        modality=modality,
        values=np.full((1, 96), 100, dtype=np.float32),
        observed=np.ones(96, dtype=bool),
        sampling_rate_hz=1 / 900,
        start_ns=start_ns,
        channels=(Channel(modality, "mg/dL"),),
        subject=SUBJECT,
        device="made",
        body_site="",
        utc_offset_s=offset_s,
    )


def visit(**offsets):
    return Visit(SUBJECT, {name: recording(offset, name) for name, offset in offsets.items()})


class Cohort:
    name, licence, source = "clock_test", "CC0-1.0", "made up"

    def __init__(self, one):
        self.one = one

    def inputs(self):
        return []

    def visits(self):
        yield self.one


def test_one_known_offset_becomes_a_track_over_the_visit():
    track = with_local_time(visit(glucose=8 * HOUR_S, heart_rate=8 * HOUR_S, steps=None)).labels["utc_offset"]
    assert (track.kind, track.unit, track.values.tolist()) == ("value", "s", [8 * HOUR_S])
    assert (track.start_ns[0], track.end_ns[0]) == (MIDNIGHT_NS, MIDNIGHT_NS + 86_400 * NS_PER_S)


@pytest.mark.parametrize("one", [visit(glucose=None), visit(glucose=0), visit(glucose=3600, heart_rate=7200)])
def test_what_is_utc_or_of_two_clocks_stays_as_it_is(one):
    assert with_local_time(one) is one


def test_a_track_of_its_own_is_kept():
    own = LabelTrack("utc_offset", "value", np.array([0]), np.array([1]), np.array([60.0]), unit="s")
    one = replace(visit(glucose=3600), labels={"utc_offset": own})
    assert with_local_time(one) is one


@pytest.mark.parametrize(("offset_s", "hour"), [(None, 0), (8 * HOUR_S, 8), (-5 * HOUR_S, 19)])
def test_a_series_knows_its_local_time_of_day(tmp_path, offset_s, hour):
    rate = {"glucose": ModalityPreparation(sampling_rate_hz=1 / 900)}
    build_shards(
        Cohort(visit(glucose=offset_s)),
        folder=tmp_path / "windows",
        name="g",
        preparation=Preparation(window_s=10800, hop_s=1800, modalities=rate),
        encoding="f32",
    )
    (found,) = series_of(ShardFolder.open(tmp_path / "windows"), "glucose")
    assert found.start_s % 86_400 == 0
    assert (found.start_s + found.utc_offset_s) % 86_400 == hour * HOUR_S


def test_a_clock_that_was_changed_in_a_window_is_read_to_the_quarter(tmp_path):
    times = np.array([MIDNIGHT_NS, MIDNIGHT_NS + HOUR_S * NS_PER_S])
    track = LabelTrack(
        "utc_offset", "value", times, np.append(times[1:], MIDNIGHT_NS + 86_400 * NS_PER_S), np.array([3600.0, 0.0])
    )
    rate = {"glucose": ModalityPreparation(sampling_rate_hz=1 / 900)}
    build_shards(
        Cohort(replace(visit(glucose=None), labels={"utc_offset": track})),
        folder=tmp_path / "windows",
        name="g",
        preparation=Preparation(window_s=10800, hop_s=1800, modalities=rate),
        encoding="f32",
    )
    (found,) = series_of(ShardFolder.open(tmp_path / "windows"), "glucose")
    assert found.utc_offset_s in (900.0, 1800.0)  # an hour of the first three was an hour ahead

"""Windows put back on the grid that they were cut from."""

import numpy as np
import pytest

from data_pipelines.build import build_shards
from hdt_fm.data.series import series_of
from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.errors import ConfigError, UnknownNameError
from hdt_fm.schema.preparation import ModalityPreparation, Preparation
from hdt_fm.schema.recording import Channel, Recording, Visit

STEP = 300.0
START_NS = 1_700_006_400 * 10**9


class Glucose:
    """Three people: gaps, a recording that ends off the hop, and a second one a week later."""

    name, licence, source = "glucose_test", "CC0-1.0", "made up"

    def inputs(self):
        return []

    def truth(self, person, part=0):
        generator, count = np.random.default_rng([person, part]), 205 + 7 * person
        seen = generator.random(count) > 0.1
        seen[60:75] = False
        return generator.uniform(60, 300, count).astype(np.float32), seen

    def visits(self):
        for person in range(3):
            for part in range(1 + (person == 2)):
                values, seen = self.truth(person, part)
                recording = Recording(
                    modality="glucose",
                    values=np.where(seen, values, 0)[None].astype(np.float32),
                    observed=seen,
                    sampling_rate_hz=1 / STEP,
                    start_ns=START_NS + part * 7 * 86_400 * 10**9,
                    channels=(Channel("glucose", "mg/dL"),),
                    subject=f"s{person:032d}",
                    device="made",
                    body_site="",
                )
                yield Visit(f"s{person:032d}", {"glucose": recording})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("glucose") / "windows"
    rate = {"glucose": ModalityPreparation(sampling_rate_hz=1 / STEP)}
    build_shards(
        Glucose(),
        folder=place,
        name="g",
        preparation=Preparation(window_s=10800, hop_s=1800, min_coverage=0.2, modalities=rate),
        encoding="f32",
    )
    return ShardFolder.open(place)


def test_every_reading_is_back_at_its_time(folder):
    found = series_of(folder, "glucose")
    assert [one.subject for one in found] == sorted(one.subject for one in found)
    assert len(found) == 4  # the second recording of the last person is a series of its own
    truths = [Glucose().truth(person, part) for person, part in ((0, 0), (1, 0), (2, 0), (2, 1))]
    for one in found:
        # Who is who is told by the readings: rows of the manifest are in an order of their own.
        values, seen = next((v, s) for v, s in truths if np.isin(v[np.flatnonzero(s)[0]], one.values))
        assert np.array_equal(one.observed, seen[: len(one)])
        assert np.array_equal(one.values[one.observed], values[: len(one)][one.observed])
        # What is left over is less than a hop: no window fits there.
        assert 0 <= len(values) - len(one) < 6
        assert one.start_s % 86_400 == 0  # a person's days are shifted, the time of day is not
        assert one.step_s == pytest.approx(STEP)
    assert found[-1].group in {one.group for one in found[:-1]} or len({one.group for one in found}) == 3


def test_what_is_no_series_is_refused(folder, f32_folder):
    with pytest.raises(UnknownNameError, match="modality"):
        series_of(folder, "ecg")
    several = next(column.name for column in f32_folder.header.modalities if column.channels > 1)
    with pytest.raises(ConfigError, match="one channel"):
        series_of(f32_folder, several)

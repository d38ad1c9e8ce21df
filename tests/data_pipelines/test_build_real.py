"""Real recordings through the build."""

import numpy as np
import pytest

from data_pipelines.build import build_shards
from data_pipelines.cohorts.bidmc import Bidmc
from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.preparation import ModalityPreparation, Preparation

PREPARATION = Preparation(
    window_s=20,
    hop_s=20,
    modalities={
        "ecg": ModalityPreparation(sampling_rate_hz=125, highpass_hz=0.5, lowpass_hz=40),
        "ppg": ModalityPreparation(sampling_rate_hz=62.5, highpass_hz=0.1, lowpass_hz=10),
        "resp": ModalityPreparation(sampling_rate_hz=25, lowpass_hz=2),
    },
)


class FirstFew:
    """The first visits of a cohort."""

    def __init__(self, cohort, visits):
        self.cohort, self.count = cohort, visits
        self.name, self.licence, self.source = cohort.name, cohort.licence, cohort.source

    def inputs(self):
        return self.cohort.inputs()[:1]

    def visits(self):
        visits = iter(self.cohort.visits())
        return (next(visits) for _ in range(self.count))


@pytest.mark.real
def test_bidmc_windows_come_back_whole(real_data, tmp_path):
    cohort = FirstFew(Bidmc(path=str(real_data / "bidmc"), subject_key="public"), 3)
    manifests = [
        build_shards(cohort, folder=tmp_path / kind, name="bidmc", preparation=PREPARATION, encoding=kind)
        for kind in ("f32", "i16")
    ]
    assert manifests[0].counts == manifests[1].counts
    # Each recording is 8 minutes: 24 windows of 20 s.
    assert manifests[0].counts.windows_kept == pytest.approx(72, abs=3)
    exact, coded = (ShardFolder.open(tmp_path / kind, verify="full") for kind in ("f32", "i16"))
    assert np.array_equal(exact.window_ids, coded.window_ids)
    pair = [folder.gather(np.arange(folder.windows)) for folder in (exact, coded)]
    for column in coded.header.modalities:
        first, second = (batch.signals[column.name] for batch in pair)
        assert bool((first.observed == second.observed).all())
        error = (first.values - second.values).abs()
        # All but the tail beyond the range lie within half a step.
        assert float((error > column.lsb * 0.51).float().mean()) <= 1e-4
        assert column.encoding == "i16"
        assert column.lsb < float(first.values.std()) / 50
    breaths = exact.labels["breaths"]
    assert np.nanmin(breaths) > 4
    assert np.nanmax(breaths) < 50

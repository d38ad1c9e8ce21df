"""Several cohorts in one stream: whose turn it is follows from the step, nothing is lost, resume changes nothing."""

import itertools
import json
from collections import Counter

import numpy as np
import pytest
import torch

from hdt_fm.data.datamodule import MixtureDataModule, ShardDataModule
from hdt_fm.data.mixture import ROUND, CohortMixture, InTurn, cohort_shares
from hdt_fm.data.normalize import input_statistics, joint_statistics
from hdt_fm.data.shards import ShardFolder
from hdt_fm.data.stream import OrderedBatches, WindowStream
from hdt_fm.schema.errors import CheckpointError, ConfigError
from hdt_fm.schema.preparation import ModalityPreparation, Preparation

UNION = ("ppg", "acc", "temp")
# Another window, another rate, and one modality less.
SHORT = Preparation(
    window_s=2,
    hop_s=1,
    modalities={
        "acc": ModalityPreparation(sampling_rate_hz=12.0, channels=3),
        "temp": ModalityPreparation(sampling_rate_hz=5.0),
    },
)


@pytest.fixture(scope="session")
def short_folder(tiny, tmp_path_factory) -> ShardFolder:
    path = tmp_path_factory.mktemp("shards") / "short"
    tiny.build(path, tiny.TinyCohort(3), name="short", preparation=SHORT, encoding="f32")
    return ShardFolder.open(path)


@pytest.fixture
def two(f32_folder, short_folder):
    return {"long": f32_folder, "short": short_folder}


def mixture(two, *, alpha=0.5, rank=0, world=1, batches=None, batch_size=8, **change):
    settings = {"batch_size": batch_size, "seed": 8, "rank": rank, "world": world} | change
    streams = {name: WindowStream(folder, np.arange(folder.windows), **settings) for name, folder in two.items()}
    return CohortMixture(streams, modalities=UNION, alpha=alpha, seed=8, batches=batches)


def seen(batches):
    return [(batch.cohort, tuple(batch.window_id.tolist())) for batch in batches]


def test_shares_follow_size_to_the_power_of_alpha():
    windows = {"a": 900, "b": 100}
    assert cohort_shares(windows, 1.0) == {"a": 0.9, "b": 0.1}
    assert cohort_shares(windows, 0.5) == {"a": 0.75, "b": 0.25}
    assert cohort_shares(windows, 0.0) == {"a": 0.5, "b": 0.5}
    with pytest.raises(ConfigError, match="without a training window"):
        cohort_shares({"a": 3, "b": 0}, 0.5)
    with pytest.raises(ConfigError, match="cohort_alpha"):
        cohort_shares(windows, 1.5)


def test_a_round_has_each_cohort_by_its_share_and_the_next_round_another_order(two):
    mixed = mixture(two)
    turns = [mixed.cohort_of(number) for number in range(2 * ROUND)]
    for part in (turns[:ROUND], turns[ROUND:]):
        count = Counter(part)
        assert all(abs(count[name] / ROUND - share) < 1.5 / ROUND for name, share in mixed.shares.items())
    assert turns[:ROUND] != turns[ROUND:]
    # Not in blocks: a run that is shorter than a round sees every cohort in about its share.
    assert Counter(turns[:100])["short"] / 100 == pytest.approx(mixed.shares["short"], abs=0.15)


def test_even_a_cohort_of_no_share_has_a_turn(two):
    mixed = mixture(two)
    mixed._quota[:] = [ROUND - 1, 1]
    assert Counter(mixed.cohort_of(number) for number in range(ROUND))["short"] == 1


def test_every_batch_is_of_one_cohort_which_goes_through_its_own_stream_in_order(two):
    mixed = mixture(two, batches=40)
    batches = list(mixed)
    for name, folder in two.items():
        own = [batch for batch in batches if batch.cohort == name]
        alone = WindowStream(folder, np.arange(folder.windows), batch_size=8, seed=8, batches=len(own))
        assert [tuple(batch.window_id.tolist()) for batch in alone] == [ids for _, ids in seen(own)]
        for batch in own:
            assert batch.modalities == UNION
            assert set(batch.signals) <= set(folder.modalities)
            assert not batch.present[:, [name not in folder.modalities for name in UNION]].any()
            for signal_name, signal in batch.signals.items():
                column = next(one for one in folder.header.modalities if one.name == signal_name)
                assert signal.values.shape[2] == column.samples
    # Any batch can be made alone, in any order, past a round too.
    again = mixture(two)
    assert seen([again.batch(number) for number in (39, 7, 0)]) == seen(batches[k] for k in (39, 7, 0))
    later = list(range(ROUND - 3, ROUND + 3))
    cohorts = [again.cohort_of(number) for number in range(ROUND + 3)]
    assert [again._own_number(number) for number in later] == [
        cohorts[:number].count(cohorts[number]) for number in later
    ]


@pytest.mark.parametrize("stop", [0, 1, 13, 25])
def test_resume_equals_the_unbroken_mixture(two, stop):
    whole = seen(mixture(two, batches=26))
    first = mixture(two, batches=26)
    before = seen(itertools.islice(first, stop))
    state = json.loads(json.dumps(first.state_dict()))
    second = mixture(two, batches=26)
    second.load_state_dict(state)
    assert before + seen(second) == whole
    assert second.state_dict()["global_batch"] == 26


def test_prefetched_batches_do_not_count(two):
    finished = [0]
    source = mixture(two)
    source.follow(lambda: finished[0])
    iterator = iter(source)
    first = seen(next(iterator) for _ in range(5))
    finished[0] = 3
    resumed = mixture(two)
    resumed.load_state_dict(source.state_dict())
    assert seen(itertools.islice(resumed, 2)) == first[3:5]


def test_processes_take_slices_of_the_same_cohort(two):
    whole = seen(mixture(two, batches=12))
    ranks = [seen(mixture(two, batches=12, rank=rank, world=2)) for rank in (0, 1)]
    assert [(a, one + other) for (a, one), (b, other) in zip(*ranks, strict=True) if a == b] == whole


def test_a_state_of_another_mixture_is_refused(two):
    state = mixture(two).state_dict()
    cases = {
        "cohort_alpha": mixture(two, alpha=1.0),
        "cohorts": mixture({"long": two["long"]}),
        "short/batch_size": mixture(two, batch_size=4),
    }
    for name, target in cases.items():
        with pytest.raises(CheckpointError, match="differs") as error:
            target.load_state_dict(state)
        assert name.split("/")[-1] in str(error.value)


def test_validation_is_complete_and_says_whose_it_is(two):
    fixed = {name: OrderedBatches(folder, np.arange(9), batch_size=4) for name, folder in two.items()}
    turns = InTurn(fixed, modalities=UNION)
    assert len(turns) == 6 == len(list(turns))
    assert [(batch.cohort, len(batch)) for batch in turns] == [(name, size) for name in two for size in (4, 4, 1)]
    module = MixtureDataModule(
        {name: ShardDataModule(folder=folder, val_subjects=None) for name, folder in two.items()},
        modalities=UNION,
        alpha=0.5,
        seed=0,
    )
    assert module.val_dataloader() == []
    assert module.train_windows == sum(folder.windows for folder in two.values())
    assert isinstance(module.train_dataloader(), CohortMixture)


def test_statistics_of_several_cohorts_are_medians_over_all_their_windows(two):
    everyone = {name: np.arange(len(folder.manifest.subjects)) for name, folder in two.items()}
    both = joint_statistics([(folder, everyone[name], 40) for name, folder in two.items()])
    alone = {name: input_statistics(folder, everyone[name], max_windows=40) for name, folder in two.items()}
    assert set(both) == set(UNION)
    assert both["ppg"] == alone["long"]["ppg"]
    low, high = sorted(alone[name]["acc"][0] for name in two)
    assert low <= both["acc"][0] <= high
    one = joint_statistics([(two["long"], everyone["long"], 40)])
    assert one == alone["long"]


def test_a_batch_over_more_modalities_gains_absent_columns_only(f32_folder):
    batch = f32_folder.gather(np.arange(5))
    wide = batch.over(("eda", "temp", "ppg"))
    assert wide.modalities == ("eda", "temp", "ppg")
    assert not wide.column("eda").any()
    assert torch.equal(wide.column("temp"), batch.column("temp"))
    assert set(wide.signals) <= {"temp", "ppg"}
    assert torch.equal(wide.window_id, batch.window_id)

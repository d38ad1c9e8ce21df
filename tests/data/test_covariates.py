"""What training people teach of a column, and people's facts as a modality of their windows."""

import numpy as np
import pytest
import torch

from hdt_fm.data.covariates import StaticTable, learn_covariates, refuse_unlearned
from hdt_fm.data.masking import hide_stretches
from hdt_fm.data.normalize import input_statistics
from hdt_fm.data.shards import ShardFolder
from hdt_fm.data.views import Augment
from hdt_fm.schema.covariates import Covariate
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.shard import SubjectRow

SEX = Covariate(name="sex", levels=("f", "m"))
BMI = Covariate(name="bmi", center=25.0, scale=4.0)


def people(*facts, groups=None):
    groups = groups or [f"g{number}" for number in range(len(facts))]
    return [
        SubjectRow(subject=f"p{number}", group=group, windows=1, hours=1.0, covariates=one)
        for number, (one, group) in enumerate(zip(facts, groups, strict=True))
    ]


def column(name, *texts):
    return [{name: text} if text is not None else {} for text in texts]


def test_a_number_is_scaled_by_one_value_a_person_and_the_unknown_do_not_count():
    values = ["20", "22", None, "30", "NA", "24", "29"]
    (found,) = learn_covariates(["bmi"], people(*column("bmi", *values)))
    told = [20.0, 22.0, 30.0, 24.0, 29.0]
    assert found.is_number
    assert found.center == pytest.approx(np.mean(told))
    assert found.scale == pytest.approx(np.std(told))


def test_levels_of_one_person_are_left_out_and_people_of_one_group_are_one():
    words = ["AA", "AG", "AG", "AA", "GG", "GG"]
    (found,) = learn_covariates(["snp"], people(*column("snp", *words), groups=["1", "2", "3", "4", "5", "5"]))
    assert found.levels == ("AA", "AG")


@pytest.mark.parametrize(
    "texts",
    [
        ["20", "21", "22", "23", None, None],  # center and scale of four people nearly give them away
        ["20"] * 6,
        ["F", "F", "F", "M"],
        [None] * 6,
    ],
)
def test_a_column_that_tells_nothing_is_left_out_or_refused_without_a_value(texts):
    everyone = people(*[{"other": "x", **one} for one in column("c", *texts)])
    assert learn_covariates(["c"], everyone) == ()
    with pytest.raises(ConfigError, match=r"'c' cannot be learned from(?s:.)*other") as caught:
        refuse_unlearned(["c"], (), everyone)
    assert not [text for text in texts if text and f"'{text}'" in str(caught.value)]
    assert f"known of {sum(text is not None for text in texts)} of {len(texts)}" in str(caught.value)


def test_numbers_mixed_with_words_are_refused():
    with pytest.raises(ConfigError, match=r"mixes numbers and words(?s:.)*5 numbers, 1 words"):
        learn_covariates(["age"], people(*column("age", "20", "30", "40", "50", "60", "seventy")))


@pytest.fixture
def folder(tiny, tmp_path):
    """Seven people: sex of all, BMI of the first four, one of them known of nothing."""
    return ShardFolder.open(_built(tiny, tmp_path / "tiny"))


def _built(tiny, path):
    class Told(tiny.TinyCohort):
        def visit(self, person, turn=0, *, bad=False):
            visit = super().visit(person, turn, bad=bad)
            facts = {} if person == 3 else dict(visit.covariates) | ({"bmi": str(20 + person)} if person < 4 else {})
            object.__setattr__(visit, "covariates", facts)
            return visit

    tiny.build(path, Told(7))
    return path


def test_facts_come_as_one_more_modality_and_the_folder_stays_as_it_was(folder):
    told = folder.with_static([SEX, BMI])
    assert told.modalities == (*folder.modalities, "static")
    assert folder.modalities == ("ppg", "acc", "temp")
    assert (told.digest, told.windows) == (folder.digest, folder.windows)
    positions = np.arange(folder.windows)[::-7]
    plain, batch = folder.gather(positions), told.gather(positions)
    for name in folder.modalities:
        assert torch.equal(plain.signals[name].values, batch.signals[name].values)
        assert torch.equal(plain.column(name), batch.column(name))
    signal = batch.signals["static"]
    rows = [folder.manifest.subjects[row].covariates for row in batch.subject.tolist()]
    for number, facts in enumerate(rows):
        known = [name in facts for name in ("sex", "bmi")]
        assert signal.observed[number].tolist() == known
        assert batch.column("static")[number] == any(known)
        wanted = [float("fm".index(facts["sex"])) if known[0] else 0.0, float(facts.get("bmi", 0))]
        assert signal.values[number, 0].tolist() == wanted
    assert {any(facts.values()) for facts in rows} == {True, False}


def test_a_folder_of_people_of_whom_nothing_asked_is_known_lacks_the_modality(folder):
    assert folder.with_static([Covariate(name="apoe", levels=("33", "34"))]) is folder
    assert folder.with_static([]) is folder


def test_statistics_of_signals_do_not_see_it(folder):
    everyone = np.arange(7)
    assert input_statistics(folder.with_static([SEX, BMI]), everyone) == input_statistics(folder, everyone)


def test_augmentation_leaves_facts_and_the_draws_of_signals_as_they_were(folder):
    positions = np.arange(20)
    plain, batch = folder.gather(positions), folder.with_static([SEX, BMI]).gather(positions)
    augment = Augment(3, amplitude=0.5, noise=0.2, time_mask=0.3)
    one, other = augment.apply(plain, 5), augment.apply(batch, 5)
    assert torch.equal(other.signals["static"].values, batch.signals["static"].values)
    assert torch.equal(other.signals["static"].observed, batch.signals["static"].observed)
    assert all(torch.equal(one.signals[name].values, other.signals[name].values) for name in one.signals)
    assert not torch.equal(one.signals["ppg"].values, plain.signals["ppg"].values)


def test_a_share_of_the_columns_is_hidden_like_stretches_of_a_signal(folder):
    batch = folder.with_static([SEX, BMI]).gather(np.arange(folder.windows))
    both = batch.signals["static"].observed.all(1)
    hidden = hide_stretches(batch, share=0.5, stretch_s=2.0, generator=torch.Generator().manual_seed(0))
    left = hidden.signals["static"].observed
    assert (left[both].sum(1) == 1).all()
    assert left[both].any(0).all(), "now the one, now the other"
    assert (left.any(1) == batch.column("static")).all()
    assert (hidden.signals["static"].values[:, 0][~left] == 0).all()


def test_features_for_heads_are_numbers_in_their_scale_and_a_flag_a_level():
    columns = (Covariate(name="age_band", center=40.0, scale=10.0), Covariate(name="sex", levels=("F", "M")))
    everyone = people({"age_band": "50-59", "sex": "M"}, {"sex": "F"})
    found = StaticTable.of(columns, everyone).features(columns, np.array([1, 0, 0]))
    assert found[1].tolist() == pytest.approx([1.45, 0.0, 1.0])
    assert np.isnan(found[0, 0])
    assert found[0, 1:].tolist() == [1.0, 0.0]
    assert StaticTable.of((), everyone).features((), np.array([0])).shape == (1, 0)

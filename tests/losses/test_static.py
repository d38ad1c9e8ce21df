"""Facts about a person are the same in all of their windows, so no loss may ask to tell these apart by them."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

from hdt_fm.ops.contrastive import contrastive_loss
from hdt_fm.ops.leave_one_out import leave_one_out_loss
from hdt_fm.ops.sigmoid_pairs import sigmoid_pairs_loss
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.protocols import Embeddings, Encoded
from hdt_fm.schema.registry import build
from hdt_fm.schema.shard import ModalityColumn

# Settings under which far windows of a person are negatives of each other.
LOSSES = {
    "info_nce": ({"exclude_within_s": None}, {"exclude_within_s": 60.0}, {"impl": "chunked"}),
    "leave_one_out": ({"exclude_within_s": None}, {"exclude_within_s": 60.0}, {"impl": "chunked"}),
    "sigmoid_pairs": ({"exclude_within_s": None}, {"exclude_within_s": 60.0}),
    "near_in_time": ({"negatives": "all", "across": True}, {"negatives": "all"}),
}
CASES = [(name, settings) for name, some in LOSSES.items() for settings in some]
HOUR_S = 3600.0


def encoded(values, present, subject, names, time_s=None):
    rows = torch.arange(len(values))
    time_s = rows.double() * HOUR_S if time_s is None else time_s
    batch = Batch(names, {}, present, torch.tensor(subject), time_s, rows)
    return Encoded(Embeddings(values, present), Embeddings(values, present), batch, batch)


def two_windows(names=("ppg", "static"), people=(0, 0), seed=0):
    """Two windows hours apart: two different signals, one vector of facts where the person is one."""
    generator = torch.Generator().manual_seed(seed)
    values = normalize(torch.randn(len(people), len(names), 6, generator=generator), dim=-1)
    values[:, -1] = values[[people.index(one) for one in people], -1]
    return values.requires_grad_(), torch.ones(len(people), len(names), dtype=torch.bool)


@pytest.mark.parametrize(("name", "settings"), [case for case in CASES if case[0] != "near_in_time"])
def test_two_windows_of_one_person_are_not_pushed_apart_on_a_pair_with_static(name, settings):
    values, present = two_windows()
    loss = build("losses", name, settings)
    report = loss(encoded(values, present, (0, 0), ("ppg", "static")))
    report.value.backward()
    if name == "sigmoid_pairs":  # the partner is asked about, no other window is: half a window's pull, and no push
        cosine = (values[0, 0] * values[0, 1]).sum()
        torch.testing.assert_close(values.grad[0, 0], -0.5 * 10 * torch.sigmoid(10 - 10 * cosine) * values[0, 1])
    else:
        assert report.value.item() == 0
        assert (values.grad == 0).all()
    # The same vectors under a signal's name are: the rule is what holds them.
    assert loss(encoded(values, present, (0, 0), ("ppg", "temp"))).value > report.value


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_it_is_the_loss_in_which_a_persons_windows_never_are_negatives(name, settings):
    """Two people, each with two windows near each other and one far: whatever the settings, as the strictest do."""
    people, times, names = (0, 0, 0, 1, 1, 1), torch.tensor([0.0, 10, HOUR_S] * 2).double(), ("ppg", "static")
    values, present = two_windows(names, people, seed=3)
    strict = {"negatives": "others"} if name == "near_in_time" else {"exclude_within_s": math.inf}
    found, signal, wanted = (
        build("losses", name, {**settings, **more})(encoded(values, present, people, called, times)).parts
        for more, called in (({}, names), ({}, ("ppg", "temp")), (strict, ("ppg", "temp")))
    )
    if name == "near_in_time":
        pairs = {"ppg->static": "ppg->temp", "static->ppg": "temp->ppg"} if settings.get("across") else {}
        assert set(found) == {"ppg", *pairs, "logit_scale"}, "facts among themselves are no group: a row is its own"
    else:
        pairs = {"static": "temp"} if name == "leave_one_out" else {"ppg-static": "ppg-temp"}
    for part, like in pairs.items():
        assert found[part] > 0
        torch.testing.assert_close(found[part], wanted[like])
        assert signal[like] > wanted[like], "as a signal, far windows of the person are negatives"


def test_pairs_of_signals_keep_a_persons_other_windows():
    people, names = (0, 0, 1, 1), ("ppg", "acc", "static")
    values, present = two_windows(names, people, seed=5)
    args = {"logit_scale": torch.tensor(3.0), "subject": torch.tensor(people), "time_s": torch.arange(4.0) * HOUR_S}
    for loss, more in ((contrastive_loss, {}), (sigmoid_pairs_loss, {"logit_bias": torch.tensor(-1.0)})):
        plain = loss(values.transpose(0, 1), present, **args, **more, exclude_within_s=60.0)
        told = loss(values.transpose(0, 1), present, **args, **more, exclude_within_s=60.0, of_person=(2,))
        assert told.pairs == ((0, 1), (0, 2), (1, 2))
        assert torch.equal(told.pair_loss[0], plain.pair_loss[0])
        assert (told.pair_loss[1:] < plain.pair_loss[1:]).all()


def test_leaving_one_out_counts_a_row_whose_others_are_facts_alone_as_its_person():
    """Window 1 lacks acc: its ppg is looked for by facts alone, which are those of window 0 too."""
    people, names = (0, 0, 1, 1), ("ppg", "acc", "static")
    values, present = two_windows(names, people, seed=7)
    present = present.clone()
    present[1, 1] = False
    args = {"logit_scale": torch.tensor(3.0), "subject": torch.tensor(people), "time_s": torch.arange(4.0) * HOUR_S}
    vectors = values.detach().transpose(0, 1)
    told = leave_one_out_loss(vectors, present, **args, of_person=(2,)).modality_loss

    def by_hand(query, key, excluded):
        sums = 0.0
        scores = 3.0 * query @ key.T
        for way in (scores, scores.T):
            for i in range(4):
                negatives = [j for j in range(4) if j != i and (i, j) not in excluded and (j, i) not in excluded]
                sums += torch.log1p(torch.exp(way[i, negatives] - scores[i, i]).sum())
        return sums / 8

    mean = vectors[1] * present[:, 1:2] + vectors[2]
    torch.testing.assert_close(told[0], by_hand(vectors[0], normalize(mean, dim=-1), {(0, 1)}))
    of_facts = normalize(vectors[0] + vectors[1] * present[:, 1:2], dim=-1)
    torch.testing.assert_close(told[2], by_hand(vectors[2], of_facts, {(0, 1), (2, 3)}))
    near = leave_one_out_loss(vectors, present, **args, exclude_within_s=60.0, of_person=(2,)).modality_loss
    torch.testing.assert_close(near, told, msg="windows are hours apart")


def test_masked_patches_neither_read_nor_tell_facts():
    columns = [
        ModalityColumn(name="ppg", unit="au", channels=1, sampling_rate_hz=8.0, samples=96, encoding="f32"),
        ModalityColumn(name="acc", unit="g", channels=3, sampling_rate_hz=4.0, samples=48, encoding="f32"),
        ModalityColumn(name="static", unit="au", channels=1, sampling_rate_hz=2 / 12, samples=2, encoding="f32"),
    ]
    generator, rows = torch.Generator().manual_seed(0), torch.arange(5)
    signals = {
        one.name: Signal(
            torch.randn(5, one.channels, one.samples, generator=generator),
            torch.ones(5, one.samples, dtype=torch.bool),
            one.sampling_rate_hz,
        )
        for one in columns
    }
    whole = Batch(("ppg", "acc", "static"), signals, torch.ones(5, 3, dtype=torch.bool), rows, rows.double(), rows)
    keep = torch.ones(5, 3, dtype=torch.bool)
    keep[:, 0] = False
    seen = whole.without(keep)
    values = torch.randn(5, 3, 6, generator=generator).requires_grad_()

    def report(names, values):
        loss = build("losses", "masked_patches", {})
        loss.shape([one for one in columns if one.name in names], 6, 0)
        loss.learn_scale(whole.over(names))
        embeddings = Embeddings(values, keep[:, : values.shape[1]])
        return loss(Encoded(embeddings, embeddings, seen.over(names), whole.over(names)))

    told, plain = report(("ppg", "acc", "static"), values), report(("ppg", "acc"), values[:, :2])
    assert set(told.parts) == {"ppg", "acc"}
    assert torch.equal(told.value, plain.value)
    told.value.backward()
    assert (values.grad[:, 2] == 0).all()
    assert values.grad[:, 1].abs().sum() > 0


def test_a_batch_names_what_is_of_a_person():
    values, present = two_windows(("static", "ppg"))
    batch = encoded(values, present, (0, 0), ("static", "ppg")).seen
    assert batch.of_person == (0,)
    assert replace(batch, modalities=("temp", "ppg")).of_person == ()

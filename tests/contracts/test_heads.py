"""What every head of the table promises."""

import pytest
import torch

from hdt_fm.schema.protocols import Embeddings, Head, HeadInput
from hdt_fm.schema.registry import build, names
from hdt_fm.training.heads import take

HEADS = names("heads")
ANSWERS = {
    "event_risk": [
        {"in_features": 5, "known": 3, "horizons": 2, "events": 3, "width": 16, "kind": kind}
        for kind in ("gru", "lstm", "transformer")
    ],
    "probe": [
        {"in_features": 5, "out_features": 3, "kind": "class"},
        {"in_features": 5, "out_features": 2, "kind": "value"},
    ],
    "forecast": [
        {"in_features": 5, "horizon": 2, "width": 16, "kind": "gru"},
        {"in_features": 5, "horizon": 2, "width": 16, "kind": "transformer"},
    ],
    "series_forecast": [
        {"in_features": 5, "known": 3, "horizons": 2, "levels": [0.1, 0.5, 0.9], "width": 16, "kind": kind}
        for kind in ("gru", "lstm", "transformer")
    ],
    "severity": [
        *(
            {"in_features": 5, "known": 3, "horizons": 2, "treatments": 2, "plan_steps": 3, "width": 16, "kind": kind}
            for kind in ("gru", "lstm", "transformer")
        ),
        {"known": 3, "horizons": 2},
    ],
}
CASES = [(name, args) for name, variants in ANSWERS.items() for args in variants]


# Given a past and a plan, or exposures, not a `HeadInput`: their own files in tests/heads hold what they promise.
OF_PLANS, OF_EXPOSURES = ("meal_response", "outcome", "plan_response"), ("exposure_dose",)


def test_the_table_has_ten_of_which_one_only_serves_training_and_four_answer_of_plans_and_exposures():
    assert HEADS == (
        "event_risk",
        "exposure_dose",
        "forecast",
        "meal_response",
        "outcome",
        "plan_response",
        "probe",
        "projection",
        "series_forecast",
        "severity",
    )
    assert sorted({*ANSWERS, *OF_PLANS, *OF_EXPOSURES, "projection"}) == list(HEADS)


def inputs_of(batch=4):
    recent = torch.randn(batch, 7)
    recent[:, -2:] = torch.nan
    observed = torch.ones(batch, 7, dtype=torch.bool)
    observed[1] = False
    context, known = torch.randn(batch, 7, 5) * observed[..., None], torch.randn(batch, 3)
    return HeadInput(context, observed, recent, plan=torch.rand(batch, 3, 2), known=known)


def target_of(name, args, batch=4):
    if name == "probe" and args["kind"] == "class":
        return torch.arange(batch).float() % 3
    if name == "event_risk":
        return (torch.arange(batch * 6).reshape(batch, 2, 3) % 4 == 0).float()
    if name == "severity":
        return (torch.arange(batch * 4).reshape(batch, 2, 2) % 3).float()
    return torch.randn(batch, 2)


@pytest.mark.parametrize(("name", "args"), CASES)
def test_a_head_answers_and_learns(name, args):
    torch.manual_seed(0)
    head = build("heads", name, args)
    assert isinstance(head, Head)
    inputs, target = inputs_of(), target_of(name, args)
    counts = torch.ones_like(target, dtype=torch.bool)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        losses.append(head.loss(head(inputs), target, counts))
        losses[-1].backward()
        optimizer.step()
    assert losses[0].shape == ()
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize(("name", "args"), CASES)
def test_uncounted_targets_teach_nothing(name, args):
    torch.manual_seed(0)
    head = build("heads", name, args)
    output, target = head(inputs_of()), target_of(name, args)
    counts = torch.zeros_like(target, dtype=torch.bool)
    nowhere = head.loss(output, torch.full_like(target, torch.nan), counts)
    nowhere.backward()
    assert nowhere.item() == 0
    assert all((weight.grad == 0).all() for weight in head.parameters() if weight.grad is not None)
    counts[:2] = True
    half, other = target.clone(), target.clone()
    half[2:], other[2:] = torch.nan, 1.0
    assert torch.equal(head.loss(head(inputs_of()) * 0, half, counts), head.loss(head(inputs_of()) * 0, other, counts))


@pytest.mark.parametrize(("name", "args"), CASES)
def test_rows_do_not_see_each_other(name, args):
    torch.manual_seed(0)
    head = build("heads", name, args).eval()
    inputs = inputs_of()
    alone = head(take(inputs, torch.tensor([1])))
    torch.testing.assert_close(alone[0], head(inputs)[1], atol=1e-5, rtol=1e-5)


def test_the_projection_serves_embeddings():
    torch.manual_seed(0)
    head = build("heads", "projection", {"modalities": 2, "width": 5})
    out = head(Embeddings(torch.randn(3, 2, 5), torch.ones(3, 2, dtype=torch.bool)))
    assert out.values.shape == (3, 2, 32)

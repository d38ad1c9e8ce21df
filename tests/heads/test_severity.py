"""Severity of outcomes: where it begins, what it is taught, whom it answers, and simulated lives never seen."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from hdt_fm.heads.severity import Severity
from hdt_fm.layers.ordinal import class_probabilities
from hdt_fm.metrics.ordinal import GRADES, log_loss, rps
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.protocols import HeadInput
from hdt_fm.schema.series import Series
from hdt_fm.signal.moments import moments_of
from hdt_fm.signal.severity import severity_within
from hdt_fm.simulation.glucose_cohort import what_if_cohort
from hdt_fm.simulation.glucose_life import History
from hdt_fm.training.severities import ask_severity, fit_severity

AHEAD, STEPS = 24, 4


def head_of(**more):
    torch.manual_seed(0)
    return Severity(**{"known": 4, "horizons": 2, "hidden": 16, "members": 2, **more}).eval()


def inputs_of(batch=40, plan=None):
    torch.manual_seed(1)
    known = torch.randn(batch, 4)
    known[1, 2] = torch.nan
    return HeadInput(torch.zeros(batch, 1, 0), torch.ones(batch, 1, dtype=torch.bool), known=known, plan=plan)


def test_a_head_begins_with_how_often_each_class_came():
    head, inputs = head_of(), inputs_of(200)
    rows = torch.arange(200)
    severity = torch.stack([(rows % 10 < part).double() + (rows % 10 < 1) for part in (2, 5)], dim=1)
    severity = severity[..., None].repeat(1, 1, 2)
    severity[:100, :, 0] = torch.nan
    severity[..., 1] = 0.0
    head.learn_scale(inputs, severity)
    said = head.probabilities(inputs)
    assert said.dtype == torch.float64
    assert said[0, :, 0].flatten().tolist() == pytest.approx([0.8, 0.1, 0.1, 0.5, 0.4, 0.1], abs=1e-5)
    # Never seen, so held at a rate that is not 0.
    assert (said[:, :, 1, 1:] > 0).all()
    assert (said[:, :, 1, 1:].sum(-1) < 0.002).all()
    assert torch.equal(said[0], said[7])


def test_losses_of_members_are_counted_in_those_of_the_mere_rates():
    head, inputs = head_of(), inputs_of(1000)
    rows = torch.arange(1000)
    severity = torch.stack([(rows % 100 < part).double() + (rows % 100 < 1) for part in (3, 40)], dim=1)
    severity = severity[..., None].repeat(1, 1, 2)
    head.learn_scale(inputs, severity)
    said = head(inputs)
    for horizon in range(2):
        alone = torch.full_like(severity, torch.nan)
        alone[:, horizon, 0] = severity[:, horizon, 0]
        assert head.member_loss(said, alone).item() == pytest.approx(1.0, abs=1e-4)
    share = class_probabilities(said[0, 1, 0]).tolist()
    nats = -sum(part * np.log(part) for part in share)
    counts = torch.zeros_like(severity, dtype=torch.bool)
    counts[:, 1, 0] = True
    assert head.loss(said, severity, counts).item() == pytest.approx(nats, rel=1e-4)
    assert "weight" not in head.state_dict()


def test_members_are_averaged_in_log_odds_and_keep_the_order():
    head = head_of(members=3)
    for weight in head.members.parameters():
        torch.nn.init.normal_(weight, std=2.0)
    inputs = inputs_of()
    each = torch.stack([member(head.scaled(inputs)) for member in head.members])
    assert each.std(0).min() > 0
    assert torch.allclose(head(inputs), each.mean(0))
    assert (head(inputs).diff(dim=-1) < 0).all()
    assert (head(inputs).diff(dim=1) >= 0).all()


def test_the_plan_is_read_and_only_plans_that_somebody_followed():
    plan = torch.rand(40, 3, 2)
    plan[:, 2, 1] = 0.0
    head, inputs = head_of(treatments=2, plan_steps=3), inputs_of(plan=plan)
    severity = (torch.arange(160) % 3).double().reshape(40, 2, 2)
    head.learn_scale(inputs, severity)
    for member in head.members:
        torch.nn.init.normal_(member.network.leave.weight)
    changed = plan.clone()
    changed[5, 1, 0] += 1.0
    moved = (head(replace(inputs, plan=changed)) - head(inputs)).abs().sum((1, 2, 3))
    assert moved[5] > 0
    assert moved.count_nonzero() == 1
    changed[6, 2, 1] = 0.5
    with pytest.raises(ShapeError, match="gives what nobody was given"):
        head(replace(inputs, plan=changed))


@pytest.mark.parametrize("plan", [None, torch.zeros(40, 2, 2), torch.full((40, 3, 2), torch.nan)])
def test_a_plan_that_does_not_fit_is_refused(plan):
    with pytest.raises(ShapeError, match="needs a plan"):
        head_of(treatments=2, plan_steps=3)(inputs_of(plan=plan))


@pytest.mark.parametrize("wrong", [{"members": 0}, {"treatments": -1}, {"plan_steps": 0}, {"known": 0}])
def test_what_cannot_be_built_is_refused(wrong):
    with pytest.raises(ConfigError, match="severity head cannot be built"):
        head_of(**wrong)


def test_unknown_classes_and_lone_people_are_refused():
    severity = (np.arange(160) % 3).astype(float).reshape(40, 2, 2)
    people = np.arange(40) % 4
    for wrong, group in ((severity, people * 0), (severity + 1, people), (severity * 0, people)):
        with pytest.raises(ConfigError, match="nothing to fit a severity on"):
            fit_severity(head_of(), inputs_of(), wrong, group)


def told(history: History):
    """Moments every half hour: readings, what was taken before, and as the plan what was taken within two hours."""
    length = history.cgm_mg_dl.shape[1]
    series = [
        Series(values.astype(np.float32), np.ones(length, dtype=bool), 300.0, 1_700_006_400.0, life, life)
        for life, values in enumerate(history.cgm_mg_dl)
    ]
    moments = moments_of(series, context_s=7200.0, horizons_s=(3600.0, 7200.0), every_s=1800.0)
    grades = [[grade.of for grade in some] for some in GRADES["glucose"].values()]
    severity = severity_within(moments, series, grades)
    tables = (history.bolus_units, history.carbs_g)
    sums = [np.concatenate([np.zeros((len(table), 1)), table.cumsum(axis=1)], axis=1) for table in tables]
    life, now = moments.series, moments.place
    before = [some[life, now] - some[life, (now - back).clip(min=0)] for some in sums for back in (12, 36)]
    level = moments.context
    known = np.stack(
        [level[:, -1], level[:, -1] - level[:, -4], level[:, -1] - level[:, -7], level.mean(axis=1), *before], axis=1
    )
    edges = (now[:, None] + np.arange(0, AHEAD + 1, AHEAD // STEPS)).clip(max=length)
    plan = np.stack([np.diff(some[life[:, None], edges], axis=1) for some in sums], axis=-1)
    empty = torch.zeros(len(now), 1, 0), torch.ones(len(now), 1, dtype=torch.bool)
    inputs = HeadInput(*empty, known=torch.from_numpy(known).float(), plan=torch.from_numpy(plan).float())
    return inputs, severity, life


def independent(features, severity, asked):
    """A logistic regression for at least each class by itself; where they cross, the worse one gives way."""
    reached = [LogisticRegression(max_iter=300).fit(features, severity >= k).predict_proba(asked)[:, 1] for k in (1, 2)]
    severe = np.minimum(*reached)
    crossed = float((reached[1] > reached[0]).mean())
    said = np.stack([1 - reached[0], reached[0] - severe, severe], axis=1).clip(1e-6)
    return said / said.sum(axis=1, keepdims=True), crossed


def test_simulated_people_never_seen():
    """Better than rates and than classes learned apart, which cross; by the log-loss and the RPS of classes."""
    world = what_if_cohort(seed=0, train_per_age=6, test_per_age=3, replicates=1, days=10)
    (inputs, severity, people), (asked, truth, _) = told(world.train), told(world.test)
    torch.manual_seed(0)
    head = Severity(known=8, horizons=2, treatments=2, plan_steps=STEPS, members=2, hidden=64)
    fit_severity(head, inputs, severity, people)
    ours = ask_severity(head, asked)
    rows = [torch.cat((some.known, some.plan.flatten(1)), dim=1).double().numpy() for some in (inputs, asked)]
    rows = [(some - rows[0].mean(axis=0)) / rows[0].std(axis=0) for some in rows]
    scores, crossed = [], []
    for horizon, outcome in np.ndindex(2, 2):
        learn, judge = (np.isfinite(some[:, horizon, outcome]) for some in (severity, truth))
        came = truth[judge, horizon, outcome]
        rates = np.bincount(severity[learn, horizon, outcome].astype(int), minlength=3) / learn.sum()
        apart, share = independent(rows[0][learn], severity[learn, horizon, outcome], rows[1][judge])
        crossed.append(share)
        models = (ours[judge, horizon, outcome], apart, np.tile(rates, (len(came), 1)))
        scores.append([[score(said, came) for said in models] for score in (log_loss, rps)])
    by_model = np.array(scores)
    # Of the rates' log-loss more than a third is gone, of every horizon and outcome a fifth.
    assert (by_model[:, 0, 0] < 0.8 * by_model[:, 0, 2]).all()
    assert by_model[:, 0, 0].mean() < 0.66 * by_model[:, 0, 2].mean()
    assert by_model[:, 0, 0].mean() < 0.97 * by_model[:, 0, 1].mean()
    assert by_model[:, 1, 0].mean() < by_model[:, 1, 1].mean()
    assert max(crossed) > 0.01

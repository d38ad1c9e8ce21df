import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from hdt_fm.heads.series_forecast import SeriesForecast
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.protocols import Ensemble
from hdt_fm.training.forecasts import ask, inputs_of
from hdt_fm.training.updating import update
from hdt_fm.training.updating.adapters import adapted, change_of, onto
from hdt_fm.training.updating.anchors import anchors_of
from hdt_fm.training.updating.kept import load_anchors, save_anchors
from hdt_fm.training.updating.memory import RowMemory
from hdt_fm.training.updating.prototypes import PrototypeMemory
from hdt_fm.training.updating.rows import Layout, Taught, taught
from hdt_fm.training.updating.strategies import STRATEGIES
from hdt_fm.training.updating.update import UpdateSettings, learn_domain

LEVELS = (0.1, 0.5, 0.9)
STEPS = UpdateSettings(steps=120, batch_size=64, learning_rate=5e-3)


def domain(slope, seed, people=10, each=80, extra=False):
    """Glucose changes by `slope` times the first feature; domains differ in it where the second one says so."""
    draws = np.random.default_rng(seed)
    many = people * each
    known = draws.standard_normal((many, 3))
    known[:, 1] = np.sign(slope) + 0.5 * known[:, 1]
    known[:, 2] = known[:, 2] if extra else np.nan
    change = np.stack([20.0 * slope * known[:, 0], 10.0 * slope * known[:, 0]], axis=1)
    if extra:
        change += 15.0 * known[:, 2:]
    change += draws.standard_normal(change.shape)
    person = np.repeat([f"{seed}-{number}" for number in range(people)], each)
    return known, np.full(many, 120.0), change, person


def head_on(first, members=1):
    torch.manual_seed(0)
    head = SeriesForecast(known=3, horizons=2, levels=LEVELS, members=members, hidden=32)
    head.learn_scale(inputs_of(first[0], first[1]), torch.from_numpy(first[2]))
    learn_domain(head, rows(head, first), STEPS)
    return head


def rows(head, one):
    return taught(head, inputs_of(one[0], one[1]), one[2], one[3])


def error(head, one):
    said = ask(head, inputs_of(one[0], one[1]))[:, 0, 0] - one[1]
    return float(np.sqrt(((said - one[2][:, 0]) ** 2).mean()))


@pytest.fixture(scope="module")
def first():
    return domain(1.0, 0)


@pytest.fixture(scope="module")
def second():
    return domain(-1.0, 1)


@pytest.fixture(scope="module")
def head(first):
    return head_on(first)


def test_the_head_is_one_that_can_be_taught_on(head, first):
    assert isinstance(head, Ensemble)
    assert error(head, first) < 6.0


def test_nothing_held_forgets_and_rehearsal_does_not(head, first, second):
    plain = copy.deepcopy(head)
    learn_domain(plain, rows(plain, second), STEPS)
    was, forgot = error(head, first), error(plain, first)
    strange = error(head, second)
    assert error(plain, second) < 0.6 * strange
    for memory in (RowMemory(rows(head, first).layout), PrototypeMemory(rows(head, first).layout, components=8)):
        kept = copy.deepcopy(head)
        memory.add("first", rows(head, first))
        learn_domain(kept, rows(kept, second), STEPS, memory=memory)
        assert error(kept, second) < 0.6 * strange
        assert error(kept, first) - was < 0.5 * (forgot - was), type(memory).__name__


@pytest.mark.parametrize("held", [{"anchor": 100.0}, {"distil": 5.0}])
def test_what_is_held_moves_less(head, first, second, held):
    plain, kept = copy.deepcopy(head), copy.deepcopy(head)
    learn_domain(plain, rows(plain, second), STEPS)
    anchors = anchors_of(head, rows(head, first))
    learn_domain(kept, rows(kept, second), replace(STEPS, **held), anchors=anchors)
    assert error(kept, first) < error(plain, first)


def test_the_last_layer_alone_leaves_the_others(head, second):
    moved = copy.deepcopy(head)
    learn_domain(moved, rows(moved, second), UpdateSettings(steps=20, batch_size=64, trains="last"))
    changed = {
        name
        for (name, one), (_, was) in zip(moved.named_parameters(), head.named_parameters(), strict=True)
        if not torch.equal(one, was)
    }
    assert changed == {"members.0.network.leave.weight", "members.0.network.leave.bias"}


def test_an_adapter_is_all_that_changed_and_goes_onto_the_base_again(head, first, second):
    moved = copy.deepcopy(head)
    learn_domain(
        moved,
        rows(moved, second),
        replace(STEPS, trains="adapter", rank=4),
    )
    assert {name for name, _ in moved.named_parameters()} == {name for name, _ in head.named_parameters()}
    assert all(one.requires_grad for one in moved.parameters())
    assert error(moved, second) < 0.7 * error(head, second)
    change = change_of(head, moved, 4)
    assert {one.shape[1] for name, one in change.items() if name.endswith(".up")} == {4}
    again = onto(head, change)
    inputs = inputs_of(second[0], second[1])
    np.testing.assert_allclose(ask(again, inputs), ask(moved, inputs), atol=1e-3)
    assert error(head, first) < 6.0, "the base is as it was"
    with pytest.raises(ShapeError, match="does not fit"):
        onto(SeriesForecast(known=3, horizons=2, levels=LEVELS, members=1, hidden=16), change)
    with pytest.raises(ConfigError, match="rank"), adapted(head, 0):
        pass


def test_the_fisher_information_of_a_linear_head_is_that_of_the_books():
    """For squared error of one weight the slope is 2 (wx - y) x; its mean square is computed by hand."""

    class Line(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.members = torch.nn.ModuleList([torch.nn.Linear(2, 1, bias=False)])
            self.spread = torch.ones(())

        def member_loss(self, output, target):
            return (output - target).square().mean()

        def learn_scale(self, inputs, change): ...
        def learn_unseen(self, inputs): ...
        def scaled(self, inputs): ...
        def learn_hidden(self, inputs): ...

    class Reads(torch.nn.Module):
        def __init__(self, line):
            super().__init__()
            self.line = line

        def forward(self, inputs):
            return self.line(inputs.known)

    head = Line()
    head.members[0] = Reads(head.members[0])
    draws = np.random.default_rng(0)
    inputs = draws.standard_normal((40, 3)).astype(np.float32)
    target = draws.standard_normal((40, 1)).astype(np.float32)
    layout = Layout(known=2, windows=1, width=0, horizons=1)
    some = Taught(layout, inputs, target, np.array(["a"] * 40))
    weight = head.members[0].line.weight.detach().numpy()[0]
    slope = 2 * (inputs[:, :2] @ weight - target[:, 0])[:, None] * inputs[:, :2]
    once = anchors_of(head, some)
    np.testing.assert_allclose(once[0].mattered["line.weight"][0], (slope**2).mean(axis=0), rtol=1e-4)
    twice = anchors_of(head, some, once)
    np.testing.assert_allclose(twice[0].mattered["line.weight"], 2 * once[0].mattered["line.weight"], rtol=1e-5)
    assert float(once[0].penalty(head.members[0]).detach()) == 0.0
    with torch.no_grad():
        head.members[0].line.weight += 0.5
    wanted = 0.25 * float(once[0].mattered["line.weight"].sum())
    assert float(once[0].penalty(head.members[0]).detach()) == pytest.approx(wanted, rel=1e-5)


def test_anchors_are_kept_on_disk_as_they_are(head, first, tmp_path):
    anchors = anchors_of(head, rows(head, first), most=16)
    save_anchors(tmp_path, anchors)
    back = load_anchors(tmp_path)
    assert len(back) == 1
    for name, one in anchors[0].mattered.items():
        assert torch.equal(back[0].mattered[name], one)
        assert torch.equal(back[0].at[name], anchors[0].at[name])
    assert load_anchors(tmp_path / "none") == ()


def test_a_feature_that_nobody_had_is_read_from_its_first_domain_on_and_old_answers_stay(head, first):
    before, one = ask(head, inputs_of(first[0], first[1])), copy.deepcopy(head)
    extra = domain(1.0, 3, extra=True)
    unread = ask(one, inputs_of(extra[0], extra[1]))
    extra_nothing = (np.where([[True, True, False]], extra[0], np.nan), *extra[1:])
    np.testing.assert_array_equal(unread, ask(one, inputs_of(extra_nothing[0], extra[1])))
    new = rows(one, extra)
    np.testing.assert_array_equal(ask(one, inputs_of(first[0], first[1])), before)
    assert np.std(new.inputs[:, 2]) == pytest.approx(1.0, abs=0.1)
    learn_domain(one, new, STEPS)
    assert error(one, extra) < 8.0


def test_the_same_seed_teaches_the_same(head, second):
    one, other = copy.deepcopy(head), copy.deepcopy(head)
    short = UpdateSettings(steps=15, batch_size=64)
    for number, some in enumerate((one, other)):
        torch.manual_seed(number)
        learn_domain(some, rows(some, second), short, seed=3)
    inputs = inputs_of(second[0], second[1])
    np.testing.assert_array_equal(ask(one, inputs), ask(other, inputs))


def test_people_of_one_group_are_on_one_side(head, second, monkeypatch):
    """Each member's people apart, as the lesson is given them."""
    groups = np.array([f"g{int(one.split('-')[1]) // 3}" for one in second[3]])
    given = taught(head, inputs_of(second[0], second[1]), second[2], second[3], groups)
    seen = []

    class Watches(update._Lesson):
        def __init__(self, *arguments):
            seen.append(arguments[3])
            super().__init__(*arguments)

    monkeypatch.setattr(update, "_Lesson", Watches)
    learn_domain(copy.deepcopy(head), given, UpdateSettings(steps=2, batch_size=8), seed=4)
    assert seen
    for apart in seen:
        assert apart.any()
        assert not set(groups[apart]) & set(groups[~apart])
    alone = replace(given, group=np.array(["g"] * len(given)))
    with pytest.raises(ConfigError, match="share no group"):
        learn_domain(copy.deepcopy(head), alone, STEPS)


def test_a_head_may_say_how_far_its_answers_moved(head, second):
    """With such a head, distilling asks it, and no squared difference is taken."""

    class Asked(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.members, self.inner, self.calls = inner.members, inner, 0

        def member_loss(self, output, target):
            return self.inner.member_loss(output, target)

        def moved_from(self, output, before):
            self.calls += 1
            return 1e6 * (output - before).abs().mean()

    held = copy.deepcopy(head)
    asked = Asked(held)
    assert isinstance(asked, update.Distils)
    learn_domain(asked, rows(held, second), UpdateSettings(steps=20, batch_size=32, distil=1.0))
    assert asked.calls > 20
    known = inputs_of(second[0], second[1])
    np.testing.assert_array_equal(ask(held, known), ask(head, known))


def test_one_person_is_no_domain(head):
    with pytest.raises(ConfigError, match="twin update"):
        learn_domain(head, rows(head, domain(1.0, 5, people=1)), STEPS)


def test_every_named_way_says_what_it_is():
    for name, way in STRATEGIES.items():
        assert way.summary, name
        made = way.memory(Layout(known=6, windows=1, width=0, horizons=2), most_bytes=10_000, seed=0)
        assert (made is None) == (way.keeps == "nothing")

import numpy as np
import pytest
import torch

from hdt_fm.schema.errors import CheckpointError, ConfigError, ShapeError
from hdt_fm.training.updating.kept import load_memory, save_memory
from hdt_fm.training.updating.memory import Memory, RowMemory, balanced
from hdt_fm.training.updating.prototypes import PrototypeMemory
from hdt_fm.training.updating.rows import Layout, Taught, read

# Three features, one of which is unknown at times; two windows of four components; two horizons.
LAYOUT = Layout(known=6, windows=2, width=4, horizons=2)


def rows(people=10, each=60, seed=0, level=0.0):
    """Targets are sums of features, so that a mixture has something to keep."""
    draws = np.random.default_rng(seed)
    many = people * each
    values = draws.standard_normal((many, 3)) + level
    seen = draws.random(many) < 0.7
    values[:, 2] *= seen
    flags = np.stack([np.zeros(many), np.zeros(many), seen], axis=1)
    there = draws.random((many, 2)) < 0.8
    context = draws.standard_normal((many, 2, 4)) * there[..., None]
    inputs = np.concatenate([values, flags, context.reshape(many, -1), there], axis=1)
    target = np.stack([values[:, 0] + values[:, 1], values[:, 2] - values[:, 0]], axis=1)
    target[0, 0] = np.nan
    person = np.repeat([f"p{number}" for number in range(people)], each)
    return Taught(LAYOUT, inputs.astype(np.float32), target.astype(np.float32), person)


@pytest.fixture(params=["rows", "prototypes"])
def memory(request):
    return RowMemory(LAYOUT) if request.param == "rows" else PrototypeMemory(LAYOUT, components=6, rank=6)


def test_what_is_drawn_is_like_what_was_taught(memory):
    given = rows()
    memory.add("one", given)
    inputs, target = memory.draw(20_000, np.random.default_rng(0))
    assert isinstance(memory, Memory)
    assert inputs.shape == (20_000, LAYOUT.inputs)
    both = np.concatenate([inputs, np.nan_to_num(target)], axis=1)
    true = np.concatenate([given.inputs, np.nan_to_num(given.target)], axis=1)
    np.testing.assert_allclose(both.mean(axis=0), true.mean(axis=0), atol=0.12)
    # The law between inputs and target is what a head is to learn from them.
    law = np.linalg.lstsq(inputs[:, :3], np.nan_to_num(target), rcond=None)[0]
    np.testing.assert_allclose(law, [[1, -1], [1, 0], [0, 1]], atol=0.12)


def test_flags_are_yes_or_no_and_what_is_not_there_is_nothing(memory):
    memory.add("one", rows())
    inputs, _ = memory.draw(500, np.random.default_rng(0))
    assert set(np.unique(inputs[:, 3:6])) == {0.0, 1.0}
    assert (inputs[:, 3:5] == 0).all(), "features that were always known have no flag"
    assert (inputs[inputs[:, 5] == 0, 2] == 0).all()
    found = read(LAYOUT, torch.from_numpy(inputs))
    assert found.context.shape == (500, 2, 4)
    assert (found.context[~found.observed] == 0).all()
    assert 0.7 < found.observed.float().mean() < 0.9


def test_domains_weigh_alike_whatever_their_size(memory):
    memory.add("many", rows(people=20, level=2.0))
    memory.add("few", rows(people=5, each=40, level=-2.0))
    inputs, _ = memory.draw(4000, np.random.default_rng(0))
    assert memory.domains == ("many", "few")
    assert 0.45 < (inputs[:, 0] > 0).mean() < 0.55
    only, _ = memory.draw(400, np.random.default_rng(0), domain="few")
    assert (only[:, 0] < 0).mean() > 0.9


def test_who_withdraws_is_in_nothing_that_is_drawn_or_kept(memory):
    given = rows(people=10)
    # One person's rows are far from all others', so that whatever holds them shows.
    given.inputs[given.person == "p3", 0] = 7.0
    memory.add("one", given)
    assert (memory.draw(4000, np.random.default_rng(0))[0][:, 0] > 5).any()
    before = memory.bytes
    assert memory.withdraw("p3") > 0
    assert not (memory.draw(4000, np.random.default_rng(0))[0][:, 0] > 5).any()
    assert memory.bytes < before
    assert "p3" not in str(memory.kept())
    assert memory.withdraw("p3") == 0


def test_the_last_person_takes_the_domain_along(memory):
    memory.add("one", rows(people=5))
    for person in range(5):
        memory.withdraw(f"p{person}")
    assert memory.domains == ()
    assert memory.bytes == 0


def test_it_is_kept_on_disk_as_it_is(memory, tmp_path):
    memory.add("one", rows())
    memory.add("two", rows(seed=1, level=3.0))
    save_memory(tmp_path, memory)
    back = load_memory(tmp_path)
    assert back.domains == memory.domains
    assert back.bytes == memory.bytes
    for one, other in zip(
        memory.draw(50, np.random.default_rng(1)), back.draw(50, np.random.default_rng(1)), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    size = sum(path.stat().st_size for path in tmp_path.glob("*.safetensors"))
    assert size == pytest.approx(memory.bytes, rel=0.2)


def test_a_folder_without_memory_and_one_of_a_later_format(tmp_path, memory):
    assert load_memory(tmp_path) is None
    memory.add("one", rows())
    save_memory(tmp_path, memory)
    words = tmp_path / "memory.json"
    whole = words.read_text()
    words.write_text(whole.replace('"format": 1', '"format": 2'))
    with pytest.raises(CheckpointError, match="later hdt_fm"):
        load_memory(tmp_path)
    words.write_text(whole[:50])
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_memory(tmp_path)


def test_rows_keep_their_bytes_and_people_alike():
    row = 2 * (LAYOUT.inputs + LAYOUT.horizons) + 4
    memory = RowMemory(LAYOUT, most_bytes=100 * row)
    memory.add("one", rows(people=10, each=60))
    assert memory.bytes == 100 * row
    memory.add("two", rows(people=10, each=60, seed=1))
    memory.add("three", rows(people=4, each=2))
    assert memory.bytes <= 100 * row
    arrays, plain = memory.kept()
    assert np.bincount(arrays["0.person"]).tolist() == [4] * 3 + [3] * 7 or len(arrays["0.person"]) == 33
    assert plain["domains"] == ["one", "two", "three"]
    with pytest.raises(ConfigError, match="not even two rows"):
        RowMemory(LAYOUT, most_bytes=row)


def test_people_are_balanced_as_far_as_their_rows_allow():
    person = np.array(["a"] * 50 + ["b"] * 3 + ["c"] * 20)
    kept = person[balanced(person, 21, np.random.default_rng(0))]
    assert {one: int((kept == one).sum()) for one in "abc"} == {"a": 9, "b": 3, "c": 9}
    assert len(balanced(person, 500, np.random.default_rng(0))) == 73


def test_prototypes_hold_no_row_of_anyone():
    given = rows(people=15, each=60)
    memory = PrototypeMemory(LAYOUT, components=8, rank=4)
    memory.add("one", given)
    arrays, plain = memory.kept()
    both = np.concatenate([given.inputs, np.nan_to_num(given.target)], axis=1)
    means = np.concatenate([value for name, value in arrays.items() if name.endswith(".mean")])
    assert np.abs(means[:, None] - both[None]).max(axis=-1).min() > 0.05, "a prototype is nobody's row"
    assert [len(cell) for cell in plain["people"][0]] == [5, 5, 5]
    assert all(len(value) <= 8 for name, value in arrays.items() if name.endswith(".weight"))


def test_a_few_cannot_hide_among_themselves():
    with pytest.raises(ConfigError, match="5 people or more"):
        PrototypeMemory(LAYOUT).add("one", rows(people=4))
    with pytest.raises(ConfigError, match="made of"):
        PrototypeMemory(LAYOUT, components=0)


def test_no_component_is_of_one_person():
    """A person far from all others would have a component of their own; it joins one that more people share."""
    given = rows(people=5, each=60)
    given.inputs[given.person == "p0", :3] += 6.0
    memory = PrototypeMemory(LAYOUT, components=8, rank=4)
    memory.add("one", given)
    means = memory.kept()[0]["0.0.mean"]
    assert (means[:, 0] < 4.0).all()


def test_rows_that_do_not_fit_each_other_are_refused():
    given = rows(people=2, each=3)
    with pytest.raises(ShapeError, match="do not hold together"):
        Taught(LAYOUT, given.inputs, given.target, given.person[:-1])


def of_kind(target, kind, people=10, each=60, seed=0):
    """As `rows`, of another kind of target."""
    given = rows(people, each, seed)
    layout = Layout(known=6, windows=2, width=4, horizons=target.shape[1], target=kind)
    return Taught(layout, given.inputs, target.astype(np.float32), given.person)


def classes_of(given):
    """Three classes by the first two features; the last one is rare."""
    first, second = given.inputs[:, 0], given.inputs[:, 1]
    return np.where(second > 1.2, 2, first > 0).astype(np.float64)[:, None]


@pytest.mark.parametrize("kind", [RowMemory, PrototypeMemory])
def test_classes_are_drawn_whole_as_often_as_they_came_and_with_what_goes_with_them(kind, tmp_path):
    given = of_kind(classes_of(rows()), "class")
    memory = kind(given.layout)
    memory.add("one", given)
    inputs, target = memory.draw(20_000, np.random.default_rng(0))
    assert set(np.unique(target)) == {0.0, 1.0, 2.0}
    share = np.bincount(target[:, 0].astype(int)) / len(target)
    np.testing.assert_allclose(share, np.bincount(given.target[:, 0].astype(int)) / len(given), atol=0.02)
    for number in range(3):
        drawn, true = inputs[target[:, 0] == number, :2], given.inputs[given.target[:, 0] == number, :2]
        np.testing.assert_allclose(drawn.mean(axis=0), true.mean(axis=0), atol=0.1)
    save_memory(tmp_path, memory)
    assert load_memory(tmp_path).layout == given.layout


def test_a_class_of_two_people_is_in_no_prototype_and_a_domain_that_has_no_other_is_refused():
    target = classes_of(rows())
    rare = target[:, 0] == 2
    person = rows().person
    # The rare class is of two people: no component may be of them alone.
    target[rare & ~np.isin(person, ["p0", "p1"])] = 1.0
    with pytest.raises(ConfigError, match="shared by too few people") as found:
        PrototypeMemory(of_kind(target, "class").layout).add("one", of_kind(target, "class"))
    assert "p0" not in str(found.value)


def test_a_class_that_is_too_rare_for_two_cells_takes_one():
    given = of_kind(classes_of(rows()), "class")
    rare = np.flatnonzero(given.target[:, 0] == 2)
    keep = np.setdiff1d(np.arange(len(given)), rare[34:])
    some = given.of(keep)
    memory = PrototypeMemory(given.layout)
    memory.add("one", some)
    assert [len(cell) for cell in memory.kept()[1]["people"][0]] == [10]
    assert 2.0 in memory.draw(4000, np.random.default_rng(0))[1]


def test_events_are_drawn_as_yes_or_no_as_often_as_they_came():
    draws, first = np.random.default_rng(3), rows(each=250).inputs[:, 0]
    common, rare = first + draws.standard_normal(len(first)) > 0, first + draws.standard_normal(len(first)) > 2.2
    unknown = np.full(len(first), np.nan)
    target = np.stack([common, rare, unknown], axis=1).astype(np.float64)
    # Where the first event is there already it is not asked: half of one corner.
    target[(first > 1.0) & (draws.random(len(first)) < 0.5), 0] = np.nan
    given = of_kind(target, "event", each=250)
    memory = PrototypeMemory(given.layout, components=8)
    memory.add("one", given)
    inputs, came = memory.draw(40_000, np.random.default_rng(0))
    assert set(np.unique(came[:, :2][np.isfinite(came[:, :2])])) == {0.0, 1.0}
    assert np.isnan(came[:, 2]).all()
    assert np.nanmean(came[:, 1]) == pytest.approx(np.nanmean(target[:, 1]), abs=0.01)
    low, high = inputs[:, 0] < -0.5, inputs[:, 0] > 0.5
    for column in range(2):
        wanted = [np.nanmean(target[first < -0.5, column]), np.nanmean(target[first > 0.5, column])]
        found = [np.nanmean(came[low, column]), np.nanmean(came[high, column])]
        np.testing.assert_allclose(found, wanted, atol=0.08)


def test_rows_know_who_must_be_on_one_side():
    given = rows(people=4, each=3)
    together = np.where(np.isin(given.person, ["p0", "p1"]), "family", given.person)
    some = Taught(LAYOUT, given.inputs, given.target, given.person, together)
    assert set(some.of(np.arange(6)).groups) == {"family"}
    both = some.joined(given)
    assert both.groups.tolist() == [*together, *given.person]
    with pytest.raises(ShapeError, match="do not hold together"):
        Taught(LAYOUT, given.inputs, given.target, given.person, together[:-1])


def test_events_of_which_too_few_moments_are_known_are_refused():
    """A domain without a cell could not be drawn from."""
    layout, draws = Layout(known=2, windows=1, width=2, horizons=1, target="event"), np.random.default_rng(0)
    person = np.repeat([f"p{number}" for number in range(5)], 4)
    inputs, came = draws.standard_normal((20, layout.inputs)), np.zeros((20, 1))
    few = Taught(layout, inputs.astype(np.float32), came.astype(np.float32), person)
    memory = PrototypeMemory(layout)
    with pytest.raises(ConfigError, match="too few people to keep nothing of anyone") as found:
        memory.add("one", few)
    assert "30 moments or more" in str(found.value)
    assert memory.domains == ()

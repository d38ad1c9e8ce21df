"""Probes and heads of risks go on learning through the command line, under what holds for forecasts of series."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hdt_fm.checkpoint import load, load_preprocess, save_model
from hdt_fm.checkpoint.versions import Versions
from hdt_fm.cli.compose import compose_config
from hdt_fm.cli.main import EXIT_OK, EXIT_USER_ERROR, main
from hdt_fm.cli.update.heads import KINDS, REFUSED, teaching
from hdt_fm.cli.update.line import State
from hdt_fm.cli.update.people import People, check_cut
from hdt_fm.cli.update.probe import Way
from hdt_fm.cli.update.taken import learned_from
from hdt_fm.cli.workflow import new_model, open_shards, people_of, preprocess_of
from hdt_fm.data.shards import ShardFolder
from hdt_fm.report.check import verify_sums
from hdt_fm.report.updates import read_updates
from hdt_fm.schema.errors import CheckpointError, ConfigError, UnknownNameError
from hdt_fm.schema.ledger import Told
from hdt_fm.schema.manifest import Part
from hdt_fm.schema.protocols import HeadInput
from hdt_fm.schema.shard import LabelColumn

TINY = ["experiment=demo", "debug=tiny", "cohort.subjects=16", "cohort.hours=0.4", "split.test=0.3", "update.steps=25"]
VALUE = ["finetune.label=heart_rate"]
# Enough for a probe of values to learn something of an encoder that was never trained.
LONGER = ["update.steps=200", "update.learning_rate=0.01"]
SEEDS = {"a": 0, "b": 77}


def words(folder: Path, site: str) -> list[str]:
    return [*TINY, f"root={folder / site}", f"name={site}", f"cohort.seed={SEEDS[site]}"]


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated site with two probes on an encoder that saw only some of it, and a second site in shards."""
    folder = tmp_path_factory.mktemp("sites")
    assert main(["shard", *words(folder, "a")]) == EXIT_OK
    untrained(words(folder, "a"))
    for verb in ("embed", "finetune"):
        assert main([verb, *words(folder, "a")]) == EXIT_OK
    assert main(["finetune", *words(folder, "a"), *VALUE]) == EXIT_OK
    assert main(["shard", *words(folder, "b")]) == EXIT_OK
    return folder


def untrained(chosen: list[str]) -> None:
    """What `hdt-fm pretrain` would leave, without a step."""
    config = compose_config("pretrain", chosen)
    folder, checkpoint = open_shards(config), Path(config.value("checkpoint"))
    parts = people_of(config, folder)
    save_model(new_model(config, folder, parts.train), checkpoint, preprocess=preprocess_of(folder))
    names = [row.subject for row in folder.manifest.subjects]
    people = {part: [names[row] for row in getattr(parts, part)] for part in ("train", "validation", "test")}
    (checkpoint.parent / "people.json").write_text(json.dumps(people))


def begun(ground: Path, line: Path, *more: str) -> int:
    return main(["update", *words(ground, "a"), f"update.line={line}", *more])


def went_on(ground: Path, line: Path, *more: str) -> int:
    return main(["update", *words(ground, "b"), f"update.line={line}", *more])


def state(line: Path) -> State:
    with Versions(line).opened() as files:
        return State.read(files)


@pytest.fixture(scope="module")
def line(ground: Path) -> Path:
    line = ground / "line"
    assert begun(ground, line) == EXIT_OK
    assert went_on(ground, line, "update.most_forgotten=1") == EXIT_OK
    return line


def test_a_probe_learns_a_second_site_and_nothing_else_moves(ground: Path, line: Path) -> None:
    base, now = load(ground / "a" / "finetune" / "checkpoint").state_dict(), state(line).model.state_dict()
    moved = {name for name in base if not torch.equal(base[name], now[name])}
    assert moved == {"heads.probe_stress.linear.weight", "heads.probe_stress.linear.bias"}
    scores = Versions(line).entries[-1].scores
    for wanted in ("AUROC, b", "macro F1, b", "AUROC, b before it was learned", "AUROC, a as rehearsed"):
        assert 0 <= scores[wanted] <= 1, wanted
    assert "forgetting of a as rehearsed, in this update, AUROC" in scores


def test_prototypes_are_of_classes_and_of_nobody_who_is_asked(line: Path) -> None:
    found = state(line)
    assert found.memory is not None
    assert found.memory.layout.target == "class"
    inputs, target = found.memory.draw(400, np.random.default_rng(0), domain="a")
    assert set(np.unique(target)) == {0.0, 1.0}
    assert inputs.shape[1] == found.memory.layout.inputs
    kept = {who for cells in found.memory.kept()[1]["people"] for cell in cells for who in cell}
    assert not kept & {who for one in found.domains.domains for who in one.asked}


def test_what_a_head_says_of_people_is_what_the_finetuned_head_says(ground: Path) -> None:
    """The rows of an update against the features that `finetune` gave the probe."""
    config = compose_config("update", words(ground, "a"))
    model = load(ground / "a" / "finetune" / "checkpoint")
    way = teaching(config, model, "probe_stress")
    assert isinstance(way, Way)
    folder = ShardFolder.open(ground / "a" / "shard" / "windows")
    here = way.people(folder, None)
    rows = here.rows(here.name.tolist())
    table = way._table(folder).over(model.modalities)
    flat = torch.from_numpy(table.features()[rows])
    wanted = model.heads["probe_stress"].linear(flat).detach().numpy()
    np.testing.assert_allclose(way.answers(here, rows), wanted, atol=1e-5)
    own = way.taught(here, rows)
    np.testing.assert_array_equal(own.inputs, table.features()[rows])
    lesson = way.lesson(own, None)
    loss = lesson.member_loss(torch.from_numpy(wanted), torch.from_numpy(own.target))
    chance = np.exp(wanted) / np.exp(wanted).sum(axis=1, keepdims=True)
    by_hand = -np.log(chance[np.arange(len(rows)), here.came[rows, 0].astype(int)]).mean()
    assert float(loss) == pytest.approx(by_hand, rel=1e-4)


def test_a_probe_of_values_learns_in_spreads_and_is_judged_in_its_unit(ground: Path, tmp_path: Path) -> None:
    line = tmp_path / "line"
    assert begun(ground, line, *VALUE, "update.strategy=rows") == EXIT_OK
    assert went_on(ground, line, "update.accept=true", *LONGER) == EXIT_OK
    entry = Versions(line).entries[-1]
    assert entry.facts["head"] == "probe_heart_rate"
    unit = state(line).domains.label.unit
    assert unit
    assert list(Versions(line).entries[0].scores) == [f"MAE, a, {unit}"]
    assert entry.scores[f"MAE, b, {unit}"] < entry.scores[f"MAE, b before it was learned, {unit}"]
    _, target = state(line).memory.draw(500, np.random.default_rng(0), domain="a")
    assert abs(target.mean()) < 0.5, "in spreads around the first people's mean"


@pytest.mark.parametrize("strategy", ["ewc", "lwf"])
def test_each_strategy_that_makes_sense_goes_on(ground: Path, tmp_path: Path, strategy: str) -> None:
    line = tmp_path / "line"
    assert begun(ground, line, *VALUE, f"update.strategy={strategy}") == EXIT_OK
    assert went_on(ground, line, "update.accept=true", *LONGER) == EXIT_OK
    found = state(line)
    assert found.memory is None
    assert bool(found.anchors) == (strategy == "ewc")
    assert found.domains.domains[0].unjudged == 1
    assert Versions(line).entries[-1].facts["updates not judged on a"] == 1


def test_an_adapter_of_a_probe_is_of_its_domain_alone(ground: Path, tmp_path: Path, monkeypatch) -> None:
    line, taken = tmp_path / "line", tmp_path / "taken"
    assert begun(ground, line, "update.strategy=adapter") == EXIT_OK

    def moves(lesson: Any, *_: object, **__: object) -> None:
        with torch.no_grad():
            lesson.members[0].linear.weight[0] += 0.5

    monkeypatch.setattr("hdt_fm.cli.update.go_on.learn_domain", moves)
    assert went_on(ground, line) == EXIT_OK
    base = load(ground / "a" / "finetune" / "checkpoint").heads["probe_stress"].linear.weight
    assert torch.equal(state(line).head.linear.weight, base)
    assert main(["update", "take", str(line), "--to", str(taken), "domain=b"]) == EXIT_OK
    moved = load(taken).heads["probe_stress"].linear.weight - base
    torch.testing.assert_close(moved[0], torch.full_like(moved[0], 0.5), atol=1e-4, rtol=0)
    assert moved[1].abs().max() < 1e-4
    told = read_updates(taken).heads[0]
    assert (told.own, told.domains, told.updates) == ("b", ("a", "b"), 1)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["update.strategy=last_layer"], "a probe is one layer"),
        (["finetune.label=activity"], "no head that could go on learning"),
        (["head=forecast", "head.horizon=3"], "nobody has said yet what is rehearsed"),
        (["head=plan_response", "series.modality=glucose"], "one moment of nobody"),
    ],
)
def test_what_cannot_be_updated_is_said_with_its_reason(
    ground: Path, tmp_path: Path, more: list[str], message: str, capsys: pytest.CaptureFixture
) -> None:
    assert begun(ground, tmp_path / "line", *more) == EXIT_USER_ERROR
    assert message in capsys.readouterr().err
    assert not (tmp_path / "line").exists()
    assert not set(KINDS) & set(REFUSED)


def test_a_class_that_the_head_does_not_know_is_refused_and_others_are_found_by_name(ground: Path) -> None:
    config, folder = compose_config("update", words(ground, "a")), ShardFolder.open(ground / "a" / "shard" / "windows")
    model = load(ground / "a" / "finetune" / "checkpoint")
    own = teaching(config, model, "probe_stress").label(folder)
    assert own is not None
    turned = LabelColumn(name="stress", kind="class", classes=own.classes[::-1])
    here, other = (teaching(config, model, "probe_stress", one).people(folder, None) for one in (own, turned))
    np.testing.assert_array_equal(here.came[here.known], 1 - other.came[other.known])
    fewer = LabelColumn(name="stress", kind="class", classes=(own.classes[0], "tired"))
    with pytest.raises(ConfigError, match="cannot answer") as found:
        teaching(config, model, "probe_stress", fewer).people(folder, None)
    assert own.classes[1] in str(found.value)
    with pytest.raises(CheckpointError, match="no head"):
        teaching(config, model, "probe_nothing")
    model.config = model.config.model_copy(update={"heads": {**model.config.heads, "probe_x": Part(name="probe")}})
    model.heads["probe_x"] = model.heads["probe_stress"]
    with pytest.raises(UnknownNameError):
        teaching(config, model, "probe_x").label(folder)
    unit = LabelColumn(name="heart_rate", kind="value", unit="per fortnight")
    strange = teaching(config, model, "probe_heart_rate", unit)
    with pytest.raises(ConfigError, match="another one"):
        strange.people(folder, None)


def test_forgetting_adds_up_over_updates_and_the_sum_is_bounded(
    ground: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Two updates that each lose less than the bound, and together more."""
    line, left, who = tmp_path / "line", tmp_path / "left", tmp_path / "who.txt"
    assert begun(ground, line, *VALUE) == EXIT_OK
    # The second site once more, without one of its people: another season of it.
    shutil.copytree(ground / "b" / "shard" / "windows", left)
    who.write_text(ShardFolder.open(left).manifest.subjects[0].subject + "\n")
    assert main(["shard", "revoke", str(left), "--subjects", str(who)]) == EXIT_OK

    def drifts(lesson: Any, *_: object, **__: object) -> None:
        with torch.no_grad():
            lesson.members[0].linear.bias += 1.0

    monkeypatch.setattr("hdt_fm.cli.update.go_on.learn_domain", drifts)
    assert went_on(ground, line, *VALUE, "update.most_forgotten=1000") == EXIT_OK
    unit, first = state(line).domains.label.unit, state(line).domains.domains[0].lost
    again = [*VALUE, f"shards={left}", "update.domain=c"]
    assert went_on(ground, line, *again, "update.most_forgotten=1000") == EXIT_OK
    scores, both = Versions(line).entries[-1].scores, state(line).domains.domains[0].lost
    here = scores[f"forgetting of a as rehearsed, in this update, {unit}"]
    assert min(first, here) > 0
    assert scores[f"forgetting of a as rehearsed, {unit}"] == both == pytest.approx(first + here)
    assert main(["twin", "rollback", str(line)]) == EXIT_OK
    assert state(line).domains.domains[0].lost == first
    capsys.readouterr()
    between = (max(first, here) + both) / 2
    assert went_on(ground, line, *again, f"update.most_forgotten={between}") == EXIT_USER_ERROR
    assert "on each earlier domain since it was learned" in capsys.readouterr().err
    assert state(line).domains.updates == 1


def test_a_taken_head_says_that_it_was_updated(line: Path, tmp_path: Path) -> None:
    """What the card of `hdt-fm publish` rests on (tests/report/test_updates.py)."""
    taken = tmp_path / "taken"
    assert main(["update", "take", str(line), "--to", str(taken)]) == EXIT_OK
    assert torch.equal(load(taken).heads["probe_stress"].linear.weight, state(line).head.linear.weight)
    assert verify_sums(taken) == []
    told = read_updates(taken).heads[0]
    assert (told.head, told.updates, told.domains, told.own) == ("probe_stress", 1, ("a", "b"), None)
    assert told.strategy.startswith("prototypes (")
    assert told.scores == Versions(line).entries[-1].scores


def test_a_second_head_is_taken_beside_the_first(ground: Path, line: Path, tmp_path: Path) -> None:
    taken, other = tmp_path / "taken", tmp_path / "line"
    assert begun(ground, other, *VALUE, "update.strategy=going_on") == EXIT_OK
    assert went_on(ground, other, "update.accept=true") == EXIT_OK
    for one in (line, other):
        assert main(["update", "take", str(one), "--to", str(taken)]) == EXIT_OK
    found = load(taken).heads
    for one, name in ((line, "probe_stress"), (other, "probe_heart_rate")):
        assert torch.equal(found[name].linear.weight, state(one).head.linear.weight)
    told = json.loads((taken / "updates.json").read_text())
    assert [one["head"] for one in told["heads"]] == ["probe_stress", "probe_heart_rate"]
    (taken / "updates.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"updates\.json"):
        load(taken)


def test_an_adapter_that_changed_nothing_is_no_update(ground: Path, tmp_path: Path, monkeypatch) -> None:
    """A domain may end where it began; the shared head of adapters is never updated."""
    line, taken = tmp_path / "line", tmp_path / "taken"
    assert begun(ground, line, "update.strategy=adapter") == EXIT_OK
    monkeypatch.setattr("hdt_fm.cli.update.go_on.learn_domain", lambda *_, **__: None)
    assert went_on(ground, line) == EXIT_OK
    for domain in ([], ["domain=b"]):
        assert main(["update", "take", str(line), "--to", str(taken), *domain]) == EXIT_OK
        assert read_updates(taken) is None


def test_who_withdraws_takes_a_class_along_or_what_is_left_of_it(ground: Path, tmp_path: Path) -> None:
    line, who = tmp_path / "line", tmp_path / "who.txt"
    assert begun(ground, line) == EXIT_OK
    person = state(line).memory.kept()[1]["people"][0][0][0]
    who.write_text(person + "\n")
    assert main(["update", "withdraw", str(line), "--subjects", str(who)]) == EXIT_OK
    assert person.encode() not in b"".join(path.read_bytes() for path in line.rglob("*") if path.is_file())


def test_who_shares_a_group_with_somebody_asked_never_teaches(ground: Path) -> None:
    """Pseudonyms alone would let a brother teach what his sister is asked."""
    name, group = np.array(["ann", "ann", "bob", "cas", "dan"]), np.array([0, 0, 0, 1, 2])
    nothing = HeadInput(context=torch.zeros(5, 1, 1), observed=torch.ones(5, 1, dtype=torch.bool))
    folder = ShardFolder.open(ground / "a" / "shard" / "windows")
    here = People(folder, nothing, np.zeros((5, 1)), np.ones(5, dtype=bool), name, group)
    assert here.with_their_groups({"bob"}) == {"ann", "bob"}
    assert here.with_their_groups({"eve", "dan"}) == {"eve", "dan"}
    for seed in range(5):
        apart = here.apart(["ann", "bob", "cas", "dan"], 0.3, seed)
        assert apart in ({"ann", "bob"}, {"cas"}, {"dan"})
    assert here.apart(["ann", "bob", "cas", "dan"], 0.0, 0) == set()


def test_a_head_without_updates_is_taken_as_it_is(ground: Path, tmp_path: Path) -> None:
    line = tmp_path / "line"
    assert begun(ground, line) == EXIT_OK
    assert main(["update", "take", str(line), "--to", str(tmp_path / "taken")]) == EXIT_OK
    assert not (tmp_path / "taken" / "updates.json").exists()
    before = load_preprocess(ground / "a" / "finetune" / "checkpoint")
    assert load_preprocess(tmp_path / "taken") == before
    save_model(load(tmp_path / "taken"), tmp_path / "again", preprocess=before)


def test_a_line_begins_with_those_who_taught_its_head(ground: Path, tmp_path: Path, capsys) -> None:
    """Their own scores are what forgetting is measured from."""
    line, taught = tmp_path / "line", f"update.checkpoint={ground / 'a' / 'finetune' / 'checkpoint'}"
    # The record beside a checkpoint speaks of the head that was taught last.
    known = [*VALUE, f"checkpoint={ground / 'a' / 'pretrain' / 'checkpoint'}"]
    for more, message in (([], "There is no line here yet"), (known, "these shards did not")):
        for dry in ([], ["--dry-run"]):
            assert went_on(ground, line, taught, *more, *dry) == EXIT_USER_ERROR
            told = capsys.readouterr().err
            assert message in told
            assert "hdt-fm update experiment=FIRST" in told
    assert not line.exists()


def test_a_dry_run_refuses_what_the_update_would(ground: Path, line: Path, capsys) -> None:
    for more, message in (([], "of this name"), (["update.domain=c"], "these very shards")):
        assert went_on(ground, line, *more, "--dry-run") == EXIT_USER_ERROR
        assert message in capsys.readouterr().err


def test_shards_that_are_cut_otherwise_are_refused(ground: Path) -> None:
    """An encoder embeds windows of any rate and length, and says nothing."""
    preprocess = load_preprocess(ground / "a" / "pretrain" / "checkpoint")
    folder = ShardFolder.open(ground / "b" / "shard" / "windows")
    check_cut(preprocess, folder)
    columns = preprocess.modalities
    check_cut(preprocess.model_copy(update={"modalities": columns[1:]}), folder)
    faster = columns[0].model_copy(update={"sampling_rate_hz": 2 * columns[0].sampling_rate_hz})
    other = preprocess.model_copy(update={"modalities": (faster, *columns[1:])})
    with pytest.raises(ConfigError, match="cut otherwise") as found:
        check_cut(other, folder)
    assert f"{faster.name} of {faster.sampling_rate_hz:g} Hz" in str(found.value)
    longer = preprocess.preparation.model_copy(update={"window_s": 2 * preprocess.preparation.window_s})
    with pytest.raises(ConfigError, match="windows of 120 s"):
        check_cut(preprocess.model_copy(update={"preparation": longer}), folder)


def test_a_checkpoint_of_another_encoder_is_not_replaced(ground: Path, line: Path, tmp_path: Path, capsys) -> None:
    other, base = tmp_path / "other", ground / "a" / "finetune" / "checkpoint"
    model = load(base)
    with torch.no_grad():
        next(model.encoder.parameters()).add_(1.0)
    save_model(model, other, preprocess=load_preprocess(base))
    before = {path: path.read_bytes() for path in other.iterdir()}
    assert main(["update", "take", str(line), "--to", str(other)]) == EXIT_USER_ERROR
    assert "of another encoder" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in other.iterdir()} == before


def test_scores_of_a_domain_are_those_of_the_version_that_is_in_use(tmp_path: Path) -> None:
    """It may have been learned twice, with a rollback between."""

    def told(note: str, score: float) -> Told:
        return Told(scores={"s": score}, note=note)

    versions = Versions.create(tmp_path / "line", lambda folder: (folder / "x").touch(), told("begins with a", 0.0))
    for note, score, back in (("learns b", 1.0, 1), ("learns b", 2.0, 2), ("learns c", 3.0, None)):
        versions.append(lambda folder: (folder / "x").touch(), told(note, score))
        if back:
            versions.rollback(back, Told(note="back"))
    assert learned_from(versions, "learns b").scores == {"s": 1.0}


def test_scores_then_and_now_are_of_the_same_people(ground: Path, tmp_path: Path, monkeypatch) -> None:
    """Somebody has left an earlier domain's shards, and not the line: a head that did not move forgets nothing."""
    line, left, who = tmp_path / "line", tmp_path / "left", tmp_path / "who.txt"
    assert begun(ground, line, *VALUE) == EXIT_OK
    shutil.copytree(ground / "a" / "shard" / "windows", left)
    who.write_text(state(line).domains.domains[0].asked[0] + "\n")
    assert main(["shard", "revoke", str(left), "--subjects", str(who)]) == EXIT_OK
    monkeypatch.setattr("hdt_fm.cli.update.go_on.learn_domain", lambda *_, **__: None)
    assert went_on(ground, line, *VALUE, f"update.earlier=[{left}]") == EXIT_OK
    assert state(line).domains.domains[0].lost == 0.0

"""A head goes on learning through the command line: versions, refusals, and people who leave."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from hdt_fm.checkpoint import load, load_preprocess, save_model
from hdt_fm.checkpoint.versions import Versions
from hdt_fm.cli.finetune_risk import TEACHING
from hdt_fm.cli.main import EXIT_OK, EXIT_USER_ERROR, main
from hdt_fm.cli.series import with_own_events
from hdt_fm.cli.update.judged import Found, refuse
from hdt_fm.cli.update.line import State
from hdt_fm.cli.update.score import Score
from hdt_fm.cli.update.series import told_here
from hdt_fm.cli.update.settings import UpdateVerbSettings
from hdt_fm.data.shards import ShardFolder
from hdt_fm.metrics.events import Event
from hdt_fm.schema import registry
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.manifest import Part
from hdt_fm.schema.series import ForecastTask
from hdt_fm.signal.within import happened_within
from tests.cli.test_finetune_series import SMALL, fabricate

SHORT = ["update.steps=12", "update.batch_size=64"]


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort with a head on it, and a second cohort in shards."""
    folder = tmp_path_factory.mktemp("update")
    fabricate(folder / "files")
    words = words_of(folder, "first")
    for verb in ("shard", "pretrain", "finetune"):
        assert main([verb, *words]) == EXIT_OK
    fabricate(folder / "more", people=9)
    # Other people: the cohort's pseudonyms rest on its folder's ids alone.
    for old in sorted((folder / "more" / "CGM Records").iterdir()):
        number = int(old.name.split()[1]) + 50
        (old / f"{old.name}.csv").rename(old / f"Subject {number}.csv")
        old.rename(old.with_name(f"Subject {number}"))
    assert main(["shard", *words_of(folder, "second", "more")]) == EXIT_OK
    return folder


def words_of(folder: Path, name: str, files: str = "files") -> list[str]:
    return ["experiment=azt1d", f"source={folder / files}", f"root={folder / name}", f"name={name}", *SMALL]


def begun(ground: Path, line: Path, *more: str) -> int:
    return main(["update", *words_of(ground, "first"), f"update.line={line}", *more])


def went_on(ground: Path, line: Path, *more: str) -> int:
    return main(["update", *words_of(ground, "second", "more"), f"update.line={line}", *SHORT, *more])


def wrecks(head, *_, **__) -> None:
    """An update that adds 25 spreads to all that is said."""
    with torch.no_grad():
        for member in head.members:
            member.network.leave.bias += 25.0


def state(line: Path) -> State:
    with Versions(line).opened() as files:
        return State.read(files)


@pytest.fixture(scope="module")
def line(ground: Path) -> Path:
    line = ground / "line"
    assert begun(ground, line) == EXIT_OK
    assert went_on(ground, line) == EXIT_OK
    return line


def test_a_line_begins_with_the_checkpoint_as_it_is(ground: Path, line: Path) -> None:
    with Versions(line).opened(1) as files:
        first = State.read(files)
    base = load(ground / "first" / "finetune" / "checkpoint")
    for name, one in base.state_dict().items():
        assert torch.equal(first.model.state_dict()[name], one), name
    assert [one.name for one in first.domains.domains] == ["first"]


def test_the_encoder_stays_and_the_head_moves(line: Path) -> None:
    with Versions(line).opened(1) as files:
        before = State.read(files).model.state_dict()
    after = state(line).model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.startswith("heads.forecast_glucose.") for name in moved)


def test_the_ledger_tells_what_came_in_and_what_it_did(line: Path) -> None:
    created, updated = Versions(line).entries
    assert (created.kind, updated.kind) == ("create", "update")
    assert updated.parent
    words = " ".join(updated.scores)
    for wanted in ("second, mg/dL", "second before it was learned", "first as rehearsed", "forgetting of first"):
        assert wanted in words
    assert updated.facts["strategy"] == "prototypes"
    assert 0 < updated.facts["memory MB"] < 5


def test_memory_holds_prototypes_of_both_and_nobody_who_is_asked(ground: Path, line: Path) -> None:
    found = state(line)
    assert found.memory is not None
    assert found.memory.domains == ("first", "second")
    kept = {who for cells in found.memory.kept()[1]["people"] for cell in cells for who in cell}
    for domain in found.domains.domains:
        assert domain.asked
        assert not kept & set(domain.asked)
    subjects = {
        row.subject
        for name in ("first", "second")
        for row in ShardFolder.open(ground / name / "shard" / "windows").manifest.subjects
    }
    assert kept <= subjects


def test_earlier_people_are_asked_where_their_shards_are_named(ground: Path, tmp_path: Path) -> None:
    line = tmp_path / "line"
    assert begun(ground, line) == EXIT_OK
    earlier = f"update.earlier=[{ground / 'first' / 'shard' / 'windows'}]"
    assert went_on(ground, line, earlier, "update.most_forgotten=1000") == EXIT_OK
    scores = Versions(line).entries[-1].scores
    assert any(name.startswith("worst person of first") for name in scores)
    lost = scores["forgetting of first, mg/dL"]
    first = next(one for one in state(line).domains.domains if one.name == "first")
    assert lost == pytest.approx(scores["RMSE in 60 min, first, mg/dL"] - first.score)


def test_what_forgets_too_much_is_refused_and_nothing_has_changed(
    ground: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    line = tmp_path / "line"
    assert begun(ground, line, "update.strategy=going_on") == EXIT_OK
    before = (line / "ledger.jsonl").read_bytes()
    assert went_on(ground, line) == EXIT_USER_ERROR
    assert "Nobody can say what the update forgets" in capsys.readouterr().err
    strange = f"update.earlier=[{ground / 'second' / 'shard' / 'windows'}]"
    assert went_on(ground, line, strange) == EXIT_USER_ERROR
    assert "not of a domain that the line has learned" in capsys.readouterr().err
    strong = [f"update.earlier=[{ground / 'first' / 'shard' / 'windows'}]"]
    monkeypatch.setattr("hdt_fm.cli.update.go_on.learn_domain", wrecks)
    assert went_on(ground, line, *strong) == EXIT_USER_ERROR
    assert "forgets too much" in capsys.readouterr().err
    assert (line / "ledger.jsonl").read_bytes() == before
    assert Versions(line).number == 1
    assert went_on(ground, line, *strong, "update.accept=true") == EXIT_OK
    assert Versions(line).entries[-1].facts["accepted"] is True


@pytest.mark.parametrize("strategy", ["rows", "ewc", "lwf", "last_layer"])
def test_each_strategy_goes_on_from_what_it_kept(ground: Path, tmp_path: Path, strategy: str) -> None:
    line = tmp_path / "line"
    assert begun(ground, line, f"update.strategy={strategy}") == EXIT_OK
    assert went_on(ground, line, "update.accept=true") == EXIT_OK
    found = state(line)
    assert (found.memory is not None) == (strategy == "rows")
    assert bool(found.anchors) == (strategy == "ewc")
    assert [one.name for one in found.domains.domains] == ["first", "second"]


def test_an_adapter_leaves_the_shared_head_and_is_taken_with_its_domain(ground: Path, tmp_path: Path, capsys) -> None:
    line = tmp_path / "line"
    assert begun(ground, line, "update.strategy=adapter") == EXIT_OK
    assert went_on(ground, line) == EXIT_OK
    base = load(ground / "first" / "finetune" / "checkpoint").state_dict()
    assert main(["update", "take", str(line), "--to", str(tmp_path / "all")]) == EXIT_OK
    for name, one in load(tmp_path / "all").state_dict().items():
        assert torch.equal(one, base[name]), name
    assert main(["update", "take", str(line), "--to", str(tmp_path / "own"), "domain=second"]) == EXIT_OK
    own = load(tmp_path / "own").state_dict()
    moved = {name for name, one in own.items() if not torch.equal(one, base[name])}
    assert any(name.endswith("leave.weight") for name in moved)
    assert all(name.startswith("heads.forecast_glucose.") for name in moved)
    assert (Versions(line).current / "adapters.safetensors").stat().st_size < 200_000
    capsys.readouterr()
    assert main(["update", "take", str(line), "--to", str(tmp_path / "no"), "domain=third"]) == EXIT_USER_ERROR
    assert "second" in capsys.readouterr().err
    assert main(["update", "take", str(line), "too=here"]) == EXIT_USER_ERROR
    assert "did you mean" in capsys.readouterr().err


def test_who_withdraws_is_in_no_file_of_the_line(ground: Path, tmp_path: Path, capsys) -> None:
    line, who = tmp_path / "line", tmp_path / "who.txt"
    assert begun(ground, line, "update.strategy=rows") == EXIT_OK
    person = state(line).memory.kept()[1]["people"][0][0]
    who.write_text(person + "\n")
    capsys.readouterr()
    assert main(["update", "withdraw", str(line), "--subjects", str(who), "--json"]) == EXIT_OK
    told = json.loads(capsys.readouterr().out)
    assert told["rows or prototypes gone"] > 0
    left = b"".join(path.read_bytes() for path in line.rglob("*") if path.is_file())
    assert person.encode() not in left
    assert Versions(line).kept == (2,)
    assert main(["update", "withdraw", str(line), "--subjects", str(who)]) == EXIT_USER_ERROR
    assert "None of these people" in capsys.readouterr().err


def test_an_update_that_breaks_leaves_the_line_as_it_was(ground: Path, tmp_path: Path, monkeypatch) -> None:
    line = tmp_path / "line"
    assert begun(ground, line) == EXIT_OK
    before = {path: path.read_bytes() for path in line.rglob("*") if path.is_file()}

    def breaks(self: State, folder: Path) -> None:
        (folder / "half").write_text("x")
        raise RuntimeError("the power went")

    monkeypatch.setattr(State, "write", breaks)
    with pytest.raises(RuntimeError, match="power"):
        went_on(ground, line)
    assert {path: path.read_bytes() for path in line.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["update.strategy=replay"], "prototypes"),
        (["update.strategy=rows", "update.domain=third"], "keeps the strategy that it began with"),
        (["update.domain=third"], "has learned these very shards"),
        (["update.domain=first"], "has learned a domain of this name"),
        (["update.domain=No"], "update"),
    ],
)
def test_what_does_not_go_is_said(ground: Path, line: Path, more: list[str], message: str, capsys) -> None:
    number = Versions(line).number
    assert went_on(ground, line, *more) == EXIT_USER_ERROR
    assert message in capsys.readouterr().err
    assert Versions(line).number == number


def test_who_was_ever_asked_never_teaches_and_the_other_way_round(ground: Path, tmp_path: Path) -> None:
    """A second season of the same people: another split of them would mix both sides."""
    line = tmp_path / "line"
    assert begun(ground, line, "update.strategy=rows") == EXIT_OK
    fabricate(ground / "season", people=12, days=3)
    words = [*words_of(ground, "season", "season"), "split.test=0.5", "seed=3"]
    assert main(["shard", *words]) == EXIT_OK
    assert main(["update", *words, f"update.line={line}", *SHORT, "update.accept=true"]) == EXIT_OK
    first, second = state(line).domains.domains
    both = (set(first.asked) | set(first.teachers)) & (set(second.asked) | set(second.teachers))
    assert both, "the seasons share people"
    assert not (set(first.asked) | set(second.asked)) & (set(first.teachers) | set(second.teachers))


def test_shards_that_people_have_left_are_still_those_of_their_domain(ground: Path, tmp_path: Path, capsys) -> None:
    """Revoking changes a folder's digest; a withdrawal leaves errors without the score that they were compared with."""
    line, who, left = tmp_path / "line", tmp_path / "who.txt", tmp_path / "left"
    assert begun(ground, line) == EXIT_OK
    shutil.copytree(ground / "first" / "shard" / "windows", left)
    first = state(line).domains.domains[0]
    who.write_text(first.asked[0] + "\n")
    assert main(["shard", "revoke", str(left), "--subjects", str(who)]) == EXIT_OK
    assert main(["update", "withdraw", str(line), "--subjects", str(who)]) == EXIT_OK
    assert state(line).domains.domains[0].score is None
    more = [f"update.earlier=[{left}]", "update.most_forgotten=1000"]
    assert went_on(ground, line, *more) == EXIT_OK
    scores = Versions(line).entries[-1].scores
    assert np.isfinite(scores["forgetting of first, mg/dL"])
    who.write_text(first.teachers[0] + "\n")
    capsys.readouterr()
    assert main(["update", "withdraw", str(line), "--subjects", str(who), "--json"]) == EXIT_OK
    assert json.loads(capsys.readouterr().out)["had taught the head"] == 1


@pytest.fixture(scope="module")
def risk(ground: Path) -> Path:
    """The first cohort's checkpoint with a head of risks that knows how often events come, and no more."""
    checkpoint, folder = ground / "first" / "finetune" / "checkpoint", ground / "first" / "shard" / "windows"
    model, events = (
        load(checkpoint),
        [Event("below 125 mg/dL", 125.0, below=True), Event("above 160", 160.0, below=False)],
    )
    asked = model.heads["forecast_glucose"].asked
    series, moments, inputs = told_here(model, ForecastTask.of(asked), ShardFolder.open(folder), None)
    inputs = with_own_events(inputs, moments, series, events)
    every = [*events, *TEACHING["glucose"]]
    sizes = {"known": inputs.known.shape[1], "in_features": inputs.context.shape[-1], "horizons": 2, "members": 2}
    args = {**sizes, "events": 2, "teaching": 8, "asked": asked, "described": [asdict(one) for one in events]}
    head = registry.build("heads", "event_risk", args)
    happened = happened_within(moments, series, [one.of for one in every])
    head.learn_scale(inputs, torch.from_numpy(happened))
    parts = {**model.config.heads, "risk_glucose": Part(name="event_risk", args=args)}
    model.config = model.config.model_copy(update={"heads": parts})
    model.heads["risk_glucose"] = head.eval()
    save_model(model, ground / "risk", preprocess=load_preprocess(checkpoint))
    return ground / "risk"


@pytest.mark.parametrize("strategy", ["prototypes", "lwf", "last_layer"])
def test_a_head_of_risks_goes_on_beside_the_forecast(ground: Path, risk: Path, tmp_path: Path, strategy: str) -> None:
    line, more = tmp_path / "line", ["head=event_risk", "update.accept=true"]
    assert begun(ground, line, *more, f"update.checkpoint={risk}", f"update.strategy={strategy}") == EXIT_OK
    first = state(line)
    assert went_on(ground, line, *more) == EXIT_OK
    before, after, entry = first.model.state_dict(), state(line).model.state_dict(), Versions(line).entries[-1]
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.startswith("heads.risk_glucose.") for name in moved)
    if strategy == "last_layer":
        assert {name.split(".")[-2] for name in moved} == {"leave"}
    name = "average precision within 60 min"
    assert entry.scores[f"{name}, second"] > entry.scores[f"{name}, second before it was learned"]
    # Lines are set anew where somebody speaks for the first domain too, and else stay.
    lines = {f"heads.risk_glucose.{part}" for part in ("slope", "start")}
    assert lines <= moved if strategy == "prototypes" else not lines & moved
    if strategy == "prototypes":
        memory = state(line).memory
        _, target = memory.draw(6000, np.random.default_rng(0), domain="first")
        assert set(np.unique(target[np.isfinite(target)])) == {0.0, 1.0}
        assert memory.layout.target == "event"


def test_a_number_that_is_none_is_no_proof() -> None:
    found = Found({}, {"first": float("nan")}, {"first": ""}, ())
    settings = UpdateVerbSettings(
        line="l",
        checkpoint="c",
        domain="d",
        strategy=None,
        most_forgotten=1.5,
        accept=False,
        most_bytes=1,
        steps=1,
        batch_size=1,
        learning_rate=0.1,
    )
    with pytest.raises(ConfigError, match="forgets too much"):
        refuse(found, settings, Score("RMSE", "mg/dL", higher=False, most_forgotten=1.5))


def test_a_checkpoint_without_such_a_head_begins_nothing(ground: Path, tmp_path: Path, capsys) -> None:
    bare = f"update.checkpoint={ground / 'first' / 'pretrain' / 'checkpoint'}"
    assert begun(ground, tmp_path / "line", bare) == EXIT_USER_ERROR
    assert "no head that could go on learning" in capsys.readouterr().err
    assert begun(ground, tmp_path / "line", "update.checkpoint=nowhere") == EXIT_USER_ERROR
    assert "no line to go on with, and no checkpoint to begin one" in capsys.readouterr().err
    assert not (tmp_path / "line").exists()


def test_a_line_is_no_twin_that_could_be_deleted(line: Path, capsys) -> None:
    before = {path: path.read_bytes() for path in line.rglob("*") if path.is_file()}
    assert main(["twin", "delete", str(line), "--yes"]) == EXIT_USER_ERROR
    assert "a line of a model" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in line.rglob("*") if path.is_file()} == before


def test_a_dry_run_says_what_would_be_learned(ground: Path, tmp_path: Path, capsys) -> None:
    line = tmp_path / "line"
    assert begun(ground, line) == EXIT_OK
    capsys.readouterr()
    assert went_on(ground, line, "--dry-run", "--json") == EXIT_OK
    told = json.loads(capsys.readouterr().out)
    assert told["line"] == "goes on"
    assert told["domains before"] == "first"
    assert told["strategy"].startswith("prototypes: rehearses")


def test_its_intervals_hold_for_people_apart(line: Path) -> None:
    head = state(line).head
    assert np.isfinite(head.shift.numpy()).all()
    assert (head.score_spread.numpy() > 0).all()
    assert (head.usual[:, 0] <= head.usual[:, 1]).all()

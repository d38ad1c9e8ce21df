"""`hdt-fm twin move`, as typed: a twin goes over to another checkpoint, and back."""

import pytest

from hdt_fm.checkpoint.versions import Versions
from hdt_fm.cli.main import EXIT_OK, main
from hdt_fm.cli.twin.kept import open_twin
from hdt_fm.schema.ledger import Told
from hdt_fm.schema.privacy import private_traces
from hdt_fm.twin.drift.cause import Proposal
from hdt_fm.twin.state.state import save_state
from tests.cli.twin.tiny_twin import ASKED, COUNT, saved, wave


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Another checkpoint that is asked the same."""
    return saved(tmp_path_factory.mktemp("other") / "checkpoint", seed=1, resampling="newest", lively=True)


def told(run, *words):
    found = run("forecast", *words)
    found.pop("folder")
    return found


def test_the_twin_goes_on_with_the_other_and_back(write, run, made, other, refused):
    before = told(run, "my")
    found = run("move", "my", f"checkpoint={other}")
    assert found["version"] == 2
    facts = found["facts"]
    assert (facts["kind"], facts["readings read again"], facts["an earlier export read"]) == ("move", 400, False)
    assert facts["checkpoint before"] != facts["checkpoint"]
    assert {"mean error 30 min, last 7 days before, mg/dL", "mean error 30 min, last 7 days after, mg/dL"} <= set(
        found["scores"]
    )
    # All that was read is kept here, so that it is as a twin of the other checkpoint from the first reading on.
    run("create", write(0, 400), f"checkpoint={other}", "--to", "anew")
    after = told(run, "my")
    assert after == told(run, "anew") != before
    assert "has this checkpoint already" in refused("move", "my", f"checkpoint={other}")
    run("rollback", "my")
    assert told(run, "my") == before


def test_it_goes_on_absorbing_with_the_other(write, run, made, other):
    run("move", "my", f"checkpoint={other}")
    run("update", "my", write(390))
    run("create", write(), f"checkpoint={other}", "--to", "anew")
    assert told(run, "my") == told(run, "anew")


def test_an_export_teaches_what_is_no_longer_kept(write, run, made, other, refused):
    kept = open_twin(made)
    first_s = float(kept.state.readings.times_s[200])
    kept.state.readings = kept.state.readings.since(first_s)
    kept.versions.append(lambda place: save_state(kept.state, place), Told())
    alone = run("move", "my", f"checkpoint={other}")
    assert alone["facts"]["readings read again"] == 200
    run("rollback", "my")
    whole = run("move", "my", write(0, 500), f"checkpoint={other}")
    assert whole["facts"]["an earlier export read"]
    run("create", write(0, 400), f"checkpoint={other}", "--to", "anew")
    # Readings of the export that are newer than the twin's are left to `update`.
    assert told(run, "my") == told(run, "anew")
    entry = Versions(made).entries[-1]
    assert entry.data[0].startswith("sha256:")
    assert not private_traces((made / "ledger.jsonl").read_text())
    run("rollback", "my", "to=2")
    error = refused("move", "my", write(0, COUNT, wave(seed=9)), f"checkpoint={other}")
    assert "not of the person that the twin is of" in error


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["move", "my"], "A move needs the checkpoint to go to"),
        (["move", "in", "checkpoint=OTHER"], "There is no twin in this folder"),
        (["move", "my", "checkpoint=nowhere"], "nowhere"),
        (["move", "my", "checkpoint=OTHER", "at=2026-03-05T01:15"], "does not go with a move without an export"),
        (["move", "my", "in/none.csv", "checkpoint=OTHER"], "There is nothing at this path"),
        (["move", "my", "checkpoint=OTHER", "checkpointt=x"], "did you mean 'checkpoint'?"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_changes(made, refused, tmp_path, other, words, error):
    before = sorted(tmp_path.rglob("*"))
    assert error in refused(*(word.replace("OTHER", str(other)) for word in words))
    assert sorted(tmp_path.rglob("*")) == before


def test_heads_that_this_person_cannot_be_told_to(made, refused, tmp_path, run, other):
    finer = saved(tmp_path / "finer", {"forecast_glucose": {**ASKED, "step_s": 300.0}}, resampling="newest")
    assert "further apart" in refused("move", "my", f"checkpoint={finer}")
    kept = open_twin(made)
    kept.state.watch.proposal = Proposal("gain", 2, 1, factor=1.15, evidence=())
    kept.versions.append(lambda place: save_state(kept.state, place), Told())
    error = refused("move", "my", f"checkpoint={other}")
    assert "A proposal waits" in error
    run("update", "my", "answer=declined")
    run("move", "my", f"checkpoint={other}")


def test_an_empty_twin_moves_and_words_tell_what_happened(write, run, checkpoint, other, capsys):
    run("create", f"checkpoint={checkpoint}", "--to", "my")
    assert run("move", "my", f"checkpoint={other}")["scores"] == {}
    run("update", "my", write())
    run("create", write(), f"checkpoint={checkpoint}", "--to", "was")
    assert main(["twin", "move", "was", f"checkpoint={other}"]) == EXIT_OK
    out = capsys.readouterr().out
    assert "undo: hdt-fm twin rollback FOLDER" in out
    assert "met this person anew" in out
    assert told(run, "was") == told(run, "my")

"""`protocol.fine_tune`: encoders of single people in the frontier, for every kind of `protocol.people`."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

import hdt_fm
from hdt_fm.checkpoint import model_digest
from hdt_fm.cli.compose import compose_config
from hdt_fm.cli.main import EXIT_OK, EXIT_USER_ERROR, main
from hdt_fm.cli.own_encoders import OwnWindows, own_encoders, probe_of
from hdt_fm.cli.settings import ProtocolSettings
from hdt_fm.data.embeddings import load_table
from hdt_fm.data.shards import ShardFolder
from hdt_fm.evaluation import tuned
from hdt_fm.evaluation.adapt import population
from hdt_fm.evaluation.probes import logistic
from hdt_fm.evaluation.tuned import FULL, LOW_RANK, Question
from hdt_fm.schema.recording import NS_PER_S, LabelTrack

TINY = ["debug=tiny", "training.steps=2", "encoder.slots=4", "encoder.width=8", "near_s=20.0", "split.test=0.4"]
TINY += ["split.validation=0.0", "protocol.label=stress", "protocol.personal=[nothing]", "protocol.draws=10"]
ASKED = ["protocol.also=[personalisation]", "protocol.fine_tune=true", "protocol.tuning.people=1"]
PEOPLE = {"home": 6, "away": 5}
SECONDS = 1080


@pytest.fixture(scope="module")
def folders(repo: Path, tmp_path_factory) -> dict[str, Path]:
    """People whose label changes every minute for 18 minutes, so that windows are left after five minutes of each."""
    spec = importlib.util.spec_from_file_location("tiny_cohort", repo / "tests" / "tiny_cohort.py")
    tiny = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tiny)
    root = tmp_path_factory.mktemp("own_encoders")

    def cohort(called, first):
        class Changing(tiny.TinyCohort):
            name = called

            def visits(self):
                for person in range(first, first + PEOPLE[called]):
                    visit = self.visit(person)
                    starts = tiny.START_NS + np.arange(SECONDS // 60) * 60 * NS_PER_S
                    stress = np.arange(len(starts)) % 2.0
                    track = LabelTrack("stress", "class", starts, starts + 60 * NS_PER_S, stress, ("rest", "stress"))
                    object.__setattr__(visit, "labels", {"stress": track})
                    yield visit

        # Recordings of later people are longer; this takes it away again.
        return Changing(seconds=SECONDS - 8 * first)

    longer = tiny.PREPARATION.model_copy(update={"window_s": 20.0, "hop_s": 20.0})
    for name, first in (("home", 0), ("away", 20)):
        tiny.build(root / name, cohort(name, first), preparation=longer, name=name)
    return {name: root / name for name in PEOPLE}


@pytest.fixture(scope="module")
def pretrained(folders, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("run")
    for verb in ("pretrain", "embed"):
        assert main([verb, f"root={root}", f"shards={folders['home']}", *TINY]) == EXIT_OK, verb
    return root


@pytest.mark.slow
@pytest.mark.parametrize("people", ["held_out", "per_fold", "unseen"])
def test_every_kind_of_people_has_encoders_of_its_own(pretrained, folders, tmp_path, monkeypatch, people) -> None:
    # One step instead of twenty: here it is asked who meets whom, not how well.
    monkeypatch.setattr(tuned, "STOPS", (0, 1))
    shards = folders["away" if people == "unseen" else "home"]
    checkpoint = pretrained / "pretrain" / "checkpoint"
    more = [f"root={tmp_path}", f"shards={shards}", f"checkpoint={checkpoint}", f"protocol.people={people}"]
    assert main(["evaluate", *more, *TINY, *ASKED]) == EXIT_OK
    result = json.loads((tmp_path / "evaluate" / "result.json").read_text())["results"][-1]
    steps = result["protocol"]["fine_tune_steps"]
    assert set(steps) == {f"{maker} + {way}" for maker in ("encoder", "random encoder") for way in (LOW_RANK, FULL)}
    folds = 1 if people == "held_out" else 2
    for by_budget in steps.values():
        assert set(by_budget) == {"1 min", "2 min", "5 min"}
        assert all(len(chosen) == folds and set(chosen) <= {0, 1} for chosen in by_budget.values())
    last = {
        row["model"]: row
        for row in result["rows"]
        if row["what"] == "stress, 5 min of own labels per class" and row["metric"] == "auroc"
    }
    assert last[f"random encoder + {FULL}"]["role"] == "baseline"
    for way in (LOW_RANK, FULL):
        row = last[f"encoder + {way}"]
        assert row["columns"]["helped"] + row["columns"]["hurt"] <= row["n"]
    assert (
        last[f"encoder + {LOW_RANK}"]["columns"]["encoder_numbers_moved"]
        < last[f"encoder + {FULL}"]["columns"]["encoder_numbers_moved"]
    )


@pytest.mark.parametrize("only", [None, ("temp", "acc")])
def test_rows_become_their_windows_and_the_encoder_is_left_alone(pretrained, folders, only) -> None:
    """Temperature is absent in odd people; a probe of two modalities in another order reads the right columns."""
    from hdt_fm.cli.evidence import only_of
    from hdt_fm.evaluation.contest import of_table

    table = only_of(load_table(pretrained / "embed" / "table"), only)
    model = hdt_fm.load(pretrained / "pretrain" / "checkpoint")
    before = model_digest(model)
    folder, x, y = ShardFolder.open(folders["home"]), of_table(table).values, table.labels["stress"].astype(np.float64)
    known = np.flatnonzero(np.isfinite(y))
    probe = population(logistic(2, seed=0, strength=1.0), x[known], y[known], table.group[known])
    settings = compose_config("evaluate", ASKED).section("protocol", ProtocolSettings).tuning
    told: list[str] = []
    ways = own_encoders({"encoder": [model]}, table, folder, settings, lambda done, total, note: told.append(note))
    own, asked = known[:9], np.arange(len(table) - 1, 20, -3)
    for way in ways:
        start, end = way.answer(Question(0, probe, own, y[own], asked, (0, 6), 5))
        np.testing.assert_allclose(start, probe.logits(probe.scale(x[asked])), atol=1e-3)
        assert np.abs(end - start).max() > 1e-3
    assert told == [f"encoder, {LOW_RANK}", f"encoder, {FULL}"]
    assert model_digest(model) == before
    windows = OwnWindows(table, folder).of(model, own, asked)
    assert [batch.labels for batch in windows] == [{}] * len(windows)
    assert np.array_equal(np.concatenate([batch.window_id for batch in windows[1:]]), table.window_id[asked])
    assert probe_of(probe, model, table.modalities).columns == tuple(map(model.modalities.index, table.modalities))


def test_it_is_refused_where_personalisation_was_not_asked_for(pretrained, folders, tmp_path, capsys) -> None:
    arguments = ["evaluate", f"root={tmp_path}", f"shards={folders['home']}", *TINY, "protocol.people=per_fold"]
    assert main([*arguments, "protocol.fine_tune=true"]) == EXIT_USER_ERROR
    assert "protocol.also=[personalisation]" in capsys.readouterr().err
    assert not (tmp_path / "evaluate" / "folds").exists()

"""A build by several processes: the same bytes as by one, and no file of a bad reader ends it."""

import json
import pickle
import random
import sys
from collections import deque
from functools import partial

import numpy as np
import pytest

from data_pipelines.build import build_shards
from data_pipelines.cohorts._visits import OneVisit, Visits
from data_pipelines.cohorts.folder import Folder
from data_pipelines.encoding import _stepped
from data_pipelines.engine import local
from data_pipelines.engine.here import Here
from data_pipelines.engine.settings import EngineSettings
from data_pipelines.engine.task import Done
from data_pipelines.first_pass import MAX_TASK_BYTES
from data_pipelines.quarantine import file_reference
from data_pipelines.ranges import Range, range_of
from data_pipelines.work import VisitFacts, file_digest
from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.errors import ConfigError, ReaderError, ShardError
from hdt_fm.schema.shard import ModalityColumn


@pytest.fixture(scope="module")
def made(repo):
    sys.path.insert(0, str(repo / "tests" / "data_pipelines"))
    import fabricate_engine

    yield fabricate_engine
    sys.path.remove(str(repo / "tests" / "data_pipelines"))


@pytest.fixture
def forked(made, monkeypatch):
    """Processes without the seconds that their imports take."""
    monkeypatch.setattr(local, "_start", made.start_by_fork)


@pytest.fixture
def build(made, tmp_path):
    def run(name, source, *, workers=1, people=None, **settings):
        engine = settings.pop("engine", None) or EngineSettings(workers=workers)
        return build_shards(
            made.Files(source, **(people or {})),
            folder=tmp_path / name,
            **made.BUILD | {"engine": engine, "subject_key": made.KEY} | settings,
        )

    return run


class Unruly(Here):
    """Runs every task twice, in any order, as a cluster that lost its nodes' answers might."""

    apart = True

    def as_completed(self):
        waiting = list(self._waiting)
        self._waiting = deque()
        random.Random(len(waiting)).shuffle(waiting)
        for task in waiting:
            for _ in range(2):
                row = pickle.loads(pickle.dumps(task)).call()
            yield Done(task.name, row)


def test_real_processes_give_the_same_bytes(made, build, tmp_path):
    source = made.write_people(tmp_path / "in", 6)
    build("one", source, splits={"train": 0.7, "test": 0.3})
    build("two", source, workers=2, splits={"train": 0.7, "test": 0.3}, report=tmp_path / "report.json")
    assert made.content(tmp_path / "two") == made.content(tmp_path / "one")
    assert len(list((tmp_path / "one").rglob("*.tar"))) >= 4
    said = json.loads((tmp_path / "report.json").read_bytes())
    assert (said["ended"], said["engine"]) == ("done", {"name": "local", "workers": 2})
    stages = {stage["name"]: stage["tasks"] for stage in said["stages"]}
    assert stages == {"cut": 6, "encode": 1, "pack": len(list((tmp_path / "one").rglob("*.tar"))), "inputs": 1}


@pytest.mark.parametrize("encoding", ["i16", "f32"])
def test_any_number_of_workers_and_any_order_give_the_same_bytes(made, build, forked, tmp_path, monkeypatch, encoding):
    source = made.write_people(tmp_path / "in", 7)
    build("one", source, encoding=encoding, people={"twins": True})
    expected = made.content(tmp_path / "one")
    for workers in (2, 4):
        build(f"{workers}", source, workers=workers, encoding=encoding, people={"twins": True})
        assert made.content(tmp_path / f"{workers}") == expected
    monkeypatch.setattr(EngineSettings, "start", lambda settings, scratch: Unruly())
    build("unruly", source, encoding=encoding, people={"twins": True})
    assert made.content(tmp_path / "unruly") == expected


def test_a_finished_folder_is_known_again_by_any_engine(made, build, forked, tmp_path):
    source = made.write_people(tmp_path / "in", 4)
    first = build("a", source)
    before = made.content(tmp_path / "a")
    assert build("a", source, workers=2) == first
    np.save(source / "rawid1.npy", np.load(source / "rawid1.npy") + 1)
    with pytest.raises(ShardError, match="another data set"):
        build("a", source, workers=2)
    assert made.content(tmp_path / "a") == before


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("hang", "took too long"),
        ("eat", "too much memory"),
        ("die", "ended the process"),
        ("raise", "got: KeyError"),
    ],
)
def test_a_recording_that_breaks_its_reader_is_put_aside(made, build, forked, tmp_path, monkeypatch, kind, word):
    if kind == "eat" and sys.platform != "linux":
        pytest.skip("only Linux bounds the memory of a process")
    # More than one person in a hundred may not be lost, so the one who is has another recording, and many have theirs.
    monkeypatch.setattr("data_pipelines.first_pass.MAX_LOST", 0.2)
    monkeypatch.setattr(made, "pseudonym", lambda number: made.KEY.pseudonym("files", f"rawid{min(number, 4)}"))
    source = made.write_people(tmp_path / "in", 6, seconds=20, **{kind: 5})
    engine = EngineSettings(workers=2, timeout_s=1.0 if kind == "hang" else 30.0, memory_gb=1.0)
    manifest = build("a", source, engine=engine, report=tmp_path / "report.json", people={"twins": True})
    assert (manifest.counts.visits, manifest.counts.quarantined) == (5, 1)
    (row,) = json.loads((tmp_path / "a" / "quarantine.json").read_bytes())
    path = source / f"rawid5.{kind}.npy"
    assert word in row["reason"]
    assert row["file"] == file_reference(made.KEY, "files", path)
    assert row["digest"] == "sha256:" + file_digest(path)
    assert row["subject"] == made.KEY.pseudonym("files", "rawid4")
    assert "rawid" not in json.dumps(row)
    assert "81 kg" not in json.dumps(row)
    assert json.loads((tmp_path / "report.json").read_bytes())["quarantine"] == [row]


def test_a_person_lost_whole_ends_the_build_and_the_report_has_all_reasons(made, build, tmp_path):
    source = made.write_people(tmp_path / "in", 4, **{"raise": 2})
    with pytest.raises(ShardError, match=r"1 of 4 visits(.|\n)*1 people lost whole") as caught:
        build("a", source, report=tmp_path / "report.json")
    assert "rawid" not in str(caught.value)
    assert not (tmp_path / "a").exists()
    said = json.loads((tmp_path / "report.json").read_bytes())
    assert said["ended"] == "1 of 4 visits cannot be used"
    assert len(said["quarantine"]) == 1


def test_what_ran_past_a_limit_can_be_tried_again_without_cutting_the_rest(made, build, forked, tmp_path, monkeypatch):
    source = made.write_people(tmp_path / "in", 4, hang=3)
    with pytest.raises(ShardError, match="took too long"):
        build("a", source, engine=EngineSettings(workers=2, timeout_s=0.8))
    assert len(list((tmp_path / "a" / ".work").glob("*.json"))) == 3
    (source / "rawid3.hang.npy").rename(source / "rawid3.npy")
    cuts = []
    from data_pipelines import work

    cut = work.cut
    monkeypatch.setattr(work, "cut", lambda *arguments: (cuts.append(1), cut(*arguments))[1])
    build("a", source)
    assert len(cuts) == 1
    build("b", source)
    assert made.content(tmp_path / "a") == made.content(tmp_path / "b")


def test_strict_ends_with_the_first_error(made, build, forked, tmp_path):
    source = made.write_people(tmp_path / "in", 4, **{"raise": 2})
    for workers in (1, 2):
        with pytest.raises(ReaderError, match="broke on this recording") as caught:
            build("a", source, workers=workers, on_error="strict")
        assert caught.value.__notes__ == ["in visit 3 of 4, in the order of file names"]


def test_visits_are_compared_also_when_they_are_read_apart(fabricate, made, forked, tmp_path):
    folder = tmp_path / "in"
    session = fabricate.e4_files(seed=1, seconds=12)
    fabricate.e4_zip(folder / "P01.zip", session)
    fabricate.e4_folder(folder / "P02", fabricate.e4_files(seed=1, start=fabricate.E4_START + 99, seconds=12))
    fabricate.e4_zip(folder / "P03.zip", fabricate.e4_files(seed=2, seconds=12))
    for workers in (1, 2):
        with pytest.raises(ShardError, match=r"1 of 3 visits(.|\n)*two ids(.|\n)*in visit 2 of 3"):
            build_shards(
                Folder(path=str(folder), subject_key="public", study="trial"),
                folder=tmp_path / "out",
                **made.BUILD,
                engine=EngineSettings(workers=workers),
            )


def test_signals_secrets_and_what_others_cannot_import_do_not_travel(made, tmp_path):
    from data_pipelines.first_pass import _travels

    path = tmp_path / "a.npy"
    assert _travels(OneVisit(partial(made.read_visit, path, "s", "g", None)), made.KEY)
    assert not _travels(OneVisit(partial(made.read_visit, np.zeros(MAX_TASK_BYTES), "s", "g", None)), None)
    assert not _travels(OneVisit(lambda: None), None)
    with_key = OneVisit(partial(made.read_visit, path, made.KEY, "g", None))
    assert _travels(with_key, None)
    assert not _travels(with_key, made.KEY)


def test_parts_that_do_not_travel_are_read_here(made, build, forked, tmp_path):
    source = made.write_people(tmp_path / "in", 4)
    build("a", source)

    class Own(made.Files):
        def visits(self):
            parts = super().visits().parts
            return Visits([parts[0], OneVisit(lambda: parts[1]()), *parts[2:]])

    settings = made.BUILD | {"subject_key": made.KEY, "engine": EngineSettings(workers=2)}
    build_shards(Own(source), folder=tmp_path / "b", **settings)
    assert made.content(tmp_path / "a") == made.content(tmp_path / "b")


def test_tasks_that_leave_the_machine_carry_no_key(made, build, tmp_path, monkeypatch):
    sent = []

    class Watching(Unruly):
        def submit(self, task):
            sent.append(pickle.dumps(task))
            super().submit(task)

    source = made.write_people(tmp_path / "in", 4)
    monkeypatch.setattr(EngineSettings, "start", lambda settings, scratch: Watching())
    monkeypatch.setattr(EngineSettings, "require", lambda settings: None)
    build("a", source, engine=EngineSettings(name="ray"))
    assert len(sent) > 6
    assert not any(made.KEY.secret in data or len(data) > MAX_TASK_BYTES for data in sent)


def test_everyone_has_one_split_and_it_stands_in_the_manifest(made, build, tmp_path):
    source = made.write_people(tmp_path / "in", 8)
    build("a", source, splits={"train": 0.6, "test": 0.4}, people={"twins": True})
    for split in ("train", "test"):
        part = ShardFolder.open(tmp_path / "a", split=split)
        assert {part.manifest.subjects[row].split for row in np.unique(part.subject_rows)} == {split}


def test_the_plan_s_digest_is_in_the_manifest_and_another_plan_is_another_data_set(made, build, tmp_path):
    source = made.write_people(tmp_path / "in", 2)
    assert build("a", source, plan_digest="sha256:12").plan_digest == "sha256:12"
    with pytest.raises(ShardError, match="another data set"):
        build("a", source, plan_digest="sha256:13")


def test_noise_is_that_of_white_noise_and_slow_signals_have_none():
    draws = np.random.default_rng(0)
    observed = np.ones((40, 500), dtype=bool)
    observed[3, 100:120] = False
    slow = np.sin(np.arange(500) / 80)[None, None].repeat(40, axis=0)
    for sigma in (0.2, 3.0):
        values = (slow + draws.normal(scale=sigma, size=(40, 2, 500))).astype(np.float32)
        values[:, :, ~observed[3]] *= observed[:, None, ~observed[3]]
        members = {"x": values, "x_observed": np.packbits(observed, axis=1)}
        assert range_of(members, "x").noise == pytest.approx(sigma, rel=0.02)
    members["x"] = slow.astype(np.float32)
    assert range_of(members, "x").noise < 1e-5


@pytest.mark.parametrize(
    ("codec", "noise", "step"),
    [("none", 0.4, 1.25 / 32767), ("b2", 0.004, 0.001), ("b2", 0.4, 1 / 64), ("b2", 1e-9, 1.25 / 32767)],
)
def test_with_a_codec_a_step_is_no_finer_than_the_noise(codec, noise, step):
    column = ModalityColumn(name="x", unit="au", channels=1, sampling_rate_hz=1, samples=9, encoding="f32", codec=codec)
    facts = [
        VisitFacts.model_construct(ranges={"x": Range(low=-1.0, high=1.0, spread=1.0, noise=times * noise)})
        for times in (3, 1)
    ]
    stepped = _stepped(column, facts)
    assert (stepped.encoding, stepped.codec) == ("i16", codec)
    assert stepped.lsb == pytest.approx(step, rel=1e-6)


def test_a_codec_of_a_modality_that_is_not_there_is_refused(made, build, tmp_path):
    with pytest.raises(ConfigError, match="Unknown modality"):
        build("none", made.write_people(tmp_path / "in", 1), codec={"pgp": "b2"})


def test_packed_shards_are_the_same_by_any_number_of_workers(made, build, forked, tmp_path):
    pytest.importorskip("blosc2")
    source = made.write_people(tmp_path / "in", 3)
    for workers in (1, 2):
        manifest = build(f"{workers}", source, codec={"ppg": "b2"}, workers=workers)
    assert [column.codec for column in manifest.header.modalities] == ["b2", "none"]
    assert made.content(tmp_path / "1") == made.content(tmp_path / "2")
    assert ShardFolder.open(tmp_path / "1", verify="full").windows == manifest.windows

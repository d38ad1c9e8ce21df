"""The shard folder contract, from the writer's side."""

import json
import shutil

import numpy as np
import pytest

from data_pipelines import finished
from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.errors import ConfigError, ReaderError, RecordingError, ShardError, SplitError
from hdt_fm.schema.shard import ShardManifest
from hdt_fm.schema.subject import SubjectKey
from hdt_fm.signal.windows import cut

WEEK_NS = 7 * 86_400 * 10**9


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def built(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("built") / "a"
    tiny.build(folder)
    return folder


def test_two_builds_in_two_folders_are_equal_in_every_byte(tiny, built, tmp_path):
    tiny.build(tmp_path / "elsewhere" / "b")
    assert content(tmp_path / "elsewhere" / "b") == content(built)
    assert len(list(built.glob("all/*.tar"))) > 3
    assert not (built / ".work").exists()


def test_another_seed_or_encoding_gives_other_bytes(tiny, built, tmp_path):
    for number, change in enumerate(({"seed": 4}, {"encoding": "f32"})):
        tiny.build(tmp_path / str(number), **change)
        assert content(tmp_path / str(number)) != content(built)


def test_a_build_stopped_between_shards_and_manifest_goes_on(tiny, built, tmp_path, monkeypatch):
    def stop(path, data, **settings):
        if path.name == "manifest.json":
            raise KeyboardInterrupt
        return write(path, data, **settings)

    write = finished.write_durably
    with monkeypatch.context() as patch:
        patch.setattr(finished, "write_durably", stop)
        with pytest.raises(KeyboardInterrupt):
            tiny.build(tmp_path / "a")
    assert (tmp_path / "a" / "all").exists()
    with pytest.raises(ShardError, match="did not finish"):
        ShardFolder.open(tmp_path / "a")
    # Another choice of splits after that: what was moved for the old one goes too.
    halfway = shutil.copytree(tmp_path / "a", tmp_path / "b")
    tiny.build(halfway, splits={"train": 0.6, "test": 0.4}, seed=5)
    assert sorted(path.name for path in halfway.iterdir()) == ["manifest.json", "test", "train"]
    tiny.build(tmp_path / "a")
    assert content(tmp_path / "a") == content(built)


def test_work_of_a_killed_build_is_used_again(tiny, built, tmp_path, monkeypatch):
    def stop(done, total, what):
        if what == "pack":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny.build(tmp_path / "a", progress=stop)
    monkeypatch.setattr("data_pipelines.work.cut", None)
    tiny.build(tmp_path / "a")
    assert content(tmp_path / "a") == content(built)


def test_a_finished_folder_is_returned_untouched_or_refused(tiny, built):
    before = {path: path.stat().st_mtime_ns for path in built.rglob("*")}
    manifest = tiny.build(built)
    assert manifest == ShardManifest.model_validate_json((built / "manifest.json").read_bytes())
    for change in (
        {"seed": 9},
        {"cohort": tiny.TinyCohort(people=5)},
        {"subject_key": SubjectKey(b"another secret key")},
    ):
        with pytest.raises(ShardError, match="another data set"):
            tiny.build(built, **change)
    assert {path: path.stat().st_mtime_ns for path in built.rglob("*")} == before


def test_foreign_files_are_never_touched(tiny, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ShardError, match="not empty"):
        tiny.build(tmp_path)
    assert content(tmp_path) == {"thesis.txt": b"mine"}


def test_a_cohort_without_windows_leaves_nothing(tiny, tmp_path):
    for cohort in (tiny.TinyCohort(people=0), tiny.TinyCohort(people=1, seconds=3)):
        with pytest.raises(ShardError, match="no window"):
            tiny.build(tmp_path / "a" / "b", cohort)
        assert not (tmp_path / "a" / "b").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ShardError, match="no window"):
        tiny.build(tmp_path / "empty", tiny.TinyCohort(people=0))
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.parametrize("encoding", ["f32", "i16"])
def test_every_window_arrives_as_it_was_cut(tiny, tmp_path, encoding):
    tiny.build(tmp_path / "a", encoding=encoding)
    folder = ShardFolder.open(tmp_path / "a")
    columns = {column.name: column for column in folder.header.modalities}
    assert {column.encoding for column in columns.values()} == {encoding}
    batch = folder.gather(np.arange(folder.windows))
    seen = 0
    for person in range(7):
        windows = cut(tiny.TinyCohort().visit(person), tiny.PREPARATION)
        subject = tiny.KEY.pseudonym("tiny", f"rawid-{person}")
        mine = np.flatnonzero([folder.manifest.subjects[row].subject == subject for row in folder.subject_rows])
        mine = mine[np.argsort(folder.t0_ns[mine])]
        seen += len(mine)
        assert np.array_equal(np.diff(folder.t0_ns[mine]), np.diff(windows.starts_ns))
        assert np.array_equal(folder.present[mine], windows.present)
        assert np.array_equal(folder.quality[mine], windows.quality.astype(np.float16))
        assert np.array_equal(folder.labels["stress"][mine], windows.labels["stress"], equal_nan=True)
        level = windows.labels.get("level", np.full(len(mine), np.nan))
        assert np.array_equal(folder.labels["level"][mine], level, equal_nan=True)
        for name, column in columns.items():
            got = batch.signals[name]
            observed = windows.observed[name] & windows.present[:, windows.modalities.index(name), None]
            assert np.array_equal(got.observed[mine].numpy(), observed)
            assert not got.values[mine].numpy()[~np.repeat(observed[:, None], column.channels, axis=1)].any()
            error = np.abs(got.values[mine].numpy() - np.where(observed[:, None], windows.signals[name], 0))
            bound = column.lsb / 2 + 4 * np.spacing(np.float32(abs(column.offset) + 10))
            assert (error == 0).all() if encoding == "f32" else error.max() <= bound
    assert seen == folder.windows == folder.manifest.counts.windows_kept
    # Person 1 has windows with a hole and windows without a modality: both kinds went through.
    assert not batch.signals["ppg"].observed.all(dim=1).all()
    assert not batch.present[:, 0].all()
    assert not folder.quality[~folder.present].any()
    assert 0 < folder.quality[folder.present].min() < folder.quality.max() == 1


def test_people_are_interleaved(tiny, tmp_path):
    tiny.build(tmp_path / "a", tiny.TinyCohort(people=12, seconds=200), block_windows=64)
    folder = ShardFolder.open(tmp_path / "a")
    rows = folder.subject_rows
    distinct = [len(set(rows[block])) for block in folder.blocks() if len(block) == 64]
    # A global shuffle puts each of 12 people into 64 places with probability 1 - (11/12)^64 = 0.996.
    assert np.mean(distinct) > 11.5
    same = np.mean(rows[1:] == rows[:-1])
    assert same < 0.2
    steps = np.abs(np.diff(folder.window_ids))
    assert np.mean(steps == 1) < 0.02


def test_splits_keep_groups_whole_and_stay_when_people_are_added(tiny, tmp_path):
    shares = {"train": 0.6, "test": 0.4}
    homes = []
    for people in (9, 15):
        folder = tmp_path / str(people)
        tiny.build(folder, tiny.TinyCohort(people=people), splits=shares, seed=5)
        home = {}
        for split in shares:
            part = ShardFolder.open(folder, split=split)
            for row in np.unique(part.subject_rows):
                assert part.manifest.subjects[row].subject not in home
                home[part.manifest.subjects[row].subject] = split
        homes.append(home)
    subject = [tiny.KEY.pseudonym("tiny", f"rawid-{person}") for person in range(15)]
    assert all(homes[1][person] == homes[0][person] for person in subject[:9])
    assert homes[0][subject[4]] == homes[0][subject[5]]
    assert set(homes[0].values()) == {"train", "test"}
    assert ShardFolder.open(tmp_path / "9", split="all").windows == ShardFolder.open(tmp_path / "9").manifest.windows


def test_an_empty_split_is_refused(tiny, tmp_path):
    with pytest.raises(SplitError, match="would be empty"):
        tiny.build(tmp_path / "a", tiny.TinyCohort(people=1), splits={"train": 0.5, "test": 0.5})
    assert not (tmp_path / "a").exists()


def test_consent_decides_who_is_read(tiny, tmp_path):
    table = tmp_path / "consent.csv"
    names = [tiny.KEY.pseudonym("tiny", f"rawid-{person}") for person in range(7)]
    table.write_text(f"subject,consent\n{names[0]},yes\n{names[2]},yes\n{names[3]},no\n{names[5]},yes\n{names[5]},no\n")
    manifest = tiny.build(tmp_path / "a", consent=table)
    assert {row.subject for row in manifest.subjects} == {names[0], names[2]}
    assert manifest.counts.without_consent == 5
    assert manifest.consent.startswith("sha256:")
    for text in ("subject\nx\n", "subject,consent\nx,maybe\n"):
        table.write_text(text)
        with pytest.raises(ConfigError, match="consent table"):
            tiny.build(tmp_path / "b", consent=table)
    assert not (tmp_path / "b").exists()


def test_times_go_back_by_secret_whole_weeks_per_person(tiny, tmp_path):
    shifts = []
    for number, key in enumerate((SubjectKey(b"first secret of a lab"), SubjectKey(b"second secret of a lab"))):
        tiny.build(tmp_path / str(number), tiny.TinyCohort(people=5), subject_key=key)
        folder = ShardFolder.open(tmp_path / str(number))
        first = [folder.t0_ns[folder.subject_rows == row].min() for row in range(5)]
        shift = tiny.START_NS - np.array(first)
        assert (shift > 0).all()
        assert (shift % WEEK_NS == 0).all()
        assert len(set(shift)) > 1
        shifts.append(shift)
    assert not np.array_equal(*shifts)


def test_no_raw_id_or_time_reaches_the_folder(tiny, built):
    clock = str(tiny.START_NS)[:6].encode()
    for name, data in content(built).items():
        assert b"rawid" not in data, name
        assert b"rawgroup" not in data, name
        assert not name.endswith(".json") or clock not in data
    starts = np.arange(0, 200, 2) * 10**9 + tiny.START_NS
    assert not np.isin(ShardFolder.open(built).t0_ns, starts).any()


def test_a_visit_that_cannot_be_cut_is_never_lost_silently(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda handle: None)
    with pytest.raises(RecordingError):
        tiny.build(tmp_path / "a", tiny.TinyCohort(bad=(2,)), on_error="strict")
    with pytest.raises(ShardError, match="2 of 7 visits cannot be used") as caught:
        tiny.build(tmp_path / "a", tiny.TinyCohort(bad=(2, 5)))
    assert "RecordingError" in str(caught.value)
    assert "rawid" not in str(caught.value)
    assert not (tmp_path / "a").exists()
    many = tiny.TinyCohort(people=51, visits_each=2, seconds=6, bad=(7,))
    manifest = tiny.build(tmp_path / "a", many, encoding="f32", shard_mb=9)
    report = json.loads((tmp_path / "a" / "quarantine.json").read_bytes())
    assert manifest.counts.quarantined == len(report) == 1
    assert manifest.counts.visits == 101
    with pytest.raises(ShardError, match="1 of 101 visits"):
        tiny.build(tmp_path / "b", tiny.TinyCohort(people=101, seconds=6, bad=(7,)), encoding="f32", shard_mb=9)


def test_bad_arguments_are_refused_before_anything_is_written(tiny, tmp_path):
    for change in ({"name": "../x"}, {"splits": {"a": 0.5}}, {"splits": {"A b": 1.0}}, {"block_windows": 0}):
        with pytest.raises(ConfigError):
            tiny.build(tmp_path / "a", **change)
    assert not (tmp_path / "a").exists()


def test_the_step_of_i16_comes_from_training_people_only(tiny, tmp_path):
    shares = {"train": 0.6, "test": 0.4}
    columns = []
    manifest = tiny.build(tmp_path / "a", tiny.TinyCohort(people=9), splits=shares, seed=5)
    part = ShardFolder.open(tmp_path / "a", split="test")
    tested = {part.manifest.subjects[row].subject for row in part.subject_rows}
    person = next(p for p in range(9) if tiny.KEY.pseudonym("tiny", f"rawid-{p}") in tested)
    for scale in (0.5, 0.9):
        folder = tmp_path / str(scale)
        columns.append(
            tiny.build(
                folder, tiny.TinyCohort(people=9, scale={person: scale}), splits=shares, seed=5
            ).header.modalities
        )
    assert columns[0] == columns[1] == manifest.header.modalities
    assert {column.encoding for column in columns[0]} == {"i16"}


def test_i16_gives_way_to_f32_where_it_would_lose_something(tiny, tmp_path):
    shares = {"train": 0.6, "test": 0.4}
    part = ShardFolder.open(
        (tiny.build(tmp_path / "a", tiny.TinyCohort(people=9), splits=shares, seed=5), tmp_path / "a")[1], split="test"
    )
    tested = {part.manifest.subjects[row].subject for row in part.subject_rows}
    person = next(p for p in range(9) if tiny.KEY.pseudonym("tiny", f"rawid-{p}") in tested)
    clipped = tiny.build(tmp_path / "b", tiny.TinyCohort(people=9, scale={person: 300.0}), splits=shares, seed=5)
    assert {column.encoding for column in clipped.header.modalities if column.name != "temp"} == {"f32"}
    # One person far louder than the rest makes the common step too coarse for everyone else.
    coarse = tiny.build(tmp_path / "c", tiny.TinyCohort(people=7, scale={3: 1e5}))
    assert {column.name: column.encoding for column in coarse.header.modalities}["ppg"] == "f32"


class Unreadable:
    """A cohort whose visit 3 cannot be read; its iterator may go on afterwards or, as a generator, may not."""

    name, licence, source = "broken", "CC0-1.0", "made in a test"

    def __init__(self, cohort, *, goes_on):
        self.cohort, self.goes_on = cohort, goes_on

    def inputs(self):
        return []

    def visits(self):
        turns = enumerate(self.cohort.visits())

        def read():
            try:
                number, visit = next(turns)
            except StopIteration:
                return None
            if number == 3:
                error = ReaderError("The zip is cut off", where="rawid-3.zip")
                error.add_note("in visit 4")
                raise error
            return visit

        return iter(read, None) if self.goes_on else (visit for visit in iter(read, None))


def test_a_visit_that_cannot_be_read_is_never_lost_silently(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda handle: None)
    many = tiny.TinyCohort(people=51, visits_each=2, seconds=6)
    manifest = tiny.build(tmp_path / "a", Unreadable(many, goes_on=True), encoding="f32", shard_mb=9)
    assert (manifest.counts.visits, manifest.counts.quarantined) == (101, 1)
    assert "rawid" not in (tmp_path / "a" / "quarantine.json").read_text()
    with pytest.raises(ShardError, match=r"1 of 7 visits(.|\n)*ReaderError: The zip is cut off \(in visit 4\)"):
        tiny.build(tmp_path / "b", Unreadable(tiny.TinyCohort(), goes_on=True))
    for cohort, mode in ((Unreadable(many, goes_on=False), "quarantine"), (Unreadable(many, goes_on=True), "strict")):
        with pytest.raises(ReaderError, match="cut off"):
            tiny.build(tmp_path / "b", cohort, on_error=mode)
    assert not (tmp_path / "b").exists()

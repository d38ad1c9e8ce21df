import shutil

import pytest

from data_pipelines.cohorts.folder import Folder
from hdt_fm.schema.errors import ConfigError, ReaderError, UnknownNameError
from hdt_fm.schema.subject import SubjectKey


def cohort(folder, **more):
    return Folder(path=str(folder), subject_key="public", study="trial", **more)


def session(fabricate, folder, name, seed, start=0):
    files = fabricate.e4_files(seed=seed, start=fabricate.E4_START + start, seconds=12)
    return fabricate.e4_zip(folder / f"{name}.zip", files)


def pseudonym(raw):
    return SubjectKey.public().pseudonym("trial", raw)


def test_children_of_any_format_are_visits_by_name(fabricate, tmp_path):
    session(fabricate, tmp_path, "P01_evening", 1, 3600)
    session(fabricate, tmp_path, "P01_morning", 2)
    fabricate.e4_folder(tmp_path / "P02", fabricate.e4_files(seed=3))
    fabricate.edf(tmp_path / "P03.edf")
    fabricate.wfdb_record(tmp_path, "P04")
    (tmp_path / ".hidden").mkdir()
    visits = list(cohort(tmp_path).visits())
    assert [v.subject for v in visits] == [pseudonym(f"P0{n}") for n in (1, 1, 2, 3, 4)]
    assert [v.source for v in visits] == ["empatica_e4"] * 3 + ["edf", "wfdb_record"]
    assert [v.group for v in visits] == [v.subject for v in visits]
    assert cohort(tmp_path).name == "trial"
    assert Folder(path=str(tmp_path)).name == tmp_path.name


def test_the_subject_table_ties_groups_and_gives_covariates(fabricate, tmp_path):
    session(fabricate, tmp_path, "a", 1)
    session(fabricate, tmp_path, "b", 2)
    (tmp_path / "subjects.csv").write_text(
        "file,subject,group,sex,age_band\na.zip,anna,twins,F,30-39\nb.zip,berta,twins,F,\n"
    )
    first, second = cohort(tmp_path).visits()
    assert (first.subject, second.subject) == (pseudonym("anna"), pseudonym("berta"))
    assert first.group == second.group == pseudonym("twins")
    assert first.covariates == {"sex": "F", "age_band": "30-39"}
    assert second.covariates == {"sex": "F"}


def test_one_recording_under_two_ids_is_refused_at_once(fabricate, tmp_path):
    path = session(fabricate, tmp_path, "P01", 1)
    shutil.copy(path, tmp_path / "P02.zip")
    with pytest.raises(ReaderError, match="two ids"):
        cohort(tmp_path).visits()
    (tmp_path / "subjects.csv").write_text("file,subject,group\nP01.zip,x,same\nP02.zip,y,same\n")
    assert len(list(cohort(tmp_path).visits())) == 2


def test_one_recording_under_two_ids_is_seen_through_another_wrapping(fabricate, tmp_path):
    session(fabricate, tmp_path, "P01", 1)
    fabricate.e4_folder(tmp_path / "P02", fabricate.e4_files(seed=1, start=fabricate.E4_START + 99, seconds=12))
    visits = cohort(tmp_path).visits()
    next(visits)
    with pytest.raises(ReaderError, match="two ids"):
        next(visits)


@pytest.mark.parametrize(("apart_s", "fine"), [(0, False), (11, False), (12, True)])
def test_two_people_under_one_id_overlap_in_time(fabricate, tmp_path, apart_s, fine):
    session(fabricate, tmp_path, "P01_a", 1)
    session(fabricate, tmp_path, "P01_b", 2, apart_s)
    visits = cohort(tmp_path).visits()
    next(visits)
    if fine:
        assert next(visits).subject == pseudonym("P01")
        return
    with pytest.raises(ReaderError, match="Two people under one id"):
        next(visits)


def test_recordings_without_a_clock_cannot_overlap(fabricate, tmp_path):
    fabricate.wfdb_record(tmp_path, "P01_a")
    fabricate.wfdb_record(tmp_path, "P01_b", fs=200)
    assert len(list(cohort(tmp_path).visits())) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,subject\na.zip,anna\n", "does not fit the folder"),
        ("file,subject\na.zip,anna\nb.zip,b\nc.zip,c\n", "does not fit the folder"),
        ("file,subject\na.zip,anna\nb.zip,\n", "lacks a column or a value"),
        ("name,subject\na.zip,anna\nb.zip,b\n", "lacks a column or a value"),
        ("file,subject\na.zip,anna\na.zip,b\n", "one recording to two people"),
        ("file,subject,age_band\na.zip,anna,34\nb.zip,b,30-39\n", "exact age"),
        ("", "cannot be read"),
    ],
)
def test_subject_tables_that_do_not_fit(fabricate, tmp_path, text, message):
    session(fabricate, tmp_path, "a", 1)
    session(fabricate, tmp_path, "b", 2)
    (tmp_path / "subjects.csv").write_text(text)
    with pytest.raises(ReaderError, match=message) as caught:
        cohort(tmp_path).visits()
    assert "anna" not in str(caught.value)


def test_a_child_that_nobody_reads_is_not_passed_over(fabricate, tmp_path):
    session(fabricate, tmp_path, "P01", 1)
    (tmp_path / "P02.csv").write_text("a table without a mapping\n")
    (tmp_path / "P03").mkdir()
    visits = cohort(tmp_path).visits()
    next(visits)
    with pytest.raises(ReaderError, match="No reader recognises") as unknown:
        next(visits)
    with pytest.raises(ReaderError, match="folder is empty") as empty:
        next(visits)
    assert "P0" not in str(unknown.value) + str(empty.value), "a file's name is often a person's id"
    # With a named reader, only its own files are meant.
    assert len(list(cohort(tmp_path, reader="empatica_e4").visits())) == 1


@pytest.mark.real
def test_segments_of_a_wfdb_record_are_not_visits_of_their_own(real_data):
    folder = real_data / "device_formats" / "wfdb" / "multi-segment" / "041s"
    assert len(cohort(folder).visits()) == 1


def test_folders_that_are_none(fabricate, tmp_path):
    with pytest.raises(ReaderError, match="no such folder"):
        cohort(tmp_path / "none").visits()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReaderError, match="folder is empty"):
        cohort(tmp_path / "empty").visits()
    session(fabricate, tmp_path / "e4", "P01", 1)
    with pytest.raises(UnknownNameError):
        cohort(tmp_path / "e4", reader="empatika").visits()
    with pytest.raises(ReaderError, match="holds no recording"):
        cohort(tmp_path / "e4", reader="edf").visits()


def test_inputs_are_every_file_but_hidden_ones(fabricate, tmp_path):
    fabricate.e4_folder(tmp_path / "P01")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x").write_text("x")
    assert len(cohort(tmp_path).inputs()) == len(fabricate.e4_files())


def told(tmp_path, fabricate, header, row, **settings):
    session(fabricate, tmp_path, "a", 1)
    (tmp_path / "subjects.csv").write_text(f"file,subject,{header}\na.zip,anna,{row}\n")
    return next(iter(Folder(path=str(tmp_path), subject_key="public", **settings).visits()))


def test_columns_go_along_by_name_alone(fabricate, tmp_path):
    columns = {"covariates": ["sex", "bmi", "apoe"]}
    visit = told(tmp_path, fabricate, "sex,bmi,apoe,note", "F,23.5,,keep out", **columns)
    assert visit.covariates == {"sex": "F", "bmi": "23.5"}


def test_a_covariate_that_the_table_lacks_is_named(fabricate, tmp_path):
    with pytest.raises(ReaderError, match=r"lacks a covariate(?s:.)*columns apoe"):
        told(tmp_path, fabricate, "sex,bmi", "F,23.5", covariates=["bmi", "apoe"])


@pytest.mark.parametrize(("age", "fine"), [("41", True), ("90", True), ("91", False)])
def test_an_age_above_ninety_would_name_a_person(fabricate, tmp_path, age, fine):
    if fine:
        assert told(tmp_path, fabricate, "age", age, covariates=["age"]).covariates == {"age": age}
        return
    with pytest.raises(ReaderError, match="an exact age above 90") as caught:
        told(tmp_path, fabricate, "age", age, covariates=["age"])
    assert "91" not in str(caught.value)


@pytest.mark.parametrize("column", ["subject", "file", "group"])
def test_whose_a_recording_is_is_no_covariate(tmp_path, column):
    with pytest.raises(ConfigError, match="whose a recording is"):
        Folder(path=str(tmp_path), covariates=["sex", column])

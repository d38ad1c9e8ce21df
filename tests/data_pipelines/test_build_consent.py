"""Who agreed: asked before a file is opened, by purpose and day; and what of a person may stand in the manifest."""

from datetime import date

import pytest

from data_pipelines.build import build_shards
from data_pipelines.cohorts.folder import Folder
from data_pipelines.consent import Consent, check_again, read_consent
from data_pipelines.covariates import check_coarse
from hdt_fm.schema.errors import ConfigError, ShardError

DAY = date(2026, 11, 22)


@pytest.fixture
def made(repo, monkeypatch):
    monkeypatch.syspath_prepend(str(repo / "tests" / "data_pipelines"))
    import fabricate_engine

    return fabricate_engine


def table(tmp_path, text):
    path = tmp_path / "consent.csv"
    path.write_text(text)
    return path


def who(tmp_path, text, **asked):
    answers = read_consent(table(tmp_path, text), on=DAY, **asked).answers
    return {subject for subject, answer in answers.items() if answer}


def test_a_row_says_yes_for_its_purpose_on_its_days(tmp_path):
    text = (
        "subject,consent,purpose,valid_from,expires,withdrawn\n"
        "a,yes,GRU,,,\n"
        "b,yes,HMB; GRU,2026-11-22,2026-11-22,no\n"  # both days count
        "c,yes,HMB,,,\n"
        "d,yes,GRU,,2026-11-21,\n"
        "e,yes,GRU,2026-11-23,,\n"
        "f,yes,GRU,,,yes\n"
        "g,yes,GRU,,,2026-11-22\n"
        "h,yes,GRU,,,2026-11-23\n"
        "i,no,GRU,,,\n"
        "j,yes,,,,\n"
        "k,no,HMB,,,\nk,yes,GRU,,,\n"  # a no to something else
        "l,yes,GRU,,,\nl,no,,,,\n"  # and one to everything
        "m,yes,GRU,,2020-01-01,\nm,yes,GRU,2020-01-01,2030-01-01,\n"  # renewed
    )
    assert who(tmp_path, text, purpose="GRU") == {"a", "b", "h", "j", "k", "m"}
    assert who(tmp_path, text, purpose="HMB") == {"b", "c", "j"}
    with pytest.raises(ConfigError, match="purposes apart"):
        who(tmp_path, text)


def test_a_register_s_words_are_read_too(tmp_path):
    text = "pseudonym,scope,version,valid_from,valid_to,status\na,GRU,1,2026-01-01,2027-01-01T00:00:00Z,active\n"
    assert who(tmp_path, text + "b,GRU,1,2026-01-01,,withdrawn\n", purpose="GRU") == {"a"}
    # Append-only: what was taken back later stands below.
    assert who(tmp_path, text + "a,GRU,2,2026-02-01,,withdrawn\n", purpose="GRU") == set()


@pytest.mark.parametrize(
    "text",
    [
        "subject\na\n",
        "subject,consent\na,perhaps\n",
        "subject,consent,expires\na,yes,22.11.2026\n",
        "subject,consent,withdrawn\na,yes,2026-13-01\n",
        "subject,pseudonym,consent\na,b,yes\n",
        "subject,consent\n,yes\n",
        "subject,consent\n\xff",
    ],
)
def test_a_table_that_cannot_be_read_lets_nobody_in(tmp_path, text):
    path = tmp_path / "consent.csv"
    path.write_bytes(text.encode("latin1"))
    with pytest.raises(ConfigError, match="consent table cannot be read") as caught:
        read_consent(path, on=DAY)
    assert "perhaps" not in str(caught.value)


def test_the_same_people_on_another_day_are_the_same_consent(tmp_path):
    path = table(tmp_path, "subject,consent,expires\na,yes,2026-12-01\nb,yes,2027-01-01\n")
    agreed = [read_consent(path, on=day).agreed for day in (DAY, date(2026, 11, 30), date(2026, 12, 2))]
    assert agreed[0] == agreed[1] != agreed[2]
    plain = read_consent(table(tmp_path, "subject,consent\na,yes\n"))
    assert plain.agreed == plain.version


def test_nothing_of_a_person_without_consent_is_opened(made, tmp_path, monkeypatch):
    source = made.write_people(tmp_path / "in", 5)
    names = [made.pseudonym(number) for number in range(5)]
    consent = table(tmp_path, f"subject,consent\n{names[0]},yes\n{names[3]},yes\n{names[4]},no\n")
    opened, settings = [], made.BUILD | {"subject_key": made.KEY, "consent": consent}
    real = open

    def watch(file, *arguments, **more):
        opened.append(str(file))
        return real(file, *arguments, **more)

    # np.load, gzip, digests: all go through one of these two.
    monkeypatch.setattr("builtins.open", watch)
    monkeypatch.setattr("pathlib.Path.open", lambda path, *arguments, **more: watch(path, *arguments, **more))
    log, report = tmp_path / "opened", tmp_path / "report.json"
    manifest = build_shards(made.Files(source, opened=log), folder=tmp_path / "a", report=report, **settings)
    assert log.read_text().split() == ["0", "3"]
    touched = {path.rsplit("/", 1)[1] for path in opened if path.startswith(str(source))}
    assert touched == {"rawid0.npy", "rawid3.npy"}
    assert {row.subject for row in manifest.subjects} == {names[0], names[3]}
    assert manifest.counts.without_consent == 3
    assert '"never opened": 3' in report.read_text()
    # Where nobody knows before, a visit is read and then dropped: the same shards, and the report says it.
    log.unlink()
    build_shards(made.Files(source, opened=log, known=False), folder=tmp_path / "b", report=report, **settings)
    assert len(log.read_text().split()) == 5
    assert '"known only after reading": 3' in report.read_text()
    shards = [{name: data for name, data in made.content(tmp_path / f).items() if ".json" not in name} for f in "ab"]
    assert shards[0] == shards[1]


def test_a_folder_opens_only_what_was_agreed_to(fabricate, made, tmp_path):
    folder = tmp_path / "in"
    for number in range(3):
        fabricate.e4_zip(folder / f"P0{number}.zip", fabricate.e4_files(seed=number, seconds=12))
    (folder / "P01.zip").chmod(0)
    (folder / "P01.zip").unlink()
    (folder / "P01.zip").mkdir()  # whoever opens it meets an error
    (folder / "P01.zip" / "ACC.csv").symlink_to("/nowhere")
    cohort = Folder(path=str(folder), subject_key="public", study="trial")
    from hdt_fm.schema.subject import SubjectKey

    names = [SubjectKey.public().pseudonym("trial", f"P0{number}") for number in range(3)]
    consent = table(tmp_path, f"subject,consent\n{names[0]},yes\n{names[1]},no\n{names[2]},yes\n")
    manifest = build_shards(cohort, folder=tmp_path / "a", consent=consent, **made.BUILD)
    assert (manifest.counts.visits, manifest.counts.without_consent) == (2, 1)


def test_consent_is_asked_again_before_packing():
    check_again(Consent(), ["anyone"])
    with pytest.raises(ShardError, match="without consent"):
        check_again(Consent("sha256:1", {"a": True, "b": False}), ["a", "b"])


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("date_of_birth", "x", "identifiers"),
        ("zip", "8001", "identifiers"),
        ("visit", "2024-03-01", "a date"),
        ("visit", "1.3.2024", "a date"),
        ("code", "00123456", "long number"),
        ("note", "a@b.ch", "address"),
        ("note", "x" * 41, "letters"),
        ("age", "91", "above 90"),
        ("age", "90", None),
        ("age_band", "90+", None),
        ("bmi", "23.4", None),
        ("apoe", "e3/e4", None),
    ],
)
def test_covariates_that_would_name_a_person_are_refused(made, column, value, why):
    from data_pipelines.work import VisitFacts

    facts = VisitFacts(
        digest="0",
        subject=made.pseudonym(1),
        group=made.pseudonym(1),
        covariates={column: value},
        recordings=1,
        windows=1,
        possible=1,
        dropped=0,
        hours=1.0,
        labels=(),
    )
    if why is None:
        check_coarse([facts])
        return
    with pytest.raises(ShardError, match=why) as caught:
        check_coarse([facts])
    assert value == "x" or value not in str(caught.value)

"""`hdt-fm consent WORD`, as typed: what is said, what is refused, and that a raw id is never said again."""

import json

import pytest

from hdt_fm.cli.main import EXIT_OK, EXIT_USER_ERROR, main
from hdt_fm.schema.subject import SubjectKey

WHO = [SubjectKey.public().pseudonym("made", str(number)) for number in range(3)]


@pytest.fixture
def register(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("HDT_FM_CONSENT_KEY", raising=False)
    path = tmp_path / "register"
    assert main(["consent", "new", str(path)]) == EXIT_OK
    (tmp_path / "people.txt").write_text("\n".join(WHO[:2]))
    words = ["--subjects", str(tmp_path / "people.txt"), "scope=GRU+NCU", "version=1.0", "valid_to=2099-12-31"]
    assert main(["consent", "give", str(path), *words]) == EXIT_OK
    capsys.readouterr()
    return path


def told(capsys):
    return json.loads(capsys.readouterr().out)


def consent(register, word, *more):
    return main(["consent", word, str(register), *more])


def test_status_counts_and_tells_of_one(register, capsys):
    assert consent(register, "status", "purpose=GRU", "--json") == EXIT_OK
    found = told(capsys)
    assert found["purpose"]["may be used"] == 0
    assert found["permitted"] == {"DUO:0000042 (GRU) + DUO:0000046 (NCU)": 2}
    assert consent(register, "status", "purpose=HMB+NCU", f"subject={WHO[0]}") == EXIT_OK
    out = capsys.readouterr().out
    assert "2 of 2 may be used" in out
    assert "given DUO:0000042+DUO:0000046, form 1.0, ... to 2099-12-31" in out
    assert WHO[0] not in out
    assert consent(register, "status", f"subject={WHO[2]}") == EXIT_OK
    assert "not in the register" in capsys.readouterr().out


def test_withdraw_writes_it_once_and_reports_each_time(register, tmp_path, capsys):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "notes.txt").write_text(WHO[0])
    assert consent(register, "withdraw", f"subject={WHO[0]}", "--json") == EXIT_OK
    (report,) = told(capsys)["withdrawals"]
    assert (report["entry"], report["artefacts"]) == (3, [])
    assert consent(register, "withdraw", f"subject={WHO[0]}", f"root={tmp_path}/runs", "--json") == EXIT_OK
    (report,) = told(capsys)["withdrawals"]
    assert (report["entry"], report["open"]) == (3, 1)
    home = register / "withdrawals" / "000003"
    assert (home / "subjects.txt").read_text().split() == [WHO[0]]
    for name in ("report.json", "report.md"):
        assert WHO[0] not in (home / name).read_text()
    assert f"rm {tmp_path}/runs/notes.txt" in (home / "report.md").read_text()
    assert "No model is said to have forgotten" in (home / "report.md").read_text()
    assert consent(register, "status", f"root={tmp_path}/runs") == 1
    (tmp_path / "runs" / "notes.txt").unlink()
    assert consent(register, "status", f"root={tmp_path}/runs") == EXIT_OK
    # Given anew, nothing is to be done.
    assert consent(register, "give", f"subject={WHO[0]}", "scope=HMB", "version=2") == EXIT_OK
    assert consent(register, "status", f"root={tmp_path}", "--json") == EXIT_OK


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["consent", "withdrew"], "did you mean 'withdraw'?"),
        (["consent", "give", "R", "scop=GRU"], "did you mean 'scope'?"),
        (["consent", "give", "R", "scope=GUR", "version=1", f"subject={WHO[2]}"], "did you mean 'GRU'?"),
        (["consent", "give", "R", "version=1", f"subject={WHO[2]}"], "needs scope"),
        (["consent", "give", "R", "scope=GRU", f"subject={WHO[2]}"], "which form"),
        (["consent", "give", "R", "scope=GRU", "version=1"], "needs people"),
        (["consent", "give", "R", "scope=GRU", "version=1", f"subject={WHO[2]}", "at=soon"], "A time cannot be read"),
        (["consent", "give", "R", "scope=GRU", "version=1", "subject=P07"], "something else than a pseudonym"),
        (["consent", "withdraw", "R", "subject=P07"], "something else than a pseudonym"),
        (["consent", "withdraw", "R", "P07"], "takes one path"),
        (["consent", "withdraw", "R", f"subject={WHO[2]}"], "look for a slip"),
        (["consent", "withdraw", "R", f"subject={WHO[0]}", "root=nowhere"], "no folder here"),
        (["consent", "settle", "R", f"published={'a' * 64}", "told=users"], "No publication of this digest"),
        (["consent", "settle", "R", f"published={'a' * 64}", "told=jane@lab.org"], "without a name"),
        (["consent", "status", "nowhere"], "hdt-fm consent new nowhere"),
        (["consent", "new", "R"], "something here already"),
        (["consent", "export", "R", f"subject={WHO[0]}", "root=."], "needs to"),
        (["consent", "export", "R", f"subject={WHO[0]}", "--to", "x"], "needs a folder"),
        (["consent", "export", "R", f"subject={WHO[0]}", "root=.", "--to", "x", "format=xls"], "Unknown value"),
        (["consent", "fhir", "R"], "writes or reads"),
        (["consent", "fhir", "R", "--from", "nowhere"], "cannot be read"),
        (["consent", "status", "R", "--dry-run"], "composes no config"),
    ],
)
def test_a_mistake_is_named_and_nothing_written(register, arguments, words, capsys):
    before = (register / "register.jsonl").read_bytes()
    assert main([str(register) if one == "R" else one for one in arguments]) == EXIT_USER_ERROR
    error = capsys.readouterr().err
    assert words in error
    assert "P07" not in error
    assert (register / "register.jsonl").read_bytes() == before


@pytest.mark.parametrize("word", ["new", "give", "withdraw", "settle", "status", "export", "fhir"])
def test_every_word_has_help(word, capsys):
    assert main(["consent", word, "--help"]) == EXIT_OK
    out = capsys.readouterr().out
    assert out.startswith(f"usage: hdt-fm consent {word} REGISTER")
    assert max(map(len, out.splitlines())) <= 120


def test_fhir_there_and_back(register, tmp_path, capsys):
    assert consent(register, "fhir", "--to", str(tmp_path / "consents.json")) == EXIT_OK
    assert consent(register, "fhir", "--from", str(tmp_path / "consents.json")) == EXIT_OK
    assert "0 entries added, 2 were known" in capsys.readouterr().out
    assert main(["consent", "new", str(tmp_path / "again")]) == EXIT_OK
    assert consent(tmp_path / "again", "fhir", "--from", str(tmp_path / "consents.json")) == EXIT_OK
    assert "2 entries added" in capsys.readouterr().out
    assert consent(tmp_path / "again", "status", "purpose=GRU+NCU", "--json") == EXIT_OK
    assert told(capsys)["purpose"]["may be used"] == 2

"""What permits what, by hand; and what a person permits after all that they said."""

from datetime import date

import pytest

from data_pipelines.consent import read_consent
from hdt_fm.consent.duo import TERMS, scope_of
from hdt_fm.consent.entry import Said
from hdt_fm.consent.register import Register
from hdt_fm.consent.standing import left, standings
from hdt_fm.schema.errors import ConfigError, UnknownNameError
from hdt_fm.schema.subject import SubjectKey

WHO = [SubjectKey.public().pseudonym("made", str(number)) for number in range(5)]
DAY = date(2026, 11, 24)


def permits(given, use):
    return scope_of([given]).permits(scope_of([use]))


@pytest.mark.parametrize(
    ("given", "use", "answer"),
    [
        ("GRU", "GRU", True),
        ("GRU", "HMB", True),
        ("GRU", "DS+MONDO:0005148", True),
        ("GRU", "POA", True),
        ("HMB", "GRU", False),
        ("HMB", "POA", False),
        ("HMB", "DS+MONDO:0005148", True),
        ("DS+MONDO:0005148", "HMB", False),
        ("DS+MONDO:0005148", "DS+MONDO:0005148", True),
        ("DS+MONDO:0005148", "DS+MONDO:0005044", False),
        ("DS+MONDO:0005148+MONDO:0005044", "DS+MONDO:0005044", True),
        ("DS+MONDO:0005148", "DS+MONDO:0005148+MONDO:0005044", False),
        ("NRES", "GRU", True),
        ("GRU", "NRES", False),
        ("GRU+NCU", "GRU", False),
        ("GRU+NCU", "GRU+NCU", True),
        ("GRU+NCU", "GRU+NPUNCU", True),
        ("GRU+NPUNCU", "GRU+NCU", False),
        ("GRU+NPU+IRB", "HMB+NPU", False),
        ("GRU+CC", "GRU", True),
        ("HMB+POA", "HMB+POA", True),
        ("HMB", "HMB+POA", False),
    ],
)
def test_what_permits_what(given, use, answer):
    assert permits(given, use) is answer


def test_codes_are_read_by_name_and_by_number():
    assert scope_of(["gru; DUO:0000046"]) == scope_of(["DUO:0000042", "NCU"])
    assert str(scope_of(["GRU+NCU"])) == "DUO:0000042 (GRU) + DUO:0000046 (NCU)"
    assert len(TERMS) == 23
    assert len({term.short for term in TERMS.values()}) == 23
    with pytest.raises(UnknownNameError, match="did you mean 'DUO:0000042'"):
        scope_of(["DUO:00000042"])
    with pytest.raises(ConfigError, match="No permission is named"):
        scope_of(["NCU"])
    for one in ("DS", "GRU+MONDO:0005148"):
        with pytest.raises(ConfigError, match="A disease goes with"):
            scope_of([one])


def register(tmp_path):
    return Register.create(tmp_path / "register")


def given(number, scope="GRU", **more):
    return Said(kind="given", subject=WHO[number], scope=(scope,), version="1", **more)


def withdrawn(number, *scope):
    return Said(kind="withdrawn", subject=WHO[number], scope=scope)


def state(entries, number, use="GRU"):
    return standings(entries)[WHO[number]].state(scope_of([use]), DAY)


def test_the_last_word_counts(tmp_path):
    entries = register(tmp_path).add(
        [
            given(0, valid_from="2026-11-24", valid_to="2026-11-24"),
            given(1, valid_to="2026-11-23"),
            given(2, valid_from="2026-11-25"),
            given(3, "HMB"),
            given(4),
            withdrawn(4),
        ]
    )
    told = [state(entries, number) for number in range(5)]
    assert told == ["permits", "ended", "not yet", "other uses only", "withdrawn"]
    assert left(entries) == (WHO[4],)
    entries = Register(tmp_path / "register").add([given(4, "HMB")])
    entries = Register(tmp_path / "register").entries
    assert state(entries, 4) == "other uses only"
    assert state(entries, 4, "HMB") == "permits"
    assert left(entries) == ()


def test_who_takes_back_a_part_takes_back_what_held_it(tmp_path):
    entries = register(tmp_path).add(
        [
            given(0, "GRU+NCU"),
            given(0, "DS+MONDO:0005148"),
            given(0, "POA"),
            withdrawn(0, "DS+MONDO:0005148"),
            given(1, "HMB"),
            withdrawn(1, "POA"),
        ]
    )
    one = standings(entries)[WHO[0]]
    assert [entry.scope for entry in one.given] == [("DUO:0000011",)]
    assert one.taken_back == {1: 4, 2: 4}
    assert not one.left
    assert state(entries, 1, "HMB") == "permits"


def test_a_build_reads_a_register(tmp_path):
    book = register(tmp_path)
    book.add([given(0), given(1, "HMB"), given(2, "GRU+NCU"), given(3, valid_to="2026-12-01"), given(4), withdrawn(4)])
    path = tmp_path / "register"

    def who(purpose, on=DAY):
        consent = read_consent(path, purpose=purpose, on=on)
        return {number for number in range(5) if consent.allows(WHO[number])}

    assert who("DUO:0000042") == {0, 3}
    assert who("DUO:0000042", date(2026, 12, 2)) == {0}
    assert who("HMB+NCU") == {0, 1, 2, 3}
    consent = read_consent(path, purpose="gru", on=DAY)
    assert consent.version == f"{Register(path).digest} for DUO:0000042"
    assert consent.agreed != read_consent(path, purpose="gru", on=date(2026, 12, 2)).agreed
    assert not consent.allows(SubjectKey.public().pseudonym("made", "stranger"))
    with pytest.raises(ConfigError, match="tells purposes apart"):
        read_consent(path)
    with pytest.raises(UnknownNameError):
        read_consent(path, purpose="sleep")

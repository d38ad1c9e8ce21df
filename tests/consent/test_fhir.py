"""FHIR Consent, there and back: what people permit stays what it was; raw ids and half-told resources are refused."""

import json
from datetime import UTC, date, datetime, timedelta

import pytest

from hdt_fm.consent.duo import scope_of
from hdt_fm.consent.entry import Said
from hdt_fm.consent.fhir import bundle_of, said_in
from hdt_fm.consent.register import Register
from hdt_fm.consent.standing import standings
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.subject import SubjectKey

WHO = [SubjectKey.public().pseudonym("made", str(number)) for number in range(6)]
DAY = date(2026, 11, 24)
USES = [
    scope_of([one]) for one in ("GRU", "GRU+NCU", "HMB", "POA", "DS+MONDO:0005148", "DS+MONDO:0005148+NCU", "POA+NCU")
]


def given(number, scope="GRU", **more):
    return Said(kind="given", subject=WHO[number], scope=tuple(scope.split("+")), version="1.0", **more)


def withdrawn(number, *scope, **more):
    return Said(kind="withdrawn", subject=WHO[number], scope=scope, **more)


@pytest.fixture
def register(tmp_path):
    times = (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hour) for hour in range(99))
    book = Register.create(tmp_path / "register", clock=lambda: next(times))
    book.add(
        [
            given(0, "DUO:0000042+NCU", valid_from="2026-01-01", valid_to="2030-01-01"),
            given(1, "DS+MONDO:0005148"),
            given(2, "POA"),
            given(2, "HMB"),
            withdrawn(2),
            given(3),
            withdrawn(3),
            given(3, "HMB"),
            given(4, "DS+MONDO:0005148"),
            given(4, "POA", at="2025-12-01T00:00:00+00:00"),
            withdrawn(4, "DS", "MONDO:0005148"),
            withdrawn(5),
        ]
    )
    return book


def permitted(book):
    found = standings(book.entries)
    return {who: [one.state(use, DAY) for use in USES] for who, one in found.items()}


def data(bundle):
    return json.dumps(bundle).encode()


def test_there_and_back_people_permit_what_they_did(register, tmp_path):
    bundle = bundle_of(register.entries)
    assert [one["resource"]["status"] for one in bundle["entry"]].count("inactive") == 5
    again = Register.create(tmp_path / "again")
    again.add(said_in(data(bundle)).said)
    assert permitted(again) == permitted(register)
    assert sorted(one.at for one in again.entries if one.kind == "given") == sorted(
        one.at for one in register.entries if one.kind == "given"
    )
    assert len({one["fullUrl"] for one in bundle["entry"]}) == len(bundle["entry"])
    # What is known already is not written twice.
    assert said_in(data(bundle), again.entries).said == ()
    assert said_in(data(bundle), register.entries).said == ()
    assert said_in(data(bundle_of(again.entries)), register.entries).said == ()


def test_a_resource_by_hand(register):
    resource = bundle_of(register.entries)["entry"][0]["resource"]
    assert resource["patient"] == {"identifier": {"system": "urn:hdt-fm:pseudonym", "value": WHO[0]}}
    assert resource["status"] == "active"
    assert resource["scope"]["coding"][0]["code"] == "research"
    assert resource["provision"]["period"] == {"start": "2026-01-01", "end": "2030-01-01"}
    assert [one["code"] for one in resource["provision"]["purpose"]] == ["DUO:0000042", "DUO:0000046"]
    assert resource["policy"] == [{"uri": "urn:hdt-fm:consent-form:1.0"}]
    assert resource["dateTime"] == "2026-01-01T01:00:00+00:00"
    said = said_in(data(resource)).said
    assert [(one.kind, one.subject, one.valid_to) for one in said] == [("given", WHO[0], "2030-01-01")]


def _set(path, value):
    def change(resource):
        *way, last = path
        for key in way:
            resource = resource[key]
        if value is None:
            del resource[last]
        else:
            resource[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_set(("patient", "identifier", "value"), "P07"), "something else than a pseudonym"),
        (_set(("patient", "identifier", "system"), "urn:oid:1.2"), "something else than a pseudonym"),
        (_set(("patient", "reference"), "Patient/P07"), "more than a pseudonym"),
        (_set(("patient", "display"), "P07"), "more than a pseudonym"),
        (_set(("status",), "draft"), "neither yes nor no"),
        (_set(("resourceType",), "Patient"), "no Consent"),
        (_set(("provision", "purpose"), []), "No permission"),
        (_set(("provision", "purpose", 0, "code"), "DUO:9999999"), "Unknown code"),
        (_set(("provision", "provision"), [{}]), "Exceptions"),
        (_set(("provision", "type"), "deny"), "neither yes nor no"),
        (_set(("provision", "period", "end"), "P07"), "A day"),
        (_set(("dateTime",), "yesterday"), "A time"),
        (_set(("dateTime",), None), "missing"),
        (_set(("policy",), []), "missing"),
        (_set(("scope", "coding", 0, "code"), "treatment"), "not to research"),
    ],
)
def test_a_wrong_resource_is_told_by_its_place_and_not_shown(register, change, words):
    bundle = bundle_of(register.entries)
    change(bundle["entry"][0]["resource"])
    with pytest.raises(ConfigError, match=words) as caught:
        said_in(data(bundle))
    assert "P07" not in str(caught.value)
    assert "entry 0 of the bundle" in str(caught.value)


@pytest.mark.parametrize("raw", [b"{", b"[]", b'{"resourceType": "Bundle"}', b"\xff", b"[" * 99999])
def test_a_file_that_is_no_bundle(raw):
    with pytest.raises(ConfigError, match="no bundle"):
        said_in(raw)

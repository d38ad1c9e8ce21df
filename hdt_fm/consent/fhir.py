"""The register as HL7 FHIR R4 Consent resources (https://hl7.org/fhir/R4/consent.html), there and back.

One resource for each consent that was given, `active` while it stands and `inactive` once it was taken back; one of
type `deny` for a person who took back what this register never held. Coded: scope `research`, category, purposes by the
Data Use Ontology, diseases as provision.code, the form as policy. A person is patient.identifier under a system of
pseudonyms; a reference, a display name or any other identifier is refused, not dropped.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from hdt_fm.consent.duo import SYSTEM, TERMS, scope_of
from hdt_fm.consent.entry import Entry, Said, time_of
from hdt_fm.consent.standing import standings
from hdt_fm.schema.errors import ConfigError, HdtError
from hdt_fm.schema.subject import is_pseudonym

PSEUDONYM_SYSTEM = "urn:hdt-fm:pseudonym"
FORM_SYSTEM = "urn:hdt-fm:consent-form:"
_SCOPE = {"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "research"}
_CATEGORY = {"system": "http://terminology.hl7.org/CodeSystem/consentcategorycodes", "code": "research"}
_CURIES = {
    "MONDO": "http://purl.obolibrary.org/obo/mondo.owl",
    "DOID": "http://purl.obolibrary.org/obo/doid.owl",
    "HP": "http://purl.obolibrary.org/obo/hp.owl",
}
MOST_RESOURCES = 1_000_000


def bundle_of(entries: Sequence[Entry]) -> dict[str, Any]:
    """A Bundle of all that people said; equal registers give equal bundles."""
    people = standings(entries)
    back = {number: by for one in people.values() for number, by in one.taken_back.items()}
    found = [
        _resource(one, entries[back[one.number]] if one.number in back else None)
        for one in entries
        if one.kind == "given"
    ]
    ever = {one.subject for one in entries if one.kind == "given"}
    denied = {one.subject: one for one in entries if one.kind == "withdrawn" and one.subject not in ever}
    found += [_denied(one) for one in denied.values()]
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"fullUrl": f"urn:uuid:{one['id']}", "resource": one} for one in found],
    }


def _resource(given: Entry, back: Entry | None) -> dict[str, Any]:
    period = {name: day for name, day in (("start", given.valid_from), ("end", given.valid_to)) if day}
    scope = given.agreed
    provision: dict[str, Any] = {
        "type": "permit",
        **({"period": period} if period else {}),
        "purpose": [{"system": SYSTEM, "code": code, "display": TERMS[code].meaning} for code in scope.codes],
        **({"code": [_disease(one) for one in scope.diseases]} if scope.diseases else {}),
    }
    found = _frame(given, "inactive" if back else "active", (back or given).at)
    return {**found, "policy": [{"uri": f"{FORM_SYSTEM}{given.version}"}], "provision": provision}


def _denied(back: Entry) -> dict[str, Any]:
    found = _frame(back, "inactive", back.at)
    return {**found, "policy": [{"uri": f"{FORM_SYSTEM}none"}], "provision": {"type": "deny"}}


def _frame(entry: Entry, status: str, updated: str) -> dict[str, Any]:
    # An id that says nothing, and is the same for the same entry.
    return {
        "resourceType": "Consent",
        "id": str(uuid5(NAMESPACE_URL, f"{entry.number} {entry.parent} {entry.written}")),
        "meta": {"lastUpdated": updated},
        "status": status,
        "scope": {"coding": [dict(_SCOPE)]},
        "category": [{"coding": [dict(_CATEGORY)]}],
        "patient": {"identifier": {"system": PSEUDONYM_SYSTEM, "value": entry.subject}},
        "dateTime": entry.at,
    }


def _disease(code: str) -> dict[str, Any]:
    name = code.partition(":")[0]
    return {"coding": [{"system": _CURIES.get(name, f"urn:hdt-fm:{name.lower()}"), "code": code}]}


@dataclass(frozen=True)
class Read:
    """What a bundle says that the register does not: entries in the order in which they were said."""

    said: tuple[Said, ...]
    known: int


def said_in(data: bytes, entries: Sequence[Entry] = ()) -> Read:
    """Read a Bundle, or one Consent; all of it or nothing.

    Args:
        entries: Of the register that it is read into: what it says already is left out.

    Raises:
        ConfigError: If a resource is not as it should be; it is told by its place, and no value of it is shown.
    """
    resources = _resources(data)
    events: list[tuple[str, int, Said]] = []
    for place, resource in enumerate(resources):
        try:
            events += _events(resource)
        except HdtError as error:
            raise _wrong(place, f"{error.problem} ({error.where or 'resource'})", error.expected) from None
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise _wrong(place, f"A field is missing or of another kind ({type(error).__name__})") from None
    there = {_key(one) for one in entries}
    wanted: dict[tuple[object, ...], Said] = {}
    for _, _, one in sorted(events, key=lambda event: event[:2]):
        wanted[_key(one)] = _joined(wanted[_key(one)], one) if _key(one) in wanted else one
    new = tuple(one for key, one in wanted.items() if key not in there)
    return Read(new, len(wanted) - len(new))


def _key(said: Said) -> tuple[object, ...]:
    of_given = (said.valid_from, said.valid_to, said.version) if said.kind == "given" else ()
    # A withdrawal of all is written out as one of each consent that it ended; at that moment they are the same.
    scope = tuple(sorted(said.scope)) if said.kind == "given" else ()
    return said.kind, said.subject, said.at, scope, *of_given


def _joined(one: Said, other: Said) -> Said:
    """Two that were said at the same moment; what was taken back then is all of both."""
    if one.kind == "given" or not one.scope or not other.scope:
        return one if not one.scope or one.kind == "given" else other
    return one.model_copy(update={"scope": tuple(sorted({*one.scope, *other.scope}))})


def _resources(data: bytes) -> list[Any]:
    try:
        root = json.loads(data)
        found = [one["resource"] for one in root["entry"]] if root["resourceType"] == "Bundle" else [root]
        if len(found) > MOST_RESOURCES:
            raise ValueError("too many")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(
            "The file is no bundle of FHIR resources",
            where="--from",
            expected="JSON: a Bundle of Consent resources (R4), or one Consent",
            got=type(error).__name__,
            fix="write it as a collection; nothing was written into the register",
        ) from None
    return found


def _events(resource: Mapping[str, Any]) -> list[tuple[str, int, Said]]:
    """What a resource tells: that it was given, and where it is inactive, that it was taken back."""
    if resource["resourceType"] != "Consent":
        raise ConfigError("The resource is no Consent", where="resourceType")
    if resource["status"] not in ("active", "inactive"):
        raise ConfigError("The status says neither yes nor no", where="status", expected="active or inactive")
    if not any(one.get("code") == "research" for one in resource["scope"]["coding"]):
        raise ConfigError("The consent is not to research", where="scope", expected="the code research")
    subject, provision = _person(resource["patient"]), resource["provision"]
    at, updated = time_of(resource["dateTime"]), time_of(resource.get("meta", {}).get("lastUpdated", ""))
    found = []
    if provision["type"] == "permit":
        codes = [one["code"] for one in provision["purpose"] if one.get("system") == SYSTEM]
        diseases = [one["code"] for some in provision.get("code", []) for one in some["coding"]]
        if "provision" in provision:
            raise ConfigError("Exceptions within a provision cannot be kept", where="provision.provision")
        scope, period = scope_of([*codes, *diseases], where="provision.purpose"), provision.get("period", {})
        forms = [one["uri"] for one in resource["policy"] if one["uri"].startswith(FORM_SYSTEM)]
        if len(forms) != 1:
            raise ConfigError("The form that was signed is missing", where="policy", expected=f"{FORM_SYSTEM}1.0")
        given = Said(
            kind="given",
            subject=subject,
            scope=(*scope.codes, *scope.diseases),
            valid_from=str(period.get("start", ""))[:10],
            valid_to=str(period.get("end", ""))[:10],
            version=forms[0].removeprefix(FORM_SYSTEM),
            at=at,
        )
        found.append((at, 0, given))
        back = given.agreed.permissions, given.agreed.diseases
    elif provision["type"] == "deny" and resource["status"] == "inactive":
        back = (), ()
    else:
        raise ConfigError("The provision says neither yes nor no", where="provision.type", expected="permit or deny")
    if resource["status"] == "inactive":
        found.append(
            (updated or at, 1, Said(kind="withdrawn", subject=subject, scope=(*back[0], *back[1]), at=updated or at))
        )
    return found


def _person(patient: Mapping[str, Any]) -> str:
    identifier = patient["identifier"]
    if set(patient) != {"identifier"} or not set(identifier) <= {"system", "value", "use"}:
        raise ConfigError("A person is told by more than a pseudonym", where="patient", expected="identifier alone")
    if identifier["system"] != PSEUDONYM_SYSTEM or not is_pseudonym(str(identifier["value"])):
        raise ConfigError(
            "A person is told by something else than a pseudonym",
            where="patient.identifier",
            expected=f"system {PSEUDONYM_SYSTEM} and 's' with 32 hexadecimal digits",
        )
    return str(identifier["value"])


def _wrong(place: int, problem: str, expected: str | None = None) -> ConfigError:
    return ConfigError(
        problem,
        where=f"--from: entry {place} of the bundle",
        expected=expected or "a Consent of R4, as `hdt-fm consent fhir REGISTER --to FILE` writes it",
        fix="mend it where it comes from; nothing was written into the register",
    )

"""One export of several people, one visit each; the raw ids end here."""

import json

import pytest

from data_pipelines.cohorts.export import Export
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.subject import SubjectKey


def bundle(path, *people):
    entries = [
        {
            "resource": {
                "resourceType": "Observation",
                "status": "final",
                "subject": {"reference": f"Patient/{person}"},
                "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
                "effectiveDateTime": f"2021-03-04T10:{minute:02d}:00Z",
                "valueQuantity": {"value": 60 + minute, "unit": "/min", "code": "/min"},
            }
        }
        for person in people
        for minute in range(3)
    ]
    path.write_text(json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}))
    return path


def test_each_person_is_a_visit_by_pseudonym(tmp_path):
    path = bundle(tmp_path / "ward.json", "mary", "john")
    visits = list(Export(path=str(path), subject_key="public").visits())
    expected = [SubjectKey.public().pseudonym("ward", f"Patient/{name}") for name in ("john", "mary")]
    assert [visit.subject for visit in visits] == expected
    assert all(set(visit.recordings) == {"heart_rate"} for visit in visits)
    assert visits[0].source == "fhir"


def test_an_export_of_one_person_without_an_id_is_one_visit(fabricate, tmp_path):
    path = fabricate.e4_zip(tmp_path / "P01.zip")
    (visit,) = Export(path=str(path), subject_key="public", study="s").visits()
    assert visit.subject == SubjectKey.public().pseudonym("s", "s")
    assert Export(path=str(path)).inputs() == [path]


def test_what_no_reader_knows_speaks(tmp_path):
    (tmp_path / "x.bin").write_bytes(b"nothing")
    with pytest.raises(ReaderError, match="No reader recognises"):
        Export(path=str(tmp_path / "x.bin"), subject_key="public").visits()
    with pytest.raises(ReaderError, match="nothing at this path"):
        Export(path=str(tmp_path / "none"), subject_key="public").visits()


@pytest.mark.real
def test_fitabase_as_published(real_data):
    path = real_data / "device_formats" / "fitbit_fitabase"
    parts = Export(path=str(path), reader="fitabase", subject_key="public").visits().parts
    assert len(parts) == 33
    assert len({part.subject for part in parts}) == 33
    assert parts[0]().recordings

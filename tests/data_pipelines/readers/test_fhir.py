import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from data_pipelines.readers.fhir import Fhir
from hdt_fm.schema.errors import ReaderError, UnitError

make = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("fabricate_exports.py"))))
SUBJECT = "s" + "1" * 32
S = 1_000_000_000


def read(path, **more):
    return Fhir(**more).read(path, subject=SUBJECT)


def of(tmp_path, *observations, **more):
    return read(make.fhir(tmp_path / "a.json", list(observations)), **more)


@pytest.mark.parametrize("name", ["a.json", "a.ndjson"])
def test_quantities_periods_components_and_sampled_data(tmp_path, name):
    path = make.fhir(tmp_path / name)
    assert Fhir.detect(path)
    visit = read(path)
    heart = visit.recordings["heart_rate"]
    assert (heart.start_ns, heart.utc_offset_s, heart.values[0].tolist()) == (make.START_NS, 7200, [60, 61, 62, 63])
    glucose = visit.recordings["glucose"]
    assert glucose.sampling_rate_hz == 1 / 300
    assert glucose.values[0].tolist() == pytest.approx([(5 + i / 10) * 18.0156 for i in range(4)], rel=1e-6)
    assert visit.recordings["steps"].values[0].tolist() == [60, 60]
    ecg = visit.recordings["ecg"]
    assert (ecg.sampling_rate_hz, ecg.channels[0].name, ecg.channels[0].source_unit) == (250, "I", "uV")
    # value = data * factor + origin, in uV; E is an error.
    assert ecg.values[0].tolist() == pytest.approx([0.1, 0.2, 0, 0, 0.3])
    assert ecg.observed.tolist() == [True, True, False, True, True]
    assert (visit.labels["systolic_pressure"].values.tolist(), visit.labels["systolic_pressure"].unit) == (
        [120],
        "mmHg",
    )
    assert visit.labels["diastolic_pressure"].start_ns.tolist() == [make.START_NS + 60 * S]
    assert "free text" not in str(visit)


def test_ucum_units_and_their_spellings(tmp_path):
    visit = of(
        tmp_path,
        make.observation("8867-4", 61, "{beats}/min"),
        make.observation("59408-5", 0.97, "1"),
        make.observation("59408-5", 96, "%", 1),
        make.observation("29463-7", 150, "[lb_av]"),
        make.observation("8310-5", 37.2, "Cel"),
        make.observation("80404-7", 0.05, "s"),
    )
    assert visit.recordings["spo2"].values[0].tolist() == [97, 96]
    assert visit.recordings["hrv"].values[0].tolist() == [50]
    assert visit.labels["weight"].values.tolist() == pytest.approx([68.0388555])
    assert visit.labels["body_temperature"].values.tolist() == [37.2]
    with pytest.raises(UnitError, match="A unit of heart_rate"):
        of(tmp_path, make.observation("8867-4", 61, "/fortnight"))
    with pytest.raises(UnitError, match="they look like 'mmol/L'"):
        of(tmp_path, *(make.observation("99504-3", 5.5, "mg/dL", 5 * i) for i in range(4)))


def test_several_patients_are_refused_listed_and_chosen(tmp_path):
    both = [make.observation("8867-4", 60 + i, "/min", patient=f"Patient/secret{i}") for i in range(2)]
    path = make.fhir(tmp_path / "a.json", both)
    with pytest.raises(ReaderError, match="2 people") as caught:
        read(path)
    assert "secret" not in str(caught.value)
    assert Fhir.people(path) == ("Patient/secret0", "Patient/secret1")
    assert read(path, person="Patient/secret1").recordings["heart_rate"].values.tolist() == [[61]]


def test_what_was_not_observed_is_left_out(tmp_path):
    kept = make.observation("8867-4", 60, "/min")
    visit = of(
        tmp_path,
        kept,
        make.observation("8867-4", 200, "/min", 1, status="entered-in-error"),
        make.observation("1234-5", 200, "/min", 2),
        {"resourceType": "Patient", "name": "secret"},
        {**make.observation("8867-4", 0, "/min", 3), "valueQuantity": {"value": "NaN", "code": "/min"}},
    )
    assert visit.recordings["heart_rate"].values.tolist() == [[60]]


def sampled(**changes):
    one = make.fhir_observations()[-1]
    one["component"][0]["valueSampledData"].update(changes)
    return one


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        (sampled(period=0), "lack their rate"),
        (sampled(data="1 2 secret"), "no number"),
        (sampled(data=""), "are empty"),
        (sampled(dimensions=2), "one dimension"),
        (make.observation("55423-8", 120, "{steps}"), "has no period"),
        (make.observation("8867-4", 60, "/min", effectiveDateTime="2026-03"), "another form"),
        (make.observation("8867-4", 60, "/min", effectiveDateTime=None), "another form"),
        (make.observation("1234-5", 60, "/min"), "nothing of use"),
    ],
)
def test_observations_that_are_not_as_they_should_be(tmp_path, observation, message):
    with pytest.raises(ReaderError, match=message) as caught:
        of(tmp_path, observation)
    assert "secret" not in str(caught.value)


def test_pieces_of_a_wave_follow_one_another_or_are_refused(tmp_path):
    later = {**sampled(), "effectiveDateTime": "2026-03-05T09:30:00.040Z"}
    ecg = of(tmp_path, sampled(), later).recordings["ecg"]
    assert ecg.values.shape == (1, 15)
    assert ecg.observed.tolist() == [True, True, False, True, True, *[False] * 5, True, True, False, True, True]
    with pytest.raises(ReaderError, match="overlap"):
        of(tmp_path, sampled(), sampled())
    with pytest.raises(ReaderError, match="differ in rate"):
        of(tmp_path, sampled(), sampled(period=8))


def test_interval_of_r5_and_cut_files(tmp_path):
    data = {"interval": 4, "intervalUnit": "ms", "period": None}
    assert of(tmp_path, sampled(**data)).recordings["ecg"].sampling_rate_hz == 250
    path = make.fhir(tmp_path / "a.ndjson")
    path.write_text(path.read_text()[:-50])
    with pytest.raises(ReaderError, match="line 11"):
        read(path)
    (tmp_path / "b.json").write_text(json.dumps({"resourceType": "Patient"}))
    assert not Fhir.detect(tmp_path / "b.json")

import pytest

from data_pipelines.cohorts.bidmc import Bidmc
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.subject import SubjectKey

DAY_NS = 86_400 * 1_000_000_000


def test_recordings_of_one_patient_are_one_subject_and_do_not_overlap(fabricate, tmp_path):
    for number, patient in ((1, "s00001"), (2, "s00002"), (10, "s00001")):
        fabricate.bidmc(tmp_path, number, patient=patient)
    visits = list(Bidmc(path=str(tmp_path), subject_key="public").visits())
    assert len(visits) == 3
    assert visits[0].subject == visits[2].subject == SubjectKey.public().pseudonym("bidmc", "s00001")
    assert visits[1].subject != visits[0].subject
    assert [v.group for v in visits] == [v.subject for v in visits]
    starts = [v.recordings["ppg"].start_ns for v in visits]
    assert starts[2] - starts[0] == 9 * DAY_NS
    assert visits[2].labels["breaths"].start_ns[0] == starts[2] + 1_000_000_000
    assert visits[0].covariates == {"sex": "F", "age_band": "90+"}


@pytest.mark.parametrize(
    ("old", "new", "covariates"),
    [
        ("Age: 90+", "Age: 88", {"sex": "F", "age_band": "80-89"}),
        ("Age: 90+", "Age: 97", {"sex": "F", "age_band": "90+"}),
        ("Age: 90+", "Age: NaN", {"sex": "F"}),
        ("Gender: F", "Gender: ?", {"age_band": "90+"}),
    ],
)
def test_coarse_covariates(fabricate, tmp_path, old, new, covariates):
    fix = fabricate.bidmc(tmp_path).with_name("bidmc_07_Fix.txt")
    fix.write_text(fix.read_text().replace(old, new))
    assert next(Bidmc(path=str(tmp_path), subject_key="public").visits()).covariates == covariates


def test_a_recording_of_nobody_is_refused(fabricate, tmp_path):
    fabricate.bidmc(tmp_path, 1).with_name("bidmc_01_Fix.txt").unlink()
    fabricate.bidmc(tmp_path, 2)
    visits = Bidmc(path=str(tmp_path), subject_key="public").visits()
    with pytest.raises(ReaderError, match="whose it is"):
        next(visits)
    assert next(visits).subject


def test_a_folder_without_recordings(tmp_path):
    with pytest.raises(ReaderError, match="holds no recording"):
        Bidmc(path=str(tmp_path), subject_key="public").visits()


@pytest.mark.real
def test_real_cohort_has_36_patients(real_data):
    cohort = Bidmc(path=str(real_data / "bidmc"), subject_key="public")
    facts = [path for path in cohort.inputs() if path.name.endswith("_Fix.txt")]
    patients = {line for p in facts for line in p.read_text().splitlines() if line.startswith("MIMIC II matched")}
    assert (len(cohort.visits()), len(patients)) == (43, 36)
    first = next(cohort.visits())
    assert first.subject == SubjectKey.public().pseudonym("bidmc", "s01182")
    assert first.covariates == {"sex": "M", "age_band": "80-89"}

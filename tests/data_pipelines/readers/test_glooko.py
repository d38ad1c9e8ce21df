import runpy
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from data_pipelines.readers.glooko import Glooko
from hdt_fm.schema.errors import ReaderError, UnitError

make = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("fabricate_exports.py"))))
SUBJECT = "s" + "1" * 32
S = 1_000_000_000


def read(path):
    return Glooko().read(path, subject=SUBJECT)


@pytest.mark.parametrize("delimiter", ["\t", ","])
def test_sensor_pump_and_meals(tmp_path, delimiter):
    visit = read(make.glooko(tmp_path / "a.zip", delimiter=delimiter))
    glucose = visit.recordings["glucose"]
    assert (glucose.start_ns, glucose.sampling_rate_hz) == (make.START_NS, 1 / 300)
    assert glucose.values[0].tolist() == pytest.approx([(5 + i / 10) * 18.0156 for i in range(6)], rel=1e-6)
    basal = visit.recordings["insulin_rate"]
    assert (basal.values[0].tolist(), basal.start_ns) == (pytest.approx([0.6, 0.6, 1.2, 1.2]), make.START_NS)
    found = {name: (t.unit, t.values.tolist()) for name, t in visit.labels.items()}
    assert found == {"bolus": ("U", [1.2, 1.5]), "carbs": ("g", [10])}
    assert visit.labels["bolus"].start_ns[0] == pd.Timestamp("2026-03-05T09:36:55Z").value
    assert "private" not in str(visit)


def test_a_folder_and_basal_that_begins_between_two_places(tmp_path):
    with zipfile.ZipFile(make.glooko(tmp_path / "a.zip")) as archive:
        archive.extractall(tmp_path / "open")
    table = tmp_path / "open" / "basal_data_1.csv"
    table.write_text(
        table.read_text()
        .replace("09:30:00\t0.6\t5", "09:32:00\t0.6\t3")
        .replace("09:45:00\t1.2\t5", "09:50:00\t1.2\t5")
    )
    assert Glooko.detect(tmp_path / "open")
    basal = read(tmp_path / "open").recordings["insulin_rate"]
    # The first place is covered for three of its five minutes: its rate is that of these; the fourth is a gap.
    assert basal.values[0].tolist() == pytest.approx([0.6, 0.6, 1.2, 0, 1.2])
    assert basal.observed.tolist() == [True, True, True, False, True]


def test_a_wrong_unit_a_cut_zip_and_a_zip_of_something_else(tmp_path):
    with pytest.raises(UnitError, match="they look like 'mmol/L'"):
        read(make.glooko(tmp_path / "a.zip", unit="mg/dL"))
    path = make.glooko(tmp_path / "b.zip")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ReaderError, match="truncated or damaged"):
        read(path)
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("notes_data_1.csv", "x")
    assert not Glooko.detect(tmp_path / "c.zip")


def test_the_real_sample(real_data):
    path = real_data / "device_formats" / "glooko" / "glooko_export_azt1d_subject7.zip"
    assert Glooko.detect(path)
    visit = read(path)
    glucose, basal = visit.recordings["glucose"], visit.recordings["insulin_rate"]
    assert glucose.start_ns == pd.Timestamp("2023-12-16T00:01:58Z").value
    assert glucose.values[0, :3].tolist() == pytest.approx([5.5 * 18.0156, 5.7 * 18.0156, 5.8 * 18.0156], rel=1e-6)
    with zipfile.ZipFile(path) as archive:
        frames = [pd.read_csv(archive.open(f"cgm_data_{i}.csv"), sep="\t", skiprows=1) for i in (1, 2, 3)]
        doses = pd.read_csv(archive.open("bolus_data_1.csv"), sep="\t", skiprows=1)
    every = pd.concat(frames).drop_duplicates("Timestamp")
    assert len(every) - int(glucose.observed.sum()) <= 0.005 * len(every)
    assert len(visit.labels["bolus"].values) == (doses["Dose (units)"] > 0).sum() == 358
    assert (len(visit.labels["carbs"].values), basal.values.shape) == (296, (1, 8065))
    assert basal.values[0, 1] == pytest.approx(0.47)

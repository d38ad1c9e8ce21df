"""AZT1D, T1D-UOM and Shanghai: their layouts with known faults, and the published files themselves."""

import json
from datetime import UTC, datetime

import openpyxl
import pandas as pd
import pytest

from data_pipelines.cohorts._doses import doses_in, drug_track, insulin_track
from data_pipelines.cohorts.azt1d import Azt1D
from data_pipelines.cohorts.shanghai_diabetes import ShanghaiDiabetes
from data_pipelines.cohorts.t1d_uom import T1DUom
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.subject import SubjectKey, is_pseudonym

S = 1_000_000_000


def ns(*moment):
    return round(datetime(*moment, tzinfo=UTC).timestamp()) * S


def pairs(track):
    return list(zip(track.start_ns.tolist(), track.values.tolist(), strict=True))


# AZT1D

HEADER = (
    "EventDateTime,DeviceMode,BolusType,Basal,CorrectionDelivered,TotalBolusInsulinDelivered,FoodDelivered,CarbSize"
)


def azt1d(tmp_path, person, rows, glucose="CGM"):
    folder = tmp_path / "CGM Records" / f"Subject {person}"
    folder.mkdir(parents=True)
    (folder / f"Subject {person}.csv").write_text("\n".join([f"{HEADER},{glucose}", *rows]) + "\n")


AZ_ROWS = [
    "2024-01-05 00:01:00,,,,,,,,110",
    "2024-01-05 00:06:00,sleep,Standard,1.5,0.5,4.5,4,30,120",
    "2024-01-05 00:06:00,sleep,,1.5,0,0,0,0,120",
    "2024-01-05 00:11:00,sleep,0,1900,0,0,0,0,130",
    "2024-01-05 00:21:00,exercise,0,0.5,0,0,0,0,15",
]


@pytest.mark.parametrize("glucose", ["CGM", "Readings (CGM / BGM)"])
def test_azt1d_gives_glucose_basal_and_doses(tmp_path, glucose):
    azt1d(tmp_path, 3, AZ_ROWS, glucose)
    (visit,) = Azt1D(path=str(tmp_path), subject_key="public").visits()
    sugar, basal = visit.recordings["glucose"], visit.recordings["insulin_rate"]
    assert sugar.sampling_rate_hz == pytest.approx(1 / 300)
    assert sugar.start_ns == ns(2024, 1, 5, 0, 1)
    # A hole at 0:16; 15 mg/dL is no living person's.
    assert sugar.values[0].tolist() == [110, 120, 130, 0, 0]
    assert sugar.observed.tolist() == [True, True, True, False, False]
    # No pump gives 1,900 U/h.
    assert basal.values[0, basal.observed].tolist() == [1.5, 0.5]
    assert pairs(visit.labels["bolus"]) == [(ns(2024, 1, 5, 0, 6), 4.5)]
    assert pairs(visit.labels["carbs"]) == [(ns(2024, 1, 5, 0, 6), 30)]
    modes = visit.labels["device_mode"]
    assert [modes.classes[int(k)] for k in modes.values] == ["regular", "sleep", "exercise"]
    assert modes.end_ns.tolist()[:2] == modes.start_ns.tolist()[1:]


def test_azt1d_people_come_in_order_of_number_and_without_their_names(tmp_path):
    for person in (10, 9):
        azt1d(tmp_path, person, AZ_ROWS)
    cohort = Azt1D(path=str(tmp_path), subject_key="public")
    subjects = [visit.subject for visit in cohort.visits()]
    assert subjects == [SubjectKey.public().pseudonym("azt1d", f"Subject {n}") for n in (9, 10)]
    assert len(list(Azt1D(path=str(tmp_path), subject_key="public", limit=1).visits())) == 1


def test_azt1d_errors_name_no_value(tmp_path):
    with pytest.raises(ReaderError, match="none of its files"):
        Azt1D(path=str(tmp_path), subject_key="public").inputs()
    azt1d(tmp_path, 1, ["2024-01-05 00:01:00,,,,,,,,secret"])
    with pytest.raises(ReaderError, match="no number") as caught:
        list(Azt1D(path=str(tmp_path), subject_key="public").visits())
    assert "secret" not in str(caught.value)


@pytest.mark.real
def test_azt1d_as_published(real_data):
    folder = real_data / "azt1d"
    first, second = Azt1D(path=str(folder), subject_key="public", limit=2).visits()
    assert is_pseudonym(first.subject)
    rows = pd.read_csv(folder / "CGM Records" / "Subject 1" / "Subject 1.csv.gz").drop_duplicates()
    assert first.recordings["glucose"].observed.sum() == pytest.approx(rows["EventDateTime"].nunique(), rel=0.01)
    assert len(first.labels["carbs"].values) == pytest.approx((rows["CarbSize"] > 0).sum(), rel=0.02)
    assert max(float(visit.recordings["insulin_rate"].values.max()) for visit in (first, second)) <= 35
    assert rows["Basal"].max() > 1000  # which no pump gives


# T1D-UOM

NIGHT = [{"startTimeInSeconds": 1697500000, "endTimeInSeconds": 1697503600}]
DAWN = [{"startTimeInSeconds": 1697502000, "endTimeInSeconds": 1697507200}]


def uom(tmp_path, kind, person, header, *rows, sub="", after=""):
    folder = tmp_path / sub if sub else tmp_path / kind
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"UoM{kind}{person}{after}.csv").write_text("\n".join([header, *rows]) + "\n")


ACTIVITY = "activity_ts,active_Kcal,step_count,duration_s,active_time_s,start_time_s,start_time_offset_s,met"


def test_t1d_uom_puts_local_day_first_times_on_the_watch_s_clock(tmp_path):
    begin = ns(2023, 10, 5, 8) // S
    uom(tmp_path, "Activity", 2301, ACTIVITY, f"x,30,450,900,600,{begin},3600,3", f"x,0,0,900,300,{begin},3600,1")
    rows = [f"05/10/2023 09:{minute:02d},{5 + minute / 10}" for minute in (0, 5, 10, 20)]
    uom(tmp_path, "Glucose", 2301, "bg_ts,value", *rows)
    uom(tmp_path, "Bolus", 2301, "bolus_ts,bolus_dose", "05/10/2023 09:07,2.5", "05/10/2023 09:09,0")
    uom(tmp_path, "Nutrition", 2301, "meal_ts,carbs_g,prot_g,fat_g,fibre_g", "05/10/2023 09:05,40,,0,5")
    night = f'"{json.dumps(NIGHT).replace(chr(34), chr(34) * 2)}"'
    dawn = f'"{json.dumps(DAWN).replace(chr(34), chr(34) * 2)}"'
    head = "calendar_date,sleep_levels_map.deep,sleep_levels_map_light,sleep_levels_map_rem,sleep_levels_map_awake"
    uom(tmp_path, "", 2301, head, f"17/10/2023,{night},,{dawn},", sub="Sleep", after="sleeptime")
    (visit,) = T1DUom(path=str(tmp_path), subject_key="public").visits()
    sugar = visit.recordings["glucose"]
    assert sugar.start_ns == ns(2023, 10, 5, 8)
    assert sugar.observed.tolist() == [True, True, True, False, True]
    assert sugar.values[0, 1] == pytest.approx(5.5 * 18.0156)
    # 450 steps and 30 kcal in a quarter of an hour; MET by the time that each row covers.
    assert visit.recordings["steps"].values[0].tolist() == [30]
    assert visit.recordings["energy"].values[0].tolist() == [2]
    assert visit.recordings["met"].values[0, 0] == pytest.approx((3 * 600 + 300) / 900)
    assert pairs(visit.labels["bolus"]) == [(ns(2023, 10, 5, 8, 7), 2.5)]
    assert pairs(visit.labels["carbs"]) == [(ns(2023, 10, 5, 8, 5), 40)]
    assert {"protein", "fat"}.isdisjoint(visit.labels)
    stage = visit.labels["stage"]  # in UTC already; what overlaps an earlier one is left out
    assert pairs(stage) == [(1697500000 * S, 0.0)]


@pytest.mark.parametrize(
    ("day", "hour"), [("01/07/2023", 11), ("01/12/2023", 12), ("28/10/2023", 11), ("29/10/2023", 12)]
)
def test_t1d_uom_without_a_watch_is_on_british_time(tmp_path, day, hour):
    uom(tmp_path, "Glucose", 2307, "bg_ts,value", f"{day} 12:00,5", f"{day} 12:05,6", f"{day} 12:10,0.1")
    (visit,) = T1DUom(path=str(tmp_path), subject_key="public").visits()
    assert (visit.recordings["glucose"].start_ns // S // 3600) % 24 == hour
    assert visit.recordings["glucose"].observed.tolist() in ([True, True, False], [True, True])


def test_t1d_uom_never_takes_one_glucose_twice_and_keeps_both_people_together(tmp_path):
    for person in (2303, 2304):
        uom(tmp_path, "Glucose", person, "bg_ts,value", "25/10/2023 12:00,5", "25/10/2023 12:05,6")
        uom(tmp_path, "Bolus", person, "bolus_ts,bolus_dose", "25/10/2023 12:00,3")
    first, second = T1DUom(path=str(tmp_path), subject_key="public").visits()
    assert "glucose" in first.recordings
    assert "glucose" not in second.recordings
    assert first.group == second.group == first.subject != second.subject


def test_t1d_uom_reads_one_of_two_watches(tmp_path):
    begin = ns(2023, 12, 5, 8) // S
    rows = []
    for k in range(8):
        rows += [f"x,9,90,900,900,{begin + 900 * k},0,2", f"x,99,990,900,900,{begin + 900 * k},-18000,20"]
    uom(tmp_path, "Activity", 2305, ACTIVITY, *rows)
    (visit,) = T1DUom(path=str(tmp_path), subject_key="public").visits()
    assert visit.recordings["steps"].values[0].tolist() == [6] * 8


@pytest.mark.parametrize("text", ["[{}]", "nonsense", "[1]"])
def test_t1d_uom_refuses_a_night_it_cannot_read(tmp_path, text):
    uom(tmp_path, "", 2301, "calendar_date,sleep_levels_map_deep", f"17/10/2023,{text}", sub="Sleep", after="sleeptime")
    with pytest.raises(ReaderError, match="stages of a night"):
        list(T1DUom(path=str(tmp_path), subject_key="public").visits())


@pytest.mark.real
def test_t1d_uom_as_published(real_data):
    parts = T1DUom(path=str(real_data / "t1d_uom"), subject_key="public").visits().parts
    assert len(parts) == 15
    third, fourth, fifth = (parts[place]() for place in (2, 3, 4))
    assert third.group == fourth.group
    assert "glucose" in third.recordings
    assert "glucose" not in fourth.recordings
    # No interval has two watches' energy: nobody burns 15 MET around the clock.
    assert float(fifth.recordings["met"].values.mean()) < 2
    assert fifth.labels["long_acting"].values.tolist() == [23] * 31


# Shanghai


@pytest.mark.parametrize(
    ("text", "doses"),
    [
        ("insulin aspart 70/30, 16 IU", [("premixed", 16)]),
        ("insulin glargine, 14 IU, Humulin 70/30, 12 IU", [("long_acting", 14), ("premixed", 12)]),
        ("Gansulin 40R, 6 IU", [("premixed", 6)]),
        ("Novolin R, 6 IU", [("bolus", 6)]),
        ("insulin  degludec, 10\xa0IU", [("long_acting", 10)]),
        ("Humulin N, 8 IU", [("intermediate", 8)]),
    ],
)
def test_insulin_is_typed_by_its_kind(text, doses):
    assert [(insulin_track(dose), dose.amount) for dose in doses_in(text, where="x")] == doses


@pytest.mark.parametrize(
    ("text", "doses"),
    [
        ("metformin 0.5 g, acarbose 50 mg", [("drug_metformin", 500), ("drug_acarbose", 50)]),
        ("\xa0voglibose 0.2 g", [("drug_voglibose", 0.2)]),
        ("empagliflozin 10 g", [("drug_empagliflozin", 10)]),
        ("metformin 1 g", [("drug_metformin", 1000)]),
    ],
)
def test_drugs_are_in_milligrams(text, doses):
    assert [(drug_track(dose), dose.amount) for dose in doses_in(text, where="x")] == doses


def test_an_infusion_s_insulin_is_what_stands_before_its_name():
    text = "500ml 5% glucose,  3 IU Novolin R,  10 ml 10% potassium chloride"
    assert [(dose.drug, dose.amount) for dose in doses_in(text, where="x")] == [("novolin r", 3)]
    with pytest.raises(ReaderError, match="names no dose") as caught:
        doses_in("secret words", where="x")
    assert "secret" not in str(caught.value)


COLUMNS = [
    "Date",
    "CGM (mg / dl)",
    "CBG (mg / dl)",
    "Blood Ketone (mmol / L)",
    "Dietary intake",
    "Insulin dose - s.c.",
    "Non-insulin hypoglycemic agents",
    "CSII - bolus insulin (Novolin R, IU)",
    "CSII - basal insulin (Novolin R, IU / H)",
    "Insulin dose - i.v.",
]


@pytest.fixture
def shanghai(tmp_path):
    (tmp_path / "Shanghai_T1DM").mkdir()
    book = openpyxl.Workbook()
    book.active.append(COLUMNS)
    for row in (
        [datetime(2021, 7, 30, 8, 0), 108.0, None, None, "data not available", None, None, None, 0.5, None],
        [datetime(2021, 7, 30, 8, 15), 117.0, 120.0, 0.1, None, "Novolin R, 6 IU", "acarbose 50 mg", None, None, None],
        [datetime(2021, 7, 30, 8, 30), None, 5000, None, "Rice 50 g", None, None, 4.0, None, COLUMNS[8]],
        [
            datetime(2021, 7, 30, 9, 0),
            126.0,
            None,
            None,
            None,
            None,
            None,
            "acarbose 50 mg",
            "temporarily suspend",
            None,
        ],
    ):
        book.active.append(row)
    book.save(tmp_path / "Shanghai_T1DM" / "1001_0_20210730.xlsx")
    book.save(tmp_path / "Shanghai_T1DM" / "1001_1_20210930.xlsx")
    people = openpyxl.Workbook()
    people.active.append(["Patient Number", "Gender (Female=1, Male=2)", "Age (years)", "Type of Diabetes"])
    people.active.append(["1001_1_20210930", 1, 70, "T1DM"])
    people.active.append(["1001_0_20210730", 1, 69, "T1DM"])
    people.save(tmp_path / "Shanghai_T1DM_Summary.xlsx")
    return tmp_path


def test_shanghai_turns_text_into_typed_events_on_china_s_clock(shanghai):
    first, second = ShanghaiDiabetes(path=str(shanghai), subject_key="public").visits()
    assert first.subject == second.subject
    assert first.covariates == second.covariates == {"sex": "F", "age_band": "60-69", "diabetes": "T1DM"}
    sugar = first.recordings["glucose"]
    begin = ns(2021, 7, 30, 0)
    assert (sugar.start_ns, sugar.utc_offset_s) == (begin, 28_800)
    assert sugar.observed.tolist() == [True, True, False, False, True]
    quarter = 900 * S
    assert pairs(first.labels["bolus"]) == [(begin + quarter, 6), (begin + 2 * quarter, 4)]
    assert pairs(first.labels["drug_acarbose"]) == [(begin + quarter, 50), (begin + 4 * quarter, 50)]
    assert pairs(first.labels["meal"]) == [(begin, 1), (begin + 2 * quarter, 1)]
    assert pairs(first.labels["finger_glucose"]) == [(begin + quarter, 120)]  # 5,000 is no glucose
    assert pairs(first.labels["ketone"]) == [(begin + quarter, 0.1)]
    assert "insulin_iv" not in first.labels  # the cell holds a header
    rate = first.recordings["insulin_rate"]
    assert rate.values[0].tolist() == [0.5, 0.5, 0.5, 0.5, 0]


def test_shanghai_refuses_words_that_are_no_dose(shanghai):
    path = shanghai / "Shanghai_T1DM" / "1001_0_20210730.xlsx"
    book = openpyxl.load_workbook(path)
    book.active.cell(3, 6).value = "something secret"
    book.save(path)
    with pytest.raises(ReaderError, match="names no dose") as caught:
        next(ShanghaiDiabetes(path=str(shanghai), subject_key="public").visits())
    assert "secret" not in str(caught.value)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ReaderError, match="workbook cannot be read"):
        next(ShanghaiDiabetes(path=str(shanghai), subject_key="public").visits())


@pytest.mark.real
def test_shanghai_as_published(real_data):
    cohort = ShanghaiDiabetes(path=str(real_data / "shanghai_diabetes"), subject_key="public")
    parts = cohort.visits().parts
    assert len(parts) == 98
    assert len({part.subject for part in parts}) == 89
    visits = [parts[place]() for place in (0, 11, 38, 40, 70)]
    drugs = {name for visit in visits for name in visit.labels if name.startswith("drug_")}
    assert "drug_acarbose" in drugs
    assert {visit.labels[name].unit for visit in visits for name in drugs if name in visit.labels} == {"mg"}
    assert max(visit.labels[name].values.max() for visit in visits for name in drugs if name in visit.labels) <= 3_000
    assert min(float(visit.recordings["glucose"].observed.mean()) for visit in visits) > 0.95

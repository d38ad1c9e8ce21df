"""Tiny exports of apps, glucose sensors and health records in their vendors' layouts, told by hand."""

import json
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

START = datetime(2026, 3, 5, 9, 30, tzinfo=UTC)
START_NS = int(START.timestamp()) * 1_000_000_000
APPLE_Q = "HKQuantityTypeIdentifier"

# As exports of iOS 16 write it: an attribute list after its end, and a name that no XML allows.
BROKEN_DTD = """<!DOCTYPE HealthData [
<!-- HealthKit Export Version: 12 -->
<!ELEMENT HealthData (ExportDate,Me,(Record|Correlation|Workout|ActivitySummary)*)>
<!ATTLIST HealthData
  locale CDATA #REQUIRED
>
  startDate     CDATA #REQUIRED
  endDate       CDATA #REQUIRED
>
<!ATTLIST >
]>
"""


def moment(seconds: float, offset_h: int = 1) -> str:
    """As Apple writes it: local time with its offset, `seconds` after START."""
    local = START + timedelta(seconds=seconds, hours=offset_h)
    return f"{local:%Y-%m-%d %H:%M:%S} {'+' if offset_h >= 0 else '-'}{abs(offset_h):02d}00"


def record(
    kind: str, begin: float, end: float, value: object, unit: str = "count/min", source: str = "Watch", **more
) -> str:
    """One record; `inside` is put between its tags."""
    inside, offset = more.get("inside", ""), more.get("offset_h", 1)
    return (
        f'<Record type="{kind}" sourceName="{source}" unit="{unit}" creationDate="{moment(end, offset)}" '
        f'startDate="{moment(begin, offset)}" endDate="{moment(end, offset)}" value="{value}"'
        + (f">{inside}</Record>" if inside else "/>")
    )


def apple_xml(records: list[str], dtd: str = BROKEN_DTD) -> str:
    """An export with these records."""
    body = "\n ".join(records)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n{dtd}<HealthData locale="en_GB">\n'
        f' <ExportDate value="{moment(9e5)}"/>\n {body}\n</HealthData>\n'
    )


def apple_records() -> list[str]:
    """Heart rate each minute (60, 61, ...), steps, sleep, beats, a workout, blood glucose."""
    beats = "".join(
        f'<InstantaneousBeatsPerMinute bpm="{bpm}" time="{time}"/>'
        for bpm, time in ((60, "10:30:01.25 AM"), (75, "10:30:02,05"), (120, "11:30:02.55"))
    )
    series = f"<HeartRateVariabilityMetadataList>{beats}</HeartRateVariabilityMetadataList>"
    return [
        *(record(f"{APPLE_Q}HeartRate", 60 * i, 60 * i, 60 + i) for i in range(10)),
        record(f"{APPLE_Q}HeartRateVariabilitySDNN", 0, 60, 42.5, "ms", inside=series),
        record(f"{APPLE_Q}OxygenSaturation", 30, 30, 0.97, "%"),
        record(f"{APPLE_Q}RespiratoryRate", 0, 60, 14),
        record(f"{APPLE_Q}StepCount", 0, 120, 100, "count"),
        record(f"{APPLE_Q}StepCount", 60, 180, 400, "count", "Someone’s iPhone"),
        record(f"{APPLE_Q}ActiveEnergyBurned", 0, 60, 8.368, "kJ"),
        *(record(f"{APPLE_Q}BloodGlucose", 300 * i, 300 * i, 5.5, "mmol&lt;180.1558800000541&gt;/L") for i in range(4)),
        record(f"{APPLE_Q}AppleSleepingWristTemperature", 0, 3600, 95.0, "degF"),
        record("HKCategoryTypeIdentifierSleepAnalysis", 0, 600, "HKCategoryValueSleepAnalysisAsleepREM", ""),
        record(
            "HKCategoryTypeIdentifierSleepAnalysis", 300, 900, "HKCategoryValueSleepAnalysisAsleep", "", "Phone app"
        ),
        record("HKCategoryTypeIdentifierSleepAnalysis", 0, 1200, "HKCategoryValueSleepAnalysisInBed", ""),
        f'<Workout workoutActivityType="HKWorkoutActivityTypeRunning" sourceName="Watch" startDate="{moment(0)}" '
        f'endDate="{moment(1800)}"><WorkoutRoute><FileReference path="/workout-routes/r.gpx"/></WorkoutRoute>'
        "</Workout>",
    ]


def apple(path: Path, records: list[str] | None = None, **more) -> Path:
    """export.xml."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(apple_xml(apple_records() if records is None else records, **more))
    return path


def apple_zip(path: Path) -> Path:
    """As the phone shares it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("apple_health_export/export_cda.xml", "<ClinicalDocument/>")
        archive.writestr("apple_health_export/export.xml", apple_xml(apple_records()))
        archive.writestr("apple_health_export/workout-routes/route_1.gpx", "<gpx><trkpt lat='1' lon='2'/></gpx>")
    return path


def clarity(path: Path, rows: list[str] | None = None, unit: str = "mg/dL") -> Path:
    """A BOM, rows without a time, then readings every five minutes: 100, 101, Low, 103, High, 105."""
    header = (
        "Index,Timestamp (YYYY-MM-DDThh:mm:ss),Event Type,Event Subtype,Patient Info,Device Info,Source Device ID,"
        f"Glucose Value ({unit}),Insulin Value (u),Carb Value (grams),Duration (hh:mm:ss),"
        f"Glucose Rate of Change ({unit}/min)"
    )
    values = ["100", "101", "Low", "103", "High", "105"]
    default = [
        "1,,FirstName,,Somebody,,,,,,,",
        "2,,Alert,High,,,iPhone G6,200,,,,",
        *(f"{i + 3},2026-03-05T09:{30 + 5 * i:02d}:0{i % 2},EGV,,,,iPhone G6,{v},,,," for i, v in enumerate(values)),
        "20,2026-03-05T09:41:00,Insulin,Fast-Acting,,,iPhone G6,,2.5,,,",
        "21,2026-03-05T09:42:00,Insulin,Long-Acting,,,iPhone G6,,12,,,",
        "22,2026-03-05T09:43:00,Carbs,,,,iPhone G6,,,45,,",
        "23,2026-03-05T09:44:00,Calibration,,,,iPhone G6,104,,,,",
        "24,2026-03-05T09:45:00,Exercise,Medium,,,iPhone G6,,,,0:30:00,",
        '25,2026-03-05T09:46:00,Notes,,"said, in two\nlines",,iPhone G6,,,,,',
    ]
    path.write_text("\ufeff" + "\n".join([header, *(default if rows is None else rows)]) + "\n")
    return path


def libre(path: Path, times: list[str] | None = None, unit: str = "mg/dL", values: list[object] | None = None) -> Path:
    """Stored readings every 15 minutes, a scan, a strip, insulin and food."""
    times = times or [f"03-{day:02d}-2026 {hour:02d}:15 PM" for day in (12, 13) for hour in (1, 2, 3)]
    values = values or [90 + i for i in range(len(times))]
    columns = (
        f"Device,Serial Number,Device Timestamp,Record Type,Historic Glucose {unit},Scan Glucose {unit},"
        "Non-numeric Rapid-Acting Insulin,Rapid-Acting Insulin (units),Non-numeric Food,Carbohydrates (grams),"
        f"Carbohydrates (servings),Non-numeric Long-Acting Insulin,Long-Acting Insulin (units),Notes,"
        f"Strip Glucose {unit},Ketone mmol/L"
    )
    rows = [f"FreeStyle LibreLink,ABC,{t},0,{v},,,,,,,,,,," for t, v in zip(times, values, strict=True)]
    rows += [
        f"FreeStyle LibreLink,ABC,{times[0]},1,,{values[0]},,,,,,,,,,",
        f"FreeStyle LibreLink,ABC,{times[0]},4,,,,3.5,,,,,,,,",
        f"FreeStyle LibreLink,ABC,{times[0]},5,,,,,,30,,,,,,",
        f"FreeStyle LibreLink,ABC,{times[0]},2,,,,,,,,,,,{values[0]},",
        f'FreeStyle LibreLink,ABC,{times[0]},6,,,,,,,,,,"a note, private",,',
    ]
    title = "Glucose Data,Generated on,07-20-2026 02:05 PM UTC,Generated by,Somebody"
    path.write_text("\n".join([title, columns, *rows]) + "\n")
    return path


def levels(path: Path) -> Path:
    """Readings every 15 minutes 7 hours west of Greenwich, and a direct read."""
    rows = [
        f"{START + timedelta(minutes=15 * i):%Y-%m-%dT%H:%M:%S}.000Z,"
        f"{START + timedelta(minutes=15 * i, hours=-7):%Y-%m-%dT%H:%M:%S},{100 + i},timeseries"
        for i in range(6)
    ]
    rows.insert(2, "2026-03-05T09:50:00.000Z,2026-03-05T02:50:00,111,directRead")
    header = "Time (UTC),Time (Local),Glucose Reading (mg/dL),Type of Reading"
    path.write_text("\n".join(["Levels,Some Body,,", header, *rows]) + "\n")
    return path


def glooko(path: Path, unit: str = "mmol/L", delimiter: str = "\t") -> Path:
    """A sensor every five minutes, two boluses (one with carbs), basal rates of 5 minutes."""
    tables = {
        "cgm_data_1.csv": [
            ["Timestamp", f"Glucose Value ({unit})", "Trend Arrow"],
            *([f"2026-03-05 09:{30 + 5 * i}:00", f"{5 + i / 10:g}", "Flat"] for i in range(6)),
        ],
        "bolus_data_1.csv": [
            ["Timestamp", "Bolus Type", "Dose (units)", "Carbs (g)", "Notes"],
            ["2026-03-05 09:36:55", "Normal", "1.2", "10", "Meal"],
            ["2026-03-05 09:46:57", "Normal", "1.5", "0", "Correction"],
        ],
        "basal_data_1.csv": [
            ["Timestamp", "Basal Rate (units/hr)", "Duration (min)", "Type"],
            *([f"2026-03-05 09:{30 + 5 * i}:00", "0.6" if i < 2 else "1.2", "5", "Scheduled"] for i in range(4)),
        ],
        "notes_data_1.csv": [["Timestamp", "Note"], ["2026-03-05 09:30:00", "private"]],
        "carbs_data_1.csv": [["Timestamp", "Carbs (g)", "Food", "Notes"]],
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, rows in tables.items():
            lines = [f"Name:Some Body{delimiter}Date Range:2026", *(delimiter.join(row) for row in rows)]
            archive.writestr(name, "\n".join(lines) + "\n")
    return path


def fitabase(folder: Path, people: tuple[str, ...] = ("1503960366",)) -> Path:
    """Two hours of minutes, three of hours, sleep and weight of each person; person k has k steps more a minute."""
    folder.mkdir(parents=True, exist_ok=True)
    hours = ["3/5/2026 11:00:00 PM", "3/6/2026 12:00:00 AM"]
    minutes = ",".join(f"Steps{i:02d}" for i in range(60))
    levels_ = ",".join(f"Intensity{i:02d}" for i in range(60))
    steps = [f"{p},{h},{','.join(str(i + k) for i in range(60))}" for k, p in enumerate(people) for h in hours]
    active = [f"{p},{h},{','.join('1' if i < 30 else '0' for i in range(60))}" for p in people for h in hours]
    kcal = [f"{p},{h},60" for p in people for h in [*hours, "3/6/2026 1:00:00 AM"]]
    nights = [f"{p},3/5/2026 12:00:00 AM,1,400,420" for p in people for _ in range(2)]
    weights = [f"{p},3/5/2026 11:59:59 PM,70.5,155.4,,23,True,1" for p in people]
    for name, header, rows in (
        ("minuteStepsWide_merged.csv", f"Id,ActivityHour,{minutes}", steps),
        ("minuteIntensitiesWide_merged.csv", f"Id,ActivityHour,{levels_}", active),
        ("hourlyCalories_merged.csv", "Id,ActivityHour,Calories", kcal),
        ("sleepDay_merged.csv", "Id,SleepDay,TotalSleepRecords,TotalMinutesAsleep,TotalTimeInBed", nights),
        ("weightLogInfo_merged.csv", "Id,Date,WeightKg,WeightPounds,Fat,BMI,IsManualReport,LogId", weights),
    ):
        (folder / name).write_text("\n".join([header, *rows]) + "\n")
    return folder


def fitbit(folder: Path) -> Path:
    """Heart rate every 5 s, three minutes of steps and calories, one night."""
    folder.mkdir(parents=True, exist_ok=True)

    def stamp(seconds: int) -> str:
        return f"{START + timedelta(seconds=seconds):%m/%d/%y %H:%M:%S}"

    heart = [{"dateTime": stamp(5 * i), "value": {"bpm": 60 + i, "confidence": 0 if i < 3 else 2}} for i in range(9)]
    steps = [{"dateTime": stamp(60 * i), "value": str(10 * i)} for i in (0, 1, 3)]
    calories = [{"dateTime": stamp(60 * i), "value": "1.5"} for i in range(3)]
    data = [
        {"dateTime": "2026-03-05T23:30:00.000", "level": "light", "seconds": 600},
        {"dateTime": "2026-03-05T23:40:00.000", "level": "deep", "seconds": 300},
    ]
    night = [{"logId": 1, "dateOfSleep": "2026-03-06", "levels": {"data": data}}]
    for name, content in (("heart_rate", heart), ("steps", steps), ("calories", calories), ("sleep", night)):
        (folder / f"{name}-2026-03-05.json").write_text(json.dumps(content, indent=1))
    return folder


def observation(code: str, value: float, unit: str, minute: float = 0, patient: str = "Patient/1", **more) -> dict:
    """One FHIR observation by LOINC code, `minute` minutes after START in a zone two hours east."""
    local = START + timedelta(minutes=minute, hours=2)
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": code}], "text": "free text"},
        "subject": {"reference": patient},
        "effectiveDateTime": f"{local:%Y-%m-%dT%H:%M:%S}+02:00",
        "valueQuantity": {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit},
        **more,
    }


def fhir_observations() -> list[dict]:
    """Heart rate, sensor glucose in mmol/L, steps over a period, blood pressure, sampled ECG."""
    pressure = observation("85354-9", 0, "1", 1)
    del pressure["valueQuantity"]
    pressure["component"] = [
        {
            "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
            "valueQuantity": {"value": value, "unit": "mmHg", "code": "mm[Hg]", "system": "http://unitsofmeasure.org"},
        }
        for code, value in (("8480-6", 120), ("8462-4", 80))
    ]
    steps = observation("55423-8", 120, "{steps}")
    del steps["effectiveDateTime"]
    steps["effectivePeriod"] = {"start": "2026-03-05T09:30:00Z", "end": "2026-03-05T09:32:00Z"}
    ecg = observation("11524-6", 0, "1")
    del ecg["valueQuantity"]
    ecg["component"] = [
        {
            "code": {"coding": [{"system": "urn:oid:2.16.840.1.113883.6.24", "code": "131329"}]},
            "valueSampledData": {
                "origin": {"value": 100, "unit": "uV", "code": "uV"},
                "period": 4,
                "factor": 2,
                "dimensions": 1,
                "data": "0 50 E -50 100",
            },
        }
    ]
    return [
        *(observation("8867-4", 60 + i, "/min", i) for i in range(4)),
        *(observation("99504-3", 5 + i / 10, "mmol/L", 5 * i) for i in range(4)),
        steps,
        pressure,
        ecg,
    ]


def fhir(path: Path, observations: list[dict] | None = None) -> Path:
    """A bundle, or NDJSON where the name says so."""
    found = fhir_observations() if observations is None else observations
    if path.suffix == ".ndjson":
        path.write_text("\n".join(json.dumps(one) for one in found) + "\n")
    else:
        path.write_text(
            json.dumps({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one} for one in found]})
        )
    return path


def point(name: str, body: dict, user: str = "u1", namespace: str = "omh") -> dict:
    """One Open mHealth data point."""
    schema = {"namespace": namespace, "name": name, "version": "2.0"}
    return {"header": {"id": "x", "schema_id": schema, "user_id": user}, "body": body}


def omh_points(user: str = "u1") -> list[dict]:
    """Heart rate, steps, glucose, oxygen, temperature in Fahrenheit, a night."""

    def at(minute: int) -> dict:
        return {"date_time": f"{START + timedelta(minutes=minute, hours=-5):%Y-%m-%dT%H:%M:%S}-05:00"}

    span = {"time_interval": {"start_date_time": "2026-03-05T09:30:00Z", "duration": {"value": 2, "unit": "min"}}}
    night = {"start_date_time": "2026-03-05T23:00:00Z", "end_date_time": "2026-03-06T06:00:00Z"}
    return [
        *(
            point(
                "heart-rate",
                {"heart_rate": {"value": 60 + i, "unit": "beats/min"}, "effective_time_frame": at(i)},
                user,
            )
            for i in range(3)
        ),
        point(
            "step-count", {"step_count": {"value": 100, "unit": "steps"}, "effective_time_frame": span}, user, "ieee"
        ),
        *(
            point(
                "blood-glucose",
                {"blood_glucose": {"value": 6, "unit": "mmol/L"}, "effective_time_frame": at(5 * i)},
                user,
            )
            for i in range(4)
        ),
        point(
            "oxygen-saturation", {"oxygen_saturation": {"value": 97, "unit": "%"}, "effective_time_frame": at(0)}, user
        ),
        point(
            "body-temperature", {"body_temperature": {"value": 98.6, "unit": "F"}, "effective_time_frame": at(0)}, user
        ),
        point("sleep-episode", {"effective_time_frame": {"time_interval": night}, "is_main_sleep": True}, user),
    ]


def omh(path: Path, points: list[dict] | None = None) -> Path:
    """A list of points, or NDJSON where the name says so."""
    found = omh_points() if points is None else points
    lines = "\n".join(json.dumps(one) for one in found) + "\n"
    path.write_text(lines if path.suffix == ".ndjson" else json.dumps(found))
    return path


def one_of_each(folder: Path) -> dict[str, Path]:
    """Format -> a small file or folder of it."""
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "apple_health": apple(folder / "export.xml"),
        "dexcom_clarity": clarity(folder / "clarity.csv"),
        "fhir": fhir(folder / "bundle.json"),
        "fitabase": fitabase(folder / "fitabase"),
        "fitbit_json": fitbit(folder / "fitbit"),
        "glooko": glooko(folder / "glooko.zip"),
        "levels": levels(folder / "levels.csv"),
        "libreview": libre(folder / "libre.csv"),
        "open_mhealth": omh(folder / "points.json"),
    }

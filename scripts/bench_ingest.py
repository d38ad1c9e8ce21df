"""What reading costs: hours of recording per CPU second, by format, against the format's own library alone.

python scripts/bench_ingest.py [--quick] [--json FILE] [--data FOLDER] [--rounds N] [--only NAME,...] [--megabytes N]

Real files are those of `device_formats` (FOLDER or $HDT_FM_REAL_DATA); larger ones are fabricated. A reader and its
library take turns in rounds on a warm file, in CPU time of this process; ratios are within a round, intervals of the
median over rounds. The library only parses: what makes a Visit (units, grids, masks, clocks, checks) is the reader's.
Hours are those of the visit's longest recording. Libraries that are not installed are left out, with their rows' ratio.

Memory: processes of their own read fabricated exports of Apple Health of two sizes (the larger is --megabytes, 1 GB)
with the same records that are kept, and one of which all are kept; what they grow by at the peak should not follow the
file's size, only the records'.
"""

import argparse
import io
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from data_pipelines.readers import choose  # noqa: E402
from hdt_fm.schema import registry  # noqa: E402
from hdt_fm.schema.errors import HdtError  # noqa: E402
from hdt_fm.schema.recording import NS_PER_S, Visit  # noqa: E402

NOBODY = "s" + "0" * 32
# A call shorter than this is repeated, so that the clock's own step does not count.
SHORTEST_S = 0.03
APPLE_TYPE = "HKQuantityTypeIdentifier"
MOTION = '<MetadataEntry key="HKMetadataKeyHeartRateMotionContext" value="0"/>'


class Row(NamedTuple):
    """One line of the table. To add a format, add a line to ROWS.

    `file` is below `device_formats`, or the name of a maker in FABRICATED; `alone` is the library's own call, which
    imports it (an ImportError leaves it out).
    """

    reader: str
    file: str
    library: str
    alone: Callable[[Path], Any]
    options: dict[str, Any] = {}


def expat_pass(path: Path) -> int:
    """All elements and their attributes, nothing kept."""
    from xml.parsers import expat

    parser, count = expat.ParserCreate(), 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1

    parser.StartElementHandler = start
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            parser.Parse(block, False)
    parser.Parse(b"", True)
    return count


def arrow_csv(skip: int = 0, delimiter: str = ",") -> Callable[[Path], Any]:
    """pyarrow.csv over every table of a file, folder or zip, types inferred."""

    def read(path: Path) -> list[Any]:
        from pyarrow import csv

        from data_pipelines.readers._files import members, read_bytes

        if path.is_dir() or path.suffix == ".zip":
            parts = [part() for name, part in members(path).items() if ".csv" in name]
        else:
            parts = [read_bytes(path)]
        return [
            csv.read_csv(
                io.BytesIO(part),
                read_options=csv.ReadOptions(skip_rows=skip, use_threads=False),
                parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            )
            for part in parts
            if part.count(b"\n") > skip + 1
        ]

    return read


def json_loads(path: Path) -> list[Any]:
    """The standard library's parser over a file or the files of a folder."""
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    return [json.loads(file.read_bytes()) for file in files]


def wfdb_alone(path: Path) -> Any:
    """Physical values of all signals."""
    import wfdb

    return wfdb.rdrecord(str(path.with_suffix("")))


def edfio_alone(path: Path) -> Any:
    """Physical values of all signals."""
    import edfio

    return [signal.data for signal in edfio.read_edf(path).signals]


def pyxdf_alone(path: Path) -> Any:
    """All streams, clocks corrected."""
    import pyxdf

    return pyxdf.load_xdf(str(path))


def fit_alone(path: Path) -> Any:
    """All messages, as the vendor's kit gives them."""
    import garmin_fit_sdk

    return garmin_fit_sdk.Decoder(garmin_fit_sdk.Stream.from_file(str(path))).read()


def skdh_alone(path: Path) -> Any:
    """Acceleration and times."""
    from skdh.io import ReadCwa

    return ReadCwa().predict(file=str(path))


def loadtxt(path: Path) -> Any:
    """What most notebooks do with such a file."""
    return np.loadtxt(path)


def nothing(path: Path) -> Any:
    """For formats without a library that we know of: their time stands alone."""
    raise ImportError


ROWS = (
    Row("apple_health", "apple", "expat pass", expat_pass),
    Row("apple_health", "apple_health/export6s3sample.xml", "expat pass", expat_pass),
    Row("dexcom_clarity", "clarity", "pyarrow.csv", arrow_csv()),
    Row("dexcom_clarity", "dexcom_clarity/test_file.csv", "pyarrow.csv", arrow_csv()),
    Row("libreview", "freestyle_libreview/glucose.csv", "pyarrow.csv", arrow_csv(1)),
    Row("levels", "levels/levels.csv", "pyarrow.csv", arrow_csv(1)),
    Row("glooko", "glooko/glooko_export_azt1d_subject7.zip", "pyarrow.csv", arrow_csv(1, "\t")),
    Row("fitabase", "fitbit_fitabase", "pyarrow.csv (all people)", arrow_csv(), {"person": "first"}),
    Row("fitbit_json", "fitbit_json", "json", json_loads),
    Row("fitbit_json", "fitbit", "json", json_loads),
    Row("fhir", "fhir", "json", json_loads),
    Row("open_mhealth", "omh", "json", json_loads),
    Row("wfdb_record", "wfdb/100.hea", "wfdb", wfdb_alone),
    Row("wfdb_record", "wfdb/s0010_re.hea", "wfdb", wfdb_alone),
    Row("edf", "edf_bdf/mne_test.edf", "edfio", edfio_alone),
    Row("fit", "fit/garmin-fr935-cr.fit", "garmin-fit-sdk", fit_alone),
    Row("xdf", "xdf/clock_resets.xdf", "pyxdf", pyxdf_alone, {"units": {"eeg": "uV"}}),
    Row("axivity_cwa", "axivity/ax3_testfile.cwa", "skdh", skdh_alone),
    # skdh reads no recording of less than an hour.
    Row("geneactiv_bin", "geneactiv/GENEActiv_testfile.bin", "", nothing),
    Row("parmay_matrix", "parmay_matrix/mtx_100Hz_acc_HR_temp.BIN", "", nothing),
    Row("ishne", "holter/holter.ecg.gz", "", nothing),
    Row("actigraph", "actigraph/ActiGraph61.csv", "pyarrow.csv", arrow_csv(10)),
    Row("actiwatch", "actiwatch/Actiwatch.csv", "", nothing),
    Row("muse", "muse_eeg/eeg_muse_example.csv.gz", "pyarrow.csv", arrow_csv()),
    Row("garmin_health_sdk", "garmin_health_sdk/acc.csv", "pyarrow.csv", arrow_csv(0, ";")),
    Row("withings", "withings_sleep", "pyarrow.csv", arrow_csv()),
    Row("opensignals", "opensignals_bitalino/SampleECG.txt", "numpy.loadtxt", loadtxt),
    Row("biosppy_text", "biosppy_text/ppg.txt", "numpy.loadtxt", loadtxt),
    Row("ibutton", "ibutton_ds1922l/esse02_Sensor_01_1D0000007FF62341_022824.csv", "", nothing),
    Row("empatica_e4", "../stress_predict/Raw_data/S01.zip", "pyarrow.csv", arrow_csv(2)),
    Row("bidmc_csv", "../bidmc/bidmc_01_Signals.csv.gz", "pyarrow.csv", arrow_csv()),
)


def moment(seconds: float, form: str = "%Y-%m-%dT%H:%M:%S") -> str:
    """A time that many seconds into the fabricated recording."""
    return (datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).strftime(form)


def apple(path: Path, megabytes: float, kept: int | None = None) -> Path:
    """Heart rate and steps in turn, as a watch writes them; past `kept` records, of a type that is not kept."""
    device = "&lt;&lt;HKDevice: 0x28&gt;, name:Apple Watch, manufacturer:Apple, model:Watch, hardware:Watch6,1&gt;"
    first = size = 0
    with path.open("w") as handle:
        handle.write('<?xml version="1.0" encoding="UTF-8"?>\n<HealthData locale="en_US">\n')
        while size < megabytes * 1e6:
            block = []
            for count in range(first, first + 2000):
                heart, at = count % 2, moment(11 * count, "%Y-%m-%d %H:%M:%S +0100")
                kind = ("HeartRate" if heart else "StepCount") if kept is None or count < kept else "FlightsClimbed"
                unit, value = ("count/min", 60 + count % 40) if heart else ("count", count % 30)
                inside = f">{MOTION}</Record>" if heart else "/>"
                block.append(
                    f' <Record type="{APPLE_TYPE}{kind}" sourceName="Watch" sourceVersion="10.1" device="{device}" '
                    f'unit="{unit}" creationDate="{at}" startDate="{at}" endDate="{at}" value="{value}"{inside}\n'
                )
            text, first = "".join(block), first + 2000
            # Past what is kept nothing changes, so that a gigabyte is written in seconds.
            left = math.ceil((megabytes * 1e6 - size) / len(text))
            repeats = 1 if kept is None or first <= kept else min(50, left)
            handle.writelines([text] * repeats)
            size += len(text) * repeats
        handle.write("</HealthData>\n")
    return path


def clarity(path: Path, size: float) -> Path:
    """Readings every five minutes."""
    header = "Index,Timestamp (YYYY-MM-DDThh:mm:ss),Event Type,Event Subtype,Patient Info,Device Info,Source Device ID,"
    header += "Glucose Value (mg/dL),Insulin Value (u),Carb Value (grams),Duration (hh:mm:ss),Rate"
    rows = (f"{i},{moment(300 * i)},EGV,,,,iPhone G6,{90 + i % 90},,,," for i in range(round(2000 * size)))
    path.write_text("\ufeff" + "\n".join([header, *rows]) + "\n")
    return path


def fitbit(path: Path, size: float) -> Path:
    """Heart rate every five seconds."""
    path.mkdir()
    rows = [
        {"dateTime": moment(5 * i, "%m/%d/%y %H:%M:%S"), "value": {"bpm": 60 + i % 40, "confidence": 2}}
        for i in range(round(2000 * size))
    ]
    (path / "heart_rate-2024-01-01.json").write_text(json.dumps(rows, indent=1))
    return path


def fhir(path: Path, size: float) -> Path:
    """Heart rate every minute."""
    code = {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}
    entries = [
        {
            "resource": {
                "resourceType": "Observation",
                "status": "final",
                "code": code,
                "subject": {"reference": "Patient/1"},
                "effectiveDateTime": f"{moment(60 * i)}Z",
                "valueQuantity": {"value": 60 + i % 40, "unit": "/min", "code": "/min"},
            }
        }
        for i in range(round(500 * size))
    ]
    path.write_text(json.dumps({"resourceType": "Bundle", "entry": entries}))
    return path


def omh(path: Path, size: float) -> Path:
    """Heart rate every minute."""
    schema = {"namespace": "omh", "name": "heart-rate", "version": "2.0"}
    points = [
        {
            "header": {"id": str(i), "schema_id": schema},
            "body": {
                "heart_rate": {"value": 60 + i % 40, "unit": "beats/min"},
                "effective_time_frame": {"date_time": f"{moment(60 * i)}Z"},
            },
        }
        for i in range(round(500 * size))
    ]
    path.write_text(json.dumps(points))
    return path


# Name -> maker and file; the second argument of a maker is its size, in MB where it says so.
FABRICATED: dict[str, tuple[Callable[[Path, float], Path], str]] = {
    "apple": (apple, "export.xml"),
    "clarity": (clarity, "clarity.csv"),
    "fitbit": (fitbit, "fitbit"),
    "fhir": (fhir, "bundle.json"),
    "omh": (omh, "points.json"),
}


def cpu_s(call: Callable[[], Any]) -> float:
    """CPU seconds of one call, over as many as are needed."""
    calls, start = 0, time.process_time()
    while (spent := time.process_time() - start) < SHORTEST_S:
        call()
        calls += 1
    return spent / calls


def hours(visit: Visit) -> float:
    """Of the longest recording, or of the labels where there is none."""
    spans = [recording.duration_s for recording in visit.recordings.values()]
    spans += [float(track.end_ns.max() - track.start_ns.min()) / NS_PER_S for track in visit.labels.values()]
    return max(spans[: len(visit.recordings)] or spans) / 3600


def middle(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, and an interval of it by order statistics (95 % from six rounds on, the range below)."""
    ordered = sorted(values)
    count = len(ordered)
    low = max(0, math.floor(count / 2 - 0.98 * math.sqrt(count)))
    return ordered[count // 2] if count % 2 else sum(ordered[count // 2 - 1 :][:2]) / 2, ordered[low], ordered[-1 - low]


def flat(what: str, model: str, metric: str, values: tuple[float, float, float], unit: str, n: int) -> dict[str, Any]:
    """One row of the result."""
    value, low, high = values
    return {
        "what": what,
        "model": model,
        "metric": metric,
        "value": value,
        "low": low,
        "high": high,
        "unit": unit,
        "n": n,
    }


def measure(row: Row, path: Path, rounds: int) -> list[dict[str, Any]]:
    """Reader and library in turns."""
    options = dict(row.options)
    if options.get("person") == "first":
        options["person"] = registry.find("readers", row.reader).people(path)[0]  # type: ignore[attr-defined]
    reader = registry.build("readers", row.reader, options)
    what = f"{row.reader}: {row.file}"
    span = hours(reader.read(path, subject=NOBODY))
    try:
        row.alone(path)
        libraries = [row.library]
    except ImportError:
        libraries = []
    times: dict[str, list[float]] = {"ours": [], **{name: [] for name in libraries}}
    for _ in range(rounds):
        times["ours"].append(cpu_s(lambda: reader.read(path, subject=NOBODY)))
        for name in libraries:
            times[name].append(cpu_s(lambda: row.alone(path)))
    parts = path.rglob("*") if path.is_dir() else path.parent.glob(f"{path.stem}*") if path.suffix == ".hea" else [path]
    size = sum(part.stat().st_size for part in parts if part.is_file())
    found = [flat(what, "file", "size", (size / 1e6,) * 3, "MB", 1)]
    for name, spent in times.items():
        found.append(flat(what, name, "CPU time", middle([1e3 * one for one in spent]), "ms", rounds))
        found.append(flat(what, name, "rate", middle([span / one for one in spent]), "hours/s", rounds))
    for name in libraries:
        ratios = [mine / one for mine, one in zip(times["ours"], times[name], strict=True)]
        found.append(flat(what, name, "ours over it", middle(ratios), "", rounds))
    return found


def growth_mb(path: Path) -> float:
    """What a process of its own grows by at its peak when it reads the file."""
    environment = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_MMAP_THRESHOLD_": "65536"}
    said = subprocess.run(
        [sys.executable, __file__, "--memory-of", str(path)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    return float(said.stdout.split()[-1]) if said.returncode == 0 and said.stdout.split() else math.nan


def print_growth(path: Path) -> None:
    """The growth of this process; libraries are warmed by a small file. Linux."""
    _, reader = choose(path, "apple_health")
    with tempfile.TemporaryDirectory() as folder:
        reader.read(apple(Path(folder) / "export.xml", 1), subject=NOBODY)
    Path("/proc/self/clear_refs").write_text("5")
    before = memory_kb("VmRSS")
    reader.read(path, subject=NOBODY)
    print((memory_kb("VmHWM") - before) * 1024 / 1e6)


def memory_kb(word: str) -> int:
    """Of this process, as Linux counts it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{word}:"))


def memory(folder: Path, megabytes: float) -> list[dict[str, Any]]:
    """Peak growth on two sizes with the same records kept, and on the smaller with all kept."""
    found = []
    for size, kept in ((megabytes / 8, 10_000), (megabytes, 10_000), (megabytes / 8, None)):
        path = apple(folder / "memory.xml", size, kept)
        what = f"apple_health: fabricated, {size:g} MB, {'all records' if kept is None else f'{kept} records'} kept"
        found.append(flat(what, "ours", "peak growth", (growth_mb(path),) * 3, "MB", 1))
        path.unlink()
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown of one file: ours and its library."""
    by = {(one["model"], one["metric"]): one for one in rows}
    library = next((model for model, metric in by if metric == "ours over it"), None)

    def cell(model: str | None, metric: str, form: str) -> str:
        one = by.get((model or "", metric))
        return form.format(one["value"], one["low"], one["high"]) if one else ""

    return " | ".join(
        (
            f"| {rows[0]['what']}",
            cell("file", "size", "{:.2f} MB"),
            cell("ours", "CPU time", "{:.2f} ms"),
            cell("ours", "rate", "{:.3g} hours/s"),
            f"{library or ''} {cell(library, 'CPU time', '{:.2f} ms')}",
            cell(library, "ours over it", "{:.2f} [{:.2f}, {:.2f}]") + " |",
        )
    )


def main() -> None:
    """Measure every row and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three rounds, small fabricated files")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as a flat list")
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("HDT_FM_REAL_DATA"), help="folder with device_formats"
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", help="readers, by commas")
    parser.add_argument("--megabytes", type=float, default=1000, help="of the largest fabricated export")
    parser.add_argument("--memory-of", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        print_growth(options.memory_of)
        return
    if options.rounds < 1 or options.megabytes <= 0:
        parser.error("--rounds must be 1 or more, --megabytes above 0")
    known = {row.reader for row in ROWS}
    only = set(options.only.split(",")) if options.only else known
    if only - known:
        parser.error(f"--only: expected some of {', '.join(sorted(known))}")
    rounds, size = (3, 5.0) if options.quick else (options.rounds, 50.0)
    every: list[dict[str, Any]] = []
    print("| file | size | reader | | library alone | ratio |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as made:
        for row in ROWS:
            if row.reader not in only or row.reader not in registry.names("readers"):
                continue
            if row.file in FABRICATED:
                maker, name = FABRICATED[row.file]
                path = maker(Path(made) / name, size)
            else:
                path = Path(options.data or "") / "device_formats" / row.file
                if options.data is None or not path.exists():
                    continue
            try:
                rows = measure(row, path, rounds)
            except HdtError as error:
                print(f"| {row.reader}: {row.file} | refused: {error.problem} | | | | |", flush=True)
                continue
            print(table(rows), flush=True)
            every += rows
        if "apple_health" in only:
            rows = memory(Path(made), options.megabytes / 32 if options.quick else options.megabytes)
            print("\n| file | peak growth |\n|---|---|")
            print("\n".join(f"| {one['what']} | {one['value']:.1f} MB |" for one in rows))
            every += rows
    if options.json:
        fresh = options.json.with_suffix(".new")
        fresh.write_text(json.dumps(every, indent=1) + "\n")
        fresh.replace(options.json)


if __name__ == "__main__":
    main()

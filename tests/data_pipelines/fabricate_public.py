"""Tiny copies of public benchmarks in their publishers' layouts, with values that can be told by hand."""

import datetime
import pickle
from pathlib import Path

import edfio
import numpy as np


def _wrist(seconds: int, unit: float) -> dict[str, np.ndarray]:
    """E4: a pulse of 1.25 Hz, gravity on z, x counting up by 1/64 g and back; skin that warms up."""
    at = {rate: np.arange(rate * seconds) / rate for rate in (64, 32, 4)}
    counting = np.arange(32 * seconds) % 20
    acc = np.stack([counting, np.zeros(32 * seconds), np.full(32 * seconds, 64)], axis=1)
    return {
        "ACC": acc / 64 * unit,
        "BVP": 50 * np.sin(2 * np.pi * 1.25 * at[64])[:, None],
        "EDA": (0.5 + 0.01 * at[4])[:, None],
        "TEMP": (33 + 0.02 * at[4])[:, None],
    }


def _chest(seconds: int) -> dict[str, np.ndarray]:
    """RespiBAN: a spike of 1 mV every 560 samples, a breath of 4 s, gravity on x."""
    count = 700 * seconds
    time = np.arange(count) / 700
    acc = np.zeros((count, 3), dtype=np.float32)
    acc[:, 0] = 0.9
    return {
        "ACC": acc,
        "ECG": (np.arange(count) % 560 < 20).astype(np.float64)[:, None],
        "Resp": 5 * np.sin(2 * np.pi * time / 4)[:, None],
        "EMG": 0.01 * np.cos(time)[:, None],
        "EDA": (4 + 0.1 * np.sin(time))[:, None],
        "Temp": np.full((count, 1), 34.0, dtype=np.float32),
    }


def _dump(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2))
    return path


def ppg_dalia(folder: Path, number: int = 1, *, seconds: int = 40, unit: float = 1.0, **changes: object) -> Path:
    """One person: 10 s on the way, 20 s sitting, then walking; window k has a heart rate of 70 + number + k / 4.

    After the first second, pulse and ECG have noise of the person's own, as no two people are alike.
    """
    wrist, chest = _wrist(seconds, unit), _chest(seconds)
    generator = np.random.default_rng(number)
    wrist["BVP"][64:] += generator.normal(0, 5, size=wrist["BVP"][64:].shape)
    chest["ECG"][700:] += generator.normal(0, 0.02, size=chest["ECG"][700:].shape)
    rates = 70.0 + number + np.arange((seconds - 8) // 2 + 1) / 4
    activity = np.zeros((4 * seconds, 1))
    activity[40:120], activity[120:] = 1, 7
    dummies = dict.fromkeys(("EMG", "EDA", "Temp"), np.zeros((700 * seconds, 1)))
    content = {
        "signal": {"chest": chest | dummies, "wrist": wrist},
        "label": rates,
        "activity": activity,
        "rpeaks": np.arange(0, 700 * seconds, 560),
        "questionnaire": {"WEIGHT": 78.0, "Gender": " m", "AGE": 34, "HEIGHT": 182.0, "SKIN": 3, "SPORT": 6},
        "subject": f"S{number}",
    }
    return _dump(folder / "PPG_FieldStudy" / f"S{number}" / f"S{number}.pkl", content | changes)


def wesad(folder: Path, number: int = 2, *, minutes: int = 8, unit: float = 64.0, **changes: object) -> Path:
    """One person: a minute a condition, in the order 0 (between), 1, 2, 3, 4, 5 (to be ignored), 2, 1."""
    seconds = 60 * minutes
    label = np.repeat([0, 1, 2, 3, 4, 5, 2, 1], 60 * 700)[: 700 * seconds]
    content = {
        "signal": {"chest": _chest(seconds), "wrist": _wrist(seconds, unit)},
        "label": label,
        "subject": f"S{number}",
    }
    path = _dump(folder / "WESAD" / f"S{number}" / f"S{number}.pkl", content | changes)
    lines = [
        "### Personal information ###",
        "Age: 27",
        "Height (cm): 175",
        "Gender: female",
        "Dominant hand: right",
        "",
    ]
    path.with_name(f"S{number}_readme.txt").write_text("\r\n".join(lines))
    path.with_name(f"S{number}_quest.csv").write_text("# Subj;S2;;\n# ORDER;Base;TSST;Medi 1;Fun;Medi 2;\n")
    return path


def uci_har(folder: Path, *, people: dict[str, tuple[int, ...]] | None = None, own: float = 0.0) -> Path:
    """Per person: walking in 5 windows, sitting in 3, walking in 2; the k-th channel of sample t is t / 1000 + k.

    Samples of walking again begin anew at 10, so that nothing continues what was before. Person number p moves t / 1000
    times 1 + own * p.
    """
    root = folder / "UCI HAR Dataset"
    for part, numbers in (people or {"train": (1, 3, 5), "test": (2, 10)}).items():
        runs = [(number, *run) for number in numbers for run in ((1, 5, 0), (4, 3, 3000), (1, 2, 10_000))]
        rows = [(who, what, begin + 64 * k + np.arange(128)) for who, what, count, begin in runs for k in range(count)]
        (root / part / "Inertial Signals").mkdir(parents=True)
        names = [f"{kind}_{axis}" for kind in ("total_acc", "body_gyro", "body_acc") for axis in "xyz"]
        for k, name in enumerate(names):
            lines = [
                "".join(f"  {value / 1000 * (1 + own * who) + k:.7e}" for value in times.tolist())
                for who, _, times in rows
            ]
            (root / part / "Inertial Signals" / f"{name}_{part}.txt").write_text("\n".join(lines) + "\n")
        (root / part / f"y_{part}.txt").write_text("".join(f"{what}\n" for _, what, _ in rows))
        (root / part / f"subject_{part}.txt").write_text("".join(f"{who}\n" for who, _, _ in rows))
    return root


def pamap2(
    folder: Path, number: int = 101, *, part: str = "Protocol", seconds: int = 60, codes: tuple[int, ...] = (0, 4, 24)
) -> Path:
    """One session: column c of row t is c + t / 1000 (gravity on z of each 16 g sensor); the codes in equal turns.

    Heart rate is 80 in every eleventh row from the fifth on, 90 in the last third; the chest's radio loses rows 200 to
    249.
    """
    count = 100 * seconds
    row = np.arange(count)
    table = np.arange(54)[None] + row[:, None] / 1000
    table[:, 0] = 8.38 + row / 100
    table[:, 1] = np.array(codes)[row * len(codes) // count]
    table[:, 2] = np.where(row % 11 == 5, np.where(row < 2 * count // 3, 80, 90), np.nan)
    table[:, [6, 23, 40]] = 9.80665
    table[200:250, 20:37] = np.nan
    path = folder / "PAMAP2_Dataset" / part / f"subject{number}.dat"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [" ".join("NaN" if np.isnan(value) else f"{value:.6g}" for value in values) for values in table]
    path.write_text("\n".join(lines) + "\n")
    return path


def sleep_edf(
    folder: Path,
    person: int = 0,
    night: int = 1,
    *,
    years: int = 33,
    stages: tuple[tuple[int, int | None, str], ...] | None = None,
) -> Path:
    """One night of 6000 s: awake until 2400 s, asleep until 3600 s, awake again, unscored from 5700 s on.

    Fpz-Cz in the k-th 30 s is k - 100 uV; Pz-Oz and EOG are sines.
    """
    folder = folder / "sleep-cassette"
    folder.mkdir(parents=True, exist_ok=True)
    time = np.arange(600_000) / 100
    slow = np.arange(6000) % 7
    made = [
        ("EEG Fpz-Cz", time // 30 - 100, 100, "uV"),
        ("EEG Pz-Oz", 50 * np.sin(2 * np.pi * 10 * time), 100, "uV"),
        ("EOG horizontal", 80 * np.sin(2 * np.pi * 0.5 * time), 100, "uV"),
        ("Resp oro-nasal", slow, 1, ""),
        ("EMG submental", slow, 1, "uV"),
        ("Temp rectal", slow, 1, "DegC"),
    ]
    signals = [
        edfio.EdfSignal(values, rate, label=label, physical_dimension=unit, physical_range=(-192, 192))
        for label, values, rate, unit in made
    ]
    patient = edfio.Patient(sex="F", name=f"Female_{years}yr")
    begin = {
        "patient": patient,
        "recording": edfio.Recording(startdate=datetime.date(1989, 4, 23 + night)),
        "starttime": datetime.time(16, 13, 0),
    }
    stem = f"SC4{person:02d}{night}E"
    psg = folder / f"{stem}0-PSG.edf"
    edfio.Edf(signals, data_record_duration=30, **begin).write(psg)
    scored = stages or (
        (0, 2400, "Sleep stage W"),
        (2400, 120, "Sleep stage 1"),
        (2520, 480, "Sleep stage 2"),
        (3000, 120, "Sleep stage 3"),
        (3120, 90, "Sleep stage 4"),
        (3210, 30, "Movement time"),
        (3240, 360, "Sleep stage R"),
        (3600, 2100, "Sleep stage W"),
        (5700, 300, "Sleep stage ?"),
    )
    edfio.Edf([], annotations=[edfio.EdfAnnotation(*one) for one in scored], **begin).write(
        folder / f"{stem}C-Hypnogram.edf"
    )
    return psg

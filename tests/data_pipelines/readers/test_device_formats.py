"""Every file and folder of the public samples: who takes it, and what comes out or why not.

The table in the README of the readers is compared with what is found here, so it cannot go stale. To print it anew:
    python tests/data_pipelines/readers/test_device_formats.py FOLDER_WITH_DEVICE_FORMATS
"""

import re
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest

from data_pipelines.readers import choose
from data_pipelines.readers.fitabase import Fitabase
from hdt_fm.schema import registry
from hdt_fm.schema.errors import HdtError, ReaderError
from hdt_fm.schema.recording import Visit

SUBJECT = "s" + "1" * 32
HEADING = "## What of the public samples is read"
# What no reader takes because it belongs to a file that one takes.
COMPANIONS = {
    ".dat": "samples of the WFDB records beside it",
    ".mat": "samples of the WFDB records beside it",
    ".xyz": "samples of the WFDB records beside it",
    ".atr": "beats and rhythm of the WFDB record beside it",
    ".txt": "beats of the Holter recording beside it",
    ".gpx": "the way of a workout: positions are not read",
    ".md": "where the samples come from, and their licences",
}
# What a caller may say, where a file leaves it open; the first person of an export of several stands for all.
UNITS = {
    "xdf/clock_resets.xdf": {"eeg": "uV"},
    "xdf/minimal.xdf": {"eeg": "uV"},
}
MAPPING = {
    "sampling_rate_hz": 100,
    "signals": {"ecg": {"columns": ["ECG"], "unit": "mV"}, "eda": {"columns": ["EDA"], "unit": "uS"}},
}


@dataclass(frozen=True)
class Found:
    """One file or folder; `outcome` is the text of the table."""

    place: str
    kind: str
    reader: str
    outcome: str


def look(root: Path) -> list[Found]:
    """Everything below the folder: each file, and each folder that some reader takes."""
    found = []
    for path in sorted(root.rglob("*")):
        takers = [name for name in registry.names("readers") if registry.find("readers", name).detect(path)]
        assert len(takers) < 2, f"{path.relative_to(root)} is taken by {takers}"
        place = path.relative_to(root).as_posix()
        if takers:
            found.append(read(path, place, takers[0]))
        elif path.is_file():
            found.append(not_taken(path, place))
    return found


def read(path: Path, place: str, name: str) -> Found:
    """By its reader as it is, and again with what a caller could add."""
    assert choose(path)[0] == name
    kind = "folder" if path.is_dir() else "file"
    try:
        visit = registry.build("readers", name, {}).read(path, subject=SUBJECT)
    except HdtError as error:
        return Found(place, f"{kind} refused", name, refusal(error) + with_words(path, place, name))
    assert visit.recordings or visit.labels
    return Found(place, f"{kind} read", name, content(visit))


def with_words(path: Path, place: str, name: str) -> str:
    """What comes out when the caller names a unit or a person; empty where that would not help."""
    if place in UNITS:
        words, shown = {"units": UNITS[place]}, f"units={UNITS[place]}"
    elif name == "fitabase":
        words, shown = {"person": Fitabase.people(path)[0]}, "person=..."
    else:
        return ""
    try:
        outcome = content(registry.build("readers", name, words).read(path, subject=SUBJECT))
    except HdtError as error:
        outcome = refusal(error)
    return f"; with `{shown}`: {outcome}"


def not_taken(path: Path, place: str) -> Found:
    """A companion, or a table that needs a mapping."""
    if path.suffix in COMPANIONS:
        assert belongs(path), f"{place} is not taken, and belongs to no file that is"
        return Found(place, "companion", "", COMPANIONS[path.suffix])
    with pytest.raises(ReaderError, match="No reader recognises") as caught:
        choose(path)
    visit = registry.build("readers", "table", {"mapping": MAPPING}).read(path, subject=SUBJECT)
    return Found(place, "file refused", "table", f"{refusal(caught.value)}; with a mapping: {content(visit)}")


def belongs(path: Path) -> bool:
    if path.suffix in (".dat", ".mat", ".xyz"):
        return any(path.name in header.read_text("latin-1") for header in path.parent.glob("*.hea"))
    if path.suffix == ".atr":
        return path.with_suffix(".hea").is_file()
    return path.suffix in (".gpx", ".md") or path.with_suffix(".ecg.gz").is_file()


def refusal(error: HdtError) -> str:
    return f"refused: {error.problem}"


def content(visit: Visit) -> str:
    """Modalities and labels by name."""
    labels = dict.fromkeys("night_*" if name.startswith("night_") else name for name in visit.labels)
    parts = [", ".join(f"`{name}`" for name in names) for names in (visit.recordings, labels)]
    return "; ".join(label + part for label, part in zip(("", "labels "), parts, strict=True) if part)


def rows(found: list[Found]) -> list[str]:
    """Lines of the table; files of one folder and ending with which the same happens are one line."""
    together: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for one in found:
        folder, _, name = one.place.rpartition("/")
        ending = re.search(r"(\.[A-Za-z]+(\.gz)?)?$", name)
        if one.kind.startswith("folder"):
            folder, name = one.place, "the folder"
        together[folder, one.kind.split()[0], ending[0], one.reader, one.outcome].append(name)
    lines = ["| in | what | reader | what comes out |", "|---|---|---|---|"]
    for (folder, kind, ending, reader, outcome), names in together.items():
        what = f"{len(names)} x `*{ending}`" if len(names) > 1 else names[0] if kind == "folder" else f"`{names[0]}`"
        lines.append(f"| {folder or '.'} | {what} | {reader} | {outcome} |")
    return lines


def sentence(found: list[Found]) -> str:
    count = Counter(one.kind for one in found)
    files = sum(count[kind] for kind in ("file read", "file refused", "companion"))
    return (
        f"{files} files: {count['file read']} read, {count['file refused']} refused, {count['companion']} beside one "
        f"that is read. {count['folder read']} folders are read as one visit, {count['folder refused']} refused."
    )


@pytest.fixture(scope="module")
def samples(real_data):
    root = real_data / "device_formats"
    if not root.is_dir():
        pytest.skip("no device_formats among the real recordings")
    return look(root)


def test_everything_is_read_or_refused_and_counted(samples):
    assert Counter(one.kind for one in samples) == {
        "file read": 76,
        "file refused": 19,
        "companion": 34,
        "folder read": 7,
        "folder refused": 2,
    }
    assert len({one.place.split("/")[0] for one in samples} - {"SOURCE.md"}) == 24


def test_the_readme_tells_what_is_found(samples, repo):
    section = (repo / "data_pipelines/readers/README.md").read_text().split(HEADING + "\n")[1].split("\n## ")[0]
    assert [line for line in section.splitlines() if line.startswith("|")] == rows(samples)
    assert sentence(samples) in section


if __name__ == "__main__":
    everything = look(Path(sys.argv[1]))
    print("\n".join([HEADING, "", sentence(everything), "", *rows(everything)]))

"""PAMAP2: the documented columns of three units, lost samples, eighteen activities, heart rate, people."""

import numpy as np
import pytest

from data_pipelines.cohorts.pamap2 import Pamap2
from hdt_fm.schema.errors import ReaderError, UnitError
from hdt_fm.schema.recording import NS_PER_S
from hdt_fm.schema.subject import SubjectKey

MIDNIGHT_NS = 946_684_800 * NS_PER_S


def visits_of(folder, **arguments):
    return Pamap2(path=str(folder), subject_key="public", **arguments).visits()


@pytest.fixture(scope="module")
def folder(public, tmp_path_factory):
    """Nobody changes it."""
    path = tmp_path_factory.mktemp("pamap2")
    public.pamap2(path, 102)
    public.pamap2(path, 101)
    public.pamap2(path, 101, part="Optional", seconds=20, codes=(9, 20))
    return path


def spans(track):
    """(class, begin, end) in seconds of the session."""
    times = zip(track.start_ns.tolist(), track.end_ns.tolist(), strict=True)
    found = [((a - MIDNIGHT_NS) / NS_PER_S, (b - MIDNIGHT_NS) / NS_PER_S) for a, b in times]
    return [(track.classes[int(value)], *span) for value, span in zip(track.values, found, strict=True)]


def test_columns_of_three_units(folder):
    visit = next(visits_of(folder))
    assert list(visit.recordings) == ["acc", "gyro", "acc_chest", "gyro_chest", "acc_ankle", "gyro_ankle"]
    row = 100 / 1000
    # Columns as documented, counted from 1: 5 to 7 and 11 to 13 of the hand, 17 later of the chest, 34 of the ankle.
    for ending, later, site in (("", 0, "wrist"), ("_chest", 17, "chest"), ("_ankle", 34, "ankle")):
        acc, gyro = visit.recordings["acc" + ending], visit.recordings["gyro" + ending]
        x, y = (4 + later + row) / 9.80665, (5 + later + row) / 9.80665
        assert acc.values[:, 100] == pytest.approx([x, y, 1], rel=1e-5)
        assert gyro.values[:, 100] == pytest.approx(np.rad2deg([k + later + row for k in (10, 11, 12)]), rel=1e-5)
        assert (acc.body_site, acc.sampling_rate_hz, acc.start_ns) == (site, 100, MIDNIGHT_NS)


def test_what_a_radio_lost_is_unobserved_there_alone(folder):
    visit = next(visits_of(folder))
    assert np.flatnonzero(~visit.recordings["gyro_chest"].observed).tolist() == list(range(200, 250))
    assert visit.recordings["acc"].observed.all()
    assert visit.recordings["acc_ankle"].observed.all()


def test_rows_that_are_missing_altogether_are_a_gap(public, tmp_path):
    path = public.pamap2(tmp_path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2500], *lines[2600:]]) + "\n")
    visit = next(visits_of(tmp_path))
    assert visit.recordings["acc"].duration_s == 60
    assert np.flatnonzero(~visit.recordings["acc"].observed).tolist() == list(range(2500, 2600))
    assert spans(visit.labels["activity"]) == [
        ("walking", 20, 25),
        ("walking", 26, 40),
        ("rope_jumping", 40, 60),
    ]


def test_three_lists_of_activities(folder):
    protocol, _, optional = visits_of(folder, optional=True)
    walking, jumping = ("walking", 20, 40), ("rope_jumping", 40, 60)
    assert spans(protocol.labels["activity"]) == [walking, jumping]
    assert spans(protocol.labels["protocol_activity"]) == [walking, jumping]
    assert spans(protocol.labels["shared_activity"]) == [walking]
    assert [len(protocol.labels[f"{name}activity"].classes) for name in ("", "protocol_", "shared_")] == [18, 12, 8]
    day = 86_400
    assert spans(optional.labels["activity"]) == [
        ("watching_tv", day, day + 10),
        ("playing_soccer", day + 10, day + 20),
    ]
    assert len(optional.labels["protocol_activity"].values) == 0


def test_a_heart_rate_holds_until_the_next(public, tmp_path):
    public.pamap2(tmp_path)
    track = next(visits_of(tmp_path)).labels["heart_rate"]
    assert (track.kind, track.unit, len(track.values)) == ("value", "bpm", len(range(5, 6000, 11)))
    assert (track.start_ns[:2] - MIDNIGHT_NS).tolist() == [50_000_000, 160_000_000]
    assert (track.end_ns[0], track.values[0], track.values[-1]) == (track.start_ns[1], 80, 90)
    path = tmp_path / "PAMAP2_Dataset" / "Protocol" / "subject101.dat"
    rows = [line.split(" ") for line in path.read_text().splitlines()]
    for values in rows[6:1000]:
        values[2] = "NaN"
    path.write_text("\n".join(" ".join(values) for values in rows) + "\n")
    alone = next(visits_of(tmp_path)).labels["heart_rate"]
    assert alone.end_ns[0] - alone.start_ns[0] == NS_PER_S, "at most a second"


def test_people_are_pseudonyms_and_both_sessions_are_of_one(folder):
    key = SubjectKey.public()
    first, second, optional = visits_of(folder / "PAMAP2_Dataset", optional=True)
    assert (first.subject, second.subject) == tuple(key.pseudonym("pamap2", number) for number in ("101", "102"))
    assert optional.subject == first.subject
    assert optional.recordings["acc"].start_ns > first.recordings["acc"].end_ns
    assert len(visits_of(folder)) == 2
    assert [path.name for path in Pamap2(path=str(folder)).inputs()] == ["subject101.dat", "subject102.dat"]


def test_other_spaces_are_no_other_numbers(public, folder, tmp_path):
    path = public.pamap2(tmp_path)
    path.write_text("".join(f"  {line} \r\n" for line in path.read_text().replace(" ", "  ").splitlines()))
    one, other = next(visits_of(tmp_path)), next(visits_of(folder))
    assert np.array_equal(one.recordings["gyro"].values, other.recordings["gyro"].values)


def columns(change):
    def changed(text):
        rows = [line.split(" ") for line in text.splitlines()]
        return "\n".join(" ".join(change(number, row)) for number, row in enumerate(rows)) + "\n"

    return changed


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (columns(lambda n, row: row[:53]), ReaderError, "wrong number of columns(.|\n)*54"),
        (lambda text: text[:-200], ReaderError, "wrong number of columns(.|\n)*Protocol file, line 1000"),
        (columns(lambda n, row: [row[0], "8", *row[2:]]), ReaderError, "does not name(.|\n)*1000 of 1000"),
        (columns(lambda n, row: [row[0], "NaN", *row[2:]]), ReaderError, "does not name(.|\n)*column 2"),
        (columns(lambda n, row: [str(n / 10), *row[1:]]), ReaderError, "does not fit the units(.|\n)*10 rows"),
        (columns(lambda n, row: [str(-n / 100), *row[1:]]), ReaderError, "does not rise"),
        (
            columns(lambda n, row: [*row[:4], "high", *row[5:]] if n == 7 else row),
            ReaderError,
            "no number(.|\n)* 8",
        ),
        (columns(lambda n, row: [*row[:4], "980", "980", "980", *row[7:]]), UnitError, "cannot be in 'm/s\\^2'"),
        (lambda text: "", ReaderError, "file is empty"),
    ],
)
def test_broken_files_are_said_and_stop_nobody_else(public, tmp_path, change, error, message):
    path = public.pamap2(tmp_path, 103, seconds=10)
    path.write_text(change(path.read_text()))
    public.pamap2(tmp_path, 104, seconds=10)
    visits = visits_of(tmp_path)
    with pytest.raises(error, match=message) as caught:
        next(visits)
    assert "103" not in str(caught.value)
    assert "what to do" in str(caught.value)
    assert caught.value.__notes__ == ["in visit 1 of 2, in the order of file names"]
    assert next(visits).recordings


def test_folders_of_other_things(public, tmp_path):
    with pytest.raises(ReaderError, match=r"holds no session(.|\n)*Protocol/subjectNNN"):
        visits_of(tmp_path)
    public.pamap2(tmp_path, seconds=10)
    with pytest.raises(ReaderError, match=r"holds no session(.|\n)*cohort\.optional=false"):
        visits_of(tmp_path, optional=True)

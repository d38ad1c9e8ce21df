"""What a lab's key hides, study by study: pseudonyms, groups, names of files, and one shift of time for each person."""

import hashlib
import hmac
from dataclasses import replace

import numpy as np
import pytest

from data_pipelines.packing import MAX_SHIFT_WEEKS, WEEK_NS, _shift_ns
from data_pipelines.readers.table import Table
from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.errors import ConfigError, ReaderError
from hdt_fm.schema.subject import SubjectKey

KEY = SubjectKey(b"a key of the lab that nobody else has")
HOUR_NS = 3_600_000_000_000


def study(tiny, name):
    """A cohort of the same raw ids and the lab's key, under a name of its own."""

    class Named(tiny.TinyCohort):
        def visit(self, person, turn=0, *, bad=False):
            visit, subject = super().visit(person, turn, bad=bad), KEY.pseudonym(name, f"rawid-{person}")
            group = visit.group if visit.group != visit.subject else subject
            recordings = {key: replace(one, subject=subject) for key, one in visit.recordings.items()}
            return replace(visit, subject=subject, recordings=recordings, group=group)

    cohort = Named(people=6, visits_each=3)
    cohort.name = name
    return cohort


@pytest.fixture(scope="module")
def two(tiny, tmp_path_factory):
    """The same people in two studies of a lab, with three visits each, an hour apart."""
    folders = {name: tmp_path_factory.mktemp("studies") / name for name in ("ward_a", "ward_b")}
    for name, folder in folders.items():
        tiny.build(folder, study(tiny, name), subject_key=KEY)
    return {name: ShardFolder.open(folder) for name, folder in folders.items()}


def test_a_persons_visits_all_go_back_by_the_same_weeks(two, tiny):
    for folder in two.values():
        shifts = []
        for row in range(6):
            times = np.sort(folder.t0_ns[folder.subject_rows == row])
            begins = np.concatenate([times[:1], times[1:][np.diff(times) > HOUR_NS // 2]])
            assert np.diff(begins).tolist() == [HOUR_NS, HOUR_NS]
            shifts.append((tiny.START_NS - times[0]) / WEEK_NS)
        assert all(shift == int(shift) and 1 <= shift <= MAX_SHIFT_WEEKS for shift in shifts)
        assert len(set(shifts)) == 6


def test_nothing_ties_a_person_to_the_same_one_in_another_study(two):
    tables = [folder.manifest.subjects for folder in two.values()]
    assert not {row.subject for row in tables[0]} & {row.subject for row in tables[1]}
    assert not {row.group for row in tables[0]} & {row.group for row in tables[1]}
    # People 4 and 5 share a group in each, told by a raw name.
    assert [len({row.group for row in table}) for table in tables] == [5, 5]
    shifts = [{_shift_ns(KEY, row.subject) for row in table} for table in tables]
    assert not shifts[0] & shifts[1]


def test_weeks_come_from_the_key_and_from_the_person():
    other, people = SubjectKey(b"a key of another lab, as long"), [KEY.pseudonym("a", str(n)) for n in range(400)]
    ours, theirs = ([_shift_ns(key, person) for person in people] for key in (KEY, other))
    assert np.mean(np.array(ours) == theirs) < 0.02
    assert ours == [_shift_ns(KEY, person) for person in people]
    # Spread over twenty years: a shift says nothing of the year.
    assert min(ours) < 100 * WEEK_NS
    assert max(ours) > 940 * WEEK_NS


def test_a_shift_is_told_by_nothing_else_that_the_key_makes():
    person = KEY.pseudonym("a", "P01")
    weeks = hmac.new(KEY.secret, f"date shift\x1f{person}".encode(), hashlib.sha256).digest()[:8]
    assert _shift_ns(KEY, person) == (1 + int.from_bytes(weeks, "big") % MAX_SHIFT_WEEKS) * WEEK_NS
    made = [person, *(KEY.reference(kind, "a", person) for kind in ("date shift", "group", "file"))]
    assert weeks.hex() not in {name[1:17] for name in made}
    with pytest.raises(ConfigError, match="cannot have this name"):
        KEY.pseudonym("date shift", person)


@pytest.mark.parametrize(
    "row", ["0.05,-0.1,Ottilie Zwackelmann", "Ottilie,1961-03-14,x", "a,1.5e-3,P07", "a, 12:30,P07"]
)
def test_a_first_line_that_is_a_row_is_not_shown(fabricate, tmp_path, row):
    mapping = "signals: {temp: {columns: [t], unit: degC}}\nsampling_rate_hz: 1\nstart: 0\n"
    path = fabricate.table(tmp_path / "headless", mapping, f"{row}\n{row}\n")
    with pytest.raises(ReaderError, match="holds numbers") as caught:
        Table().read(path, subject=KEY.pseudonym("a", "P01"))
    assert not [word for word in row.split(",") if len(word) > 1 and word.strip() in str(caught.value)]
    path = fabricate.table(tmp_path / "named", mapping, "heart rate,skin\n1,2\n")
    with pytest.raises(ReaderError, match="heart rate, skin"):
        Table().read(path, subject=KEY.pseudonym("a", "P01"))

"""A process that updates is killed at random: what is found is the last complete version, and it goes on.

HDT_FM_VERSION_KILLS is how many kills of each kind; they are those of scripts/evolve_kills.py, which has the table.
"""

import importlib.util
import json
import os
import shutil
import sys

import numpy as np
import pytest

from hdt_fm.checkpoint.versions import Versions
from hdt_fm.schema.ledger import Told

KILLS = int(os.environ.get("HDT_FM_VERSION_KILLS", "15"))
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks a process that holds threads")


@pytest.fixture(scope="module")
def script(repo):
    spec = importlib.util.spec_from_file_location("evolve_kills", repo / "scripts" / "evolve_kills.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name in ("LEDGER_KEY", "RECIPIENTS", "IDENTITY"):
        monkeypatch.delenv(f"HDT_FM_{name}", raising=False)
        monkeypatch.delenv(f"HDT_FM_{name}_FILE", raising=False)


@pytest.mark.parametrize("by_time", [True, False])
def test_updates_killed_at_random(script, tmp_path, by_time):
    tally = script.Tally()
    writer = script.Ours(tmp_path / "twin")
    script.kill_often(writer, KILLS, np.random.default_rng(3), by_time=by_time, tally=tally)
    assert (tally.kills, tally.whole, sum(tally.stages.values())) == (KILLS, KILLS, KILLS)
    assert len(tally.stages) > 1
    same, kept = script.went_back(tmp_path / "twin")
    assert same == kept == script.KEEP - 1


def test_killed_before_each_step_in_turn(script, tmp_path):
    """Every step once, so that no stage is left to chance; the line is where the version begins to count."""
    writer = script.Ours(tmp_path / "twin")
    writer.make()
    for _ in range(script.KEEP):
        writer.before()
        writer.update()
        writer.number += 1
    writer.before()
    known = script.count_steps(writer)
    writer.number += 1
    stages = []
    for at in range(1, known + 1):
        writer.before()
        killed, _ = script.in_child(writer.update, at_step=at)
        assert killed, f"there is no step {at} of {known}"
        stages.append(writer.stage())
        assert writer.survived(), f"killed before step {at} of {known}"
    order = ["nothing yet", "files half there", "files in place", "within the line"]
    order += ["line whole, head old", "line whole"]
    assert list(dict.fromkeys(stages)) == order
    assert [order.index(stage) for stage in stages] == sorted(order.index(stage) for stage in stages)


def test_killed_while_rolling_back_and_while_made(script, tmp_path):
    versions = Versions.create(tmp_path / "twin", script.fill(1), Told())
    for number in (2, 3):
        versions.append(script.fill(number), Told())
    with script.steps(0) as seen:
        versions.rollback(1, Told())
    for at in range(1, seen[0] + 1):
        now, lines = versions.number, len(versions.entries)
        to = 3 if now == 1 else 1
        killed, _ = script.in_child(lambda versions=versions, to=to: versions.rollback(to, Told()), at_step=at)
        assert killed
        versions = Versions(tmp_path / "twin")
        assert (versions.number, len(versions.entries)) in ((now, lines), (to, lines + 1))
        assert script.holds(versions.current, versions.number)
        versions.verify()
    with script.steps(0) as seen:
        Versions.create(tmp_path / "count", script.fill(1), Told())
    for at in range(1, seen[0] + 1):
        place = tmp_path / f"made {at}"
        killed, _ = script.in_child(lambda place=place: Versions.create(place, script.fill(1), Told()), at_step=at)
        assert killed
        # There as a whole, or not at all.
        made = Versions(place) if place.exists() else Versions.create(place, script.fill(1), Told())
        assert script.holds(made.current, 1)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_people_who_withdrew_are_forgotten_whenever_the_kill_comes(script, tmp_path):
    def forgets(versions):
        versions.append(script.fill(3), Told(), forget=True)

    Versions.create(tmp_path / "twin", script.fill(1), Told()).append(script.fill(2), Told())
    ends, at = [], 0
    while True:
        at += 1
        shutil.copytree(tmp_path / "twin", tmp_path / f"{at}")
        versions = Versions(tmp_path / f"{at}")
        killed, _ = script.in_child(lambda versions=versions: forgets(versions), at_step=at)
        versions = Versions(tmp_path / f"{at}")
        ends.append(versions.number)
        assert versions.kept == ((1, 2) if versions.number == 2 else (3,))
        versions.clear()
        names = sorted(path.name for path in (tmp_path / f"{at}" / "versions").iterdir())
        assert names == [f"{number:06d}" for number in versions.kept]
        if not killed:
            break
    assert ends == sorted(ends)
    assert ends.count(2) > 5
    assert ends.count(3) > 5


def test_the_same_kills_tear_what_is_overwritten(script, tmp_path):
    """The look after a kill can see a torn state: both usual ways leave some."""
    for name in (script.IN_PLACE, script.EACH):
        tally, folder = script.Tally(), tmp_path / name
        script.kill_often(script.WRITERS[name](folder), 8, np.random.default_rng(4), by_time=False, tally=tally)
        assert tally.kills == 8
        assert tally.whole < 8


def test_a_look_after_a_kill_sees_each_kind_of_damage(script, tmp_path):
    def lost_line(folder):
        (folder / "ledger.jsonl").write_bytes(b"")

    def other_bytes(folder):
        (folder / "versions" / "000002" / script.HEAD).write_bytes(b"x")

    def no_version(folder):
        (folder / "versions" / "000002").rename(folder / "versions" / "000009")

    def earlier_lines(folder):
        text = (folder / "ledger.jsonl").read_text()
        (folder / "ledger.jsonl").write_text(text.replace('"note":""', '"note":"x"', 1))

    for spoil in (lost_line, other_bytes, no_version, earlier_lines):
        writer = script.Ours(tmp_path / spoil.__name__)
        writer.make()
        writer.before()
        writer.update()
        writer.number = 2
        writer.before()
        spoil(writer.folder)
        assert not writer.survived(), spoil.__name__


def test_the_table_says_what_was_counted(script):
    row = script._row("killed", script.OURS, 200, 200, {})
    # None of 200 failed: (1 - p)^200 = 0.025 at the end of the interval.
    assert row.low == pytest.approx(100 * 0.025 ** (1 / 200))
    assert (row.value, row.high) == (100.0, 100.0)
    row = script._row("killed", script.EACH, 0, 8, {})
    assert (row.value, row.low) == (0.0, 0.0)
    assert row.high == pytest.approx(100 * (1 - 0.025 ** (1 / 8)))
    assert json.loads(row.model_dump_json())["role"] == "baseline"

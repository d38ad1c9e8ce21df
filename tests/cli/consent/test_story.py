"""A person leaves, one command at a time: shards, encoder, table and head, until nothing of them is left on disk."""

import csv
import json
import os
import shlex
import shutil

import numpy as np
import pytest

from data_pipelines.finished import manifest_of
from hdt_fm.cli.compose import compose_config
from hdt_fm.cli.main import EXIT_OK, main
from hdt_fm.cli.publish import still_in_lineage
from hdt_fm.consent.remedies import open_remedies, withdrawn_in_lineage
from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.subject import SubjectKey

TINY = ["experiment=demo", "debug=tiny", "cohort.subjects=8", "cohort.hours=0.1", "finetune.context=4"]
STATIONS = ("shard", "pretrain", "embed", "finetune")


def walk(root, register, settings, stations=STATIONS):
    for verb in stations:
        words = [verb, *settings, f"root={root}", f"shard.consent={register}", "shard.purpose=DUO:0000042"]
        assert main(words) == EXIT_OK, verb


def do(command):
    """A command of the report, as it stands there."""
    words = shlex.split(command)
    if words[:2] == ["rm", "-r"]:
        shutil.rmtree(words[2])
    else:
        assert words[0] == "hdt-fm"
        assert main(words[1:]) == EXIT_OK, command


def begun(tmp_path, people, settings):
    """A register that everybody is in, and a run that keeps to it."""
    register, root = tmp_path / "register", tmp_path / "run"
    (tmp_path / "people.txt").write_text("\n".join(people))
    assert main(["consent", "new", str(register)]) == EXIT_OK
    words = ["--subjects", str(tmp_path / "people.txt"), "scope=DUO:0000042", "version=1.0"]
    assert main(["consent", "give", str(register), *words]) == EXIT_OK
    walk(root, register, settings)
    return register, root


def leave(register, root, who, capsys):
    """The person leaves; every command of the report is done in turn; what was open before each."""
    capsys.readouterr()
    assert main(["consent", "withdraw", str(register), f"subject={who}", f"root={root}", "--json"]) == EXIT_OK
    (report,) = json.loads(capsys.readouterr().out)["withdrawals"]
    checkpoint, shards = root / "pretrain" / "checkpoint", root / "shard" / "windows"
    reasons = withdrawn_in_lineage(register, checkpoint, [shards])
    assert len(reasons) == 2
    config = compose_config("publish", ["experiment=demo", f"root={root}", f"shard.consent={register}"])
    assert still_in_lineage(config, config.value("publish.consent")) == reasons
    still = []
    for one in report["artefacts"]:
        still.append(len(open_remedies(register, [root])))
        assert main(["consent", "status", str(register), f"root={root}"]) == 1
        for command in one["commands"]:
            do(command)
    assert main(["consent", "status", str(register), f"root={root}"]) == EXIT_OK
    assert withdrawn_in_lineage(register, checkpoint, [shards]) == []
    return report, still


def next_build(tmp_path, register, who, settings):
    """The same recordings once more: the person is not read."""
    walk(tmp_path / "next", register, settings, ("shard",))
    manifest = manifest_of(tmp_path / "next" / "shard" / "windows")
    assert who not in {row.subject for row in manifest.subjects}
    assert manifest.counts.without_consent == 1
    assert manifest.consent.endswith("for DUO:0000042")
    return manifest


def test_a_person_leaves(tmp_path, capsys):
    people = simulated_people(8)
    register, root = begun(tmp_path, people, TINY)
    shards = root / "shard" / "windows"
    assert {row.subject for row in manifest_of(shards).subjects} == set(people)
    who = json.loads((root / "pretrain" / "people.json").read_text())["train"][0]
    exported(tmp_path, register, root, who)
    report, still = leave(register, root, who, capsys)
    assert [one["kind"] for one in report["artefacts"]] == ["shards", "encoder", "embedding table", "head"]
    assert still == [4, 3, 2, 1]
    named = [path for path in root.rglob("*") if path.is_file() and who.encode() in path.read_bytes()]
    assert named == []
    assert len(next_build(tmp_path, register, who, TINY).subjects) == 7


def simulated_people(count):
    from hdt_fm.schema import registry

    cohort = registry.build("cohorts", "synthetic", {"subjects": count, "hours": 0.05})
    return [visit.subject for visit in cohort.visits()]


def exported(tmp_path, register, root, who):
    """What the person gets is what the shards hold of them, and nothing of anybody else."""
    target = tmp_path / "for_them"
    words = ["consent", "export", str(register), f"subject={who}", f"root={root}", "--to", str(target)]
    assert main(words) == EXIT_OK
    folder = ShardFolder.open(root / "shard" / "windows")
    row = [one.subject for one in folder.manifest.subjects].index(who)
    mine = np.flatnonzero(folder.subject_rows == row)
    mine = mine[np.argsort(folder.t0_ns[mine])]
    batch = folder.gather(mine)
    (home,) = target.glob("windows_1_*")
    for name, signal in batch.signals.items():
        with (home / f"{name}.csv").open() as file:
            rows = list(csv.DictReader(file))
        column = next(key for key in rows[0] if key.startswith(f"{name}_0_"))
        got = np.array([float(one[column]) for one in rows])
        here = folder.present[mine, folder.modalities.index(name)]
        np.testing.assert_allclose(got, signal.values.numpy()[here][:, 0].ravel(), rtol=1e-6, atol=1e-6)
        assert {int(one["window"]) for one in rows} == set(folder.window_ids[mine[here]].tolist())
    others = {one.subject for one in folder.manifest.subjects} - {who}
    text = b"".join(path.read_bytes() for path in target.rglob("*") if path.is_file())
    assert not any(one.encode() in text for one in others)
    for place in (root / "mine", root / "shard" / "windows" / "mine", register / "mine"):
        assert main([*words[:-1], str(place)]) == 2
        assert not place.exists()
    assert main(words) == 2  # there already


@pytest.mark.real
def test_a_person_leaves_stress_predict(real_data, tmp_path, capsys):
    settings = [
        "experiment=stress_predict",
        f"source={real_data / 'stress_predict'}",
        "debug=tiny",
        "preparation.hop_s=60",
    ]
    paths = sorted((real_data / "stress_predict").rglob("S*.zip"))
    people = [SubjectKey.public().pseudonym("stress_predict", path.stem) for path in paths]
    register, root = begun(tmp_path, people, settings)
    who = json.loads((root / "pretrain" / "people.json").read_text())["train"][0]
    report, _ = leave(register, root, who, capsys)
    assert [one["remedy"] for one in report["artefacts"]] == [
        "delete and rebuild",
        "retrain",
        "delete and rebuild",
        "retrain",
    ]
    assert len(next_build(tmp_path, register, who, settings).subjects) == len(people) - 1
    assert os.listdir(register / "withdrawals")

"""Which artefacts a person touched, each class by a small record of its kind; what is still open after each step."""

import hashlib
import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import save_file

from data_pipelines.compact import compact
from data_pipelines.revoke import revoke
from hdt_fm.consent.entry import Said
from hdt_fm.consent.lineage import trace
from hdt_fm.consent.register import Register
from hdt_fm.consent.remedies import found_in, open_remedies, withdrawn_in_lineage, write_down
from hdt_fm.consent.scan import scan
from hdt_fm.schema.errors import ConfigError

MODEL, OTHER = "a" * 64, "b" * 64


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def record(folder, verb, following=("hdt-fm next experiment=x root=run",), **provenance):
    put(folder / "result.json", {"verb": verb, "next": list(following), "provenance": provenance})


@pytest.fixture
def run(made, tmp_path):
    """Shards of people 0 to 6 (training) and 7 to 9 (test), and all that was made of them."""
    root = tmp_path / "run"
    manifest = made.write_folder(root / "shard" / "windows")
    names = [row.subject for row in json_rows(root / "shard" / "windows")]
    digest = digest_of(root / "shard" / "windows")
    assert manifest is None or names
    record(root / "shard", "shard")
    put(root / "pretrain" / "people.json", {"train": names[:5], "validation": names[5:7], "test": names[7:]})
    record(root / "pretrain", "pretrain", shards=digest, model=MODEL)
    table(root / "embed" / "table", names, digest, MODEL)
    record(root / "embed", "embed", shards=digest, model=MODEL)
    record(root / "finetune", "finetune", shards=digest, encoder=MODEL)
    record(root / "evaluate", "evaluate", shards=digest, encoder=MODEL)
    record(root / "explain", "explain", shards=digest[:16])
    put(root / "explain" / "explanation.json", {"provenance": {"shards": digest[:16], "checkpoint": "c" * 16}})
    record(root / "publish", "publish")
    published(root / "publish" / "model", digest, MODEL)
    return root, names


def json_rows(folder):
    from data_pipelines.finished import manifest_of

    return manifest_of(folder).subjects


def digest_of(folder):
    return hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()


def table(folder, names, shards, model):
    folder.mkdir(parents=True)
    save_file({"subject": np.repeat(np.arange(len(names)), 3)}, folder / "embeddings.safetensors")
    put(folder / "table.json", {"subjects": names, "data_digest": shards, "model_digest": model})


def published(folder, shards, model):
    records = [{"verb": "pretrain", "provenance": {"shards": shards, "model": model}}]
    put(folder / "provenance.json", {"card": {}, "data": [], "records": records})
    put(folder / "SHA256SUMS", f"{hashlib.sha256(model.encode()).hexdigest()}  model.safetensors\n")


def remedies(root, subject, entries=()):
    return {(one.kind, one.remedy) for one in trace(subject, scan([root], [subject]), entries)}


ALL = {
    ("shards", "delete and rebuild"),
    ("encoder", "retrain"),
    ("embedding table", "delete and rebuild"),
    ("head", "retrain"),
    ("evaluation", "none needed"),
    ("attribution report", "delete and rebuild"),
    ("publication", "withdraw from publication"),
    ("publication", "cannot be undone"),
}


def test_each_kind_has_its_remedy(run):
    root, names = run
    # Who only watched over training helped to choose the weights.
    assert remedies(root, names[0]) == remedies(root, names[6]) == ALL
    assert remedies(root, names[8]) == {
        ("shards", "delete and rebuild"),
        ("encoder", "none needed"),
        ("embedding table", "delete and rebuild"),
        ("head", "none needed"),
        ("evaluation", "none needed"),
        ("attribution report", "delete and rebuild"),
        ("publication", "none needed"),
    }
    assert remedies(root, "s" + "0" * 32) == set()
    found = {one.kind: one for one in trace(names[0], scan([root]), ())}
    assert found["encoder"].commands == (f"rm -r {root}/pretrain", "hdt-fm pretrain experiment=x root=run")
    assert not any(names[0] in text for one in found.values() for text in (one.why, *one.commands))
    assert [one.kind for one in trace(names[0], scan([root]), ())][:3] == ["shards", "encoder", "embedding table"]


@pytest.fixture
def left(run, tmp_path):
    """A register whose first person left, with what was found written down."""
    root, names = run
    register = Register.create(tmp_path / "register")
    register.add([Said(kind="withdrawn", subject=names[0])])
    artefacts = found_in([root], names[:1])
    write_down(register, names[0], artefacts, trace(names[0], artefacts, register.entries))
    return root, names, register


def kinds(register, root):
    return sorted((one.kind, one.remedy) for one in open_remedies(register, [root]))


def test_what_is_open_is_what_lies_on_disk(left, tmp_path):
    """Mended in turn; nothing but the disk says that a step is done."""
    root, names, register = left
    assert set(kinds(register, root)) == ALL - {("evaluation", "none needed")}
    (tmp_path / "gone.txt").write_text(names[0])
    shards = root / "shard" / "windows"
    revoke(shards, tmp_path / "gone.txt")
    assert ("shards", "delete and rebuild") in kinds(register, root)
    compact(shards)
    assert "shards" not in dict(kinds(register, root))
    # The folder has another digest now; that runs were made of the old one is known by the register.
    assert {"encoder", "head", "attribution report", "embedding table"} <= dict(kinds(register, root)).keys()
    new, there = digest_of(shards), [row.subject for row in json_rows(shards)]
    put(root / "pretrain" / "people.json", {"train": there[:5], "validation": there[5:7], "test": there[7:]})
    record(root / "pretrain", "pretrain", shards=new, model=OTHER)
    assert "encoder" not in dict(kinds(register, root))
    # The head and the table of the encoder that is gone are found by what was written down.
    assert {"head", "embedding table", "publication"} <= dict(kinds(register, root)).keys()
    (root / "embed" / "table" / "embeddings.safetensors").unlink()
    (root / "embed" / "table" / "table.json").unlink()
    (root / "embed" / "table").rmdir()
    table(root / "embed" / "table", there, new, OTHER)
    record(root / "finetune", "finetune", shards=new, encoder=OTHER)
    put(root / "explain" / "explanation.json", {"provenance": {"shards": new[:16]}})
    copies = open_remedies(register, [root])[-1].digest
    published(root / "publish" / "model", new, OTHER)
    (only,) = open_remedies(register, [root])
    assert (only.remedy, only.digest) == ("cannot be undone", copies)
    register.add([Said(kind="settled", published=(copies,), told="users, by a notice on the page")])
    assert open_remedies(register, [root]) == []


def test_a_head_whose_encoder_is_gone_is_taught_anew(left):
    root, names, register = left
    bare = Register.create(register.folder.with_name("bare"))
    bare.add([Said(kind="withdrawn", subject=names[8])])
    (root / "pretrain" / "people.json").unlink()
    # Nobody can say any more that the head and the publication were kept from the person.
    found = dict(kinds(bare, root))
    assert found["head"] == "retrain"
    assert ("publication", "withdraw from publication") in kinds(bare, root)


def test_people_beside_a_checkpoint_and_in_shards(left):
    root, names, register = left
    checkpoint, shards = root / "pretrain" / "checkpoint", root / "shard" / "windows"
    reasons = withdrawn_in_lineage(register.folder, checkpoint, [shards])
    assert len(reasons) == 2
    assert all(reason.startswith("1 people") for reason in reasons)
    assert not any(names[0] in reason for reason in reasons)
    register.add([Said(kind="given", subject=names[0], scope=("GRU",), version="2")])
    assert withdrawn_in_lineage(register, checkpoint, [shards]) == []
    register.add([Said(kind="withdrawn", subject=names[8])])
    # Tested on the person only: the encoder is fine, the shards are not.
    assert len(withdrawn_in_lineage(register, checkpoint, [shards])) == 1
    put(root / "pretrain" / "people.json", "{")
    with pytest.raises(ConfigError, match="list of people"):
        withdrawn_in_lineage(register, checkpoint)


def test_lines_twins_exports_and_files(tmp_path):
    who = "s" + "1" * 32
    root = tmp_path / "runs"
    domain = {"name": "a", "shards": "d" * 64, "asked": [], "teachers": []}
    for name, parts in (("taught", {"teachers": [who]}), ("asked", {"asked": [who]}), ("none", {})):
        put(root / name / "ledger.jsonl", '{"facts": {}}\n')
        put(root / name / "versions" / "000001" / "domains.json", {"domains": [domain | parts]})
    put(root / "remembers" / "ledger.jsonl", "{}\n")
    put(root / "remembers" / "versions" / "000001" / "domains.json", {"domains": [domain]})
    put(root / "remembers" / "versions" / "000001" / "memory.json", {"names": [who]})
    digest = hashlib.sha256(f"salt {who}".encode()).hexdigest()
    put(root / "twin" / "ledger.jsonl", "{}\n")
    put(root / "twin" / "versions" / "000001" / "twin.json", {"salt": "salt", "whose": {"cohort": digest}})
    put(root / "sealed" / "ledger.jsonl", '{"sealed": true}\n')
    put(root / "export" / "export.json", {"subject": who})
    put(root / "export" / "readme.txt", who)
    put(root / "notes.txt", f"we met {who}.")
    put(root / "windows" / ".work" / "cut.json", {"subject": who})
    put(root / "others.txt", f"we met {who}0.")
    put(root / "broken" / "table.json", "{}")
    found = {one.place.removeprefix(f"{root}/"): one.remedy for one in trace(who, scan([root], [who]), ())}
    assert found == {
        "taught": "retrain",
        "asked": "delete and rebuild",
        "remembers": "delete and rebuild",
        "twin": "delete and rebuild",
        "export": "delete and rebuild",
        "notes.txt": "delete and rebuild",
        "windows/.work": "delete and rebuild",
    }
    unreadable = {one.place.name: one.note for one in scan([root], [who]) if one.kind == "unreadable"}
    assert unreadable.keys() == {"sealed", "broken"}
    # Once withdrawn from the line they are named nowhere, and the head was taught with them all the same.
    put(root / "taught" / "ledger.jsonl", '{"facts": {"had taught the head": 1}}\n')
    put(root / "taught" / "versions" / "000001" / "domains.json", {"domains": [domain]})
    traced = [Said(kind="traced", subject=who, shards=("d" * 64,))]
    again = {one.place.removeprefix(f"{root}/"): one.remedy for one in trace(who, scan([root], [who]), traced)}
    assert again["taught"] == "retrain"
    assert "none" not in again


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no folder here"):
        found_in([tmp_path / "nowhere"], ())


def test_sealed_shards_are_read_with_the_key_and_never_passed_over(run, tmp_path, monkeypatch):
    pyrage = pytest.importorskip("pyrage")
    from data_pipelines.sealing import rewrite

    key = pyrage.x25519.Identity.generate()
    for name, told in (("RECIPIENTS", key.to_public()), ("IDENTITY", key)):
        monkeypatch.delenv(f"HDT_FM_{name}_FILE", raising=False)
        monkeypatch.setenv(f"HDT_FM_{name}", str(told))
    root, names = run
    folder = root / "shard" / "windows"
    rewrite(folder, root / "shard" / "sealed")
    plain, sealed = (next(iter(scan([one]))) for one in (folder, root / "shard" / "sealed"))
    assert (sealed.kind, sealed.holds, sealed.makes) == (plain.kind, plain.holds, plain.makes) != ("shards", set(), "")
    shutil.rmtree(folder)
    # The digest is the same, so what was made of the plain folder is found by way of the sealed one.
    assert remedies(root, names[1]) == ALL
    register = Register.create(tmp_path / "register")
    register.add([Said(kind="withdrawn", subject=names[1])])
    assert withdrawn_in_lineage(tmp_path / "register", root / "pretrain" / "checkpoint", [root / "shard" / "sealed"])
    (root / "shard" / "sealed" / "quarantine.json.age").write_bytes(b"who was lost")
    assert "sealed list" in [one.note for one in scan([root / "shard" / "sealed"])][-1]
    (root / "shard" / "sealed" / "quarantine.json.age").unlink()
    monkeypatch.delenv("HDT_FM_IDENTITY")
    (found,) = scan([root / "shard" / "sealed"])
    assert (found.kind, found.note) == ("unreadable", "a record of shards that cannot be read (ConfigError)")

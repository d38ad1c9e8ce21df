"""`hdt-fm publish card | check | verify | sign | seal | open` as a user types them, and cards of the experiments."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

import hdt_fm
from hdt_fm.audit.record import AUDIT_NAME, PrivacyAudit
from hdt_fm.checkpoint import build_model, model_digest, save_model
from hdt_fm.cli.compose import compose_config
from hdt_fm.cli.config_files import config_root, group_names
from hdt_fm.cli.main import EXIT_OK, EXIT_USER_ERROR, main
from hdt_fm.cli.publish import card_of
from hdt_fm.cli.publish_words import EXIT_REFUSED
from hdt_fm.cli.settings import PublishSettings
from hdt_fm.cli.workflow import encoder_digest
from hdt_fm.report.card_facts import OWED, read_card
from hdt_fm.report.data_facts import DataFacts
from hdt_fm.report.evidence import read_audit
from hdt_fm.report.publish import assemble
from hdt_fm.report.rules.card_words import placeholder_fields
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.manifest import ModelConfig, Part, Preprocess
from hdt_fm.schema.preparation import ModalityPreparation, Preparation
from hdt_fm.schema.result import Result, Row, RunRecord
from hdt_fm.schema.shard import ModalityColumn

COLUMNS = (ModalityColumn(name="ppg", unit="au", channels=1, sampling_rate_hz=16, samples=160, encoding="f32"),)
CARDS = config_root() / "experiment" / "cards"


@pytest.fixture(scope="module")
def assembled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a tiny model, with the card of the demo."""
    tmp_path = tmp_path_factory.mktemp("published")
    config = ModelConfig(
        modalities=COLUMNS,
        encoder=Part(name="patch_transformer", args={"width": 8, "depth": 1, "heads": 2, "patch_points": 4}),
        projection=Part(name="projection", args={"dim": 4}),
        statistics={"ppg": (0.0, 3.0)},
        window_s=10,
    )
    preparation = Preparation(window_s=10, hop_s=5, modalities={"ppg": ModalityPreparation(sampling_rate_hz=16)})
    save_model(
        build_model(config), tmp_path / "saved", preprocess=Preprocess(preparation=preparation, modalities=COLUMNS)
    )
    model = hdt_fm.load(tmp_path / "saved")
    row = Row(what="stress", model="encoder", metric="auroc", value=0.7, low=0.6, high=0.8, n=14)
    beside = row.model_copy(update={"model": "dummy", "role": "baseline", "value": 0.5})
    protocol = {"model_digest": encoder_digest(model)}
    result = Result(name="stress", protocol=protocol, rows=(row, beside), required_baselines=("dummy",))
    counts = {"people": 14, "visits": 14, "hours": 1.0, "windows": 9, "windows_possible": 9, "quarantined": 0}
    data = DataFacts(
        **counts,
        cohort="made up",
        licence="MIT",
        source="a program",
        window_s=10.0,
        hop_s=5.0,
        labels=("stress",),
        consent="all",
        covariates={},
        config_digest="c" * 64,
        input_digest="d" * 64,
    )
    return assemble(
        tmp_path / "saved",
        records=[RunRecord(verb="evaluate", name="tiny", outputs={}, seconds=1.0, results=(result,))],
        data=[data],
        card_facts=read_card([CARDS / "house.yaml", CARDS / "demo.yaml"], name="tiny"),
        folder=tmp_path / "model",
        reload=lambda folder: {encoder_digest(hdt_fm.load(folder)), model_digest(hdt_fm.load(folder))},
    )


@pytest.fixture
def published(assembled: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may spoil."""
    return Path(shutil.copytree(assembled, tmp_path / "model"))


def test_a_card_is_written_filled_in_and_never_over_another(tmp_path: Path, capsys) -> None:
    path = tmp_path / "new" / "card.yaml"
    assert main(["publish", "card", "--to", str(path), "--json"]) == EXIT_OK
    assert json.loads(capsys.readouterr().out)["card"] == str(path)
    assert "contact" in yaml.safe_load(path.read_text())
    assert main(["publish", "card", "--to", str(path)]) == EXIT_USER_ERROR
    assert "something at this place" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["card", "check", "verify", "sign", "seal", "open"])
def test_each_word_says_what_it_takes(word: str, capsys) -> None:
    assert main(["publish", word]) == EXIT_OK
    assert f"usage: hdt-fm publish {word}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "a", "b"], "is not called like this"),
        (["check", "none"], "no published folder"),
        (["verify", "none"], "no published folder"),
        (["check", "none", "forbidde=x"], "did you mean 'forbidden'"),
        (["check", "none", "forbidden="], "is not called like this"),
        (["sign", "none", "key=secret"], "Unknown setting 'key'"),
        (["card", "to="], "is not called like this"),
        (["seal", "none"], "is not called like this"),
        (["open", "none"], "is not called like this"),
        (["open", "none", "to=x", "forbidden=y"], "Unknown setting 'forbidden'"),
    ],
)
def test_a_mistake_is_named(arguments: list[str], words: str, capsys) -> None:
    assert main(["publish", *arguments]) == EXIT_USER_ERROR
    assert words in capsys.readouterr().err


def test_check_says_each_reason_by_its_rule(published: Path, tmp_path: Path, capsys) -> None:
    assert main(["publish", "check", str(published)]) == EXIT_OK
    assert "may go out         True" in capsys.readouterr().out
    (tmp_path / "ids.txt").write_text("P07\nprogram\n")
    arguments = ["publish", "check", str(published), f"forbidden={tmp_path / 'ids.txt'}", "--json"]
    assert main(arguments) == EXIT_REFUSED
    told = json.loads(capsys.readouterr().out)
    assert list(told["problems"]) == ["nothing private"]
    assert main(["publish", "check", str(published), f"forbidden={tmp_path / 'none.txt'}"]) == EXIT_USER_ERROR
    assert "cannot be read" in capsys.readouterr().err


def test_verify_loads_and_reproduces_and_sign_holds_every_file(
    published: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("model_signing", reason="model-signing (extra signing) is not installed")
    private, public = key_files(tmp_path)
    assert main(["publish", "verify", str(published), "--json"]) == EXIT_OK
    told = json.loads(capsys.readouterr().out)
    assert (told["signature"], told["stored embedding"], told["checksums"]) == ("none", "reproduced", "fit")
    assert main(["publish", "verify", str(published), f"key={public}"]) == EXIT_REFUSED
    assert "there is no model.sig" in capsys.readouterr().out
    assert main(["publish", "sign", str(published)]) == EXIT_USER_ERROR
    assert "HDT_FM_SIGNING_KEY_FILE" in capsys.readouterr().err
    monkeypatch.setenv("HDT_FM_SIGNING_KEY_FILE", str(private))
    assert main(["publish", "sign", str(published)]) == EXIT_OK
    assert main(["publish", "verify", str(published), f"key={public}"]) == EXIT_OK
    assert "is of this key" in capsys.readouterr().out
    with (published / "README.md").open("a") as file:
        file.write("one more claim")
    assert main(["publish", "verify", str(published), f"key={public}", "--json"]) == EXIT_REFUSED
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert {"checksums", "signature", "loads"} <= set(problems)
    assert main(["publish", "sign", str(published)]) == EXIT_REFUSED, "what may not go out is not signed"


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A recipient of whom the test has the secret key, and another secret key."""
    pytest.importorskip("pyrage", reason="pyrage (extra sealed) is not installed")
    from hdt_fm.schema.age import new_identity

    for name in ("RECIPIENTS", "IDENTITY"):
        monkeypatch.delenv(f"HDT_FM_{name}_FILE", raising=False)
    (secret, public), (other, _) = new_identity(), new_identity()
    monkeypatch.setenv("HDT_FM_RECIPIENTS", public)
    monkeypatch.setenv("HDT_FM_IDENTITY", secret)
    return {"secret": secret, "public": public, "other": other}


def test_seal_and_open_as_a_maker_and_a_receiver_do(
    published: Path, tmp_path: Path, keys: dict[str, str], capsys
) -> None:
    sealed, back = tmp_path / "out" / "model.tar.age", tmp_path / "back"
    assert main(["publish", "seal", str(published), f"to={sealed}", "--json"]) == EXIT_OK
    told = json.loads(capsys.readouterr().out)
    assert told == {"sealed": str(sealed), "files": len(list(published.iterdir())), "recipients": 1}
    assert main(["publish", "open", str(sealed), "--to", str(back), "--json"]) == EXIT_OK
    told = json.loads(capsys.readouterr().out)
    assert (told["checksums"], told["stored embedding"], told["problems"]) == ("fit", "reproduced", {})
    assert {path.name: path.read_bytes() for path in back.iterdir()} == {
        path.name: path.read_bytes() for path in published.iterdir()
    }
    for arguments in (["seal", str(published), f"to={sealed}"], ["open", str(sealed), f"to={back}"]):
        assert main(["publish", *arguments]) == EXIT_USER_ERROR
        assert "something at this place" in capsys.readouterr().err


def test_what_may_not_go_out_is_not_sealed(published: Path, tmp_path: Path, keys: dict[str, str], capsys) -> None:
    sealed = tmp_path / "model.tar.age"
    (tmp_path / "ids.txt").write_text("program\n")
    assert (
        main(["publish", "seal", str(published), f"to={sealed}", f"forbidden={tmp_path / 'ids.txt'}"]) == EXIT_REFUSED
    )
    assert "nothing private" in capsys.readouterr().out
    with (published / "README.md").open("a") as file:
        file.write("one more claim")
    assert main(["publish", "seal", str(published), f"to={sealed}"]) == EXIT_REFUSED
    assert not sealed.exists()


def test_keys_that_are_missing_or_anothers_do_not_show(
    published: Path, tmp_path: Path, keys: dict[str, str], capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed = tmp_path / "model.tar.age"
    monkeypatch.delenv("HDT_FM_RECIPIENTS")
    assert main(["publish", "seal", str(published), f"to={sealed}"]) == EXIT_USER_ERROR
    monkeypatch.setenv("HDT_FM_RECIPIENTS", keys["secret"])
    assert main(["publish", "seal", str(published), f"to={sealed}"]) == EXIT_USER_ERROR
    said = capsys.readouterr().err
    assert "HDT_FM_RECIPIENTS" in said
    assert "no public key of age" in said
    assert not sealed.exists()
    monkeypatch.setenv("HDT_FM_RECIPIENTS", keys["public"])
    assert main(["publish", "seal", str(published), f"to={sealed}"]) == EXIT_OK
    for told, words in ((None, "no key is set"), (keys["other"], "got: another key"), ("AGE-SECRET-KEY-1X", "is no")):
        monkeypatch.delenv("HDT_FM_IDENTITY", raising=False)
        if told:
            monkeypatch.setenv("HDT_FM_IDENTITY", told)
        assert main(["publish", "open", str(sealed), f"to={tmp_path / 'back'}"]) == EXIT_USER_ERROR
        captured = capsys.readouterr()
        said += captured.out + captured.err
        assert words in captured.err
    assert not (tmp_path / "back").exists()
    assert not [key for key in (keys["secret"], keys["other"]) if key in said]


def test_an_opened_folder_that_is_not_whole_is_said(
    published: Path, tmp_path: Path, keys: dict[str, str], capsys
) -> None:
    """Whoever knows a public key can seal for it: authentic to age, and still no model."""
    from hdt_fm.report.bundle import seal_folder

    with (published / "README.md").open("a") as file:
        file.write("one more claim")
    seal_folder(published, tmp_path / "model.tar.age", [keys["public"]])
    assert (
        main(["publish", "open", str(tmp_path / "model.tar.age"), f"to={tmp_path / 'back'}", "--json"]) == EXIT_REFUSED
    )
    assert "checksums" in json.loads(capsys.readouterr().out)["problems"]


def key_files(home: Path) -> tuple[Path, Path]:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP384R1())
    private, public = home / "private.pem", home / "public.pem"
    plain = serialization.NoEncryption()
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, form))
    return private, public


def test_verify_finds_a_folder_whose_provenance_is_of_another_model(published: Path, capsys) -> None:
    path = published / "provenance.json"
    record = json.loads(path.read_text()) | {"model_digests": ["f" * 64]}
    path.write_text(json.dumps(record))
    assert main(["publish", "verify", str(published), "--json"]) == EXIT_REFUSED
    assert "checksums" in json.loads(capsys.readouterr().out)["problems"]


@pytest.mark.parametrize("name", sorted(path.stem for path in CARDS.glob("*.yaml") if path.stem != "house"))
def test_the_card_of_each_experiment_is_complete(name: str) -> None:
    assert name in group_names("experiment")
    config = compose_config("publish", [f"experiment={name}"])
    told = card_of(config.section("publish", PublishSettings), name)
    assert [field for field in OWED if not getattr(told, field)] == []
    assert placeholder_fields(told) == []
    simulated = name == "demo"
    assert (told.privacy_audit == "none") == simulated, "an experiment on people owes an audit"


def test_what_the_audit_writes_is_what_the_card_reads(tmp_path: Path) -> None:
    """Two rooms that may not import each other keep one contract."""
    written = PrivacyAudit(
        model="m",
        encoder="e",
        shards=("s",),
        config="c",
        protocol={},
        rows=({"metric": "auroc", "value": float("nan")}, {"value": "not resolvable"}),
        found=("Nothing above chance.",),
    )
    (tmp_path / AUDIT_NAME).write_text(written.model_dump_json())
    read = read_audit(tmp_path)
    assert read is not None
    assert (read.model, read.encoder, read.found) == ("m", "e", written.found)
    assert [row["value"] for row in read.rows] == ["NaN", "not resolvable"]


def test_without_a_card_it_says_how_to_get_one() -> None:
    settings = compose_config("publish", []).section("publish", PublishSettings)
    with pytest.raises(ConfigError, match="publish card --to"):
        card_of(settings, "run")


def test_check_asks_a_register_who_left_and_names_nobody(
    assembled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    who = ["s" + "1" * 32, "s" + "2" * 32]
    register, saved = tmp_path / "register", tmp_path / "saved"
    shutil.copytree(assembled.parent / "saved", saved)
    (tmp_path / "people.json").write_text(json.dumps({"train": who, "validation": [], "test": []}))
    (tmp_path / "who.txt").write_text("\n".join(who))
    given = ["--subjects", str(tmp_path / "who.txt"), "scope=DUO:0000042", "version=1"]
    assert main(["consent", "new", str(register)]) == EXIT_OK
    assert main(["consent", "give", str(register), *given]) == EXIT_OK
    check = ["publish", "check", str(assembled), f"consent={register}"]
    made_from = [f"checkpoint={saved}"]
    assert main([*check, *made_from]) == EXIT_OK
    assert main(["consent", "withdraw", str(register), f"subject={who[0]}"]) == EXIT_OK
    capsys.readouterr()
    assert main([*check, *made_from]) == EXIT_REFUSED
    told = capsys.readouterr()
    assert "1 people whom the encoder learned from have withdrawn" in told.out
    assert who[0] not in told.out + told.err
    assert main(check) == EXIT_USER_ERROR
    assert "expected: checkpoint=FOLDER" in capsys.readouterr().err
    other = build_model(hdt_fm.load(saved).config, seed=5)
    save_model(other, tmp_path / "other", preprocess=hdt_fm.checkpoint.load_preprocess(saved))
    assert main([*check, f"checkpoint={tmp_path / 'other'}"]) == EXIT_USER_ERROR
    assert "not what was published" in capsys.readouterr().err

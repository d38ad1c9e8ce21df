"""A signature by the lab's own key: every file is held by it, and nobody else's key makes it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hdt_fm.checkpoint import load
from hdt_fm.report import signature
from hdt_fm.report.check import check
from hdt_fm.report.publish import assemble
from hdt_fm.report.signature import sign, signature_problems
from hdt_fm.schema.errors import PublishError

pytest.importorskip("model_signing", reason="model-signing (extra signing) is not installed")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two labs: private PEM, and a file with the public one."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    home, made = tmp_path_factory.mktemp("keys"), {}
    for name in ("ours", "theirs"):
        key = ec.generate_private_key(ec.SECP256R1())
        made[name] = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        public = home / f"{name}.pem"
        public.write_bytes(
            key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
        made[f"{name} public"] = public
    return made


def test_a_signed_folder_is_that_of_its_key_still_good_and_still_loads(published: Path, keys: dict) -> None:
    assert sign(published, keys["ours"].strip()) == published / "model.sig"
    assert signature_problems(published, keys["ours public"]) == []
    assert check(published) == []
    load(published)
    (problem,) = signature_problems(published, keys["theirs public"])
    assert "is not this key's signature" in problem
    assert str(published) not in problem
    assert "PRIVATE" not in (published / "model.sig").read_text()
    assert [path.name for path in published.parent.iterdir()] == ["model"]


def test_a_folder_may_be_named_from_where_one_stands(
    published: Path, keys: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(published.parent)
    sign(Path("model"), keys["ours"])
    assert signature_problems(Path("model"), keys["ours public"]) == []
    assert signature_problems(published, keys["ours public"]) == []


@pytest.mark.parametrize("change", ["changed", "added", "hidden", "git", "gone", "sums", "forged", "empty", "none"])
def test_what_is_changed_added_or_gone_is_found(published: Path, keys: dict, resum: Any, change: str) -> None:
    sign(published, keys["ours"])
    if change == "changed":
        with (published / "README.md").open("a") as file:
            file.write("x")
        resum(published)
    elif change in ("added", "hidden", "git"):
        path = published / {"added": "notes.txt", "hidden": ".hidden", "git": ".gitattributes"}[change]
        path.write_text("x")
        resum(published)
    elif change == "gone":
        (published / "LICENSE").unlink()
        resum(published)
    elif change == "sums":
        (published / "SHA256SUMS").write_text("")
    elif change == "none":
        (published / "model.sig").unlink()
    else:
        (published / "model.sig").write_text("{}" if change == "forged" else "")
    assert len(signature_problems(published, keys["ours public"])) == 1


def test_a_key_that_cannot_sign_speaks_and_is_not_quoted(published: Path, keys: dict, tmp_path: Path) -> None:
    for wrong in ("secret words", keys["ours"][:120], keys["ours public"].read_text()):
        with pytest.raises(PublishError, match="cannot be signed") as caught:
            sign(published, wrong)
        assert wrong[:40] not in str(caught.value)
    assert not (published / "model.sig").exists()
    sign(published, keys["ours"])
    (tmp_path / "no.pem").write_text("no key")
    with pytest.raises(PublishError, match="no public key"):
        signature_problems(published, tmp_path / "no.pem")


def test_a_signature_outlives_the_same_bytes_and_no_others(
    checkpoint: Path, published: Path, publish_inputs: Any, card_facts: Any, keys: dict
) -> None:
    sign(published, keys["ours"])
    assemble(checkpoint, **publish_inputs(), folder=published)
    assert (published / "model.sig").is_file(), "model_digests are those of the loaded model, as before"
    other = card_facts.model_copy(update={"summary": "Another."})
    assemble(checkpoint, **publish_inputs(card_facts=other), folder=published)
    assert not (published / "model.sig").exists()


def test_without_the_extra_it_says_what_to_install(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "model_signing", None)
    with pytest.raises(PublishError, match=r"hdt-fm\[signing\]"):
        sign(published, "key")


def test_nothing_is_signed_at_import() -> None:
    code = "import sys, hdt_fm.report.signature, hdt_fm.report.check"
    code += "; print([m for m in ('model_signing', 'torch') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
    assert signature.KEY_VARIABLE == "HDT_FM_SIGNING_KEY"

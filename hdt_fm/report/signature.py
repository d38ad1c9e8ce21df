"""`model.sig`: a detached signature of a whole published folder by the lab's own key (model-signing, extra `signing`).

The signature holds a digest of every file, so a file that is changed, added or taken away is found.
"""

import tempfile
from pathlib import Path
from typing import Any

from hdt_fm.report.rules.folder import SIGNATURE_NAME
from hdt_fm.schema.errors import PublishError

KEY_VARIABLE = "HDT_FM_SIGNING_KEY"
_KEY_FORM = "an elliptic-curve key (P-256, P-384 or P-521) as PEM, without a password"


def sign(folder: Path, private_key: str) -> Path:
    """Write `model.sig` into the folder.

    Args:
        private_key: PEM text; it is never written anywhere but into a file that only this process can read.

    Raises:
        PublishError: If the extra is missing or the key is none that can sign.
    """
    hashing, signing, _ = _library()
    folder = Path(folder).resolve()  # the library reads a relative path as one inside the folder
    target = folder / SIGNATURE_NAME
    fresh = folder.with_name(f".{folder.name}.sig")
    with tempfile.TemporaryDirectory() as home:
        key = Path(home) / "key"
        key.touch(mode=0o600)
        key.write_text(private_key if private_key.endswith("\n") else private_key + "\n")
        try:
            config = signing.Config().use_elliptic_key_signer(private_key=key)
            config.set_hashing_config(_hashed(hashing, folder)).sign(folder, fresh)
            fresh.replace(target)
        except (ValueError, TypeError) as error:
            raise PublishError(
                "The folder cannot be signed with this key",
                where=f"environment variable {KEY_VARIABLE} or {KEY_VARIABLE}_FILE",
                expected=_KEY_FORM,
                got=type(error).__name__,
                fix="openssl ecparam -name prime256v1 -genkey -noout -out FILE makes one",
            ) from None  # what the library says may quote the key
        finally:
            fresh.unlink(missing_ok=True)
    return target


def signature_problems(folder: Path, public_key: Path) -> list[str]:
    """Why the folder is not the one that was signed with this key; empty when it is.

    Raises:
        PublishError: If the extra is missing or the key is none.
    """
    hashing, _, verifying = _library()
    folder = Path(folder).resolve()
    if not (folder / SIGNATURE_NAME).is_file():
        return [f"there is no {SIGNATURE_NAME}"]
    try:
        verifier = verifying.Config().use_elliptic_key_verifier(public_key=Path(public_key))
    except (ValueError, OSError) as error:
        raise PublishError(
            "This is no public key", where=Path(public_key).name, expected=_KEY_FORM, got=type(error).__name__
        ) from error
    try:
        verifier.set_hashing_config(_hashed(hashing, folder)).verify(folder, folder / SIGNATURE_NAME)
    except Exception as error:  # a forged file makes its parsers raise what they like; none of that is a signature
        said = (str(error).splitlines() or [""])[0] or type(error).__name__
        return [f"{SIGNATURE_NAME} is not this key's signature of this folder: {said.replace(str(folder), '').strip()}"]
    return []


def _hashed(hashing: Any, folder: Path) -> Any:
    """Everything but the signature; by default the library would pass over files of git."""
    return hashing.Config().set_ignored_paths(paths=[folder / SIGNATURE_NAME], ignore_git_paths=False)


def _library() -> tuple[Any, Any, Any]:
    try:
        from model_signing import hashing, signing, verifying
    except ImportError as error:
        raise PublishError(
            "Signatures need model-signing, which is not installed here", fix="pip install 'hdt-fm[signing]'"
        ) from error
    return hashing, signing, verifying

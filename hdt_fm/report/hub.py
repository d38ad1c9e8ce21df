"""The push of a published folder to a model hub; the only place of this package that sends anything anywhere."""

from dataclasses import dataclass
from pathlib import Path

from hdt_fm.report.check import check
from hdt_fm.report.documents.readme import NAME as CARD_NAME
from hdt_fm.schema.errors import PublishError


@dataclass(frozen=True)
class Push:
    """What was, or with `dry_run` would be, sent.

    Attributes:
        files: Name and size in bytes of each file.
        url: Of the commit; empty for a dry run.
    """

    repo_id: str
    private: bool
    files: tuple[tuple[str, int], ...]
    url: str = ""


def push_to_hub(
    folder: Path,
    repo_id: str,
    *,
    private: bool = True,
    token: str | None = None,
    endpoint: str | None = None,
    dry_run: bool = False,
) -> Push:
    """Send a published folder to a hub, after it passed `check`.

    Args:
        repo_id: `owner/name`.
        private: Whether a repository that has to be made is private.
        token: None takes the one that `hf auth login` left.
        endpoint: Address of another hub; None is the public one.
        dry_run: Check and list, send nothing.

    Raises:
        PublishError: If the folder has problems, the name is no repository name, or the hub refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from huggingface_hub.utils import validate_repo_id

    problems = check(folder)
    if problems:
        raise PublishError(
            "The folder is not sent as it stands",
            where=Path(folder).name,
            got="; ".join(problems),
            fix="publish it again",
        )
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise PublishError("This is no repository name", expected="owner/name", got=repo_id, where="repo_id") from error
    paths = sorted(path for path in Path(folder).iterdir() if path.is_file())
    files = tuple((path.name, path.stat().st_size) for path in paths)
    if dry_run:
        return Push(repo_id, private, files)
    api = HfApi(endpoint=endpoint, token=token)
    try:
        api.create_repo(repo_id, private=private, repo_type="model", exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=Path(folder),
            repo_type="model",
            commit_message=f"Publish {CARD_NAME} and weights with hdt_fm",
            allow_patterns=[path.name for path in paths],
            delete_patterns="*",
        )
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise PublishError(
            "The hub did not take the folder",
            where=repo_id,
            got=type(error).__name__,
            fix="check the token (hf auth login), the owner's name and the network; the folder here is unharmed",
        ) from error
    return Push(repo_id, private, files, url=str(commit.commit_url))

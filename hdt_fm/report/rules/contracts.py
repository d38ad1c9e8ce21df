"""Files that are records keep their contracts, and speak of the same signals."""

from collections.abc import Iterator

from hdt_fm.report.rules.folder import Folder
from hdt_fm.schema.manifest import CONFIG_NAME, PREPROCESS_NAME


def contracts_hold(folder: Folder) -> Iterator[str]:
    """A record that cannot be read; without it no rule about what it says can be asked."""
    if isinstance(folder.read, str):
        yield folder.read


def signals_agree(folder: Folder) -> Iterator[str]:
    """The model's signals against its signal contract."""
    if folder.facts and folder.facts.config.modalities != folder.facts.preprocess.modalities:
        yield f"{CONFIG_NAME} and {PREPROCESS_NAME} describe other signals"

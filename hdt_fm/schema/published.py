"""Models that come with hdt_fm, by name: beside the package in a checkout, inside it in a wheel."""

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from hdt_fm.schema.errors import CheckpointError

ROOM = "model_cards"
# As in `schema/manifest.py` and `report/check.py`, which are slow to import: `hdt-fm list` answers at once.
CONFIG_NAME, CARD_NAME = "config.json", "README.md"


def published() -> dict[str, Path]:
    """Folders of the models that are here, by name; nothing of them is read."""
    return {folder.name: folder for room in _rooms() for folder in sorted(room.iterdir()) if _is_model(folder)}


def find_model(folder: Path | str) -> Path:
    """The folder of a model; what is no path may be a name.

    Raises:
        CheckpointError: If it is a plain word that names neither a folder nor a model.
    """
    path = Path(folder)
    if path.exists() or path.name != str(folder):
        return path
    known = published()
    if path.name in known:
        return known[path.name]
    near = get_close_matches(path.name, known, n=1)
    raise CheckpointError(
        "There is no model of this name, and no such folder",
        where=path.name,
        expected=f"a folder, or one of: {', '.join(known) or 'no model comes with this installation'}",
        fix=f"did you mean {near[0]!r}?" if near else "give the path of a checkpoint folder",
    )


def _rooms() -> Iterator[Path]:
    package = Path(__file__).resolve().parents[1]
    yield from (room for room in (package.parent / ROOM, package / ROOM) if room.is_dir())


def _is_model(folder: Path) -> bool:
    return (folder / CONFIG_NAME).is_file()

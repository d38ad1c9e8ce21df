"""Every document is, to the byte, what the records give; and those for machines have what they must."""

from collections.abc import Iterator

from hdt_fm.report.documents import DOCUMENTS, chai
from hdt_fm.report.rules.folder import Folder
from hdt_fm.schema.errors import HdtError


def documents(folder: Folder) -> Iterator[str]:
    """Made again from the folder's own records and compared."""
    if not folder.facts or not folder.of_today:
        return
    for name, make in DOCUMENTS.items():
        path = folder.path / name
        if not path.is_file():
            continue
        try:
            wanted = make(folder.facts).encode()
        except HdtError as error:
            yield f"{name} cannot be made: {error.problem}"
            continue
        found = path.read_bytes()
        if found != wanted:
            lines = zip(found.splitlines(), wanted.splitlines(), strict=False)
            place = next((k for k, (a, b) in enumerate(lines, start=1) if a != b), len(found.splitlines()))
            yield f"{name} is not what the records give; it first differs in line {place}"


def chai_fields(folder: Folder) -> Iterator[str]:
    """Required fields of the CHAI card."""
    path = folder.path / chai.NAME
    if path.is_file():
        yield from chai.problems(path.read_text(encoding="utf-8", errors="replace"))

"""Every file is there, listed, and what its digest says; weights are weights."""

from collections.abc import Iterator
from pathlib import Path

from hdt_fm.report.documents import DOCUMENTS
from hdt_fm.report.facts import CHECKPOINT_NAMES, PROVENANCE_NAME, RESULT_NAME, digest_of
from hdt_fm.report.rules.folder import SIGNATURE_NAME, TENSORS, Folder, header_of
from hdt_fm.schema.manifest import SUMS_NAME

# What every published folder has had from the first.
FIRST = (*CHECKPOINT_NAMES, "README.md", RESULT_NAME, PROVENANCE_NAME, "LICENSE", SUMS_NAME)


def files_are_there(folder: Folder) -> Iterator[str]:
    """Files that the folder lacks; those that earlier folders never had are named by `earlier_release`."""
    wanted = dict.fromkeys((*FIRST, *DOCUMENTS)) if folder.of_today else FIRST
    missing = [name for name in wanted if not (folder.path / name).is_file()]
    if missing:
        yield f"missing: {', '.join(missing)}"


def earlier_release(folder: Folder) -> Iterator[str]:
    """A folder of an earlier hdt_fm: what it lacks by today's rules, in one line."""
    if folder.facts is not None and not folder.of_today:
        lacking = [name for name in DOCUMENTS if not (folder.path / name).is_file()]
        yield (
            f"published by an earlier hdt_fm (provenance version {folder.facts.version}); it still loads, but its "
            f"documents cannot be compared to the byte, and it lacks {', '.join(lacking) or 'nothing'}: publish again"
        )


def sums_fit(folder: Folder) -> Iterator[str]:
    """Files that SHA256SUMS does not list, lists without need, or no longer fits."""
    if (folder.path / SUMS_NAME).is_file():
        yield from verify_sums(folder.path)


def verify_sums(folder: Path) -> list[str]:
    """As `sums_fit`, of a folder. A signature is of the sums and so not among them."""
    listed = dict(_sum_lines(folder / SUMS_NAME))
    there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    for name in (SUMS_NAME, SIGNATURE_NAME):
        there.pop(name, None)
    problems = [f"{name} is not listed in {SUMS_NAME}" for name in sorted(there.keys() - listed.keys())]
    problems += [f"{SUMS_NAME} lists {name}, which is not there" for name in sorted(listed.keys() - there.keys())]
    for name in sorted(there.keys() & listed.keys()):
        if digest_of(there[name]) != listed[name]:
            problems.append(f"{name} differs from its digest in {SUMS_NAME}")
    return problems


def no_links(folder: Folder) -> Iterator[str]:
    """A name that leads out of the folder: what is handed out must be what was checked."""
    for path in sorted(folder.path.rglob("*")):
        if path.is_symlink():
            yield f"{folder.name_of(path)} is a link to somewhere else"


def weights_are_tensors(folder: Folder) -> Iterator[str]:
    """A pickle or anything else under a name of weights."""
    for path in folder.files:
        if path.suffix == TENSORS and header_of(path) is None:
            yield f"{folder.name_of(path)} is not a safetensors file"


def _sum_lines(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        digest, _, name = line.partition("  ")
        yield name, digest

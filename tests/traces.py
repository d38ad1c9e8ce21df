"""What a run left behind, read as someone would who looks for people, keys or the machine in it."""

import base64
import gzip
import io
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

_WANDB_BLOCK, _WANDB_HEADER = 32 << 10, 7
_DEEPEST = 4


def spellings(word: str) -> set[bytes]:
    """A word as bytes of a file: in UTF-8, UTF-16, and UTF-32 as numpy holds texts; in small letters."""
    return {word.lower().encode(code) for code in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le")}


def encodings_of_key(key: str) -> set[str]:
    """A key as it may be written beside its own form."""
    data = key.encode()
    return {key, data.hex(), base64.b64encode(data).decode().rstrip("="), repr(key)[1:-1]}


def files_below(*folders: Path) -> Iterator[Path]:
    """Every file, those behind links left out."""
    for folder in folders:
        yield from (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())


def found_in(paths: Iterable[Path], words: Mapping[str, str], *, below: Path) -> list[str]:
    """Where which word stands, in a name or in the content, and what kind of word it is.

    Args:
        words: Word, to the kind of thing that it is.
        below: Names of paths count from here.
    """
    spelt = [(form, word, kind) for word, kind in words.items() for form in spellings(word)]
    any_of = re.compile(b"|".join(sorted({re.escape(form) for form, _, _ in spelt}, key=len, reverse=True)))
    meant = {form: (word, kind) for form, word, kind in spelt}
    found = []
    for path in paths:
        name = path.relative_to(below).as_posix()
        for place, data in [(name, name.encode()), *layers(path.read_bytes(), name)]:
            for form in sorted({match.group() for match in any_of.finditer(data.lower())}):
                found.append("{}: {!r} in {}".format(*reversed(meant[form]), place))
    return found


def layers(data: bytes, name: str, depth: int = 0) -> Iterator[tuple[str, bytes]]:
    """The bytes of a file, and of what is packed in it: tar, zip (also a checkpoint of torch), gzip, parquet, wandb."""
    yield name, data
    if depth == _DEEPEST:
        return
    for within, inner in _opened(data):
        yield from layers(inner, f"{name}!{within}", depth + 1)


def _opened(data: bytes) -> Iterator[tuple[str, bytes]]:
    if data[:4] == b"PK\3\4":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            yield "names", "\n".join(archive.namelist()).encode()
            yield from ((one, archive.read(one)) for one in archive.namelist())
    elif data[:2] == b"\x1f\x8b":
        yield "gzip", gzip.decompress(data)
    elif data[:6] == b"\xfd7zXZ\0":
        yield "xz", lzma.decompress(data)
    elif data[257:262] == b"ustar":
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                file = archive.extractfile(member)
                yield member.name, file.read() if file else member.linkname.encode()
    elif data[:4] == b"PAR1":
        yield from _parquet(data)
    elif data[:4] == b":W&B":
        yield "records", _wandb(data)
    elif data[:5] == b"%PDF-":
        yield from _streams(data)


def _parquet(data: bytes) -> Iterator[tuple[str, bytes]]:
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(data))
    yield "metadata", repr(table.schema.metadata).encode() + repr(table.schema.names).encode()
    for name in table.column_names:
        yield name, "\n".join(map(str, table[name].to_pylist())).encode()


def _wandb(data: bytes) -> bytes:
    """Records without the headers that cut words in two."""
    blocks = [data[at : at + _WANDB_BLOCK] for at in range(0, len(data), _WANDB_BLOCK)]
    whole = bytearray()
    for number, block in enumerate(blocks):
        place = _WANDB_HEADER if number == 0 else 0
        while place + _WANDB_HEADER <= len(block):
            length = int.from_bytes(block[place + 4 : place + 6], "little")
            if not length and not block[place + 6]:
                break
            place += _WANDB_HEADER
            whole += block[place : place + length]
            place += length
    return bytes(whole)


def _streams(data: bytes) -> Iterator[tuple[str, bytes]]:
    for number, match in enumerate(re.finditer(rb"stream\r?\n(.*?)endstream", data, re.DOTALL)):
        try:
            yield f"stream {number}", zlib.decompress(match.group(1))
        except zlib.error:
            continue

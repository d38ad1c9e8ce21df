"""Age files of any size, a piece at a time, for what does not fit into memory; keys and their errors are `age.py`'s."""

from collections.abc import Sequence
from typing import Any, BinaryIO, Protocol, runtime_checkable

from hdt_fm.schema.age import MAX_HEADER, Identity
from hdt_fm.schema.errors import HdtError


@runtime_checkable
class Source(Protocol):
    """Gives bytes as they are asked for, none at its end."""

    def read(self, count: int = -1, /) -> bytes: ...


@runtime_checkable
class Sink(Protocol):
    """Takes bytes in order."""

    def write(self, data: bytes, /) -> int: ...


def seal_stream(source: Source, target: Sink, to: Sequence[str]) -> None:
    """Write an age file for these public keys.

    Args:
        to: Of `age.recipients`, which checked them.

    Raises:
        Exception: Whatever the source or the target raises, as it was raised.
    """
    import pyrage

    keys = [pyrage.x25519.Recipient.from_str(word) for word in to]
    _run(lambda read, write: pyrage.encrypt_io(read, write, keys), source, target)


def open_stream(
    source: BinaryIO, target: Sink, identity: Identity, *, where: str, wrong: type[HdtError], damaged: type[HdtError]
) -> None:
    """Write what an age file holds. Each piece is authentic when it comes, but only the return says that all came.

    Args:
        source: At its start, and able to go back there.
        wrong, damaged: Errors to raise for another key, and for bytes that were changed or cut off.

    Raises:
        ConfigError: If no key is set, it is none, or pyrage is missing.
        HdtError: `wrong` or `damaged`; and whatever source or target raises, as it was raised.
    """
    keys = identity.keys()
    import pyrage

    # The library reads a header to its end, however long it is.
    if b"\n--- " not in source.read(MAX_HEADER):
        raise damaged("This is no sealed file", where=where, expected="an age file", fix="get it from its maker again")
    source.seek(0)
    try:
        _run(lambda read, write: pyrage.decrypt_io(read, write, keys), source, target)
    except (pyrage.DecryptError, _ChangedError) as error:
        if "No matching keys" in str(error):
            raise wrong(
                "A sealed file cannot be opened",
                where=where,
                expected="the secret key of one of those that it was sealed for, in HDT_FM_IDENTITY",
                got="another key",
                fix="set HDT_FM_IDENTITY or HDT_FM_IDENTITY_FILE to the right one",
            ) from None
        raise damaged(
            "A sealed file was changed or cut off", where=where, fix="do not use it; get it from its maker again"
        ) from None


class _ChangedError(Exception):
    """What the library says by an OSError of its own."""


class _End:
    """One end of a stream as the library is lent it; it keeps what was raised, which the library would reword."""

    def __init__(self, end: Any) -> None:
        self._end = end
        self.raised: BaseException | None = None

    def read(self, count: int = -1) -> bytes:
        return bytes(self._kept(self._end.read, count))

    def write(self, data: bytes) -> int:
        self._kept(self._end.write, data)
        return len(data)

    def flush(self) -> None:
        """Whoever opened the file closes it."""

    def _kept(self, do: Any, argument: Any) -> Any:
        try:
            return do(argument)
        except BaseException as error:
            self.raised = error
            raise


def _run(do: Any, source: Any, target: Any) -> None:
    ends = _End(source), _End(target)
    try:
        do(*ends)
    except BaseException as error:
        for end in ends:
            if end.raised is not None:
                raise end.raised from None
        if isinstance(error, OSError):
            raise _ChangedError(str(error)) from None
        raise

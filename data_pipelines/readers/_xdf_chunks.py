"""XDF bytes are walked before the library reads them: it guesses its way through damage, and believes every size."""

import re
from dataclasses import dataclass
from xml.etree import ElementTree

from hdt_fm.schema.errors import ReaderError

MAGIC = b"XDF:"
_SAMPLE_BYTES = {"int8": 1, "int16": 2, "int32": 4, "int64": 8, "float32": 4, "double64": 8, "string": 1}
_FILE_HEADER, _STREAM_HEADER, _SAMPLES, _CLOCK_OFFSET, _BOUNDARY, _FOOTER = 1, 2, 3, 4, 5, 6
_MAX_CHANNELS = 4096
_MAX_XML = 4 << 20


@dataclass
class Stream:
    """What a stream's header promises, and how many samples its chunks say they hold."""

    channels: int
    bytes_a_value: int
    samples: int = 0


def check_chunks(data: bytes) -> dict[int, Stream]:
    """Streams of a file whose chunks are whole and whose sizes fit into it.

    Raises:
        ReaderError: If it is truncated or damaged, or its metadata would have to be expanded.
    """
    streams: dict[int, Stream] = {}
    position = len(MAGIC)
    while position < len(data):
        begin, end = _extent(data, position)
        tag, content = int.from_bytes(data[begin : begin + 2], "little"), begin + 2
        position = end
        if tag in (_FILE_HEADER, _STREAM_HEADER, _FOOTER):
            text = data[content + (0 if tag == _FILE_HEADER else 4) : end]
            _check_text(text)
        if tag == _STREAM_HEADER:
            streams[_stream_id(data, content, end)] = _promised(text)
        elif tag in (_SAMPLES, _CLOCK_OFFSET, _FOOTER):
            stream = streams.get(_stream_id(data, content, end))
            if stream is None:
                raise _damaged("A chunk belongs to no stream")
            if tag == _CLOCK_OFFSET and end - content != 20:
                raise _damaged("A clock offset has the wrong size")
            if tag == _SAMPLES:
                count, first = _number(data, content + 4, end)
                if count * (1 + stream.channels * stream.bytes_a_value) > end - first:
                    raise _damaged("A chunk says that it holds more samples than it can")
                stream.samples += count
        elif tag not in (_FILE_HEADER, _BOUNDARY):
            raise _damaged("A chunk is of no known kind")
    return streams


def _extent(data: bytes, position: int) -> tuple[int, int]:
    length, begin = _number(data, position, len(data))
    if length < 2 or begin + length > len(data):
        raise _damaged("A chunk ends behind the end of the file")
    return begin, begin + length


def _number(data: bytes, position: int, end: int) -> tuple[int, int]:
    """A number of 1, 4 or 8 bytes, told by the byte before it, and where the next thing begins."""
    size = data[position] if position < end else 0
    if size not in (1, 4, 8) or position + 1 + size > end:
        raise _damaged("A size is cut off or of no known form")
    return int.from_bytes(data[position + 1 : position + 1 + size], "little"), position + 1 + size


def _stream_id(data: bytes, position: int, end: int) -> int:
    if position + 4 > end:
        raise _damaged("A chunk is too short for what it is")
    return int.from_bytes(data[position : position + 4], "little")


def _check_text(text: bytes) -> None:
    if len(text) > _MAX_XML or re.search(rb"<!(DOCTYPE|ENTITY)", text):
        raise ReaderError(
            "The XDF file's metadata is not to be trusted",
            expected="plain XML without a document type",
            fix="do not open this file; record or export it again",
        )


def _promised(text: bytes) -> Stream:
    try:
        info = ElementTree.fromstring(text.decode("utf-8", "replace"))
        channels = int(info.findtext("channel_count") or 0)
    except (ElementTree.ParseError, ValueError, RecursionError):
        raise _damaged("A stream's header cannot be read") from None
    size = _SAMPLE_BYTES.get(info.findtext("channel_format") or "")
    if not 0 < channels <= _MAX_CHANNELS or size is None:
        raise _damaged("A stream's header has no sensible number or format of channels")
    return Stream(channels, size)


def _damaged(problem: str) -> ReaderError:
    return ReaderError(
        "The XDF file is truncated or damaged",
        got=problem,
        expected="a whole file, closed by its recorder",
        fix="copy it again; a recorder that was killed leaves a broken last chunk",
    )

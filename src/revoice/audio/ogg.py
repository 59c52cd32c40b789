"""Whether an Ogg file is whole. Its decoder skips damaged pages, and takes the last whole page for the end.

An Ogg file is a row of pages, each with a checksum and a number (RFC 3533); the last page of a stream says so.
"""

import struct
import zlib
from functools import lru_cache
from pathlib import Path

from revoice.errors import UserError

_HEAD = struct.Struct("<4sBBqIIIB")  # mark, version, kind, position, stream, number, checksum, segments
_FIRST, _LAST = 2, 4  # kinds of page
_TURNED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_REWRITE = "rewrite it, e.g. ffmpeg -i in.ogg out.wav, if it is all there is"


def require_whole(path: Path) -> None:
    """Refuse a file of which the decoder would leave out something.

    Raises:
        UserError: a damaged or missing page, a missing end, or a second recording behind the first.
    """
    found = path.stat()
    _require_whole(path, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=64)  # a long recording is opened once for each of its parts
def _require_whole(path: Path, size: int, changed: int) -> None:
    data = path.read_bytes()
    place, numbers, ended = 0, dict[int, int](), set[int]()
    while place < len(data):
        page = _page_size(data, place)
        if page is None and ended and ended == numbers.keys():
            return  # something else behind the last page
        if page is None or not _is_whole(data[place : place + page]):
            raise UserError(f"damaged or truncated at byte {place} of {len(data)}: {_REWRITE}")
        _, _, kind, _, stream, number, _, _ = _HEAD.unpack_from(data, place)
        if kind & _FIRST and ended:
            raise UserError(f"several recordings in one file, only the first is read: {_REWRITE}")
        if number not in (0, numbers.get(stream, -1) + 1) and stream in numbers:
            raise UserError(f"damaged, pages are missing before byte {place} of {len(data)}: {_REWRITE}")
        numbers[stream] = number
        if kind & _LAST:
            ended.add(stream)
        place += page
    if ended != numbers.keys():
        raise UserError(f"truncated, its last page is missing: {_REWRITE}")


def _page_size(data: bytes, place: int) -> int | None:
    """Bytes of the page there; None if there is none, or not all of it."""
    if data[place : place + 4] != b"OggS" or place + _HEAD.size > len(data):
        return None
    segments = data[place + 26]
    size = _HEAD.size + segments + sum(data[place + _HEAD.size : place + _HEAD.size + segments])
    return size if place + size <= len(data) else None


def _is_whole(page: bytes) -> bool:
    """Whether the checksum is right: a CRC-32 with the bits of zlib's in the other order, begun at 0."""
    blank = page[:22] + bytes(4) + page[26:]
    found = zlib.crc32(blank.translate(_TURNED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{found:032b}"[::-1], 2) == struct.unpack_from("<I", page, 22)[0]

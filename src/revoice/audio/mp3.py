"""How long an MP3 really is. What its header says is an estimate, or of the first of several files put together.

An MPEG audio stream has no table of contents: it is a row of frames, each with a head of four bytes that tells its
size (ISO/IEC 11172-3, 2.4.1.3; 13818-3). A first frame without sound, Xing's or Info, may say how many follow:

    [ID3v2] [Xing: 151 frames] [frame] [frame] ... [frame] [ID3v1]      and the same again in files joined by `cat`
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from revoice.errors import UserError

_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # Hz; MPEG version 1, 2, 2.5
_KBITS = {
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_LAYER_3 = 1  # as frames write it
_START = 1 << 16  # bytes in which the first frame must begin
_STREAMED = (1 << 31) - (1 << 16)  # bytes that a program claims which does not know how many will come
_REWRITE = "rewrite it, e.g. ffmpeg -i in.mp3 out.wav"


@dataclass(frozen=True)
class Frame:
    """One frame.

    Attributes:
        place, size: in bytes.
        kind: what all frames of a stream agree on: version, rate, whether there is one channel.
        head: of a frame without sound the number of frames that it says follow, -1 if it does not; None with sound.
        gap: bytes before it that are neither frames nor tags.
    """

    place: int
    size: int
    kind: tuple[int, int, bool]
    head: int | None = None
    gap: int = 0


def counted(path: Path) -> bytes | None:
    """The MP3 stream of a file with a first frame that tells its true length; None if the file's own is to be believed.

    Args:
        path: an MP3, or a RIFF file that holds one.

    Raises:
        UserError: frames are missing, or of several kinds.
    """
    found = path.stat()
    return _counted(path, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=1)  # a long recording is opened once for each of its parts
def _counted(path: Path, size: int, changed: int) -> bytes | None:
    content = path.read_bytes()
    data = _in_riff(content)
    frames = list(_frames(data))
    heads, sound = [f for f in frames if f.head is not None], [f for f in frames if f.head is None]
    if not sound:
        return None
    said = [f.head for f in heads if f.head is not None and f.head >= 0]
    one = len(heads) == 1 and frames[0] is heads[0] and len(said) == 1 and data is content
    if one and said[0] >= len(sound) - 1:  # or more than there is: the decoder will see
        return None
    if len({f.kind for f in frames}) > 1:
        raise UserError(f"changes its sample rate or its channels on the way: {_REWRITE}")
    lost = next((f for f in frames if f.gap and f.head is None), None)
    if lost is not None:
        raise UserError(f"damaged, {lost.gap} of {len(data)} bytes are no MP3, before byte {lost.place}: {_REWRITE}")
    if len(said) == len(heads) and sum(said) > len(sound) + len(heads):
        raise UserError(f"truncated, {len(sound)} of {sum(said)} frames are there")
    first = heads[0] if said and frames[0] is heads[0] else None
    return _with_head(data, sound, data[first.place : first.place + first.size] if first else None)


def _with_head(data: bytes, sound: Sequence[Frame], known: bytes | None) -> bytes:
    """The frames with sound behind a head, that of the file if it has one: it knows what the encoder put around them.

    Behind a head of ours comes a silent frame at the end, with which a decoder gives back the rest of the last one.
    """
    version, _, mono = sound[0].kind
    place = 4 + _side(version, mono)
    frames = [data[f.place : f.place + f.size] for f in sound]
    head = bytearray(known or b"")
    if known is None:
        silent = _silent(frames[0], place)
        head[:] = silent[:place] + b"Xing" + struct.pack(">III", 3, 0, 0) + silent[place + 16 :]
        frames.append(silent)
    struct.pack_into(">I", head, place + 8, len(frames))
    if head[place + 7] & 2:
        struct.pack_into(">I", head, place + 12, len(head) + sum(map(len, frames)))
    return bytes(head) + b"".join(frames)


def _silent(first: bytes, place: int) -> bytes:
    """A frame of silence like the `first` one, with room for a head at `place`."""
    version = first[1] >> 3 & 3
    kbits = _KBITS[3 if version == 3 else 2].index(64)
    start = bytes([first[0], first[1] | 1, kbits << 4 | first[2] & 0b1100, first[3]])  # no checksum, no padding
    frame = _parsed(start, 0)
    assert frame is not None and frame.size >= place + 16
    return start.ljust(frame.size, b"\0")


def _frames(data: bytes) -> Iterator[Frame]:
    place = _next_frame(data, _behind_tags(data, 0), None, _START)
    kind, gap = None, 0
    while place is not None and place < len(data):
        frame = _parsed(data, place)
        if frame is not None and (kind is None or frame.kind == kind or _parsed(data, place + frame.size) is not None):
            if place + frame.size > len(data):
                return
            kind = frame.kind
            yield Frame(place, frame.size, kind, _head(data, place, kind), gap)
            place, gap = place + frame.size, 0
            continue
        behind = _behind_tags(data, place)
        found = behind if behind > place else _next_frame(data, place + 1, kind, len(data))
        gap = 0 if found is None or behind > place else gap + found - place
        place = found


def _next_frame(data: bytes, place: int, kind: tuple[int, int, bool] | None, reach: int) -> int | None:
    """Where a frame begins behind which stands another one of its kind, or the end."""
    end = min(len(data), place + reach)
    while (place := data.find(b"\xff", place, end)) >= 0:
        frame = _parsed(data, place)
        if frame is not None and kind in (None, frame.kind):
            after = _parsed(data, place + frame.size)
            if place + frame.size == len(data) or (after is not None and after.kind == frame.kind):
                return place
        place += 1
    return None


def _parsed(data: bytes, place: int) -> Frame | None:
    """What the four bytes there say; None if they begin no frame of layer III."""
    if place + 4 > len(data) or data[place] != 0xFF or data[place + 1] & 0xE0 != 0xE0:
        return None
    version, layer = data[place + 1] >> 3 & 3, data[place + 1] >> 1 & 3
    kbits, rate = data[place + 2] >> 4, data[place + 2] >> 2 & 3
    if version == 1 or layer != _LAYER_3 or kbits in (0, 15) or rate == 3:
        return None
    per_second = _KBITS[3 if version == 3 else 2][kbits] * 1000 / _RATES[version][rate]
    size = int((144 if version == 3 else 72) * per_second) + (data[place + 2] >> 1 & 1)
    return Frame(place, size, (version, rate, data[place + 3] >> 6 == 3))


def _head(data: bytes, place: int, kind: tuple[int, int, bool]) -> int | None:
    """See `Frame.head`; LAME's and Xing's heads count frames, Fraunhofer's (VBRI) is not read by all decoders."""
    version, _, mono = kind
    name = place + 4 + _side(version, mono)
    if data[name : name + 4] in (b"Xing", b"Info") and name + 12 <= len(data):
        flags, count = struct.unpack_from(">II", data, name + 4)
        return count if flags & 1 else -1
    return -1 if data[place + 36 : place + 40] == b"VBRI" else None


def _side(version: int, mono: bool) -> int:
    """Bytes of side information behind a frame's first four."""
    return (17 if mono else 32) if version == 3 else (9 if mono else 17)


def _behind_tags(data: bytes, place: int) -> int:
    """The place behind all tags that begin here: ID3v2, ID3v1, APE."""
    while True:
        if data[place : place + 3] == b"ID3" and place + 10 <= len(data):
            size = 0
            for byte in data[place + 6 : place + 10]:
                size = size << 7 | byte & 0x7F
            place += 10 + size
        elif data[place : place + 8] == b"APETAGEX" and place + 32 <= len(data):
            flags = data[place + 23]
            place += 32 + (struct.unpack_from("<I", data, place + 12)[0] if flags & 0x20 else 0)
        elif data[place : place + 3] == b"TAG":
            place += 128
        else:
            return place


def _in_riff(content: bytes) -> bytes:
    """What the chunk `data` of a RIFF file holds; anything else as it is."""
    if content[:4] != b"RIFF":
        return content
    place = 12
    while place + 8 <= len(content):
        size = struct.unpack_from("<I", content, place + 4)[0]
        if content[place : place + 4] == b"data":
            if len(content) - place - 8 < size < _STREAMED:
                raise UserError(f"truncated, {len(content) - place - 8} of {size} bytes of sound are there")
            return content[place + 8 : place + 8 + size]
        place += 8 + size + size % 2
    return b""
